"""Decoded tiles and frozen features are computed once, and again when anything they depend on changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from bleep_cli.cohort.read import read_cohort
from bleep_cli.slide.open import open_slide
from bleep_cli.tiles.read import read_tiles
from bleep_cli.tiles.section import section_grid
from bleep_cli.towers.encoder import ALL_VIEWS, views_of
from bleep_cli.types import Section, TileSpec
from bleep_train.backbones.build import Normalised, build_backbone
from bleep_train.data import tile_cache
from bleep_train.data.tile_cache import cached_tiles, kept_array
from bleep_train.training import frozen
from bleep_train.training.frozen import cached_features, weights_hash

CPU = torch.device("cpu")
SPEC = TileSpec(16, (64.0, 128.0))


class Small(nn.Module):
    """A backbone of one convolution."""

    dim, mean, std = 5, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, self.dim, 4, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.linspace(0, 1, 16).reshape(4, 4)  # tells one corner from the other
        return (self.conv(x).relu() * weight).mean(dim=(2, 3))


def backbone(seed: int = 0) -> Normalised:
    return Normalised(Small(seed)).eval()


@pytest.fixture
def sections(make_sections: Callable[..., Path]) -> list[Section]:
    return read_cohort(make_sections(("st", "spaceranger")))


def repaint(section: Section) -> None:
    """Another picture under the same name and of the same size."""
    pixels = np.asarray(Image.open(section.image))
    Image.fromarray(255 - pixels).save(section.image)


def refuse(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(module, name, fail)


def test_tiles_are_those_of_the_spots(sections: list[Section], tmp_path: Path) -> None:
    for section, tiles in zip(sections, cached_tiles(sections, SPEC, tmp_path), strict=True):
        slide = open_slide(section.image, section.mpp)
        grid = section_grid(section, slide.mpp, SPEC)
        np.testing.assert_array_equal(tiles, read_tiles(slide, grid, 0, len(grid)))
        slide.close()
        assert tiles.shape == (len(section.barcodes), 16, 16, 6)
        assert tiles.std() > 10


def test_the_second_call_decodes_nothing(
    sections: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [np.array(tiles) for tiles in cached_tiles(sections, SPEC, tmp_path)]
    refuse(monkeypatch, tile_cache, "section_slide")
    second = cached_tiles(sections, SPEC, tmp_path)
    assert [a.tobytes() for a in first] == [b.tobytes() for b in second]
    assert cached_tiles([], SPEC, tmp_path) == []


def test_what_changes_the_tiles_changes_the_cache(
    sections: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = cached_tiles(sections[:1], SPEC, tmp_path)
    before = np.array(before)
    repaint(sections[0])
    (after,) = cached_tiles(sections[:1], SPEC, tmp_path)
    assert np.abs(after.astype(int) - (255 - before.astype(int))).mean() < 30  # the negative ...
    assert np.abs(after.astype(int) - before.astype(int)).mean() > 60  # ... and not the picture of before
    refuse(monkeypatch, tile_cache, "section_slide")
    for other, spec in (
        (replace(sections[0], mpp=5.0), SPEC),
        (replace(sections[0], sha256="other spots"), SPEC),
        (sections[0], TileSpec(32, SPEC.um)),
        (sections[0], TileSpec(16, (64.0,))),
    ):
        with pytest.raises(AssertionError, match="section_slide was called"):
            cached_tiles([other], spec, tmp_path)
    np.testing.assert_array_equal(cached_tiles(sections[:1], SPEC, tmp_path)[0], after)


def test_a_section_that_broke_off_is_decoded_anew(
    sections: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cache = tile_cache.stream_tiles, tmp_path / "cache"

    def broken(*args: Any) -> Any:
        yield next(whole(*args))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tile_cache, "stream_tiles", broken)
        with pytest.raises(KeyboardInterrupt):
            cached_tiles(sections[:1], SPEC, cache)
    (tiles,) = cached_tiles(sections[:1], SPEC, cache)
    assert tiles[-1].std() > 0  # nothing of the half-written file is left in it
    assert [file.suffix for file in cache.iterdir()] == [".npy"]


def test_an_array_is_made_once_and_never_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, made, save = tmp_path / "new" / "array.npy", np.arange(6.0).reshape(2, 3), np.save

    def broken(handle: Any, array: Any) -> None:
        save(handle, array[:1])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", broken)
        with pytest.raises(KeyboardInterrupt):
            kept_array(file, lambda: made)
    assert list(file.parent.iterdir()) == []
    np.testing.assert_array_equal(kept_array(file, lambda: made), made)
    np.testing.assert_array_equal(kept_array(file, lambda: made + 1), made)


@pytest.mark.slow
def test_features_are_the_backbones_on_every_view_and_field(sections: list[Section], tmp_path: Path) -> None:
    net = backbone()
    all_tiles = cached_tiles(sections, SPEC, tmp_path)
    for tiles, features in zip(all_tiles, cached_features(sections, net, SPEC, tmp_path, CPU), strict=True):
        assert features.shape == (len(tiles), ALL_VIEWS, 2 * Small.dim)
        for view, turned in enumerate(views_of(np.asarray(tiles), ALL_VIEWS)):
            chw = torch.from_numpy(turned.copy()).permute(0, 3, 1, 2).float() / 255
            with torch.inference_mode():
                expected = torch.cat([net(chw[:, :3]), net(chw[:, 3:])], dim=1)
            np.testing.assert_allclose(features[:, view], expected, atol=1e-5)
        assert np.abs(features[:, 0] - features[:, 5]).max() > 1e-3  # the views differ


@pytest.mark.slow
def test_features_are_computed_once(
    sections: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [np.array(f) for f in cached_features(sections, backbone(), SPEC, tmp_path, CPU)]
    refuse(monkeypatch, tile_cache, "section_slide")
    refuse(monkeypatch, frozen, "FeatureExtractor")
    second = cached_features(sections, backbone(), SPEC, tmp_path, CPU)
    assert [a.tobytes() for a in first] == [b.tobytes() for b in second]
    only = cached_features(sections[1:], backbone(), SPEC, tmp_path, CPU)  # by section, not by cohort
    assert only[0].tobytes() == first[1].tobytes()
    with pytest.raises(AssertionError, match="FeatureExtractor was called"):
        cached_features(sections, backbone(seed=1), SPEC, tmp_path, CPU)


@pytest.mark.slow
def test_another_image_gives_other_features(sections: list[Section], tmp_path: Path) -> None:
    (before,) = cached_features(sections[:1], backbone(), SPEC, tmp_path, CPU)
    before = np.array(before)
    repaint(sections[0])
    (after,) = cached_features(sections[:1], backbone(), SPEC, tmp_path, CPU)
    assert np.abs(after - before).max() > 1e-2


def test_weights_hash_sees_every_weight() -> None:
    net = backbone()
    before = weights_hash(net)
    assert weights_hash(backbone()) == before
    with torch.no_grad():
        net.net.conv.bias[0] += 1e-6
    assert weights_hash(net) != before


LOCAL_CODE = """
import torch
from torch import nn

class Mean(nn.Module):
    dim, mean, std = 3, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Identity()])

    def forward(self, x):
        return self.stages[0](x).mean(dim=(2, 3))

def backbone():
    return Mean()
"""


@pytest.mark.slow
def test_features_of_the_users_own_code_follow_the_code(sections: list[Section], tmp_path: Path) -> None:
    """Same weights (none), another formula."""
    code, found = tmp_path / "own.py", []
    for factor in ("", " * 2"):
        code.write_text(LOCAL_CODE.replace("(2, 3))", f"(2, 3)){factor}"))
        net = build_backbone(f"file:{code}", "random").eval()
        found.append(np.array(cached_features(sections[:1], net, SPEC, tmp_path / "cache", CPU)[0]))
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-5)
    assert found[0].max() > 0
