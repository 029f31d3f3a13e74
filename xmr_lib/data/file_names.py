r"""Which file a name means: people write `images\p0.jpg`, `P0.JPG`, `p0` and `/home/me/p0.jpg`."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"),
    *(".avif", ".jp2", ".j2k", ".mpo", ".ppm", ".psd", ".tga"),
    *(".heic", ".heif", ".jxl", ".svg", ".eps", ".cr2", ".nef", ".dng"),  # to be named, with why
)
_DEPTH = 3  # folders below the one that is searched


def match(names: Iterable[str], known: Iterable[str]) -> list[str | None]:
    r"""For each name the known one that it means; None where there is none, or several fit.

    Case, Unicode form, backslashes, a missing ending and what follows an ending (`#0`) make no
    difference where only one name fits. A folder in one of the two names may lack in the other,
    and a folder that all names share may be another one.

    >>> match(["images\\A.jpg", "b"], ["a.JPG", "b.png"])
    ['a.JPG', 'b.png']
    >>> match(["train/1.jpg", "val/1.jpg"], ["train/1.jpg"])  # not the one of another folder
    ['train/1.jpg', None]
    """
    exact = {plain_name(each): each for each in known}
    by_name, by_stem = defaultdict(list), defaultdict(list)
    for each in exact:
        by_name[_last(each)].append(each)
        by_stem[stem(each)].append(each)
    asked = [plain_name(name) for name in names]
    shared = _shared_folder(asked)
    found = []
    for name in asked:
        if name not in exact:
            hits = by_name.get(_last(name)) or (not _has_ending(name) and by_stem[stem(name)]) or []
            short = name.removeprefix(shared)
            if "/" in short:
                hits = [hit for hit in hits if _same_end(hit, name) or _same_end(hit, short)]
            cased = [hit for hit in hits if posixpath.basename(hit) == posixpath.basename(name)]
            hits = hits if len(hits) < 2 else cased
            name = hits[0] if len(hits) == 1 else ""
        found.append(exact.get(name))
    return found


def plain_name(name: str) -> str:
    r"""A name in NFC with `/` between folders, without `./` and what follows an image's ending.

    >>> plain_name("images\\1000.jpg#zhb#0")
    'images/1000.jpg'
    """
    name = unicodedata.normalize("NFC", name).strip().replace("\\", "/")
    return re.sub(r"(\.\w{2,5})[#?][^/]*$", r"\1", posixpath.normpath(name) if name else "")


def stem(name: str) -> str:
    """The last part of a name, in one case, without its ending and a number's leading zeros."""
    last = _last(plain_name(name))
    last = posixpath.splitext(last)[0] if _has_ending(last) else last
    return last.lstrip("0") if last.isdecimal() else last


def pictures_below(folder: Path) -> list[str]:
    """Paths of the picture files in a folder and its subfolders, relative to it."""
    found = []
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        deep = len(inside.parts) >= _DEPTH
        folders[:] = [] if deep else sorted(each for each in folders if each[0] != ".")
        found += [
            (inside / file).as_posix()
            for file in sorted(files)
            if _has_ending(file) and file[0] != "."
        ]
    return found


def _last(name: str) -> str:
    return posixpath.basename(name).casefold()


def _has_ending(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _same_end(one: str, other: str) -> bool:
    """Whether one path ends with the other, but for case and a missing ending."""
    if not (_has_ending(one) and _has_ending(other)):
        one, other = (posixpath.splitext(e)[0] if _has_ending(e) else e for e in (one, other))
    one, other = f"/{one.casefold()}", f"/{other.casefold()}"
    return one.endswith(other) or other.endswith(one)


def _shared_folder(names: Sequence[str]) -> str:
    folders = {posixpath.dirname(name) for name in names}
    try:
        return posixpath.commonpath(folders).rstrip("/") + "/"
    except ValueError:  # no names, or absolute and relative ones
        return "/"
