"""Photographs with captions: any number of captions per image, in named splits.

`load` reads the usual annotation files (see `formats.py`) and finds the image files. The result
is one small frozen value that everything else takes: features are rows in the order of its images,
captions carry an explicit index of their image.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xmr_lib.data import formats
from xmr_lib.errors import DataError, UnknownNameError

READERS = {"karpathy": formats.read_karpathy, "table": formats.read_table}
FORMATS = tuple(READERS)

IMAGE_FOLDERS = (
    ".",
    "images",
    "Images",
    "Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "flickr30k-images",
    "flickr30k_images",
    "train2014",
    "val2014",
    "train2017",
    "val2017",
)


@dataclass(frozen=True, eq=False)
class CaptionedImages:
    """Images, their captions, and which caption belongs to which image.

    Attributes:
        name: Name of the data set ("toy", "flickr8k", a folder's name).
        image_files: (n_images,) absolute paths.
        captions: (n_captions,) raw text, grouped by image, in the order of the images.
        image_of_caption: (n_captions,) int64, never decreasing; every image has a caption.
        splits: (n_images,) names: "train", "val", "test", …
        rows: (n_images,) int64, place of each image in the data set that this one was cut from:
            features are stored by it.
    """

    name: str
    image_files: tuple[Path, ...]
    captions: tuple[str, ...]
    image_of_caption: np.ndarray
    splits: np.ndarray
    rows: np.ndarray

    def __post_init__(self) -> None:
        owners = np.asarray(self.image_of_caption)
        if owners.shape != (self.n_captions,):
            raise DataError(f"{self.n_captions} captions, but {owners.shape} indices of images.")
        if len(self.splits) != self.n_images or len(self.rows) != self.n_images:
            raise DataError("splits and rows must have one value per image.")
        if not np.array_equal(np.unique(owners), np.arange(self.n_images)):
            raise DataError("Every image needs at least one caption, and every caption an image.")
        if (np.diff(owners) < 0).any():
            raise DataError("Captions must be in the order of their images.")

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.image_files)

    @property
    def n_captions(self) -> int:
        """Number of captions."""
        return len(self.captions)

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of the splits that have images, in order of appearance."""
        return tuple(dict.fromkeys(self.splits.tolist()))

    def split(self, name: str) -> CaptionedImages:
        """The images of one split with their captions, numbered anew.

        Raises:
            DataError: no such split; names those there are.
        """
        if name not in self.split_names:
            raise DataError(
                f"{self.name} has no split {name!r}; it has {', '.join(self.split_names)}."
            )
        return self.subset(np.flatnonzero(self.splits == name))

    def subset(self, images: np.ndarray) -> CaptionedImages:
        """The given images, in the given order, with their captions, numbered anew.

        Args:
            images: (m,) indices. `rows` still says where they came from.
        """
        images = np.asarray(images, dtype=np.int64)
        first = np.searchsorted(self.image_of_caption, np.arange(self.n_images + 1))
        captions = [c for i in images for c in self.captions[first[i] : first[i + 1]]]
        counts = np.diff(first)[images]
        return CaptionedImages(
            self.name,
            tuple(self.image_files[i] for i in images),
            tuple(captions),
            np.repeat(np.arange(len(images)), counts),
            self.splits[images],
            self.rows[images],
        )

    def as_whole(self) -> CaptionedImages:
        """The same images as a data set of its own: `rows` count from 0 again."""
        return replace(self, rows=np.arange(self.n_images))

    def captions_of(self, image: int) -> tuple[str, ...]:
        """All captions of one image."""
        first, last = np.searchsorted(self.image_of_caption, [image, image + 1])
        return self.captions[first:last]


def load(
    source: str | Path,
    *,
    format: str | None = None,
    protocol: str | None = None,
    images: str | Path | None = None,
    restval: bool = True,
    on_problem: str = "raise",
) -> CaptionedImages:
    """Reads images and captions.

    Args:
        source: "toy" for the drawn scenes; else an annotation file, or a folder that holds one.
        format: One of `FORMATS`; None: recognised from what lies there.
        protocol: Which images are for training, validation and test. "karpathy": as the file
            says. None: as the file says, or, where it says nothing, 80/10/10 by the SHA-256 of
            the file name.
        images: Folder of the images, where they do not lie beside the annotation file.
        restval: Count MS-COCO's "restval" images as training images (as all papers since VSE++).
        on_problem: "raise", or "skip" to leave out what cannot be used, with one warning.

    Raises:
        DataError: something cannot be read; names file and line, and all problems at once.
    """
    if str(source) == "toy" and not Path(source).exists():
        from xmr_lib.data import toy

        return toy.load()
    if format is not None and format not in READERS:
        raise UnknownNameError("annotation format", format, FORMATS)
    source = Path(source).expanduser().resolve()
    file, format = _annotation_file(source, format)
    found = READERS[format](file)
    folder = Path(images).expanduser().resolve() if images is not None else file.parent
    return _assemble(found, file, folder, restval=restval, on_problem=on_problem)


def _annotation_file(source: Path, format: str | None) -> tuple[Path, str]:
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder.")
    if source.is_file():
        found = format or formats.recognise(source)
        if found is None:
            raise DataError(f"{source}: not an annotation file of a known format.")
        return source, found
    candidates = [(path, formats.recognise(path)) for path in sorted(source.iterdir())]
    for name in READERS:
        hits = [path for path, kind in candidates if kind == name and format in (None, name)]
        if hits:
            return hits[0], name
    raise DataError(f"{source}: holds no annotation file of a known format.")


def _assemble(
    found: formats.Annotations, file: Path, folder: Path, *, restval: bool, on_problem: str
) -> CaptionedImages:
    problems = list(found.problems)
    folders = [folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()]
    entries, files = [], []
    for entry in found.entries:
        path = next((f / entry.image for f in folders if (f / entry.image).is_file()), None)
        captions = [caption.strip() for caption in entry.captions]
        if path is None:
            problems.append(f"{entry.where}: no image file {entry.image}")
        elif not captions or not all(captions):
            problems.append(f"{entry.where}: empty caption of {entry.image}")
        else:
            entries.append(replace(entry, captions=captions))
            files.append(path)
    if problems:
        shown = "; ".join(problems[:5])
        message = f"{file}: {len(problems)} problems: {shown}"
        if on_problem == "raise":
            raise DataError(message)
        warnings.warn(message, stacklevel=3)
    splits = [entry.split or _hash_split(entry.image) for entry in entries]
    if restval:
        splits = ["train" if name == "restval" else name for name in splits]
    return CaptionedImages(
        found.name,
        tuple(files),
        tuple(caption for entry in entries for caption in entry.captions),
        np.repeat(np.arange(len(entries)), [len(entry.captions) for entry in entries]),
        np.array(splits, dtype=str),
        np.arange(len(entries)),
    )


def _hash_split(name: str) -> str:
    """The split of an image in 80/10/10, which stays the same when others are added."""
    place = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 0x1_0000_0000
    return "train" if place < 0.8 else "val" if place < 0.9 else "test"
