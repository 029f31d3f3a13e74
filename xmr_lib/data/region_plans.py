"""How regions come about: what the workers look at, and what the network makes of it.

A row of a store of regions holds the features of all regions of an image, one after another, then
their boxes: `pack` makes it and `unpack` takes it apart without a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xmr_lib.data import images as pictures
from xmr_lib.data.features import Pictures, Seen
from xmr_lib.data.region_boxes import cell_boxes, crop_boxes, window
from xmr_lib.encoders.backbone import Backbone
from xmr_lib.errors import DataError


@dataclass(frozen=True)
class Plan:
    """How regions come about: what workers look at, and what the network makes of it."""

    n_regions: int
    dim: int
    transform: str
    look: Callable[[Image.Image, int], Seen]
    describe: Callable[[Pictures, Tensor], Tensor]  # (b, n_regions * (dim + 4)), see `pack`


def grid(net: Backbone, transform: str, cells: int | None) -> Plan:
    """Cells of the map C4 as regions."""
    crop = pictures.crop(transform, net.image_size, train=False)
    size = (1, net.image_size, net.image_size, 3)
    blank = torch.zeros(size, dtype=torch.uint8, device=device_of(net))
    shape = tuple(_maps(net, blank)[3].shape[2:])
    if cells is not None and not 1 <= cells <= min(shape):
        raise DataError(
            f"cells={cells}: the map C4 of {net.name} has {shape[0]}×{shape[1]} cells. "
            f"Choose from 1 to {min(shape)}."
        )

    def describe(seen: Pictures, pixels: Tensor) -> Tensor:
        c4 = _maps(net, pixels.view(-1, *size[1:]))[3]  # (b, d, rows, columns)
        if cells is not None:
            c4 = torch.nn.functional.adaptive_avg_pool2d(c4, cells)
        return pack(c4.flatten(2).transpose(1, 2), seen.boxes)

    n_regions = cells**2 if cells else shape[0] * shape[1]
    look = _SeeCells(crop, transform, net.image_size, shape, cells)
    return Plan(n_regions, net.stage_dims[3], transform, look, describe)


def crops(net: Backbone, boxes: list[np.ndarray], n_regions: int) -> Plan:
    """What lies in known boxes (k_i, 4) as regions."""

    def describe(seen: Pictures, pixels: Tensor) -> Tensor:
        maps = _maps(net, pixels.view(-1, net.image_size, net.image_size, 3))
        pools = torch.cat([each.mean(dim=(2, 3)) for each in maps], dim=1)  # (all crops, d)
        counts = torch.tensor([shape[0] for shape in seen.shapes], device=pools.device)
        real = torch.arange(n_regions, device=pools.device) < counts[:, None]
        values = pools.new_zeros(*real.shape, pools.shape[1])
        values[real] = pools
        return pack(values, seen.boxes)

    return Plan(n_regions, sum(net.stage_dims), "whole", _SeeBoxes(boxes, net.image_size), describe)


@dataclass(frozen=True)
class _SeeCells:
    """Sees the crop of an image, and where the cells of the map will lie in the image."""

    crop: Callable[[Image.Image], Image.Image]
    transform: str
    size: int
    shape: tuple[int, int]
    cells: int | None

    def __call__(self, image: Image.Image, row: int) -> Seen:
        view = window(self.transform, self.size, *image.size)
        pixels = pictures.to_bytes(self.crop(image))[None]
        return Seen(pixels, cell_boxes(view, self.shape, self.cells))


@dataclass(frozen=True)
class _SeeBoxes:
    """Sees what lies in the boxes of an image."""

    boxes: list[np.ndarray]
    size: int

    def __call__(self, image: Image.Image, row: int) -> Seen:
        return Seen(crop_boxes(image, self.boxes[row], self.size), self.boxes[row])


def _maps(net: Backbone, images: Tensor) -> tuple[Tensor, ...]:
    """Bytes (b, size, size, 3) on the network's device → C1 … C4."""
    with torch.inference_mode():
        return net(pictures.normalise(images, net.mean, net.std))


def pack(values: Tensor, boxes: list[np.ndarray]) -> Tensor:
    """Features (b, n_regions, d) and boxes of each image as rows: (b, n_regions * (d + 4))."""
    padded = np.zeros((*values.shape[:2], 4), np.float32)
    for row, each in zip(padded, boxes, strict=True):
        row[: len(each)] = each
    where = torch.from_numpy(padded).to(values.device)
    return torch.cat([values.flatten(1), where.flatten(1)], dim=1)


def unpack(rows: np.ndarray, n_regions: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, n_regions, d) and boxes (n, n_regions, 4) of packed rows, without a copy."""
    n, cut = len(rows), rows.shape[1] - 4 * n_regions
    return rows[:, :cut].reshape(n, n_regions, -1), rows[:, cut:].reshape(n, n_regions, 4)


def device_of(net: torch.nn.Module) -> torch.device:
    """Where a network's weights are."""
    return next((each.device for each in net.parameters()), torch.device("cpu"))
