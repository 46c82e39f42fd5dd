"""Centroids of outlines: of rings of points, and of shapes as WKB (OGC's well-known binary) stores them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from bleep_cli.errors import ReferenceError
from bleep_cli.types import F64

POINT, POLYGON, MULTIPOLYGON = 1, 3, 6


def ring_centroid(rings: Sequence[F64]) -> F64:
    """f64[2] the centroid of the area inside rings f64[m, 2], which do not overlap; of their points where they
    enclose none."""
    area, moment = 0.0, np.zeros(2)
    for ring in rings:
        at = ring - ring[0]  # near the origin, so that large coordinates do not eat the digits
        after = np.roll(at, -1, axis=0)
        cross = at[:, 0] * after[:, 1] - after[:, 0] * at[:, 1]
        own = float(cross.sum()) / 2
        area += abs(own)
        moment += abs(own) * ring[0] + np.sign(own) * ((at + after) * cross[:, None]).sum(axis=0) / 6
    return moment / area if area > 0 else np.concatenate(rings).mean(axis=0)


def wkb_centroid(shape: bytes) -> F64:
    """f64[2] a point, or the centroid of a polygon's or several polygons' outer rings.

    Raises ``ReferenceError`` for another kind of shape.
    """
    rings, _ = _rings(shape, 0)
    return ring_centroid(rings)


def _rings(shape: bytes, start: int) -> tuple[list[F64], int]:
    """(outer rings of the shape that begins there, where the next one begins)"""
    order = "<" if shape[start] == 1 else ">"
    (code,) = struct.unpack_from(f"{order}I", shape, start + 1)
    kind = (code & 0xFFFFFF) % 1000
    width = 3 if code & 0x80000000 or code % 10000 // 1000 in (1, 2) else 2
    start += 5
    if kind == POINT:
        return [np.frombuffer(shape, f"{order}f8", 2, start).reshape(1, 2).astype(np.float64)], start + 8 * width
    if kind not in (POLYGON, MULTIPOLYGON):
        raise ReferenceError(f"a shape of kind {kind} in it is no point and no polygon")
    (count,) = struct.unpack_from(f"{order}I", shape, start)
    start += 4
    found: list[F64] = []
    for i in range(count):
        if kind == MULTIPOLYGON:
            part, start = _rings(shape, start)
            found += part
            continue
        (points,) = struct.unpack_from(f"{order}I", shape, start)
        ring = np.frombuffer(shape, f"{order}f8", points * width, start + 4).reshape(points, width)[:, :2]
        found += [ring.astype(np.float64)] if i == 0 else []  # the others are holes
        start += 4 + 8 * points * width
    return found, start
