// Move the mean and the width of q: three bars move, their sum stays at log p(x). One latent dimension, linear decoder.

const { constant, slope, curvature, logEvidence } = data;
const posterior = { mean: slope / (1 + curvature), std: 1 / Math.sqrt(1 + curvature) };
const REACH = 3.2; // the line is shown from −REACH to REACH
const state = { mean: 0, std: 1 };

const line = make("canvas", {
  width: 1120, height: 300, class: "vae-line", tabindex: 0, role: "application",
  "aria-label": "Prior, posterior and q over the latent. Drag, or use the arrow keys left and right, to move q; up and down change its width.",
});
const terms = new Terms();
const message = make("p", { class: "vae-message", role: "status" });
const sliders = {
  mean: slider("mean of q", { min: -3, max: 3, step: 0.01, value: 0 }, () => set(sliders.mean.value, state.std)),
  std: slider("standard deviation of q", { min: -4, max: 1, step: 0.01, value: 0, scale: Math.exp, decimals: 3 }, () => set(state.mean, sliders.std.value)),
};
stage.append(
  make("p", { class: "vae-head" }, "Prior grey, posterior green, q orange; each drawn to the same height"),
  line,
  sliders.mean.node,
  sliders.std.node,
  make("div", { class: "vae-row" }, button("q = the posterior", () => set(posterior.mean, posterior.std)), button("q = the prior", () => set(0, 1))),
  terms.node,
  message,
);

/** The three terms for q = N(mean, std²). None of the formulas contains log p(x). */
function decompose({ mean, std }) {
  const second = mean ** 2 + std ** 2;
  const ratio = (std / posterior.std) ** 2;
  return {
    reconstruction: constant + slope * mean - 0.5 * curvature * second,
    kl_prior: 0.5 * (second - 1) - Math.log(std),
    kl_posterior: 0.5 * (ratio + ((mean - posterior.mean) / posterior.std) ** 2 - 1 - Math.log(ratio)),
    likelihood: logEvidence,
  };
}

function set(mean, std) {
  const began = performance.now();
  state.mean = Math.min(3, Math.max(-3, mean));
  state.std = Math.min(Math.E, Math.max(Math.exp(-4), std));
  sliders.mean.set(state.mean);
  sliders.std.set(Math.log(state.std));
  state.terms = decompose(state);
  const { reconstruction, kl_prior, kl_posterior } = state.terms;
  state.residual = reconstruction - kl_prior + kl_posterior - logEvidence;
  terms.show(state.terms, [logEvidence - 90, logEvidence + 15]); // the same scale wherever q is: log p(x) stands still
  draw();
  message.textContent =
    `The sum is ${write(reconstruction - kl_prior + kl_posterior)} nats wherever q is. ` +
    (kl_posterior < 0.005 ? "Here q is the posterior: the ELBO is log p(x)." : `The ELBO is ${write(kl_posterior)} nats below it.`);
  state.took = performance.now() - began;
}

function draw() {
  const context = line.getContext("2d");
  const { width, height } = line;
  const x = (z) => ((z + REACH) / (2 * REACH)) * width;
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, height);
  context.fillStyle = "#555555";
  context.font = "28px sans-serif";
  context.textAlign = "center";
  for (let z = -3; z <= 3; z++) context.fillText(write(z, 0), x(z), height - 6);
  const curves = [
    [{ mean: 0, std: 1 }, "#888888", [4, 8], false],
    [posterior, COLORS.kl_posterior, [], true],
    [state, COLORS.kl_prior, [], false],
  ];
  for (const [{ mean, std }, color, dash, filled] of curves) {
    context.beginPath();
    for (let at = 0; at <= width; at += 1) {
      const z = (at / width) * 2 * REACH - REACH;
      const y = height - 40 - (height - 60) * Math.exp(-0.5 * ((z - mean) / std) ** 2);
      if (at) context.lineTo(at, y);
      else context.moveTo(at, y);
    }
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = 4;
    context.setLineDash(dash);
    context.stroke();
    context.globalAlpha = 0.3;
    if (filled) context.fill();
    context.globalAlpha = 1;
  }
  context.setLineDash([]);
}

function zAt(event) {
  const box = line.getBoundingClientRect();
  return ((event.clientX - box.left) / box.width) * 2 * REACH - REACH;
}

line.addEventListener("pointerdown", (event) => {
  line.setPointerCapture(event.pointerId);
  line.focus({ preventScroll: true });
  set(zAt(event), state.std);
  event.preventDefault();
});
line.addEventListener("pointermove", (event) => {
  if (line.hasPointerCapture(event.pointerId)) set(zAt(event), state.std);
});
line.addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 0.01 : 0.1;
  if (event.key === "ArrowLeft") set(state.mean - step, state.std);
  else if (event.key === "ArrowRight") set(state.mean + step, state.std);
  else if (event.key === "ArrowUp") set(state.mean, state.std * (1 + step));
  else if (event.key === "ArrowDown") set(state.mean, state.std / (1 + step));
  else return;
  event.preventDefault();
});

root.live = { state, set };
set(0, 1);
ready();
