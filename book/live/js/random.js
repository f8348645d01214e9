// Random numbers that are the same on every page, so that a test can draw them too.

/** @typedef {{ uniform: () => number, normal: () => number }} Stream */

/**
 * A stream of random numbers: mulberry32, and Box–Muller for normal ones (two uniform ones each).
 * @param {number} seed
 * @returns {Stream}
 */
export function stream(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 1831565813) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    return radius * Math.cos(2 * Math.PI * uniform());
  };
  return { uniform, normal };
}
