// The page: what is chosen, and who is told.

const $$ = (id) => document.getElementById(id);

function tell(words) {
  $$("trouble").textContent = words;
  $$("trouble").hidden = !words;
}

/** The JSON that the server answers; throws its words where it refuses. */
async function asked(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

async function numbers(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(await answer.text());
  return new Float32Array(await answer.arrayBuffer()); // little-endian, as every machine with a browser is
}

class Page {
  constructor(slide) {
    this.slide = slide;
    this.palettes = Object.fromEntries(Object.entries(slide.palettes).map(([name, digits]) => [name, paletteOf(digits)]));
    this.palette = Object.values(this.palettes)[0];
    this.tissue = new Tissue($$("tissue"), slide, (tile) => this.pick(tile));
    this.picker = new Picker($$("picker"), 0, this);
    this.wire();
    this.words();
  }

  words() {
    const { slide } = this;
    document.title = `${slide.slide} · BLEEP`;
    $$("slide").textContent = slide.slide;
    $$("about").textContent = `Predicted gene expression · ${slide.tiles.length.toLocaleString("en")} tiles · ${slide.genes.length.toLocaleString("en")} genes · reference ${slide.reference}, K ${slide.k}`;
    $$("foot").textContent = slide.footer;
    $$("receipt").replaceChildren(part("p", slide.receipts ? "The measured spots behind a tile's value are shown here." : "bleep view --ref BUNDLE shows the measured spots behind a tile's value here.", { className: "hint" }));
    if (slide.warnings.length) tell(`Before you trust this slide: ${slide.warnings.join("; ")}`);
  }

  async choose(_number, gene) {
    const wanted = (this.wanted = gene);
    this.picker.show(gene);
    const [low, high, least, most, ...values] = await numbers(`gene/${gene.column}`);
    if (wanted !== this.wanted) return;
    Object.assign(this, { gene, values, free: [low, high], measured: least < most ? [least, most] : null });
    $$("scale").querySelector("[value=measured]").disabled = !this.measured;
    $$("sub").textContent = `${gene.id === gene.name ? "" : `${gene.id} · `}${this.slide.unit}`;
    this.paint();
    if (this.tissue.tile >= 0) this.receipt(this.tissue.tile);
  }

  limits() {
    const mode = $$("scale").value;
    if (mode === "fixed") return [Number($$("fixed-low").value), Number($$("fixed-high").value)];
    return mode === "measured" && this.measured ? this.measured : this.free;
  }

  paint() {
    if (!this.values) return;
    const [low, high] = this.limits(), sheer = $$("sheer").checked;
    const places = this.values.map((value) => Math.max(0, Math.min(255, Math.round(((value - low) / (high - low || 1)) * 255))));
    this.tissue.paint(
      places.map((place) => (Number.isNaN(place) ? NO_DATA : this.palette[place])),
      places.map((place) => (sheer && !Number.isNaN(place) ? sheerness(place) : 1)),
    );
    this.key(low, high);
    this.tissue.over.dataset.shown = this.gene.name;
    document.documentElement.dataset.ready = "1";
  }

  key(low, high) {
    [$$("low").textContent, $$("high").textContent] = [low.toFixed(2), high.toFixed(2)];
    const context = $$("bar").getContext("2d");
    this.palette.forEach((colour, i) => {
      context.fillStyle = colour;
      context.fillRect(i, 0, 1, 1);
    });
    $$("bar").setAttribute("aria-label", `Colour scale of ${this.gene.name}, from ${low.toFixed(2)} to ${high.toFixed(2)}`);
  }

  // --- a tile

  async pick(tile) {
    const found = await asked(`tile/${tile}`);
    if (tile !== this.tissue.tile) return;
    $$("tile").replaceChildren(...tileWords(this.slide, found));
    $$("top").replaceChildren(topTable(found, (column) => this.choose(0, this.slide.genes.find((gene) => gene.column === column))));
    this.receipt(tile);
  }

  async receipt(tile) {
    if (!this.slide.receipts) return;
    const { gene } = this, stillShown = () => tile === this.tissue.tile && gene === this.gene;
    const receipt = await asked(`receipt/${tile}/${gene.column}`);
    if (!stillShown()) return;
    $$("receipt").replaceChildren(...receiptWords(this.slide, receipt));
    $$("receipt").dataset.shown = `${receipt.tile_id} ${receipt.gene}`;
    if (this.slide.pictures) await fillPictures(receipt, stillShown);
  }

  // --- controls

  wire() {
    $$("in").addEventListener("click", () => this.tissue.zoom(2));
    $$("out").addEventListener("click", () => this.tissue.zoom(0.5));
    $$("fit").addEventListener("click", () => this.tissue.view.viewport.goHome());
    $$("palette").append(...Object.keys(this.palettes).map((name) => new Option(name[0].toUpperCase() + name.slice(1), name)));
    $$("palette").addEventListener("change", () => {
      this.palette = this.palettes[$$("palette").value];
      this.paint();
    });
    $$("scale").addEventListener("change", () => {
      $$("fixed").hidden = $$("scale").value !== "fixed";
      this.paint();
    });
    for (const id of ["fixed-low", "fixed-high", "sheer"]) $$(id).addEventListener("input", () => this.paint());
    $$("opacity").addEventListener("input", () => {
      $$("opacity-out").textContent = `${$$("opacity").value} %`;
      this.tissue.opacity = $$("opacity").value / 100;
      this.tissue.draw();
    });
    $$("outlines").addEventListener("change", () => {
      this.tissue.outlines = $$("outlines").checked;
      this.tissue.draw();
    });
  }
}

window.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  tell(event.reason instanceof TypeError ? "bleep view does not answer any more; start it again." : String(event.reason.message));
});

(async () => {
  const [slide, places] = await Promise.all([asked("slide.json"), numbers("places")]);
  Object.assign(slide, { x: places.subarray(0, places.length / 2), y: places.subarray(places.length / 2), layers: [] });
  slide.genes = slide.genes.map((gene) => ({ ...gene, label: gene.name, kind: "gene" }));
  const page = (window.bleep = new Page(slide));
  await page.choose(0, slide.genes[0]);
})();
