// How a figure starts: each one of its kind on the page, once; what fails leaves the still picture.

/** @typedef {HTMLElement & { live?: object }} Root the figure; `live` is what tests look at */

/**
 * Start every figure of a name that has not been started. It is shown when `start` is done.
 * @template Data
 * @param {string} name
 * @param {(root: Root, stage: HTMLElement, data: Data) => void | Promise<void>} start
 */
export function startEvery(name, start) {
  for (const found of document.querySelectorAll(`[data-vae="${name}"]:not([data-state])`)) {
    const root = /** @type {Root} */ (found);
    const stage = /** @type {HTMLElement} */ (root.querySelector(".vae-stage"));
    root.dataset.state = "starting";
    startOne(root, stage, start).catch((error) => {
      root.dataset.state = "failed";
      stage.hidden = true;
      throw error; // so that the console says it
    });
  }
}

/**
 * @template Data
 * @param {Root} root
 * @param {HTMLElement} stage
 * @param {(root: Root, stage: HTMLElement, data: Data) => void | Promise<void>} start
 */
async function startOne(root, stage, start) {
  const numbers = root.querySelector('script[type="application/json"]');
  if (!document.createElement("canvas").getContext) throw new Error("this browser has no canvas");
  await start(root, stage, JSON.parse(numbers?.textContent ?? ""));
  stage.hidden = false;
  root.dataset.state = "ready";
}

/**
 * Do `work` (true when done) a few milliseconds at a time, so that the page stays awake.
 * @param {(budget: number) => boolean} work
 * @returns {Promise<void>}
 */
export function inBackground(work) {
  return new Promise((resolve, reject) => {
    const step = () => {
      try {
        if (work(10)) resolve();
        else setTimeout(step);
      } catch (error) {
        reject(error);
      }
    };
    setTimeout(step);
  });
}
