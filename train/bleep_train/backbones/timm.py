"""Any image model of timm as a backbone; timm is the optional extra ``timm``."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from bleep_train.backbones.protocol import STAGES, BackboneError, Wrapped, in_stages


class TimmNet(Wrapped):
    """``timm.create_model(name)`` without its classifier; mean and std are those of timm's data config.

    ``name`` is a model of timm's registry, or ``local-dir:FOLDER`` for one saved with its config. Positions are
    interpolated to the tile size where the model can do that (``dynamic_img_size``). ``pretrained`` takes timm's
    own weights. Raises ``BackboneError`` without timm, for an unknown name and for weights that cannot be had.
    """

    def __init__(self, name: str, *, pretrained: bool) -> None:
        super().__init__()
        timm = _timm()
        net = _create(timm, name, pretrained)
        config = timm.data.resolve_model_data_config(net)
        self.name, self.net = name, net
        self.mean, self.std = tuple(config["mean"]), tuple(config["std"])
        self.px, self.dim = int(config["input_size"][-1]), int(net.head_hidden_size)

    @property
    def stages(self) -> list[nn.Module]:
        """timm's own layer groups, input side first: the first one, then the rest in up to four stages."""
        matcher = self.net.group_matcher(coarse=True)  # type: ignore[operator]
        grouped = _timm().models.group_parameters(self.net, matcher)
        named = dict(self.net.named_parameters())
        groups = [[named[name] for name in names] for _, names in sorted(grouped.items())]
        if len(groups) > 1 and all(p.ndim < 2 for p in groups[-1]):  # a last norm is no stage
            groups[-2:] = [groups[-2] + groups[-1]]
        layers = [nn.ParameterList(group) for group in groups]
        return [layers[0], *in_stages(layers[1:], STAGES - 1)] if len(layers) > 1 else list(layers)

    def forward(self, x: Tensor) -> Tensor:
        try:
            return super().forward(x)
        except (AssertionError, RuntimeError) as error:  # models differ in how they refuse a size
            if x.shape[-1] == self.px:
                raise
            raise BackboneError(
                f"timm:{self.name} failed on tiles of {x.shape[-1]} px ({error}); "
                f"its own size is data.tile_px={self.px}"
            ) from error


def _timm() -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise BackboneError(
            f'backbones of the form timm:NAME need timm, which cannot be imported ({error}); pip install ".[timm]"'
        ) from error


def _create(timm: ModuleType, name: str, pretrained: bool) -> Any:
    if ":" not in name and not timm.is_model(name):
        raise BackboneError(f"timm {timm.__version__} has no model {name!r}; timm.list_models() names them")
    try:
        try:
            return timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
        except TypeError:  # a convolutional network has no positions to interpolate, and no such argument
            return timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # timm, its hub, HTTP and files share no base class
        reason = str(error).partition("\n")[0]
        raise BackboneError(f"timm:{name} could not be made ({type(error).__name__}: {reason})") from error
