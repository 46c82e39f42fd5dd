"""A slide that vanishes, is replaced, cut short or written over while it is read: its pixels, or a refusal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import RES, stained

from bleep_cli.errors import SlideError
from bleep_cli.slide.open import open_slide

SIZE = 1024


def tiles(path: Path) -> None:
    tifffile.imwrite(path, picture(), photometric="rgb", tile=(128, 128), compression="jpeg", **RES)


def strips(path: Path) -> None:
    tifffile.imwrite(path, picture(), photometric="rgb", rowsperstrip=32, compression="deflate", **RES)


def plain(path: Path) -> None:
    tifffile.imwrite(path, picture(), photometric="rgb", tile=(128, 128), **RES)


def flat(path: Path) -> None:
    Image.fromarray(picture()).save(path)


def picture() -> np.ndarray:
    """u8[h, w, 3]: a stained field, repeated, with noise that does not compress to nothing."""
    field = stained()
    times = (-(-SIZE // field.shape[0]), -(-SIZE // field.shape[1]), 1)
    noise = np.random.default_rng(0).integers(0, 30, (SIZE, SIZE, 3), np.uint8)
    return np.tile(field, times)[:SIZE, :SIZE] // 2 + noise


FORMS: dict[str, Callable[[Path], None]] = {
    "tiles.tif": tiles,
    "strips.tif": strips,
    "plain.tif": plain,
    "flat.png": flat,
    "flat.jpg": flat,
}


def vanishes(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    other.replace(path)


def cut_short(path: Path) -> None:
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 3)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def written_over(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb+") as file:
        file.seek(size // 4)
        file.write(bytes(size // 2))


CHANGES = (vanishes, replaced, cut_short, emptied, written_over)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_read_is_the_slide_or_refused(tmp_path: Path, form: str, change: Callable[[Path], None]) -> None:
    """Of bytes that are written over what is read may be wrong: then its hash is refused."""
    path = tmp_path / form
    FORMS[form](path)
    places = [(float(x), float(y)) for y in range(0, SIZE, 256) for x in range(0, SIZE, 256)]
    with closing(open_slide(path, 0.5)) as slide:
        wanted = [slide.read(place, (256, 256), (256, 256)) for place in places]
    with closing(open_slide(path, 0.5)) as slide:
        slide.read(places[0], (256, 256), (256, 256))
        change(path)
        try:
            found = [slide.read(place, (256, 256), (256, 256)) for place in places]
        except SlideError as error:
            assert len(str(error).splitlines()) == 1 and str(tmp_path) not in str(error)
        else:
            if change is not written_over:
                np.testing.assert_array_equal(found, wanted)
        with pytest.raises(SlideError, match=rf"^{form}: "):
            print(slide.sha256)


CHANGED = """
import sys
from pathlib import Path
from bleep_cli.batch import run
plain, what = run.plan, sys.argv.pop()
def changed(slide, *arguments, **named):
    ready = plain(slide, *arguments, **named)
    if what == "vanishes":
        Path(slide).unlink()
    elif what == "replaced":
        other = Path(slide).with_name("other")
        other.write_bytes(Path(slide).read_bytes() + b" ")
        other.replace(slide)
    else:
        with open(slide, "rb+") as file:
            file.truncate(2000)
    return ready
run.plan = changed
from bleep_cli.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["vanishes", "replaced", "cut short"])
def test_a_prediction_of_it_ends_with_a_line_and_no_result(
    query_slide: Path, small_bundle: Path, tmp_path: Path, what: str
) -> None:
    slide = tmp_path / "s.tif"
    slide.write_bytes(query_slide.read_bytes())
    words = ["predict", slide, "--ref", small_bundle, "-o", tmp_path / "out", "--device", "cpu", what]
    done = subprocess.run(
        [sys.executable, "-c", CHANGED, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (SlideError.exit_code, ""), done.stderr
    assert done.stderr.startswith("bleep: s.tif: ") and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
