// z = μ + σε: turn the noise off and on, draw again, move μ and σ; z and the gradient of log p(x|z) follow.

const decoder = layersOf(data.decoder);
const x = bits(data.digit, 784);
const started = { mean: data.mean, std: data.std };
const state = { ...started, epsilon: data.epsilon, noise: normals(5) };

const map = new Map2("Latent plane: q as ellipses, and the code z. Drag, or use the arrow keys, to move the mean of q.");
const seen = picture("The digit x.");
const mean = picture("The mean of p of x given z.");
const noisy = checkbox("noise on: ε is drawn", true, () => render());
const widths = [0, 1].map((axis) =>
  slider(`σ${"₁₂"[axis]}`, { min: -4, max: 0.2, step: 0.01, value: Math.log(data.std[axis]), scale: Math.exp, decimals: 3 }, () => {
    state.std = state.std.map((s, k) => (k === axis ? widths[axis].value : s));
    render();
  }),
);
const table = make("table", { class: "vae-table" });
const message = make("p", { class: "vae-message", role: "status" });

stage.append(
  make(
    "div",
    { class: "vae-columns vae-two" },
    make("div", {}, make("p", { class: "vae-head" }, "q(z|x) orange, z black; the arrow is the gradient of log p(x|z) by μ"), map.canvas, ...widths.map((width) => width.node)),
    make(
      "div",
      { class: "vae-pictures" },
      noisy.node,
      button("draw ε again", () => {
        state.epsilon = [state.noise.normal(), state.noise.normal()];
        render();
      }),
      button("back to the encoder's μ and σ", () => {
        Object.assign(state, started);
        render();
      }),
      make("figure", {}, seen.canvas, make("figcaption", {}, "x")),
      make("figure", {}, mean.canvas, make("figcaption", {}, "mean of p(x|z)")),
    ),
  ),
  table,
  message,
);

/** log p(x|z) and its gradient by z, by the chain rule through both layers. */
function logLikelihood(z) {
  const [first, last] = decoder;
  const sums = linear(first, z);
  const logits = linear(last, sums.map(silu));
  let value = 0;
  const back = new Float64Array(sums.length);
  for (let d = 0; d < x.length; d++) {
    value += x[d] * logits[d] - softplus(logits[d]);
    const error = x[d] - sigmoid(logits[d]);
    for (let k = 0; k < back.length; k++) back[k] += error * last.weight[d * last.inputs + k];
  }
  const gradient = [0, 0];
  sums.forEach((v, k) => {
    const s = sigmoid(v);
    for (const axis of [0, 1]) gradient[axis] += back[k] * s * (1 + v * (1 - s)) * first.weight[2 * k + axis];
  });
  return { value, gradient, probabilities: logits.map(sigmoid) };
}

function render() {
  const began = performance.now();
  const epsilon = noisy.checked ? state.epsilon : [0, 0];
  const z = state.mean.map((m, axis) => m + state.std[axis] * epsilon[axis]);
  const found = logLikelihood(z);
  const bySigma = found.gradient.map((slope, axis) => slope * epsilon[axis]);
  Object.assign(state, { z, logLikelihood: found.value, byMean: found.gradient, byStd: bySigma, shown: epsilon });
  const half = Math.max(1, 3 * Math.max(...state.std));
  map.view = state.mean.map((m) => [m - half, m + half]);
  map.clear();
  map.axes();
  map.gaussian(state, COLORS.kl_prior);
  const size = Math.hypot(...found.gradient) || 1;
  const length = 0.45 * half * Math.min(1, Math.log1p(size) / 5);
  map.arrow(z, z.map((value, axis) => value + (length * found.gradient[axis]) / size), COLORS.reconstruction);
  map.dot(z, "#000000", map.pixels / 60, "#ffffff");
  seen.show(x);
  mean.show(found.probabilities);
  widths.forEach((width, axis) => width.set(Math.log(state.std[axis])));
  const rows = [
    ["dimension", "first", "second"],
    ["μ", ...state.mean.map((v) => write(v))],
    ["σ", ...state.std.map((v) => write(v, 3))],
    ["ε", ...epsilon.map((v) => write(v))],
    ["z = μ + σε", ...z.map((v) => write(v))],
    ["∂ log p(x|z) / ∂μ", ...found.gradient.map((v) => write(v, 1))],
    ["∂ log p(x|z) / ∂σ", ...bySigma.map((v) => write(v, 1))],
  ];
  table.replaceChildren(...rows.map((row, r) => make("tr", {}, ...row.map((text, c) => make(r && c ? "td" : "th", { scope: c ? "col" : "row" }, text)))));
  message.textContent =
    `log p(x|z) = ${write(found.value, 1)} nats. ` +
    (noisy.checked ? "Draw again: μ and σ stay, z and both gradients change." : "Without noise z = μ, and nothing reaches σ: its gradient is 0.");
  state.took = performance.now() - began;
}

map.drags(
  (z) => {
    state.mean = z.map((value) => Math.min(4.5, Math.max(-4.5, value)));
    render();
  },
  () => state.mean,
);
root.live = { state, render };
render();
ready();
