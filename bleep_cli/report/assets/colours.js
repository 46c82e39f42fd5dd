// From values to colours.

const NO_DATA = "#f2b8b5";

/** 256 CSS colours of a palette, from its hexadecimal digits. */
function paletteOf(digits) {
  return Array.from({ length: 256 }, (_, i) => `#${digits.slice(6 * i, 6 * i + 6)}`);
}

/** What the colours span for these values: by the slide, by the reference, or as typed. */
function scaleOf(values, mode, fixed) {
  if (values.yesNo) return [0, 1];
  if (values.kind === "gene" && mode === "fixed") return fixed;
  if (values.kind === "gene" && mode === "measured" && values.measured) return values.measured;
  const low = values.quantile(0.01), high = values.quantile(0.99);
  return high - low > 1e-6 ? [low, high] : [low - 0.5, high + 0.5];
}

/** The place in the palette, 0 to 255, of each code. */
function placesOf(values, [low, high]) {
  const places = new Uint8Array(256);
  for (let code = 0; code <= STEPS; code++) {
    const share = (values.ofCode(code) - low) / (high - low || 1);
    places[code] = Math.max(0, Math.min(255, Math.round(share * 255)));
  }
  return places;
}

/** How much of a colour is seen where low values let the tissue through, by its place in the palette. */
function sheerness(place) { return 0.08 + (0.92 * place) / 255; }

/** Round numbers within a range. */
function ticksOf(low, high, most) {
  const rough = (high - low) / most, decade = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((s) => s * decade).find((s) => s >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(i * step);
  const digits = Math.max(0, Math.min(6, 1 - Math.floor(Math.log10(step))));
  return ticks.map((value) => ({ value, text: String(Number(value.toFixed(digits))) }));
}
