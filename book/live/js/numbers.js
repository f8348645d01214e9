// Numbers in the page: how they are written for readers, and how Python packed them.

/**
 * A number as the page writes it: a real minus sign, and none before a zero.
 * @param {number} value
 */
export function write(value, decimals = 2) {
  if (!Number.isFinite(value)) return "not known";
  const text = Math.abs(value).toFixed(decimals);
  return (value < 0 && Number(text) !== 0 ? "−" : "") + text;
}

/**
 * A whole number with commas: 10,000.
 * @param {number} value
 */
export function count(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/**
 * Two coordinates.
 * @param {ArrayLike<number>} code
 */
export function pair(code, decimals = 2) {
  return `(${write(code[0], decimals)}, ${write(code[1], decimals)})`;
}

const DIGITS =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
const VALUES = new Map([...DIGITS].map((digit, value) => [digit, value]));

/**
 * Bytes from base 85: five digits are four bytes, the highest first. Of a last group that is not
 * whole as many bytes are missing as digits.
 * @param {string} text
 */
function bytes(text) {
  const whole = Math.ceil(text.length / 5);
  const view = new DataView(new ArrayBuffer(4 * whole));
  for (let group = 0; group < whole; group++) {
    let number = 0;
    for (let i = 5 * group; i < 5 * group + 5; i++)
      number = 85 * number + (VALUES.get(text[i]) ?? 84);
    view.setUint32(4 * group, number);
  }
  return new Uint8Array(view.buffer.slice(0, 4 * whole - (5 * whole - text.length)));
}

/**
 * Half-precision numbers to double: exact.
 * @param {string} text
 */
export function halves(text) {
  return Float64Array.from(new Uint16Array(bytes(text).buffer), (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/**
 * Points of the plane, 16-bit multiples of a unit: [[z₁, z₂], …].
 * @param {string} text
 */
export function points(text, unit = 1e-3) {
  const raw = new Int16Array(bytes(text).buffer);
  const whole = Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i], raw[2 * i + 1]]);
  return whole.map(([a, b]) => [unit * a, unit * b]);
}

/**
 * A black-and-white image, eight pixels in a byte, the first in the highest bit.
 * @param {string} text
 */
export function bits(text, pixels = 784) {
  const packed = bytes(text);
  return Float64Array.from({ length: pixels }, (_, i) => (packed[i >> 3] >> (7 - (i & 7))) & 1);
}
