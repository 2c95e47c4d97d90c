// A label's map as colours over the image, as sct_hf's Python draws it.

// Every 17th of the 256 colours of "inferno" (Nathaniel Smith and Stéfan van der Walt, CC0), from dark to bright.
const INFERNO =
  "000004 0c0826 240c4f 420a68 5d126e 781c6d 932667 ae305c c73e4c dd513a ed6925 f8850f fca50a fac62d f2e661 fcffa4"
    .split(" ").map((colour) => [0, 2, 4].map((place) => parseInt(colour.slice(place, place + 2), 16)));
const OPACITY = 0.75;
const SIDE = 512; // pixels that are drawn at most; the page stretches them over the image

/**
 * Draw a map of weights: bright and opaque for the largest, clear for the smallest.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array | null} weights In [0, 1], row by row; null clears the canvas.
 */
export function drawHeatmap(canvas, weights, rows = 1, columns = 1, width = 1, height = 1) {
  const scale = weights ? Math.min(1, SIDE / Math.max(width, height)) : 0;
  canvas.width = Math.max(1, Math.round(width * scale)); // which clears it
  canvas.height = Math.max(1, Math.round(height * scale));
  if (!weights) return;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const down = places(rows, canvas.height);
  const across = places(columns, canvas.width);
  const value = (row, column) => weights[row * columns + column];
  let to = 0;
  for (const [top, bottom, v] of down) {
    for (const [left, right, h] of across) {
      const upper = value(top, left) + h * (value(top, right) - value(top, left));
      const lower = value(bottom, left) + h * (value(bottom, right) - value(bottom, left));
      const level = upper + v * (lower - upper);
      image.data.set([...colour(level), 255 * OPACITY * level], to);
      to += 4;
    }
  }
  context.putImageData(image, 0, 0);
}

/** For each of `target` pixels, the two of `size` values that it lies between, and how far it is from the first. */
function places(size, target) {
  return Array.from({ length: target }, (_, place) => {
    const centre = Math.min(size - 1, Math.max(0, ((place + 0.5) * size) / target - 0.5));
    const before = Math.floor(centre);
    return [before, Math.min(size - 1, before + 1), centre - before];
  });
}

function colour(level) {
  const place = Math.min(1, Math.max(0, level)) * (INFERNO.length - 1);
  const before = Math.floor(place);
  const after = INFERNO[Math.min(INFERNO.length - 1, before + 1)];
  return INFERNO[before].map((value, channel) => value + (place - before) * (after[channel] - value));
}
