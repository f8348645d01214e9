// What all live figures share: the network in the page, the terms of log p(x) on a grid, and the parts of a picture.
// It is put inside one function per figure (see __init__.py), so nothing here is global.

const SVG = "http://www.w3.org/2000/svg";
const COLORS = data.colors;

/** An element with attributes and children; `on*` attributes are listeners. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "line", "text", "circle", "ellipse", "path"].includes(tag);
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** A number as the page writes it: fixed decimals, a real minus sign, and none before a zero. */
function write(value, decimals = 2) {
  if (!Number.isFinite(value)) return "not known";
  const text = Math.abs(value).toFixed(decimals);
  return (value < 0 && Number(text) !== 0 ? "−" : "") + text;
}

/** A labelled slider with its value beside it; gives { node, value, set }. */
function slider(label, { min, max, step, value, decimals = 2, scale = (v) => v }, changed) {
  const shown = make("output");
  const input = make("input", { type: "range", min, max, step, value, "aria-label": label });
  const show = (position = Number(input.value)) => {
    shown.textContent = write(scale(position), decimals);
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => {
    show();
    changed();
  });
  show();
  return {
    node: make("label", { class: "vae-slider" }, make("span", {}, label), input, shown),
    get value() {
      return scale(Number(input.value));
    },
    set(position) {
      input.value = position; // snaps to a step; what is written is exact
      show(position);
    },
  };
}

function button(label, pressed) {
  return make("button", { type: "button", onclick: pressed }, label);
}

/** A switch that is on or off; gives { node, checked }. */
function checkbox(label, checked, changed) {
  const input = make("input", { type: "checkbox", onchange: changed });
  input.checked = checked;
  return {
    node: make("label", { class: "vae-check" }, input, label),
    get checked() {
      return input.checked;
    },
  };
}

/** Normal draws that are the same on every page: mulberry32 and Box–Muller. */
function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 1831565813) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()) };
}

// ---------------------------------------------------------------- the network

function bytes(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** Half-precision numbers, as base64, to double: exact. */
function halves(text) {
  const raw = new Uint16Array(bytes(text).buffer);
  return Float64Array.from(raw, (h) => {
    const sign = h & 0x8000 ? -1 : 1;
    const exponent = (h >> 10) & 31;
    const fraction = h & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/** Points of the plane, 16-bit multiples of a unit: [[z₁, z₂], …]. */
function points(text, unit = 1e-3) {
  const raw = new Int16Array(bytes(text).buffer);
  return Array.from({ length: raw.length / 2 }, (_, i) => [unit * raw[2 * i], unit * raw[2 * i + 1]]);
}

/** Black and white images, eight pixels in a byte, the first pixel in the highest bit. */
function bits(text, count) {
  const packed = bytes(text);
  return Float64Array.from({ length: count }, (_, i) => (packed[i >> 3] >> (7 - (i & 7))) & 1);
}

function layersOf(stored) {
  return stored.map(({ weight, bias, inputs }) => ({ weight: halves(weight), bias: halves(bias), inputs }));
}

const silu = (v) => v / (1 + Math.exp(-v));
const sigmoid = (v) => 1 / (1 + Math.exp(-v));
const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));

/** W x + b; four rows at a time, so that no sum waits for another. */
function linear({ weight, bias, inputs }, values) {
  const x = Float64Array.from(values);
  const out = new Float64Array(bias.length);
  let row = 0;
  for (; row + 4 <= out.length; row += 4) {
    let a = bias[row];
    let b = bias[row + 1];
    let c = bias[row + 2];
    let d = bias[row + 3];
    const start = row * inputs;
    for (let i = 0; i < inputs; i++) {
      const value = x[i];
      a += weight[start + i] * value;
      b += weight[start + inputs + i] * value;
      c += weight[start + 2 * inputs + i] * value;
      d += weight[start + 3 * inputs + i] * value;
    }
    out[row] = a;
    out[row + 1] = b;
    out[row + 2] = c;
    out[row + 3] = d;
  }
  for (; row < out.length; row++) {
    let sum = bias[row];
    for (let i = 0; i < inputs; i++) sum += weight[row * inputs + i] * x[i];
    out[row] = sum;
  }
  return out;
}

/** The layers one after the other, SiLU between them. */
function run(layers, x) {
  return layers.reduce((values, layer, i) => linear(layer, i ? values.map(silu) : values), x);
}

/** q(z|x) = N(mean, diag std²). */
function encode(encoder, x) {
  const out = run(encoder, x);
  return { mean: [out[0], out[1]], std: [Math.exp(out[2] / 2), Math.exp(out[3] / 2)] };
}

/** KL(N(mean, diag std²) ‖ N(0, I)), in nats. */
function gaussianKl({ mean, std }) {
  return mean.reduce((sum, m, i) => sum + (m * m + std[i] ** 2 - 1) / 2 - Math.log(std[i]), 0);
}

// ---------------------------------------------------------------- log p(x) on a grid, for a latent plane

/**
 * log p(x|z) of a Bernoulli decoder with one hidden layer, for many z. With logits = V h(z) + c it is
 * h(z)·(Vᵀx) + c·x + log p(0|z); the last does not depend on x and is smooth, so it is computed once on a grid
 * ([−R, R]², step `step`), and interpolated between its points by polynomials through 8 × 8 of them.
 */
class Plane {
  constructor(decoder, radius, step) {
    Object.assign(this, { decoder, radius, step });
    this.size = 2 * Math.round(radius / step) + 1;
    this.black = new Float64Array(this.size ** 2);
    this.hiddens = new Float32Array(this.size ** 2 * decoder[0].bias.length);
    this.done = 0;
  }

  at(index) {
    return -this.radius + index * this.step;
  }

  hidden(z) {
    return linear(this.decoder[0], z).map(silu);
  }

  /** Fill the table for at most `budget` milliseconds, two points at a time; true when it is whole. */
  prepare(budget = Infinity) {
    const stop = performance.now() + budget;
    const { size, decoder, hiddens, black } = this;
    const width = decoder[0].bias.length;
    while (this.done < size ** 2 && performance.now() < stop) {
      const pair = [this.done, Math.min(this.done + 1, size ** 2 - 1)];
      const [one, two] = pair.map((g) => this.hidden([this.at(Math.floor(g / size)), this.at(g % size)]));
      hiddens.set(one, pair[0] * width);
      hiddens.set(two, pair[1] * width);
      [black[pair[0]], black[pair[1]]] = logBlack(decoder[1], one, two);
      this.done += 2;
    }
    return this.done >= size ** 2;
  }

  /** Vᵀx and c·x, all that is needed of an image. */
  project(x) {
    const { weight, bias, inputs } = this.decoder[1];
    const projected = new Float64Array(inputs);
    let constant = 0;
    for (let d = 0; d < x.length; d++) {
      if (!x[d]) continue;
      constant += x[d] * bias[d];
      for (let i = 0; i < inputs; i++) projected[i] += x[d] * weight[d * inputs + i];
    }
    return { projected, constant };
  }

  /**
   * log p(x|z) for every pair of a z₁ and a z₂, the first slowest; −∞ outside the square. A hidden unit is v / (1 + e^−v)
   * with v = w₁z₁ + (w₂z₂ + b), and e^−v a product of two factors: no exponential is needed for a pair.
   */
  logLikelihoods({ projected, constant }, first, second) {
    const { weight, bias } = this.decoder[0];
    const { size, black } = this;
    const width = bias.length;
    const parts = [first, second].map((codes, axis) => {
      const sums = Float64Array.from({ length: codes.length * width }, (_, at) => {
        const unit = at % width;
        return weight[2 * unit + axis] * codes[Math.floor(at / width)] + (axis ? bias[unit] : 0);
      });
      return { sums, factors: sums.map((v) => Math.exp(-v)), knots: codes.map((z) => this.knots(z)) };
    });
    const [one, two] = parts;
    const values = new Float64Array(first.length * second.length).fill(-Infinity);
    for (let i = 0; i < first.length; i++) {
      if (!one.knots[i]) continue;
      for (let j = 0; j < second.length; j++) {
        if (!two.knots[j]) continue;
        let sum = constant;
        for (let a = 0; a < 8; a++) {
          const start = (one.knots[i].start + a) * size + two.knots[j].start;
          let row = 0;
          for (let b = 0; b < 8; b++) row += two.knots[j].weights[b] * black[start + b];
          sum += one.knots[i].weights[a] * row;
        }
        for (let unit = 0, at = i * width, to = j * width; unit < width; unit++, at++, to++) {
          sum += (projected[unit] * (one.sums[at] + two.sums[to])) / (1 + one.factors[at] * two.factors[to]);
        }
        values[i * second.length + j] = sum;
      }
    }
    return values;
  }

  /** Lagrange's weights of the eight columns of the table around a coordinate; nothing outside the square. */
  knots(z) {
    if (!(Math.abs(z) <= this.radius)) return null;
    const position = (z + this.radius) / this.step;
    const start = Math.min(Math.max(Math.floor(position) - 3, 0), this.size - 8);
    const weights = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => {
      let weight = 1;
      for (let j = 0; j < 8; j++) if (j !== i) weight *= (position - start - j) / (i - j);
      return weight;
    });
    return { start, weights };
  }

  /** log p(x|z) + log p(z) on the table's points. */
  joint({ projected, constant }) {
    const { size, hiddens, black } = this;
    const values = new Float64Array(size ** 2);
    for (let g = 0, k = 0; g < values.length; g++) {
      let sum = constant + black[g];
      for (let i = 0; i < projected.length; i++) sum += projected[i] * hiddens[k++];
      values[g] = sum + logPrior(this.at(Math.floor(g / size)), this.at(g % size));
    }
    return values;
  }

  /**
   * log p(x), and the window that holds the posterior: [low, high] along each axis. First on the table's points; where
   * the mass lies, on a finer grid, and again while that mass fills only a small part of it.
   */
  evidence(image) {
    const { size, step, radius } = this;
    let level = { values: this.joint(image), n: size, window: [0, 1].map(() => [-radius - step / 2, radius + step / 2]) };
    let [sum, shift, edge] = [0, 0, false];
    for (let pass = 0; ; pass++) {
      const { values, n, window } = level;
      const { most, low, high } = box(values, n, 20);
      if (pass === 0) {
        shift = most;
        edge = Math.min(...low) === 0 || Math.max(...high) === n - 1;
      }
      const sides = window.map(([a, b]) => (b - a) / n);
      const last = pass === 3 || (pass > 0 && [0, 1].every((axis) => high[axis] - low[axis] > 20));
      for (let i = 0, k = 0; i < n; i++) {
        for (let j = 0; j < n; j++, k++) {
          const within = i >= low[0] && i <= high[0] && j >= low[1] && j <= high[1];
          if (last || !within) sum += Math.exp(values[k] - shift) * sides[0] * sides[1];
        }
      }
      if (last) return { logEvidence: shift + Math.log(sum), window, edge, values, n };
      const inner = window.map(([a], axis) => [a + low[axis] * sides[axis], a + (high[axis] + 1) * sides[axis]]);
      level = { values: this.window(image, inner, 64), n: 64, window: inner };
    }
  }

  /** log p(x|z) + log p(z) at the middles of n × n cells of a window, the first axis slowest. */
  window(image, window, n) {
    const [first, second] = window.map(([a, b]) => Array.from({ length: n }, (_, i) => a + ((b - a) * (i + 0.5)) / n));
    return this.logLikelihoods(image, first, second).map((value, k) => value + logPrior(first[Math.floor(k / n)], second[k % n]));
  }

  /** E_q[log p(x|z)] by the trapezoidal rule, five standard deviations to each side. */
  reconstruction(image, q) {
    return this.mean(image, q, q.std.map((s) => 2 * Math.ceil(5 / Math.min(0.5, 0.125 / s)) + 1), 5, (value) => value);
  }

  /** KL(q ‖ p(z|x)) on other points than the reconstruction term; log p(x) must be known. */
  klToPosterior(image, q, logEvidence) {
    const constant = -Math.log(2 * Math.PI * q.std[0] * q.std[1]);
    const sides = q.std.map((s) => 2 * Math.ceil(5.5 / Math.min(0.5, 0.125 / s)));
    return this.mean(image, q, sides, 5.5, (value, square, z0, z1) => constant - square / 2 - value - logPrior(z0, z1)) + logEvidence;
  }

  /** The mean under q of f(log p(x|z), |u|², z), with z = mean + std u, for counts of points with |uᵢ| ≤ reach. */
  mean(image, { mean, std }, counts, reach, f) {
    const units = counts.map((n) => Array.from({ length: n }, (_, i) => reach * ((2 * i) / (n - 1) - 1)));
    const codes = units.map((axis, k) => axis.map((u) => mean[k] + std[k] * u));
    const values = this.logLikelihoods(image, ...codes);
    let [sum, mass] = [0, 0];
    for (let i = 0, k = 0; i < counts[0]; i++) {
      for (let j = 0; j < counts[1]; j++, k++) {
        if (values[k] === -Infinity) continue;
        const square = units[0][i] ** 2 + units[1][j] ** 2;
        const weight = Math.exp(-square / 2);
        mass += weight;
        sum += weight * f(values[k], square, codes[0][i], codes[1][j]);
      }
    }
    return sum / mass;
  }
}

/** The largest of n × n values, and the smallest box [low, high] of indices around all within `below` of it. */
function box(values, n, below) {
  let most = -Infinity;
  for (const value of values) if (value > most) most = value;
  const [low, high] = [[n, n], [-1, -1]];
  for (let i = 0, k = 0; i < n; i++) {
    for (let j = 0; j < n; j++, k++) {
      if (values[k] < most - below) continue;
      if (i < low[0]) low[0] = i;
      if (i > high[0]) high[0] = i;
      if (j < low[1]) low[1] = j;
      if (j > high[1]) high[1] = j;
    }
  }
  return { most, low, high };
}

/** log p(0|z) = −Σ log(1 + e^logit) for two codes, from their hidden units: each weight is read once for both. The number of pixels must be even. */
function logBlack({ weight, bias, inputs }, one, two) {
  let first = 0;
  let second = 0;
  let productOne = 1;
  let productTwo = 1;
  const below = inputs;
  for (let row = 0, at = 0; row < bias.length; row += 2) {
    let a = bias[row];
    let b = a;
    let c = bias[row + 1];
    let d = c;
    for (let i = 0; i < inputs; i++, at++) {
      const upper = weight[at];
      const lower = weight[at + below];
      const u = one[i];
      const v = two[i];
      a += upper * u;
      b += upper * v;
      c += lower * u;
      d += lower * v;
    }
    at += inputs;
    first -= Math.max(a, 0) + Math.max(c, 0);
    second -= Math.max(b, 0) + Math.max(d, 0);
    // the logarithm of a product of factors 1 + e^−|logit| ≤ 2: one logarithm for many pixels
    productOne *= (1 + Math.exp(-Math.abs(a))) * (1 + Math.exp(-Math.abs(c)));
    productTwo *= (1 + Math.exp(-Math.abs(b))) * (1 + Math.exp(-Math.abs(d)));
    if (row % 64 === 0) {
      first -= Math.log(productOne);
      second -= Math.log(productTwo);
      productOne = 1;
      productTwo = 1;
    }
  }
  return [first - Math.log(productOne), second - Math.log(productTwo)];
}

function logPrior(z0, z1) {
  return -(z0 * z0 + z1 * z1) / 2 - Math.log(2 * Math.PI);
}

// ---------------------------------------------------------------- pictures

/** A canvas of 28 × 28 points that shows values from 0 (black) to 1 (white). */
function picture(label) {
  const canvas = make("canvas", { width: 28, height: 28, class: "vae-picture", role: "img", "aria-label": label });
  return {
    canvas,
    show(values) {
      const context = canvas.getContext("2d");
      const image = context.createImageData(28, 28);
      for (let i = 0; i < 784; i++) {
        image.data.fill(Math.round(255 * values[i]), 4 * i, 4 * i + 3);
        image.data[4 * i + 3] = 255;
      }
      context.putImageData(image, 0, 0);
    },
    name(text) {
      canvas.setAttribute("aria-label", text);
    },
  };
}

/** A square map of the latent plane: z₁ to the right, z₂ upwards; 560 points wide, drawn smaller. */
class Map2 {
  constructor(label, { pixels = 560 } = {}) {
    this.pixels = pixels;
    this.canvas = make("canvas", { width: pixels, height: pixels, class: "vae-map", tabindex: 0, role: "application", "aria-label": label });
    this.context = this.canvas.getContext("2d");
    this.view = [[-4, 4], [-4, 4]];
  }

  to(z) {
    const [[a, b], [c, d]] = this.view;
    return [((z[0] - a) / (b - a)) * this.pixels, (1 - (z[1] - c) / (d - c)) * this.pixels];
  }

  from(event) {
    const box = this.canvas.getBoundingClientRect();
    const [[a, b], [c, d]] = this.view;
    return [a + ((event.clientX - box.left) / box.width) * (b - a), d - ((event.clientY - box.top) / box.height) * (d - c)];
  }

  clear() {
    this.context.fillStyle = "#ffffff";
    this.context.fillRect(0, 0, this.pixels, this.pixels);
  }

  /** Lines at whole or even finer numbers, with the numbers at the border. */
  axes() {
    const { context, pixels } = this;
    const span = this.view[0][1] - this.view[0][0];
    const step = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2].find((s) => span / s <= 8) || 5;
    context.font = `${pixels / 20}px sans-serif`;
    context.lineWidth = 1;
    for (const axis of [0, 1]) {
      const [a, b] = this.view[axis];
      for (let k = Math.ceil(a / step); k * step <= b; k++) {
        const value = k * step;
        const at = axis ? this.to([this.view[0][0], value]) : this.to([value, this.view[1][0]]);
        context.strokeStyle = k === 0 ? "#888888" : "#dddddd";
        context.beginPath();
        context.moveTo(axis ? 0 : at[0], axis ? at[1] : 0);
        context.lineTo(axis ? pixels : at[0], axis ? at[1] : pixels);
        context.stroke();
        context.fillStyle = "#555555";
        const text = write(value, step < 0.1 ? 2 : step < 1 ? 1 : 0);
        const clear = axis ? at[1] > 30 && at[1] < pixels - 45 : at[0] > 60 && at[0] < pixels - 40;
        if (clear) context.fillText(text, axis ? 4 : at[0] - 8, axis ? at[1] - 4 : pixels - 6);
      }
    }
  }

  /** A density over a window, as a shade of one colour; values are logarithms, n × n, the first axis slowest. */
  shade(values, [[a, b], [c, d]], n, [red, green, blue]) {
    const most = values.reduce((x, y) => Math.max(x, y), -Infinity);
    const small = make("canvas", { width: n, height: n });
    const context = small.getContext("2d");
    const image = context.createImageData(n, n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        const at = 4 * ((n - 1 - j) * n + i);
        image.data.set([red, green, blue, 235 * Math.sqrt(Math.exp(values[i * n + j] - most))], at);
      }
    }
    context.putImageData(image, 0, 0);
    const [left, top] = this.to([a, d]);
    const [right, bottom] = this.to([b, c]);
    this.context.drawImage(small, left, top, right - left, bottom - top);
  }

  /** The ellipses of one and two standard deviations. */
  gaussian({ mean, std }, color, dash = []) {
    const { context } = this;
    const [x, y] = this.to(mean);
    const [right] = this.to([mean[0] + std[0], mean[1]]);
    const [, top] = this.to([mean[0], mean[1] + std[1]]);
    context.strokeStyle = color;
    context.lineWidth = this.pixels / 140;
    context.setLineDash(dash);
    for (const times of [1, 2]) {
      context.beginPath();
      context.ellipse(x, y, Math.max(1, times * (right - x)), Math.max(1, times * (y - top)), 0, 0, 2 * Math.PI);
      context.stroke();
    }
    context.setLineDash([]);
    this.dot(mean, color, this.pixels / 110);
  }

  dot(z, color, radius, border = null) {
    const { context } = this;
    context.beginPath();
    context.arc(...this.to(z), radius, 0, 2 * Math.PI);
    context.fillStyle = color;
    context.fill();
    if (border) {
      context.strokeStyle = border;
      context.lineWidth = this.pixels / 180;
      context.stroke();
    }
  }

  arrow(z, end, color) {
    const { context, pixels } = this;
    const [from, to] = [this.to(z), this.to(end)];
    const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = pixels / 110;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    context.beginPath();
    context.moveTo(...to);
    for (const turn of [2.7, -2.7]) {
      context.lineTo(to[0] + (pixels / 28) * Math.cos(angle + turn), to[1] + (pixels / 28) * Math.sin(angle + turn));
    }
    context.fill();
  }

  /** Drag with mouse, pen or finger; arrow keys move by a twentieth of the view, with Shift by a hundredth. */
  drags(moved, current) {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      moved(this.from(event));
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) moved(this.from(event));
    });
    canvas.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!way) return;
      const size = (this.view[0][1] - this.view[0][0]) / (event.shiftKey ? 100 : 20);
      const [z0, z1] = current();
      moved([z0 + way[0] * size, z1 + way[1] * size]);
      event.preventDefault();
    });
  }
}

/**
 * The three terms as bars from one to the next: the reconstruction term, from there back by the KL to the prior, from
 * there on by the KL to the posterior, which ends at log p(x).
 */
class Terms {
  constructor() {
    this.width = 560;
    this.svg = make("svg", { viewBox: `0 0 ${this.width} 128`, class: "vae-terms", "aria-hidden": "true" });
    this.names = { reconstruction: "E_q[log p(x|z)]", kl_prior: "− KL(q ‖ prior)", kl_posterior: "+ KL(q ‖ posterior)", likelihood: "= log p(x)" };
    this.outputs = {};
    this.table = make("div", { class: "vae-numbers", role: "group", "aria-label": "The terms, in nats" });
    for (const [name, label] of Object.entries(this.names)) {
      this.outputs[name] = make("output", { "data-term": name });
      this.table.append(make("div", { style: `border-color: ${COLORS[name]}` }, make("span", {}, label), this.outputs[name]));
    }
    this.node = make("div", {}, this.svg, this.table);
  }

  show(terms, range = null) {
    for (const [name, output] of Object.entries(this.outputs)) output.textContent = `${write(terms[name])} nats`;
    const { reconstruction, kl_prior, likelihood } = terms;
    const elbo = reconstruction - kl_prior;
    const ends = [reconstruction, elbo, likelihood];
    const spread = Math.max(...ends) - Math.min(...ends);
    const [low, high] = range || [Math.min(...ends) - 0.15 * spread - 1, Math.max(...ends) + 0.15 * spread + 1];
    const inside = (value) => Math.min(Math.max(value, low), high);
    const x = (value) => 8 + ((inside(value) - low) / (high - low)) * (this.width - 16);
    const origin = inside(0); // the bar of the first term comes from 0, or from the side where 0 lies
    const bars = [[origin, reconstruction, COLORS.reconstruction], [reconstruction, elbo, COLORS.kl_prior], [elbo, likelihood, COLORS.kl_posterior]];
    const drawn = bars.map(([from, to, color], row) =>
      make("rect", { x: Math.min(x(from), x(to)), width: Math.max(1.5, Math.abs(x(to) - x(from))), y: 8 + 30 * row, height: 22, fill: color }),
    );
    const line = make("line", { x1: x(likelihood), x2: x(likelihood), y1: 2, y2: 98, stroke: COLORS.likelihood, "stroke-width": 3 });
    const ticks = [low, high].map((value, i) =>
      make("text", { x: i ? this.width - 8 : 8, y: 122, "text-anchor": i ? "end" : "start", fill: "#555555", "font-size": 14 }, `${write(value, 0)}`),
    );
    const place = Math.min(Math.max(x(likelihood), 90), this.width - 90);
    const label = make("text", { x: place, y: 114, "text-anchor": "middle", fill: COLORS.likelihood, "font-size": 15 }, "log p(x)");
    this.svg.replaceChildren(...drawn, line, ...ticks, label);
  }
}

/** Run `work` (true when done) a few milliseconds at a time, then `then`; the page stays awake. */
function inBackground(work, then) {
  const step = () => (work(10) ? then() : setTimeout(step));
  setTimeout(step);
}
