"""Pictures that come to an index later: which files are meant, and their vectors.

Nothing is trained again: the run's model encodes them as it encoded its own. Their features go
through the same extraction, in batches and with its cache, so that one killed in the middle goes
on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.feature_store import list_files
from xmr_lib.data.images import open_image
from xmr_lib.data.regions import Regions
from xmr_lib.encoding import encode_images
from xmr_lib.ensemble import joined_vectors
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.retriever import Retriever
from xmr_lib.runs import Run
from xmr_lib.sources import features_of

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


@dataclass
class Changes:
    """What became of pictures that were to be added.

    Attributes:
        added: Names that are new.
        updated: Names that were there, with another picture.
        unchanged: Names that were there with this very picture.
        broken: Why the others could not be used.
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def find(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Picture files by name: of a folder all in it and below, named from there.

    Raises:
        DataError: A path does not exist, a folder holds no picture, or two files have one name.
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        path = path.expanduser().resolve()
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
            if not files:
                raise DataError(f"{path}: holds no picture ({', '.join(sorted(SUFFIXES))}).")
            named = {each.relative_to(path).as_posix(): each for each in files}
        elif path.is_file():
            named = {path.name: path}
        else:
            raise DataError(f"{path}: there is no such picture or folder.")
        for name, file in named.items():
            if found.setdefault(name, file) != file:
                raise DataError(
                    f"{found[name]} and {file} would both be called {name}: add them by a folder "
                    "that holds both, or rename one."
                )
    return found


def encode(run: Retriever, files: Sequence[Path]) -> np.ndarray:
    """Vectors of picture files, `(n, d)`, as the run's own pictures have them.

    Raises:
        DataError: A file is no picture, or the run's regions are not computed from pictures.
    """
    n = len(files)
    data = CaptionedImages(
        "added", tuple(files), ("",) * n, np.arange(n), np.full(n, "added"), np.arange(n)
    )
    return joined_vectors([_by(member, data) for member in run.runs]).cpu().numpy()


def _by(member: Run, data: CaptionedImages):
    """One run's vectors of pictures, `(n, d)`."""
    if member.model.backbone is not None:  # it was trained too, and looks at the pictures itself
        return encode_images(member.model, data).vectors
    kind = None
    if isinstance(member.features, Regions):
        kind = member.regions or member.features.kind
        if kind == "boxes" or kind.endswith(".tsv"):
            raise DataError(
                f"{member.name} was trained on regions ({kind}) that are not found in a picture "
                "alone: pictures can be added to runs with --regions grid or detector."
            )
    features = features_of(
        data, of_regions=kind is not None, backbone=member.features.backbone, kind=kind,
        transform=member.features.transform,
    )  # fmt: skip
    return encode_images(member.model, data, features.inputs).vectors


def readable(files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Those of the files that are pictures, and why the others are not."""
    good, complaints = [], []
    for file in files:
        try:
            open_image(file)
            good.append(file)
        except DataError as error:
            complaints.append(str(error))
    return good, complaints


def names_of(part: CaptionedImages, whole: CaptionedImages) -> list[str]:
    """Names of a part's pictures: their place below the folder that all of the data set are in."""
    common = os.path.commonpath([file.parent for file in whole.image_files])
    names: dict[str, None] = {}
    for file in part.image_files:
        name = Path(os.path.relpath(file, common)).as_posix()
        while name in names:  # precomputed features may have one id for several rows
            name += "+"
        names[name] = None
    return list(names)


def stamp(file: Path) -> str:
    """Size and fingerprint of a file, to notice that it was changed."""
    return list_files((file,))[0].split("\t", 1)[1]


def meant(name: str, there: dict[str, Path]) -> str:
    """The picture that a name stands for: its whole name, or a file name that is there once."""
    if name in there:
        return name
    alike = [each for each in there if each.rsplit("/", 1)[-1] == name]
    if len(alike) == 1:
        return alike[0]
    raise UnknownNameError("picture", name, alike or there)
