// Networks, gradient and packed numbers against Python's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, encode, layersOf, linear, logLikelihood } from "../../book/live/js/network.js";
import { bits, count, pair, points, write } from "../../book/live/js/numbers.js";
import { close, numbers } from "./helpers.js";

const encoder = layersOf(numbers.encoder);
const decoder = layersOf(numbers.decoder);

for (const [i, image] of numbers.images.entries()) {
  const x = bits(image.bits, 36);
  test(`image ${i}: q(z|x) is the encoder's`, () => {
    const q = encode(encoder, x);
    close(q.mean, image.q.mean);
    close(q.std, image.q.std);
  });
  test(`image ${i}: the decoder's mean, log p(x|z) and its gradient`, () => {
    close(decode(decoder, image.z), image.probabilities);
    const found = logLikelihood(decoder, x, image.z);
    close([found.value], [image.logLikelihood]);
    close(found.gradient, image.gradient);
    close(found.probabilities, image.probabilities);
  });
}

test("a layer whose rows are no multiple of four is summed to the last row", () => {
  const weight = Float64Array.from({ length: 10 }, (_, i) => i);
  const layer = { weight, bias: Float64Array.of(1, 2, 3, 4, 5), inputs: 2 };
  assert.deepEqual([...linear(layer, [1, 10])], [11, 34, 57, 80, 103]);
});

test("points are unpacked", () => {
  close(points(numbers.points.text).flat(), [1.25, -0.5, -3, 2.125]);
});

test("numbers are written with a real minus, and none before a zero", () => {
  assert.equal(write(-1.256), "−1.26");
  assert.equal(write(-0.001), "0.00");
  assert.equal(write(Number.NaN), "not known");
  assert.equal(pair([-1, 2.5], 1), "(−1.0, 2.5)");
  assert.deepEqual([999, 1000, 1234567].map(count), ["999", "1,000", "1,234,567"]);
});
