// log p(x), its three terms and the posterior's place, on grids, against Python's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Codes } from "../../book/live/js/codes.js";
import { Plane } from "../../book/live/js/grid.js";
import { layersOf, logLikelihood } from "../../book/live/js/network.js";
import { bits } from "../../book/live/js/numbers.js";
import { contourLevels, evidence, mostLikely, SIGMAS } from "../../book/live/js/posterior.js";
import { stream } from "../../book/live/js/random.js";
import { decompose, decomposeLinear, gaussianKl, residual } from "../../book/live/js/terms.js";
import { close, closeTerms, numbers } from "./helpers.js";

const decoder = layersOf(numbers.decoder);
const plane = new Plane(decoder, 6, 1 / 6);
while (!plane.prepare(5)); // as a page does it: a little at a time

for (const [i, stored] of numbers.images.entries()) {
  const x = bits(stored.bits, 36);
  const image = plane.project(x);
  const { logEvidence, region } = evidence(plane, image);
  test(`image ${i}: log p(x|z) between the points of the table, and outside of it`, () => {
    const value = (z) => plane.logLikelihoods(image, [z[0]], [z[1]])[0];
    for (const z of [stored.z, [1.37, 2.71], [-5.95, 5.99]]) {
      close([value(z)], [logLikelihood(decoder, x, z).value], 1e-4);
    }
    assert.equal(value([6.01, 0]), Number.NEGATIVE_INFINITY);
  });
  test(`image ${i}: log p(x) and the three terms of two q`, () => {
    close([logEvidence], [stored.terms.likelihood], 1e-3);
    for (const [q, terms] of [
      [stored.q, stored.terms],
      [stored.own, stored.ownTerms],
    ]) {
      const found = decompose(plane, image, q, logEvidence);
      closeTerms(found, terms, 2e-3);
      assert.ok(Math.abs(residual(found)) < 2e-3);
      close([gaussianKl(q)], [terms.kl_prior]);
    }
  });
  test(`image ${i}: the largest log p(x|z), and what is kept of the codes that are thrown`, () => {
    const everywhere = [
      [-6, 6],
      [-6, 6],
    ];
    const { value: most } = mostLikely(plane, image, everywhere);
    close([most], [stored.most], 2e-3);
    const codes = new Codes(plane, image, most, 1);
    codes.throwMore(3000);
    codes.throwMore(1000);
    const { thrown, logMean, error } = codes.estimate();
    assert.equal(thrown, 4000);
    assert.ok(Math.abs(logMean - logEvidence) < 4 * error, `${logMean} ± ${error}`);
    const expected = 4000 * Math.exp(logEvidence - most);
    assert.ok(Math.abs(codes.kept.length - expected) < 4 * Math.sqrt(expected));
    assert.ok(region.every(([low, high]) => low < high));
    const again = new Codes(plane, image, most, 1);
    again.throwMore(4000);
    assert.deepEqual([again.kept, again.sum], [codes.kept, codes.sum]);
  });
}

test("the three terms of a linear decoder", () => {
  const found = decomposeLinear(numbers.linear, numbers.linearQ);
  closeTerms(found, numbers.linearTerms, 1e-9);
  close([residual(found)], [0]);
});

test("contours of a Gaussian hold as much as its ellipses", () => {
  const n = 200;
  const at = (i) => -6 + (12 * (i + 0.5)) / n;
  const values = Float64Array.from({ length: n * n }, (_, k) => {
    return -(at(Math.floor(k / n)) ** 2 + at(k % n) ** 2) / 2;
  });
  close(contourLevels(values, SIGMAS), [-0.5, -2], 0.02);
});

test("normal numbers have mean 0 and variance 1, and are the same each time", () => {
  const { normal } = stream(7);
  const draws = Array.from({ length: 20_000 }, normal);
  const mean = draws.reduce((a, b) => a + b, 0) / draws.length;
  const variance = draws.reduce((a, b) => a + (b - mean) ** 2, 0) / draws.length;
  close([mean, variance], [0, 1], 0.04);
  assert.equal(stream(7).normal(), draws[0]);
});
