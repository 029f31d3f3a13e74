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
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.feature_store import list_files
from xmr_lib.data.records import clean_caption, read_text
from xmr_lib.data.regions import Regions
from xmr_lib.errors import DataError

PER_IMAGE = 5  # captions, in all such folders
SPLITS = {"train": "train", "dev": "val", "test": "test"}
_COMPARED = 20  # images whose copies are looked at


@dataclass(frozen=True, eq=False)
class _Part:
    """The features of one file: every `step`-th of its rows counts."""

    file: Path
    array: np.ndarray  # (n, n_regions, d), memory-mapped
    step: int

    def __len__(self) -> int:
        return len(self.array) // self.step


class LazyRows:
    """Several memory-mapped arrays one after another, read only where rows are asked for.

    Rows that hold NaN or infinity are noticed when they are read.

    Args:
        parts: (file, array (n, n_regions, d), step): every `step`-th row of the array counts.

    Attributes:
        shape: (rows of all parts, n_regions, d).
        dtype: Of the numbers.
        ndim: 3.

    >>> ones, twos = np.ones((2, 1, 3)), np.full((4, 1, 3), 2.0)
    >>> rows = LazyRows([(Path("a.npy"), ones, 1), (Path("b.npy"), twos, 2)])
    >>> rows.shape, rows[[3, 0]].tolist()
    ((4, 1, 3), [[[2.0, 2.0, 2.0]], [[1.0, 1.0, 1.0]]])
    """

    ndim = 3

    def __init__(self, parts: list[tuple[Path, np.ndarray, int]]) -> None:
        self._parts = [_Part(*part) for part in parts]
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])
        self.shape = (int(self._starts[-1]), *self._parts[0].array.shape[1:])
        self.dtype = np.result_type(*(part.array.dtype for part in self._parts))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        """Rows by an integer, a slice, integers or a mask.

        Raises:
            DataError: a row holds NaN or infinity; names it and its file.
        """
        rows = np.arange(len(self))[rows]  # checks bounds, understands negative numbers and masks
        flat = rows.reshape(-1)
        values = np.empty((len(flat), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self._starts, flat, side="right") - 1
        for number, part in enumerate(self._parts):
            mine = np.flatnonzero(owner == number)
            if len(mine):
                values[mine] = self._read(part, (flat[mine] - self._starts[number]) * part.step)
        return values.reshape(*rows.shape, *self.shape[1:])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """Everything in memory."""
        return np.asarray(self[:], dtype)

    @staticmethod
    def _read(part: _Part, rows: np.ndarray) -> np.ndarray:
        values = part.array[rows]
        bad = ~np.isfinite(values).all(axis=(1, 2))
        if bad.any():
            raise DataError(
                f"{part.file}: row {rows[bad.argmax()]} (counted from 0) holds NaN or infinity. "
                "Was the download damaged? Fetch the file again."
            )
        return values


def recognise(folder: Path | str) -> bool:
    """Whether a folder holds features and captions as SCAN names them."""
    folder = Path(folder)
    return any(
        (folder / f"{name}_ims.npy").is_file() and (folder / f"{name}_caps.txt").is_file()
        for name in (*SPLITS, "testall")
    )


def load(folder: Path | str) -> tuple[CaptionedImages, Regions]:
    """Captions and ready-made regions of a folder in SCAN's format.

    "dev" becomes the split "val". Where there is `testall_ims.npy` (MS-COCO's 5,000 test images),
    it is the split "test", and `test_ims.npy`, its first 1,000, is left alone; otherwise
    `test_ims.npy` is. All images of "dev" are kept, of which the peers used the first 1,000 only:
    take `val.subset(np.arange(1000))` to do as they did. Splits may be missing.

    Args:
        folder: Such as `f30k_precomp`; its name becomes the data set's.

    Returns:
        The captions, whose `image_files` are no files but labels, `folder / id` (without ids:
        `folder / "train-0"` …); and the regions, whose `array` reads rows when they are asked for.
        Vectors (n, d) come as one region per image.

    Raises:
        DataError: nothing there, a truncated or unfit file, captions or ids that do not fit the
            features, empty captions, rows that are not five-fold after all; names the file.

    >>> data, regions = load("data/f30k_precomp")  # doctest: +SKIP
    >>> regions.of(data.split("test")).shape  # doctest: +SKIP
    (1000, 36, 2048)
    """
    folder = Path(folder).expanduser().resolve()
    if not recognise(folder):
        raise DataError(
            f"{folder}: there are no such files as train_ims.npy and train_caps.txt. "
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
    rows = LazyRows(parts)
    data = CaptionedImages(
        folder.name,
        tuple(labels),
        tuple(captions),
        np.repeat(np.arange(len(rows)), PER_IMAGE),
        np.array(splits),
        np.arange(len(rows)),
    )
    counts = np.full(len(rows), rows.shape[1])
    key = hashlib.sha256("\n".join(list_files(tuple(files))).encode()).hexdigest()
    return data, Regions(rows, counts, None, "precomputed", "precomputed", "none", key, folder)


def _open(file: Path) -> np.ndarray:
    """Maps features into memory: (n, n_regions, d)."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{file}: is missing, though its captions are there.") from None
    except (OSError, ValueError, EOFError) as error:
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
