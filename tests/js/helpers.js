// What the tests of the scripts share.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

/** What Python computed: tests/book/test_scripts.py writes it, and a test there holds it to Python. */
export const numbers = JSON.parse(readFileSync(new URL("numbers.json", import.meta.url), "utf8"));

/** Both lists are the same within a tolerance. */
export function close(found, expected, tolerance = 1e-9) {
  assert.equal(found.length, expected.length);
  expected.forEach((value, i) => {
    const away = Math.abs(found[i] - value);
    assert.ok(away <= tolerance, `${found[i]} is ${away} from ${value}`);
  });
}

/** Two decompositions, in nats. */
export function closeTerms(found, expected, tolerance) {
  const names = Object.keys(expected);
  close(
    names.map((name) => found[name]),
    Object.values(expected),
    tolerance,
  );
}
