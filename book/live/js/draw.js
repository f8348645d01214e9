// Draw a digit, or take one: q(z|x) beside the true posterior, and log p(x) split into three terms.

import { bars } from "./bars.js";
import {
  box,
  button,
  checkbox,
  legend,
  make,
  more,
  slider,
  statusLine,
  widthSliders,
} from "./dom.js";
import { Plane } from "./grid.js";
import { mass, rasterize, shifted } from "./ink.js";
import { LatentMap } from "./map.js";
import { decode, encode, layersOf } from "./network.js";
import { bits, write } from "./numbers.js";
import { drawingPad } from "./pad.js";
import { inBackground, startEvery } from "./page.js";
import { picture } from "./picture.js";
import { around, evidence, logJoint } from "./posterior.js";
import { stream } from "./random.js";
import { decompose, residual } from "./terms.js";
import { theme } from "./theme.js";

/** @typedef {import("./network.js").Packed} Packed */
/** @typedef {import("./network.js").Gaussian} Gaussian */
/**
 * @typedef {{ encoder: Packed[], decoder: Packed[], digits: { label: number, bits: string }[],
 *   usual: { third: number, evidence: number } | null, radius: number, step: number }} Data
 */

const SHOWN = 96; // cells of the posterior's picture, along each axis
const MAP =
  "Latent plane around the posterior, with q as dashed ellipses. Drag, or use the arrow keys, to " +
  "move the mean of q.";

startEvery("draw", async (root, stage, /** @type {Data} */ data) => {
  const [encoder, decoder] = [layersOf(data.encoder), layersOf(data.decoder)];
  const digits = data.digits.map(({ label, bits: packed }) => ({ label, x: bits(packed) }));
  const plane = new Plane(decoder, data.radius, data.step);
  await inBackground((budget) => plane.prepare(budget));

  const colors = theme(root);
  const noise = stream(1);
  const state = lookAt(digits[0].x);
  const pad = drawingPad({
    begun: () => {
      pick.value = "";
    },
    changed: update,
    cleared: clear,
  });
  const map = new LatentMap(colors, MAP, drawMap);
  const seen = picture("x, as the encoder gets it", "The image that the encoder gets.");
  const mean = picture("mean of p(x|z), z from q", "The mean of p of x given z.");
  const drawn = picture("an image drawn from it", "An image drawn from p of x given z.");
  const terms = bars();
  const message = statusLine();
  const centred = checkbox("centre and scale as MNIST does", true, update);
  const shift = slider(
    "shift right by, in pixels",
    { min: -8, max: 8, step: 1, value: 0, decimals: 0 },
    update,
  );
  const widths = widthSliders(
    (axis) => `standard deviation of q along z${"₁₂"[axis]}`,
    0.09,
    (axis, value) => own({ mean: state.q.mean, std: state.q.std.with(axis, value) }),
  );
  const options = digits.map(({ label }, i) =>
    make("option", { value: i }, `test digit: ${label}`),
  );
  const pick = make(
    "select",
    {
      "aria-label": "a test digit",
      change: () => (pick.value === "" ? clear() : take(Number(pick.value))),
    },
    make("option", { value: "" }, "my drawing"),
    ...options,
  );

  stage.append(
    box(
      "vae-columns vae-wide-right",
      box(
        "",
        make("p", { class: "vae-head" }, "The image x: draw your own, or pick one"),
        pad.canvas,
        box("vae-row", pick, button("clear", clear)),
      ),
      box(
        "",
        make("p", { class: "vae-head" }, make("strong", {}, "Drag the gold dot"), ": it moves q"),
        map.node,
        legend(["vae-posterior", "p(z|x), the posterior"], ["vae-q", "q(z|x)"]),
        button("back to the encoder's q", () => own(null)),
      ),
    ),
    terms.node,
    message,
    more(
      "Width of q, samples, and where the image lies",
      box("vae-columns", box("", ...widths.nodes), box("", centred.node, shift.node)),
      box(
        "vae-pictures",
        seen.node,
        mean.node,
        drawn.node,
        button("draw z again", () => sample()),
      ),
    ),
  );

  /**
   * What is known of an image, with the encoder's q.
   * @param {Float64Array} x
   */
  function lookAt(x) {
    const image = plane.project(x);
    const posterior = evidence(plane, image);
    const q = encode(encoder, x);
    const view = around(plane, image, posterior.region, q);
    const density = logJoint(plane, image, view, SHOWN);
    const found = decompose(plane, image, q, posterior.logEvidence);
    const { logEvidence, edge } = posterior;
    const epsilon = [noise.normal(), noise.normal()];
    return {
      ...{ x, image, logEvidence, edge, encoder: q, view, density, q, owned: false },
      ...{ terms: found, theirs: found, epsilon, z: q.mean },
    };
  }

  function clear() {
    pick.value = "";
    pad.take(null);
    update();
  }

  /** @param {number} index */
  function take(index) {
    pick.value = String(index);
    pad.take(digits[index].x);
    update();
  }

  function update() {
    const picked = pick.value === "" ? null : digits[Number(pick.value)].x;
    const x = picked ?? rasterize(pad.strokes, centred.checked);
    Object.assign(state, lookAt(shifted(x, shift.value)));
    render();
  }

  /**
   * A q of the reader's own, kept five deviations inside what is known; or the encoder's.
   * @param {Gaussian | null} q
   */
  function own(q) {
    if (q) {
      const std = q.std.map((s) => Math.min(s, 1.1));
      const most = std.map((s) => plane.radius - 0.5 - 5 * s);
      const mean = q.mean.map((m, axis) => Math.min(Math.max(m, -most[axis]), most[axis]));
      state.q = { mean, std };
    } else state.q = state.encoder;
    state.owned = q !== null;
    state.terms = decompose(plane, state.image, state.q, state.logEvidence);
    render();
  }

  function render() {
    terms.show(state.terms);
    widths.set(state.q.std);
    seen.show(state.x);
    sample(false);
    say();
  }

  function drawMap() {
    map.view = state.view;
    map.axes();
    map.contours(state.density, state.view, SHOWN);
    if (state.owned) map.gaussian(state.encoder, "muted");
    map.gaussian(state.q);
    map.dot(state.q.mean, "q", 8, "ground");
  }

  function sample(again = true) {
    if (again) state.epsilon = [noise.normal(), noise.normal()];
    state.z = state.q.mean.map((m, axis) => m + state.q.std[axis] * state.epsilon[axis]);
    const probabilities = decode(decoder, state.z);
    const { uniform } = stream(2);
    mean.show(probabilities);
    drawn.show(probabilities.map((p) => (uniform() < p ? 1 : 0)));
    map.draw();
  }

  function say() {
    const { terms: found, theirs, owned, edge, x } = state;
    const { usual } = data;
    const white = mass(x).white;
    const lines = [];
    if (!white) lines.push("Nothing is drawn yet. These are the terms of the black image.");
    if (edge) lines.push("The posterior reaches the edge of what is known: numbers not exact.");
    if (!(Math.abs(residual(found)) < 0.01)) {
      lines.push("The two grids disagree by more than 0.01 nat: the numbers are not exact.");
    }
    if (owned) {
      const nearer = found.kl_posterior < theirs.kl_posterior ? "Yours is" : "The encoder's is";
      const both = [found, theirs].map((each) => write(each.kl_posterior));
      lines.push(`Third term: your q ${both[0]} nats, the encoder's ${both[1]} nats.`);
      lines.push(`${nearer} nearer to the posterior. log p(x) did not move.`);
    } else if (usual && found.kl_posterior > usual.third) {
      lines.push("The third term is larger than for 19 of 20 test digits: the encoder's q misses");
      lines.push("the posterior, and the first two terms are that much below log p(x).");
    }
    if (usual && white && found.likelihood < usual.evidence) {
      lines.push("log p(x) is lower than for 19 of 20 test digits: the decoder finds no code that");
      lines.push("makes this image likely.");
    }
    message.textContent = lines.join(" ");
  }

  map.drags(
    () => state.q.mean,
    (z) => own({ mean: z, std: state.q.std }),
  );
  root.live = { state, take, own };
  take(0);
});
