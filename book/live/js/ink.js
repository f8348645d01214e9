// From the path of a pen to 28 × 28 pixels, as MNIST's digits are made.

const PEN = 1.15; // half the width of a stroke, in pixels

/** @typedef {number[][]} Path points [x, y] */

/**
 * A drawing as an image. Centred: scaled so that its longer side fills 20 pixels, then moved by
 * whole pixels, so that its centre of mass is in the middle.
 * @param {Path[]} strokes in shares of the drawing area
 * @param {boolean} centred
 */
export function rasterize(strokes, centred) {
  const paths = strokes.map((stroke) => stroke.map(([x, y]) => [28 * x, 28 * y]));
  const points = paths.flat();
  if (!centred || !points.length) return ink(paths);
  const sides = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    const extreme = (/** @type {(a: number, b: number) => number} */ pick) =>
      values.reduce((a, b) => pick(a, b));
    return [extreme(Math.min), extreme(Math.max)];
  });
  const longest = Math.max(...sides.map(([low, high]) => high - low));
  const factor = longest > 4 ? (20 - 2 * PEN) / longest : 1; // a dot stays a dot
  const middle = sides.map(([low, high]) => (low + high) / 2);
  const moved = (/** @type {number[]} */ point) =>
    point.map((value, axis) => factor * (value - middle[axis]) + 14);
  const x = ink(paths.map((path) => path.map(moved)));
  const { white, columns, rows } = mass(x);
  const [right, down] = [columns, rows].map((sum) => {
    return Math.min(4, Math.max(-4, Math.round(14 - sum / (white || 1)))); // so far there is room
  });
  return shifted(x, right, down);
}

/**
 * A pixel is white if its centre lies within PEN of the pen's path.
 * @param {Path[]} paths in pixels
 */
function ink(paths) {
  const x = new Float64Array(784);
  for (const path of paths) {
    path.forEach((end, i) => {
      stroke(x, path[Math.max(0, i - 1)], end);
    });
  }
  return x;
}

/**
 * @param {Float64Array} x
 * @param {number[]} start
 * @param {number[]} end
 */
function stroke(x, start, end) {
  const way = [end[0] - start[0], end[1] - start[1]];
  const length = way[0] ** 2 + way[1] ** 2;
  const [left, right, top, bottom] = [0, 1].flatMap((axis) => [
    Math.max(0, Math.floor(Math.min(start[axis], end[axis]) - 2)),
    Math.min(27, Math.floor(Math.max(start[axis], end[axis]) + 2)),
  ]);
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      const from = [column + 0.5 - start[0], row + 0.5 - start[1]];
      const along = length ? (from[0] * way[0] + from[1] * way[1]) / length : 0;
      const t = Math.min(1, Math.max(0, along));
      const away = (from[0] - t * way[0]) ** 2 + (from[1] - t * way[1]) ** 2;
      if (away <= PEN ** 2) x[28 * row + column] = 1;
    }
  }
}

/**
 * How many pixels are white, and the sums of their columns and rows.
 * @param {Float64Array} x
 */
export function mass(x) {
  let [white, columns, rows] = [0, 0, 0];
  x.forEach((value, i) => {
    if (!value) return;
    white += 1;
    columns += (i % 28) + 0.5;
    rows += Math.floor(i / 28) + 0.5;
  });
  return { white, columns, rows };
}

/**
 * The image moved by whole pixels; what leaves it is lost.
 * @param {Float64Array} x
 * @param {number} right
 */
export function shifted(x, right, down = 0) {
  return x.map((_, i) => {
    const [row, column] = [Math.floor(i / 28) - down, (i % 28) - right];
    return row >= 0 && row < 28 && column >= 0 && column < 28 ? x[28 * row + column] : 0;
  });
}
