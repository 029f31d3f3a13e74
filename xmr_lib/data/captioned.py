"""Photographs with captions: any number of captions per image, in named splits.

`load` reads the usual annotation files (see `formats.py`) and finds the image files. The result
is one small frozen value that everything else takes: features are rows in the order of its images,
captions carry an explicit index of their image.
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
from xmr_lib.data import formats, hub
from xmr_lib.data.images import open_image
from xmr_lib.data.splits import assign_splits
from xmr_lib.errors import DataError, UnknownNameError

# Where a folder holds several annotation files, the format that tells more comes first.
READERS = {
    "karpathy": formats.read_karpathy,
    "coco": formats.read_coco,
    "flickr-token": formats.read_flickr_token,
    "table": formats.read_table,
    "hf": hub.read_saved_dataset,
}
FORMATS = tuple(READERS)

# Where images lie, seen from the annotation file or from the folder that is given for them.
IMAGE_FOLDERS = (
    ".",
    "images",
    "Images",
    "Flicker8k_Dataset",  # sic
    "Flickr8k_Dataset",
    "flickr30k-images",
    "flickr30k_images",
    "train2014",
    "val2014",
    "test2014",
    "train2017",
    "val2017",
)
_ARCHIVES = (".tar", ".zip", ".tgz", ".tar.gz")
_SHOWN = 5  # problems named in a message; the others are counted


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
    check_images: bool = False,
) -> CaptionedImages:
    """Reads images and captions.

    Args:
        source: "toy" for the drawn scenes, "toy:sketch" for the same in another style (see
            `xmr_lib.toy.styles`); else an annotation file, or a folder that holds one
            (or MS-COCO's several `captions_*.json`, which are joined).
        format: One of `FORMATS`; None: recognised from what lies there.
        protocol: Which images are for training, validation and test: "karpathy", "rfe" or None,
            see `xmr_lib.data.splits.assign_splits`. Files without splits are divided 80/10/10 by
            the SHA-256 of the file names.
        images: Folder of the images, where they do not lie beside the annotation file or in one
            of `IMAGE_FOLDERS` there.
        restval: Count MS-COCO's "restval" images as training images (as all papers since VSE++).
        on_problem: "raise", or "skip" to leave out what cannot be used, with one warning.
        check_images: Also decode every image, to find broken ones before any work starts.
            Otherwise `extract` finds them.

    Raises:
        DataError: something cannot be read; names file and line, and all problems at once.
        UnknownNameError: no such format or protocol.
        MissingDependencyError: a Hugging Face data set, and `datasets` is not installed.

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
    files, format = find_annotations(Path(source).expanduser().resolve(), format)
    found = [READERS[format](file) for file in files]
    entries = [entry for each in found for entry in each.entries]
    problems = [problem for each in found for problem in each.problems]
    names = [entry.image for entry in entries]
    splits = assign_splits(names, [e.split for e in entries], protocol, restval=restval)

    folder = Path(images).expanduser().resolve() if images is not None else files[0].parent
    if images is not None and not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of images.")
    paths = find_images(names, folder)
    if entries and not any(paths):
        raise DataError(_nothing_found(files[0], names, folder))
    usable: list[int] = []
    seen: set[Path] = set()
    for number, (entry, path) in enumerate(zip(entries, paths, strict=True)):
        if complaint := _complaint(entry, path, seen):
            problems.append(f"{entry.where}: {complaint}")
        else:
            usable.append(number)
            seen.add(path)
    if check_images:
        broken = _undecodable([paths[n] for n in usable])
        problems += broken.values()
        usable = [n for n in usable if paths[n] not in broken]
    if problems:
        _tell(files[0], problems, on_problem)
    if not usable:
        raise DataError(f"{files[0]}: not one image with a caption is left.")
    return CaptionedImages(
        found[0].name,
        tuple(paths[n] for n in usable),
        tuple(caption for n in usable for caption in entries[n].captions),
        np.repeat(np.arange(len(usable)), [len(entries[n].captions) for n in usable]),
        splits[usable],
        np.arange(len(usable)),
    )


def find_annotations(source: Path, format: str | None = None) -> tuple[list[Path], str]:
    """The annotation file that a path names or a folder holds, and its format.

    Raises:
        DataError: nothing there, nothing recognisable, or several that could be meant.
    """
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder.")
    if source.is_file() or formats.recognise(source):
        found = format or formats.recognise(source)
        if found is None:
            formats.read_text(source)  # empty or not text: says that instead
            if source.suffix.lower() == ".json":
                formats.read_json(source)
            raise DataError(
                f"{source}: the format cannot be recognised. Name it with format=… "
                f"({', '.join(FORMATS)}), or write a table with the header image,caption."
            )
        return [source], found
    inside = sorted(source.iterdir()) + sorted(source.glob("annotations/*"))
    kinds = {path: formats.recognise(path) for path in inside}
    for name in READERS if format is None else [format]:
        hits = [path for path, kind in kinds.items() if kind == name]
        if name == "flickr-token":  # Flickr8k comes with its captions lemmatised, too
            hits = [path for path in hits if ".lemma." not in path.name] or hits
        years = {re.sub(r".*_(train|val|test)", "", path.stem) for path in hits}
        if len(hits) > 1 and (name != "coco" or len(years) > 1):
            files = ", ".join(path.name for path in hits)
            raise DataError(f"{source}: holds several annotation files. Name one of {files}.")
        if hits:
            return hits, name
    shown = ", ".join(path.name for path in inside[:8]) + (", …" if len(inside) > 8 else "")
    raise DataError(
        f"{source}: holds no annotation file of the format {format or ' / '.join(FORMATS)}. "
        f"It holds: {shown or 'nothing'}. Put a file captions.csv there with the header "
        "image,caption and one row per caption, or name the file and its format."
    )


def find_images(names: list[str], folder: Path) -> list[Path | None]:
    """The files of images, looked for in a folder and its `IMAGE_FOLDERS`; None: not there."""
    bases = [folder.parent, folder] if folder.name == "annotations" else [folder]
    folders = [base / name for base in bases for name in IMAGE_FOLDERS if (base / name).is_dir()]
    paths = []
    for name in names:
        hit = next((f for f in folders if os.path.isfile(f / name)), None)
        paths.append(hit / name if hit else None)
        if hit and hit is not folders[0]:  # the next one probably lies in the same folder
            folders.remove(hit)
            folders.insert(0, hit)
    return paths


def _complaint(entry: formats.Entry, path: Path | None, seen: set[Path]) -> str | None:
    """Why an image cannot be used; None: it can."""
    if path is None:
        return f"there is no image file {entry.image}"
    if path in seen:
        return f"{entry.image} is listed a second time"
    if path.stat().st_size == 0:
        return f"the image file {path} is empty (0 bytes)"
    if not entry.captions:
        return f"{entry.image} has no caption"
    return None


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
    hint = f" Unpack {packed[0]}?" if packed else ""
    return (
        f"{file}: none of its {len(names):,} images (such as {names[0]}) is in {folder} or its "
        f"usual subfolders.{hint} Say where they are: load(…, images=FOLDER)."
    )
