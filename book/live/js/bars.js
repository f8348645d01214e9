// The three terms as bars, each from where the one before it ended, to log p(x).

import { box, make } from "./dom.js";
import { write } from "./numbers.js";

/** @typedef {import("./terms.js").Decomposition} Decomposition */

const ROWS = /** @type {const} */ ([
  ["reconstruction", "E<sub>q</sub>[log p(x|z)]", "Mean under q of log p of x given z"],
  ["kl_prior", "− KL(q ‖ prior)", "Minus the KL of q to the prior"],
  ["kl_posterior", "+ KL(q ‖ posterior)", "Plus the KL of q to the posterior"],
  ["likelihood", "= log p(x)", "Log p of x"],
]);
const LEFT = 0.62; // the share of a bar's track that lies left of log p(x)
const SPANS = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000]; // nats, of that part

/** Where bars begin: at 0 nats, which lies far to the right, or where the axis is cut. */
export function bars() {
  const rows = ROWS.map(([name, label, words]) => {
    const title = make("span", { "aria-hidden": "true" });
    title.innerHTML = label;
    const output = make("output", { "data-term": name });
    const bar = box(`vae-bar vae-${name}`);
    const head = box("vae-bar-head", title, output);
    const node = box("vae-bar-row", head, box("vae-track", bar, box("vae-mark")));
    node.setAttribute("role", "group");
    node.setAttribute("aria-label", words);
    return { name, output, bar, node };
  });
  const scale = box("vae-scale");
  const node = make("div", { role: "group", "aria-label": "The terms, in nats" });
  node.append(...rows.map((row) => row.node), scale);
  node.className = "vae-bars";
  node.style.setProperty("--vae-mark", `${100 * LEFT}%`);
  return {
    node,
    /**
     * log p(x) stands still; the span changes in steps, so that bars can be compared.
     * @param {Decomposition} terms
     */
    show(terms) {
      const { reconstruction, kl_prior, likelihood } = terms;
      const elbo = reconstruction - kl_prior;
      const needed = Math.max(
        likelihood - Math.min(elbo, reconstruction),
        ((reconstruction - likelihood) * LEFT) / (1 - LEFT),
      );
      const span = SPANS.find((size) => size >= 1.1 * needed) ?? SPANS[SPANS.length - 1];
      const low = likelihood - span;
      const at = (/** @type {number} */ value) =>
        Math.min(Math.max((100 * LEFT * (value - low)) / span, 0), 100);
      const ends = [
        [low, reconstruction],
        [reconstruction, elbo],
        [elbo, likelihood],
        [low, likelihood],
      ];
      rows.forEach(({ name, output, bar }, i) => {
        const [from, to] = ends[i].map(at);
        output.textContent = `${write(terms[name])} nats`;
        bar.style.left = `${Math.min(from, to)}%`;
        bar.style.width = `${Math.abs(to - from)}%`;
      });
      const cut = make("span", { class: "vae-cut" }, `axis cut at ${write(low, 0)}`);
      scale.replaceChildren(cut, make("span", { class: "vae-at-mark" }, `log p(x)`));
    },
  };
}
