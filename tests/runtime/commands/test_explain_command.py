"""``bleep explain`` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import pytest
from typer.testing import CliRunner

from bleep_cli.cli import app
from bleep_cli.errors import UsageError

pytestmark = pytest.mark.usefixtures("small_bundle")


@pytest.fixture(scope="module", params=["small_bundle", "corrected_bundle"])
def written(
    request: pytest.FixtureRequest, query_slide: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A result and its bundle."""
    ref: Path = request.getfixturevalue(request.param)
    out = tmp_path_factory.mktemp("explained")
    arguments = [
        str(query_slide),
        "--ref",
        str(ref),
        "-o",
        str(out),
        "--format",
        "h5ad",
        "-k",
        "5",
        "--views",
        "1",
    ]
    result = CliRunner().invoke(app, ["predict", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return next(out.glob("*.h5ad")), ref


def test_the_receipt_as_text_and_as_json(written: tuple[Path, Path]) -> None:
    path, ref = written
    table = anndata.read_h5ad(path)
    tile, genes = table.obs_names[3], table.var_names[[2, 0]].tolist()
    arguments = ["explain", str(path), "--ref", str(ref), "--tile", tile, "--gene", ",".join(genes)]
    said = json.loads(CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert [receipt["gene"] for receipt in said["receipts"]] == genes
    for receipt in said["receipts"]:
        assert receipt["predicted"] == pytest.approx(float(table[tile, receipt["gene"]].X[0, 0]), abs=1e-7)
        assert receipt["recomputed"] == pytest.approx(receipt["predicted"], abs=1e-6)
        assert [spot["row"] for spot in receipt["spots"]] == table.obsm["neighbours"][3].tolist()
    text = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    first = said["receipts"][0]
    assert text.startswith(f"tile {tile}, {genes[0]}: {first['predicted']:.4f} predicted\n")
    assert f"= {first['recomputed']:.4f}\n" in text
    assert text.count("similarity") == 10
    nearest = first["spots"][0]
    assert f"{nearest['section']} {nearest['barcode']}" in text


def test_what_is_wrong_is_said(written: tuple[Path, Path]) -> None:
    path, ref = written
    arguments = ["explain", str(path), "--ref", str(ref), "--gene", "GENE0", "--tile"]
    with pytest.raises(UsageError, match="tile 99: there is no such tile"):
        CliRunner().invoke(app, [*arguments, "99"], catch_exceptions=False)
