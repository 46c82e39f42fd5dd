"""A prediction as an h5ad file, on disks that may fill up."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.outputs.blocks import checked_blocks
from bleep_cli.outputs.elements import X_ATTRS, elements, matrices, write_elements
from bleep_cli.types import Blocks, Prediction, Progress, no_progress

if TYPE_CHECKING:
    import h5py
    from typing_extensions import Buffer


def write_h5ad(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes ``path`` as h5ad, ``X`` and the layers contiguous and uncompressed.

    The same prediction gives the same bytes. ``OutputError`` if ``path`` exists and not ``force``, or if it
    cannot be written.
    """
    write_anndata(prediction, elements(prediction), matrices(prediction), path, force=force, progress=progress)


def write_anndata(
    prediction: Prediction,
    content: Mapping[str, Any],
    values: Mapping[str, Callable[[], Blocks]],
    path: Path,
    *,
    force: bool,
    progress: Progress,
) -> None:
    """Writes an h5ad of these elements, and block by block of these matrices [n, g] by their place in it."""
    shape = (len(prediction.grid), len(prediction.symbols))
    with atomic_path(path, force) as temp, _hdf5(temp) as (file, raw):
        write_elements(file, content)
        for path_in_file, blocks in values.items():
            array = file.create_dataset(path_in_file, shape=shape, dtype="f4")
            array.attrs.update(X_ATTRS)
            for first, block in checked_blocks(prediction, blocks):
                array[first : first + len(block)] = block
                raw.check()
                progress("write", first + len(block), shape[0])


class _RawFile(io.FileIO):
    """A file that HDF5 believes to be always writable; the first failure waits in ``failed``.

    Told of a full disk, HDF5 can no longer close its file, and says so on stderr with the file's whole path. What
    it writes after the failure is held in memory and read back from there, since HDF5 crashes on a file that
    forgets; :meth:`check` after each block keeps that small.
    """

    failed: OSError | None = None

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._held: list[tuple[int, bytes]] = []

    def write(self, data: Buffer) -> int:
        """Writes all of ``data``, to memory once a write has failed."""
        start, whole = self.tell(), memoryview(data).cast("B")
        rest = whole
        while rest and self.failed is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.failed = error
        if self.failed is not None:
            self._held.append((start, bytes(whole)))
            self.seek(start + len(whole))
        return len(whole)

    def readinto(self, buffer: Buffer) -> int:
        """Fills the whole buffer: from the file, then from what is held; zeros where neither has anything."""
        view, start = memoryview(buffer).cast("B"), self.tell()
        got = super().readinto(view) or 0
        view[got:] = bytes(len(view) - got)
        for at, data in self._held:
            low, high = max(start, at), min(start + len(view), at + len(data))
            if low < high:
                view[low - start : high - start] = data[low - at : high - at]
        self.seek(start + len(view))
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Sets the size, unless a write or this has failed."""
        try:
            return super().truncate(size) if self.failed is None else self.tell()
        except OSError as error:
            self.failed = error
            return self.tell()

    def check(self) -> None:
        """Raises the first failure."""
        if self.failed is not None:
            raise self.failed


@contextmanager
def _hdf5(path: Path) -> Iterator[tuple[h5py.File, _RawFile]]:
    """A new HDF5 file, and the file under it to ask whether the disk took what was written."""
    import h5py

    with _RawFile(path, "x+") as raw:
        try:
            with h5py.File(raw, "w") as file:
                yield file, raw
        finally:
            raw.check()
