"""The signature of some of a reference's sections, and of two references as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from made_nuclei import small_signature

from bleep_cli.bundle.learned.signature import Signature
from bleep_cli.signatures.make import merged_signature, signature_of_some


def rows_of(signature: Signature, section: int) -> np.ndarray:
    return signature.tiles[:, signature.section == section]


def test_the_tiles_of_the_sections_that_are_left_are_numbered_anew() -> None:
    whole = small_signature(12, 3)
    left = signature_of_some(whole, [0, 2])
    assert left is not None
    assert left.section.tolist() == [0] * 4 + [1] * 4
    np.testing.assert_array_equal(rows_of(left, 0), rows_of(whole, 0))
    np.testing.assert_array_equal(rows_of(left, 1), rows_of(whole, 2))
    np.testing.assert_array_equal(left.rest, whole.rest[:, whole.section != 1])
    np.testing.assert_array_equal(left.basis, whole.basis)


def test_there_is_none_where_no_tile_is_left() -> None:
    whole = small_signature(12, 3)
    assert signature_of_some(replace(whole, section=whole.section + 1), [0]) is None
    assert signature_of_some(None, [0]) is None


def test_signatures_of_one_basis_are_joined_without_the_sections_that_both_have() -> None:
    first = small_signature(8, 2)
    other = replace(small_signature(12, 3), mean=first.mean)
    joined = merged_signature(first, other, [-1, 2, 3])  # its first section is one of ours
    assert joined is not None
    assert joined.section.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    np.testing.assert_array_equal(joined.tiles[:, :8], first.tiles)
    np.testing.assert_array_equal(rows_of(joined, 2), rows_of(other, 1))
    np.testing.assert_array_equal(rows_of(joined, 3), rows_of(other, 2))
    np.testing.assert_array_equal(joined.rest[:, 8:], other.rest[:, 4:])


def test_tiles_of_another_basis_are_not_put_beside_them() -> None:
    first = small_signature(8, 2)
    other = replace(small_signature(12, 3), mean=first.mean)
    turned = replace(other, basis=other.basis[:, ::-1])
    finer = replace(other, mpp=0.5)
    elsewhere = replace(other, mean=other.mean + 1)
    for strange in (turned, finer, elsewhere, None):
        assert merged_signature(first, strange, [2, 3, 4]) is first
    assert merged_signature(None, other, [0, 1, 2]) is None
