// Move the mean and the width of q over one latent, linear decoder: the sum stays at log p(x).

import { bars } from "./bars.js";
import { Canvas } from "./canvas.js";
import { box, button, legend, make, slider, statusLine } from "./dom.js";
import { drags } from "./drag.js";
import { write } from "./numbers.js";
import { startEvery } from "./page.js";
import { decomposeLinear, linearPosterior, residual } from "./terms.js";
import { theme } from "./theme.js";

/** @typedef {import("./terms.js").Quadratic} Quadratic */

const REACH = 3.2; // the line is shown from −REACH to REACH
const LABEL =
  "Prior, posterior and q over the latent. Drag, or press the arrows left and right, to move q; " +
  "up and down change its width.";

startEvery("line", (root, stage, /** @type {Quadratic} */ model) => {
  const posterior = linearPosterior(model);
  const start = { mean: 0, std: 1 };
  const state = { ...start, terms: decomposeLinear(model, start), residual: 0 };
  const attributes = { class: "vae-line vae-moves", tabindex: 0, role: "application" };
  const line = new Canvas(theme(root), { ...attributes, "aria-label": LABEL }, drawLine);
  const terms = bars();
  const message = statusLine();
  const mean = slider("mean of q", { min: -3, max: 3, step: 0.01, value: 0 }, () =>
    set(mean.value, state.std),
  );
  const std = slider(
    "standard deviation of q",
    { min: -4, max: 1, step: 0.01, value: 0, decimals: 3, scale: Math.exp },
    () => set(state.mean, std.value),
  );
  stage.append(
    make("p", { class: "vae-head" }, make("strong", {}, "Drag q"), "; all are drawn equally high"),
    line.node,
    legend(["vae-prior", "p(z)"], ["vae-posterior", "p(z|x)"], ["vae-q", "q(z|x)"]),
    box("vae-columns", mean.node, std.node),
    box(
      "vae-row",
      button("q = the posterior", () => set(posterior.mean, posterior.std)),
      button("q = the prior", () => set(0, 1)),
    ),
    terms.node,
    message,
  );

  /**
   * @param {number} newMean
   * @param {number} newStd
   */
  function set(newMean, newStd) {
    state.mean = Math.min(3, Math.max(-3, newMean));
    state.std = Math.min(Math.E, Math.max(Math.exp(-4), newStd));
    state.terms = decomposeLinear(model, state);
    state.residual = residual(state.terms);
    mean.set(state.mean);
    std.set(Math.log(state.std));
    terms.show(state.terms);
    const { likelihood, kl_posterior } = state.terms;
    const below =
      kl_posterior < 0.005
        ? "Here q is the posterior: the ELBO is log p(x)."
        : `The ELBO is ${write(kl_posterior)} nats below it.`;
    const sum = write(likelihood + state.residual);
    message.textContent = `The sum is ${sum} nats wherever q is. ${below}`;
    line.draw();
  }

  function drawLine() {
    const { context, width, height } = line;
    const floor = height - 22;
    for (let z = -3; z <= 3; z++) {
      line.text(write(z, 0), ((z + REACH) / (2 * REACH)) * width, height - 6, "center");
    }
    /** @param {{ mean: number, std: number }} gaussian */
    const curve = (gaussian) =>
      Array.from({ length: Math.ceil(width) + 1 }, (_, x) => {
        const away = ((x / width) * 2 * REACH - REACH - gaussian.mean) / gaussian.std;
        return [x, floor - (floor - 12) * Math.exp(-0.5 * away ** 2)];
      });
    line.line(
      [
        [0, floor],
        [width, floor],
      ],
      "faint",
      1,
    );
    line.line(curve(posterior), "posterior", 2);
    context.globalAlpha = 0.35;
    context.fillStyle = line.theme.color("posterior");
    context.fill();
    context.globalAlpha = 1;
    line.line(curve({ mean: 0, std: 1 }), "prior", 2, [2, 4]);
    line.line(curve(state), "q", 3, [8, 5]);
  }

  drags(line.node, {
    move: ([x]) => set(2 * REACH * x - REACH, state.std),
    nudge: ([right, up], fine) => {
      const step = fine ? 0.01 : 0.1;
      set(state.mean + step * right, state.std * (1 + step) ** up);
    },
  });
  root.live = { state, set };
  set(0, 1);
});
