// The slide, by OpenSeadragon, and the tiles over it.

const ROUND_UM = [1, 2, 5];
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const ZOOMS = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 };

class Tissue {
  constructor(root, slide, picked) {
    Object.assign(this, { slide, picked, tile: -1, colours: [], share: [], opacity: 0.6, outlines: false, drawn: 0 });
    this.view = OpenSeadragon({
      element: root,
      drawer: "canvas",
      tileSources: {
        width: slide.width,
        height: slide.height,
        tileSize: slide.piecePx,
        tileOverlap: 0,
        minLevel: Math.min(slide.lastLevel, 8),
        maxLevel: slide.lastLevel,
        getTileUrl: (level, x, y) => `piece/${level}/${x}_${y}.jpeg`,
      },
      showNavigationControl: false,
      showNavigator: false,
      maxZoomPixelRatio: 8,
      visibilityRatio: 0.3,
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.4,
      gestureSettingsMouse: { clickToZoom: false },
      gestureSettingsPen: { clickToZoom: false },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
    });
    const map = this.view.canvas;
    map.setAttribute("role", "application");
    map.setAttribute("aria-roledescription", "map");
    map.setAttribute("aria-label", "Slide with predicted tiles");
    map.setAttribute("aria-describedby", "keys");
    this.over = document.createElement("canvas");
    this.over.className = "over";
    map.append(this.over);
    this.view.addHandler("update-viewport", () => this.draw());
    this.view.addHandler("open", () => this.draw());
    this.view.addHandler("canvas-click", (event) => event.quick && this.click(event.position));
    this.view.addHandler("canvas-key", (event) => this.key(event));
    this.view.addHandler("open-failed", () => tell("The slide cannot be opened."));
    this.view.addHandler("tile-load-failed", () => tell("Parts of the slide cannot be read, or bleep view has ended."));
  }

  /** Colours by tile, and how much of each is seen, 0 to 1. */
  paint(colours, share) {
    Object.assign(this, { colours, share });
    this.draw();
  }

  /** Screen pixels for a level-0 pixel, and where its corner lies in the window of the map. */
  plane() {
    const item = this.view.world.getItemAt(0);
    if (!item) return null;
    const at = (x) => item.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, 0));
    const corner = at(0);
    return { scale: (at(this.slide.width).x - corner.x) / this.slide.width, x: corner.x, y: corner.y };
  }

  draw() {
    const plane = this.plane(), { over, slide } = this;
    if (!plane) return;
    const ratio = devicePixelRatio, wide = over.clientWidth, high = over.clientHeight;
    if (over.width !== Math.round(wide * ratio) || over.height !== Math.round(high * ratio)) {
      [over.width, over.height] = [Math.round(wide * ratio), Math.round(high * ratio)];
    }
    const context = over.getContext("2d"), edge = slide.edge * plane.scale;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, wide, high);
    context.strokeStyle = "rgb(20 35 50 / 70%)";
    context.lineWidth = 1;
    for (let tile = 0; tile < this.colours.length; tile++) {
      const x = plane.x + slide.x[tile] * plane.scale - edge / 2, y = plane.y + slide.y[tile] * plane.scale - edge / 2;
      if (x > wide || y > high || x + edge < 0 || y + edge < 0) continue;
      context.globalAlpha = this.opacity * this.share[tile];
      context.fillStyle = this.colours[tile];
      context.fillRect(x, y, edge, edge);
      context.globalAlpha = 1;
      if (this.outlines && edge > 4) context.strokeRect(x, y, edge, edge);
    }
    if (this.tile >= 0) this.mark(context, plane, Math.max(edge, 6));
    over.dataset.tilePx = edge;
    this.rule(plane.scale / slide.umPerPx);
    this.drawn += 1;
  }

  mark(context, plane, edge) {
    const x = plane.x + this.slide.x[this.tile] * plane.scale, y = plane.y + this.slide.y[this.tile] * plane.scale;
    for (const [colour, width] of [["#fff", 5], ["#000", 2.5]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: width });
      context.strokeRect(x - edge / 2, y - edge / 2, edge, edge);
    }
  }

  /** The scale bar: the longest round length below 160 screen pixels. */
  rule(pxPerUm) {
    const most = 160 / pxPerUm, decade = 10 ** Math.floor(Math.log10(most));
    const um = Math.max(...ROUND_UM.map((step) => step * decade).filter((length) => length <= most));
    const text = um >= 1000 ? `${um / 1000} mm` : `${Number(um.toPrecision(1))} µm`, ruler = document.getElementById("ruler");
    if (ruler.textContent !== text) {
      ruler.textContent = text;
      ruler.setAttribute("aria-label", `Scale bar of ${text}`);
    }
    ruler.style.width = `${um * pxPerUm}px`;
  }

  // --- from tile to tile

  click(position) {
    const plane = this.plane(), half = this.slide.edge / 2;
    const x = (position.x - plane.x) / plane.scale, y = (position.y - plane.y) / plane.scale;
    const tile = this.nearest(x, y, (dx, dy) => Math.abs(dx) <= half && Math.abs(dy) <= half);
    if (tile >= 0) this.pick(tile);
  }

  /** The tile nearest to a place in level-0 pixels, of those whose distance suits; -1 for none. */
  nearest(x, y, suits) {
    let best = -1, least = Infinity;
    for (let tile = 0; tile < this.slide.x.length; tile++) {
      const dx = this.slide.x[tile] - x, dy = this.slide.y[tile] - y, far = dx * dx + dy * dy;
      if (far < least && suits(dx, dy)) [best, least] = [tile, far];
    }
    return best;
  }

  /** By the sign that a key types, as keyboards differ in where it lies; OpenSeadragon goes by the place. */
  key(event) {
    const { key } = event.originalEvent, way = WAYS[key], zoom = ZOOMS[key];
    if (!zoom && key !== "0" && (!way || event.shift)) return; // OpenSeadragon moves the slide
    event.preventDefaultAction = true;
    event.originalEvent.preventDefault();
    if (zoom) this.zoom(zoom);
    else if (!way) this.view.viewport.goHome();
    else this.step(way);
  }

  zoom(factor) { this.view.viewport.zoomBy(factor).applyConstraints(); }

  step([ux, uy]) {
    const { x, y } = this.slide, from = this.tile, middle = this.middle();
    const next = from < 0
      ? this.nearest(middle.x, middle.y, () => true)
      : this.nearest(x[from], y[from], (dx, dy) => dx * ux + dy * uy > 0 && Math.abs(dx * uy + dy * ux) <= dx * ux + dy * uy);
    if (next >= 0) this.pick(next);
  }

  middle() { return this.view.viewport.viewportToImageCoordinates(this.view.viewport.getCenter()); }

  pick(tile) {
    this.tile = tile;
    const { viewport } = this.view, at = viewport.imageToViewportCoordinates(this.slide.x[tile], this.slide.y[tile]);
    if (!viewport.getBounds().containsPoint(at)) viewport.panTo(at);
    this.draw();
    this.picked(tile);
  }
}
