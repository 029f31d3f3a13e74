"""Files of bottom-up attention (Anderson et al. 2018): regions with their boxes.

They are tables without a header, separated by tabs: image_id, image_w, image_h, num_boxes, boxes,
features; the last two are float32 numbers in base64, (num_boxes, 4) in pixels and (num_boxes, d).
A line has 400 kB and a file up to 20 GB, so files are read line by line, and twice: first to learn
which line describes which image, then to copy the regions of the images that are wanted. Both are
done once and kept in the cache.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from xmr_lib import files
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import refuse_part
from xmr_lib.data.regions import Regions
from xmr_lib.data.shards import SHARD, Shards, content_keys
from xmr_lib.errors import DataError

COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
_NAME = re.compile(r"\.tsv(\.\d+)?$", re.IGNORECASE)


class Line(NamedTuple):
    """A line that describes an image.

    Attributes:
        file: Number of the file.
        offset: Where it begins, bytes.
        number: Of the line, from 1.
        dim: Length of a region's feature; 0 if the line is broken.
        problem: Why it cannot be used; empty if it can.
    """

    file: int
    offset: int
    number: int
    dim: int
    problem: str


def recognise(name: str | Path) -> bool:
    """Whether a name is that of such a file (`….tsv`, `….tsv.0`), or of a folder that holds some.

    >>> recognise("test.tsv.0"), recognise("TRAIN.TSV"), recognise("grid-4")
    (True, True, False)
    """
    path = Path(name).expanduser()
    return bool(_NAME.search(path.name)) or (path.is_dir() and bool(_in_folder(path)))


def read(source: Path, data: CaptionedImages, *, cache: Path | None = None) -> Regions:
    """Reads the regions of images, or finds them in the cache.

    Args:
        source: A file, a folder of files, or the common name of pieces (`….tsv` for `….tsv.0`,
            `….tsv.1`). Of images that are there twice, the first sound line counts.
        data: The whole data set whose regions are wanted. An image is found by its file's name
            without ending, or by the number at the end of that, as in MS-COCO
            (`COCO_val2014_000000391895.jpg` is image 391895).
        cache: Folder of the cache; None: `xmr_lib.files.cache_dir()`.

    Returns:
        The regions with their boxes, memory-mapped; images with fewer regions than others are
        padded with zeros.

    Raises:
        DataError: A wanted image has only malformed lines (names file and line), images without
            regions (names five and counts them), two images that would get the same regions, a
            part of a data set, a full or read-only disk.
    """
    tables, folder = _tables(source), Path(cache or files.cache_dir()) / "regions"
    content = content_keys(tables, cache)
    index = _index(tables, content, folder)
    ids = _ids_of(data, index, tables)
    _refuse_two_sizes([index[name] for name in ids], tables)
    keys = [_digest([*content, name]) for name in ids]
    shards = Shards(folder, "bottom-up", {"kind": "bottom-up", "dtype": "float32"})
    if shards.missing(keys):
        with files.locked(shards.folder, "the regions of bottom-up attention"):
            todo = [(index[ids[row]], keys[row]) for row in shards.missing(keys)]
            _copy(shards, sorted(todo), tables, len(keys))
    return Regions(
        shards.rows(keys),
        shards.counts(keys),
        shards.rows(keys, "boxes"),
        "bottom-up",
        "bottom-up attention",
        "none",
        shards.key(keys),
        shards.folder,
    )


def _tables(source: Path) -> tuple[Path, ...]:
    path = source.expanduser().resolve()
    if path.is_file():
        return (path,)
    if path.is_dir():
        pieces, wrong = _in_folder(path), "holds no file *.tsv"
    else:
        pieces, wrong = sorted(path.parent.glob(f"{path.name}.[0-9]*")), "there is no such file"
    if not pieces:
        raise DataError(f"{path}: {wrong}.")
    return tuple(pieces)


def _in_folder(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if _NAME.search(each.name) and each.is_file())


def _index(tables: tuple[Path, ...], content: list[str], folder: Path) -> dict[str, list[Line]]:
    """The lines of each image, in the order of the files; from the cache where it is there."""
    kept = folder / f"bottom-up-{_digest(content)}.json"
    try:
        known = json.loads(kept.read_text("utf-8"))
        index = {name: [Line(*line) for line in lines] for name, lines in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # not there yet, or damaged
        index = {}
    if not index:
        index = _scan(tables)
        with files.atomic(kept) as temporary:
            temporary.write_text(json.dumps(index), "utf-8")
    return index


def _scan(tables: tuple[Path, ...]) -> dict[str, list[Line]]:
    index: dict[str, list[Line]] = {}
    total = sum(table.stat().st_size for table in tables)
    with tqdm(total=total, unit="B", unit_scale=True, desc="looking for images") as bar:
        for file, table in enumerate(tables):
            offset = 0
            with table.open("rb") as stream:
                for number, line in enumerate(stream, start=1):
                    if line.strip():
                        name = line.split(b"\t", 1)[0].decode("utf-8", errors="replace").strip()
                        found = _examined(line.rstrip(b"\r\n").split(b"\t"))
                        index.setdefault(name, []).append(Line(file, offset, number, *found))
                    offset += len(line)
                    bar.update(len(line))
    if not index:
        raise DataError(f"{tables[0]}: the file is empty.")
    return index


def _examined(parts: list[bytes]) -> tuple[int, str]:
    """Length of a feature; or 0 and why a line cannot be used, as far as its lengths tell."""
    if len(parts) != len(COLUMNS):
        wanted = f"{len(COLUMNS)} ({', '.join(COLUMNS)})"
        cause = "Is the line cut short, or the file of another kind?"
        return 0, f"{len(parts)} columns instead of {wanted}. {cause}"
    try:
        width, height, regions = (int(float(part)) for part in parts[1:4])
    except (ValueError, OverflowError):
        return 0, "image_w, image_h and num_boxes must be numbers."
    if min(width, height, regions) < 1:
        return 0, f"image_w {width}, image_h {height} and num_boxes {regions} must be positive."
    of_boxes, of_features = map(_decoded_bytes, parts[4:])
    if of_boxes != regions * 16:
        return 0, f"{of_boxes} bytes of boxes, not {regions} × 16."
    if of_features % (regions * 4) or not of_features:
        text = f"{of_features} bytes of features cannot be divided among {regions} regions."
        return 0, f"{text} Was the file cut short? Fetch it again."
    return of_features // (regions * 4), ""


def _decoded_bytes(text: bytes) -> int:
    """How many bytes a base64 text stands for."""
    return len(text) // 4 * 3 - (len(text) - len(text.rstrip(b"=")))


def _ids_of(
    data: CaptionedImages, index: dict[str, list[Line]], tables: tuple[Path, ...]
) -> list[str]:
    """Id of every image of a data set."""
    refuse_part(data)
    numbers = {str(int(name)): name for name in index if name.isascii() and name.isdigit()}
    ids: dict[str, Path] = {}
    missing = []
    for file in data.image_files:
        number = re.search(r"([0-9]+)$", file.stem)
        name = file.stem if file.stem in index else None
        if name is None and number is not None:
            name = numbers.get(str(int(number.group())))
        if name is None:
            missing.append(file.name)
        elif name in ids:
            raise DataError(
                f"{file.name} and {ids[name].name} would both be image {name} of {tables[0].name}. "
                "Name the image files after the ids there."
            )
        else:
            ids[name] = file
    if missing:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise DataError(
            f"{tables[0]}: no regions for {len(missing):,} of {data.n_images:,} images ({shown}). "
            "Give all files that belong together, or leave these images out: "
            "data.subset(…).as_whole()."
        )
    return list(ids)


def _refuse_two_sizes(images: list[list[Line]], tables: tuple[Path, ...]) -> None:
    sound = [line for lines in images for line in lines if line.dim]
    for line in sound:
        if line.dim != sound[0].dim:
            raise DataError(
                f"{tables[line.file]}, line {line.number}: features have {line.dim} numbers, but "
                f"{sound[0].dim} in {tables[sound[0].file].name}, line {sound[0].number}. All must "
                "come from one network."
            )


def _copy(shards: Shards, todo: list[tuple[list[Line], str]], tables, total: int) -> None:
    """Copies the regions of images, in the order of the files."""
    done = total - len(todo)
    with tqdm(total=total, initial=done, unit="image", desc="copying regions") as bar:
        for first in range(0, len(todo), SHARD):
            found = {}
            for lines, key in todo[first : first + SHARD]:
                found[key] = _first_sound(lines, tables)
                bar.update()
            shards.add(found)


def _first_sound(lines: list[Line], tables: tuple[Path, ...]) -> dict:
    """What the first line of an image that is not broken says."""
    problems = []
    for line in lines:
        problem = line.problem
        if not problem:
            with tables[line.file].open("rb") as stream:
                stream.seek(line.offset)
                found = _decoded(stream.readline())
            if isinstance(found, dict):
                return found
            problem = found
        problems.append(f"{tables[line.file]}, line {line.number}: {problem}")
    raise DataError(problems[0])


def _decoded(line: bytes) -> dict[str, torch.Tensor] | str:
    """Features and boxes as shares of the picture's size; or why the line cannot be used."""
    _, width, height, count, boxes, features = line.rstrip(b"\r\n").split(b"\t")
    try:
        boxes = np.frombuffer(base64.b64decode(boxes, validate=True), "<f4")
        features = np.frombuffer(base64.b64decode(features, validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        return f"not base64 ({error}). Fetch the file again."
    size = np.array([float(width), float(height)] * 2, np.float32)
    shares = np.clip(boxes.reshape(-1, 4) / size, 0, 1)
    values = features.reshape(int(float(count)), -1).astype(np.float32)
    if not (np.isfinite(values).all() and np.isfinite(shares).all()):
        return "holds NaN or infinity."
    return {"values": torch.from_numpy(values), "boxes": torch.from_numpy(shares)}


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]
