"""Sections of a HEST folder: its files found, its metadata believed where the cohort file says nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bleep_cli.cohort.cohort_file import cohort_entries
from bleep_cli.cohort.read import read_cohort, read_section
from bleep_cli.cohort.readers.hest import hest_ids
from bleep_cli.errors import ReferenceError

COUNTS = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0]], np.float32)
METADATA = {
    "id": "TENX99", "patient": "Patient 1", "dataset_title": "Breast", "pixel_size_um_estimated": 0.27,
    "pixel_size_um_embedded": 0.5, "st_technology": "Visium",
}  # fmt: skip


def hest(folder: Path, ids: tuple[str, ...] = ("TENX99",), counts: str = "st", **metadata: Any) -> Path:
    """A HEST folder of small sections."""
    for name in (counts, "wsis", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(ids):
        data = anndata.AnnData(
            COUNTS + i, pd.DataFrame(index=["a", "b", "c"]), pd.DataFrame(index=["X", "Y", "Z"])
        )
        data.obsm["spatial"] = np.array([[10, 20], [30, 21], [50, 22]])
        data.write_h5ad(folder / counts / f"{name}.h5ad")
        Image.new("RGB", (60, 30), "pink").save(folder / "wsis" / f"{name}.tif")
        (folder / "metadata" / f"{name}.json").write_text(json.dumps({**METADATA, **metadata}))
    return folder


def cohort(folder: Path, text: str = "") -> Path:
    path = folder / "cohort.toml"
    path.write_text(f'[[section]]\nid = "TENX99"\nhest = "hest_data"\n{text}')
    return path


def test_least_counts_hold_for_it_too(tmp_path: Path) -> None:
    hest(tmp_path / "hest_data")
    (section,) = read_cohort(cohort(tmp_path, "min_counts = 4\n"))
    assert section.barcodes.tolist() == ["c"]
    path = cohort(tmp_path)
    path.write_text("min_counts = 3\n" + path.read_text() + "\n[bench]\nsplits = 'splits'\n")
    assert [len(s.barcodes) for s in read_cohort(path)] == [3]  # 3, 3 and 4 counts
    path.write_text(path.read_text().replace("min_counts = 3", "min_counts = 4"))
    assert [len(s.barcodes) for s in read_cohort(path)] == [1]


@pytest.mark.parametrize("counts", ["st", "adata"])
def test_a_folder_and_an_id_say_it_all(tmp_path: Path, counts: str) -> None:
    hest(tmp_path / "hest_data", counts=counts)
    (section,) = read_cohort(cohort(tmp_path))
    assert (section.id, section.donor, section.mpp) == ("TENX99", "Patient 1", 0.27)
    assert section.counts.toarray().tolist() == COUNTS.tolist()
    assert section.xy_l0.tolist() == [[10, 20], [30, 21], [50, 22]]
    assert Path(section.image) == tmp_path / "hest_data" / "wsis" / "TENX99.tif"
    (entry,) = cohort_entries(tmp_path / "cohort.toml")  # what figures look up
    assert entry["image"] == "hest_data/wsis/TENX99.tif"
    again = read_section({"id": "TENX99", "hest": "hest_data"}, tmp_path)
    assert again.sha256 == section.sha256


def test_what_the_cohort_file_says_goes_before_the_metadata(tmp_path: Path) -> None:
    hest(tmp_path / "hest_data")
    Image.new("RGB", (60, 30), "pink").save(tmp_path / "own.png")
    (section,) = read_cohort(cohort(tmp_path, 'donor = "D"\nmpp = 0.3\nimage = "own.png"\n'))
    assert (section.donor, section.mpp, Path(section.image).name) == ("D", 0.3, "own.png")
    (tmp_path / "hest_data" / "metadata" / "TENX99.json").unlink()
    assert read_cohort(cohort(tmp_path, 'donor = "D"\nmpp = 0.3\n'))[0].mpp == 0.3
    with pytest.raises(ReferenceError, match=r"TENX99: no metadata/TENX99\.json; give mpp and donor"):
        read_cohort(cohort(tmp_path, 'donor = "D"\n'))


def test_metadata_with_holes(tmp_path: Path) -> None:
    hest(tmp_path / "hest_data", patient=float("nan"), pixel_size_um_estimated=None)
    (section,) = read_cohort(cohort(tmp_path))
    assert (section.donor, section.mpp) == ("Breast", 0.5)


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"patient": None, "dataset_title": " "}, "metadata name no patient; give donor"),
        ({"pixel_size_um_estimated": 0, "pixel_size_um_embedded": True}, "hold no pixel_size_um_estimated or"),
    ],
)
def test_metadata_that_say_nothing(tmp_path: Path, metadata: dict[str, Any], told: str) -> None:
    hest(tmp_path / "hest_data", **metadata)
    with pytest.raises(ReferenceError, match=told):
        read_cohort(cohort(tmp_path))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReferenceError, match=r"TENX99: HEST folder without st/TENX99\.h5ad or adata/TENX99\.h5ad"):
        read_cohort(cohort(tmp_path))
    folder = hest(tmp_path / "hest_data", ("TENX98", "NCBI1"))
    with pytest.raises(ReferenceError, match=r"section TENX99: hest_data has no such id; did you mean TENX98\?"):
        read_cohort(cohort(tmp_path))
    hest(tmp_path / "hest_data")
    (folder / "wsis" / "TENX99.tif").unlink()
    with pytest.raises(ReferenceError, match=r"without wsis/TENX99\.tif or wsis/TENX99\.tiff"):
        read_cohort(cohort(tmp_path))
    (folder / "metadata" / "TENX99.json").write_text("{")
    with pytest.raises(ReferenceError, match=r"metadata/TENX99\.json is not JSON"):
        read_cohort(cohort(tmp_path, 'image = "hest_data/metadata/TENX99.json"\n'))
    (folder / "metadata" / "TENX99.json").write_text("[]")
    with pytest.raises(ReferenceError, match=r"metadata/TENX99\.json holds no table"):
        read_cohort(cohort(tmp_path, 'image = "hest_data/metadata/TENX99.json"\n'))


def test_keys_that_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(ReferenceError, match=r"give exactly one of spaceranger, h5ad, .*hest"):
        cohort_entries(cohort(tmp_path, 'h5ad = "a.h5ad"\n'))
    with pytest.raises(ReferenceError, match="positions goes with counts, not with hest"):
        cohort_entries(cohort(tmp_path, 'positions = "a.tsv"\n'))


def test_ids_of_a_folder(tmp_path: Path) -> None:
    assert hest_ids(hest(tmp_path / "h", ("TENX99", "NCBI1"))) == ["NCBI1", "TENX99"]
    with pytest.raises(ReferenceError, match="empty: no HEST folder"):
        hest_ids(tmp_path / "empty")
