// An area to draw on, by mouse, pen, finger or keys.

import { make } from "./dom.js";
import { drags } from "./drag.js";
import { picture } from "./picture.js";

const SIZE = 280;
const LABEL =
  "Drawing area. Draw with mouse, pen or finger; or move the pen with the arrow keys, lower or " +
  "lift it with the space bar, and clear with Escape.";

/**
 * `begun` is called before the first stroke on a digit on show, `changed` when a stroke grew,
 * `cleared` when Escape or Delete was pressed.
 * @param {{ begun: () => void, changed: () => void, cleared: () => void }} listeners
 */
export function drawingPad({ begun, changed, cleared }) {
  const attributes = { width: SIZE, height: SIZE, class: "vae-pad vae-moves", tabindex: 0 };
  const canvas = make("canvas", { ...attributes, role: "application", "aria-label": LABEL });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  /** @type {number[][][]} */
  let strokes = [];
  /** @type {Float64Array | null} */
  let digit = null;
  /** @type {{ at: [number, number], down: boolean } | null} the pen of the keyboard */
  let pen = null;
  let asked = false;

  /** At most one change for each picture that the screen shows. */
  const soon = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      show();
      changed();
    });
  };
  const begin = (/** @type {[number, number]} */ point) => {
    if (digit) {
      digit = null;
      strokes = [];
      begun();
    }
    strokes.push([point]);
    soon();
  };
  drags(canvas, {
    begin(point) {
      pen = null;
      begin(point);
    },
    move(point) {
      strokes.at(-1)?.push(point);
      soon();
    },
    nudge([right, up]) {
      const [x, y] = pen?.at ?? [0.5, 0.5];
      pen = { at: [inside(x + right / 28), inside(y - up / 28)], down: pen?.down ?? false };
      if (pen.down) strokes.at(-1)?.push(pen.at);
      if (pen.down) soon();
      else show();
    },
    key(key) {
      if (key === "Escape" || key === "Delete") cleared();
      else if (key === " ") {
        pen = { at: pen?.at ?? [0.5, 0.5], down: !pen?.down };
        if (pen.down) begin(pen.at);
        else show();
      } else return false;
      return true;
    },
  });
  canvas.addEventListener("blur", () => {
    pen = null;
    show();
  });

  function show() {
    context.fillStyle = "#000"; // an image is black and white in the dark, too
    context.fillRect(0, 0, SIZE, SIZE);
    if (digit) {
      const small = picture("", "");
      small.show(digit);
      context.imageSmoothingEnabled = false;
      context.drawImage(small.canvas, 0, 0, SIZE, SIZE);
    }
    context.strokeStyle = "#fff";
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = 20;
    for (const stroke of strokes) {
      context.beginPath();
      context.moveTo(SIZE * stroke[0][0], SIZE * stroke[0][1]);
      for (const [x, y] of stroke) context.lineTo(SIZE * x, SIZE * y + 0.01);
      context.stroke();
    }
    if (!digit && !strokes.length) {
      context.fillStyle = "#bbb";
      context.font = "22px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillText("draw a digit here", SIZE / 2, SIZE / 2);
    }
    if (pen) {
      context.strokeStyle = pen.down ? "#ff5" : "#8cf";
      context.lineWidth = 3;
      context.strokeRect(SIZE * pen.at[0] - 7, SIZE * pen.at[1] - 7, 14, 14);
    }
  }

  return {
    canvas,
    get strokes() {
      return strokes;
    },
    /**
     * Show a digit to draw over, or nothing.
     * @param {Float64Array | null} image
     */
    take(image) {
      digit = image;
      strokes = [];
      show();
    },
  };
}

/** @param {number} share */
function inside(share) {
  return Math.min(1, Math.max(0, share));
}
