// log p(x|z) of a Bernoulli decoder with one hidden layer at many codes of a latent plane.

import { linear, silu } from "./network.js";

/** @typedef {import("./network.js").Layer} Layer */
/** @typedef {{ projected: Float64Array, constant: number }} Projected what is needed of x */

/**
 * With logits = V h(z) + c, log p(x|z) = h(z)·(Vᵀx) + c·x + log p(0|z). The last does not depend on
 * x and is smooth, so it is computed once on a table ([−radius, radius]², every `step`), and
 * interpolated by polynomials through 8 × 8 of its points.
 */
export class Plane {
  /**
   * @param {Layer[]} decoder
   * @param {number} radius
   * @param {number} step
   */
  constructor(decoder, radius, step) {
    this.decoder = decoder;
    this.radius = radius;
    this.step = step;
    this.size = 2 * Math.round(radius / step) + 1;
    this.black = new Float64Array(this.size ** 2);
    this.hiddens = new Float32Array(this.size ** 2 * decoder[0].bias.length);
    this.done = 0;
  }

  /** @param {number} index */
  at(index) {
    return -this.radius + index * this.step;
  }

  /** @param {number} point */
  #hidden(point) {
    const z = [this.at(Math.floor(point / this.size)), this.at(point % this.size)];
    return linear(this.decoder[0], z).map(silu);
  }

  /** Fill the table for at most `budget` milliseconds; true when it is whole. */
  prepare(budget = Number.POSITIVE_INFINITY) {
    const stop = performance.now() + budget;
    const width = this.decoder[0].bias.length;
    const last = this.black.length - 1;
    while (this.done <= last && performance.now() < stop) {
      const [one, two] = [this.done, Math.min(this.done + 1, last)];
      const [first, second] = [this.#hidden(one), this.#hidden(two)];
      this.hiddens.set(first, one * width);
      this.hiddens.set(second, two * width);
      [this.black[one], this.black[two]] = logBlack(this.decoder[1], first, second);
      this.done += 2;
    }
    return this.done > last;
  }

  /**
   * Vᵀx and c·x.
   * @param {Float64Array} x
   * @returns {Projected}
   */
  project(x) {
    const { weight, bias, inputs } = this.decoder[1];
    const projected = new Float64Array(inputs);
    let constant = 0;
    for (let d = 0; d < x.length; d++) {
      if (!x[d]) continue;
      constant += x[d] * bias[d];
      for (let i = 0; i < inputs; i++) projected[i] += x[d] * weight[d * inputs + i];
    }
    return { projected, constant };
  }

  /**
   * log p(x|z) on the table's points, the first coordinate slowest.
   * @param {Projected} image
   */
  table({ projected, constant }) {
    const { black, hiddens } = this;
    const values = new Float64Array(black.length);
    for (let g = 0, k = 0; g < values.length; g++) {
      let sum = constant + black[g];
      for (let i = 0; i < projected.length; i++) sum += projected[i] * hiddens[k++];
      values[g] = sum;
    }
    return values;
  }

  /**
   * log p(x|z) for every pair of a z₁ and a z₂, the first slowest; −∞ outside the square. A hidden
   * unit is v / (1 + e^−v) with v = w₁z₁ + (w₂z₂ + b), and e^−v a product of two factors: no
   * exponential is needed for a pair.
   * @param {Projected} image
   * @param {number[]} first
   * @param {number[]} second
   */
  logLikelihoods({ projected, constant }, first, second) {
    const [one, two] = [this.#along(0, first), this.#along(1, second)];
    const width = projected.length;
    const values = new Float64Array(first.length * second.length).fill(Number.NEGATIVE_INFINITY);
    for (let i = 0; i < first.length; i++) {
      for (let j = 0; j < second.length; j++) {
        const [a, b] = [one.knots[i], two.knots[j]];
        if (!a || !b) continue;
        let sum = constant + this.#interpolate(a, b);
        for (let unit = 0, at = i * width, to = j * width; unit < width; unit++, at++, to++) {
          const v = one.sums[at] + two.sums[to];
          sum += (projected[unit] * v) / (1 + one.factors[at] * two.factors[to]);
        }
        values[i * second.length + j] = sum;
      }
    }
    return values;
  }

  /**
   * What codes add to the hidden units along one axis, and where they lie in the table.
   * @param {number} axis
   * @param {number[]} codes
   */
  #along(axis, codes) {
    const { weight, bias } = this.decoder[0];
    const width = bias.length;
    const sums = new Float64Array(codes.length * width);
    for (let i = 0, at = 0; i < codes.length; i++) {
      for (let unit = 0; unit < width; unit++, at++) {
        sums[at] = weight[2 * unit + axis] * codes[i] + (axis ? bias[unit] : 0);
      }
    }
    return {
      sums,
      factors: sums.map((v) => Math.exp(-v)),
      knots: codes.map((z) => this.#knots(z)),
    };
  }

  /**
   * Lagrange's weights of the eight columns of the table around a coordinate; null outside.
   * @param {number} z
   */
  #knots(z) {
    if (!(Math.abs(z) <= this.radius)) return null;
    const position = (z + this.radius) / this.step;
    const start = Math.min(Math.max(Math.floor(position) - 3, 0), this.size - 8);
    const weights = new Float64Array(8);
    for (let i = 0; i < 8; i++) {
      let weight = 1;
      for (let j = 0; j < 8; j++) if (j !== i) weight *= (position - start - j) / (i - j);
      weights[i] = weight;
    }
    return { start, weights };
  }

  /**
   * log p(0|z) between the points of the table.
   * @param {{ start: number, weights: Float64Array }} one
   * @param {{ start: number, weights: Float64Array }} two
   */
  #interpolate(one, two) {
    let sum = 0;
    for (let a = 0; a < 8; a++) {
      const start = (one.start + a) * this.size + two.start;
      let row = 0;
      for (let b = 0; b < 8; b++) row += two.weights[b] * this.black[start + b];
      sum += one.weights[a] * row;
    }
    return sum;
  }
}

/**
 * log p(0|z) = −Σ log(1 + e^logit) for two codes, from their hidden units: each weight is read once
 * for both. The number of pixels must be even.
 * @param {Layer} layer
 * @param {Float64Array} one
 * @param {Float64Array} two
 */
function logBlack({ weight, bias, inputs }, one, two) {
  let first = 0;
  let second = 0;
  let productOne = 1;
  let productTwo = 1;
  for (let row = 0, at = 0; row < bias.length; row += 2, at += inputs) {
    let a = bias[row];
    let b = a;
    let c = bias[row + 1];
    let d = c;
    for (let i = 0; i < inputs; i++, at++) {
      const upper = weight[at];
      const lower = weight[at + inputs];
      a += upper * one[i];
      b += upper * two[i];
      c += lower * one[i];
      d += lower * two[i];
    }
    first -= Math.max(a, 0) + Math.max(c, 0);
    second -= Math.max(b, 0) + Math.max(d, 0);
    // the logarithm of a product of factors 1 + e^−|logit| ≤ 2: one logarithm for many pixels
    productOne *= (1 + Math.exp(-Math.abs(a))) * (1 + Math.exp(-Math.abs(c)));
    productTwo *= (1 + Math.exp(-Math.abs(b))) * (1 + Math.exp(-Math.abs(d)));
    if (row % 64 === 0) {
      first -= Math.log(productOne);
      second -= Math.log(productTwo);
      productOne = 1;
      productTwo = 1;
    }
  }
  return [first - Math.log(productOne), second - Math.log(productTwo)];
}
