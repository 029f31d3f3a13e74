"""Readers of annotation files: which captions belong to which image, in which split.

Each reader turns one layout into the same list of `Row`; `captioned.py` joins the rows of an image
and finds the images. An unusable file raises an error; problems with single rows are collected, so
that one message can name them all.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from xmr_lib.data.file_names import ENDINGS, pictures_below, stem
from xmr_lib.data.records import (
    SPLITS,
    Annotations,
    Row,
    decode,
    find_columns,
    from_records,
    parse_json,
    read_json,
    read_text,
    split_name,
)
from xmr_lib.errors import DataError

WANTED = "image,caption or image,caption,split"
_TABLES = (".xlsx", ".xls", ".ods", ".parquet")  # tables that must be saved as CSV first
_TEXT_FILES = (".csv", ".tsv", ".txt", ".token", ".json", ".jsonl", ".ndjson")
_COCO_WITHOUT_CAPTIONS = re.compile("(instances|person_keypoints|image_info|stuff|panoptic)_")
_TOKEN_LINE = re.compile(r"(?P<image>[^\t]+)#(?P<number>\d+)\t(?P<caption>.*)")
_JSON_LINES = re.compile(r"\s*\{.*\}[ \t]*\n\s*\{")  # also found in files called .json
# `{"a.jpg": "a dog"`, or a list or an object in the place of the text.
_BY_NAME = re.compile(r'\s*\{\s*"(?P<name>[^"]+)"\s*:\s*[\[{]?\s*"')


def read_karpathy(path: Path) -> Annotations:
    """Reads Karpathy's `dataset_*.json`: images[] with filename, split and sentences[].raw.

    MS-COCO's file also has `filepath` (train2014, val2014) and the split "restval".
    """
    content = read_json(path)
    rows, problems = [], []
    for number, image in enumerate(_get(content, "images", list, path, "the file")):
        where = f"images[{number}]"
        name = _get(image, "filename", str, path, where)
        if image.get("filepath"):
            name = f"{_get(image, 'filepath', str, path, where)}/{name}"
        split = _get(image, "split", str, path, where) if "split" in image else None
        row = Row(name, [], split_name(split), where)
        for i, sentence in enumerate(_get(image, "sentences", list, path, where)):
            there = f"{where}.sentences[{i}]"
            row.add(_get(sentence, "raw", str, path, there), there, problems)
        rows.append(row)
    return Annotations(str(content.get("dataset") or path.parent.name), rows, problems)


def read_coco(path: Path) -> Annotations:
    """Reads MS-COCO's `captions_*.json`: images[] with id and file_name, annotations[]."""
    content = read_json(path)
    folder = path.parent.parent if path.parent.name == "annotations" else path.parent
    rows: dict[str, Row] = {}
    problems = []
    for number, image in enumerate(_get(content, "images", list, path, "the file")):
        where = f"images[{number}]"
        name = _get(image, "file_name", str, path, where)
        rows[str(_get(image, "id", (int, str), path, where))] = Row(name, where=where)
    for number, caption in enumerate(_get(content, "annotations", list, path, "the file")):
        where = f"annotations[{number}]"
        key = str(_get(caption, "image_id", (int, str), path, where))
        text = _get(caption, "caption", str, path, where)
        if key in rows:
            rows[key].add(text, where, problems)
        else:
            problems.append(f"{where}: a caption of image {key}, which is not among the images")
    return Annotations(folder.name, list(rows.values()), problems)


def read_flickr_token(path: Path) -> Annotations:
    """Reads Flickr8k's and Flickr30K's token files: lines `image.jpg#0<TAB>caption`."""
    rows, problems, seen = [], [], set()
    # Not splitlines(): it also breaks at Unicode's line separators, which captions may contain.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        parts = _TOKEN_LINE.fullmatch(line)
        if parts is None:
            problems.append(f"{where}: not of the form image.jpg#0<TAB>caption: {line[:40]!r}")
        elif parts.group("image", "number") in seen:
            problems.append(f"{where}: {parts['image']}#{parts['number']} occurs a second time")
        else:
            seen.add(parts.group("image", "number"))
            rows.append(Row(parts["image"], where=where))
            rows[-1].add(parts["caption"], where, problems)
    return Annotations(path.parent.name, rows, problems)


def read_table(path: Path) -> Annotations:
    """Reads a table of images and captions, with or without a header.

    Comma, tab, semicolon or `|` between the columns, found from the first line (or from Excel's
    `sep=;` before it). Flickr30K's `results.csv` is such a table.
    """
    text = read_text(path)
    delimiter, lines = _delimiter(text)
    try:
        cells = _cells(lines, delimiter, strict=delimiter != "|")
    except csv.Error as error:
        quotes = rf'("+)[ \t]+(?={re.escape(delimiter)}|\n|$)'  # blanks behind a closing quote
        closed = re.sub(quotes, lambda found: found[1] if len(found[1]) % 2 else found[0], lines)
        try:
            cells = _cells(lines if delimiter == "\t" else closed, delimiter, delimiter != "\t")
        except csv.Error:
            raise DataError(
                f"{path}, {error}. A caption with double quotes in it must stand in double "
                'quotes itself, with the inner ones doubled: "a ""stop"" sign".'
            ) from None
    skipped = text.count("\n") - lines.count("\n")
    header = [name.strip() for name in cells[0][1]]
    header = [f"{name}_{i}" if name in header[:i] else name for i, name in enumerate(header)]
    if find_columns(header) is not None:
        cells = cells[1:]
    elif (header := _headerless(header)) is None:
        raise DataError(
            f"{path}, line {1 + skipped}: no column named 'image' and none named 'caption' (or "
            f"alike). The header is {lines.split(chr(10))[0].strip()[:80]!r}; write it as {WANTED}."
        )
    problems, records = [], []
    for number, row in cells:
        where = f"line {number + skipped}"
        if len(row) == len(header):
            records.append((where, dict(zip(header, row, strict=True))))
        elif row:
            problems.append(
                f"{where}: {len(row)} columns where the first line has {len(header)} "
                f"(a caption that contains {delimiter!r} must stand in double quotes)"
            )
    return from_records(path.parent.name, records, find_columns(header), problems)


def _delimiter(text: str) -> tuple[str, str]:
    """What separates the columns, and the text without a line that says so."""
    first, _, rest = text.partition("\n")
    if said := re.fullmatch('"?sep=(.)"?', first.strip("\ufeff"), re.I):
        return said[1], rest
    for delimiter in "\t|;,":
        names = first.split(delimiter)
        if find_columns(names) or _headerless(names):
            return delimiter, text
    return max("\t|;,", key=first.count), text


def _cells(text: str, delimiter: str, strict: bool) -> list[tuple[int, list[str]]]:
    """The cells of each row, with the number of its line; quotes mean nothing if not `strict`."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))  # captions of any length
    quoting = csv.QUOTE_MINIMAL if strict else csv.QUOTE_NONE
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=quoting,
        strict=strict,
        skipinitialspace=True,
    )
    try:
        return [(rows.line_num, row) for row in rows]
    except csv.Error as error:
        raise csv.Error(f"line {rows.line_num}: {error}") from None


def _headerless(first: list[str]) -> list[str] | None:
    """Names for the columns of a table that begins with a picture instead of a header."""
    if len(first) < 2 or not first[0].lower().endswith(ENDINGS):
        return None
    is_split = [split_name(cell) in SPLITS.values() for cell in first[1:]]
    return ["image", *("split" if each else f"caption_{i}" for i, each in enumerate(is_split))]


def read_records(path: Path) -> Annotations:
    """Reads JSON of other shapes, each picture with its caption or captions.

    A list of objects with keys such as image and caption (perhaps inside of an object), one such
    object a line (`metadata.jsonl`), or captions by picture: `{"a.jpg": ["a dog", …]}`.

    Raises:
        DataError: Broken JSON, or no such keys.
    """
    text = read_text(path)
    if path.suffix.lower() == ".json" and not _JSON_LINES.match(text):
        content = parse_json(path, text)
        if isinstance(content, dict):
            inside = [each for each in content.values() if _are_records(each)]
            by_name = [
                {"image": name, **(each if isinstance(each, dict) else {"caption": each})}
                for name, each in content.items()
            ]
            content = inside[0] if inside else by_name
        records = [(f"entry {i}", each) for i, each in enumerate(content, start=1)]
    else:
        lines = enumerate(text.split("\n"), start=1)
        records = [(f"line {i}", parse_json(path, x, i)) for i, x in lines if x.strip()]
    keys = {key: None for _, each in records if isinstance(each, dict) for key in each}
    columns = find_columns(keys)
    if columns is None:
        raise DataError(
            f"{path}: expected objects with the keys image and caption; found the keys "
            f"{', '.join(keys) or 'of no object'}."
        )
    return from_records(path.parent.name, records, columns, [])


def read_text_files(folder: Path) -> Annotations:
    """Reads pictures that have a text file of the same name each, one caption a line.

    This is how img2dataset and trainers of diffusion models keep captions: `000.jpg`, `000.txt`.
    """
    rows, problems = [], []
    for file in text_files(folder):
        name = file.relative_to(folder)
        rows.append(Row(str(name.with_suffix("")), where=str(name)))
        try:
            lines = [line for line in read_text(file).split("\n") if line.strip()]
        except DataError as error:  # empty, or not text
            problems.append(str(error))
            continue
        for line in lines:
            rows[-1].add(line, str(name), problems)
    return Annotations(folder.name, rows, problems)


def text_files(folder: Path) -> list[Path]:
    """Text files in a folder and its subfolders for which there is a picture of the same name."""
    texts = sorted([*folder.glob("*.txt"), *folder.glob("*/*.txt")])
    names = {stem(name) for name in pictures_below(folder)} if texts else ()
    return [file for file in texts if stem(file.stem) in names]


def split_of_file(path: Path) -> str | None:
    """The split that a file's name (of `metadata.*` the folder's) says in a whole word, or None.

    >>> split_of_file(Path("captions_val2014.json")), split_of_file(Path("captions_latest.json"))
    ('val', None)
    """
    name = path.parent.name if path.stem == "metadata" else path.stem
    words = re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1 \2", name).lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def _get(mapping, key: str, kind: type | tuple[type, ...], path: Path, where: str):
    """`mapping[key]`, which must be there and of that type."""
    if not isinstance(mapping, dict) or key not in mapping:
        raise DataError(f"{path}: {where} has no {key!r}. Is this the format you meant?")
    if not isinstance(mapping[key], kind):
        found = type(mapping[key]).__name__
        wanted = kind.__name__ if isinstance(kind, type) else "number or text"
        raise DataError(f"{path}: {key!r} of {where} is a {found}, not a {wanted}.")
    return mapping[key]


def recognise(path: Path) -> str | None:
    """Name of the format of a file or folder, judged by its name and first 64 KB; None: unknown."""
    if path.is_dir():
        disk = ("dataset_dict.json", "state.json")
        return "hf" if any((path / name).is_file() for name in disk) else None
    suffix = path.suffix.lower()
    if suffix not in _TEXT_FILES or path.name == "boxes.json":
        return None
    try:
        with path.open("rb") as stream:
            head = decode(stream.read(65536), "replace")
    except OSError:  # a broken link, no permission
        return None
    if suffix.startswith(".json") or suffix == ".ndjson":
        return _recognise_json(path, head)
    first = head.split("\n")[0]
    if _TOKEN_LINE.fullmatch(first):
        return "flickr-token"
    delimiter, lines = _delimiter(head)
    header = [name.strip(' "') for name in lines.split("\n")[0].split(delimiter)]
    return "table" if find_columns(header) or _headerless(header) else None


def _recognise_json(path: Path, head: str) -> str | None:
    if '"sentences"' in head and '"filename"' in head:
        return "karpathy"
    if _COCO_WITHOUT_CAPTIONS.match(path.name):
        return None
    coco = '"images"' in head and '"file_name"' in head
    lines = path.suffix.lower() != ".json" or _JSON_LINES.match(head)
    for start in re.finditer("^" if lines else r"\[\s*(?=\{)", head):
        try:
            first, _ = json.JSONDecoder().raw_decode(head, start.end())
        except ValueError:
            continue
        if _are_records([first]) and not (coco and "image_id" in first):  # MS-COCO's annotations
            return "json"
    named = _BY_NAME.match(head)
    if named and not coco:
        captions = named["name"].lower().endswith(ENDINGS) or "caption" in path.name.lower()
        return "json" if captions else None
    return "coco" if coco else None


def _are_records(content: Any) -> bool:
    """Whether this is a list of objects with an image and captions."""
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and find_columns(first) is not None


def why_not(file: Path) -> str:
    """Why a file is no annotation file, with what is wanted instead."""
    if file.suffix.lower() in _TABLES:
        return f"{file}: save the table as CSV, with the columns {WANTED}."
    text = read_text(file)  # raises if the file is empty or not text
    if file.suffix.lower() == ".json":
        parse_json(file, text)
    first = text.strip().split("\n")[0][:160]
    return (
        f"{file}: no captions are recognised. It begins with {first!r}; wanted is a table with the "
        f"header {WANTED}, or JSON with such keys."
    )


def why_none(folder: Path, format: str | None) -> str:
    """Why a folder has no annotations: names the file that could have been meant, if any."""
    inside = sorted(folder.iterdir())
    texts = [path for path in inside if path.suffix.lower() in (*_TEXT_FILES, *_TABLES)]
    if texts and format is None:
        try:
            return why_not(texts[0])
        except DataError as error:
            return str(error)
    shown = ", ".join(path.name for path in inside[:8]) + (", …" if len(inside) > 8 else "")
    wanted = f"annotation file of the format {format}" if format else "captions"
    return (
        f"{folder}: holds no {wanted}. It holds: {shown or 'nothing'}. Write a file captions.csv "
        "there with the header image,caption and one row per caption, or name another folder."
    )
