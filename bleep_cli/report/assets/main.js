// The page: what is chosen, and who is told.

const $$ = (id) => document.getElementById(id);
const HINTS = {
  free: "From the 1st to the 99th percentile of each gene on this slide.",
  measured: "From the 1st to the 99th percentile of what was measured in the reference's spots. Means of spots span less.",
  fixed: "The same for every gene, as typed below.",
};

class Page {
  constructor(slide, picture) {
    Object.assign(this, { slide, picture, mode: "free", fixed: [0, 1], opacity: 0.8, grey: false, sheer: true, tile: -1, active: 0 });
    this.tiles = Array.from({ length: slide.n }, (_, tile) => tile);
    this.hidden = new Uint8Array(slide.n);
    this.palettes = Object.fromEntries(Object.entries(slide.palettes).map(([name, digits]) => [name, paletteOf(digits)]));
    this.palette = Object.values(this.palettes)[0];
    this.finder = new Finder(slide);
    this.view = new View(slide, () => this.panels.forEach((panel) => panel.redraw()));
    this.panels = [];
    this.addPanel();
    this.pieces = $$("pieces").tBodies[0];
    this.tilesOfPiece = slide.pieces.map((_, piece) => this.tiles.filter((tile) => slide.piece[tile] === piece));
    this.listGenes();
    this.wire();
    const first = slide.genes[0];
    this.fixed = [Math.max(0, Number(first.quantile(0).toFixed(2))), Number(first.quantile(0.99).toFixed(2)) || 1];
    [$$("fixed-low").value, $$("fixed-high").value] = this.fixed;
    this.choose(0, first);
    this.warn();
  }

  addPanel() {
    const panel = new MapPanel(this, this.panels.length);
    this.panels.push(panel);
    $$("panels").append(panel.root);
    $$("panels").classList.toggle("two", this.panels.length === 2);
    this.activate(panel.number);
    this.sizes ??= new ResizeObserver(() => this.view.resize(this.panels[0].map.clientWidth, this.panels[0].map.clientHeight));
    this.sizes.observe(panel.map);
    return panel;
  }

  compare(wanted) {
    $$("compare").setAttribute("aria-pressed", String(wanted));
    $$("compare").textContent = wanted ? "Back to one gene" : "Compare with a second gene";
    if (wanted && this.panels.length === 1) {
      const taken = this.panels[0].values;
      this.addPanel();
      this.choose(1, this.unlike(taken));
    } else if (!wanted && this.panels.length === 2) {
      const [panel] = this.panels.splice(1);
      this.sizes.unobserve(panel.map);
      panel.root.remove();
      $$("panels").classList.remove("two");
      this.activate(0);
      this.tell();
    }
  }

  /** Of the genes that vary most, the one that is least like these values. */
  unlike(values) {
    const likeness = (gene) => (gene === values ? Infinity : correlation(gene, values) || 0);
    return this.slide.genes.slice(0, 60).reduce((best, gene) => (likeness(gene) < likeness(best) ? gene : best));
  }

  activate(number) {
    this.active = Math.min(number, this.panels.length - 1);
    this.panels.forEach((panel, i) => panel.root.classList.toggle("active", i === this.active));
    this.markGene();
  }

  choose(number, values) {
    this.panels[number].show(values);
    this.activate(number);
    this.tell();
  }

  restyle() { this.panels.forEach((panel) => panel.restyle()); }

  redraw() { this.panels.forEach((panel) => panel.redraw()); }

  /** The tile that is pointed at; -1 for none. */
  point(tile) {
    if (tile === this.tile) return;
    this.tile = tile;
    this.redraw();
    this.readout();
  }

  /** To the next tile in a direction. */
  step(dx, dy) {
    const { slide, view, finder } = this;
    const next = this.tile < 0
      ? finder.nearest(view.x, view.y)
      : finder.nearest(slide.x[this.tile], slide.y[this.tile], (x, y) => x * dx + y * dy > 0 && Math.abs(x * dy + y * dx) <= x * dx + y * dy);
    if (next < 0) return;
    this.point(next);
    view.reveal(slide.x[next], slide.y[next]);
  }

  // --- in words

  readout() {
    const { slide, tile } = this, parts = [];
    if (tile < 0) {
      $$("readout").textContent = "Point at a tile to read its values.";
      return;
    }
    const add = (text, bold) => {
      const part = document.createElement(bold ? "b" : "span");
      part.textContent = text;
      parts.push(parts.length ? " · " : "", part);
    };
    add(slide.names[tile]);
    const seen = new Set(this.panels.map((panel) => panel.values));
    for (const values of seen) add(`${values.label} ${valueWords(values, tile)}`, true);
    for (const values of slide.layers) {
      const harmless = values.worse === "high" && values.at(tile) === 0; // no ink, no glass
      if (!seen.has(values) && !harmless) add(`${values.label} ${valueWords(values, tile)}`);
    }
    if (slide.pieces.length > 1) add(`piece ${slide.pieces[slide.piece[tile]]}`);
    add(`x ${shown(slide.x[tile] * slide.umPerPx)} µm, y ${shown(slide.y[tile] * slide.umPerPx)} µm`);
    $$("readout").replaceChildren(...parts);
  }

  /** What follows from the chosen genes beside the maps. */
  tell() {
    this.panels.forEach(({ values }, i) => {
      $$(`mean-${i}`).textContent = `Mean ${values.label}`;
      for (const cell of this.pieces.querySelectorAll(`td[data-panel="${i}"]`)) {
        const piece = Number(cell.parentElement.querySelector("button").dataset.piece);
        cell.textContent = shown(values.mean(this.tilesOfPiece[piece]));
      }
    });
    const two = this.panels.length === 2;
    for (const cell of [$$("mean-1"), ...this.pieces.querySelectorAll('td[data-panel="1"]')]) cell.hidden = !two;
    if (two) {
      const [a, b] = this.panels.map((panel) => panel.values), stats = this.panels[1].stats;
      stats.textContent += ` · r ${shown(correlation(a, b))} with ${a.label}`;
    }
    this.readout();
    this.markGene();
  }

  warn() {
    const count = Number($$("noticed").dataset.warnings);
    $$("alarm").hidden = !count;
    $$("alarm-text").textContent = count === 1 ? "there is a warning." : `there are ${count} warnings.`;
  }

  listGenes() {
    const most = Math.max(...this.slide.genes.map((gene) => gene.spread)) || 1;
    $$("genes").replaceChildren(...this.slide.genes.map((gene) => {
      const item = document.createElement("li"), button = document.createElement("button");
      const [name, size, number] = ["name", "size", "number"].map((kind) => {
        const part = document.createElement("span");
        part.className = kind;
        return part;
      });
      button.type = "button";
      name.textContent = name.title = gene.label;
      size.style.inlineSize = `${(100 * gene.spread) / most}%`;
      number.textContent = shown(gene.spread);
      button.append(name, size, number);
      button.addEventListener("click", () => this.choose(this.active, gene));
      item.append(button);
      return item;
    }));
  }

  markGene() {
    const list = $$("genes"), values = this.panels[this.active]?.values;
    [...list.children].forEach((item, i) => {
      const pressed = this.slide.genes[i] === values;
      item.firstChild.setAttribute("aria-pressed", String(pressed));
      const above = item.offsetTop - list.offsetTop - list.scrollTop; // of the list alone: the page stays where it is
      if (pressed && (above < 0 || above + item.offsetHeight > list.clientHeight)) list.scrollTop += above - list.clientHeight / 2;
    });
  }

  // --- controls

  wire() {
    $$("compare").addEventListener("click", () => this.compare(this.panels.length === 1));
    for (const radio of document.getElementsByName("scale")) radio.addEventListener("change", () => this.setMode(radio.value));
    $$("measured").hidden = !this.slide.genes.some((gene) => gene.measured);
    for (const id of ["fixed-low", "fixed-high"]) $$(id).addEventListener("input", () => this.setFixed());
    $$("palette").append(...Object.keys(this.palettes).map((name) => new Option(name[0].toUpperCase() + name.slice(1), name)));
    $$("palette").addEventListener("change", () => {
      this.palette = this.palettes[$$("palette").value];
      this.restyle();
      this.tell();
    });
    $$("opacity").addEventListener("input", () => {
      this.opacity = Number($$("opacity").value) / 100;
      $$("opacity-out").textContent = `${$$("opacity").value} %`;
      this.redraw();
    });
    for (const name of ["grey", "sheer"]) {
      $$(name).addEventListener("change", () => {
        this[name] = $$(name).checked;
        this.redraw();
      });
    }
    $$("pieces").addEventListener("click", (event) => {
      const piece = event.target.closest("button")?.dataset.piece;
      if (piece === undefined) return;
      this.view.fit(this.view.boxOf(this.tilesOfPiece[Number(piece)]));
      $$("maps").scrollIntoView({ block: "nearest" });
    });
    this.wireTrust();
    this.setMode("free");
    window.addEventListener("beforeprint", () => {
      document.querySelectorAll("details").forEach((part) => { part.open = true; });
      this.panels.forEach((panel) => panel.draw(3));
    });
    window.addEventListener("afterprint", () => this.redraw());
  }

  setMode(mode) {
    this.mode = mode;
    $$("fixed").hidden = mode !== "fixed";
    $$("scale-hint").textContent = HINTS[mode];
    if (this.panels[0].values) {
      this.restyle();
      this.tell();
    }
  }

  setFixed() {
    const [low, high] = [Number($$("fixed-low").value), Number($$("fixed-high").value)];
    const wrong = !(low < high);
    $$("fixed-high").setCustomValidity(wrong ? "has to be larger than the other" : "");
    $$("fixed-high").reportValidity();
    if (wrong) return;
    this.fixed = [low, high];
    this.restyle();
    this.tell();
  }

  wireTrust() {
    const { layers } = this.slide;
    $$("trust").hidden = !layers.length;
    $$("layer").append(...layers.map((layer, i) => new Option(layer.label, i)));
    const chosen = () => layers[Number($$("layer").value)];
    const hide = () => {
      const layer = chosen(), from = Number($$("threshold").value), marked = $$("marked").checked;
      const hides = (code) => code !== NO_VALUE && (layer.yesNo ? marked && code === STEPS : layer.worse === "low" ? code < from : code > from);
      let count = 0;
      layer.codes.forEach((code, tile) => {
        this.hidden[tile] = hides(code) ? 1 : 0;
        count += this.hidden[tile];
      });
      $$("threshold-out").textContent = from === (layer.worse === "low" ? 0 : STEPS) ? "none" : shown(layer.ofCode(from));
      $$("hidden-tiles").textContent = `${count.toLocaleString("en")} of ${this.slide.n.toLocaleString("en")} tiles hidden`;
      this.redraw();
    };
    const start = () => {
      const layer = chosen(), low = layer.worse === "low";
      $$("threshold-line").hidden = layer.yesNo;
      $$("marked-line").hidden = !layer.yesNo;
      $$("threshold-way").textContent = low ? "Hide below" : "Hide above";
      $$("threshold").value = low ? 0 : STEPS;
      $$("marked").checked = false;
      hide();
    };
    if (!layers.length) return;
    $$("layer").addEventListener("change", start);
    for (const id of ["threshold", "marked"]) $$(id).addEventListener("input", hide);
    $$("show-layer").addEventListener("click", () => this.choose(this.active, chosen()));
    start();
  }

  greyPicture() {
    if (!this._grey) {
      const canvas = document.createElement("canvas"), context = canvas.getContext("2d", { willReadFrequently: true });
      [canvas.width, canvas.height] = [this.picture.naturalWidth, this.picture.naturalHeight];
      context.drawImage(this.picture, 0, 0);
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height), { data } = pixels;
      for (let i = 0; i < data.length; i += 4) data[i] = data[i + 1] = data[i + 2] = 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
      context.putImageData(pixels, 0, 0);
      this._grey = canvas;
    }
    return this._grey;
  }
}

async function open() {
  const picture = $$("overview");
  const [slide] = await Promise.all([readSlide(), picture.decode()]);
  const page = new Page(slide, picture);
  requestAnimationFrame(() => requestAnimationFrame(() => {
    document.documentElement.dataset.ready = performance.now().toFixed(0);
  }));
  return page;
}

open().catch((error) => {
  $$("trouble").textContent = `The maps cannot be shown in this browser (${error.message}); a newer one can. What is known of this prediction stands below.`;
  $$("trouble").hidden = false;
});
