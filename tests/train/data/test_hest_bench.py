"""HEST-Bench on a made folder: its cohort file, its splits, its genes, its truth, its mean."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from bleep_cli.cohort.cohort_file import cohort_entries
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError, UsageError
from bleep_train.data.hest_bench import Bench, Split, check_bench, read_bench, write_hest_cohort
from bleep_train.metrics.per_gene import pearson
from bleep_train.study.saved import FoldFolder

Command = Callable[..., str]
IDS = {"A-S1": "TENX1", "B-S1": "TENX2", "C-S1": "TENX3"}
GENES = ["HAL", "CYP3A4", "VWF", "GLUL", "ALB"]
SPLITS = {0: (["TENX1", "TENX2"], ["TENX3"]), 1: (["TENX3"], ["TENX1", "TENX2"])}


@pytest.fixture
def hest(phantoms: Path, tmp_path: Path) -> Path:
    """The phantoms as a HEST folder, and a task on them."""
    folder = tmp_path / "hest_data"
    for name in ("st", "wsis", "metadata"):
        (folder / name).mkdir(parents=True)
    for section in read_cohort(phantoms):
        name = IDS[section.id]
        var = pd.DataFrame(index=section.symbols)
        data = anndata.AnnData(section.counts, pd.DataFrame(index=section.barcodes), var)
        data.obsm["spatial"] = section.xy_l0
        data.write_h5ad(folder / "st" / f"{name}.h5ad")
        shutil.copyfile(section.image, folder / "wsis" / f"{name}.tif")
        told = {"patient": f"patient of {name}", "pixel_size_um_estimated": section.mpp or 0.5}
        (folder / "metadata" / f"{name}.json").write_text(json.dumps(told))
    task = tmp_path / "bench" / "LIVER"
    (task / "splits").mkdir(parents=True)
    (task / "var_50genes.json").write_text(json.dumps({"genes": GENES}))
    for k, sides in SPLITS.items():
        for side, ids in zip(("train", "test"), sides, strict=True):
            rows = [f"{i},patches/{i}.h5,adata/{i}.h5ad" for i in ids]
            (task / "splits" / f"{side}_{k}.csv").write_text(
                "\n".join(["sample_id,patches_path,expr_path", *rows])
            )
    return folder


def test_the_cohort_file_of_a_folder(hest: Path, bleep_train: Command, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "cohort.toml"
    out.parent.mkdir()
    assert bleep_train("hest", hest, "-o", out, "--only", "TENX3, TENX1") == f"{out}: 2 sections of {hest}\n"
    first, other = read_cohort(out)
    assert (first.id, first.donor, other.id) == ("TENX1", "patient of TENX1", "TENX3")
    assert 'image = "../hest_data/wsis/TENX1.tif"' in out.read_text()
    assert "min_counts" not in out.read_text()
    with pytest.raises(UsageError, match="hest_data has no section TENX9"):
        write_hest_cohort(hest, out, only=["TENX9"], force=True)
    with pytest.raises(UsageError, match=r"names no task of HEST-Bench: .*bleep-train hest FOLDER with bench"):
        read_bench(out)


def test_a_task_is_its_splits_and_genes(hest: Path, tmp_path: Path) -> None:
    out, task = tmp_path / "cohort.toml", tmp_path / "bench" / "LIVER"
    assert write_hest_cohort(hest, out, task=task) == ["TENX1", "TENX2", "TENX3"]
    splits = tuple(Split(f"split-{k}", tuple(train), tuple(test)) for k, (train, test) in SPLITS.items())
    assert read_bench(out) == Bench(tuple(GENES), splits)
    assert [entry["min_counts"] for entry in cohort_entries(out)] == [0, 0, 0]  # the benchmark scores every spot
    (task / "splits" / "test_1.csv").write_text("sample_id\nTENX3\nTENX1\n")
    with pytest.raises(UsageError, match="split-1 of LIVER has TENX3 on both sides"):
        read_bench(out)
    (task / "splits" / "test_1.csv").write_text("id\nTENX3\n")
    with pytest.raises(UsageError, match="LIVER: no task of HEST-Bench"):
        read_bench(out)
    shutil.rmtree(task / "splits")
    with pytest.raises(UsageError, match=r"splits: no train_0\.csv"):
        read_bench(out)


def test_what_the_cohort_lacks_is_told() -> None:
    bench = Bench(("HAL", "NOPE"), (Split("split-0", ("a",), ("b",)),))
    with pytest.raises(ReferenceError, match="sections that the cohort has not: b"):
        check_bench(bench, ["a"], ["HAL", "NOPE"])
    with pytest.raises(ReferenceError, match="not every section measures: NOPE"):
        check_bench(bench, ["a", "b"], ["HAL"])


@pytest.mark.slow
def test_splits_genes_truth_and_mean_are_the_benchmarks(hest: Path, bleep_train: Command, tmp_path: Path) -> None:
    cohort, out = tmp_path / "cohort.toml", tmp_path / "out"
    bleep_train("hest", hest, "-o", cohort, "--bench", tmp_path / "bench" / "LIVER")
    tiny = ("--config", "tiny", "--set", "data.tile_px=64")
    options = ("--protocol", "hest-bench", "--methods", "knn,mean", *tiny)
    printed = bleep_train("evaluate", cohort, "-o", out, *options)
    sections = {s.id: s for s in read_cohort(cohort)}
    means = []
    for k, (train, test) in SPLITS.items():
        folder = FoldFolder.of(out, f"split-{k}")
        truth = folder.truth()
        assert list(dict.fromkeys(truth.section.tolist())) == test
        assert folder.genes() == {"hvg50": GENES, "all": GENES}
        held_out = sections[test[0]]
        slot = {symbol: i for i, symbol in enumerate(held_out.symbols.tolist())}
        counts = held_out.counts[:, [slot[gene] for gene in truth.symbols.tolist()]].toarray()
        np.testing.assert_allclose(truth.measured[: len(counts)], np.log1p(counts), rtol=1e-6)
        assert len(truth.reference) == sum(len(sections[i].barcodes) for i in train)
        means.append(np.nan_to_num(pearson(folder.predicted("knn"), truth.measured)).mean())
    bench = json.loads((out / "metrics.json").read_text())["methods"]["knn"]["bench"]
    assert bench == {"mean": pytest.approx(np.mean(means)), "std": pytest.approx(np.std(means))}
    assert "**hest-bench: 2 splits**" in printed
    assert f"| knn | {np.mean(means):.4f} | {np.std(means):.4f} |" in printed
    assert "noise ceiling" not in printed
    with pytest.raises(UsageError, match="no split is named split-7; there are split-0, split-1"):
        bleep_train("evaluate", cohort, "-o", out, *options, "--test", "split-7")
