// What stands behind a tile, in words and pictures. Every name is put in as text.

function part(tag, text = "", more = {}) {
  const element = Object.assign(document.createElement(tag), more);
  element.textContent = text;
  return element;
}

function table(headings, rows) {
  const made = document.createElement("table"), head = made.createTHead().insertRow(), body = made.createTBody();
  head.append(...headings.map((text) => part("th", text, { scope: "col" })));
  for (const row of rows) {
    const line = body.insertRow();
    for (const cell of row) line.insertCell().append(cell);
  }
  return made;
}

function tileWords(slide, tile) {
  const layers = tile.layers.map(({ label, value }) => `${label} ${value}`);
  const place = `x ${Math.round(tile.x_um)} µm, y ${Math.round(tile.y_um)} µm`;
  return [part("p", [tile.name, `piece ${tile.piece}`, place, ...layers].join(" · "))];
}

function topTable(tile, choose) {
  const rows = tile.top.map(({ name, column, value, deviations }) => {
    const button = part("button", name, { type: "button", className: "piece" });
    button.addEventListener("click", () => choose(column));
    return [button, value.toFixed(2), `+${deviations.toFixed(1)}`];
  });
  const made = table(["Genes that stand out", "Predicted", "SD above the slide"], rows);
  made.id = "top-genes";
  return made;
}

function receiptWords(slide, receipt) {
  const { spots } = receipt, donors = new Set(spots.map((spot) => spot.donor));
  const projection = receipt.projection ? ` ${receipt.projection < 0 ? "−" : "+"} ${Math.abs(receipt.projection).toFixed(4)} for what the components of the reference see of them` : "";
  const correction = receipt.correction ? ` ${receipt.correction < 0 ? "−" : "+"} ${Math.abs(receipt.correction).toFixed(4)} for where the tile lies` : "";
  const level = receipt.level ? ` ${receipt.level < 0 ? "−" : "+"} ${Math.abs(receipt.level).toFixed(4)} for the level that was asked for` : "";
  const sum = projection || correction || level ? ` = ${receipt.recomputed.toFixed(4)}` : "";
  const lines = [
    part("p", `${receipt.gene}: ${receipt.predicted.toFixed(4)} predicted, from ${spots.length} measured spots of ${donors.size} ${donors.size === 1 ? "donor" : "donors"} in ${slide.reference}.`),
    part("p", `Computed again from them (${receipt.aggregation}): ${receipt.mean.toFixed(4)}${projection}${correction}${level}${sum}.`, { className: "hint" }),
  ];
  const rows = spots.map((spot, i) => [
    part("span", "", { className: "seen", id: `seen-${i}` }),
    `${spot.section} ${spot.barcode}`, spot.donor, spot.similarity.toFixed(3), spot.weight.toFixed(3), spot.measured.toFixed(2),
  ]);
  const note = part("p", slide.pictures ? "" : "No pictures of the spots: bleep view --cohort names the file that says where the images of the sections are.", { className: "hint", id: "no-pictures" });
  return [...lines, note, table(["", "Spot", "Donor", "Similarity", "Weight", "Measured"], rows)];
}

/** Fills in pictures section by section, as long as the receipt is the one that is shown. */
async function fillPictures(receipt, stillShown) {
  const order = receipt.spots.map((spot, i) => [spot, i]).sort(([a], [b]) => a.section.localeCompare(b.section));
  const reasons = new Set();
  for (const [spot, i] of order) {
    const answer = await asked(`picture/${spot.row}`);
    if (!stillShown()) return;
    if (answer.picture) {
      const image = part("img", "", { src: answer.picture, alt: `Tissue around spot ${spot.barcode} of section ${spot.section}` });
      document.getElementById(`seen-${i}`).replaceChildren(image);
    } else reasons.add(answer.why);
    document.getElementById("no-pictures").textContent = reasons.size ? `No picture of some spots: ${[...reasons].join("; ")}.` : "";
  }
}
