"""Which arrays a bundle has to hold, of what kind and shape: what can be told before a value is read."""

from __future__ import annotations

from bleep_cli.bundle.learned.components import COMPONENTS, SCORES
from bleep_cli.bundle.learned.components import DTYPES as COMPONENT_DTYPES
from bleep_cli.bundle.storage.arrays import Group, StoredArray
from bleep_cli.bundle.stored import SLOPE
from bleep_cli.errors import ReferenceError
from bleep_cli.limits import MOST_DIMENSIONS, MOST_REFERENCE_GENES, MOST_REFERENCE_SPOTS


def array_of(root: Group, bundle: str, name: str) -> StoredArray:
    """The array of that path in the bundle of that name; ``ReferenceError`` where there is none."""
    found = root.get(name)
    if found is None:
        raise ReferenceError(f"{bundle}: no array {name}")
    if not isinstance(found, StoredArray):
        raise ReferenceError(f"{bundle}: {name} is no array")
    return found


def check_shapes(root: Group, name: str) -> None:
    """``ReferenceError`` unless every array that must be there is, of its kind and shape; no value is read."""
    kinds = {"expression": "f", "embeddings/image": "f", "embeddings/expression": "f", "genes/symbol": "O"}
    kinds |= {"genes/id": "O", "genes/panel": "iu", "spots/section": "O", "spots/barcode": "O", "spots/donor": "O"}
    kinds |= {"spots/x": "f", "spots/y": "f", "encoders/image": "u", "encoders/expression": "u"}
    arrays = {path: array_of(root, name, path) for path in kinds}
    if SLOPE in root:
        arrays[SLOPE], kinds[SLOPE] = array_of(root, name, SLOPE), "f"
    if COMPONENTS in root:
        paths = [f"{COMPONENTS}/{part}" for part in COMPONENT_DTYPES]
        arrays |= {path: array_of(root, name, path) for path in paths}
        kinds |= dict.fromkeys(paths, "f")
    shape, panel = arrays["expression"].shape, arrays["genes/panel"].shape
    if len(shape) != 2 or len(panel) != 1:
        raise ReferenceError(f"{name}: expression has shape {shape}, genes/panel {panel}")
    (n, g), d = shape, (*arrays["embeddings/image"].shape, 0)[1]
    if not (1 <= n <= MOST_REFERENCE_SPOTS and 1 <= g <= MOST_REFERENCE_GENES and 1 <= d <= MOST_DIMENSIONS):
        raise ReferenceError(f"{name}: {n} spots, {g} genes, {d} dimensions")
    wanted: dict[str, tuple[int, ...]] = {"embeddings/image": (n, d), "embeddings/expression": (n, d)}
    wanted |= {f"spots/{column}": (n,) for column in ("section", "barcode", "donor", "x", "y")}
    wanted |= {"genes/symbol": (g,), "genes/id": (g,), SLOPE: (d, g)}
    if COMPONENTS in root:
        c = (*arrays[SCORES].shape, 0, 0)[1]
        sizes = {"scores": (n, c), "slope": (d, c), "loadings": (c, g), "mean": (g,)}
        wanted |= {f"{COMPONENTS}/{part}": size for part, size in sizes.items()}
    for path, array in arrays.items():
        if path in wanted and array.shape != wanted[path]:
            raise ReferenceError(f"{name}: {path} has shape {array.shape}, not {wanted[path]}")
        if array.dtype.kind not in kinds[path]:
            raise ReferenceError(f"{name}: {path} holds {array.dtype}")
