// Codes rain from the prior; each stays with probability p(x|z) / max; their mean p(x|z) is p(x).

import { Canvas } from "./canvas.js";
import { Codes } from "./codes.js";
import { box, button, checkbox, legend, make, statusLine } from "./dom.js";
import { Plane } from "./grid.js";
import { LatentMap } from "./map.js";
import { decode, layersOf } from "./network.js";
import { bits, count, write } from "./numbers.js";
import { inBackground, startEvery } from "./page.js";
import { picture } from "./picture.js";
import { around, evidence, mostLikely } from "./posterior.js";
import { theme } from "./theme.js";

/** @typedef {import("./codes.js").Estimate} Estimate */
/**
 * @typedef {{ decoder: import("./network.js").Packed[], digit: string,
 *   q: import("./network.js").Gaussian, radius: number, step: number, seed: number }} Data
 */

const FIRST = 2000; // codes that have been thrown when the figure opens
const DROPS = 25; // codes for each picture of the screen
const MAP = "Latent plane: codes thrown from the prior in grey, the kept ones as larger dots.";

startEvery("rain", async (root, stage, /** @type {Data} */ data) => {
  const decoder = layersOf(data.decoder);
  const x = bits(data.digit);
  const plane = new Plane(decoder, data.radius, data.step);
  await inBackground((budget) => plane.prepare(budget));

  const image = plane.project(x);
  const { logEvidence, region } = evidence(plane, image);
  const { value: most } = mostLikely(plane, image, region);
  let codes = new Codes(plane, image, most, data.seed);
  const near = around(plane, image, region, data.q);
  const far = [
    [-3.5, 3.5],
    [-3.5, 3.5],
  ];
  let falling = 0; // the animation frame that was asked for, or 0
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  const colors = theme(root);
  const map = new LatentMap(colors, MAP, drawMap, "img");
  const curve = new Canvas(colors, { class: "vae-curve", role: "img" }, drawCurve);
  const seen = picture("the image x", "The digit x.");
  const thrown = picture("from the last code", "The decoder's mean at the code thrown last.");
  const kept = picture("from the last kept one", "The decoder's mean at the code kept last.");
  const showQ = checkbox("show q(z|x), the encoder's guess", false, () => map.draw());
  const closer = checkbox("look closer", false, () => map.draw());
  const counter = make("p", { class: "vae-counter" });
  const mean = make("p", { class: "vae-counter" });
  const message = statusLine();
  const rain = button("rain", () => (falling ? stop() : fall()));
  rain.setAttribute("aria-pressed", "false");
  stage.append(
    box(
      "vae-row",
      button("throw 100", () => throwMore(100)),
      button("throw 10,000", () => throwMore(10_000)),
      rain,
      button("start over", restart),
    ),
    counter,
    box(
      "vae-columns vae-wide-left",
      box(
        "",
        map.node,
        legend(
          ["vae-drop", "thrown from p(z), the last 2,000"],
          ["vae-kept", "kept"],
          ["vae-q", "q(z|x)"],
        ),
        box("vae-row", closer.node, showQ.node),
      ),
      box(
        "",
        box("vae-pictures", seen.node, thrown.node, kept.node),
        make("p", { class: "vae-head" }, "log of the mean of p(x|z) over all thrown codes"),
        mean,
        curve.node,
        legend(["vae-likelihood", "mean so far"], ["vae-grid", "log p(x) from a grid"]),
      ),
    ),
    message,
  );

  /** @param {number} number */
  function throwMore(number) {
    stop();
    codes.throwMore(number);
    render();
    say();
  }

  function restart() {
    stop();
    codes = new Codes(plane, image, most, data.seed); // the same ones will come again
    render();
    say();
  }

  function fall() {
    if (still.matches) {
      throwMore(100 * DROPS); // without movement
      return;
    }
    rain.setAttribute("aria-pressed", "true");
    const drop = () => {
      codes.throwMore(DROPS);
      render();
      falling = requestAnimationFrame(drop);
    };
    falling = requestAnimationFrame(drop);
  }

  function stop() {
    if (!falling) return;
    cancelAnimationFrame(falling);
    falling = 0;
    rain.setAttribute("aria-pressed", "false");
    say();
  }

  function render() {
    const [last, lastKept] = [codes.recent.at(-1), codes.kept.at(-1)];
    counter.replaceChildren(
      ...["thrown ", make("b", {}, count(codes.thrown)), " · kept "],
      make("b", {}, count(codes.kept.length)),
    );
    mean.textContent = written();
    seen.show(x);
    thrown.show(last ? decode(decoder, last) : new Float64Array(784));
    kept.show(lastKept ? decode(decoder, lastKept) : new Float64Array(784));
    map.draw();
    curve.draw();
  }

  function written() {
    if (codes.thrown < 2) return "no codes yet";
    const { logMean, error } = codes.estimate();
    return `${write(logMean)} ± ${write(error)} nats; grid ${write(logEvidence)}`;
  }

  function say() {
    const { thrown: all, kept: some } = codes;
    const fate = "each with probability p(x|z) / max: draws from the posterior p(z|x)";
    message.textContent = all
      ? `${count(some.length)} of ${count(all)} codes were kept, ${fate}.`
      : "No codes are thrown.";
    curve.node.setAttribute("aria-label", `The log of the mean by codes thrown: ${written()}.`);
  }

  function drawMap() {
    map.view = closer.checked ? near : far;
    map.axes();
    const { context } = map;
    const size = closer.checked ? 4 : 2;
    const newest = falling ? codes.recent.length - DROPS : codes.recent.length;
    codes.recent.forEach((z, i) => {
      const [a, b] = map.to(z);
      context.fillStyle = colors.color(i < newest ? "drop" : "ink");
      context.fillRect(a - size / 2, b - size / 2, size, i < newest ? size : 4 * size);
    });
    for (const z of codes.kept.slice(-4000)) map.dot(z, "posterior", 4.5, "ground");
    if (showQ.checked) map.gaussian(data.q);
  }

  /** By the number of codes on a logarithmic scale: the mean so far, with one standard error. */
  function drawCurve() {
    const { context, width, height } = curve;
    const [left, floor] = [44, height - 20];
    const end = Math.max(1000, codes.thrown);
    const [low, high] = [logEvidence - 5, logEvidence + 2.5];
    const right = (/** @type {number} */ n) =>
      left + ((width - left - 6) * Math.log(n / 10)) / Math.log(end / 10);
    const down = (/** @type {number} */ v) =>
      4 + (floor - 4) * (1 - (Math.min(Math.max(v, low), high) - low) / (high - low));
    const across = (
      /** @type {number} */ y,
      /** @type {string} */ color,
      /** @type {number} */ wide,
      /** @type {number[]} */ dash = [],
    ) => {
      const ends = [left, width].map((x) => [x, y]);
      curve.line(ends, color, wide, dash);
    };
    for (let v = Math.ceil(low); v <= high; v += 2) {
      const y = down(v);
      across(y, "faint", 1);
      curve.text(write(v, 0), left - 5, y + 4, "right");
    }
    for (let n = 10; n <= end; n *= 10) {
      curve.text(count(n), right(n), height - 4, n === 10 ? "left" : "center");
    }
    across(down(logEvidence), "likelihood", 2, [2, 3]);
    const { history } = codes;
    if (!history.length) return;
    const edge = (/** @type {number} */ side) =>
      history.map((h) => [right(h.thrown), down(h.logMean + side * h.error)]);
    context.beginPath();
    for (const [a, b] of [...edge(1), ...edge(-1).reverse()]) context.lineTo(a, b);
    context.fillStyle = colors.color("band");
    context.fill();
    curve.line(edge(0), "likelihood", 2.5);
  }

  root.live = {
    get state() {
      return { ...codes, most, logEvidence, plane: null, estimate: codes.estimate() };
    },
  };
  codes.throwMore(FIRST);
  render();
  say();
});
