// The networks: linear layers with SiLU between them, as the encoder and the decoder have them.

import { halves } from "./numbers.js";

/** @typedef {{ weight: string, bias: string, inputs: number }} Packed a layer as it travels */
/** @typedef {{ weight: Float64Array, bias: Float64Array, inputs: number }} Layer row by row */
/** @typedef {{ mean: number[], std: number[] }} Gaussian N(mean, diag std²) */

/**
 * @param {Packed[]} stored
 * @returns {Layer[]}
 */
export function layersOf(stored) {
  return stored.map(({ weight, bias, inputs }) => {
    return { weight: halves(weight), bias: halves(bias), inputs };
  });
}

/** @param {number} v */
export const silu = (v) => v / (1 + Math.exp(-v));
/** @param {number} v */
export const sigmoid = (v) => 1 / (1 + Math.exp(-v));
/** @param {number} v */
export const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));

/**
 * W x + b; four rows at a time, so that no sum waits for another.
 * @param {Layer} layer
 * @param {ArrayLike<number>} values
 */
export function linear({ weight, bias, inputs }, values) {
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

/**
 * The layers one after the other.
 * @param {Layer[]} layers
 * @param {ArrayLike<number>} x
 */
function run(layers, x) {
  let values = Float64Array.from(x);
  layers.forEach((layer, i) => {
    values = linear(layer, i ? values.map(silu) : values);
  });
  return values;
}

/**
 * q(z|x).
 * @param {Layer[]} encoder
 * @param {ArrayLike<number>} x
 * @returns {Gaussian}
 */
export function encode(encoder, x) {
  const [mean0, mean1, logVar0, logVar1] = run(encoder, x);
  return { mean: [mean0, mean1], std: [Math.exp(logVar0 / 2), Math.exp(logVar1 / 2)] };
}

/**
 * The mean of p(x|z): of each pixel the probability that it is white.
 * @param {Layer[]} decoder
 * @param {ArrayLike<number>} z
 */
export function decode(decoder, z) {
  return run(decoder, z).map(sigmoid);
}

/**
 * log p(x|z) in nats, and its gradient by z, by the chain rule through both layers.
 * @param {Layer[]} decoder
 * @param {Float64Array} x
 * @param {number[]} z
 */
export function logLikelihood(decoder, x, z) {
  const [first, last] = decoder;
  const sums = linear(first, z);
  const logits = linear(last, sums.map(silu));
  let value = 0;
  const back = new Float64Array(sums.length); // by each hidden unit
  for (let d = 0; d < x.length; d++) {
    value += x[d] * logits[d] - softplus(logits[d]);
    const error = x[d] - sigmoid(logits[d]);
    for (let k = 0; k < back.length; k++) back[k] += error * last.weight[d * last.inputs + k];
  }
  const gradient = [0, 0];
  sums.forEach((v, k) => {
    const s = sigmoid(v);
    const slope = back[k] * s * (1 + v * (1 - s));
    gradient[0] += slope * first.weight[2 * k];
    gradient[1] += slope * first.weight[2 * k + 1];
  });
  return { value, gradient, probabilities: logits.map(sigmoid) };
}
