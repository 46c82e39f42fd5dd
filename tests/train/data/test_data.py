"""From sections to training arrays: the panel against scanpy and NumPy, Harmony, the tile and feature caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anndata
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.types import Section
from bleep_train.config.schema import DataConfig
from bleep_train.data.harmonise import harmonise
from bleep_train.data.training_set import prepare

SPOTS, GENES = 60, 240
CONFIG = DataConfig(target_sum=1e4, panel_genes=40, min_spots=0.1)


def section(name: str, seed: int, symbols: Sequence[str], shift: float = 1.0) -> Section:
    """Overdispersed counts; every gene has its level and its variability, whatever the column it stands in."""
    rng = np.random.default_rng(seed)
    number = np.array([int(symbol[1:]) for symbol in symbols])
    level = 0.05 + 3 * ((number * 37) % 101) / 101
    spread = 0.1 + ((number * 53) % 97) / 97
    depth = rng.uniform(0.5, 2.0, (SPOTS, 1))
    counts = rng.poisson(shift * depth * level * rng.gamma(1 / spread, spread, (SPOTS, len(symbols))))
    names = np.array(symbols)
    return Section(
        id=name,
        donor=name,
        sha256=name,
        counts=sparse.csr_matrix(counts.astype(np.float32)),
        symbols=names,
        gene_ids=names,
        barcodes=np.array([f"{name}-{i}" for i in range(SPOTS)]),
        xy_l0=np.zeros((SPOTS, 2)),
        image="",
        mpp=None,
    )


@pytest.fixture(scope="module")
def sections() -> list[Section]:
    """Two sections whose tables have other orders and, at the end and in between, other genes."""
    genes = [f"g{i}" for i in range(GENES)]
    other = [genes[i] for i in np.random.default_rng(1).permutation(GENES)]
    return [section("A", 1, [*genes, "g1001"]), section("B", 2, ["g1002", *other])]


def logged(section: Section, genes: Sequence[str]) -> anndata.AnnData:
    """log1p expression by scanpy, the total running over all of the section's genes."""
    adata = anndata.AnnData(section.counts.copy())
    adata.var_names = section.symbols.astype(object)
    adata.obs_names = section.barcodes.astype(object)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata[:, list(genes)].copy()


def shared(sections: Sequence[Section]) -> list[str]:
    return [str(g) for g in sections[0].symbols if all(g in s.symbols for s in sections[1:])]


def test_hvg_panel_is_the_union_of_scanpys(sections: list[Section]) -> None:
    chosen: list[set[str]] = []
    for each in sections:
        adata = logged(each, shared(sections))
        sc.pp.highly_variable_genes(adata, n_top_genes=40)
        chosen.append(set(adata.var_names[adata.var["highly_variable"]]))
    union = chosen[0] | chosen[1]
    assert max(map(len, chosen)) < len(union) < GENES  # the sections disagree
    data = prepare(sections, replace(CONFIG, panel="hvg", min_spots=0.0), 0)
    assert set(data.panel_keys) == union
    assert data.panel_keys.tolist() == [g for g in shared(sections) if g in union]  # in the first one's order


def test_variance_panel_is_numpys(sections: list[Section]) -> None:
    genes = shared(sections)
    dense = np.concatenate([logged(s, genes).X.toarray().astype(np.float64) for s in sections])
    seen = np.concatenate([s.counts.toarray()[:, [s.symbols.tolist().index(g) for g in genes]] for s in sections])
    usable = (seen > 0).sum(axis=0) >= 0.1 * 2 * SPOTS
    assert 40 < usable.sum() < len(genes)
    variance = np.where(usable, dense.var(axis=0), -1)
    assert int(np.argmax(dense.var(axis=0) * ~usable)) != int(np.argmax(variance))
    best = np.sort(np.argsort(-variance, kind="stable")[:40])
    data = prepare(sections, CONFIG, 0)
    assert data.panel_keys.tolist() == [genes[i] for i in best]


def test_panel_values_are_log1p_of_the_spots_in_order(sections: list[Section]) -> None:
    data = prepare(sections, CONFIG, 0)
    expected = np.concatenate([logged(s, data.panel_keys).X.toarray() for s in sections])
    np.testing.assert_allclose(data.panel, expected, rtol=1e-5)
    assert data.panel.dtype == np.float32
    assert data.panel is data.log1p
    assert data.section_of.tolist() == [0] * SPOTS + [1] * SPOTS
    assert any("A: 1 of 241 genes" in note for note in data.notes)


@pytest.mark.parametrize("panel", ["hvg", "variance"])
def test_rare_genes_never_enter_the_panel(sections: list[Section], panel: Any) -> None:
    config = DataConfig(panel=panel, panel_genes=GENES, min_spots=0.6)
    keys = prepare(sections, config, 0).panel_keys
    counts = {g: sum((s.counts[:, s.symbols == g] > 0).sum() for s in sections) for g in shared(sections)}
    common = {g for g, n in counts.items() if n >= 0.6 * 2 * SPOTS}
    assert 0 < len(common) < GENES
    assert set(keys) == common  # all that are common, none that is rare
    everything = prepare(sections, replace(config, min_spots=0.0), 0).panel_keys
    assert set(everything) == {g for g, n in counts.items() if n > 0}  # one never seen is not learned from


def test_sections_that_share_no_gene() -> None:
    alone = [section("A", 1, ["g1", "g2"]), section("B", 2, ["g3", "g4"])]
    with pytest.raises(ReferenceError, match="share no gene"):
        prepare(alone, CONFIG, 0)


# --- Harmony


def two_batches(spots: int = 80, genes: int = 25) -> tuple[Any, list[str], Any]:
    """Two kinds of spots in each of two sections, and a shift of the second section in every gene."""
    rng = np.random.default_rng(3)
    kind = np.tile([0, 1], spots)
    profile = rng.uniform(0, 3, (2, genes))
    values = profile[kind] + rng.normal(0, 0.2, (2 * spots, genes))
    values[spots:] += rng.uniform(0.3, 0.6, genes)
    return values.astype(np.float32), ["A"] * spots + ["B"] * spots, kind


def gap(values: Any, ids: Sequence[str]) -> float:
    first = np.array(ids) == "A"
    return float(np.abs(values[first].mean(axis=0) - values[~first].mean(axis=0)).mean())


def test_harmony_takes_the_sections_shift_and_leaves_the_tissue() -> None:
    values, ids, kind = two_batches()
    out = harmonise(values, ids, seed=0)
    assert out.shape == values.shape
    assert out.dtype == np.float32
    assert gap(values, ids) > 0.3
    assert gap(out, ids) < 0.2 * gap(values, ids)
    # rows are still spots: each resembles its own kind's mean more than the other's
    means = [out[kind == k].mean(axis=0) for k in (0, 1)]
    nearest = np.argmin([((out - mean) ** 2).sum(axis=1) for mean in means], axis=0)
    assert np.array_equal(nearest, kind)
    np.testing.assert_array_equal(harmonise(values, ids, seed=0), out)


def test_harmony_keeps_the_orientation_of_a_square_table() -> None:
    values, ids, _ = two_batches(spots=15, genes=30)  # 30 spots of 30 genes
    out = harmonise(values, ids, seed=0)
    assert out.shape == values.shape
    assert gap(out, ids) < 0.5 * gap(values, ids)
    assert np.corrcoef(out.ravel(), values.ravel())[0, 1] > 0.9


def test_harmony_refuses_one_section() -> None:
    values, ids, _ = two_batches()
    with pytest.raises(UsageError, match=r"at least two training sections; set data\.harmony=false"):
        harmonise(values[:80], ids[:80], seed=0)


def test_prepare_harmonises_the_towers_input_only(sections: list[Section]) -> None:
    deep = section("C", 3, sections[0].symbols.tolist(), shift=4.0)
    plain = prepare([sections[0], deep], CONFIG, 0)
    data = prepare([sections[0], deep], replace(CONFIG, harmony=True), 0)
    assert data.panel_keys.tolist() == plain.panel_keys.tolist()
    np.testing.assert_array_equal(data.log1p, plain.panel)
    ids = ["A"] * SPOTS + ["C"] * SPOTS
    assert gap(data.panel, ids) < 0.7 * gap(data.log1p, ids)
    with pytest.raises(UsageError, match="at least two"):
        prepare([deep], replace(CONFIG, harmony=True), 0)


# --- protocol "paper": the published leak, by name


PAPER = replace(CONFIG, protocol="paper", panel="hvg", min_spots=0.0)


def test_leaked_sections_enter_the_panel_and_harmony_but_not_the_training_rows(sections: list[Section]) -> None:
    held_out = section("C", 3, sections[0].symbols.tolist(), shift=4.0)
    config = replace(PAPER, harmony=True)
    data = prepare(sections, config, 0, leaked=[held_out])
    joint = prepare([*sections, held_out], replace(config, protocol="leak-free"), 0)
    assert data.panel_keys.tolist() == joint.panel_keys.tolist()
    np.testing.assert_array_equal(data.panel, joint.panel[: 2 * SPOTS])
    np.testing.assert_array_equal(data.log1p, joint.log1p[: 2 * SPOTS])
    np.testing.assert_array_equal(data.leaked_panel, joint.panel[2 * SPOTS :])
    assert [s.id for s in data.sections] == ["A", "B"]
    assert [s.id for s in data.leaked] == ["C"]
    assert data.section_of.tolist() == [0] * SPOTS + [1] * SPOTS
    without = prepare(sections, config, 0)
    assert without.leaked_panel is None
    assert set(without.panel_keys) < set(data.panel_keys)  # a third section's genes joined the union
    both = np.isin(data.panel_keys, without.panel_keys)
    assert np.abs(data.panel[:, both] - without.panel).max() > 0.05  # and Harmony fitted three
    ids = ["A"] * 2 * SPOTS + ["C"] * SPOTS
    corrected = np.concatenate([data.panel, data.leaked_panel])
    assert gap(corrected, ids) < 0.7 * gap(joint.log1p, ids)


def test_the_leak_is_told_and_needs_its_name(sections: list[Section]) -> None:
    held_out = section("C", 3, sections[0].symbols.tolist())
    told = prepare(sections, PAPER, 0, leaked=[held_out]).notes[-1]
    assert told.startswith("protocol paper: held-out sections C entered the panel, as in the published code")
    assert "leak" in told
    harmonised = prepare(sections, replace(PAPER, harmony=True), 0, leaked=[held_out]).notes[-1]
    assert "entered the panel and the Harmony fit" in harmonised
    assert not any("leak" in note for note in prepare(sections, PAPER, 0).notes)
    with pytest.raises(UsageError, match=r"held-out sections C must not be prepared .* data\.protocol = .paper"):
        prepare(sections, CONFIG, 0, leaked=[held_out])
