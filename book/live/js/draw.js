// Draw a digit, or take one: q(z|x) beside the true posterior, and log p(x) split into its three terms.

const network = { encoder: layersOf(data.encoder), decoder: layersOf(data.decoder) };
const plane = new Plane(network.decoder, data.radius, data.step);
const PEN = 1.15; // half the width of a stroke, in pixels of the 28 × 28 image

const state = { strokes: [], digit: data.digits[0], x: null, q: null, encoder: null, noise: normals(1) };

// -------------------------------------------------------------- what is drawn

/**
 * A drawing as MNIST's digits are made: scaled so that its longer side fills 20 pixels, then moved by whole pixels, so
 * that its centre of mass is in the middle. A pixel is white if its centre lies within PEN of the pen's path.
 */
function rasterize(strokes, centred) {
  const paths = strokes.map((stroke) => stroke.map(([x, y]) => [28 * x, 28 * y]));
  const points = paths.flat();
  if (!centred || !points.length) return ink(paths);
  const [low, high] = [Math.min, Math.max].map((pick) => [0, 1].map((axis) => points.reduce((m, p) => pick(m, p[axis]), points[0][axis])));
  const longest = Math.max(high[0] - low[0], high[1] - low[1]);
  const factor = longest > 4 ? (20 - 2 * PEN) / longest : 1; // a dot stays a dot
  const x = ink(paths.map((path) => path.map((point) => point.map((value, axis) => factor * (value - (low[axis] + high[axis]) / 2) + 14))));
  const [total, ...sums] = mass(x);
  const [right, down] = sums.map((sum) => Math.min(4, Math.max(-4, Math.round(14 - sum / (total || 1))))); // so far there is room
  return shifted(x, right, down);
}

function ink(paths) {
  const x = new Float64Array(784);
  for (const path of paths) {
    path.forEach((end, i) => {
      const start = path[Math.max(0, i - 1)];
      const way = [end[0] - start[0], end[1] - start[1]];
      const length = way[0] ** 2 + way[1] ** 2;
      const [left, right] = [Math.min(start[0], end[0]) - 2, Math.max(start[0], end[0]) + 2].map(Math.floor);
      const [top, bottom] = [Math.min(start[1], end[1]) - 2, Math.max(start[1], end[1]) + 2].map(Math.floor);
      for (let row = Math.max(0, top); row <= Math.min(27, bottom); row++) {
        for (let column = Math.max(0, left); column <= Math.min(27, right); column++) {
          const from = [column + 0.5 - start[0], row + 0.5 - start[1]];
          const t = length ? Math.min(1, Math.max(0, (from[0] * way[0] + from[1] * way[1]) / length)) : 0;
          if ((from[0] - t * way[0]) ** 2 + (from[1] - t * way[1]) ** 2 <= PEN ** 2) x[28 * row + column] = 1;
        }
      }
    });
  }
  return x;
}

/** How many pixels are white, and the sums of their columns and rows. */
function mass(x) {
  const sums = [0, 0, 0];
  x.forEach((value, i) => {
    if (value) [1, (i % 28) + 0.5, Math.floor(i / 28) + 0.5].forEach((part, k) => (sums[k] += part));
  });
  return sums;
}

/** The image moved by whole pixels; what leaves it is lost. */
function shifted(x, right, down = 0) {
  return x.map((_, i) => {
    const [row, column] = [Math.floor(i / 28) - down, (i % 28) - right];
    return row >= 0 && row < 28 && column >= 0 && column < 28 ? x[28 * row + column] : 0;
  });
}

// -------------------------------------------------------------- the parts on the page

const pad = make("canvas", {
  width: 280, height: 280, class: "vae-pad", tabindex: 0, role: "application",
  "aria-label": "Drawing area. Draw with mouse, pen or finger; or move the pen with the arrow keys, and lower or lift it with the space bar.",
});
const seen = picture("What the encoder gets: 28 by 28 pixels, black or white.");
const mean = picture("The mean of p of x given z, for the sampled z.");
const drawn = picture("An image drawn from p of x given z.");
const map = new Map2("Latent plane around the posterior. Drag, or use the arrow keys, to move the mean of q.");
const terms = new Terms();
const message = make("p", { class: "vae-message", role: "status" });
const centred = checkbox("centre and scale as MNIST does", true, () => update());
const shift = slider("shift right by, in pixels", { min: -8, max: 8, step: 1, value: 0, decimals: 0 }, () => update());
const widths = [0, 1].map((axis) =>
  slider(`standard deviation of q along z${"₁₂"[axis]}`, { min: -4, max: 0.09, step: 0.01, value: 0, scale: Math.exp, decimals: 3 }, () => {
    own({ mean: state.q.mean, std: state.q.std.map((s, k) => (k === axis ? widths[axis].value : s)) });
  }),
);
const pick = make(
  "select",
  { "aria-label": "a test digit", onchange: () => (pick.value === "" ? clear() : take(Number(pick.value))) },
  make("option", { value: "" }, "my drawing"),
  ...data.digits.map(({ label }, i) => make("option", { value: i }, `test digit: ${label}`)),
);
pick.value = "0";

stage.append(
  make(
    "div",
    { class: "vae-columns" },
    make("div", {}, make("p", { class: "vae-head" }, "Draw here"), pad, make("div", { class: "vae-row" }, pick, button("clear", clear)), centred.node, shift.node),
    make("div", {}, make("p", { class: "vae-head" }, "Posterior green, q orange"), map.canvas, ...widths.map((width) => width.node), button("back to the encoder's q", () => own(null))),
  ),
  make(
    "div",
    { class: "vae-pictures vae-across" },
    make("figure", {}, seen.canvas, make("figcaption", {}, "x, as the encoder gets it")),
    make("figure", {}, mean.canvas, make("figcaption", {}, "mean of p(x|z), z from q")),
    make("figure", {}, drawn.canvas, make("figcaption", {}, "x drawn from it")),
    button("draw z again", () => sample()),
  ),
  terms.node,
  message,
);

// -------------------------------------------------------------- what happens

function clear() {
  state.strokes = [];
  state.digit = null;
  pick.value = "";
  update();
}

function take(index) {
  state.strokes = [];
  state.digit = data.digits[index];
  pick.value = String(index);
  update();
}

/** A q of the reader's own, kept five deviations inside the square that is known; or the encoder's. */
function own(q) {
  if (q) {
    const std = q.std.map((s) => Math.min(s, 1.1));
    const most = std.map((s) => plane.radius - 0.5 - 5 * s);
    state.q = { std, mean: q.mean.map((m, axis) => Math.min(Math.max(m, -most[axis]), most[axis])) };
  } else state.q = state.encoder;
  state.owned = Boolean(q);
  render();
}

function update() {
  const image = state.digit ? bits(state.digit.bits, 784) : rasterize(state.strokes, centred.checked);
  state.x = shifted(image, shift.value);
  state.encoder = encode(network.encoder, state.x);
  state.q = state.encoder;
  state.owned = false;
  const began = performance.now();
  state.image = plane.project(state.x);
  state.posterior = plane.evidence(state.image);
  render();
  state.took = performance.now() - began;
}

function decompose(q) {
  const reconstruction = plane.reconstruction(state.image, q);
  const kl_prior = gaussianKl(q);
  const likelihood = state.posterior.logEvidence;
  return { reconstruction, kl_prior, kl_posterior: plane.klToPosterior(state.image, q, likelihood), likelihood };
}

function render() {
  const { q, posterior } = state;
  const found = decompose(q);
  state.terms = found;
  state.residual = found.reconstruction - found.kl_prior + found.kl_posterior - found.likelihood;
  terms.show(found);
  widths.forEach((width, axis) => width.set(Math.log(q.std[axis])));
  look();
  seen.show(state.x);
  showPad();
  say(found, posterior);
  sample(false);
}

/** The part of the plane that shows the posterior's mass and q. */
function look() {
  const { q, posterior } = state;
  const { values, n, window } = posterior;
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const [low, high] = [[Infinity, Infinity], [-Infinity, -Infinity]];
  values.forEach((value, g) => {
    if (value < most - 8) return;
    [Math.floor(g / n), g % n].forEach((index, axis) => {
      const [a, b] = window[axis];
      const z = a + ((b - a) * (index + 0.5)) / n;
      low[axis] = Math.min(low[axis], z);
      high[axis] = Math.max(high[axis], z);
    });
  });
  for (const axis of [0, 1]) {
    low[axis] = Math.min(low[axis], q.mean[axis] - 2.5 * q.std[axis]);
    high[axis] = Math.max(high[axis], q.mean[axis] + 2.5 * q.std[axis]);
  }
  const half = 0.55 * Math.max(high[0] - low[0], high[1] - low[1], 0.2);
  map.view = [0, 1].map((axis) => [(low[axis] + high[axis]) / 2 - half, (low[axis] + high[axis]) / 2 + half]);
  map.clear();
  map.axes();
  map.shade(values, window, n, [0, 110, 80]);
  if (state.owned) map.gaussian(state.encoder, "#999999", [8, 8]);
  map.gaussian(q, COLORS.kl_prior);
}

function sample(again = true) {
  if (again || !state.epsilon) state.epsilon = [state.noise.normal(), state.noise.normal()];
  const z = state.q.mean.map((m, axis) => m + state.q.std[axis] * state.epsilon[axis]);
  const probabilities = run(network.decoder, z).map(sigmoid);
  mean.show(probabilities);
  const uniform = normals(2).uniform;
  drawn.show(probabilities.map((p) => (uniform() < p ? 1 : 0)));
  if (again) look();
  map.dot(z, "#ffffff", map.pixels / 70, COLORS.kl_prior);
  state.z = z;
}

function say(found, posterior) {
  const lines = [];
  const white = mass(state.x)[0];
  if (!state.digit && !white) lines.push("Nothing is drawn yet. These are the terms of the black image.");
  if (posterior.edge) lines.push("The posterior reaches the edge of the plane that is known here: the numbers are not exact.");
  if (!(Math.abs(state.residual) < 0.01)) lines.push("The two grids disagree by more than 0.01 nat: the numbers are not exact.");
  if (state.owned) {
    const theirs = decompose(state.encoder).kl_posterior;
    const verdict = found.kl_posterior < theirs ? "Yours is nearer to the posterior." : "The encoder's is nearer.";
    lines.push(`KL to the posterior: your q ${write(found.kl_posterior)} nats, the encoder's ${write(theirs)} nats. ${verdict}`);
  } else if (data.usual && found.kl_posterior > data.usual.third) {
    lines.push("The third term is larger than for 19 of 20 test digits: the encoder guesses badly, and the ELBO is that much below log p(x).");
  }
  if (data.usual && white && found.likelihood < data.usual.evidence) {
    lines.push("log p(x) is lower than for 19 of 20 test digits: the decoder finds no code that makes this image likely.");
  }
  message.textContent = lines.join(" ");
}

function showPad() {
  const context = pad.getContext("2d");
  context.fillStyle = "#000000";
  context.fillRect(0, 0, 280, 280);
  if (state.digit) {
    context.imageSmoothingEnabled = false;
    const digit = picture("");
    digit.show(bits(state.digit.bits, 784));
    context.drawImage(digit.canvas, 0, 0, 280, 280);
  }
  context.strokeStyle = "#ffffff";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = 20;
  for (const stroke of state.strokes) {
    context.beginPath();
    context.moveTo(280 * stroke[0][0], 280 * stroke[0][1]);
    for (const [x, y] of stroke) context.lineTo(280 * x, 280 * y + 0.01);
    context.stroke();
  }
  if (!state.digit && !state.strokes.length) {
    context.fillStyle = "#aaaaaa";
    context.font = "20px sans-serif";
    context.textAlign = "center";
    context.fillText("draw a digit", 140, 145);
  }
  if (state.pen) {
    context.strokeStyle = state.down ? "#d55e00" : "#009e73";
    context.lineWidth = 3;
    context.strokeRect(280 * state.pen[0] - 7, 280 * state.pen[1] - 7, 14, 14);
  }
}

// -------------------------------------------------------------- mouse, pen, finger, keys

let asked = false;
/** At most one update for each picture that the screen shows. */
function soon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    update();
  });
}

function penAt(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

function begin(point) {
  if (state.digit) {
    state.digit = null;
    state.strokes = [];
    pick.value = "";
  }
  state.strokes.push([point]);
  soon();
}

pad.addEventListener("pointerdown", (event) => {
  pad.setPointerCapture(event.pointerId);
  state.pen = null;
  begin(penAt(event));
  event.preventDefault();
  pad.focus({ preventScroll: true });
});
pad.addEventListener("pointermove", (event) => {
  if (!pad.hasPointerCapture(event.pointerId) || !state.strokes.length) return;
  for (const part of event.getCoalescedEvents?.() || [event]) state.strokes.at(-1).push(penAt(part));
  soon();
});
pad.addEventListener("keydown", (event) => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Escape" || event.key === "Delete") clear();
  else if (event.key === " ") {
    state.pen = state.pen || [0.5, 0.5];
    state.down = !state.down;
    if (state.down) begin([...state.pen]);
  } else if (way) {
    state.pen = (state.pen || [0.5, 0.5]).map((value, axis) => Math.min(1, Math.max(0, value + way[axis] / 28)));
    if (state.down && state.strokes.length) state.strokes.at(-1).push([...state.pen]);
    if (state.down) soon();
    else showPad();
  } else return;
  event.preventDefault();
});
pad.addEventListener("blur", () => {
  state.pen = null;
  state.down = false;
  if (state.x) showPad();
});
map.drags((z) => own({ mean: z, std: state.q.std }), () => state.q.mean);

root.live = { state, take, own, update, clear, rasterize, plane };
inBackground((budget) => plane.prepare(budget), () => {
  update();
  ready();
});
