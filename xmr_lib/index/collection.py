"""What an index should hold: pictures and captions, how each is encoded, and which were changed.

An item's id names its content: an image's holds its name and its file's size and time of change, a
caption's the image's name and the text. An item that changes therefore gets another id.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from xmr_lib.data import captioned
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.images import open_image
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.files import atomic
from xmr_lib.retriever import Retriever
from xmr_lib.similarity import Encoded
from xmr_lib.sources import DataSource

Side = Literal["images", "captions"]


@dataclass
class Changes:
    """What became of pictures that were to be added.

    Attributes:
        added: Names that are new.
        updated: Names that were there, with another picture.
        unchanged: Names that were there with this very picture.
        broken: Why the others could not be used, one message for each.
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class Collection:
    """The pictures and captions of a run's data set, or of other data.

    Args:
        run: A run or ensemble.
        data: None for the run's own data set; else a data set, or a folder of pictures with or
            without captions.
        split: A split's name, or "all"; by default what `run.searched` says, or all other data.
        folder: Where the index lies; by default `index/` in the run's folder.

    Attributes:
        run: What encodes them.
        data: The data set's part.
        part: The part's name: "all", "report" or a split.
        captioned: Whether `data` has captions; otherwise each is a stand-in and not searched.
        folder: Of this part's index.
        own: The data set's pictures by name, which is their place below their common folder.

    Raises:
        DataError: There is no such split, or the data cannot be read.
    """

    def __init__(
        self,
        run: Retriever,
        data: str | Path | DataSource | CaptionedImages | None,
        split: str | None,
        folder: Path | None = None,
    ) -> None:
        self.run, self.captioned = run, True
        if data is not None:
            data = self._read(data)
        whole = run.data if data is None else data
        self.data = run.searched if data is None and split is None else whole
        if split not in (None, "all"):
            self.data = whole.split(split)
        self.part = "all" if self.data.n_images == whole.n_images else split or "report"
        self.own: dict[str, Path] = {}
        home = common_folder(whole)
        for file in self.data.image_files:
            name = Path(os.path.relpath(file, home)).as_posix()
            while name in self.own:  # precomputed features may have one id for several rows
                name += "+"
            self.own[name] = file
        self.folder = folder or _home(run)
        if data is not None:
            self.folder /= f"{whole.name}-{short_hash(home)}"
        self.folder /= self.part
        self._changes_file = self.folder / "pictures.json"
        self._row = {name: row for row, name in enumerate(self.own)}

    def _read(self, data: str | Path | DataSource | CaptionedImages) -> CaptionedImages:
        if not isinstance(data, CaptionedImages):
            data = DataSource(str(data)) if isinstance(data, str | Path) else data
            folder = Path(data.data).expanduser()
            if folder.is_dir() and not data.precomputed and data.format is None:
                try:
                    captioned.find_annotations(folder)
                except DataError:  # pictures alone
                    self.captioned = False
                    return _without_captions(list(find_files([folder]).values()), folder.name)
        self.run = self.run.on(data)
        return self.run.data

    def images(self) -> dict[str, Path]:
        """The pictures to be found: id -> file; those of the data set, then those added."""
        changes = self.changes()
        files = self.own | {name: Path(file) for name, file in changes["added"].items()}
        removed = set(changes["removed"])
        return {image_id(name, f): f for name, f in files.items() if name not in removed}

    def changes(self) -> dict:
        """Which pictures were "added" (name -> file), and the names of those "removed"."""
        return {"added": {}, "removed": []} | read_json(self._changes_file)

    def compared(self, named: Mapping[str, Path]) -> tuple[Changes, dict[str, Path]]:
        """What adding files changes, and those of them that have to be encoded."""
        before = self.images()
        names = {each.split("\0")[0] for each in before}
        new = {name: file for name, file in named.items() if image_id(name, file) not in before}
        complaints = unreadable(new)
        new = {name: file for name, file in new.items() if name not in complaints}
        result = Changes(
            added=[name for name in new if name not in names],
            updated=[name for name in new if name in names],
            unchanged=[name for name in named if name not in new and name not in complaints],
            broken=list(complaints.values()),
        )
        return result, new

    def add(self, named: Mapping[str, Path]) -> None:
        """Notes that pictures were added."""
        changes = self.changes()
        changes["added"] |= {name: str(file) for name, file in named.items()}
        changes["removed"] = [name for name in changes["removed"] if name not in named]
        write_json(self._changes_file, changes)

    def remove(self, names: Sequence[str]) -> None:
        """Notes that pictures were removed; if one of them is unknown, none is.

        Raises:
            UnknownNameError: No picture of a name was ever there.
        """
        changes = self.changes()
        there = [*self.own, *changes["added"], *changes["removed"]]
        meant = [_meant(name, there) for name in names]
        for name in meant:
            changes["added"].pop(name, None)
        changes["removed"] = list(dict.fromkeys([*changes["removed"], *meant]))
        write_json(self._changes_file, changes)

    def captions(self, images: Mapping[str, Path]) -> dict[str, int]:
        """The captions of those pictures: id -> position in `data.captions`."""
        found: dict[str, int] = {}
        if not self.captioned:
            return found
        there = [image_id(name, file) in images for name, file in self.own.items()]
        names = list(self.own)
        both = zip(self.data.image_of_caption, self.data.captions, strict=True)
        for c, (image, caption) in enumerate(both):
            if there[image]:
                found.setdefault(f"{names[image]}\0{caption}", c)
        return found

    def is_own(self, image: str, file: Path) -> bool:
        """Whether the data set has features for a picture, so that its file need not be read."""
        return self.captioned and self.own.get(image.split("\0")[0]) == file

    @torch.inference_mode()
    def encode(
        self, side: Side, ids: Sequence[str], images: Mapping[str, Path]
    ) -> Iterator[tuple[list[int], Encoded]]:
        """Encodes items: the data set's from its features, other pictures from their files.

        Args:
            side: "images" or "captions".
            ids: Of the items.
            images: The images' files.

        Yields:
            Places in `ids`, and what was encoded.
        """
        if side == "captions":
            captions = [each.split("\0", 1)[1] for each in ids]
            yield list(range(len(ids))), self.run.encode_sentences(captions)
            return
        own = [self.is_own(each, images[each]) for each in ids]
        if places := [place for place, mine in enumerate(own) if mine]:
            rows = [self._row[ids[place].split("\0")[0]] for place in places]
            yield places, self.run.encode_images(self.data.subset(np.array(rows)))
        if places := [place for place, mine in enumerate(own) if not mine]:
            data = _without_captions([images[ids[place]] for place in places], "pictures")
            yield places, self.run.on(data).encode_images(data)


def image_id(name: str, file: Path) -> str:
    """What a picture is kept under: another id when its file changes."""
    try:
        about = file.stat()
    except OSError:  # precomputed features have no files
        return name
    return f"{name}\0{about.st_size}-{about.st_mtime_ns}"


def common_folder(data: CaptionedImages) -> str:
    """The folder that all pictures of a data set lie in or below."""
    return os.path.commonpath([file.parent for file in data.image_files])


def find_files(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Files by name: of a folder all in it and below, named from there, but hidden ones.

    Raises:
        DataError: A path does not exist, a folder holds no file, or two files have one name.
    """
    found: dict[str, Path] = {}
    for path in (Path(path).expanduser().resolve() for path in paths):
        if not path.exists():
            raise DataError(f"{path}: there is no such picture or folder.")
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        root = path if path.is_dir() else path.parent
        named = {file.relative_to(root).as_posix(): file for file in files if file.is_file()}
        named = {n: f for n, f in named.items() if not f"/{n}".count("/.")}
        if not named:
            raise DataError(f"{path}: the folder is empty.")
        for name, file in named.items():
            if found.setdefault(name, file) != file:
                raise DataError(
                    f"{found[name]} and {file} would both be called {name}: add them by a folder "
                    "that holds both, or rename one."
                )
    return found


def unreadable(files: Mapping[str, Path]) -> dict[str, str]:
    """Those of the files that are no pictures, and why."""

    def complaint(file: Path) -> str:
        try:
            open_image(file)
        except DataError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as threads:
        complaints = zip(files, threads.map(complaint, files.values()), strict=True)
        return {each: why for each, why in complaints if why}


def _without_captions(files: Sequence[Path], name: str) -> CaptionedImages:
    n = len(files)
    return CaptionedImages(
        name, tuple(files), ("picture",) * n, np.arange(n), np.full(n, "test"), np.arange(n)
    )


def _meant(name: str, there: Sequence[str]) -> str:
    """The picture that a name stands for: its whole name, or a file name that is there once."""
    if name in there:
        return name
    alike = [each for each in dict.fromkeys(there) if each.rsplit("/", 1)[-1] == name]
    if len(alike) != 1:
        raise UnknownNameError("picture", name, alike or there)
    return alike[0]


def _home(run: Retriever) -> Path:
    """Folder of a run's indexes; an ensemble's lie in its first member's folder."""
    folder = run.runs[0].folder / "index"
    if len(run.runs) == 1:
        return folder
    return folder / f"ensemble-{short_hash(*(str(member.folder) for member in run.runs))}"


def short_hash(*texts: str) -> str:
    """Eight letters that stand for texts."""
    return hashlib.sha256("\n".join(texts).encode(errors="replace")).hexdigest()[:8]


def read_json(file: Path) -> dict:
    """A JSON file's content; empty where there is no file."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}): delete it.") from None


def write_json(file: Path, content: dict) -> None:
    """Replaces a JSON file as a whole."""
    with atomic(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
