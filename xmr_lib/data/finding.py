"""Finds the parts of a data set in a folder: annotation files, images, lists of splits."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from xmr_lib.data import formats, hub
from xmr_lib.data.file_names import match, pictures_below
from xmr_lib.data.formats import split_of_file
from xmr_lib.data.records import SPLITS, Row, read_text
from xmr_lib.errors import DataError

# Where a folder holds several annotation files, the format that tells more comes first.
READERS = {
    "karpathy": formats.read_karpathy,
    "coco": formats.read_coco,
    "flickr-token": formats.read_flickr_token,
    "table": formats.read_table,
    "json": formats.read_records,
    "hf": hub.read_saved_dataset,
    "text-files": formats.read_text_files,
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


def find_annotations(source: Path, format: str | None = None) -> tuple[list[Path], str]:
    """The annotation files that a path names or a folder holds, and their format.

    Several files are taken where their names differ in the split alone (`train.csv`, `test.csv`,
    `captions_val2014.json`).

    Raises:
        DataError: Nothing is there, nothing is recognisable, or several files could be meant.
    """
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder.")
    if source.is_file() or formats.recognise(source):
        found = format or formats.recognise(source)
        if found is None:
            raise DataError(formats.why_not(source))
        return [source], found
    for pattern in (("*", "annotations/*"), ("*/*",)):
        inside = sorted(path for each in pattern for path in source.glob(each))
        kinds = {path: formats.recognise(path) for path in inside if path.name[0] != "."}
        for name in READERS if format is None else [format]:
            hits = [path for path, kind in kinds.items() if kind == name]
            if name == "flickr-token":  # Flickr8k comes with its captions lemmatised, too
                hits = [path for path in hits if ".lemma." not in path.name] or hits
            if _are_unlike(hits):
                hits = [path for path in hits if "caption" in path.name.lower()] or hits
            if _are_unlike(hits):
                files = ", ".join(str(path.relative_to(source)) for path in hits[:8])
                more = ", …" if len(hits) > 8 else ""
                raise DataError(
                    f"{source}: holds several annotation files. Name one of {files}{more}."
                )
            if hits:
                return hits, name
    if format in (None, "text-files") and formats.text_files(source):
        return [source], "text-files"
    raise DataError(formats.why_none(source, format))


def _are_unlike(files: list[Path]) -> bool:
    """Whether files differ in more than the split (as those of MS-COCO's two years do)."""
    words = "|".join(sorted(SPLITS, key=len, reverse=True))
    without = {re.sub(words, "", file.name.lower()) for file in files}
    return len(without) > 1 or len(set(map(split_of_file, files))) < len(files)


def find_images(names: Sequence[str], bases: Sequence[Path]) -> list[Path | None]:
    """The files of images; None where there is none, or several could be meant.

    Args:
        names: As the annotations write them.
        bases: Folders to look in and below, the likeliest first.
    """
    folders = [base / name for base in bases for name in IMAGE_FOLDERS if (base / name).is_dir()]
    paths: list[Path | None] = []
    for name in names:
        hit = next((f for f in folders if os.path.isfile(f / name)), None)
        paths.append(hit / name if hit else None)
        if hit and hit is not folders[0]:  # the next one probably lies in the same folder
            folders.remove(hit)
            folders.insert(0, hit)
    for base in bases:
        if not all(paths):
            near = match(names, pictures_below(base))
            pairs = zip(paths, near, strict=True)
            paths = [path or (base / other if other else None) for path, other in pairs]
    return paths


def split_by_lists(rows: list[Row], folder: Path) -> list[Row]:
    """Rows with the splits that lists of names beside the annotations give.

    Such as Flickr8k's `Flickr_8k.trainImages.txt`, with or without endings. Images in no list are
    left out, as they are meant to be.
    """
    names = list(dict.fromkeys(row.image for row in rows))
    splits: dict[str, str] = {}
    for file in sorted(folder.glob("*.txt")):
        split = split_of_file(file)
        if split and formats.recognise(file) is None:
            listed = read_text(file).split("\n")
            listed = [line.strip() for line in listed if line.strip()]
            found = [name for name in match(listed, names) if name]
            if 2 * len(found) >= len(listed):  # else a text that is something else
                splits |= dict.fromkeys(found, split)
    if "train" not in splits.values():
        return rows
    return [replace(row, split=splits[row.image]) for row in rows if row.image in splits]
