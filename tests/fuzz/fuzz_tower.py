"""The two towers, their bytes altered, then run: what comes out are unit vectors, or a refusal."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from doors import told
from made_towers import towers
from mutate import mutated

from bleep_cli.errors import ReferenceError
from bleep_cli.towers.encoder import OnnxEncoder, OnnxExpressionEncoder, embed_views


class Towers:
    """Both models as bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._image, self._expression = towers()

    def attempt(self, rng: random.Random) -> str:
        """Loads one and embeds three tiles, or spots."""
        try:
            if rng.random() < 0.5:
                image = OnnxEncoder(mutated(self._image, rng), "cpu", threads=1)
                shape = (3, image.tile_px, image.tile_px, image.channels)
                if np.prod(shape) > 10**7:
                    return "large"
                found = embed_views(image, np.full(shape, 90, np.uint8), 1)
                assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
            else:
                expression = OnnxExpressionEncoder(mutated(self._expression, rng))
                if expression.panel_size > 10**6:
                    return "large"
                found = expression.embed(np.ones((3, expression.panel_size), np.float32))
        except ReferenceError as error:
            return told(error, self._folder)
        assert len(found) == 3 and np.isfinite(found).all()
        return "read"


door = Towers
