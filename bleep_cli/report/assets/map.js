// One map: the slide, its tiles coloured by a gene or a layer, a scale bar, and the tile that is pointed at.

const WHEEL = 0.0016; // zoom for each pixel that a wheel turns

class MapPanel {
  constructor(page, number) {
    Object.assign(this, { page, number, values: null, pending: false, ratio: 0 });
    const piece = document.getElementById("panel").content.cloneNode(true);
    this.root = piece.querySelector(".panel");
    this.map = this.root.querySelector(".map");
    this.strip = this.root.querySelector(".strip");
    this.stats = this.root.querySelector(".stats");
    this.sub = this.root.querySelector(".sub");
    this.layer = document.createElement("canvas");
    this.picker = new Picker(this.root.querySelector(".picker"), number, page);
    for (const button of this.root.querySelectorAll(".tools button")) {
      button.addEventListener("click", () => {
        if (button.dataset.do === "fit") page.view.fit();
        else page.view.zoom(button.dataset.do === "in" ? 1.5 : 1 / 1.5);
      });
    }
    this.root.addEventListener("focusin", () => page.activate(number));
    this.root.addEventListener("pointerdown", () => page.activate(number));
    listen(this);
  }

  show(values) {
    this.values = values;
    this.picker.show(values);
    this.restyle();
  }

  /** Whether low values let the tissue through: those of a gene may; a layer's low values are what is looked for. */
  get sheer() { return this.page.sheer && this.values.kind === "gene"; }

  /** After a change of gene, scale or palette. */
  restyle() {
    const { values, page } = this;
    this.scale = scaleOf(values, page.mode, page.fixed);
    this.places = placesOf(values, this.scale);
    this.sub.textContent = values.kind === "layer" ? "a layer, not a gene" : values.id === values.name ? "" : values.id;
    const all = values.yesNo
      ? `${values.counts[STEPS].toLocaleString("en")} of ${page.slide.n.toLocaleString("en")} tiles`
      : `Mean ${shown(values.mean(page.tiles))} · median ${shown(values.quantile(0.5))} · 1st to 99th percentile ${shown(values.quantile(0.01))} to ${shown(values.quantile(0.99))}`;
    this.stats.textContent = all;
    this.map.setAttribute("aria-label", `Map of ${values.label} on the slide`);
    this.strip.setAttribute("aria-label", `Distribution of ${values.label}: ${all}`);
    this.redraw();
  }

  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw(window.devicePixelRatio || 1);
    });
  }

  /** Draws now, at so many pixels for each of the screen's. */
  draw(ratio) {
    if (!this.values || !this.map.clientWidth) return;
    const { page, map } = this, { view, slide } = page;
    const { context, width, height } = freshContext(map, ratio);
    const [left, top] = view.toScreen(0, 0);
    context.fillStyle = "#e9edf1";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(page.grey ? page.greyPicture() : page.picture, left, top, slide.size[0] * view.scale, slide.size[1] * view.scale);
    this.drawTiles(ratio);
    context.globalAlpha = page.opacity;
    context.drawImage(this.layer, 0, 0, width, height);
    context.globalAlpha = 1;
    this.drawCursor(context);
    this.drawScaleBar(context, height);
    drawStrip(this.strip, this, ratio);
    map.dataset.shown = this.values.name;
  }

  /** The tiles, opaque, on a canvas of their own: it is laid over the slide as a whole, so none shines through another. */
  drawTiles(ratio) {
    const { layer, page, values, map } = this, { slide, view, hidden } = page;
    layer.width = map.width;
    layer.height = map.height;
    const context = layer.getContext("2d"), { tiles, from } = values.order;
    const scale = view.scale * ratio, half = slide.edge / 2;
    const left = view.x - (view.width / 2) / view.scale, top = view.y - (view.height / 2) / view.scale;
    for (let code = 0; code <= NO_VALUE; code++) {
      if (from[code] === from[code + 1]) continue;
      context.fillStyle = code === NO_VALUE ? NO_DATA : page.palette[this.places[code]];
      context.globalAlpha = this.sheer && code !== NO_VALUE ? sheerness(this.places[code]) : 1;
      for (let i = from[code]; i < from[code + 1]; i++) {
        const tile = tiles[i];
        if (hidden[tile]) continue;
        // Edges are rounded, not sizes: neighbours share theirs, and no seam shows.
        const x0 = Math.round((slide.x[tile] - half - left) * scale), x1 = Math.round((slide.x[tile] + half - left) * scale);
        if (x1 < 0 || x0 > layer.width) continue;
        const y0 = Math.round((slide.y[tile] - half - top) * scale), y1 = Math.round((slide.y[tile] + half - top) * scale);
        if (y1 >= 0 && y0 <= layer.height) context.fillRect(x0, y0, Math.max(1, x1 - x0), Math.max(1, y1 - y0));
      }
    }
  }

  drawCursor(context) {
    const { slide, view, tile } = this.page;
    if (tile < 0) return;
    const size = Math.max(6, slide.edge * view.scale), [x, y] = view.toScreen(slide.x[tile], slide.y[tile]);
    for (const [colour, wide] of [["#fff", 4], ["#000", 1.6]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.strokeRect(x - size / 2, y - size / 2, size, size);
    }
  }

  drawScaleBar(context, height) {
    const { slide, view } = this.page, most = (Math.min(150, view.width / 4) / view.scale) * slide.umPerPx;
    const decade = 10 ** Math.floor(Math.log10(most));
    const um = Math.max(...[1, 2, 5].map((step) => step * decade).filter((length) => length <= most));
    const long = (um / slide.umPerPx) * view.scale, text = um >= 1000 ? `${um / 1000} mm` : `${um} µm`;
    context.font = `600 12px ${getComputedStyle(this.map).fontFamily}`;
    const wide = Math.max(long, context.measureText(text).width) + 20;
    context.fillStyle = "rgb(255 255 255 / 84%)";
    context.beginPath();
    context.roundRect(10, height - 44, wide, 34, 6);
    context.fill();
    context.fillStyle = "#1b2530";
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    context.fillText(text, 20, height - 25);
    context.fillRect(20, height - 19, long, 4);
    this.map.dataset.scaleUm = um;
    this.map.dataset.scalePx = long.toFixed(2);
  }
}

/** Mouse, finger and keyboard on a map. */
function listen(panel) {
  const { map, page } = panel, fingers = new Map();
  let far = 0;
  const place = (event) => {
    const box = map.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  map.addEventListener("wheel", (event) => {
    if (page.view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 30 : 1) * WHEEL), ...place(event))) event.preventDefault();
  }, { passive: false });
  map.addEventListener("pointerdown", (event) => {
    map.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    far = 0;
  });
  map.addEventListener("pointermove", (event) => {
    const [x, y] = place(event), before = fingers.get(event.pointerId);
    if (!before) {
      page.point(page.finder.at(...page.view.toSlide(x, y)));
      return;
    }
    const share = 1 / fingers.size; // each of two fingers moves the middle by half
    page.view.pan((x - before[0]) * share, (y - before[1]) * share);
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const was = Math.hypot(before[0] - other[0], before[1] - other[1]), is = Math.hypot(x - other[0], y - other[1]);
      if (was && is) page.view.zoom(is / was, (x + other[0]) / 2, (y + other[1]) / 2);
    }
    far += Math.hypot(x - before[0], y - before[1]);
    map.classList.toggle("dragged", far > 3);
    fingers.set(event.pointerId, [x, y]);
  });
  const lift = (event) => {
    const tapped = fingers.has(event.pointerId) && far <= 3;
    fingers.delete(event.pointerId);
    map.classList.remove("dragged");
    if (tapped && event.type === "pointerup") page.point(page.finder.at(...page.view.toSlide(...place(event))));
  };
  for (const end of ["pointerup", "pointercancel"]) map.addEventListener(end, lift);
  map.addEventListener("pointerleave", () => { if (!map.matches(":focus-visible")) page.point(-1); });
  map.addEventListener("dblclick", (event) => page.view.zoom(2, ...place(event)));
  map.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }, way = ways[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (way && event.shiftKey) page.view.pan(-60 * way[0], -60 * way[1]);
    else if (way) page.step(...way);
    else if (event.key === "+" || event.key === "=") page.view.zoom(1.5);
    else if (event.key === "-") page.view.zoom(1 / 1.5);
    else if (event.key === "0") page.view.fit();
    else if (event.key === "Escape") page.point(-1);
    else return;
    event.preventDefault();
  });
}
