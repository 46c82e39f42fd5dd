"""GMT files and the score of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bleep_cli.errors import UsageError
from bleep_cli.genes.gene_sets import mean_z, read_gmt, set_columns


def test_a_gmt_is_read_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "x.gmt"
    path.write_bytes(b"A\tabout\tG1\tG2\tG1\t\r\n\r\nB\t\tG3\r\n")
    assert read_gmt(path) == {"A": ("G1", "G2"), "B": ("G3",)}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("A\tabout\n", "line 1: a set is a name, a description and genes"),
        ("A\tb\tG\nA\tb\tH", "line 2: A stands in it twice"),
        ("\n", "holds no set"),
    ],
)
def test_what_is_no_gmt(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gmt"
    path.write_text(text)
    with pytest.raises(UsageError, match=fault):
        read_gmt(path)


def test_the_score_is_the_mean_z_of_genes_that_vary() -> None:
    values = np.array([[1.0, 5.0, 7.0], [3.0, 5.0, 1.0]])
    columns = set_columns(["c", "a", "b", "none", "a"], {"a": 0, "b": 1, "c": 2})
    assert columns.tolist() == [2, 0, 1]
    mean, deviation = np.array([2.0, 5.0, 4.0]), np.array([1.0, 0.0, 3.0])
    np.testing.assert_allclose(mean_z(values, mean, deviation, columns), [0.0, 0.0])
    np.testing.assert_allclose(mean_z(values, mean, deviation, columns[:1]), [1.0, -1.0])
    assert mean_z(values, mean, deviation, columns[2:]).tolist() == [0, 0]
