"""Readers of annotation files: which captions belong to which image, in which split.

Each reader turns one file layout into the same list of `Entry`; where the image files lie and
whether they are any good is the business of `captioned.py`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xmr_lib.errors import DataError

SPLIT_NAMES = {
    "dev": "val",
    "valid": "val",
    "validation": "val",
    "training": "train",
    "testing": "test",
}
IMAGE_COLUMNS = ("image", "image_name", "image_file", "filename", "file_name", "file", "path")
CAPTION_COLUMNS = ("caption", "captions", "comment", "sentence", "sentences", "text", "raw")


@dataclass
class Entry:
    """One image of an annotation file.

    Attributes:
        image: File name, possibly with folders, relative to the image folder.
        captions: Raw text of its captions, in the order of the file.
        split: "train", "val", "test", …; None where the file does not say.
        where: Place in the file ("line 12", "images[3]"), for messages.
    """

    image: str
    captions: list[str] = field(default_factory=list)
    split: str | None = None
    where: str = ""


@dataclass
class Annotations:
    """What a reader found: the entries, and what is wrong with single ones of them."""

    name: str
    entries: list[Entry]
    problems: list[str] = field(default_factory=list)


def read_text(path: Path) -> str:
    """Reads a UTF-8 file (with or without byte-order mark).

    Raises:
        DataError: missing, empty or not UTF-8; names the line.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None
    if not raw.strip():
        raise DataError(f"{path}: the file is empty.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 text (byte {raw[error.start]:#04x}). "
            "Save the file as UTF-8 and try again."
        ) from None


def read_json(path: Path) -> dict:
    """Reads a JSON object.

    Raises:
        DataError: broken JSON (names line and column), or not an object.
    """
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: broken JSON ({error.msg}). "
            "Was the download cut short?"
        ) from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, found a {type(content).__name__}.")
    return content


def read_karpathy(path: Path) -> Annotations:
    """Reads Karpathy's `dataset_*.json`: images[] with filename, split and sentences[].raw.

    MS-COCO's file also has `filepath` (train2014, val2014) and the split "restval".
    """
    content = read_json(path)
    entries = []
    for number, image in enumerate(_get(content, "images", list, path, "the file")):
        where = f"images[{number}]"
        name = _get(image, "filename", str, path, where)
        sentences = _get(image, "sentences", list, path, where)
        captions = [_get(s, "raw", str, path, f"{where}.sentences") for s in sentences]
        if folder := image.get("filepath"):
            name = f"{folder}/{name}"
        entries.append(Entry(name, captions, _split(image.get("split")), where))
    return Annotations(str(content.get("dataset") or path.parent.name), entries)


def read_table(path: Path) -> Annotations:
    """Reads a table with a header: image, caption and perhaps split, one row per caption.

    Comma, tab, semicolon or `|` between the columns, found from the header. Flickr30K's
    `results.csv` (image_name| comment_number| comment) is such a table.
    """
    text = read_text(path)
    header = text.split("\n", 1)[0]
    delimiter = max("\t|;,", key=header.count)
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    try:
        names = [name.strip().lower() for name in next(rows)]
        image_at = _column(names, IMAGE_COLUMNS, path, header)
        caption_at = _column(names, CAPTION_COLUMNS, path, header)
        split_at = names.index("split") if "split" in names else None
        records = []
        for row in rows:
            if not row:
                continue  # an empty line
            if len(row) != len(names):
                raise DataError(
                    f"{path}, line {rows.line_num}: {len(row)} columns where the header has "
                    f"{len(names)}. A caption that contains {delimiter!r} must stand in double "
                    "quotes."
                )
            split = None if split_at is None else row[split_at]
            where = f"line {rows.line_num}"
            records.append((row[image_at].strip(), row[caption_at], split, where))
    except csv.Error as error:
        raise DataError(
            f"{path}, line {rows.line_num}: {error}. A caption with double quotes in it must "
            'stand in double quotes itself, with the inner ones doubled ("").'
        ) from None
    return _group(path.parent.name, records)


def _group(name: str, records: Iterable[tuple[str, str, str | None, str]]) -> Annotations:
    """Joins (image, caption, split, where), one per caption, to one entry per image."""
    entries: dict[str, Entry] = {}
    problems = []
    for image, caption, split, where in records:
        split = _split(split)
        entry = entries.setdefault(image, Entry(image, [], split, where))
        if entry.split != split:
            problems.append(f"{where}: {image} is in two splits, {entry.split!r} and {split!r}")
        elif caption in entry.captions and caption.strip():
            problems.append(f"{where}: repeats a row ({image}, {caption[:40]!r})")
        else:
            entry.captions.append(caption)
    return Annotations(name, list(entries.values()), problems)


def _column(names: list[str], wanted: tuple[str, ...], path: Path, header: str) -> int:
    for name in wanted:
        if name in names:
            return names.index(name)
    raise DataError(
        f"{path}, line 1: no column named {wanted[0]!r} (nor {', '.join(wanted[1:])}). The header "
        f"is {header.strip()[:80]!r}; write it as image,caption or image,caption,split."
    )


def _get(mapping, key: str, kind: type, path: Path, where: str):
    """`mapping[key]`, which must be there and of that type."""
    if not isinstance(mapping, dict) or key not in mapping:
        raise DataError(f"{path}: {where} has no {key!r}. Is this the format you meant?")
    if not isinstance(mapping[key], kind):
        found = type(mapping[key]).__name__
        raise DataError(f"{path}: {key!r} of {where} is a {found}, not a {kind.__name__}.")
    return mapping[key]


def _split(name: str | None) -> str | None:
    if name is None:
        return None
    name = name.strip().lower()
    return SPLIT_NAMES.get(name, name)


_TOKEN_LINE = re.compile(r"^[^\t]+#\d+\t")


def recognise(path: Path) -> str | None:
    """Name of the format that an annotation file has, or None."""
    if path.suffix.lower() == ".json":
        content = read_json(path)
        images = content.get("images")
        if not isinstance(images, list):
            return None
        if "annotations" in content:
            return "coco"
        if images and isinstance(images[0], dict) and "sentences" in images[0]:
            return "karpathy"
        return None
    if path.suffix.lower() in (".csv", ".tsv", ".txt", ".token"):
        first = read_text(path).split("\n", 1)[0]
        if _TOKEN_LINE.match(first):
            return "flickr-token"
        columns = {name.strip().strip('"').lower() for name in re.split(r"[\t|;,]", first)}
        if columns & set(IMAGE_COLUMNS) and columns & set(CAPTION_COLUMNS):
            return "table"
    return None
