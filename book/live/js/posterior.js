// log p(x), and where on the plane the posterior lies.

/** @typedef {import("./grid.js").Plane} Plane */
/** @typedef {import("./grid.js").Projected} Projected */
/** @typedef {number[][]} Region [low, high] along each axis */

/**
 * log p(z), p(z) = N(0, I).
 * @param {number} a
 * @param {number} b
 */
export function logPrior(a, b) {
  return -(a * a + b * b) / 2 - Math.log(2 * Math.PI);
}

/**
 * log p(x|z) + log p(z) at the middles of n × n cells of a region, the first axis slowest.
 * @param {Plane} plane
 * @param {Projected} image
 * @param {Region} region
 * @param {number} n
 */
export function logJoint(plane, image, region, n) {
  const [first, second] = region.map(([a, b]) =>
    Array.from({ length: n }, (_, i) => a + ((b - a) * (i + 0.5)) / n),
  );
  const values = plane.logLikelihoods(image, first, second);
  return values.map((value, k) => value + logPrior(first[Math.floor(k / n)], second[k % n]));
}

/**
 * log p(x), the region that holds the posterior, and whether it reaches the edge of what is known.
 * First on the table's points; where the mass lies, on a finer grid, and again while that mass
 * fills only a small part of it.
 * @param {Plane} plane
 * @param {Projected} image
 */
export function evidence(plane, image) {
  const { size, step, radius } = plane;
  const prior = (/** @type {number} */ k) =>
    logPrior(plane.at(Math.floor(k / size)), plane.at(k % size));
  let values = plane.table(image).map((value, k) => value + prior(k));
  let n = size;
  let region = [0, 1].map(() => [-radius - step / 2, radius + step / 2]);
  let { most, low, high } = heavy(values, n, 20);
  const shift = most;
  const edge = Math.min(...low) === 0 || Math.max(...high) === n - 1;
  let sum = 0;
  for (let pass = 0; ; pass++) {
    const sides = region.map(([a, b]) => (b - a) / n);
    const last = pass === 3 || (pass > 0 && high[0] - low[0] > 20 && high[1] - low[1] > 20);
    for (let i = 0, k = 0; i < n; i++) {
      for (let j = 0; j < n; j++, k++) {
        const within = i >= low[0] && i <= high[0] && j >= low[1] && j <= high[1];
        if (last || !within) sum += Math.exp(values[k] - shift) * sides[0] * sides[1];
      }
    }
    const inner = region.map(([a], axis) => {
      return [a + low[axis] * sides[axis], a + (high[axis] + 1) * sides[axis]];
    });
    if (last) return { logEvidence: shift + Math.log(sum), region: inner, edge };
    region = inner;
    n = 64;
    values = logJoint(plane, image, region, n);
    ({ most, low, high } = heavy(values, n, 20));
  }
}

/**
 * The largest of n × n values, and the smallest box of indices around all within `below` of it.
 * @param {Float64Array} values
 * @param {number} n
 * @param {number} below
 */
function heavy(values, n, below) {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) if (value > most) most = value;
  const [low, high] = [
    [n, n],
    [-1, -1],
  ];
  for (let i = 0, k = 0; i < n; i++) {
    for (let j = 0; j < n; j++, k++) {
      if (values[k] < most - below) continue;
      low[0] = Math.min(low[0], i);
      high[0] = Math.max(high[0], i);
      low[1] = Math.min(low[1], j);
      high[1] = Math.max(high[1], j);
    }
  }
  return { most, low, high };
}

/**
 * The square that shows the posterior's mass and, to 2.5 σ, a Gaussian.
 * @param {Plane} plane
 * @param {Projected} image
 * @param {Region} region that holds the posterior
 * @param {import("./network.js").Gaussian} q
 * @returns {Region}
 */
export function around(plane, image, region, { mean, std }) {
  const n = 64;
  const { low, high } = heavy(logJoint(plane, image, region, n), n, 8);
  const seen = region.map(([a, b], axis) => {
    const side = (b - a) / n;
    const [from, to] = [a + low[axis] * side, a + (high[axis] + 1) * side];
    const reach = 2.5 * std[axis];
    return [Math.min(from, mean[axis] - reach), Math.max(to, mean[axis] + reach)];
  });
  const half = 0.6 * Math.max(...seen.map(([a, b]) => b - a), 0.2);
  return seen.map(([a, b]) => [(a + b) / 2 - half, (a + b) / 2 + half]);
}

/**
 * The log-densities above which cells of one size hold these shares of their mass.
 * @param {Float64Array} values log-densities
 * @param {number[]} shares
 */
export function contourLevels(values, shares) {
  const sorted = Float64Array.from(values).sort().reverse();
  const weights = sorted.map((value) => Math.exp(value - sorted[0]));
  const total = weights.reduce((a, b) => a + b, 0);
  return shares.map((share) => {
    let held = 0;
    const place = weights.findIndex((weight) => {
      held += weight;
      return held >= share * total;
    });
    return sorted[place];
  });
}

/** What the ellipses of one and two standard deviations of a Gaussian in the plane hold. */
export const SIGMAS = [1 - Math.exp(-0.5), 1 - Math.exp(-2)];

/**
 * The largest log p(x|z) of all codes in a region: the best of a grid, then ever smaller steps.
 * @param {Plane} plane
 * @param {Projected} image
 * @param {Region} region
 */
export function mostLikely(plane, image, region) {
  const value = (/** @type {number[]} */ [a, b]) => plane.logLikelihoods(image, [a], [b])[0];
  const at = (/** @type {number} */ axis, /** @type {number} */ i) =>
    region[axis][0] + ((region[axis][1] - region[axis][0]) * i) / 40;
  let best = { z: [0, 0], value: Number.NEGATIVE_INFINITY };
  const consider = (/** @type {number[]} */ z) => {
    const found = value(z);
    if (found > best.value) best = { z, value: found };
  };
  for (let i = 0; i <= 40; i++) for (let j = 0; j <= 40; j++) consider([at(0, i), at(1, j)]);
  for (let share = 1 / 40; share > 1e-6; share /= 2) {
    const [a, b] = region.map(([low, high]) => share * (high - low));
    const [x, y] = best.z;
    for (const i of [-1, 0, 1]) for (const j of [-1, 0, 1]) consider([x + i * a, y + j * b]);
  }
  return best;
}
