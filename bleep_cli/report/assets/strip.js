// Below a map: how many tiles have which value, over the colours that these values have.

const BINS = 60;

/** Context of a canvas that has `ratio` pixels for each of the screen's, cleared. */
function freshContext(canvas, ratio) {
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height };
}

/** Tiles by the share of the scale that their value has; what lies beyond its ends counts to the last bins. */
function binsOf(values, [low, high]) {
  const bins = new Float64Array(BINS);
  for (let code = 0; code <= STEPS; code++) {
    const share = (values.ofCode(code) - low) / (high - low || 1);
    bins[Math.max(0, Math.min(BINS - 1, Math.floor(share * BINS)))] += values.counts[code];
  }
  return bins;
}

function drawStrip(canvas, panel, ratio) {
  const { values, scale, page } = panel, { palette, tile } = page;
  const { context, width, height } = freshContext(canvas, ratio);
  const top = 16, base = height - 27, bar = 8, [low, high] = scale;
  const bins = binsOf(values, scale), most = Math.max(...bins), step = width / BINS;
  context.font = `11px ${getComputedStyle(canvas).fontFamily}`;
  context.fillStyle = "#56626f";
  context.textBaseline = "top";
  context.textAlign = "right";
  context.fillText(values.kind === "gene" ? page.slide.unit : values.label, width, 0);
  context.textAlign = "left";
  context.fillText("tiles", 0, 0);
  bins.forEach((count, i) => {
    const tall = count ? Math.max(1, ((base - top) * count) / most) : 0;
    context.fillStyle = palette[Math.round(((i + 0.5) / BINS) * 255)];
    context.fillRect(i * step, base - tall, Math.max(1, step - 1), tall);
  });
  const colours = context.createLinearGradient(0, 0, width, 0);
  palette.forEach((colour, i) => {
    const seen = Math.round(255 * (panel.sheer ? sheerness(i) : 1));
    colours.addColorStop(i / 255, colour + seen.toString(16).padStart(2, "0"));
  });
  context.fillStyle = colours;
  context.fillRect(0, base + 2, width, bar);
  context.fillStyle = "#1b2530";
  for (const { value, text } of ticksOf(low, high, Math.max(2, width / 90))) {
    const x = ((value - low) / (high - low)) * width;
    context.fillRect(Math.min(width - 1, x), base + 2 + bar, 1, 3);
    context.textAlign = x < 12 ? "left" : x > width - 12 ? "right" : "center";
    context.fillText(text, x, base + bar + 6);
  }
  const value = tile < 0 ? NaN : values.at(tile);
  if (Number.isFinite(value)) {
    const x = Math.max(0, Math.min(1, (value - low) / (high - low))) * width;
    context.beginPath();
    context.moveTo(x, base + 2);
    context.lineTo(x - 5, base - 7);
    context.lineTo(x + 5, base - 7);
    context.closePath();
    context.fill();
    context.strokeStyle = "#fff";
    context.stroke();
  }
}
