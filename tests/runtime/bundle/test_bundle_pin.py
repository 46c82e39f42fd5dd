"""A reference is the one that its content hash names: asked for, compared before it predicts, or only stated."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundle_damage import reattr

from bleep_cli.api import predict, prepare_batch
from bleep_cli.bundle.open import open_bundle
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor

OPTIONS = PredictOptions(k=3, views=1)


def test_the_reference_that_was_asked_for_is_read_whole(small_bundle: Path) -> None:
    stated = open_bundle(small_bundle)
    assert not stated.verified
    for asked in (stated.content_sha256, stated.content_sha256.upper()):
        assert open_bundle(small_bundle, asked).verified


def test_another_reference_is_refused(small_bundle: Path, query_slide: Path, tmp_path: Path) -> None:
    found, other = open_bundle(small_bundle).content_sha256, "0" * 64
    told = rf"^small\.zarr is another reference: its content hash is {found}, not {other}$"
    with pytest.raises(ReferenceError, match=told):
        open_bundle(small_bundle, other)
    with pytest.raises(ReferenceError, match=told):
        predict(query_slide, small_bundle, ref_sha256=other)
    with pytest.raises(ReferenceError, match=told):
        prepare_batch([query_slide], small_bundle, tmp_path, ref_sha256=other)


@pytest.mark.parametrize("asked", ["", "12", "g" * 64, "0" * 65])
def test_what_is_no_hash_is_told(small_bundle: Path, asked: str) -> None:
    with pytest.raises(UsageError, match=r"^ref_sha256 is the content hash of a bundle"):
        open_bundle(small_bundle, asked)


def test_content_that_is_not_what_it_states_is_refused(broken: Path) -> None:
    """An attribute has no checksum of its own, so only the content hash tells."""
    stated = open_bundle(broken).content_sha256
    reattr(broken, k=7)
    with pytest.raises(ReferenceError, match="is damaged, or part of it is missing: content hash"):
        open_bundle(broken, stated)
    with pytest.raises(ReferenceError, match="is damaged, or part of it is missing: content hash"):
        Predictor(broken, OPTIONS)


@pytest.mark.parametrize(
    ("up_to", "pinned", "verified"), [(1 << 30, False, True), (0, False, False), (0, True, True)]
)
def test_results_say_whether_the_hash_was_compared(
    small_bundle: Path,
    query_slide: Path,
    monkeypatch: pytest.MonkeyPatch,
    up_to: int,
    pinned: bool,
    verified: bool,
) -> None:
    monkeypatch.setattr("bleep_cli.prediction.predictor.HASHED_UNASKED", up_to)
    stated = open_bundle(small_bundle).content_sha256
    bundle = open_bundle(small_bundle, stated if pinned else None)
    ready = plan(query_slide, bundle.info, OPTIONS)
    told = Predictor(bundle, OPTIONS).predict_plan(ready).provenance["reference"]
    ready.slide.close()
    assert (told["content_sha256"], told["content_verified"]) == (stated, verified)
