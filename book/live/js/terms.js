// The three terms of log p(x), each from points of its own: for a plane, and for one linear latent.

import { logPrior } from "./posterior.js";

/** @typedef {import("./grid.js").Plane} Plane */
/** @typedef {import("./grid.js").Projected} Projected */
/** @typedef {import("./network.js").Gaussian} Gaussian */
/**
 * @typedef {{ reconstruction: number, kl_prior: number, kl_posterior: number,
 *   likelihood: number }} Decomposition in nats, named as Python names them
 */

/**
 * KL(N(mean, diag std²) ‖ N(0, I)) = ½ Σ (μ² + σ² − log σ² − 1), in nats.
 * @param {Gaussian} q
 */
export function gaussianKl({ mean, std }) {
  let sum = 0;
  mean.forEach((m, i) => {
    sum += (m * m + std[i] ** 2 - 1) / 2 - Math.log(std[i]);
  });
  return sum;
}

/**
 * The mean under q of f(log p(x|z), |u|², z), with z = mean + std u, for counts of |uᵢ| ≤ reach.
 * @param {Plane} plane
 * @param {Projected} image
 * @param {Gaussian} q
 * @param {number[]} counts
 * @param {number} reach
 * @param {(value: number, square: number, a: number, b: number) => number} f
 */
function meanUnder(plane, image, { mean, std }, counts, reach, f) {
  const units = counts.map((n) =>
    Array.from({ length: n }, (_, i) => reach * ((2 * i) / (n - 1) - 1)),
  );
  const [first, second] = units.map((axis, k) => axis.map((u) => mean[k] + std[k] * u));
  const values = plane.logLikelihoods(image, first, second);
  let [sum, mass] = [0, 0];
  for (let i = 0, k = 0; i < counts[0]; i++) {
    for (let j = 0; j < counts[1]; j++, k++) {
      if (values[k] === Number.NEGATIVE_INFINITY) continue;
      const square = units[0][i] ** 2 + units[1][j] ** 2;
      const weight = Math.exp(-square / 2);
      mass += weight;
      sum += weight * f(values[k], square, first[i], second[j]);
    }
  }
  return sum / mass;
}

/**
 * How many points reach this many deviations to each side: no farther apart than ½ σ, or 1/8.
 * @param {number[]} std
 * @param {number} reach
 */
function pointsFor(std, reach) {
  return std.map((s) => 2 * Math.ceil(reach / Math.min(0.5, 0.125 / s)));
}

/**
 * The three terms for any q; log p(x) is known from a grid. The KL to the posterior is from other
 * points than the first term, so that their sum can be wrong.
 * @param {Plane} plane
 * @param {Projected} image
 * @param {Gaussian} q
 * @param {number} logEvidence
 * @returns {Decomposition}
 */
export function decompose(plane, image, q, logEvidence) {
  const odd = pointsFor(q.std, 5).map((n) => n + 1);
  const reconstruction = meanUnder(plane, image, q, odd, 5, (value) => value);
  const constant = -Math.log(2 * Math.PI * q.std[0] * q.std[1]);
  const counts = pointsFor(q.std, 5.5);
  const logRatio = meanUnder(plane, image, q, counts, 5.5, (value, square, a, b) => {
    return constant - square / 2 - value - logPrior(a, b);
  });
  return {
    reconstruction,
    kl_prior: gaussianKl(q),
    kl_posterior: logRatio + logEvidence,
    likelihood: logEvidence,
  };
}

/**
 * How far the three terms miss log p(x).
 * @param {Decomposition} terms
 */
export function residual({ reconstruction, kl_prior, kl_posterior, likelihood }) {
  return reconstruction - kl_prior + kl_posterior - likelihood;
}

/**
 * @typedef {{ constant: number, slope: number, curvature: number,
 *   logEvidence: number }} Quadratic
 */

/**
 * The posterior of one latent with a linear decoder.
 * @param {Quadratic} model
 */
export function linearPosterior({ slope, curvature }) {
  return { mean: slope / (1 + curvature), std: 1 / Math.sqrt(1 + curvature) };
}

/**
 * The three terms for q = N(mean, std²), one latent, linear decoder. None contains log p(x).
 * @param {Quadratic} model
 * @param {{ mean: number, std: number }} q
 * @returns {Decomposition}
 */
export function decomposeLinear(model, { mean, std }) {
  const posterior = linearPosterior(model);
  const second = mean ** 2 + std ** 2;
  const ratio = (std / posterior.std) ** 2;
  const away = ((mean - posterior.mean) / posterior.std) ** 2;
  return {
    reconstruction: model.constant + model.slope * mean - 0.5 * model.curvature * second,
    kl_prior: 0.5 * (second - 1) - Math.log(std),
    kl_posterior: 0.5 * (ratio + away - 1 - Math.log(ratio)),
    likelihood: model.logEvidence,
  };
}
