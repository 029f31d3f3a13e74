"""Readers of annotation files: which captions belong to which image, in which split.

Each reader turns one file layout into the same list of `Entry`; where the image files lie and
whether they are any good is the business of `captioned.py`. What makes a whole file unusable is
raised; what is wrong with single lines is collected, so that all of it can be told at once.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xmr_lib.errors import DataError

IMAGE_COLUMNS = ("image", "image_name", "image_file", "filename", "file_name", "file", "path")
CAPTION_COLUMNS = ("caption", "captions", "comment", "sentence", "sentences", "text", "raw")

_SPLIT_NAMES = {
    "dev": "val",
    "valid": "val",
    "validation": "val",
    "training": "train",
    "testing": "test",
}
_COCO_WITHOUT_CAPTIONS = re.compile("(instances|person_keypoints|image_info|stuff|panoptic)_")
_TOKEN_LINE = re.compile(r"(?P<image>[^\t]+)#(?P<number>\d+)\t(?P<caption>.*)")


@dataclass
class Entry:
    """One image of an annotation file.

    Attributes:
        image: File name, possibly with folders, relative to the image folder.
        captions: Its captions in the order of the file, stripped, none of them empty.
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


def add_caption(entry: Entry, caption: str, where: str, problems: list[str]) -> None:
    """Gives an entry one more caption, unless nothing in it can be seen.

    White space, control and formatting characters (such as zero-width joiners) cannot.
    """
    if any(unicodedata.category(each)[0] not in "ZC" for each in caption):
        entry.captions.append(caption.strip())
    else:
        problems.append(f"{where}: the caption of {entry.image} is empty")


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
        found = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "not UTF-8 text"
        raise DataError(
            f"{path}, line {line}: {found} (byte {raw[error.start]:#04x}). "
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
            "Was the download cut short? Fetch the file again."
        ) from None
    except RecursionError:
        raise DataError(f"{path}: JSON nested too deeply to be a list of captions.") from None
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: expected a JSON object with 'images', found a {type(content).__name__}."
        )
    return content


def read_karpathy(path: Path) -> Annotations:
    """Reads Karpathy's `dataset_*.json`: images[] with filename, split and sentences[].raw.

    MS-COCO's file also has `filepath` (train2014, val2014) and the split "restval".
    """
    content = read_json(path)
    entries, problems = [], []
    for number, image in enumerate(_get(content, "images", list, path, "the file")):
        where = f"images[{number}]"
        name = _get(image, "filename", str, path, where)
        if image.get("filepath"):
            name = f"{_get(image, 'filepath', str, path, where)}/{name}"
        split = _get(image, "split", str, path, where) if "split" in image else None
        entry = Entry(name, [], split_name(split), where)
        for i, sentence in enumerate(_get(image, "sentences", list, path, where)):
            there = f"{where}.sentences[{i}]"
            add_caption(entry, _get(sentence, "raw", str, path, there), there, problems)
        entries.append(entry)
    name = str(content.get("dataset") or path.parent.name)
    return Annotations(name, entries, problems)


def read_coco(path: Path) -> Annotations:
    """Reads MS-COCO's `captions_*.json`: images[] with id and file_name, annotations[].

    The split is what the file's name says (`captions_val2014.json`: val).
    """
    content = read_json(path)
    folder = path.parent.parent if path.parent.name == "annotations" else path.parent
    named = re.search(r"train|val|test", path.stem.lower())
    entries: dict[object, Entry] = {}
    problems = []
    for number, image in enumerate(_get(content, "images", list, path, "the file")):
        where = f"images[{number}]"
        name = _get(image, "file_name", str, path, where)
        key = _get(image, "id", (int, str), path, where)
        entries[key] = Entry(name, [], named and named.group(), where)
    for number, caption in enumerate(_get(content, "annotations", list, path, "the file")):
        where = f"annotations[{number}]"
        key = _get(caption, "image_id", (int, str), path, where)
        text = _get(caption, "caption", str, path, where)
        if key in entries:
            add_caption(entries[key], text, where, problems)
        else:
            problems.append(f"{where}: a caption of image {key}, which is not among the images")
    return Annotations(folder.name, list(entries.values()), problems)


def read_flickr_token(path: Path) -> Annotations:
    """Reads Flickr8k's and Flickr30K's token files: lines `image.jpg#0<TAB>caption`.

    Where Flickr8k's own lists (`Flickr_8k.trainImages.txt`, `…devImages…`, `…testImages…`) lie
    beside it, they give the splits, and images in none of them are left out, as they are meant to.
    """
    splits = _flickr8k_splits(path.parent)
    entries: dict[str, Entry] = {}
    problems, seen = [], set()
    # Not splitlines(): it also breaks at Unicode's line separators, which captions may contain.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        parts = _TOKEN_LINE.fullmatch(line.rstrip("\r"))
        if parts is None:
            problems.append(f"{where}: not of the form image.jpg#0<TAB>caption: {line[:40]!r}")
            continue
        image = parts["image"]
        if splits and image not in splits:
            continue
        if (image, parts["number"]) in seen:
            problems.append(f"{where}: {image}#{parts['number']} occurs for the second time")
            continue
        seen.add((image, parts["number"]))
        entry = entries.setdefault(image, Entry(image, [], splits.get(image), where))
        add_caption(entry, parts["caption"], where, problems)
    return Annotations(path.parent.name, list(entries.values()), problems)


def _flickr8k_splits(folder: Path) -> dict[str, str]:
    splits = {}
    for split, name in (("train", "train"), ("val", "dev"), ("test", "test")):
        file = folder / f"Flickr_8k.{name}Images.txt"
        if file.is_file():
            splits.update(dict.fromkeys(read_text(file).split(), split))
    return splits


def read_table(path: Path) -> Annotations:
    """Reads a table with a header: image, caption and perhaps split, one row per caption.

    Comma, tab, semicolon or `|` between the columns, found from the header. Flickr30K's
    `results.csv` (image_name| comment_number| comment) is such a table.
    """
    text = read_text(path)
    header = re.split(r"[\r\n]", text, maxsplit=1)[0]
    delimiter = max("\t|;,", key=header.count)
    if delimiter == "|":
        return _read_rows(path, text, header, delimiter, csv.QUOTE_NONE)
    try:
        return _read_rows(path, text, header, delimiter, csv.QUOTE_MINIMAL)
    except csv.Error as error:
        if delimiter == "\t":  # written without quoting: quotes are part of the captions
            return _read_rows(path, text, header, delimiter, csv.QUOTE_NONE)
        raise DataError(
            f"{path}, {error}. A caption with double quotes in it must stand in double quotes "
            'itself, with the inner ones doubled: "a ""stop"" sign".'
        ) from None


def _read_rows(path: Path, text: str, header: str, delimiter: str, quoting: int) -> Annotations:
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))  # captions of any length
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=quoting,
        strict=True,
        skipinitialspace=True,
    )
    names = [name.strip().lower() for name in next(rows)]
    image_at = _column(names, IMAGE_COLUMNS, path, header)
    caption_at = _column(names, CAPTION_COLUMNS, path, header)
    split_at = names.index("split") if "split" in names else None
    records, problems = [], []
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise csv.Error(f"line {rows.line_num}: {error}") from None
        if row is None:
            break
        where = f"line {rows.line_num}"
        if len(row) == len(names):
            split = None if split_at is None else row[split_at]
            records.append((row[image_at].strip(), row[caption_at], split, where))
        elif row:
            problems.append(
                f"{where}: {len(row)} columns where the header has {len(names)} "
                f"(a caption that contains {delimiter!r} must stand in double quotes)"
            )
    found = _group(path.parent.name, records)
    found.problems[:0] = problems
    return found


def _group(name: str, records: Iterable[tuple[str, str, str | None, str]]) -> Annotations:
    """Joins (image, caption, split, where), one per caption, to one entry per image."""
    entries: dict[str, Entry] = {}
    problems = []
    for image, caption, split, where in records:
        split = split_name(split)
        if not image:
            problems.append(f"{where}: a caption without an image ({caption[:40]!r})")
            continue
        if split == "":
            problems.append(f"{where}: the split of {image} is empty")
            continue
        entry = entries.setdefault(image, Entry(image, [], split, where))
        if entry.split != split:
            problems.append(f"{where}: {image} is in two splits, {entry.split!r} and {split!r}")
        elif caption.strip() in entry.captions:
            problems.append(f"{where}: repeats an earlier row ({image}, {caption[:40]!r})")
        else:
            add_caption(entry, caption, where, problems)
    return Annotations(name, list(entries.values()), problems)


def _column(names: list[str], wanted: tuple[str, ...], path: Path, header: str) -> int:
    for name in wanted:
        if name in names:
            return names.index(name)
    raise DataError(
        f"{path}, line 1: no column named {wanted[0]!r} (nor {', '.join(wanted[1:])}). The header "
        f"is {header.strip()[:80]!r}; write it as image,caption or image,caption,split."
    )


def _get(mapping, key: str, kind: type | tuple[type, ...], path: Path, where: str):
    """`mapping[key]`, which must be there and of that type."""
    if not isinstance(mapping, dict) or key not in mapping:
        raise DataError(f"{path}: {where} has no {key!r}. Is this the format you meant?")
    if not isinstance(mapping[key], kind):
        found = type(mapping[key]).__name__
        wanted = kind.__name__ if isinstance(kind, type) else "number or text"
        raise DataError(f"{path}: {key!r} of {where} is a {found}, not a {wanted}.")
    return mapping[key]


def split_name(name: str | None) -> str | None:
    """One spelling for the usual splits: "dev" and "validation" are "val".

    >>> split_name("Dev")
    'val'
    """
    if name is None:
        return None
    name = name.strip().lower()
    return _SPLIT_NAMES.get(name, name)


def recognise(path: Path) -> str | None:
    """Name of the format of a file or folder, judged by its name and first 64 KB; None: unknown."""
    if path.is_dir():
        disk = ("dataset_dict.json", "state.json")
        return "hf" if any((path / name).is_file() for name in disk) else None
    suffix = path.suffix.lower()
    if suffix not in (".json", ".csv", ".tsv", ".txt", ".token"):
        return None
    with path.open("rb") as stream:
        head = stream.read(65536).decode("utf-8-sig", errors="replace")
    if suffix == ".json":
        if '"sentences"' in head and '"filename"' in head:
            return "karpathy"
        if _COCO_WITHOUT_CAPTIONS.match(path.name):
            return None
        return "coco" if '"images"' in head and '"file_name"' in head else None
    first = re.split(r"[\r\n]", head, maxsplit=1)[0]
    if _TOKEN_LINE.fullmatch(first):
        return "flickr-token"
    columns = {name.strip(' "').lower() for name in re.split(r"[\t|;,]", first)}
    if columns & set(IMAGE_COLUMNS) and columns & set(CAPTION_COLUMNS):
        return "table"
    return None
