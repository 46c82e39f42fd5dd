"""The reference bundle: its contents and how it is read. The format in prose is ``docs/bundle-format.md``.

``open_bundle`` is the door: what passes it is trusted inside. Writing is in ``write.py``, the full check
of every value in ``verify.py``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.reasons import did_you_mean, first_line, told
from bleep_cli.base.rows import Rows, row_blocks
from bleep_cli.bundle.contents import ENCODING_TYPE, ENCODING_VERSION, BundleInfo, info_of
from bleep_cli.bundle.index.choose import choose_index
from bleep_cli.bundle.learned.calibration import Calibration, read_calibration
from bleep_cli.bundle.learned.components import Components, read_components
from bleep_cli.bundle.learned.looks import Looks, read_looks
from bleep_cli.bundle.learned.signature import Signature, read_signature
from bleep_cli.bundle.shapes import array_of, check_shapes
from bleep_cli.bundle.storage.arrays import Group, StoredArray
from bleep_cli.bundle.storage.content_hash import content_sha256
from bleep_cli.bundle.storage.store import open_group
from bleep_cli.bundle.stored import SLOPE, StoredExpression, UnitRows, reading
from bleep_cli.choices import Key
from bleep_cli.errors import ReferenceError, UsageError, option
from bleep_cli.genes.gene_sets import known_of
from bleep_cli.genes.names import strip_version
from bleep_cli.limits import MOST_BUNDLE_NAME, MOST_MODEL_BYTES
from bleep_cli.signing.content import check_signed, read_key
from bleep_cli.towers.precision import TOWERS, Chosen, Cost, OtherTower, TowerName
from bleep_cli.types import F32, F64, I64, Index, Str

if TYPE_CHECKING:
    from scipy import sparse

# What would forge lines or colours on a terminal, turn the order of reading, or name an option in an error.
_NOT_IN_NAMES = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ue000\ue001\ud800-\udfff]")


class Bundle:
    """An open bundle: ``info``, gene and spot columns in memory; expression and towers read when asked for."""

    def __init__(self, root: Group, name: str, info: BundleInfo, attrs: Mapping[str, Any]) -> None:
        self.root, self.name, self.info, self.attrs = root, name, info, attrs
        self.content_sha256 = str(attrs["content_sha256"])
        self.verified = False
        """Whether ``content_sha256`` has been compared with the content; else it is what the bundle states."""
        self.signed_by: str | None = None
        """Fingerprint of the key that signed it, where that was asked for and checked."""
        self.symbols = self._strings("genes/symbol")
        self.gene_ids = self._strings("genes/id")
        self.panel = np.asarray(self.read("genes/panel"), np.int64)

    @property
    def n_spots(self) -> int:
        """Number of reference spots."""
        return int(self.array("expression").shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all its arrays, unpacked."""
        return sum(array.nbytes for array in self.root.arrays().values())

    def check_content(self, wanted: str | None = None) -> None:
        """Reads and hashes everything, once. ``ReferenceError`` where that is not the hash that the bundle states,
        or not the ``wanted`` one."""
        stated = self.content_sha256
        if wanted is not None and wanted != stated:
            raise ReferenceError(f"{self.name} is another reference: its content hash is {stated}, not {wanted}")
        if self.verified:
            return
        with reading(self.name, "its content"):
            found = content_sha256(self.root, self.attrs)
        if found != stated:
            raise ReferenceError(
                f"{self.name} is damaged, or part of it is missing: "
                f"content hash {found[:12]}, it states {stated[:12]}"
            )
        self.verified = True

    def array(self, name: str) -> StoredArray:
        """The array of that path; ``ReferenceError`` if the bundle has none."""
        return array_of(self.root, self.name, name)

    def read(self, name: str) -> NDArray[Any]:
        """All values of an array; a damaged chunk is a ``ReferenceError``."""
        with reading(self.name, name):
            return self.array(name)[...]

    def _strings(self, name: str) -> Str:
        """Names, str[n]; ``ReferenceError`` for such as are none."""
        values = [str(value) for value in self.read(name)]
        longest = max(map(len, values), default=0)  # each takes as much memory as the longest
        if longest > min(MOST_BUNDLE_NAME, max(100, 100_000_000 // max(1, len(values)))):
            raise ReferenceError(f"{self.name}: {name} holds a name of {longest} characters")
        if _NOT_IN_NAMES.search("".join(values)):
            raise ReferenceError(f"{self.name}: {name} holds control characters")
        return np.array(values, dtype=str)

    def spots(self, column: Literal["section", "barcode", "donor"]) -> Str:
        """A column of names, str[n]."""
        return self._strings(f"spots/{column}")

    def xy_l0(self) -> F64:
        """Spot centres f64[n, 2] (x, y) in level-0 px of their own images."""
        return np.stack([self.read("spots/x"), self.read("spots/y")], axis=1)

    def embedding_rows(self, key: Key) -> Rows:
        """f32[n, d] unit vectors of one side, read a slice of rows at a time."""
        name = f"embeddings/{key}"
        return UnitRows(self.array(name), self.name, name)

    def embeddings(self, key: Key) -> F32:
        """f32[n, d] unit vectors of one side, whole."""
        return np.asarray(self.embedding_rows(key)[: self.n_spots], np.float32)

    def slope(self, columns: I64) -> F32:
        """f32[d, g] of those genes: how expression changes along the image embedding.

        Raises ``UsageError`` for a bundle without it, ``ReferenceError`` for a damaged one.
        """
        if SLOPE not in self.root:
            raise UsageError(
                f"{option('aggregation')} corrected: {self.name} holds no slope of expression; use "
                f"{option('aggregation')} average, or build it anew with bleep build-reference"
            )
        values = np.asarray(self.read(SLOPE), np.float32)[:, columns]
        if not np.isfinite(values).all():
            raise ReferenceError(f"{self.name}: {SLOPE} holds NaN or infinity")
        return values

    def components(self, columns: I64) -> Components:
        """Expression of those genes as the principal components of the panel see it. Raises as :meth:`slope`."""
        return read_components(self.root, self.name, self.read, columns)

    def signature(self) -> Signature | None:
        """How the reference's tissue looks at its own scale and at wrong ones; None for a bundle without it.
        Raises ``ReferenceError`` for a damaged one."""
        return read_signature(self.root, self.name, self.read, len(self.info.sections))

    def calibration(self) -> Calibration | None:
        """How far its predictions miss; None for a bundle without it. Raises ``ReferenceError`` for a damaged
        one."""
        return read_calibration(self.root, self.name, self.read, len(self.symbols))

    def looks(self) -> Looks | None:
        """What its tiles look like; None for a bundle without it. Raises ``ReferenceError`` for a damaged one."""
        return read_looks(self.root, self.name, self.read, self.n_spots, self.info.views)

    def index(self, key: Key) -> Index:
        """The index over one side's embeddings; a stored graph is used only if it belongs to them."""
        return choose_index(self.root, self.name, self.embedding_rows(key))

    def tower(self, which: TowerName | Literal["expression"]) -> bytes:
        """A tower, ONNX, checked against its hash; ``ReferenceError`` if the bundle has none of that name."""
        size = self.array(f"encoders/{which}").nbytes
        if size > MOST_MODEL_BYTES:
            raise ReferenceError(
                f"{self.name}: an {which} tower of {size} bytes; at most {MOST_MODEL_BYTES} are read"
            )
        data = self.read(f"encoders/{which}").tobytes()
        if hashlib.sha256(data).hexdigest() != self.array(f"encoders/{which}").attrs.get("sha256"):
            raise ReferenceError(f"{self.name}: the {which} tower does not match its hash")
        return data

    def other_towers(self) -> dict[Chosen, OtherTower]:
        """The image tower at further precisions."""
        costs = stored_costs(self.root)
        return {chosen: OtherTower(self.tower(TOWERS[chosen]), cost) for chosen, cost in costs.items()}

    def gene_columns(self) -> dict[str, F32]:
        """Further columns per gene, f32[g] by name."""
        below = [path.split("/") for path in self.root.arrays()]
        names = [path[1] for path in below if len(path) == 2 and path[0] == "genes"]
        further = [name for name in names if name not in ("symbol", "id", "panel")]
        with reading(self.name, "genes"):
            return {name: self.read(f"genes/{name}").astype(np.float32) for name in further}

    def gene_rows(self, genes: Sequence[str] | None, asked: str = "genes") -> I64:
        """Columns of the asked genes (symbols or ids), in the asked order; all for None.

        Of genes of sets those that are there. Raises ``UsageError`` of the parameter ``asked``, naming the ones
        that are not there.
        """
        if genes is None:
            return np.arange(len(self.symbols), dtype=np.int64)
        slot = {str(g): i for i, g in enumerate(self.gene_ids)} | {str(s): i for i, s in enumerate(self.symbols)}
        genes = known_of(genes, slot, self.name)
        asked_for = [gene if gene in slot else strip_version(gene) for gene in genes]
        absent = [gene for gene in asked_for if gene not in slot]
        if absent:
            hint = did_you_mean(absent, slot)
            raise UsageError(f"{option(asked)}: {', '.join(absent[:10])} not in {self.name}{hint}")
        return np.array(list(dict.fromkeys(slot[gene] for gene in asked_for)), dtype=np.int64)

    def expression_rows(self, columns: I64 | None = None) -> StoredExpression:
        """log1p expression [n, g] of those columns, all for None, on disk until parts of it are asked for."""
        wanted = np.arange(len(self.symbols)) if columns is None else columns
        return StoredExpression(self.array("expression"), self.name, wanted)

    def expression(self, columns: I64 | None, dense_bytes: int) -> F32 | sparse.csr_matrix:
        """log1p expression f32[n, g] of those columns, whole; CSR where dense would take over ``dense_bytes``.

        Only the chunks that these genes lie in are read.
        """
        from scipy import sparse

        stored = self.expression_rows(columns)
        n, width = stored.shape
        if n * width * 4 <= dense_bytes:
            return stored[:n]
        step = self.array("expression").chunks[0]
        return sparse.vstack([sparse.csr_matrix(block) for block in row_blocks(stored, step)], format="csr")

    def expression_to_average(self, columns: I64 | None, dense_bytes: int) -> F32 | StoredExpression:
        """What ``impute_blocks`` takes: dense, or left on disk where that would take over ``dense_bytes``."""
        stored = self.expression_rows(columns)
        n, width = stored.shape
        return stored[:n] if n * width * 4 <= dense_bytes else stored


def open_bundle(path: Path | str, sha256: str | None = None, key: Path | str | None = None) -> Bundle:
    """Opens a bundle, directory or ``.zarr.zip``, and checks its attributes and the shapes of its arrays.

    A folder, or a zip with a folder, around one bundle stands for it. ``sha256`` is the content hash that it must
    have, ``key`` a file of public keys one of which must have signed it (:mod:`bleep_cli.signing`); with either,
    and where chunks are missing, everything is read and hashed. Raises ``ReferenceError`` for anything that is not
    a bundle of a version this program reads, not that one, or not signed by that key, ``UsageError`` for a
    ``sha256`` or a ``key`` that is none, ``DeviceError`` where signatures cannot be checked.
    """
    path = Path(path)
    keys = None if key is None else read_key(key)
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise UsageError(f"{option('ref_sha256')} is the content hash of a bundle: 64 hexadecimal digits")
    if not path.exists():
        raise ReferenceError(f"{path.name}: no such bundle; make one with bleep build-reference")
    try:
        root, lacking = open_group(path)
    except ReferenceError:
        raise
    except Exception as error:  # zipfile, json and the system each raise their own
        raise ReferenceError(f"{path.name}: not a reference bundle ({told(error)})") from error
    attrs = root.attrs
    if attrs.get("encoding-type") != ENCODING_TYPE:
        raise ReferenceError(f"{path.name}: not a reference bundle (encoding-type is not {ENCODING_TYPE})")
    version = str(attrs.get("encoding-version", ""))
    if version.split(".", maxsplit=1)[0] != ENCODING_VERSION.split(".", maxsplit=1)[0]:
        raise ReferenceError(
            f"{path.name}: bundle format {version or 'unknown'}, this bleep reads {ENCODING_VERSION}; "
            "update bleep-cli"
        )
    try:
        info = info_of(attrs, getattr(root.get("expression"), "dtype", None))
    except Exception as error:
        raise ReferenceError(f"{path.name}: broken attribute ({first_line(error)})") from error
    check_shapes(root, path.name)
    bundle = Bundle(root, path.name, info, attrs)
    _check_values(bundle)
    if lacking or sha256 is not None or keys is not None:
        bundle.check_content(None if sha256 is None else sha256.lower())
    if keys is not None:
        bundle.signed_by = check_signed(path, bundle.content_sha256, keys)
    return bundle


def bundle_of(ref: Bundle | Path | str, sha256: str | None = None, key: Path | str | None = None) -> Bundle:
    """The bundle that a call from Python names, by its path or as one that is open.

    Raises what :func:`open_bundle` does, and ``UsageError`` for conditions on one that is open already.
    """
    if not isinstance(ref, Bundle):
        return open_bundle(ref, sha256, key)
    for name, condition in (("ref_sha256", sha256), ("ref_key", key)):
        if condition is not None:
            raise UsageError(f"{option(name)} is of a bundle that is named by its path; give it to open_bundle")
    return ref


def _check_values(bundle: Bundle) -> None:
    panel, (n, g) = bundle.panel, bundle.array("expression").shape
    if len(panel) and not (panel.min() >= 0 and panel.max() < g):
        raise ReferenceError(f"{bundle.name}: genes/panel points outside the genes")
    if len(set(bundle.symbols.tolist())) != g:
        raise ReferenceError(f"{bundle.name}: genes/symbol holds a gene twice")
    if sum(section.n for section in bundle.info.sections) != n:
        raise ReferenceError(f"{bundle.name}: its sections do not add up to its {n} spots")


def stored_costs(root: Group) -> dict[Chosen, Cost]:
    """The precisions that a bundle's Zarr group holds beside float32, with their costs."""
    names = {chosen: f"encoders/{tower}" for chosen, tower in TOWERS.items() if chosen != "fp32"}
    return {chosen: Cost.of(root[name].attrs) for chosen, name in names.items() if name in root}
