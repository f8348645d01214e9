// Elements of the page, and the controls that figures are made of.

import { write } from "./numbers.js";

/** @typedef {Record<string, string | number | ((event: any) => void)>} Attributes */

/**
 * An element with attributes and children; a function is a listener of the event of its name.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, String(value));
  }
  node.append(...children);
  return node;
}

/**
 * A `div` of a class.
 * @param {string} name
 * @param {...(Node | string)} children
 */
export function box(name, ...children) {
  return make("div", { class: name }, ...children);
}

/**
 * @param {string} label
 * @param {() => void} pressed
 */
export function button(label, pressed) {
  return make("button", { type: "button", click: pressed }, label);
}

/**
 * A labelled slider with its value beside it. `set` writes an exact value; the knob snaps to steps.
 * @param {string} label
 * @param {{ min: number, max: number, step: number, value: number, decimals?: number,
 *   scale?: (position: number) => number }} settings
 * @param {() => void} changed
 */
export function slider(label, settings, changed) {
  const { min, max, step, value, decimals = 2, scale = (position) => position } = settings;
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
    /** @param {number} position */
    set(position) {
      input.value = String(position);
      show(position);
    },
  };
}

/**
 * The standard deviations of a Gaussian over the plane, as two sliders on a logarithmic scale.
 * @param {(axis: number) => string} label
 * @param {number} most the largest logarithm
 * @param {(axis: number, value: number) => void} changed
 */
export function widthSliders(label, most, changed) {
  const sliders = [0, 1].map((axis) => {
    const settings = { min: -4, max: most, step: 0.01, value: 0, decimals: 3, scale: Math.exp };
    const one = slider(label(axis), settings, () => changed(axis, one.value));
    return one;
  });
  return {
    nodes: sliders.map((one) => one.node),
    /** @param {number[]} std */
    set(std) {
      std.forEach((value, axis) => {
        sliders[axis].set(Math.log(value));
      });
    },
  };
}

/**
 * A switch that is on or off.
 * @param {string} label
 * @param {boolean} checked
 * @param {() => void} changed
 */
export function checkbox(label, checked, changed) {
  const input = make("input", { type: "checkbox", change: changed });
  input.checked = checked;
  return {
    node: make("label", { class: "vae-check" }, input, label),
    get checked() {
      return input.checked;
    },
  };
}

/** Where a figure says in words what it shows; screen readers hear it. */
export function statusLine() {
  return make("p", { class: "vae-message", role: "status" });
}

/**
 * What a line or an area in a picture stands for.
 * @param {...[string, string]} entries a class of its sample, and a text
 */
export function legend(...entries) {
  const items = entries.map(([kind, text]) =>
    make("span", {}, make("i", { class: `vae-sample ${kind}`, "aria-hidden": "true" }), text),
  );
  return make("p", { class: "vae-legend" }, ...items);
}

/**
 * Controls that are not needed at first sight.
 * @param {string} title
 * @param {...Node} children
 */
export function more(title, ...children) {
  return make("details", { class: "vae-more" }, make("summary", {}, title), ...children);
}
