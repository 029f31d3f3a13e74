"""The toy scenes' "ImageNet network": a small four-stage residual CNN with shipped weights.

`python -m xmr_lib pretrain-toy` trains it: from the ground truth of 8,000 toy scenes, the network
learns to say which of 183 labels hold in a picture: things ("dog"), coloured things ("brown dog"),
relations ("chasing") and backgrounds ("beach"). No data set has any of those scenes.

The shipped weights (6 epochs; 2.5 minutes of computing on one core) reach on 1,000 held-out scenes
a mean average precision of 0.83 for things, 0.54 for coloured things, 0.62 for relations and 1.00
for backgrounds: good but imperfect features, as ImageNet's are for photographs.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from xmr_lib.errors import DamagedFileError
from xmr_lib.files import load_tensors
from xmr_lib.toy.scene import CANVAS

WEIGHTS = Path(__file__).with_name("toy_backbone.safetensors")


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016, Fig. 2)."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        )
        same = stride == 1 and inner == outer
        self.shortcut = nn.Identity() if same else nn.Conv2d(inner, outer, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, inner, h, w) -> (b, outer, h / stride, w / stride)."""
        return functional.relu(self.body(x) + self.shortcut(x))


class ToyBackbone(nn.Module):
    """Stem and four stages with strides of 4, 8, 16 and 16 pixels.

    The last stage keeps its resolution, so that small things still have a cell of their own. The
    attributes are those of `xmr_lib.encoders.backbone.Backbone`.
    """

    stage_dims = (24, 48, 96, 160)
    image_size = CANVAS
    mean = (0.5, 0.5, 0.5)
    std = (0.25, 0.25, 0.25)

    def __init__(self) -> None:
        super().__init__()
        c1, c2, c3, c4 = self.stage_dims
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.stages = nn.ModuleList(
            (Residual(16, c1, 1), Residual(c1, c2, 2), Residual(c2, c3, 2), Residual(c3, c4, 1))
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pixels (b, 3, 128, 128) -> C1 (b, 24, 32, 32), …, C4 (b, 160, 8, 8)."""
        maps = []
        x = self.stem(pixels)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


def load_toy_backbone(weights: Path | str = WEIGHTS) -> ToyBackbone:
    """The network with the shipped weights (or others), frozen and in eval mode.

    Raises:
        DamagedFileError: The file of weights is not what it was.
    """
    try:
        stored, _ = load_tensors(weights)  # float16 to be small; batch norms' counters are integers
    except DamagedFileError as error:
        cure = f"It comes with the kit: install that again, or `git restore {weights}`."
        raise DamagedFileError(f"{error} {cure}") from error
    net = ToyBackbone()
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in stored.items()})
    return net.eval().requires_grad_(False)
