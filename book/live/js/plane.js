// Move a point over the latent plane; the decoder runs in the page.

const decoder = layersOf(data.decoder);
const codes = points(data.points);
const LIMIT = 5; // of each coordinate
const state = { z: [0, 0], uniform: normals(3).uniform, draws: null };

const map = new Map2("Latent plane with the means of q of test digits. Drag, or use the arrow keys, to move the point.");
const mean = picture("");
const drawn = picture("");
const variance = picture("");
const sliders = [0, 1].map((axis) =>
  slider(`z${"₁₂"[axis]}`, { min: -LIMIT, max: LIMIT, step: 0.01, value: 0 }, () => move(state.z.map((value, k) => (k === axis ? sliders[axis].value : value)))),
);
const legend = make(
  "div",
  { class: "vae-row", "aria-hidden": "true" },
  ...data.classes.map((color, digit) => make("span", { style: `border-left: 0.8em solid ${color}; padding-left: 0.25em` }, String(digit))),
);
const message = make("p", { class: "vae-message", role: "status" });

stage.append(
  make(
    "div",
    { class: "vae-columns vae-two" },
    make("div", {}, make("p", { class: "vae-head" }, "Latent plane: the mean of q for each test digit"), map.canvas, legend, ...sliders.map((each) => each.node)),
    make(
      "div",
      { class: "vae-pictures" },
      make("figure", {}, mean.canvas, make("figcaption", {}, "mean of p(x|z)")),
      make("figure", {}, drawn.canvas, make("figcaption", {}, "an image drawn from it")),
      make("figure", {}, variance.canvas, make("figcaption", {}, "variance of each pixel, from 0 to ¼")),
      button("draw again", () => {
        state.draws = null;
        render();
      }),
    ),
  ),
  message,
);

// The dots do not change: they are drawn once.
map.clear();
map.axes();
for (const digit of data.classes.keys()) {
  codes.forEach((code, i) => {
    if (Number(data.labels[i]) === digit) map.dot(code, data.classes[digit], map.pixels / 130);
  });
}
const background = make("canvas", { width: map.pixels, height: map.pixels });
background.getContext("2d").drawImage(map.canvas, 0, 0);

function move(z) {
  state.z = z.map((value) => Math.min(LIMIT, Math.max(-LIMIT, value)));
  sliders.forEach((each, axis) => each.set(state.z[axis]));
  render();
}

function render() {
  const { z } = state;
  const began = performance.now();
  map.context.drawImage(background, 0, 0);
  map.dot(z, "#000000", map.pixels / 60, "#ffffff");
  state.probabilities = run(decoder, z).map(sigmoid);
  state.draws = state.draws || Float64Array.from({ length: 784 }, state.uniform);
  mean.show(state.probabilities);
  drawn.show(state.probabilities.map((p, i) => (state.draws[i] < p ? 1 : 0)));
  variance.show(state.probabilities.map((p) => 4 * p * (1 - p)));
  const near = nearest(z);
  const away = Math.hypot(...z);
  message.textContent =
    `z = (${write(z[0])}, ${write(z[1])}), ${write(away, 1)} from the origin. ` +
    (near.distance < 0.5 ? `The nearest test digit is a ${near.label}.` : "No test digit is coded within 0.5 of it.");
  mean.name(`The mean of p of x given z. ${message.textContent}`);
  drawn.name("An image drawn from p of x given z.");
  variance.name("The variance of each pixel: bright where the decoder is unsure.");
  state.took = performance.now() - began;
}

function nearest([a, b]) {
  const distances = codes.map(([c, d]) => Math.hypot(a - c, b - d));
  const distance = Math.min(...distances);
  return { distance, label: data.labels[distances.indexOf(distance)] };
}

map.drags(move, () => state.z);
root.live = { state, move };
render();
ready();
