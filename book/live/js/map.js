// A square map of the latent plane: z₁ to the right, z₂ upwards.

import { Canvas } from "./canvas.js";
import { make } from "./dom.js";
import { drags } from "./drag.js";
import { write } from "./numbers.js";
import { contourLevels, SIGMAS } from "./posterior.js";

/** @typedef {import("./theme.js").Theme} Theme */
/** @typedef {import("./network.js").Gaussian} Gaussian */
/** @typedef {import("./posterior.js").Region} Region */

const STEPS = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
const FINE = 4; // points of the filled contours for one value, along each axis

export class LatentMap extends Canvas {
  /**
   * @param {Theme} theme
   * @param {string} label for screen readers
   * @param {() => void} render
   * @param {"application" | "img"} role with "img" nothing can be dragged
   */
  constructor(theme, label, render, role = "application") {
    const moves = role === "application";
    const kind = moves ? "vae-map vae-moves" : "vae-map";
    const attributes = { class: kind, role, "aria-label": label };
    super(theme, moves ? { ...attributes, tabindex: 0 } : attributes, render);
    /** @type {Region} */
    this.view = [
      [-4, 4],
      [-4, 4],
    ];
  }

  /**
   * Where a code lies, in CSS pixels.
   * @param {ArrayLike<number>} z
   */
  to(z) {
    const [[a, b], [c, d]] = this.view;
    return [((z[0] - a) / (b - a)) * this.width, (1 - (z[1] - c) / (d - c)) * this.height];
  }

  /** Lines at whole or even finer numbers, the numbers at the border, and the names of the axes. */
  axes() {
    const { context, width, height } = this;
    const span = this.view[0][1] - this.view[0][0];
    const step = STEPS.find((size) => span / size <= 8) ?? 10;
    for (const axis of [0, 1]) {
      const [a, b] = this.view[axis];
      for (let k = Math.ceil(a / step); k * step <= b; k++) {
        const value = k * step;
        const at = this.to([value, value])[axis];
        const ends = axis ? [at, at] : [0, height];
        const points = [
          [axis ? 0 : at, ends[0]],
          [axis ? width : at, ends[1]],
        ];
        this.line(points, k ? "faint" : "muted", 1);
        const text = write(value, step < 0.1 ? 2 : step < 1 ? 1 : 0);
        if (axis && at > 36 && at < height - 30) this.text(text, 4, at - 4);
        if (!axis && at > 40 && at < width - 30) this.text(text, at, height - 6, "center");
      }
    }
    context.font = "italic 15px serif";
    this.text("z₁", width - 6, height - 7, "right");
    this.text("z₂", 5, 16);
  }

  /**
   * A density as two filled contours, which hold as much as one and two σ of a Gaussian.
   * @param {Float64Array} values log-densities at the middles of n × n cells, first axis slowest
   * @param {Region} region that the cells fill
   * @param {number} n
   */
  contours(values, region, n) {
    const size = FINE * n;
    const small = make("canvas", { width: size, height: size });
    const context = /** @type {CanvasRenderingContext2D} */ (small.getContext("2d"));
    context.fillStyle = this.theme.color("posterior");
    context.fillRect(0, 0, size, size);
    const image = context.getImageData(0, 0, size, size);
    const levels = contourLevels(values, SIGMAS);
    for (let row = 0; row < size; row++) {
      for (let column = 0; column < size; column++) {
        const value = between(values, n, (column + 0.5) / FINE, n - (row + 0.5) / FINE);
        const alpha = value >= levels[0] ? 190 : value >= levels[1] ? 85 : 0;
        image.data[4 * (row * size + column) + 3] = alpha;
      }
    }
    context.putImageData(image, 0, 0);
    const [[a, b], [c, d]] = region;
    const [[left, top], [right, bottom]] = [this.to([a, d]), this.to([b, c])];
    this.context.drawImage(small, left, top, right - left, bottom - top);
  }

  /**
   * The ellipses of one and two standard deviations, dashed.
   * @param {Gaussian} q
   */
  gaussian({ mean, std }, color = "q") {
    const { context } = this;
    const [x, y] = this.to(mean);
    const [right, top] = this.to([mean[0] + std[0], mean[1] + std[1]]);
    context.strokeStyle = this.theme.color(color);
    context.lineWidth = 2.5;
    context.setLineDash([7, 4]);
    for (const times of [1, 2]) {
      const [wide, tall] = [times * (right - x), times * (y - top)];
      context.beginPath();
      context.ellipse(x, y, Math.max(1, wide), Math.max(1, tall), 0, 0, 2 * Math.PI);
      context.stroke();
    }
    context.setLineDash([]);
  }

  /**
   * @param {ArrayLike<number>} z
   * @param {string} color
   * @param {number} radius
   * @param {string} border
   */
  dot(z, color, radius, border = "") {
    const { context } = this;
    const [x, y] = this.to(z);
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = this.theme.color(color);
    context.fill();
    if (!border) return;
    context.strokeStyle = this.theme.color(border);
    context.lineWidth = 2;
    context.stroke();
  }

  /**
   * @param {number[]} z
   * @param {number[]} end
   * @param {string} color
   */
  arrow(z, end, color) {
    const { context } = this;
    const [from, to] = [this.to(z), this.to(end)];
    const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
    this.line([from, to], color, 3.5);
    context.beginPath();
    context.moveTo(to[0] + 4 * Math.cos(angle), to[1] + 4 * Math.sin(angle));
    for (const turn of [2.6, -2.6]) {
      context.lineTo(to[0] + 14 * Math.cos(angle + turn), to[1] + 14 * Math.sin(angle + turn));
    }
    context.fillStyle = this.theme.color(color);
    context.fill();
  }

  /**
   * Let a code be dragged; an arrow key moves it by a twentieth of the view, with Shift by a
   * hundredth. It stays in view.
   * @param {() => number[]} current
   * @param {(z: number[]) => void} moved
   */
  drags(current, moved) {
    const inView = (/** @type {number[]} */ z) =>
      moved(z.map((value, k) => Math.min(Math.max(value, this.view[k][0]), this.view[k][1])));
    drags(this.node, {
      move: ([x, y]) => {
        const [[a, b], [c, d]] = this.view;
        inView([a + x * (b - a), d - y * (d - c)]);
      },
      nudge: (way, fine) => {
        const size = (this.view[0][1] - this.view[0][0]) / (fine ? 100 : 20);
        inView(current().map((value, k) => value + size * way[k]));
      },
    });
  }
}

/**
 * The value at a place among the middles of n × n cells, in cells; linear between four of them.
 * @param {Float64Array} values
 * @param {number} n
 * @param {number} x
 * @param {number} y
 */
function between(values, n, x, y) {
  const [i, j] = [x, y].map((at) => Math.min(Math.max(Math.floor(at - 0.5), 0), n - 2));
  const [s, t] = [x - 0.5 - i, y - 0.5 - j];
  const k = i * n + j;
  const low = values[k] * (1 - t) + values[k + 1] * t;
  const high = values[k + n] * (1 - t) + values[k + n + 1] * t;
  return low * (1 - s) + high * s;
}
