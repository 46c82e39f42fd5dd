"""Cohort files of the data sets whose positions have to be worked out first; nothing of the data is copied.

    python benchmarks/cohorts.py OUT [--data ../shared/data]

Two files in the folder, a cohort of patients and one of animals. Patients: her2st, sections C2 to C5 of patient
C and A1 of patient A, whose picture is a copy of 2,000 pixels of a scan of 6,954. Animals: mouse olfactory
bulbs, sections 04 and 09 of two animals, with spot (x, y) of an array of 33 × 35 at ((x - 1) W / 32, (y - 1) H
/ 34) and the spots that have a layer, and MOB1 of a third.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from PIL import Image

A1_SCALE = 2000 / 6954
ANIMALS = {"04": "animal-A", "09": "animal-D"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    data, out = given.data.resolve(), given.out.resolve()
    (out / "patients.toml").write_text("\n".join(patients(data, out)), encoding="utf-8")
    (out / "animals.toml").write_text("\n".join(animals(data, out)), encoding="utf-8")
    print(f"{given.out}: patients.toml, animals.toml")


def patients(data: Path, out: Path) -> list[str]:
    """Sections of two patients."""
    her2st, other = data / "her2st", data / "her2st-other"
    sections = [
        section(
            name,
            "C",
            her2st / f"images/{name}.jpg",
            0.69,
            her2st / f"counts/{name}.tsv.gz",
            her2st / f"spots/{name}_selection.tsv",
        )
        for name in ("C2", "C3", "C4", "C5")
    ]
    with (other / "A1_selection.tsv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    for row in rows:
        row |= {axis: str(float(row[axis]) * A1_SCALE) for axis in ("pixel_x", "pixel_y")}
    positions = table(out / "A1.tsv", list(rows[0]), [list(row.values()) for row in rows])
    sections.append(section("A1", "A", other / "A1_2000px_masked.png", 3.2, other / "A1.tsv.gz", positions))
    return sections


def animals(data: Path, out: Path) -> list[str]:
    """Sections of three animals."""
    folder, mob = data / "mob-animals", data / "mob-2k"
    sections = []
    for name, animal in ANIMALS.items():
        image = folder / f"images/{name}.jpg"
        with Image.open(image) as opened:
            width, height = opened.size
        with (folder / f"layers/{name}.tsv").open(encoding="utf-8", newline="") as handle:
            head = next(csv.reader(handle, delimiter="\t"))
        spots = [tuple(map(float, column.split("_"))) for column in head if "_" in column]
        rows = [[f"{x:g}", f"{y:g}", str((x - 1) * width / 32), str((y - 1) * height / 34), "1"] for x, y in spots]
        positions = table(out / f"{name}.tsv", ["x", "y", "pixel_x", "pixel_y", "selected"], rows)
        counts = folder / f"counts/{name}.tsv.gz"
        sections.append(section(name, animal, image, 2.76, counts, positions, mob / "mouse_genes.tsv.gz"))
    positions = mob / "alignment_table_MOB1.tsv"
    genes = mob / "mouse_genes.tsv.gz"
    sections.append(section("MOB1", "animal-1", mob / "MOB1.jpg", 4.45, mob / "MOB1.tsv.gz", positions, genes))
    return sections


def table(path: Path, columns: list[str], rows: list[list[str]]) -> Path:
    """Writes a table of positions."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def section(
    name: str, donor: str, image: Path, mpp: float, counts: Path, positions: Path, genes: Path | None = None
) -> str:
    """One ``[[section]]`` of a cohort file."""
    lines = ["[[section]]", f'id = "{name}"', f'donor = "{donor}"', f'image = "{image}"', f"mpp = {mpp}"]
    lines += [f'counts = "{counts}"', f'positions = "{positions}"', *([f'genes = "{genes}"'] if genes else []), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
