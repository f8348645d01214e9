// The colours of the page: CSS variables, which differ in the light and in the dark.

/**
 * A function that gives the colour of a name, and one that calls back when the page turns dark or
 * light.
 * @param {HTMLElement} root
 */
export function theme(root) {
  /** @type {Map<string, string>} */
  const known = new Map();
  /** @type {(() => void)[]} */
  const listeners = [];
  const watcher = new MutationObserver(() => {
    known.clear();
    for (const listener of listeners) listener();
  });
  watcher.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  watcher.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  return {
    /** @param {string} name */
    color(name) {
      let value = known.get(name);
      if (value === undefined) {
        value = getComputedStyle(root).getPropertyValue(`--vae-${name}`).trim();
        known.set(name, value);
      }
      return value;
    },
    /** @param {() => void} listener */
    changed(listener) {
      listeners.push(listener);
    },
  };
}

/** @typedef {ReturnType<typeof theme>} Theme */
