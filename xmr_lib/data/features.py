"""Features of all images, computed once by a frozen backbone and kept on disk.

Threads each take a batch: they decode and crop its photos and, on a CPU, run the network with one
core a thread, which is twice as fast as all cores in turns on one batch. So the numbers do not
depend on how many cores there are, and no process is started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from xmr_lib import files
from xmr_lib.data import images as pictures
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.shards import SHARD, Rows, Shards, content_keys
from xmr_lib.encoders.backbone import (
    Backbone,
    device_of,
    load_backbone,
    pool_stages,
    stage_columns,
)
from xmr_lib.errors import DataError

BATCH = 16  # images in a batch: larger ones are slower on a CPU, whose caches they exceed


class PerImage:
    """What a data set's images have, one row each: base of `Features` and `Regions`."""

    def of(self, data: CaptionedImages) -> np.ndarray:
        """The rows of a split or subset of the data set: (data.n_images, …)."""
        return self.array[self._rows(data)]

    def _rows(self, data: CaptionedImages) -> np.ndarray:
        if data.n_images and data.rows.max() >= len(self.array):
            what = type(self).__name__.lower()
            raise DataError(
                f"{self.folder}: holds {what} of {len(self.array)} images, but {data.name} asks "
                f"for row {data.rows.max()}. Extract the {what} of the whole data set."
            )
        return data.rows


@dataclass(frozen=True, eq=False)
class Features(PerImage):
    """Pooled stages of a backbone for every image of a data set.

    Attributes:
        array: (n_images, 2 * sum(stage_dims)), memory-mapped: average pools of C1 … C4, then max
            pools of C1 … C4 (see `pool_stages`). Rows as in the whole data set.
        stage_dims: Channels of C1 … C4.
        backbone: Name of the backbone.
        transform: Kind of transform the images went through.
        key: SHA-256 of all that the values depend on.
        folder: Where they are kept.
    """

    array: Rows | np.ndarray
    stage_dims: tuple[int, ...]
    backbone: str
    transform: str
    key: str
    folder: Path

    @property
    def inputs(self) -> Rows | np.ndarray:
        """What training and encoding take: the array."""
        return self.array

    def columns(self, pool: str, stage: int) -> slice:
        """Columns of one pool ("avg" or "max") of one stage (1 to 4)."""
        return stage_columns(self.stage_dims, pool, stage)


def extract(
    data: CaptionedImages,
    backbone: str | Backbone = "toy",
    *,
    transform: str | None = None,
    cache: Path | None = None,
) -> Features:
    """Computes the features of all images of a data set, or finds them in the cache.

    The network runs on the accelerator that accelerate finds, else on the CPU.

    Args:
        data: The whole data set, all splits (for a subset alone: `data.as_whole()`).
        backbone: Name of a backbone, or one already loaded.
        transform: Kind of transform ("rfe", "vsepp", "whole"); None: the backbone's own.
        cache: Folder of the cache; None: `xmr_lib.files.cache_dir()`.

    Raises:
        DataError: Images that cannot be decoded (all of them are named; the others' features are
            kept), values that are not finite, a full or read-only disk.
        UnknownNameError: There is no such backbone or transform.
    """
    refuse_part(data)
    net = load_backbone(backbone) if isinstance(backbone, str) else backbone
    transform = transform or net.transform
    keys = content_keys(data.image_files, cache)
    folder = Path(cache or files.cache_dir()) / "features"
    shards = Shards(folder, f"{net.name}-{transform}", settings_of(net, transform))
    crop = pictures.crop(transform, net.image_size, train=False)

    def look(image: Image.Image, row: int) -> Seen:
        return Seen(pictures.to_bytes(crop(image))[None])

    complete(
        shards,
        keys,
        data,
        look,
        lambda device: described(net.folded(device), pool_stages),
        f"{net.name} features of {data.name}",
    )
    array = shards.rows(keys, pooled=True)
    return Features(array, net.stage_dims, net.name, transform, shards.key(keys), shards.folder)


def refuse_part(data: CaptionedImages) -> None:
    """Raises a DataError if `data` is a split or subset of a data set."""
    if not np.array_equal(data.rows, np.arange(data.n_images)):
        raise DataError(
            f"This is a part of {data.name}. Extract the features of the whole data set and take "
            "`features.of(part)`, or make the part a data set of its own: part.as_whole()."
        )


def settings_of(net: Backbone, transform: str) -> dict:
    """What features depend on besides the images, as JSON has it."""
    names = ("name", "weights_id", "image_size", "mean", "std")
    made = {"transform": transform, "dtype": "float32"}
    return {name: getattr(net, name) for name in names} | made


class Seen(NamedTuple):
    """What is cut out of one image.

    Attributes:
        pixels: (k, h, w, 3) uint8, what the network is to look at.
        boxes: (n_regions, 4) float32 where there are regions.
    """

    pixels: np.ndarray
    boxes: np.ndarray | None = None


Look = Callable[[Image.Image, int], Seen]  # (upright image, its row)
Describe = Callable[[list[np.ndarray]], Sequence[Tensor]]  # pixels of images → (count_i, d) each


def described(net: Backbone, pool: Callable[[tuple[Tensor, ...]], Tensor]) -> Describe:
    """How a network describes images: `pool` makes (m, d) or (m, n_regions, d) of C1 … C4."""
    device = device_of(net)
    turn = nullcontext() if device.type == "cpu" else Lock()  # its memory holds one batch

    def describe(pixels: list[np.ndarray]) -> Sequence[Tensor]:
        stacked = torch.from_numpy(np.concatenate(pixels)).to(device)
        with turn, torch.inference_mode():
            values = pool(net(pictures.normalise(stacked, net.mean, net.std))).cpu()
        each = values.shape[1] if values.ndim == 3 else 1
        return values.reshape(-1, values.shape[-1]).split([each * len(part) for part in pixels])

    return describe


def complete(
    shards: Shards,
    keys: list[str],
    data: CaptionedImages,
    look: Look,
    describe_on: Callable[[torch.device], Describe],
    title: str,
    batch_size: int = BATCH,
) -> None:
    """Computes what the shards lack, unless another process does so meanwhile.

    `look` says what of an image the network is to see; `describe_on` gives a function that
    describes images on a device.

    Raises:
        DataError: As `extract`.
    """
    if not shards.missing(keys):
        return
    with files.locked(shards.folder, f"the {title}"):
        todo = shards.missing(keys)  # another process may have computed some meanwhile
        if not todo:
            return
        device = PartialState().device
        names = [str(file) for file in data.image_files]
        work = partial(_batch, names, look, describe_on(device))
        parts = [_cut(part, batch_size) for part in _cut(todo, SHARD)]
        cores = torch.get_num_threads()
        threads = cores if device.type == "cpu" else min(8, os.cpu_count() or 1)
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        with tqdm(total=len(keys), initial=len(keys) - len(todo), unit="image", desc=title) as bar:
            try:
                results = pool.map(work, chain(*parts))
                broken = [
                    line for part in parts for line in _fill(shards, keys, part, results, bar)
                ]
            finally:
                pool.shutdown(cancel_futures=True)
                torch.set_num_threads(cores)  # threads that come later would have one core, too
        if broken:
            shown = "\n  ".join(broken[:5] + ["…"] * (len(broken) > 5))
            raise DataError(
                f"{len(broken)} of {len(keys)} images cannot be used:\n  {shown}\n"
                "Repair or replace them, or leave them out with load(…, check_images=True, "
                "on_problem='skip') (--check-images --on-problem skip). The features of the "
                "others are kept."
            )


def _cut(rows: list, size: int) -> list[list]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _batch(
    names: list[str], look: Look, describe: Describe, rows: list[int]
) -> tuple[dict[int, dict[str, Tensor]], list[str]]:
    """What is found in some images, by row; and why others cannot be used."""
    seen, broken = {}, []
    for row in rows:
        try:
            seen[row] = look(pictures.open_image(names[row]), row)
        except DataError as error:
            broken.append(str(error))
    found = {}
    values = describe([each.pixels for each in seen.values()]) if seen else []
    for (row, each), value in zip(seen.items(), values, strict=True):
        found[row] = {"values": value.to("cpu", torch.float32)}
        if each.boxes is not None:
            found[row]["boxes"] = torch.from_numpy(each.boxes)
        if not value.isfinite().all():
            raise DataError(
                f"The backbone gives NaN or infinity for {names[row]}. Are its weights damaged?"
            )
    return found, broken


def _fill(shards: Shards, keys: list[str], part: list, results: Iterator, bar: tqdm) -> list[str]:
    """Writes a shard of the results of its batches; returns why images cannot be used."""
    rows, complaints = {}, []
    for found, broken in islice(results, len(part)):
        rows |= {keys[row]: each for row, each in found.items()}
        complaints += broken
        bar.update(len(found))
    if rows:
        shards.add(rows)
    return complaints
