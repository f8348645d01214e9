// Move a point over the latent plane; the decoder runs in the page.

import { box, button, legend, make, slider, statusLine } from "./dom.js";
import { LatentMap } from "./map.js";
import { decode, layersOf } from "./network.js";
import { points, write } from "./numbers.js";
import { startEvery } from "./page.js";
import { picture } from "./picture.js";
import { stream } from "./random.js";
import { theme } from "./theme.js";

/** @typedef {{ decoder: import("./network.js").Packed[], points: string, labels: string }} Data */

const LIMIT = 4; // of each coordinate
const MAP =
  "Latent plane with the means of q of test digits. Drag, or press arrow keys, to move the point.";

startEvery("plane", (root, stage, /** @type {Data} */ data) => {
  const decoder = layersOf(data.decoder);
  const codes = points(data.points);
  const labels = [...data.labels].map(Number);
  const classes = [...new Set(labels)].sort();
  const middles = classes.map((digit) => {
    const own = codes.filter((_, i) => labels[i] === digit);
    return [0, 1].map((axis) => own.map((c) => c[axis]).sort((a, b) => a - b)[own.length >> 1]);
  });
  const random = stream(3);
  const draws = () => Float64Array.from({ length: 784 }, random.uniform);
  const state = { z: [0, 0], draws: draws() };

  const map = new LatentMap(theme(root), MAP, drawMap);
  const mean = picture("mean of p(x|z)", "");
  const drawn = picture("an image drawn from it", "An image drawn from p of x given z.");
  const variance = picture(
    "variance of each pixel, 0 to ¼",
    "The variance of each pixel: bright where the decoder is unsure.",
  );
  const sliders = [0, 1].map((axis) => {
    const settings = { min: -LIMIT, max: LIMIT, step: 0.01, value: 0 };
    const one = slider(`z${"₁₂"[axis]}`, settings, () => move(state.z.with(axis, one.value)));
    return one;
  });
  const again = button("draw again", () => {
    state.draws = draws();
    render();
  });
  const message = statusLine();
  stage.append(
    box(
      "vae-columns vae-wide-map",
      box(
        "",
        make(
          "p",
          { class: "vae-head" },
          make("strong", {}, "Drag the point."),
          " Dots: where the encoder puts test digits",
        ),
        map.node,
        legend(...classes.map((k) => /** @type {[string, string]} */ ([`vae-class-${k}`, `${k}`]))),
        ...sliders.map((one) => one.node),
      ),
      box("vae-pictures vae-down", mean.node, drawn.node, variance.node, again),
    ),
    message,
  );

  function drawMap() {
    map.axes();
    codes.forEach((code, i) => {
      map.dot(code, `class-${labels[i]}`, 3);
    });
    const wanted = [...middles, [0, 0]].map((code) => map.to(code)); // at 0 the point starts
    map.context.font = "bold 20px system-ui, sans-serif";
    apart(wanted, 22).forEach(([x, y], i) => {
      if (i < classes.length) map.text(String(classes[i]), x, y + 7, "center", "ink");
    });
    map.dot(state.z, "ink", 8, "ground");
  }

  /** @param {number[]} z */
  function move(z) {
    state.z = z.map((value) => Math.min(LIMIT, Math.max(-LIMIT, value)));
    render();
  }

  function render() {
    const { z } = state;
    sliders.forEach((one, axis) => {
      one.set(z[axis]);
    });
    const probabilities = decode(decoder, z);
    mean.show(probabilities);
    drawn.show(probabilities.map((p, i) => (state.draws[i] < p ? 1 : 0)));
    variance.show(probabilities.map((p) => 4 * p * (1 - p)));
    const distances = codes.map(([a, b]) => Math.hypot(a - z[0], b - z[1]));
    const distance = Math.min(...distances);
    const near =
      distance < 0.5
        ? `The nearest test digit is a ${labels[distances.indexOf(distance)]}.`
        : "No test digit is coded within 0.5 of it.";
    const where = `z = (${write(z[0])}, ${write(z[1])}), ${write(Math.hypot(...z), 1)} from 0.`;
    message.textContent = `${where} ${near}`;
    mean.name(`The mean of p of x given z. ${message.textContent}`);
    map.draw();
  }

  map.drags(() => state.z, move);
  root.live = { state, move };
  render();
});

/**
 * Places near the given ones, none nearer to another than `least`: numerals that do not overlap.
 * @param {number[][]} given
 * @param {number} least
 */
function apart(given, least) {
  const places = given.map((place) => [...place]);
  for (let round = 0; round < 50; round++) {
    places.forEach((a, i) => {
      for (const b of places.slice(i + 1)) {
        const [x, y] = [b[0] - a[0] || 0.01, b[1] - a[1]];
        const distance = Math.hypot(x, y);
        const push = Math.max(0, least - distance) / (2 * distance);
        a[0] -= push * x;
        a[1] -= push * y;
        b[0] += push * x;
        b[1] += push * y;
      }
    });
  }
  return places;
}
