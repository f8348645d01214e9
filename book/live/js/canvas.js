// A canvas as fine as the screen: drawn in CSS pixels, and again when size or theme changes.

import { make } from "./dom.js";

/** @typedef {import("./theme.js").Theme} Theme */

export const FONT = "13px system-ui, sans-serif";

export class Canvas {
  /**
   * @param {Theme} theme
   * @param {{ [name: string]: string | number }} attributes
   * @param {() => void} render draws the whole picture
   */
  constructor(theme, attributes, render) {
    this.theme = theme;
    this.node = make("canvas", attributes);
    this.context = /** @type {CanvasRenderingContext2D} */ (this.node.getContext("2d"));
    this.width = 0; // in CSS pixels; 0 while the figure is hidden
    this.height = 0;
    this.render = render;
    new ResizeObserver(() => this.#resize()).observe(this.node);
    theme.changed(() => this.draw());
  }

  #resize() {
    const { clientWidth, clientHeight } = this.node;
    if (clientWidth === this.width && clientHeight === this.height) return;
    this.width = clientWidth;
    this.height = clientHeight;
    this.draw();
  }

  /** Draw anew, on an empty canvas; nothing while it is hidden. */
  draw() {
    if (!this.width || !this.height) return;
    const scale = window.devicePixelRatio || 1;
    this.node.width = Math.round(this.width * scale); // which empties it
    this.node.height = Math.round(this.height * scale);
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.context.font = FONT;
    this.render();
  }

  /**
   * A line through points, in CSS pixels.
   * @param {number[][]} points
   * @param {string} color a name of the theme
   * @param {number} width
   * @param {number[]} dash
   */
  line(points, color, width = 2, dash = []) {
    const { context } = this;
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.strokeStyle = this.theme.color(color);
    context.lineWidth = width;
    context.setLineDash(dash);
    context.stroke();
    context.setLineDash([]);
  }

  /**
   * Text with the ground around it, so that no line runs through it.
   * @param {string} text
   * @param {number} x
   * @param {number} y
   * @param {CanvasTextAlign} align
   */
  text(text, x, y, align = "left", color = "muted") {
    const { context, theme } = this;
    context.textAlign = align;
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = theme.color("ground");
    context.strokeText(text, x, y);
    context.fillStyle = theme.color(color);
    context.fillText(text, x, y);
  }
}
