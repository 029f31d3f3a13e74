"""Rows of captions, and how they are read from columns or keys of whatever name."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from xmr_lib.errors import DataError

# Names of columns (and of keys in JSON), the surest first; captions may also be numbered.
IMAGE_COLUMNS = (
    *("image", "image_name", "image_file", "image_path", "file_name", "filename", "filepath"),
    *("file_path", "path", "file", "img", "img_path", "picture", "photo", "image_id", "id"),
    *("image_url", "url"),
)
CAPTION_COLUMNS = (
    *("caption", "captions", "comment", "sentence", "sentences", "text", "raw", "title"),
    *("description", "caption_text", "image_caption", "alt_text", "alt", "prompt"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition")

SPLITS = {name: name for name in ("train", "val", "test", "restval")} | {
    **dict.fromkeys(("dev", "valid", "validation", "eval"), "val"),
    **{"training": "train", "testing": "test"},
}
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.S)
_TURNED = re.compile("[\u202a-\u202e\u2066-\u2069]")  # reverse the direction of what is displayed


@dataclass
class Row:
    """Some captions of one image."""

    image: str  # its file name, perhaps with folders
    captions: list[str] = field(default_factory=list)  # cleaned, none of them empty
    split: str | None = None  # "train", …; "" where a cell is empty; None where nothing says it
    where: str = ""  # place in the file ("line 12", "images[3]"), for messages

    def add(self, caption: str, where: str, problems: list[str]) -> None:
        """Adds a caption; one of which nothing can be seen becomes a problem."""
        caption = clean_caption(caption)
        if caption and (
            caption.isascii() or any(unicodedata.category(each)[0] not in "ZC" for each in caption)
        ):
            self.captions.append(caption)
        else:
            problems.append(f"{where}: the caption of {self.image} is empty")


@dataclass
class Annotations:
    """The rows that a reader found, problems with single rows, and the data set's name."""

    name: str
    rows: list[Row]
    problems: list[str] = field(default_factory=list)


class Columns(NamedTuple):
    """Which columns hold what."""

    image: str
    captions: list[str]
    split: str | None


def clean_caption(text: str) -> str:
    r"""A caption in NFC without terminal escapes and control characters.

    >>> clean_caption(" a \x1b[31mred\x1b[0m\tcafe\u0301 ")
    'a red café'
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    text = _TURNED.sub("", _ESCAPES.sub("", unicodedata.normalize("NFC", text)))
    return "".join(" " if unicodedata.category(each) == "Cc" else each for each in text).strip()


def split_name(name: str | None) -> str | None:
    """One spelling for the usual splits: "dev" and "validation" are "val".

    >>> split_name("Dev")
    'val'
    """
    name = name and name.strip().lower()
    return SPLITS.get(name, name)


def find_columns(names: Iterable[str]) -> Columns | None:
    """The columns of image, captions (`caption`, `caption_0`, …) and split; None: none of these.

    >>> find_columns(["File Name", "caption1", "caption2", "set"])
    Columns(image='File Name', captions=['caption1', 'caption2'], split='set')
    """
    plain = {re.sub(r"[\W_]+", "_", name.lower()).strip("_"): name for name in names}
    image = next((plain[name] for name in IMAGE_COLUMNS if name in plain), None)
    split = next((plain[name] for name in SPLIT_COLUMNS if name in plain), None)
    for base in CAPTION_COLUMNS:
        captions = [name for key, name in plain.items() if re.fullmatch(rf"{base}_?\d*", key)]
        if image is not None and captions:
            return Columns(image, captions, split)
    return None


def read_text(path: Path) -> str:
    r"""Reads a UTF-8 or UTF-16 file; every end of line becomes `\n`.

    Raises:
        DataError: The file is missing, empty or in another encoding; names the line.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None
    if not raw.strip():
        raise DataError(f"{path}: the file is empty.")
    try:
        return decode(raw)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 text (byte {raw[error.start]:#04x}). "
            "Save the file as UTF-8 and try again."
        ) from None


def decode(raw: bytes, errors: str = "strict") -> str:
    r"""Text of a UTF-8 or UTF-16 file, with `\n` as the end of each line."""
    encoding = "utf-8-sig"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif 0 in raw[:2]:  # UTF-16 without a byte-order mark begins with an ASCII letter
        encoding = "utf-16-be" if raw[0] == 0 else "utf-16-le"
    return raw.decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path) -> dict:
    """Reads a JSON object.

    Raises:
        DataError: Broken JSON (names line and column), or not an object.
    """
    content = parse_json(path, read_text(path))
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, found a {type(content).__name__}.")
    return content


def parse_json(path: Path, text: str, line: int = 0) -> Any:
    """The content of a JSON text; errors name the file and the line in it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {line or error.lineno}, column {error.colno}: broken JSON "
            f"({error.msg}). If the file was downloaded, compare its size with the original's."
        ) from None
    except RecursionError:
        raise DataError(f"{path}: JSON nested too deeply to be a list of captions.") from None


def from_records(
    name: str, records: Iterable[tuple[str, Mapping]], columns: Columns, problems: list[str]
) -> Annotations:
    """Rows of records, each given with its place; columns may hold one caption or several."""
    rows = []
    for where, record in records:
        if not isinstance(record, Mapping) or record.get(columns.image) in (None, ""):
            problems.append(f"{where}: no image is named ({str(record)[:60]})")
            continue
        split = record.get(columns.split) if columns.split else None
        split = "" if columns.split and split is None else split
        row = Row(str(record[columns.image]).strip(), [], split_name(split), where)
        cells = [texts_of(record.get(column)) for column in columns.captions]
        if None in cells:
            problems.append(f"{where}: the captions of {row.image} are not text")
            continue
        texts = [text for cell in cells for text in cell]
        # An empty cell beside others is no caption: some pictures have fewer.
        for text in [text for text in texts if text.strip()] or texts[:1] or [""]:
            row.add(text, where, problems)
        rows.append(row)
    return Annotations(name, rows, problems)


def texts_of(cell: Any) -> list[str] | None:
    r"""The captions in a cell: a text, a list of texts, or such a list written out; None: neither.

    >>> texts_of('["a dog", "a cat"]'), texts_of("['a dog' 'it\\'s a cat']")
    (['a dog', 'a cat'], ['a dog', "it's a cat"])
    """
    if cell is None:
        return []
    if isinstance(cell, Mapping):
        cell = next((cell[name] for name in CAPTION_COLUMNS if name in cell), None)
    if isinstance(cell, list | tuple):
        parts = [texts_of(each) for each in cell]
        return None if None in parts else [text for part in parts for text in part]
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if text[:1] + text[-1:] == "[]":
        separated = re.sub(r"""(?<=['"])\s+(?=['"])""", ", ", text)  # as NumPy prints arrays
        for parse, written in ((json.loads, text), (ast.literal_eval, separated)):
            try:
                found = parse(written)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(found, list) and found and all(isinstance(x, str) for x in found):
                return found
    return [cell]
