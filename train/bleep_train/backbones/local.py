"""A backbone from the user's own Python file, for encoders that no library builds.

The file is **run**, as any Python program is: name only one you would start yourself. Only the training package
does so; what it exports is ONNX, and the runtime never sees the file. It defines ``backbone()``, which returns a
``torch.nn.Module`` that keeps to :class:`~bleep_train.backbones.protocol.Backbone`::

    import timm
    from torch import nn

    class Encoder(nn.Module):
        dim, mean, std = 1024, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

        def __init__(self):
            super().__init__()
            self.vit = timm.create_model("vit_large_patch16_224", init_values=1e-5, num_classes=0)

        @property
        def stages(self):
            return [self.vit.patch_embed, *self.vit.blocks]

        def forward(self, x):  # f32[b, 3, h, w], normalised -> f32[b, 1024]
            return self.vit(x)

    def backbone():
        return Encoder()
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from bleep_train.backbones.protocol import Backbone, BackboneError

FACTORY = "backbone"


def local_backbone(path: Path) -> nn.Module:
    """Runs the file and returns what its ``backbone()`` returns.

    Raises ``BackboneError`` for a file that is not there or fails, and for what does not keep to the protocol.
    """
    if not path.is_file():
        raise BackboneError(f"file:{path.name}: no such file; file:PATH.py names a Python file with backbone()")
    name = "bleep_local_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BackboneError(f"file:{path.name}: not a Python file; it must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
        net = getattr(module, FACTORY)()
    except Exception as error:  # the user's own code can raise anything
        raise BackboneError(f"file:{path.name}: {type(error).__name__}: {error}") from error
    return checked(net, f"file:{path.name}")


def checked(net: object, where: str) -> nn.Module:
    """The same object, if it keeps to the protocol."""
    if not isinstance(net, nn.Module):
        raise BackboneError(f"{where}: backbone() returned {type(net).__name__}, a torch.nn.Module is needed")
    missing = [name for name in ("dim", "mean", "std", "stages") if not hasattr(net, name)]
    if missing or not isinstance(net, Backbone):
        raise BackboneError(f"{where}: {type(net).__name__} has no {', '.join(missing)}")
    if type(net.dim) is not int or net.dim < 1:
        raise BackboneError(f"{where}: dim = {net.dim!r}, the length of a feature vector is needed")
    for name, low in (("mean", 0.0), ("std", 1e-6)):
        rgb = getattr(net, name)
        numbers = isinstance(rgb, Sequence) and len(rgb) == 3 and all(isinstance(v, int | float) for v in rgb)
        if not numbers or not all(low <= value <= 1 for value in rgb):
            raise BackboneError(f"{where}: {name} = {rgb!r}; give three numbers for RGB in [0, 1]")
    stages: object = net.stages
    if not isinstance(stages, Sequence | nn.ModuleList) or not all(isinstance(s, nn.Module) for s in stages):
        raise BackboneError(f"{where}: stages must be a list of modules, input side first")
    if not len(stages):
        raise BackboneError(f"{where}: stages is empty")
    return net
