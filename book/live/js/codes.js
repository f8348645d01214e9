// Codes thrown from the prior: which are kept, and the running mean of p(x|z).

import { stream } from "./random.js";

/** @typedef {import("./grid.js").Plane} Plane */
/** @typedef {import("./grid.js").Projected} Projected */
/** @typedef {{ thrown: number, logMean: number, error: number }} Estimate a standard error */

/**
 * Codes z ~ N(0, I), each kept with probability p(x|z) / max p(x|z): the kept ones are draws from
 * the posterior, and the mean of p(x|z) over all thrown ones estimates p(x).
 */
export class Codes {
  /** @type {number[][]} */
  kept = [];
  /** @type {number[][]} the last ones that were thrown */
  recent = [];
  /** @type {Estimate[]} */
  history = [];
  thrown = 0;
  sum = 0; // of p(x|z) / max, and of its square
  squares = 0;

  /**
   * @param {Plane} plane
   * @param {Projected} image
   * @param {number} most the largest log p(x|z)
   * @param {number} seed
   */
  constructor(plane, image, most, seed) {
    this.plane = plane;
    this.image = image;
    this.most = most;
    this.random = stream(seed);
  }

  /**
   * Throw some more.
   * @param {number} number
   */
  throwMore(number) {
    const { plane, image, most, random } = this;
    for (let i = 0; i < number; i++) {
      const z = [random.normal(), random.normal()];
      const weight = Math.exp(plane.logLikelihoods(image, [z[0]], [z[1]])[0] - most);
      if (random.uniform() < weight) this.kept.push(z);
      this.recent.push(z);
      this.thrown += 1;
      this.sum += weight;
      this.squares += weight * weight;
      if (this.thrown >= this.#next()) this.history.push(this.estimate());
    }
    this.recent = this.recent.slice(-2000);
  }

  /** The curve gets a point every 5 %. */
  #next() {
    const last = this.history.at(-1);
    return last ? Math.ceil(1.05 * last.thrown) : 10;
  }

  /**
   * The logarithm of the mean of p(x|z) so far, and its standard error: the mean's, divided by
   * the mean.
   * @returns {Estimate}
   */
  estimate() {
    const mean = this.sum / this.thrown;
    const variance = this.squares / this.thrown - mean * mean;
    const error = Math.sqrt(variance / this.thrown) / mean;
    return { thrown: this.thrown, logMean: this.most + Math.log(mean), error };
  }
}
