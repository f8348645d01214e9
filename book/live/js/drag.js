// Dragging by mouse, pen and finger, and the same by keys: the one place that listens for them.

/** @typedef {[number, number]} Place in shares of the element, from its left and from its top */
/**
 * @typedef {object} Listeners
 * @property {(place: Place) => void} [begin] the button or the finger goes down
 * @property {(place: Place) => void} move while it is down
 * @property {() => void} [end]
 * @property {(way: [number, number], fine: boolean) => void} nudge an arrow key: right and up
 * @property {(key: string) => boolean} [key] another key; true if it meant something
 */

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * @param {HTMLElement} node
 * @param {Listeners} listeners
 */
export function drags(node, { begin, move, end, nudge, key }) {
  /** @param {PointerEvent} event @returns {Place} */
  const place = (event) => {
    const box = node.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    node.setPointerCapture(event.pointerId);
    node.focus({ preventScroll: true });
    (begin ?? move)(place(event));
    event.preventDefault();
  });
  node.addEventListener("pointermove", (event) => {
    if (!node.hasPointerCapture(event.pointerId)) return;
    const parts = event.getCoalescedEvents?.() ?? [];
    for (const part of parts.length ? parts : [event]) move(place(part));
  });
  node.addEventListener("lostpointercapture", () => end?.());
  node.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const way = ARROWS[event.key];
    if (way) nudge(way, event.shiftKey);
    else if (!key?.(event.key)) return;
    event.preventDefault();
  });
}
