// The part of the overview that all maps show: a middle, in pixels of the overview, and screen pixels for each of them.

class View {
  constructor(slide, changed) {
    Object.assign(this, { slide, changed, x: 0, y: 0, scale: 1, width: 1, height: 1, fitted: true });
    this.all = this.boxOf(slide.x.keys());
  }

  /** [left, top, right, bottom] around tiles, with a margin. */
  boxOf(tiles) {
    const { x, y, edge } = this.slide;
    let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const tile of tiles) {
      left = Math.min(left, x[tile]); right = Math.max(right, x[tile]);
      top = Math.min(top, y[tile]); bottom = Math.max(bottom, y[tile]);
    }
    const margin = Math.max(edge * 1.5, 0.05 * Math.max(right - left, bottom - top));
    return [left - margin, top - margin, right + margin, bottom + margin];
  }

  /** The size of a map on the screen; what is shown of the slide stays. */
  resize(width, height) {
    this.width = width;
    this.height = height;
    if (this.fitted) this.fit(); else this.changed();
  }

  scaleFor([left, top, right, bottom]) { return Math.min(this.width / (right - left), this.height / (bottom - top)); }

  fit(box = this.all) {
    this.x = (box[0] + box[2]) / 2;
    this.y = (box[1] + box[3]) / 2;
    this.scale = Math.min(this.scaleFor(box), this.most);
    this.fitted = box === this.all;
    this.changed();
  }

  get least() { return Math.min(this.scaleFor(this.all), this.scaleFor([0, 0, ...this.slide.size])); }

  get most() { return Math.max(16, this.width / (6 * this.slide.edge)); }

  /** Zooms about a point of the screen; false where it is at its end already. */
  zoom(factor, sx = this.width / 2, sy = this.height / 2) {
    const scale = Math.max(this.least, Math.min(this.most, this.scale * factor));
    if (scale === this.scale) return false;
    const [x, y] = this.toSlide(sx, sy);
    this.scale = scale;
    this.x = x - (sx - this.width / 2) / scale;
    this.y = y - (sy - this.height / 2) / scale;
    this.moved();
    return true;
  }

  /** Moves what is shown by pixels of the screen. */
  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.moved();
  }

  moved() {
    const [width, height] = this.slide.size;
    this.x = Math.max(Math.min(0, this.all[0]), Math.min(Math.max(width, this.all[2]), this.x));
    this.y = Math.max(Math.min(0, this.all[1]), Math.min(Math.max(height, this.all[3]), this.y));
    this.fitted = false;
    this.changed();
  }

  /** Moves no further than it takes to see a place. */
  reveal(x, y) {
    const [sx, sy] = this.toScreen(x, y), rim = Math.min(40, this.width / 4, this.height / 4);
    const over = (at, size) => (at < rim ? rim - at : at > size - rim ? size - rim - at : 0);
    const dx = over(sx, this.width), dy = over(sy, this.height);
    if (dx || dy) this.pan(dx, dy);
  }

  toSlide(sx, sy) { return [this.x + (sx - this.width / 2) / this.scale, this.y + (sy - this.height / 2) / this.scale]; }

  toScreen(x, y) { return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2]; }
}

/** Which tile lies at a place: tiles in boxes of one tile's edge. */
class Finder {
  constructor(slide) {
    this.slide = slide;
    this.boxes = new Map();
    for (let tile = 0; tile < slide.n; tile++) {
      const key = this.key(slide.x[tile], slide.y[tile]);
      if (!this.boxes.has(key)) this.boxes.set(key, []);
      this.boxes.get(key).push(tile);
    }
  }

  key(x, y) { return Math.floor(x / this.slide.edge) * 1e6 + Math.floor(y / this.slide.edge); }

  at(x, y) {
    const { edge } = this.slide;
    let best = -1, least = edge / 2;
    for (const dx of [-edge, 0, edge]) {
      for (const dy of [-edge, 0, edge]) {
        for (const tile of this.boxes.get(this.key(x + dx, y + dy)) ?? []) {
          const far = Math.max(Math.abs(this.slide.x[tile] - x), Math.abs(this.slide.y[tile] - y));
          if (far <= least) { best = tile; least = far; }
        }
      }
    }
    return best;
  }

  /** The nearest tile, among those that `wanted` says yes to. */
  nearest(x, y, wanted = () => true) {
    let best = -1, least = Infinity;
    for (let tile = 0; tile < this.slide.n; tile++) {
      const dx = this.slide.x[tile] - x, dy = this.slide.y[tile] - y, far = dx * dx + dy * dy;
      if (far < least && wanted(dx, dy)) { best = tile; least = far; }
    }
    return best;
  }
}
