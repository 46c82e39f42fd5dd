"""What a Dask worker does: one slide or one section per task.

Both tasks are plain functions of plain dicts (strings, numbers, lists, bytes) and return the same, so nothing of
ours travels as an object. An error of ours is returned, not raised: Dask repeats a task that raised, and a bad
slide stays bad. A worker keeps the one bundle and predictor it used last.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.hashing import fingerprint
from bleep_cli.base.version import __version__
from bleep_cli.batch.prepare import Batch, Job
from bleep_cli.batch.run import UnfitError, finished, predictor_maker
from bleep_cli.batch.run import predict_slide as predict_here
from bleep_cli.bundle.encoders_folder import load_encoders
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.choices import Device
from bleep_cli.embedding.embedder import Embedder, embedder_of
from bleep_cli.embedding.sections import see_sections
from bleep_cli.errors import BleepError, DeviceError, OutputError, ReferenceError, UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.fitting.given_looks import with_raw_looks
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.prediction.provenance import Identity
from bleep_cli.types import Section, TileSpec

Plain = dict[str, Any]
_LOADING = threading.Lock()  # threads of one worker load a tower once


class UnseenError(UsageError):
    """A path that is not there for this worker."""


class UnusableError(UsageError):
    """Options of one slide that cannot be carried out on it."""


def version() -> str:
    """Of the bleep-cli that a worker runs."""
    return __version__


def predict_slide(job: Plain, shared: Plain) -> Plain:
    """Predicts one slide and writes its files to shared storage.

    ``job``: ``number``, ``slide``, ``name``, ``paths`` by format, ``options``, ``wanted``; ``shared``:
    ``version``, ``topic``, ``bundle``, ``content_sha256``, ``verified``, ``options``, ``gene``, ``force``,
    ``strict``, ``anonymise``, ``sets``, ``command``. All paths are absolute.

    Returns the slide's record with ``prints`` (bytes and sha256 by format) and ``told`` (findings), or ``error``
    (a class of ``errors.py``, or ``UnseenError``) and ``message``; ``worker`` and ``pid`` in both cases.
    """
    return _told(lambda: _predict(job, shared), job, shared)


def embed_section(job: Plain, shared: Plain) -> Plain:
    """Embeds the tiles around one section's spots.

    ``job``: ``number``, ``id``, ``image``, ``mpp``, ``xy_l0`` (f64[n, 2] as bytes); ``shared``: ``version``,
    ``topic``, ``encoders``, ``tower_sha256``, ``px``, ``um``, ``views``, ``device``.

    Returns ``embeddings`` (f32[n, d] as bytes) and ``looks`` (f32[n, l], as :func:`with_raw_looks` makes the
    tower tell them; empty where it cannot), or an error as :func:`predict_slide` does.
    """
    return _told(lambda: _embed(job, shared), job, shared)


def options_to_plain(options: PredictOptions) -> Plain:
    """Options as JSON knows them."""
    return {
        name: str(value.absolute())
        if isinstance(value, Path)
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in asdict(options).items()
    }


def options_from_plain(plain: Plain) -> PredictOptions:
    """The inverse of :func:`options_to_plain`; which options are paths is read from their types."""
    of_paths = {field.name for field in fields(PredictOptions) if "Path" in str(field.type)}
    values: Plain = {
        name: Path(value) if value and name in of_paths else tuple(value) if isinstance(value, list) else value
        for name, value in plain.items()
    }
    return PredictOptions(**values)


def _told(work: Callable[[], Plain], job: Plain, shared: Plain) -> Plain:
    """The outcome of one attempt, and a word at its start, since a worker that dies gives none at its end."""
    from distributed import get_worker

    worker = get_worker()
    attempt = {"worker": worker.address, "pid": os.getpid()}
    worker.log_event(shared["topic"], attempt | {"number": job["number"]})
    try:
        if shared["version"] != __version__:
            raise DeviceError(f"bleep-cli {__version__} runs there, {shared['version']} here; install the same")
        return work() | attempt
    except BleepError as error:
        return {"error": type(error).__name__, "message": error.text} | attempt


def _see(path: Path) -> Path:
    if not path.exists():
        raise UnseenError(f"{path.name} is not there")
    return path


@dataclass(frozen=True)
class _Loaded:
    """The bundle that this worker used last, and its predictor once one was asked for."""

    bundle: Bundle
    options: PredictOptions
    make: Callable[[], Predictor]
    """Makes the predictor, or returns the one it has made."""

    def predictor(self) -> Predictor:
        """The one predictor of this process."""
        with _LOADING:
            return self.make()


@lru_cache(maxsize=1)
def _load(path: Path, content_sha256: str, verified: bool, options: str) -> _Loaded:
    """``verified``: everything is hashed here, too, as it was where the batch was begun."""
    bundle = open_bundle(path, content_sha256 if verified else None)
    chosen = options_from_plain(json.loads(options))
    if bundle.content_sha256 != content_sha256:
        raise ReferenceError(f"{bundle.name} is another bundle there than here")
    return _Loaded(bundle, chosen, predictor_maker(bundle, chosen))


def _predict(job: Plain, shared: Plain) -> Plain:
    slide, bundle = _see(Path(job["slide"])), _see(Path(shared["bundle"]))
    paths = {kind: Path(path) for kind, path in job["paths"].items()}
    for path in paths.values():
        _see(path.parent)  # the client has made it
    with _LOADING:
        loaded = _load(bundle, shared["content_sha256"], shared["verified"], json.dumps(shared["options"]))
    wanted = Identity(**job["wanted"]) if job["wanted"] is not None else None
    mine = Job(slide, job["name"], options_from_plain(job["options"]), paths, wanted, bool(shared["anonymise"]))
    gene, force, strict, anonymise, command = (
        shared[name] for name in ("gene", "force", "strict", "anonymise", "command")
    )
    sets = None if shared["sets"] is None else _see(Path(shared["sets"]))
    batch = Batch(
        bundle, loaded.bundle, loaded.options, (mine,), gene, force, strict, anonymise, sets, tuple(command)
    )
    findings: list[Finding] = []
    try:
        record = predict_here(mine, batch, loaded.predictor, findings.append)
    except UnfitError as unfit:
        raise unfit.error from unfit
    except UsageError as error:
        raise UnusableError(error.text) from error
    except OutputError:
        done = finished(mine, batch)  # perhaps by a worker that Dask took for dead
        if done is None:
            raise
        record = done
    return record | {
        "prints": {kind: fingerprint(path) for kind, path in paths.items()},
        "told": [asdict(f) for f in findings],
    }


def _embed(job: Plain, shared: Plain) -> Plain:
    folder, image = _see(Path(shared["encoders"])), _see(Path(job["image"]))
    with _LOADING:
        embedder = _load_embedder(folder, shared["tower_sha256"], shared["device"])
    xy_l0 = np.frombuffer(job["xy_l0"], np.float64).reshape(-1, 2)
    barcodes = np.arange(len(xy_l0)).astype(str)
    none = np.empty(0, str)
    section = Section(job["id"], "", "", None, none, none, barcodes, xy_l0, str(image), job["mpp"])
    spec = TileSpec(shared["px"], tuple(shared["um"]))
    vectors, looks = see_sections([section], embedder, spec, shared["views"])
    return {"embeddings": vectors.tobytes(), "looks": looks.tobytes()}


@lru_cache(maxsize=1)
def _load_embedder(folder: Path, sha256: str, device: Device) -> Embedder:
    encoders = load_encoders(folder)
    if hashlib.sha256(encoders.image).hexdigest() != sha256:
        raise ReferenceError(f"{option('encoders')} {folder.name}: the image tower is another one there than here")
    return embedder_of(with_raw_looks(encoders)[0].image, device)
