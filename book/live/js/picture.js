// Images of 28 × 28 pixels.

import { make } from "./dom.js";

/**
 * A canvas of 28 × 28 points that shows values from 0 (black) to 1 (white), with a caption.
 * @param {string} caption
 * @param {string} label for screen readers
 */
export function picture(caption, label) {
  const attributes = { width: 28, height: 28, class: "vae-picture", role: "img" };
  const canvas = make("canvas", { ...attributes, "aria-label": label });
  return {
    canvas,
    node: make("figure", {}, canvas, make("figcaption", {}, caption)),
    /** @param {ArrayLike<number>} values */
    show(values) {
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      const image = context.createImageData(28, 28);
      for (let i = 0; i < 784; i++) {
        image.data.fill(Math.round(255 * values[i]), 4 * i, 4 * i + 3);
        image.data[4 * i + 3] = 255;
      }
      context.putImageData(image, 0, 0);
    },
    /** @param {string} text */
    name(text) {
      canvas.setAttribute("aria-label", text);
    },
  };
}
