"""Reading and embedding a slide's tiles: this project's pipeline against LazySlide's, the same slide and backbone.

    python benchmarks/feature_extraction.py --make-env FOLDER            # once: an environment of its own
    python benchmarks/feature_extraction.py --python FOLDER/bin/python [--backbone resnet50] [--weights random]
        [--slide SLIDE | --side 6000] [--repeats 3] [--json FILE]

LazySlide runs as its documentation shows (find_tissues, tile_tissues of 224 px at 0.5 µm/px, feature_extraction
in batches of 32) with the backbone as TorchScript, and in settings that may be quicker on a CPU; here the same
backbone runs as an image tower. Each run is a
process of its own, in turn; seconds are those of tiling, reading and embedding, imports and loading left out;
medians, and the ratio of the tiles per second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from made_up import MPP, write_reference, write_slide
from side_by_side import child, median, report

from bleep_cli.types import TileSpec

PX = 224
DOCUMENTED = "LazySlide, as documented"
SETTINGS = {
    DOCUMENTED: (False, 32, 0),
    "LazySlide, frozen": (True, 32, 0),
    "LazySlide, frozen, batches of 8": (True, 8, 0),
    "LazySlide, frozen, a worker reads": (True, 32, 1),
}
"""Whether the TorchScript is frozen and optimised for inference, the size of a batch, workers that read. Mixed
precision gives other vectors and is left out."""
PACKAGES = ("lazyslide", "torch", "torchvision", "openslide-bin", "openslide-python", "tiffslide")

THEIRS = """
import json, sys, time
import lazyslide as zs
import numpy as np
import torch
from wsidata import open_wsi
slide, model, px, mpp = sys.argv[1], torch.jit.load(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
frozen, batch, workers = map(int, sys.argv[5:])
if frozen:
    model = torch.jit.optimize_for_inference(torch.jit.freeze(model.eval()))
def transform(image):
    return torch.from_numpy(np.array(image))
start = time.perf_counter()
wsi = open_wsi(slide, store=None)
zs.pp.find_tissues(wsi)
zs.pp.tile_tissues(wsi, px, mpp=mpp)
found = zs.tl.feature_extraction(
    wsi, model=model, model_name="backbone", transform=transform, device="cpu", pbar=False, return_features=True,
    batch_size=batch, num_workers=workers,
)
print(json.dumps({"seconds": time.perf_counter() - start, "tiles": len(found)}))
"""
OURS = """
import json, sys, time
from contextlib import closing
from pathlib import Path
from bleep_cli.bundle.open import open_bundle
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
bundle = open_bundle(Path(sys.argv[2]))
predictor = Predictor(bundle, PredictOptions(device="cpu", views=1))
start = time.perf_counter()
ready = plan(Path(sys.argv[1]), bundle.info, predictor.options)
with closing(ready.slide):
    found = predictor.embed(ready.slide, ready.grid)
print(json.dumps({"seconds": time.perf_counter() - start, "tiles": len(found)}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make-env", type=Path)
    parser.add_argument("--python", help="interpreter of the other environment")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--side", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.make_env:
        make_env(arguments.make_env)
        return
    if not arguments.python:
        parser.error("--python names the environment that --make-env made")
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        folder = Path(name)
        slide = arguments.slide or write_slide(folder / "slide.tif", arguments.side)
        script, ref = write_backbone(folder, arguments.backbone, arguments.weights)
        commands = {}
        for how, (frozen, batch, workers) in SETTINGS.items():
            given = (slide, script, PX, MPP, int(frozen), batch, workers)
            commands[how] = [arguments.python, "-c", THEIRS, *map(str, given)]
        commands["bleep"] = [sys.executable, "-c", OURS, str(slide), str(ref)]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
        for _ in range(arguments.repeats):
            for who, command in commands.items():
                run = child(command)
                runs[who].append(
                    {**json.loads(run.out.splitlines()[-1]), "cpu_s": run.cpu_s, "rss_mb": run.rss_mb}
                )
    report([row_of(who, runs) for who in commands], arguments.json, backbone=arguments.backbone, slide=slide.name)


def make_env(folder: Path) -> None:
    """A virtual environment with LazySlide."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *PACKAGES], check=True)


def write_backbone(folder: Path, backbone: str, weights: str) -> tuple[Path, Path]:
    """The same tower, u8[b, 224, 224, 3] → vectors, as TorchScript and inside a bundle."""
    import torch
    from published import make_tower

    from bleep_train.export.graph import to_onnx
    from bleep_train.export.towers import ImageGraph

    graph = ImageGraph(make_tower({"run": None, "backbone": backbone, "weights": weights})).eval()
    example = torch.zeros(2, PX, PX, 3, dtype=torch.uint8)
    script = folder / "backbone.pt"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is old; it is what an environment without our code can load
        torch.jit.trace(graph, example).save(str(script))
        vectors = np.asarray(graph(example))
    model, spec = to_onnx(graph, example, "tiles"), TileSpec(PX, (PX * MPP,))
    ref = write_reference(folder / "ref.zarr", 100, 50, tower=model, spec=spec, vectors=vectors)
    return script, ref


def row_of(who: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Tiles per second, and how many times those of LazySlide in the same turn."""
    rates = {name: [run["tiles"] / run["seconds"] for run in found] for name, found in runs.items()}
    found = runs[who]
    return {
        "who": who,
        "tiles": found[0]["tiles"],
        "tiles_per_s": median(rates[who], 1),
        "times": median([a / b for a, b in zip(rates[who], rates[DOCUMENTED], strict=True)], 2),
        "cpu_s": median([run["cpu_s"] for run in found], 1),
        "peak_rss_mb": round(median([run["rss_mb"] for run in found])),
    }


if __name__ == "__main__":
    main()
