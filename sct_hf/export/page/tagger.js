// Images to scores and heatmaps, on this device. It follows sct_hf's Python: reading, resizing, normalising.
import * as ort from "./runtime/ort.wasm.min.mjs";

const MOST_PIXELS = 16_000_000; // what a phone's canvas holds; larger images are made smaller first
const PRECISION = 22; // bits behind the point of a weight, as in Pillow

/** A model that is loaded. `about` is what export.json says. */
export class Tagger {
  constructor(about, session) {
    this.about = about;
    this.session = session;
  }

  /**
   * Load a model from a folder.
   * @param {string} folder Its address, with a slash at the end.
   * @param {(loaded: number, total: number) => void} progress Told the bytes so far, and all of them.
   */
  static async load(folder, progress = () => {}) {
    const about = await (await get(folder + "export.json")).json();
    const runtime = new URL("runtime/", new URL(folder, location.href)).href;
    const files = [folder + about.files.browser.file, runtime + "ort-wasm-simd-threaded.wasm"];
    const [graph, wasm] = await downloads(files, progress);
    Object.assign(ort.env.wasm, { numThreads: 1, wasmPaths: runtime, wasmBinary: wasm });
    const session = await ort.InferenceSession.create(graph, {
      executionProviders: ["wasm"],
      extra: { session: { disable_quant_qdq: "1" } }, // weights become float32 once, here
    });
    return new Tagger(about, session);
  }

  /**
   * Score an image.
   * @param {ImageData} image Upright.
   * @returns {{scores: Float32Array, maps: Float32Array[], rows: number, columns: number}} Maps in [0, 1], row by
   *   row, one for each label; none if the model has no heatmaps.
   */
  async tag(image) {
    const { name } = this.about.input;
    const [height, width] = this.about.preprocessing.size;
    const values = prepared(image, width, height, this.about.preprocessing);
    const found = await this.session.run({ [name]: new ort.Tensor("float32", values, [1, 3, height, width]) });
    const scores = found.scores.data;
    if (!scores.every(Number.isFinite)) throw new Error("The model's scores are no numbers.");
    const [, , rows = 0, columns = 0] = found.heatmap?.dims ?? [];
    const place = rows * columns;
    const maps = place ? Array.from(scores, (_, label) => found.heatmap.data.slice(label * place, (label + 1) * place)) : [];
    return { scores, maps, rows, columns };
  }
}

/** Fetch a file of the page's own folder. */
async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`The file ${address} is missing (${answer.status}).`);
  return answer;
}

/** Fetch files together, as buffers. */
async function downloads(addresses, progress) {
  const answers = await Promise.all(addresses.map(get));
  const packed = answers.some((answer) => answer.headers.get("Content-Encoding")); // then lengths are not known
  const total = packed ? 0 : answers.reduce((sum, answer) => sum + Number(answer.headers.get("Content-Length")), 0);
  let loaded = 0;
  const read = async (answer) => {
    const parts = [];
    const reader = answer.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      loaded += part.value.length;
      progress(loaded, total);
    }
    return new Blob(parts).arrayBuffer();
  };
  return Promise.all(answers.map(read));
}

/**
 * Read an image file: upright by its EXIF orientation, without colour management, and with the colours that
 * transparent pixels hide, as Pillow reads it.
 * @param {Blob} file
 * @returns {Promise<ImageData>}
 */
export async function readImage(file) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  let bitmap = await createImageBitmap(file, options);
  const shrink = Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height));
  if (shrink < 1) {
    const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((side) => Math.floor(side * shrink));
    const whole = bitmap;
    bitmap = await createImageBitmap(whole, { ...options, resizeWidth, resizeHeight, resizeQuality: "high" });
    whole.close();
  }
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  const opaque = image.data.every((value, place) => place % 4 !== 3 || value === 255);
  const shown = (opaque ? null : withHiddenColours(bitmap)) ?? image;
  bitmap.close();
  return shown;
}

/** Pixels of a bitmap with transparency: a 2D canvas loses the colours of transparent pixels, WebGL keeps them. */
function withHiddenColours(bitmap) {
  const { width, height } = bitmap;
  const gl = document.createElement("canvas").getContext("webgl");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const image = new ImageData(width, height);
  const bytes = new Uint8Array(image.data.buffer);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
  return gl.getError() === gl.NO_ERROR ? image : null;
}

/** An image as the model's input: (3, height, width) float32. */
function prepared(image, width, height, { mean, std }) {
  const pixels = resized(image, width, height);
  const size = width * height;
  const values = new Float32Array(3 * size);
  for (let channel = 0; channel < 3; channel++) {
    for (let place = 0; place < size; place++) {
      values[channel * size + place] = (pixels[3 * place + channel] / 255 - mean[channel]) / std[channel];
    }
  }
  return values;
}

/**
 * Resize as Pillow's Image.resize(…, Resampling.BILINEAR): a triangle as wide as a target pixel, first across, then
 * down, with weights in whole numbers and 8 bits between the two.
 * @param {ImageData} image
 * @returns {Uint8Array} RGB of each pixel, row by row; alpha is dropped.
 */
export function resized(image, width, height) {
  const rgb = new Uint8Array(3 * image.width * image.height);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = image.data[from];
    rgb[to + 1] = image.data[from + 1];
    rgb[to + 2] = image.data[from + 2];
  }
  const across = transposed(along(rgb, image.height, image.width, width), image.height, width);
  return transposed(along(across, width, image.height, height), width, height);
}

/** Resize each of `count` lines of RGB from `size` to `target` pixels. */
function along(pixels, count, size, target) {
  if (size === target) return pixels;
  const made = new Uint8Array(3 * count * target);
  const half = 1 << (PRECISION - 1);
  triangles(size, target).forEach(({ first, weights }, place) => {
    for (let line = 0; line < count; line++) {
      const start = 3 * (line * size + first);
      const to = 3 * (line * target + place);
      for (let channel = 0; channel < 3; channel++) {
        let sum = half;
        for (let k = 0; k < weights.length; k++) sum += pixels[start + 3 * k + channel] * weights[k];
        made[to + channel] = sum >> PRECISION;
      }
    }
  });
  return made;
}

/** For each of `target` pixels, the first of `size` pixels that it sees, and the weights of those from there on. */
function triangles(size, target) {
  const scale = size / target;
  const reach = Math.max(scale, 1);
  return Array.from({ length: target }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(size, Math.trunc(centre + reach + 0.5));
    const seen = Array.from({ length: last - first }, (_, k) =>
      Math.max(0, 1 - Math.abs((k + first - centre + 0.5) * (1 / reach))));
    const total = seen.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: seen.map((weight) => Math.trunc(0.5 + (weight / total) * (1 << PRECISION))) };
  });
}

/** RGB pixels of `rows` lines as `columns` lines. */
function transposed(pixels, rows, columns) {
  const made = new Uint8Array(pixels.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [from, to] = [3 * (row * columns + column), 3 * (column * rows + row)];
      for (let channel = 0; channel < 3; channel++) made[to + channel] = pixels[from + channel];
    }
  }
  return made;
}
