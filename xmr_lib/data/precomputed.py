"""Folders of ready-made regions as SCAN and its successors read them.

Such a folder holds for each split

- `train_ims.npy`: (n, 36, 2048), regions of bottom-up attention, or (n, d), one vector per image;
- `train_caps.txt`: one caption per line, five for each image, in the order of the images;
- `train_ids.txt`, which may be missing: one image id per row of the features;

and the same with `dev_`, `test_` or `testall_`. They come in two forms: every image once (five
captions per row), or every image five times in a row (one caption per row). Both are read, and
nothing is loaded before it is asked for: Flickr30K's files alone have 9 GB, MS-COCO's 36 GB.

Boxes were not kept in such files, so attention cannot be drawn on the pictures; `bottom_up` reads
the files that they come from.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.records import clean_caption, read_text
from xmr_lib.data.regions import Regions
from xmr_lib.data.shards import Rows, content_keys
from xmr_lib.errors import DataError

PER_IMAGE = 5  # captions, in all such folders
SPLITS = {"train": "train", "dev": "val", "test": "test"}
_COMPARED = 20  # images whose copies are looked at


class _FileRows(Rows):
    """Rows of files (n, n_regions, d), of which every `step`-th counts; checked when they are read.

    Args:
        parts: (file, array, step) of each file.
        pooled: Give (n, 2 * d): one vector an image, as average and as max pool.
    """

    def __init__(self, parts: list[tuple[Path, np.ndarray, int]], pooled: bool = False) -> None:
        self._files = [file for file, *_ in parts]
        _, self._n_regions, dim = parts[0][1].shape
        lengths = [len(array) // step for _, array, step in parts]
        steps = np.repeat([step for *_, step in parts], lengths)
        place = np.concatenate([np.arange(length) for length in lengths]) * steps
        counts = None if pooled else np.full(len(place), self._n_regions)
        flat = [array.reshape(-1, dim) for _, array, _ in parts]
        owner = np.repeat(np.arange(len(parts)), lengths)
        super().__init__(flat, owner, place * self._n_regions, counts)
        if pooled:
            self.shape = (len(place), 2 * dim)

    def _read(self, number: int, places: np.ndarray) -> np.ndarray:
        values = super()._read(number, places)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise DataError(
                f"{self._files[number]}: row {places[bad.argmax()] // self._n_regions} (counted "
                "from 0) holds NaN or infinity. Was the download damaged? Fetch the file again."
            )
        return values if self.ndim == 3 else np.tile(values, 2)


def recognise(folder: Path | str) -> bool:
    """Whether a folder holds features and captions as SCAN names them."""
    folder = Path(folder)
    return any(
        (folder / f"{name}_ims.npy").is_file() and (folder / f"{name}_caps.txt").is_file()
        for name in (*SPLITS, "testall")
    )


def load(folder: Path | str, *, pooled: bool = False) -> tuple[CaptionedImages, Regions | Features]:
    """Captions and ready-made features of a folder in SCAN's format.

    "dev" becomes the split "val". Where there is `testall_ims.npy` (MS-COCO's 5,000 test images),
    it is the split "test", and `test_ims.npy`, its first 1,000, is left alone; otherwise
    `test_ims.npy` is. All images of "dev" are kept, of which the peers used the first 1,000 only:
    take `val.subset(np.arange(1000))` to do as they did. Splits may be missing.

    Args:
        folder: Such as `f30k_precomp`; its name becomes the data set's.
        pooled: Give one vector an image (for VSE++), which takes files of vectors (n, d); they
            count as average and max pool of C4. Otherwise vectors come as one region an image.

    Returns:
        The captions, whose `image_files` are no files but labels, `folder / id` (without ids:
        `folder / "train-0"` …); and the features, whose `array` reads rows when they are asked for.

    Raises:
        DataError: Nothing there, a truncated or unfit file, captions or ids that do not fit the
            features, empty captions, rows that are not five-fold after all, regions where vectors
            are needed; names the file.

    >>> data, regions = load("data/f30k_precomp")  # doctest: +SKIP
    >>> regions.of(data.split("test")).shape  # doctest: +SKIP
    (1000, 36, 2048)
    """
    folder = Path(folder).expanduser().resolve()
    if not recognise(folder):
        raise DataError(
            f"{folder}: holds no files like train_ims.npy and train_caps.txt. "
            "Name the folder that holds them (f30k_precomp, coco_precomp)."
        )
    parts, labels, captions, splits, files = [], [], [], [], []
    for name, split in SPLITS.items():
        if split == "test" and (folder / "testall_ims.npy").is_file():
            name = "testall"
        file, lines = folder / f"{name}_ims.npy", folder / f"{name}_caps.txt"
        if not file.is_file() and not lines.is_file():
            continue
        array, texts = _open(file), _captions(lines)
        part = file, array, _step(file, array, lines, len(texts))
        n_images = len(texts) // PER_IMAGE
        labels += _labels(folder, name, len(array), part[2], n_images)
        parts.append(part)
        captions += texts
        splits += [split] * n_images
        files += [file, lines]
    _same_shape(parts)
    if pooled and parts[0][1].shape[1] > 1:
        raise DataError(
            f"{folder}: holds {parts[0][1].shape[1]} regions an image, for models that compare "
            "regions: SCAN, SCAN-RFE and SMFEA. VSE++ and RFE take whole images: train them on "
            "photographs, or VSE++ on a folder of one vector an image, (n, d)."
        )
    rows = _FileRows(parts, pooled)
    data = CaptionedImages(
        folder.name,
        tuple(labels),
        tuple(captions),
        np.repeat(np.arange(len(rows)), PER_IMAGE),
        np.array(splits),
        np.arange(len(rows)),
    )
    key = hashlib.sha256("\n".join(content_keys(files)).encode()).hexdigest()
    if pooled:
        dims = (0, 0, 0, rows.shape[1] // 2)
        return data, Features(rows, dims, "precomputed", "none", key, folder)
    counts = np.full(len(rows), rows.shape[1])
    return data, Regions(rows, counts, None, "precomputed", "precomputed", "none", key, folder)


def _open(file: Path) -> np.ndarray:
    """Maps features into memory: (n, n_regions, d)."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{file}: is missing, though its captions are there.") from None
    except (OSError, ValueError, EOFError) as error:
        if "object" in str(error).lower():
            raise DataError(
                f"{file}: holds Python objects instead of numbers, probably one array an image. "
                "Reading them could run code that is in the file. If you trust it, save it as "
                "numbers: a = numpy.load(FILE, allow_pickle=True), then "
                "numpy.save(FILE, numpy.stack(list(a)).astype('float32'))."
            ) from None
        raise DataError(
            f"{file}: truncated or not a .npy file ({error}). The file has "
            f"{file.stat().st_size:,} bytes; fetch it again, or unpack the archive again."
        ) from None
    if array.ndim not in (2, 3) or not np.issubdtype(array.dtype, np.floating) or not array.size:
        raise DataError(
            f"{file}: holds {array.dtype} of shape {array.shape}. Expected are floating-point "
            "numbers (n, n_regions, d), such as (29000, 36, 2048), or (n, d)."
        )
    return array if array.ndim == 3 else array[:, None]


def _captions(file: Path) -> list[str]:
    lines = read_text(file).split("\n")  # not splitlines(), which knows more ends of lines
    if not lines[-1].strip():
        lines.pop()
    lines = [clean_caption(line) for line in lines]
    empty = [number for number, line in enumerate(lines, start=1) if not line]
    if empty:
        shown = ", ".join(map(str, empty[:5])) + (", …" if len(empty) > 5 else "")
        raise DataError(
            f"{file}: {len(empty)} captions are empty (line {shown}). Write a caption there: "
            "without the line, all that follow would belong to other images."
        )
    return lines


def _step(file: Path, array: np.ndarray, lines: Path, n_captions: int) -> int:
    """1 if every image is there once, 5 if five times."""
    n = len(array)
    if n * PER_IMAGE == n_captions:
        return 1
    if n != n_captions or n % PER_IMAGE:
        raise DataError(
            f"{lines}: {n_captions:,} captions do not fit the {n:,} rows of {file.name}. Expected "
            f"are {PER_IMAGE} captions per row ({n * PER_IMAGE:,}), or one per row where every "
            f"image stands there {PER_IMAGE} times. Are both files of the same download?"
        )
    images = np.unique(np.linspace(0, n // PER_IMAGE - 1, _COMPARED).astype(int))
    for first in images * PER_IMAGE:
        copies = array[first : first + PER_IMAGE]
        if not np.array_equal(copies, np.broadcast_to(copies[:1], copies.shape), equal_nan=True):
            raise DataError(
                f"{file}: as many rows as captions ({n:,}), so every image should stand there "
                f"{PER_IMAGE} times, but rows {first} to {first + PER_IMAGE - 1} (counted from 0) "
                f"differ. Were rows shuffled, or is there only one caption per image?"
            )
    return PER_IMAGE


def _labels(folder: Path, name: str, n_rows: int, step: int, n_images: int) -> list[Path]:
    """One label per image, from `*_ids.txt` where it is there."""
    file = folder / f"{name}_ids.txt"
    if not file.is_file():
        return [folder / f"{name}-{i}" for i in range(n_images)]
    ids = read_text(file).split()
    if len(ids) == n_rows:
        ids = ids[::step]
    elif len(ids) != n_images:
        raise DataError(
            f"{file}: {len(ids):,} ids for {n_rows:,} rows of {name}_ims.npy. Expected is one per "
            "row. Mend the file, or remove it: images are numbered then."
        )
    return [folder / each for each in ids]


def _same_shape(parts: list[tuple[Path, np.ndarray, int]]) -> None:
    file, array, _ = parts[0]
    for other, another, _ in parts[1:]:
        if another.shape[1:] != array.shape[1:]:
            raise DataError(
                f"{other}: regions are {another.shape[1:]} there, but {array.shape[1:]} in "
                f"{file.name}. All splits must come from one network."
            )
