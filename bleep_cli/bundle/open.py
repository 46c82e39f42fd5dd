"""The reference bundle: its contents and how it is read. The format in prose is ``docs/bundle-format.md``.

``open_bundle`` is the door: what passes it is trusted inside. Writing is in ``write.py``, the full check
of every value in ``verify.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.reasons import did_you_mean, first_line
from bleep_cli.base.rows import Rows, row_blocks
from bleep_cli.bundle.calibration import Calibration, read_calibration
from bleep_cli.bundle.contents import ENCODING_TYPE, ENCODING_VERSION, BundleInfo, SectionRecord
from bleep_cli.bundle.index import choose_index
from bleep_cli.bundle.looks import Looks, read_looks
from bleep_cli.bundle.signature import Signature, read_signature
from bleep_cli.bundle.store import open_group
from bleep_cli.bundle.stored import SLOPE, StoredExpression, UnitRows, is_array, reading
from bleep_cli.choices import Aggregation, Key
from bleep_cli.errors import ReferenceError, UsageError, option
from bleep_cli.findings import finding_of
from bleep_cli.genes.names import strip_version
from bleep_cli.towers.precision import TOWERS, Chosen, Cost, OtherTower, TowerName
from bleep_cli.types import F32, F64, I64, Index, Str, TileSpec

if TYPE_CHECKING:
    import zarr
    from scipy import sparse
    from zarr.types import AnyArray


class Bundle:
    """An open bundle: ``info``, gene and spot columns in memory; expression and towers read when asked for."""

    def __init__(self, root: zarr.Group, name: str, info: BundleInfo, attrs: Mapping[str, Any]) -> None:
        self.root, self.name, self.info, self.attrs = root, name, info, attrs
        self.content_sha256 = str(attrs["content_sha256"])
        self.symbols = self._strings("genes/symbol")
        self.gene_ids = self._strings("genes/id")
        self.panel = np.asarray(self.read("genes/panel"), np.int64)

    @property
    def n_spots(self) -> int:
        """Number of reference spots."""
        return int(self.array("expression").shape[0])

    def array(self, name: str) -> AnyArray:
        """The Zarr array of that path; ``ReferenceError`` if the bundle has none."""
        try:
            found = self.root[name]
        except KeyError as error:
            raise ReferenceError(f"{self.name}: no array {name}") from error
        if not is_array(found):
            raise ReferenceError(f"{self.name}: {name} is no array")
        return found

    def read(self, name: str) -> NDArray[Any]:
        """All values of an array; a damaged chunk is a ``ReferenceError``."""
        with reading(self.name, name):
            return np.asarray(self.array(name)[...])

    def _strings(self, name: str) -> Str:
        return np.array([str(value) for value in self.read(name)], dtype=str)

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
        with reading(self.name, SLOPE):
            values = np.asarray(self.array(SLOPE)[...], np.float32)[:, columns]
        if not np.isfinite(values).all():
            raise ReferenceError(f"{self.name}: {SLOPE} holds NaN or infinity")
        return values

    def signature(self) -> Signature | None:
        """How the reference's tissue looks at its own scale and at wrong ones; None for a bundle without it.

        Raises ``ReferenceError`` for a damaged one.
        """
        return read_signature(self.root, self.name, self.read, len(self.info.sections))

    def calibration(self) -> Calibration | None:
        """How far its predictions miss; None for a bundle without it. Raises ``ReferenceError`` for a damaged
        one."""
        return read_calibration(self.root, self.name, self.read, self.n_spots, len(self.symbols))

    def looks(self) -> Looks | None:
        """What its tiles look like; None for a bundle without it. Raises ``ReferenceError`` for a damaged one."""
        return read_looks(self.root, self.name, self.read, self.n_spots)

    def index(self, key: Key) -> Index:
        """The index over one side's embeddings; a stored graph is used only if it belongs to them."""
        return choose_index(self.root, self.name, self.embedding_rows(key))

    def tower(self, which: TowerName | Literal["expression"]) -> bytes:
        """A tower, ONNX, checked against its hash; ``ReferenceError`` if the bundle has none of that name."""
        data = bytes(self.read(f"encoders/{which}").tobytes())
        if hashlib.sha256(data).hexdigest() != self.array(f"encoders/{which}").attrs.get("sha256"):
            raise ReferenceError(f"{self.name}: the {which} tower does not match its hash")
        return data

    def other_towers(self) -> dict[Chosen, OtherTower]:
        """The image tower at further precisions."""
        costs = stored_costs(self.root)
        return {chosen: OtherTower(self.tower(TOWERS[chosen]), cost) for chosen, cost in costs.items()}

    def gene_columns(self) -> dict[str, F32]:
        """Further columns per gene, f32[g] by name."""
        genes = self.root["genes"]
        assert not is_array(genes)  # open_bundle has read arrays of it
        names = [name for name, _ in genes.members() if name not in ("symbol", "id", "panel")]
        return {name: np.asarray(self.read(f"genes/{name}"), np.float32) for name in sorted(names)}

    def gene_rows(self, genes: Sequence[str] | None, asked: str = "genes") -> I64:
        """Columns of the asked genes (symbols or ids), in the asked order; all for None.

        Raises ``UsageError`` of the parameter ``asked``, naming the ones that are not there.
        """
        if genes is None:
            return np.arange(len(self.symbols), dtype=np.int64)
        slot = {str(g): i for i, g in enumerate(self.gene_ids)} | {str(s): i for i, s in enumerate(self.symbols)}
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


def open_bundle(path: Path | str) -> Bundle:
    """Opens a bundle, directory or ``.zarr.zip``, and checks its attributes and the shapes of its arrays.

    A folder, or a zip with a folder, around one bundle stands for it. Raises ``ReferenceError`` for anything that
    is not a bundle of a version this program reads.
    """
    path = Path(path)
    if not path.exists():
        raise ReferenceError(f"{path.name}: no such bundle; make one with bleep build-reference")
    try:
        root = open_group(path)
        attrs: dict[str, Any] = root.attrs.asdict()
    except ReferenceError:
        raise
    except Exception as error:  # zarr, zipfile and json each raise their own, some telling the whole path
        raise ReferenceError(f"{path.name}: not a reference bundle ({type(error).__name__})") from error
    if attrs.get("encoding-type") != ENCODING_TYPE:
        raise ReferenceError(f"{path.name}: not a reference bundle (encoding-type is not {ENCODING_TYPE})")
    version = str(attrs.get("encoding-version", ""))
    if version.split(".", maxsplit=1)[0] != ENCODING_VERSION.split(".", maxsplit=1)[0]:
        raise ReferenceError(
            f"{path.name}: bundle format {version or 'unknown'}, this bleep reads {ENCODING_VERSION}; "
            "update bleep-cli"
        )
    try:
        info = _info(attrs, getattr(root.get("expression"), "dtype", None))
        bundle = Bundle(root, path.name, info, attrs)
    except (KeyError, TypeError, ValueError) as error:
        raise ReferenceError(f"{path.name}: broken attribute ({first_line(error)})") from error
    _check_shapes(bundle)
    return bundle


def _info(attrs: Mapping[str, Any], stored: np.dtype[Any] | None) -> BundleInfo:
    tile, expression = attrs["tile"], attrs["expression"]
    key = attrs["key"]
    if key not in get_args(Key):
        raise ValueError(f"key {key!r}")
    aggregation = attrs.get("aggregation", "average")
    if aggregation not in get_args(Aggregation):
        raise ValueError(f"aggregation {aggregation!r}")
    spec = TileSpec(int(tile["px"]), tuple(float(um) for um in tile["um"]))
    if spec.px < 1 or not spec.um or not min(spec.um) > 0 or int(attrs["k"]) < 1:
        raise ValueError(f"tile {tile}, k {attrs['k']}")
    return BundleInfo(
        tile=spec,
        sections=tuple(
            SectionRecord(
                str(s["id"]),
                str(s["sha256"]),
                str(s["donor"]),
                int(s["n"]),
                str(s.get("image_sha256", "")),
                None if s.get("towers_saw_it") is None else bool(s["towers_saw_it"]),
                None if s.get("mpp") is None else float(s["mpp"]),
            )
            for s in attrs["sections"]
        ),
        views=int(attrs["views"]),
        recommended_views=int(attrs["recommended_views"]),
        k=int(attrs["k"]),
        key=key,
        aggregation=aggregation,
        target_sum=float(expression["target_sum"]),
        tower_input=str(expression["tower_input"]),
        expression_precision="f16" if stored == np.dtype("f2") else "f32",
        **{
            name: str(attrs.get(name, ""))
            for name in ("species", "licence", "citation", "intended_use", "parent_sha256")
        },
        merged_sha256=tuple(map(str, attrs.get("merged_sha256", ()))),
        findings=tuple(map(finding_of, attrs.get("findings", ()))),
        reliability=dict(attrs.get("reliability", {})),
        training=attrs.get("training", {}),
    )


def _check_shapes(bundle: Bundle) -> None:
    shape = bundle.array("expression").shape
    if len(shape) != 2 or bundle.panel.ndim != 1:
        raise ReferenceError(f"{bundle.name}: expression has shape {shape}, genes/panel {bundle.panel.shape}")
    (n, g), d = shape, bundle.array("embeddings/image").shape[-1]
    wanted: dict[str, tuple[int, ...]] = {"embeddings/image": (n, d), "embeddings/expression": (n, d)}
    wanted |= {f"spots/{column}": (n,) for column in ("section", "barcode", "donor", "x", "y")}
    wanted |= {"genes/symbol": (g,), "genes/id": (g,)}
    if SLOPE in bundle.root:
        wanted[SLOPE] = (d, g)
    for name, shape in wanted.items():
        if bundle.array(name).shape != shape:
            raise ReferenceError(f"{bundle.name}: {name} has shape {bundle.array(name).shape}, not {shape}")
    for which in ("image", "expression"):
        bundle.array(f"encoders/{which}")
    if len(bundle.panel) and not (bundle.panel.min() >= 0 and bundle.panel.max() < g):
        raise ReferenceError(f"{bundle.name}: genes/panel points outside the genes")
    if not n or sum(section.n for section in bundle.info.sections) != n:
        raise ReferenceError(f"{bundle.name}: its sections do not add up to its {n} spots")


def stored_costs(root: zarr.Group) -> dict[Chosen, Cost]:
    """The precisions that a bundle's Zarr group holds beside float32, with their costs."""
    names = {chosen: f"encoders/{tower}" for chosen, tower in TOWERS.items() if chosen != "fp32"}
    return {chosen: Cost.of(root[name].attrs.asdict()) for chosen, name in names.items() if name in root}
