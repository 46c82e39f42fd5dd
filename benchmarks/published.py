"""The published pipeline's inference, rebuilt from its description: what ``predict_vs_published.py`` runs.

    python benchmarks/published.py WORK OUT.npz

PyTorch eager in float32, batches of 32, every tile cropped on its own from the slide decoded whole into memory,
one product of all queries with all reference spots, and a Python loop that averages the K best spot by spot.
``WORK`` holds ``task.json`` (slide, centres, tower) and ``reference.npz`` (embeddings, expression).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from bleep_train.config.schema import ModelConfig
from bleep_train.model.towers import ImageTower, build_towers
from bleep_train.runs.export import load_towers
from bleep_train.runs.record import open_run

BATCH = 32
PANEL = 1000  # of towers that no run has trained; the expression tower is not used


def make_tower(spec: dict[str, Any]) -> ImageTower:
    """The image tower of a run, or an untrained one whose weights follow from the seed."""
    if spec["run"]:
        return load_towers(open_run(Path(spec["run"]))).image
    torch.manual_seed(0)
    config = ModelConfig(backbone=spec["backbone"], weights=spec["weights"])
    return build_towers(config, 1, PANEL).image.eval()


class Crops(Dataset[Tensor]):
    """A tile around each centre, cut from the whole picture when it is asked for."""

    def __init__(self, picture: np.ndarray, centres: np.ndarray, px: int) -> None:
        self.picture, self.centres, self.px = picture, centres, px

    def __len__(self) -> int:
        return len(self.centres)

    def __getitem__(self, item: int) -> Tensor:
        x, y = (round(v - self.px / 2) for v in self.centres[item])
        crop = self.picture[y : y + self.px, x : x + self.px]
        return torch.tensor(crop).permute(2, 0, 1).float() / 255


def embed(tower: nn.Module, crops: Crops) -> Tensor:
    with torch.no_grad():
        return torch.cat([tower(batch) for batch in DataLoader(crops, batch_size=BATCH, shuffle=False)])


def main() -> None:
    work, out = Path(sys.argv[1]), Path(sys.argv[2])
    task = json.loads((work / "task.json").read_text(encoding="utf-8"))
    reference = np.load(work / "reference.npz", allow_pickle=False)
    picture = tifffile.imread(task["slide"], key=0)
    queries = embed(make_tower(task["tower"]), Crops(picture, np.array(task["centres"]), task["px"]))
    spots = F.normalize(torch.from_numpy(reference["embeddings"]), p=2, dim=-1)
    similarity = F.normalize(queries, p=2, dim=-1) @ spots.T
    _, indices = torch.topk(similarity, k=task["k"])
    index, expression = indices.numpy(), reference["expression"]
    predicted = np.zeros((len(index), expression.shape[1]))
    for i in range(len(index)):
        predicted[i] = np.average(expression[index[i]], axis=0)
    np.savez(out, index=index, predicted=predicted.astype(np.float32))


if __name__ == "__main__":
    main()
