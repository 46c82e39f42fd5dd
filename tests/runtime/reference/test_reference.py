"""Building a bundle from sections and towers, and growing one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from bleep_cli import api
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.embedding.embedder import embedder_of
from bleep_cli.embedding.sections import embed_sections
from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.parts import Built, described
from bleep_cli.tiles.section import section_grid
from bleep_cli.towers.encoder import OnnxEncoder, OnnxExpressionEncoder, embed_views
from bleep_cli.types import Section, TileSpec

MakeEncoders = Callable[..., Encoders]
SPEC = TileSpec(16, (64.0,))  # 16 px of the made-up pictures, at whole pixels around every spot


def build(sections: list[Section], encoders: Encoders, **options: Any) -> Built:
    return build_reference(sections, encoders, device="cpu", **options)


def written(built: Built, path: Path) -> Bundle:
    write_bundle(path, built.info, built.arrays)
    return open_bundle(path)


def without(section: Section, *genes: str) -> Section:
    """The section as if its table had no such genes."""
    keep = ~np.isin(section.symbols, genes)
    counts, symbols, ids = section.counts[:, keep], section.symbols[keep], section.gene_ids[keep]
    return replace(section, counts=counts, symbols=symbols, gene_ids=ids)


# --- building


def test_build_packs_the_sections_in_order(small_built: Built, small_sections: list[Section]) -> None:
    arrays, info = small_built.arrays, small_built.info
    sizes = [len(s.barcodes) for s in small_sections]
    assert [(s.id, s.sha256, s.donor, s.n) for s in info.sections] == [
        (s.id, s.sha256, s.donor, n) for s, n in zip(small_sections, sizes, strict=True)
    ]
    assert arrays.section.tolist() == [s.id for s in small_sections for _ in s.barcodes]
    assert arrays.donor.tolist() == [f"D{name}" for name in arrays.section]
    assert arrays.barcode.tolist() == [b for s in small_sections for b in s.barcodes]
    np.testing.assert_array_equal(arrays.xy_l0, np.concatenate([s.xy_l0 for s in small_sections]))
    assert (info.tile, info.views, info.key, info.tower_input) == (SPEC, 8, "expression", "log1p")
    assert arrays.symbols.tolist() == [f"GENE{i}" for i in range(12)]


def test_every_spot_has_the_embedding_of_its_own_tile(
    small_built: Built, small_sections: list[Section], tower_bytes: tuple[bytes, bytes]
) -> None:
    tower, row = OnnxEncoder(tower_bytes[0], "cpu"), 0
    for section in small_sections:
        path = Path(section.image)
        image = tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))
        corners = (section.xy_l0 - 8).astype(int)
        tiles = np.stack([image[y : y + 16, x : x + 16] for x, y in corners])
        stored = small_built.arrays.image_embeddings[row : row + len(tiles)]
        np.testing.assert_allclose(stored, embed_views(tower, tiles, 8), atol=1e-6)
        row += len(tiles)
    assert row == len(small_built.arrays.barcode)


def test_expression_and_its_embeddings(
    small_built: Built, small_sections: list[Section], tower_bytes: tuple[bytes, bytes]
) -> None:
    wanted = np.concatenate([log1p_normalise(s.counts).toarray() for s in small_sections])
    wanted = wanted.astype(np.float16).astype(np.float32)  # as it is stored, so as it is embedded
    np.testing.assert_array_equal(small_built.arrays.expression.toarray(), wanted)
    embedded = OnnxExpressionEncoder(tower_bytes[1]).embed(wanted)
    np.testing.assert_allclose(small_built.arrays.expression_embeddings, embedded, atol=1e-6)


def test_both_sides_of_a_spot_lie_near_one_another(small_built: Built) -> None:
    """The made-up world is sound: image and expression agree about the kind of tissue."""
    arrays = small_built.arrays
    cosine = arrays.image_embeddings @ arrays.expression_embeddings.T
    own = np.diag(cosine)
    assert np.median(own) > 0.99 and np.median(own) > np.median(cosine) + 0.5


def test_the_panel_is_in_the_towers_order(small_sections: list[Section], make_encoders: MakeEncoders) -> None:
    encoders = make_encoders(SPEC, ["GENE7", "GENE2", "GENE11"])
    arrays = build(small_sections, encoders).arrays
    assert arrays.panel.tolist() == [7, 2, 11]
    wanted = OnnxExpressionEncoder(encoders.expression).embed(arrays.expression[:, [7, 2, 11]].toarray())
    np.testing.assert_allclose(arrays.expression_embeddings, wanted, atol=1e-6)


def test_a_panel_may_name_ids_with_versions(small_sections: list[Section], make_encoders: MakeEncoders) -> None:
    encoders = make_encoders(SPEC, ["ENSG00000000004.7", "GENE1"])
    built = build(small_sections[2:], encoders)  # the section with ids
    assert built.arrays.gene_ids[0] == "ENSG00000000000"
    assert built.arrays.panel.tolist() == [4, 1]


def test_a_panel_that_is_not_measured_is_refused(
    small_sections: list[Section], make_encoders: MakeEncoders
) -> None:
    lacking = [small_sections[0], without(small_sections[1], "GENE3")]
    with pytest.raises(ReferenceError, match=r"^1 of the 12 genes that the expression tower needs .*GENE3"):
        build(lacking, make_encoders())


def test_genes_of_too_few_spots_are_left_out_unless_in_the_panel(
    small_sections: list[Section], make_encoders: MakeEncoders
) -> None:
    counts = small_sections[0].counts.toarray()
    counts[:, 5], counts[:, 6], counts[:, 7] = 0, 0, 0
    counts[:2, 5], counts[:2, 6], counts[:3, 7] = 1, 1, 1
    rare = replace(small_sections[0], counts=type(small_sections[0].counts)(counts))
    built = build([rare], make_encoders(SPEC, ["GENE0", "GENE6"]))
    assert built.arrays.symbols.tolist() == [f"GENE{i}" for i in range(12) if i != 5]
    assert built.arrays.symbols[built.arrays.panel].tolist() == ["GENE0", "GENE6"]
    assert built.findings[-1].what == "11 of 12 shared genes are seen in enough spots"
    np.testing.assert_allclose(np.expm1(built.arrays.expression.toarray()).sum(axis=1), 1e4, rtol=0.01)


def test_towers_and_their_word_go_into_the_bundle(
    small_sections: list[Section], make_encoders: MakeEncoders, tmp_path: Path
) -> None:
    encoders = make_encoders(k=7, views=1, key="image", recommended_views=1, species="made up")
    found = written(build(small_sections[:1], encoders), tmp_path / "a.zarr")
    assert (found.tower("image"), found.tower("expression")) == (encoders.image, encoders.expression)
    info = found.info
    assert (info.k, info.views, info.key, info.recommended_views, info.species) == (7, 1, "image", 1, "made up")
    single = embed_sections(small_sections[:1], embedder_of(encoders.image, "cpu"), SPEC, 1)
    np.testing.assert_allclose(found.embeddings("image"), single, atol=1e-6)
    assert all(check.ok for check in verify(found))


def test_corrected_tower_input_is_embedded_and_marked(
    small_sections: list[Section], make_encoders: MakeEncoders
) -> None:
    encoders, given = make_encoders(), np.random.default_rng(0).random((252, 12), np.float32)
    built = build(small_sections, encoders, tower_input=given)
    wanted = OnnxExpressionEncoder(encoders.expression).embed(given)
    np.testing.assert_allclose(built.arrays.expression_embeddings, wanted, atol=1e-6)
    assert built.info.tower_input == "harmony"


def test_expression_can_be_kept_in_f32(
    small_sections: list[Section], make_encoders: MakeEncoders, tmp_path: Path
) -> None:
    built = build(small_sections[:1], make_encoders(expression_precision="f32"))
    wanted = log1p_normalise(small_sections[0].counts).toarray()
    np.testing.assert_array_equal(written(built, tmp_path / "a.zarr").expression(None, 1 << 30), wanted)


def test_notes_and_progress_tell_what_happened(small_sections: list[Section], make_encoders: MakeEncoders) -> None:
    calls: list[tuple[str, int, int]] = []
    noted = replace(small_sections[0], findings=(Finding("spots-empty", "2 spots were odd", "S0"),))
    built = build(
        [noted, without(small_sections[1], "GENE9")],
        make_encoders(SPEC, ["GENE0"]),
        progress=lambda *c: calls.append(c),
    )
    assert tuple(map(str, built.findings[:2])) == (
        "S0: 1 of 12 genes are not in every section",
        "S0: 2 spots were odd",
    )
    assert calls[0] == ("spots", 0, 168) and calls[-1] == ("spots", 168, 168)
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)


def test_the_same_data_twice_is_refused(small_sections: list[Section], make_encoders: MakeEncoders) -> None:
    twin = replace(small_sections[0], id="other name")
    with pytest.raises(ReferenceError, match=r"section other name is already in the cohort \(as S0\)"):
        build([*small_sections, twin], make_encoders())


def test_positions_of_another_image_are_refused(
    small_sections: list[Section], make_encoders: MakeEncoders
) -> None:
    far = replace(small_sections[0], xy_l0=small_sections[0].xy_l0 * 5)
    with pytest.raises(
        ReferenceError, match=r"section S0: \d+ of its 84 spots lie outside S0\.png \(300 × 200 px\)"
    ):
        build([far], make_encoders())


def test_an_image_without_a_pixel_size_names_the_key_of_the_cohort_file(
    small_sections: list[Section], make_encoders: MakeEncoders
) -> None:
    with pytest.raises(ReferenceError, match=r"^section S0: S0\.png: .* mpp 0\.5"):
        build([replace(small_sections[0], mpp=None)], make_encoders())


def test_section_grid_is_the_spots(small_sections: list[Section]) -> None:
    section = replace(small_sections[0], id="a long name")
    grid = section_grid(section, 4.0, SPEC)
    np.testing.assert_array_equal(grid.centre_l0, section.xy_l0)
    np.testing.assert_array_equal(grid.tile_id, section.barcodes)
    assert set(grid.region.tolist()) == {"a long name"}
    assert (grid.edge_l0(), grid.pitch_um) == (16.0, 64.0)


def test_a_text_that_stands_there_is_kept_and_the_new_one_added(small_built: Built) -> None:
    citation = "Doe; Roe, 2020"
    once = described(small_built, {"licence": "CC BY 4.0", "citation": citation, "species": ""})
    assert (once.info.species, once.info.licence, once.info.citation) == ("", "CC BY 4.0", citation)
    assert described(once, {"licence": " CC BY 4.0 ", "citation": citation}) is once
    assert described(once, {"licence": "CC BY"}).info.licence == "CC BY 4.0; CC BY"
    twice = described(once, {"licence": "MIT", "citation": "Poe, 2021"}).info
    assert (twice.licence, twice.citation) == ("CC BY 4.0; MIT", f"{citation}; Poe, 2021")


def test_the_texts_of_a_cohort_file_reach_the_bundle(
    make_sections: Callable[..., Path], make_encoders: MakeEncoders
) -> None:
    path = make_sections(("st",))
    path.write_text('licence = "CC0"\n' + path.read_text())
    encoders = make_encoders(licence="of the towers", species="Homo sapiens")
    info = api.build_reference(path, encoders, device="cpu").info
    assert (info.species, info.licence, info.citation) == ("Homo sapiens", "of the towers; CC0", "")


def test_a_bundle_that_grows_keeps_its_terms_and_adds_those_of_the_new_sections(
    make_sections: Callable[..., Path], make_encoders: MakeEncoders, small_bundle: Path
) -> None:
    path = make_sections(("tiff",), first_seed=5)
    path.write_text('licence = "CC0"\n' + path.read_text())
    (section,) = api.read_cohort(path)
    other = section.counts[:, ::-1]
    old = build([replace(section, id="old", sha256="0", counts=other)], make_encoders(licence="CC BY 4.0"))
    base = written(old, path.parent / "base.zarr")
    assert api.grow_reference(base, path, device="cpu").info.licence == "CC BY 4.0; CC0"
    assert api.grow_reference(small_bundle, path, device="cpu").info.licence == "CC0"
