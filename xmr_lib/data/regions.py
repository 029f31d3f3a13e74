"""Regions: several features per image, each with the box it was seen in.

`extract` makes them from any photos, in one of three ways (*kinds*):

============ =========================================== =========================================
kind         regions                                     a region's feature
============ =========================================== =========================================
``grid``     cells of the backbone's map C4              the cell of the map
``boxes``    those of the data's own `boxes.json`,       average pools of C1 … C4, side by side,
             and last the whole picture                  of what lies in the box
``detector`` the best boxes that a Faster R-CNN finds    the same
============ =========================================== =========================================

For the last two, exactly what lies in the box is resized to the network's input. A linear probe on
toy scenes decided that (1,000 to learn from, 500 to test on; it names the kind and the colour of a
thing from its feature): C4 alone gives 94 % and 97 %, with C1 … C3 97 % and 98 %; a max pool of C4
adds nothing; a square around the box (93 %, 95 %) or a margin of 15 % (93 %, 97 %) lets parts of
other things in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xmr_lib import files
from xmr_lib.data import images as pictures
from xmr_lib.data.boxes import boxes_file, known_boxes
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import (
    BATCH,
    Describe,
    Look,
    PerImage,
    Seen,
    complete,
    described,
    refuse_part,
    settings_of,
)
from xmr_lib.data.region_boxes import cell_boxes, crop_boxes, window
from xmr_lib.data.shards import Rows, Shards, content_keys
from xmr_lib.encoders import detector as detectors
from xmr_lib.encoders.backbone import Backbone, device_of, load_backbone
from xmr_lib.errors import DataError, UnknownNameError

KINDS = ("grid", "boxes", "detector")

Pool = Callable[[tuple[Tensor, ...]], Tensor]  # C1 … C4 of m pictures → (m, d) or (m, cells, d)


@dataclass(frozen=True, eq=False)
class Regions(PerImage):
    """Features and boxes of the regions of every image of a data set.

    Attributes:
        array: (n_images, n_regions, d), memory-mapped. Rows as in the whole data set.
        counts: (n_images,) int64, how many regions of each image are real; padding, zeros, follows.
        boxes: (n_images, n_regions, 4), left, top, right, bottom as shares (0 … 1) of the upright
            image's width and height; None where they are unknown.
        kind: "grid", "boxes", "detector", or what a file was read as.
        backbone: Name of the network.
        transform: Kind of transform the images went through.
        key: SHA-256 of all that the values depend on.
        folder: Where they are kept.
    """

    array: Rows | np.ndarray
    counts: np.ndarray
    boxes: Rows | np.ndarray | None
    kind: str
    backbone: str
    transform: str
    key: str
    folder: Path

    @property
    def stage_dims(self) -> tuple[int]:
        """The length of a region's feature (as `Features` has four sizes)."""
        return (self.array.shape[2],)

    @property
    def inputs(self) -> Regions:
        """What training and encoding take: the regions with their counts."""
        return self

    def counts_of(self, data: CaptionedImages) -> np.ndarray:
        """How many regions of each image of a split or subset are real: (data.n_images,)."""
        return self.counts[self._rows(data)]

    def boxes_of(self, data: CaptionedImages) -> np.ndarray | None:
        """Boxes of a split or subset: (data.n_images, n_regions, 4), or None."""
        return None if self.boxes is None else self.boxes[self._rows(data)]


def extract(
    data: CaptionedImages,
    backbone: str | Backbone = "toy",
    kind: str | None = None,
    *,
    cells: int | None = None,
    transform: str | None = None,
    cache: Path | None = None,
) -> Regions:
    """Computes the regions of all images of a data set, or finds them in the cache.

    Args:
        data: The whole data set, all splits (for a subset alone: `data.as_whole()`).
        backbone: Name of a backbone, or one already loaded.
        kind: "grid", "boxes" or "detector" (see the module); None: "boxes" where the data has a
            `boxes.json` (as toy scenes do), else "grid".
        cells: For "grid": average the map to cells × cells; None: every cell of the map.
        transform: For "grid": kind of transform ("rfe", "vsepp", "whole"); None: the backbone's
            own. The other kinds resize what lies in a box, which is "whole".
        cache: Folder of the cache; None: `xmr_lib.files.cache_dir()`.

    Raises:
        DataError: "boxes" for a data set without a `boxes.json`, an option that does not fit the
            kind, the detector's weights are missing, or as `features.extract`.
        UnknownNameError: There is no such kind, backbone or transform.

    >>> from xmr_lib.data import captioned
    >>> scenes = captioned.load("toy")  # doctest: +SKIP
    >>> regions = extract(scenes)  # doctest: +SKIP
    >>> regions.array.shape, regions.counts[:3]  # doctest: +SKIP
    ((3500, 5, 328), array([4, 5, 3]))
    """
    kind = kind or ("boxes" if boxes_file(data) else "grid")
    _check_options(kind, cells, transform)
    refuse_part(data)
    net = load_backbone(backbone) if isinstance(backbone, str) else backbone
    folder = Path(cache or files.cache_dir()) / "regions"
    keys = content_keys(data.image_files, cache)
    batch_size = BATCH  # pictures: images, or crops of them
    if kind == "grid":
        transform = transform or net.transform
        look, pool = _grid(net, transform, cells)
    else:
        boxes = known_boxes(data) if kind == "boxes" else _detect(data, keys, folder)
        keys = [f"{key}-{_digest(each)}" for key, each in zip(keys, boxes, strict=True)]
        transform = "whole"
        look, pool = _crops(net, boxes)
        batch_size = max(1, BATCH // max(map(len, boxes)))
    what = "grid" if kind == "grid" else "crops"  # crops of equal boxes are equal
    settings = settings_of(net, transform) | {"kind": what, "cells": cells}
    shards = Shards(folder, f"{net.name}-{what}-{transform}", settings)
    complete(
        shards,
        keys,
        data,
        look,
        lambda device: described(net.folded(device), pool),
        f"{net.name} regions of {data.name}",
        batch_size,
    )
    return Regions(
        shards.rows(keys),
        shards.counts(keys),
        shards.rows(keys, "boxes"),
        kind,
        net.name,
        transform,
        shards.key(keys),
        shards.folder,
    )


def of_picture(
    path: str | Path,
    backbone: str | Backbone = "toy",
    kind: str = "grid",
    transform: str | None = None,
    cells: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Regions of a single photo file: what `extract` gives, to float rounding, without padding.

    Args:
        path: The photo.
        backbone: Name of a backbone, or one already loaded; it runs where its weights are.
        kind: "grid" or "detector".
        transform: As for `extract`.
        cells: Likewise.

    Returns:
        Features (n_regions, d) float32 and boxes (n_regions, 4) float32.

    Raises:
        DataError: The photo cannot be decoded; or `kind` is "boxes", which takes a data set with
            its `boxes.json`, not a picture alone.
        UnknownNameError: There is no such kind, backbone or transform.
    """
    _check_options(kind, cells, transform)
    if kind == "boxes":
        raise DataError(
            f"{path}: a picture alone has no boxes; those of boxes.json belong to a data set. "
            "Use kind='grid' or kind='detector'."
        )
    net = load_backbone(backbone) if isinstance(backbone, str) else backbone
    image = pictures.open_image(path)
    if kind == "grid":
        look, pool = _grid(net, transform or net.transform, cells)
    else:
        (boxes,) = detectors.load_detector()([_see_all(image, 0).pixels[0]])
        look, pool = _crops(net, [boxes.numpy()])
    seen = look(image, 0)
    (values,) = described(net, pool)([seen.pixels])
    return values.cpu().numpy(), seen.boxes


def _check_options(kind: str, cells: int | None, transform: str | None) -> None:
    if kind not in KINDS:
        raise UnknownNameError("kind of regions", kind, KINDS)
    if kind != "grid" and (cells is not None or transform not in (None, "whole")):
        raise DataError(f"cells and transform are for kind='grid'; leave them out for {kind!r}.")


def _grid(net: Backbone, transform: str, cells: int | None) -> tuple[Look, Pool]:
    """Cells of the map C4 as regions, with the boxes that they are of."""
    crop = pictures.crop(transform, net.image_size, train=False)
    blank = torch.zeros(1, 3, net.image_size, net.image_size, device=device_of(net))
    with torch.inference_mode():
        shape = tuple(net(blank)[3].shape[2:])
    if cells is not None and not 1 <= cells <= min(shape):
        raise DataError(
            f"cells={cells}: the map C4 of {net.name} has {shape[0]}×{shape[1]} cells. "
            f"Choose from 1 to {min(shape)}."
        )

    def look(image: Image.Image, row: int) -> Seen:
        view = window(transform, net.image_size, *image.size)
        return Seen(pictures.to_bytes(crop(image))[None], cell_boxes(view, shape, cells))

    def pool(maps: tuple[Tensor, ...]) -> Tensor:
        c4 = maps[3] if cells is None else torch.nn.functional.adaptive_avg_pool2d(maps[3], cells)
        return c4.flatten(2).transpose(1, 2)  # (m, rows * columns, d)

    return look, pool


def _crops(net: Backbone, boxes: list[np.ndarray]) -> tuple[Look, Pool]:
    """What lies in known boxes, (k_i, 4) of each image, as regions."""

    def look(image: Image.Image, row: int) -> Seen:
        return Seen(crop_boxes(image, boxes[row], net.image_size), boxes[row])

    def pool(maps: tuple[Tensor, ...]) -> Tensor:
        return torch.cat([each.mean(dim=(2, 3)) for each in maps], dim=1)  # (all crops, d)

    return look, pool


def _see_all(image: Image.Image, row: int) -> Seen:
    """The whole image at its own size."""
    return Seen(pictures.to_bytes(image)[None])


def _detect(data: CaptionedImages, keys: list[str], folder: Path) -> list[np.ndarray]:
    """Boxes (k_i, 4) that a detector finds; kept apart, so that several backbones can use them."""
    finder = detectors.load_detector()
    settings = {
        "detector": finder.name,
        "weights": finder.weights_id,
        "n_boxes": finder.n_boxes,
        "score": detectors.SCORE,
        "overlap": detectors.OVERLAP,
    }

    def describe_on(device: torch.device) -> Describe:
        finder.to(device)
        return lambda pixels: finder([each[0] for each in pixels])

    shards = Shards(folder, f"{finder.name}-boxes", settings)
    title = f"boxes of {data.name}"
    complete(shards, keys, data, _see_all, describe_on, title, BATCH // 8)  # images at full size
    counts = shards.counts(keys)
    return [boxes[:count] for boxes, count in zip(shards.rows(keys)[:], counts, strict=True)]


def _digest(boxes: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(boxes, np.float32).tobytes()).hexdigest()[:16]
