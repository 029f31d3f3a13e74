"""Photographs with captions: any number of captions per image, in named splits.

`load` reads annotation files of many kinds (see `formats.py`) and finds the images. The result is
one small frozen value: rows of features are in the order of its images, and each caption has the
index of its image.
"""

from __future__ import annotations

import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from xmr_lib import toy
from xmr_lib.data.file_names import pictures_below, plain_name, stem
from xmr_lib.data.finding import FORMATS, READERS, find_annotations, find_images, split_by_lists
from xmr_lib.data.formats import split_of_file
from xmr_lib.data.images import open_image
from xmr_lib.data.records import Row
from xmr_lib.data.splits import assign_splits
from xmr_lib.errors import DataError, UnknownNameError

_ARCHIVES = (".tar", ".zip", ".tgz", ".tar.gz")
_SHOWN = 5  # problems named in a message; the others are counted


@dataclass(frozen=True, eq=False)
class CaptionedImages:
    """Images, their captions, and which caption belongs to which image."""

    name: str  # "toy", "flickr8k", …; what cannot stand in a folder's name is replaced
    image_files: tuple[Path, ...]  # (n_images,) absolute paths
    captions: tuple[str, ...]  # (n_captions,) raw text, in the order of the images
    image_of_caption: np.ndarray  # (n_captions,) int64, never decreasing, no image left out
    splits: np.ndarray  # (n_images,) names: "train", "val", "test", …
    # (n_images,) int64, places in the data set that this one was cut from: features lie by them.
    rows: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", plain_folder_name(self.name))
        owners = np.asarray(self.image_of_caption)
        sizes = len(owners), len(self.splits), len(self.rows)
        if sizes != (self.n_captions, self.n_images, self.n_images):
            raise DataError("image_of_caption has one value a caption; splits and rows, an image.")
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


def plain_folder_name(name: str) -> str:
    """A name that can be a folder's on every system, and never leads out of the folder above.

    >>> plain_folder_name("../../x: y")
    'x- y'
    """
    return re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]+', "-", name).strip("-. ")[:80] or "data"


def load(
    source: str | Path,
    *,
    format: str | None = None,
    protocol: str | None = None,
    images: str | Path | None = None,
    restval: bool = True,
    on_problem: str = "raise",
    check_images: bool = False,
) -> CaptionedImages:
    """Reads images and captions.

    Rows that mean the same image file are joined, whatever they call it (see `file_names.match`).

    Args:
        source: "toy" for the drawn scenes, "toy:sketch" for the same in another style (see
            `xmr_lib.toy.styles`); else an annotation file, or a folder with one file for all or
            for each split, in any of `FORMATS`.
        format: One of `FORMATS`; None: recognised from the files.
        protocol: Which images are for training, validation and test: "karpathy", "rfe" or None,
            see `splits.assign_splits`. Where neither the annotations nor lists of names beside
            them say it, images are divided 80/10/10 by the SHA-256 of their names.
        images: Folder of the images, if they are neither beside the annotations nor below.
        restval: Count MS-COCO's "restval" images as training images (as all papers since VSE++).
        on_problem: "raise", or "skip" to leave out what cannot be used, with one warning.
        check_images: Also decode every image, to find broken ones before any work starts.
            Otherwise the extraction of features finds them.

    Raises:
        DataError: Something cannot be read; names file and line, and all problems at once.
        UnknownNameError: There is no such format or protocol.
        MissingDependencyError: A Hugging Face data set, and `datasets` is not installed.

    >>> from xmr_lib.data import captioned
    >>> flickr = captioned.load("flickr8k/dataset_flickr8k.json")  # doctest: +SKIP
    >>> flickr.split("val").n_images  # doctest: +SKIP
    1000
    """
    kind, _, style = str(source).partition(":")
    if kind == "toy" and not Path(source).exists():
        source = toy.draw(style=style or "plain")
    if format is not None and format not in READERS:
        raise UnknownNameError("annotation format", format, FORMATS)
    if on_problem not in ("raise", "skip"):
        raise UnknownNameError("way to treat problems", on_problem, ("raise", "skip"))
    source = Path(source).expanduser().resolve()
    files, format = find_annotations(source, format)
    parent = Path(os.path.commonpath([f if f.is_dir() else f.parent for f in files]))
    name, rows, problems = _read(files, format, parent)
    bases = _image_folders(source, parent, images)
    names = list(dict.fromkeys(row.image for row in rows))
    paths = dict(zip(names, find_images(names, bases), strict=True))
    if names and not any(paths.values()):
        raise DataError(_nothing_found(files[0], names, bases[-1]))
    if all(row.split is None for row in rows):
        rows = split_by_lists(rows, parent)
    entries, more = _join(rows, paths, bases[-1])
    problems += more
    if check_images:
        broken = _undecodable(list(entries))
        problems += broken.values()
        entries = {path: entry for path, entry in entries.items() if path not in broken}
    if problems:
        _tell(files[0], problems, on_problem)
    if not entries:
        raise DataError(f"{files[0]}: not one image with a caption is left.")
    splits = [entry.split for entry in entries.values()]
    bare = [plain_name(entry.image).rpartition("/")[2] for entry in entries.values()]
    return CaptionedImages(
        name,
        tuple(entries),
        tuple(caption for entry in entries.values() for caption in entry.captions),
        np.repeat(np.arange(len(entries)), [len(entry.captions) for entry in entries.values()]),
        assign_splits(bare, splits, protocol, restval=restval),
        np.arange(len(entries)),
    )


def _read(files: list[Path], format: str, parent: Path) -> tuple[str, list[Row], list[str]]:
    """The data set's name, the rows of all files, and problems with some of them."""
    rows, problems = [], []
    for file in files:
        found = READERS[format](file)
        if len(files) > 1:  # each file is a split; a single file holds all splits
            place = str(file.relative_to(parent))
            found.problems = [f"{place}, {problem}" for problem in found.problems]
            for row in found.rows:
                row.where = f"{place}, {row.where}"
                row.split = split_of_file(file) if row.split is None else row.split
                if file.parent != parent:  # image names are relative to their own file
                    row.image = f"{file.parent.name}/{row.image}"
        problems += found.problems
        rows += found.rows
    return (found.name if file.parent == parent else parent.name), rows, problems


def _image_folders(source: Path, parent: Path, images: str | Path | None) -> list[Path]:
    """Folders to look for images in and below, the likeliest first."""
    if images is None:
        above = parent.parent if parent.name == "annotations" else parent
        return list(dict.fromkeys([parent, above, source if source.is_dir() else above]))
    folder = Path(images).expanduser().resolve()
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of images.")
    return [folder]


def _join(
    rows: list[Row], paths: dict[str, Path | None], folder: Path
) -> tuple[dict[Path, Row], list[str]]:
    """One row for each image file with all its captions, and the problems with single rows."""
    entries: dict[Path, Row] = {}
    problems: dict[str, None] = {}
    near: dict[str, list[str]] = {}
    for row in rows:
        path, problem = paths[row.image], None
        if path is None:
            for each in [] if near else pictures_below(folder):
                near.setdefault(stem(each), []).append(each)
            alike = near.get(stem(row.image), ())
            hint = f" (there is {', '.join(alike[:3])})" if alike else ""
            problem = f"there is no image file {row.image}{hint}"
        elif row.split == "":
            problem = f"the split of {row.image} is empty"
        elif path not in entries and path.stat().st_size == 0:
            problem = f"the image file {path} is empty (0 bytes)"
        elif path not in entries:
            entries[path] = row
        elif row.split != entries[path].split:
            both = f"{entries[path].split!r} and {row.split!r}"
            problem = f"{row.image} is in two splits, {both}"
        else:
            entries[path].captions.extend(row.captions)
        if problem:
            problems.setdefault(problem, row.where)
    for path, entry in list(entries.items()):
        if not entry.captions:
            problems.setdefault(f"{entry.image} has no caption", entry.where)
            del entries[path]
    return entries, [f"{where}: {complaint}" for complaint, where in problems.items()]


def _undecodable(files: list[Path]) -> dict[Path, str]:
    """Decodes images (the decoder lets threads run side by side); why each broken one is."""

    def complaint(file: Path) -> str | None:
        try:
            open_image(file)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checks = tqdm(pool.map(complaint, files), "checking images", len(files), unit="image")
        return {file: reason for file, reason in zip(files, checks, strict=True) if reason}


def _tell(file: Path, problems: list[str], on_problem: str) -> None:
    count = "1 problem" if len(problems) == 1 else f"{len(problems):,} problems"
    shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
    if len(problems) > _SHOWN:
        shown += f"\n  … and {len(problems) - _SHOWN:,} more"
    if on_problem == "skip":
        warnings.warn(f"{file}: left out because of {count}:{shown}", stacklevel=3)
    else:
        raise DataError(
            f"{file}: {count}:{shown}\nMend the data, or leave these out: "
            "on_problem='skip' (--on-problem skip)."
        )


def _nothing_found(file: Path, names: list[str], folder: Path) -> str:
    packed = [path.name for path in folder.iterdir() if path.name.endswith(_ARCHIVES)]
    alike = [each for each in pictures_below(folder) if stem(each) == stem(names[0])]
    hint = f" Unpack {packed[0]}?" if packed else f" There is {alike[0]}." if alike else ""
    return (
        f"{file}: none of its {len(names):,} images (such as {names[0]}) is in {folder} or its "
        f"subfolders.{hint} Say where they are: images=FOLDER (--images FOLDER)."
    )
