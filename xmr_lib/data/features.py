"""Features of all images, computed once by a frozen backbone and kept on disk.

`extract` gives the same array at once when it is called again, goes on where a killed run stopped,
and computes only what is new when some photos have changed. Workers decode and crop the photos
(and hand over bytes, a quarter of the size of floats); the process that holds the network
normalises, computes C1 … C4 and their average and max pools (RFE, equation 2).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from xmr_lib import files
from xmr_lib.data import images as pictures
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.feature_store import FeatureStore, list_files, open_array
from xmr_lib.encoders.backbone import Backbone, load_backbone, pool_stages, stage_columns
from xmr_lib.errors import DataError, UnknownNameError

DTYPES = ("float32", "float16")
_SECONDS_BETWEEN_RECORDS = 2.0  # a killed run loses at most this much work


@dataclass(frozen=True, eq=False)
class Features:
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

    array: np.ndarray
    stage_dims: tuple[int, ...]
    backbone: str
    transform: str
    key: str
    folder: Path

    @property
    def inputs(self) -> np.ndarray:
        """What training and encoding take: the array."""
        return self.array

    def of(self, data: CaptionedImages) -> np.ndarray:
        """Features of the images of a split or subset of the data set: (data.n_images, d)."""
        if data.n_images and data.rows.max() >= len(self.array):
            raise DataError(
                f"{self.folder}: holds features of {len(self.array)} images, but {data.name} asks "
                f"for row {data.rows.max()}. Extract the features of the whole data set."
            )
        return self.array[data.rows]

    def columns(self, pool: str, stage: int) -> slice:
        """Columns of one pool ("avg" or "max") of one stage (1 to 4)."""
        return stage_columns(self.stage_dims, pool, stage)


def extract(
    data: CaptionedImages,
    backbone: str | Backbone = "toy",
    *,
    transform: str | None = None,
    dtype: str = "float32",
    batch_size: int = 64,
    workers: int | None = None,
    cache: Path | None = None,
    device: str | torch.device | None = None,
) -> Features:
    """Computes the features of all images of a data set, or finds them in the cache.

    Args:
        data: The whole data set, all splits (for a subset alone: `data.as_whole()`).
        backbone: Name of a backbone, or one already loaded.
        transform: Kind of transform ("rfe", "vsepp", "whole"); None: the backbone's own.
        dtype: "float32", or "float16" for half the disk space.
        batch_size: Images per forward pass.
        workers: Processes that decode images; None: one per core but one, at least one and at
            most eight.
        cache: Folder of the cache; None: `xmr_lib.files.cache_dir()`.
        device: Where the network runs; None: the accelerator that accelerate finds, else the CPU.

    Returns:
        The features, memory-mapped.

    Raises:
        DataError: images that cannot be decoded (all of them are named; the others' features are
            kept), values that are not finite, a full or read-only disk, a broken cache.
    """
    net = prepare(data, backbone, dtype)
    transform = transform or net.transform
    crop = pictures.crop(transform, net.image_size, train=False)
    settings = settings_of(net, transform, dtype)
    label = store_label(data.name, net.name, transform)
    root = Path(cache or files.cache_dir()) / "features"
    store = FeatureStore(root, label, settings, list_files(data.image_files), net.dim, dtype)

    def describe(seen: Pictures, pixels: torch.Tensor) -> torch.Tensor:
        return pooled_features(net, pixels.view(-1, *seen.shapes[0][1:]))

    complete(
        store, data, net, _Whole(crop), describe,
        title=f"{net.name} features of {data.name}",
        batch_size=batch_size, workers=workers, device=device,
    )  # fmt: skip
    array = open_array(store.file, store.shape)
    return Features(array, net.stage_dims, net.name, transform, store.key, store.folder)


def prepare(data: CaptionedImages, backbone: str | Backbone, dtype: str) -> Backbone:
    """The backbone, after checking what `extract` was given.

    Raises:
        DataError: `data` is a part of a data set.
        UnknownNameError: no such backbone or number type.
    """
    if not np.array_equal(data.rows, np.arange(data.n_images)):
        raise DataError(
            f"This is a part of {data.name}. Extract the features of the whole data set and take "
            "`features.of(part)`, or make the part a data set of its own: part.as_whole()."
        )
    if dtype not in DTYPES:
        raise UnknownNameError("feature type", dtype, DTYPES)
    return load_backbone(backbone) if isinstance(backbone, str) else backbone


def settings_of(net: Backbone, transform: str, dtype: str) -> dict:
    """What features depend on besides the images, as JSON has it."""
    return {
        "backbone": net.name,
        "weights": net.weights_id,
        "transform": transform,
        "image_size": net.image_size,
        "mean": list(net.mean),
        "std": list(net.std),
        "dtype": dtype,
    }


def store_label(*parts: str) -> str:
    """A name for a folder that people can read."""
    return re.sub(r"[^\w.-]+", "_", "-".join(parts))


class Seen(NamedTuple):
    """What a worker makes of one image.

    Attributes:
        pixels: (k, h, w, 3) uint8, what the network is to look at.
        boxes: (n, 4) float32, boxes that belong to it; n is 0 where there are none.
    """

    pixels: np.ndarray
    boxes: np.ndarray = np.zeros((0, 4), np.float32)


class Pictures(NamedTuple):
    """A batch of what workers saw.

    Attributes:
        rows: (b,) int64, which images.
        pixels: All bytes in one piece, since a piece of shared memory per picture would be slow.
        shapes: (k, h, w, 3) of each image's pixels.
        boxes: Boxes of each image, (n_i, 4).
        complaints: Why images cannot be used that should have been in this batch.
    """

    rows: np.ndarray
    pixels: torch.Tensor
    shapes: list[tuple[int, ...]]
    boxes: list[np.ndarray]
    complaints: list[str]


def complete(
    store: FeatureStore,
    data: CaptionedImages,
    net: torch.nn.Module,
    look: Callable[[Image.Image, int], Seen],
    describe: Callable[[Pictures, torch.Tensor], torch.Tensor],
    *,
    title: str,
    batch_size: int,
    workers: int | None,
    device: str | torch.device | None,
) -> None:
    """Computes the rows that a store lacks, unless another process does so meanwhile.

    Args:
        store: Where the rows go.
        data: The images, all of the data set.
        net: What `describe` computes with; moved to the device.
        look: (upright image, its row) → what the network is to see; runs in the workers.
        describe: (batch, its pixels on the device) → (b, columns of the store); runs here.
        title: Words for the progress bar.
        batch_size: Images in a batch.
        workers: Processes that decode images; None: one per core but one, from one to eight.
        device: Where the network runs; None: the accelerator that accelerate finds, else the CPU.
    """
    if store.file.is_file():
        return
    with store.locked():
        if not store.file.is_file():  # another process may have finished it meanwhile
            store.start()
            device = torch.device(device) if device is not None else PartialState().device
            net.to(device, memory_format=torch.channels_last)
            todo = np.flatnonzero(~store.done)
            _fill(store, data, _loader(data.image_files, todo, look, batch_size, workers, device),
                  lambda seen: describe(seen, seen.pixels.to(device, non_blocking=True)),
                  title)  # fmt: skip
            store.finish()


def _fill(store: FeatureStore, data: CaptionedImages, loader: DataLoader, describe, title) -> None:
    """Writes the rows of all batches to the store."""
    broken: list[str] = []
    recorded = time.monotonic()
    bar = tqdm(total=data.n_images, initial=int(store.done.sum()), unit="image", desc=title)
    try:
        for seen in loader:
            broken += seen.complaints
            if len(seen.rows):
                with np.errstate(over="ignore"):  # too large for float16: told about below
                    values = describe(seen).cpu().numpy().astype(store.dtype)
                _refuse_nan(values, seen.rows, data)
                store.write(seen.rows, values)
            if time.monotonic() - recorded > _SECONDS_BETWEEN_RECORDS:
                store.save_progress()
                recorded = time.monotonic()
            bar.update(len(seen.rows))
    finally:
        store.save_progress()
        bar.close()
    if broken:
        shown = "\n  ".join(broken[:5] + ["…"] * (len(broken) > 5))
        raise DataError(
            f"{len(broken)} of {data.n_images} images cannot be used:\n  {shown}\n"
            "Mend or replace them, or leave them out with "
            "load(…, check_images=True, on_problem='skip') (--check-images --on-problem skip). The "
            "features of the others are kept."
        )


def pooled_features(net: Backbone, images: torch.Tensor) -> torch.Tensor:
    """Bytes of cropped images (b, h, w, 3) on the network's device → (b, 2 * sum(stage_dims))."""
    with torch.inference_mode():
        return pool_stages(net(pictures.normalise(images, net.mean, net.std)))


def forward_seconds(
    net: Backbone, n_images: int, *, batch_size: int = 64, device: str | torch.device | None = None
) -> float:
    """Time of the bare forward pass over so many images that are already in memory, in seconds.

    What `extract` takes more than this is what decoding, pooling and writing cost.
    """
    device = torch.device(device) if device is not None else PartialState().device
    net = net.to(device, memory_format=torch.channels_last)
    shape = (batch_size, 3, net.image_size, net.image_size)
    pixels = torch.rand(shape, device=device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        net(pixels)  # warms up
        _synchronise(device)
        start = time.perf_counter()
        for first in range(0, n_images, batch_size):
            net(pixels[: n_images - first])
        _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _refuse_nan(values: np.ndarray, rows: np.ndarray, data: CaptionedImages) -> None:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        hint = "Use dtype='float32'." if values.dtype == np.float16 else "Are its weights broken?"
        raise DataError(
            f"The backbone gives NaN or infinity for {bad.sum()} images, the first is "
            f"{data.image_files[rows[bad.argmax()]]}. {hint}"
        )


class _Whole:
    """Sees one crop of an image. A class, so that workers can receive it."""

    def __init__(self, crop: Callable[[Image.Image], Image.Image]) -> None:
        self.crop = crop

    def __call__(self, image: Image.Image, row: int) -> Seen:
        return Seen(pictures.to_bytes(self.crop(image))[None])


class _Crops(Dataset):
    """Decodes and looks: item → (row, what was seen, None) or (row, None, complaint)."""

    def __init__(self, files: list[str], rows: np.ndarray, look) -> None:
        self.files, self.rows, self.look = files, rows, look

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[int, Seen | None, str | None]:
        row = int(self.rows[item])
        try:
            image = pictures.open_image(self.files[row])
        except DataError as error:  # told about at the end, together with all others
            return row, None, str(error)
        return row, self.look(image, row), None


def collate(items: list[tuple[int, Seen | None, str | None]]) -> Pictures:
    """Joins items to a batch; images that cannot be used leave a complaint only."""
    good = [(row, seen) for row, seen, _ in items if seen is not None]
    pixels = [seen.pixels.reshape(-1) for _, seen in good]
    return Pictures(
        np.array([row for row, _ in good], dtype=np.int64),
        torch.from_numpy(np.concatenate(pixels)) if pixels else torch.empty(0),
        [seen.pixels.shape for _, seen in good],
        [seen.boxes for _, seen in good],
        [complaint for *_, complaint in items if complaint],
    )


def _loader(files, rows, look, batch_size, workers, device) -> DataLoader:
    if workers is None:
        workers = min(8, max(1, (os.cpu_count() or 2) - 1))  # one core is kept for the network
    if len(rows) <= batch_size:
        workers = 0  # starting processes would take longer than the work
    return DataLoader(
        _Crops([str(file) for file in files], rows, look),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
    )
