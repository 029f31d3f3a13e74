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

For the last two, exactly what lies in the box is squeezed to the size of the network's input. That
was chosen by a linear probe on toy scenes (1,000 to learn from, 500 to judge), which is to name the
kind and the colour of a thing from its feature: C4 alone gives 94 % and 97 %, with C1 … C3 97 % and
98 %; a max pool of C4 adds nothing, a square around the box (93 %, 95 %) or a margin of 15 % (93 %,
97 %) takes away, because parts of other things come in.

Like `features.extract`, everything is computed once, kept on disk, and goes on where it stopped.
"""

from __future__ import annotations

import hashlib
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
from xmr_lib.data.feature_store import FeatureStore, list_files, open_array
from xmr_lib.data.features import (
    Pictures,
    Seen,
    collate,
    complete,
    prepare,
    settings_of,
    store_label,
)
from xmr_lib.data.region_plans import crops, device_of, grid, unpack
from xmr_lib.encoders import detector as detectors
from xmr_lib.encoders.backbone import Backbone, load_backbone
from xmr_lib.errors import DataError, UnknownNameError

KINDS = ("grid", "boxes", "detector")
_CHECKED_BYTES = 10**9  # larger stores are not searched for NaN each time they are opened


@dataclass(frozen=True, eq=False)
class Regions:
    """Features and boxes of the regions of every image of a data set.

    Attributes:
        array: (n_images, n_regions, d), memory-mapped. Rows as in the whole data set.
        counts: (n_images,) int64: the first counts[i] regions of image i are real, what lies
            behind them is padding, zeros.
        boxes: (n_images, n_regions, 4), left, top, right, bottom as shares (0 … 1) of the upright
            image's width and height; None where nobody knows them.
        kind: "grid", "boxes", "detector", or what a file was read as.
        backbone: Name of the network.
        transform: Kind of transform the images went through.
        key: SHA-256 of all that the values depend on.
        folder: Where they are kept.
    """

    array: np.ndarray
    counts: np.ndarray
    boxes: np.ndarray | None
    kind: str
    backbone: str
    transform: str
    key: str
    folder: Path

    @property
    def dim(self) -> int:
        """Length of a region's feature."""
        return self.array.shape[2]

    @property
    def stage_dims(self) -> tuple[int]:
        """The one size that a model of regions is built for (as `Features` has four)."""
        return (self.dim,)

    @property
    def inputs(self) -> Regions:
        """What training and encoding take: the regions with their counts."""
        return self

    def of(self, data: CaptionedImages) -> np.ndarray:
        """Features of a split or subset of the data set: (data.n_images, n_regions, d)."""
        return self.array[self._rows(data)]

    def counts_of(self, data: CaptionedImages) -> np.ndarray:
        """How many regions of each image of a split or subset are real: (data.n_images,)."""
        return self.counts[self._rows(data)]

    def boxes_of(self, data: CaptionedImages) -> np.ndarray | None:
        """Boxes of a split or subset: (data.n_images, n_regions, 4); None: nobody knows them."""
        return None if self.boxes is None else self.boxes[self._rows(data)]

    def _rows(self, data: CaptionedImages) -> np.ndarray:
        if data.n_images and data.rows.max() >= len(self.array):
            raise DataError(
                f"{self.folder}: holds regions of {len(self.array)} images, but {data.name} asks "
                f"for row {data.rows.max()}. Extract the regions of the whole data set."
            )
        return data.rows


def extract(
    data: CaptionedImages,
    backbone: str | Backbone = "toy",
    kind: str | None = None,
    *,
    cells: int | None = None,
    transform: str | None = None,
    detector: str = detectors.NAMES[0],
    n_boxes: int = 36,
    dtype: str = "float32",
    batch_size: int = 64,
    workers: int | None = None,
    cache: Path | None = None,
    device: str | torch.device | None = None,
) -> Regions:
    """Computes the regions of all images of a data set, or finds them in the cache.

    Args:
        data: The whole data set, all splits (for a subset alone: `data.as_whole()`).
        backbone: Name of a backbone, or one already loaded.
        kind: "grid", "boxes" or "detector" (see the module); None: "boxes" where the data has a
            `boxes.json` (as toy scenes do), else "grid".
        cells: For "grid": average the map to cells × cells; None: every cell of the map.
        transform: For "grid": kind of transform ("rfe", "vsepp", "whole"); None: the backbone's
            own. The other kinds squeeze what lies in a box, which is "whole".
        detector: For "detector": name of the network that finds boxes.
        n_boxes: For "detector": at most so many boxes per image.
        dtype: "float32", or "float16" for half the disk space; boxes of a picture 1,000 pixels
            wide are then right to half a pixel.
        batch_size: Pictures (images, or crops of them) per forward pass, about.
        workers: Processes that decode images; None: one per core but one, at least one and at
            most eight.
        cache: Folder of the cache; None: `xmr_lib.files.cache_dir()`.
        device: Where the networks run; None: the accelerator that accelerate finds, else the CPU.

    Raises:
        DataError: "boxes" for a data set without a `boxes.json`, an option that does not fit the
            kind, the detector's weights are missing, or as `features.extract`.
        UnknownNameError: no such kind, backbone, transform, detector or number type.

    >>> from xmr_lib.data import captioned
    >>> scenes = captioned.load("toy")  # doctest: +SKIP
    >>> regions = extract(scenes)  # doctest: +SKIP
    >>> regions.array.shape, regions.counts[:3]  # doctest: +SKIP
    ((3500, 5, 328), array([4, 5, 3]))
    """
    kind = kind or ("boxes" if boxes_file(data) else "grid")
    _check_options(kind, cells, transform)
    net = prepare(data, backbone, dtype)
    root = Path(cache or files.cache_dir()) / "regions"
    listing = list_files(data.image_files)
    running = {"batch_size": batch_size, "workers": workers, "device": device}
    if kind == "grid":
        plan = grid(net, transform or net.transform, cells)
        counts = np.full(data.n_images, plan.n_regions)
    else:
        if kind == "boxes":
            boxes = known_boxes(data)
        else:
            finder = detectors.load_detector(detector, n_boxes)
            boxes = _detect(data, finder, listing, root, **running)
        counts = np.array([len(each) for each in boxes])
        plan = crops(net, boxes, n_boxes if kind == "detector" else int(counts.max()))
        listing = [f"{line}\t{_digest(each)}" for line, each in zip(listing, boxes, strict=True)]
        running["batch_size"] = max(1, batch_size // plan.n_regions)
    settings = settings_of(net, plan.transform, dtype) | {
        "kind": "grid" if kind == "grid" else "crops",  # crops of equal boxes are equal
        "n_regions": plan.n_regions,
        "cells": cells,
    }
    label = store_label(data.name, net.name, kind if kind != "grid" else plan.transform)
    columns = plan.n_regions * (plan.dim + 4)
    store = FeatureStore(root, label, settings, listing, columns, dtype)
    title = f"{net.name} regions of {data.name}"
    complete(store, data, net, plan.look, plan.describe, title=title, **running)
    small = len(listing) * columns * store.dtype.itemsize < _CHECKED_BYTES
    rows = open_array(store.file, store.shape, check_values=small)
    array, boxes = unpack(rows, plan.n_regions)
    return Regions(array, counts, boxes, kind, net.name, plan.transform, store.key, store.folder)


def of_picture(
    path: str | Path,
    backbone: str | Backbone = "toy",
    kind: str = "grid",
    transform: str | None = None,
    cells: int | None = None,
    *,
    detector: str | detectors.Detector = detectors.NAMES[0],
    n_boxes: int = 36,
) -> tuple[np.ndarray, np.ndarray]:
    """Regions of a single photo file: the same numbers as `extract` gives, without padding.

    Args:
        path: The photo.
        backbone: Name of a backbone, or one already loaded; it runs where its weights are.
        kind: "grid" or "detector".
        transform: As for `extract`.
        cells: Likewise.
        detector: Name of a detector, or one already loaded.
        n_boxes: As for `extract`; a loaded detector has its own.

    Returns:
        Features (n_regions, d) float32 and boxes (n_regions, 4) float32.

    Raises:
        DataError: the photo cannot be decoded; or `kind` is "boxes", which takes a data set with
            its `boxes.json`, not a picture alone.
        UnknownNameError: no such kind, backbone, transform or detector.
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
        plan = grid(net, transform or net.transform, cells)
    else:
        if isinstance(detector, str):
            detector = detectors.load_detector(detector, n_boxes)
        pixels = torch.from_numpy(pictures.to_bytes(image)).to(device_of(detector))
        boxes = detector([pixels])[0].cpu().numpy()
        plan = crops(net, [boxes], len(boxes))
    seen = collate([(0, plan.look(image, 0), None)])
    row = plan.describe(seen, seen.pixels.to(device_of(net))).cpu().numpy()
    array, boxes = unpack(row, plan.n_regions)
    return array[0], boxes[0]


def _check_options(kind: str, cells: int | None, transform: str | None) -> None:
    if kind not in KINDS:
        raise UnknownNameError("kind of regions", kind, KINDS)
    if kind != "grid" and (cells is not None or transform not in (None, "whole")):
        raise DataError(f"cells and transform are for kind='grid'; leave them out for {kind!r}.")


def _see_all(image: Image.Image, row: int) -> Seen:
    """Sees the whole image at its own size."""
    return Seen(pictures.to_bytes(image)[None])


def _detect(
    data: CaptionedImages, finder: detectors.Detector, listing: list[str], root: Path, **running
) -> list[np.ndarray]:
    """Boxes (k_i, 4) that a detector finds in each image, from the cache where they are there.

    They have a store of their own, so that several backbones can describe the same boxes.
    """
    settings = {
        "detector": finder.name,
        "weights": finder.weights_id,
        "n_boxes": finder.n_boxes,
        "score": detectors.SCORE,
        "overlap": detectors.OVERLAP,
        "dtype": "float32",
    }

    def describe(seen: Pictures, pixels: Tensor) -> Tensor:
        parts = pixels.split([int(np.prod(shape)) for shape in seen.shapes])
        images = [part.view(shape[1:]) for part, shape in zip(parts, seen.shapes, strict=True)]
        rows = pixels.new_zeros(len(images), 4 * finder.n_boxes + 1, dtype=torch.float32)
        for row, boxes in zip(rows, finder(images), strict=True):
            row[: boxes.numel()] = boxes.flatten()
            row[-1] = len(boxes)
        return rows

    label = store_label(data.name, finder.name, "boxes")
    store = FeatureStore(root, label, settings, listing, 4 * finder.n_boxes + 1, "float32")
    running["batch_size"] = max(1, running["batch_size"] // 8)  # pictures at their full size
    title = f"boxes of {data.name}"
    complete(store, data, finder, _see_all, describe, title=title, **running)
    rows = np.array(open_array(store.file, store.shape))
    return [row[:-1].reshape(-1, 4)[: int(row[-1])] for row in rows]


def _digest(boxes: np.ndarray) -> str:
    """Fingerprint of boxes, to go with that of the image that they are of."""
    return hashlib.sha256(np.ascontiguousarray(boxes, np.float32).tobytes()).hexdigest()[:16]
