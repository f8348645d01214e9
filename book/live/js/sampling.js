// z = μ + σ ⊙ ε: ε is drawn again, μ and σ stay; z and the gradient of log p(x|z) follow.

import { box, button, checkbox, legend, make, statusLine, widthSliders } from "./dom.js";
import { LatentMap } from "./map.js";
import { layersOf, logLikelihood } from "./network.js";
import { bits, pair, write } from "./numbers.js";
import { startEvery } from "./page.js";
import { picture } from "./picture.js";
import { stream } from "./random.js";
import { theme } from "./theme.js";

/**
 * @typedef {{ decoder: import("./network.js").Packed[], digit: string, mean: number[],
 *   std: number[], epsilon: number[] }} Data
 */

const EARLIER = 300; // draws that are kept
const MAP =
  "Latent plane: q as dashed ellipses, the code z as a dot, earlier ones as faint dots. Drag, or " +
  "use the arrow keys, to move the mean of q.";

startEvery("sampling", (root, stage, /** @type {Data} */ data) => {
  const decoder = layersOf(data.decoder);
  const x = bits(data.digit);
  const noise = stream(5);
  const state = {
    ...{ mean: data.mean, std: data.std, epsilon: data.epsilon, shown: data.epsilon },
    ...{ z: data.mean, logLikelihood: 0, byMean: [0, 0], byStd: [0, 0] },
    earlier: /** @type {number[][]} */ ([]),
    half: 3 * Math.max(...data.std),
  };

  const map = new LatentMap(theme(root), MAP, drawMap);
  const seen = picture("x", "The digit x.");
  const mean = picture("mean of p(x|z)", "The mean of p of x given z.");
  const noisy = checkbox("noise on: ε is drawn from N(0, I)", true, render);
  const widths = widthSliders(
    (axis) => `σ${"₁₂"[axis]}`,
    0.2,
    (axis, value) => {
      state.std = state.std.with(axis, value);
      render();
    },
  );
  /** @param {string} kind @param {string} symbol */
  const card = (kind, symbol) => {
    const value = make("output");
    const head = box("vae-card-head", make("strong", {}, symbol), make("span", {}, kind));
    return { value, node: box(`vae-card vae-card-${kind}`, head, value) };
  };
  const cards = {
    z: card("result", "z = μ + σ ⊙ ε"),
    mean: card("static", "μ"),
    std: card("static", "σ"),
    epsilon: card("random", "ε"),
  };
  const table = make("table", { class: "vae-table" });
  const message = statusLine();
  stage.append(
    box(
      "vae-columns vae-wide-left",
      box(
        "",
        make("p", { class: "vae-head" }, make("strong", {}, "Drag the gold dot"), ": it is μ"),
        map.node,
        legend(["vae-q", "q(z|x)"], ["vae-point", "z"], ["vae-path", "gradient by μ"]),
      ),
      box(
        "",
        box("vae-cards", ...Object.values(cards).map((each) => each.node)),
        box(
          "vae-row",
          button("draw ε again", () => draw(1)),
          button("… 50 times", () => draw(50)),
        ),
        noisy.node,
        box("vae-pictures", seen.node, mean.node),
      ),
    ),
    box("vae-columns", ...widths.nodes),
    button("back to the encoder's μ and σ", () => {
      Object.assign(state, { mean: data.mean, std: data.std });
      render();
    }),
    table,
    message,
  );

  /** @param {number} times */
  function draw(times) {
    for (let i = 0; i < times; i++) {
      state.earlier.push(state.epsilon);
      state.epsilon = [noise.normal(), noise.normal()];
    }
    state.earlier = state.earlier.slice(-EARLIER);
    render();
  }

  /** @param {number[]} epsilon */
  const code = (epsilon) => state.mean.map((m, axis) => m + state.std[axis] * epsilon[axis]);

  function render() {
    const epsilon = noisy.checked ? state.epsilon : [0, 0];
    const z = code(epsilon);
    const found = logLikelihood(decoder, x, z);
    const byStd = found.gradient.map((slope, axis) => slope * epsilon[axis]);
    const numbers = { logLikelihood: found.value, byMean: found.gradient, byStd };
    Object.assign(state, { z, shown: epsilon, ...numbers });
    cards.mean.value.textContent = pair(state.mean);
    cards.std.value.textContent = pair(state.std, 3);
    cards.epsilon.value.textContent = noisy.checked ? pair(epsilon) : "off: (0, 0)";
    cards.z.value.textContent = pair(z);
    seen.show(x);
    mean.show(found.probabilities);
    widths.set(state.std);
    const rows = [
      ["gradient of log p(x|z)", "z₁", "z₂"],
      ["by z, and so by μ", ...found.gradient.map((v) => write(v, 1))],
      ["by σ: the same, times ε", ...byStd.map((v) => write(v, 1))],
    ];
    table.replaceChildren(...rows.map(tableRow));
    const said = noisy.checked
      ? "Draw again: μ and σ stay, z and both gradients change."
      : "Without noise z = μ, and nothing reaches σ: its gradient is 0.";
    message.textContent = `log p(x|z) = ${write(found.value, 1)} nats. ${said}`;
    map.draw();
  }

  function drawMap() {
    const { half } = state;
    const centre = data.mean;
    map.view = centre.map((m) => [m - half, m + half]);
    map.axes();
    map.gaussian(state);
    if (noisy.checked) {
      for (const epsilon of state.earlier) map.dot(code(epsilon), "muted", 2.5);
    }
    const size = Math.hypot(...state.byMean) || 1;
    const length = 0.45 * half * Math.min(1, Math.log1p(size) / 5);
    const end = state.z.map((value, axis) => value + (length * state.byMean[axis]) / size);
    map.arrow(state.z, end, "gradient");
    map.dot(state.mean, "q", 8, "ground");
    map.dot(state.z, "ink", 6, "ground");
  }

  map.drags(
    () => state.mean,
    (z) => {
      state.mean = z;
      render();
    },
  );
  root.live = { state };
  render();
});

/**
 * @param {string[]} texts
 * @param {number} row
 */
function tableRow(texts, row) {
  const cells = texts.map((text, column) =>
    row && column
      ? make("td", {}, text)
      : make("th", { scope: column && !row ? "col" : "row" }, text),
  );
  return make("tr", {}, ...cells);
}
