// Modules that were joined into one script say what they say as modules.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";
import * as numbersModule from "../../book/live/js/numbers.js";
import * as terms from "../../book/live/js/terms.js";
import { numbers } from "./helpers.js";

const folder = fileURLToPath(new URL("../../book/live", import.meta.url));

function joined(name) {
  const python = process.env.PYTHON ?? "python3";
  return execFileSync(python, [`${folder}/join.py`, `${folder}/js/${name}.js`], {
    encoding: "utf8",
  });
}

test("joined modules export and compute the same", () => {
  const one = new Script(joined("terms")).runInThisContext();
  assert.deepEqual(Object.keys(one).sort(), Object.keys(terms).sort());
  const { linear, linearQ } = numbers;
  assert.deepEqual(one.decomposeLinear(linear, linearQ), terms.decomposeLinear(linear, linearQ));
  const other = new Script(joined("numbers")).runInThisContext();
  const { text } = numbers.points;
  assert.deepEqual(other.points(text), numbersModule.points(text));
});

test("the script of each figure is one that a browser can read", () => {
  const names = readdirSync(`${folder}/js`).map((file) => file.replace(".js", ""));
  const figures = names.filter((name) => {
    return readFileSync(`${folder}/js/${name}.js`, "utf8").includes(`startEvery("${name}"`);
  });
  assert.deepEqual(figures.sort(), ["draw", "line", "plane", "rain", "sampling"]);
  for (const name of figures) new Script(joined(name));
});
