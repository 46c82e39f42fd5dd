// What the page holds, decoded once: places of n tiles, and a byte a tile for every gene and layer.

const NO_VALUE = 255, STEPS = 254;

/** The values of a gene or a layer on n tiles. */
class Values {
  constructor(said, codes, kind) {
    Object.assign(this, { name: said.name, label: said.label ?? said.name, kind, codes });
    this.id = said.id ?? "";
    this.low = said.low;
    this.high = said.high;
    this.measured = said.measured ?? null; // [1st, 99th percentile] over the reference's spots
    this.yesNo = said.yesNo ?? false;
    this.whole = said.whole ?? false; // counts, which eight bits give only nearly
    this.worse = said.worse ?? "low"; // the end that speaks against a tile
    this.spread = said.spread ?? 0;
  }

  at(tile) { return this.ofCode(this.codes[tile]); }

  ofCode(code) { return code === NO_VALUE ? NaN : this.low + (code / STEPS) * (this.high - this.low); }

  /** How many tiles have each code; worked out when first asked for. */
  get counts() {
    if (!this._counts) {
      this._counts = new Uint32Array(256);
      for (const code of this.codes) this._counts[code]++;
    }
    return this._counts;
  }

  /** Tiles ordered by their codes: those of code c are order[from[c] ... from[c + 1]]. */
  get order() {
    if (!this._order) {
      const from = new Uint32Array(257);
      this.counts.forEach((count, code) => { from[code + 1] = from[code] + count; });
      const next = from.slice(), tiles = new Uint32Array(this.codes.length);
      this.codes.forEach((code, tile) => { tiles[next[code]++] = tile; });
      this._order = { tiles, from };
    }
    return this._order;
  }

  /** The value below which a share of the tiles lies. */
  quantile(share) {
    const total = this.codes.length - this.counts[NO_VALUE];
    let seen = 0;
    for (let code = 0; code <= STEPS; code++) {
      seen += this.counts[code];
      if (seen > share * total || seen === total) return this.ofCode(code);
    }
    return this.high;
  }

  mean(tiles) {
    let sum = 0, count = 0;
    for (const tile of tiles) {
      const code = this.codes[tile];
      if (code !== NO_VALUE) { sum += code; count++; }
    }
    return count ? this.low + (sum / count / STEPS) * (this.high - this.low) : NaN;
  }
}

async function unpacked(text) {
  const packed = atob(text), bytes = new Uint8Array(packed.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

async function readSlide() {
  const head = JSON.parse(document.getElementById("head").textContent);
  const stream = document.getElementById("stream");
  const buffer = await unpacked(stream.textContent);
  stream.remove();
  const n = head.tiles;
  let at = 0;
  const take = (type, count) => {
    const part = new type(buffer, at, count);
    at += count * type.BYTES_PER_ELEMENT;
    return part;
  };
  const slide = { ...head, n, x: take(Float32Array, n), y: take(Float32Array, n), piece: take(Uint16Array, n) };
  slide.genes = head.genes.map((said) => new Values(said, take(Uint8Array, n), "gene"));
  slide.layers = head.layers.map((said) => new Values(said, take(Uint8Array, n), "layer"));
  slide.names = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, at)));
  return slide;
}

/** Pearson's r of two sets of values over the tiles where both are known. */
function correlation(a, b) {
  let n = 0, sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
  for (let i = 0; i < a.codes.length; i++) {
    const p = a.codes[i], q = b.codes[i];
    if (p === NO_VALUE || q === NO_VALUE) continue;
    n++; sa += p; sb += q; saa += p * p; sbb += q * q; sab += p * q;
  }
  const spread = Math.sqrt((n * saa - sa * sa) * (n * sbb - sb * sb));
  return spread ? (n * sab - sa * sb) / spread : NaN;
}

function shown(value) {
  if (!Number.isFinite(value)) return "no value";
  const size = Math.abs(value);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function valueWords(values, tile) {
  const value = values.at(tile);
  if (values.whole && Number.isFinite(value)) return Math.round(value).toLocaleString("en");
  return values.yesNo ? (value > 0.5 ? "yes" : "no") : shown(value);
}
