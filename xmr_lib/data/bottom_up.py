"""Files of bottom-up attention (Anderson et al. 2018): regions with their boxes.

They are tables without a header, separated by tabs: image_id, image_w, image_h, num_boxes, boxes,
features; the last two are float32 numbers in base64, (num_boxes, 4) in pixels and (num_boxes, d).
A line has 400 kB and a file up to 20 GB, so files are read line by line, and twice: first to learn
where which image is and how many regions it has, then to copy the regions of the images that are
wanted into an array on disk. Both are done once and kept in the cache.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.feature_store import FeatureStore, list_files, open_array, write_atomically
from xmr_lib.data.features import store_label
from xmr_lib.data.region_plans import unpack
from xmr_lib.data.regions import Regions
from xmr_lib.errors import DataError

COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
_BATCH = 64  # images written at once
_SECONDS_BETWEEN_RECORDS = 2.0  # a killed run loses at most this much work


class Place(NamedTuple):
    """Where an image is described.

    Attributes:
        file: Number of the file.
        offset: Where its line begins, bytes.
        line: Number of the line, from 1.
        regions: How many regions it has.
        dim: Length of a region's feature.
    """

    file: int
    offset: int
    line: int
    regions: int
    dim: int


def read(
    source: Path | str | Iterable[Path | str],
    data: CaptionedImages | None = None,
    *,
    dtype: str = "float32",
    cache: Path | None = None,
) -> Regions:
    """Reads the regions of images, or finds them in the cache.

    Args:
        source: A file, or several that are taken as one (`….tsv.0`, `….tsv.1`). Of images that
            are there twice, the first line counts.
        data: The whole data set whose regions are wanted. An image is found by its file's name
            without ending, or by the number at the end of that, as in MS-COCO
            (`COCO_val2014_000000391895.jpg` is image 391895). None: all images of the files, in
            their order (see `image_ids`).
        dtype: "float32", or "float16" for half the disk space.
        cache: Folder of the cache; None: `xmr_lib.files.cache_dir()`.

    Returns:
        The regions with their boxes, memory-mapped; images with fewer regions than others are
        padded with zeros.

    Raises:
        DataError: a malformed line (names file and line), images without regions (names five and
            counts them), two images that would get the same regions, a part of a data set, a full
            or read-only disk.
    """
    files = _files(source)
    root = Path(cache or files.cache_dir()) / "regions"
    listing = list_files(files)
    index = _index(files, listing, root)
    ids = list(index) if data is None else _ids_of(data, index, files)
    places = [index[each] for each in ids]
    n_regions, dim = max(place.regions for place in places), places[0].dim
    name = files[0].name.split(".")[0] if data is None else data.name
    settings = {
        "files": listing,
        "kind": "bottom-up",
        "n_regions": n_regions,
        "dim": dim,
        "dtype": dtype,
    }
    label = store_label(name, "bottom-up")
    store = FeatureStore(root, label, settings, ids, n_regions * (dim + 4), dtype)
    if not store.file.is_file():
        with store.locked():
            if not store.file.is_file():  # another process may have finished it meanwhile
                store.start()
                _fill(store, files, ids, places, n_regions)
                store.finish()
    rows = open_array(store.file, store.shape, check_values=False)  # checked when written
    array, boxes = unpack(rows, n_regions)
    counts = np.array([place.regions for place in places], dtype=np.int64)
    return Regions(
        array, counts, boxes, "bottom-up", "bottom-up attention", "none", store.key, store.folder
    )


def image_ids(
    source: Path | str | Iterable[Path | str], *, cache: Path | None = None
) -> tuple[str, ...]:
    """Ids of all images of the files, in their order.

    Raises:
        DataError: a malformed line; names file and line.
    """
    files = _files(source)
    root = Path(cache or files.cache_dir()) / "regions"
    return tuple(_index(files, list_files(files), root))


def _files(source: Path | str | Iterable[Path | str]) -> tuple[Path, ...]:
    several = [source] if isinstance(source, (str, Path)) else list(source)
    files = tuple(Path(each).expanduser().resolve() for each in several)
    for file in files:
        if not file.is_file():
            raise DataError(f"{file}: there is no such file.")
    if not files:
        raise DataError("Name one file of bottom-up attention or more.")
    return files


def _index(files: tuple[Path, ...], listing: list[str], root: Path) -> dict[str, Place]:
    """Where each image is, in the order of the files; from the cache where it is there."""
    key = hashlib.sha256("\n".join(listing).encode()).hexdigest()
    kept = root / f"{store_label(files[0].name, key[:12])}.json"
    try:
        index = {name: Place(*place) for name, place in json.loads(kept.read_text("utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):  # not there yet, or damaged
        index = {}
    if index:
        return index
    index = _scan(files)
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, json.dumps(index).encode())
    except OSError as error:
        raise DataError(
            f"{kept}: cannot be written ({error.strerror or error}). Set XMR_CACHE to a folder "
            "that you may write to and that has room."
        ) from None
    return index


def _scan(files: tuple[Path, ...]) -> dict[str, Place]:
    index: dict[str, Place] = {}
    total = sum(file.stat().st_size for file in files)
    with tqdm(total=total, unit="B", unit_scale=True, desc="looking for images") as bar:
        for number, file in enumerate(files):
            offset = 0
            with file.open("rb") as stream:
                for count, line in enumerate(stream, start=1):
                    if line.strip():
                        name, place = _place(line, number, offset, count, file)
                        index.setdefault(name, place)
                    offset += len(line)
                    bar.update(len(line))
    if not index:
        raise DataError(f"{files[0]}: the file is empty.")
    first = next(iter(index.values()))
    for place in index.values():
        if place.dim != first.dim:
            raise DataError(
                f"{files[place.file]}, line {place.line}: features have {place.dim} numbers, but "
                f"{first.dim} in {files[first.file].name}, line {first.line}. All must come from "
                "one network."
            )
    return index


def _place(line: bytes, number: int, offset: int, count: int, file: Path) -> tuple[str, Place]:
    """Id and place of the image of a line, after checking what can be checked without decoding."""
    where = f"{file}, line {count}"
    parts = line.rstrip(b"\r\n").split(b"\t")
    if len(parts) != len(COLUMNS):
        raise DataError(
            f"{where}: {len(parts)} columns instead of {len(COLUMNS)} ({', '.join(COLUMNS)}). "
            "Is the line cut short, or the file of another kind?"
        )
    try:
        width, height, regions = (int(float(part)) for part in parts[1:4])
    except (ValueError, OverflowError):
        raise DataError(f"{where}: image_w, image_h and num_boxes must be numbers.") from None
    if width < 1 or height < 1 or regions < 1:
        raise DataError(
            f"{where}: image_w {width}, image_h {height} and num_boxes {regions} must be positive."
        )
    if _decoded_bytes(parts[4]) != regions * 16:
        raise DataError(f"{where}: {_decoded_bytes(parts[4])} bytes of boxes, not {regions} × 16.")
    dim, rest = divmod(_decoded_bytes(parts[5]), regions * 4)
    if rest or not dim:
        raise DataError(
            f"{where}: {_decoded_bytes(parts[5])} bytes of features cannot be divided among "
            f"{regions} regions. Was the file cut short? Fetch it again."
        )
    name = parts[0].decode("utf-8", errors="replace").strip()
    return name, Place(number, offset, count, regions, dim)


def _decoded_bytes(text: bytes) -> int:
    """How many bytes a base64 text stands for."""
    return len(text) // 4 * 3 - (len(text) - len(text.rstrip(b"=")))


def _ids_of(data: CaptionedImages, index: dict[str, Place], files: tuple[Path, ...]) -> list[str]:
    """Id of every image of a data set."""
    if not np.array_equal(data.rows, np.arange(data.n_images)):
        raise DataError(
            f"This is a part of {data.name}. Read the regions of the whole data set and take "
            "`regions.of(part)`, or make the part a data set of its own: part.as_whole()."
        )
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
                f"{file.name} and {ids[name].name} would both be image {name} of {files[0].name}. "
                "Name the image files after the ids there."
            )
        else:
            ids[name] = file
    if missing:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise DataError(
            f"{files[0]}: no regions for {len(missing):,} of {data.n_images:,} images ({shown}). "
            "Give all files that belong together, or leave these images out: "
            "data.subset(…).as_whole()."
        )
    return list(ids)


def _fill(store: FeatureStore, files, ids: list[str], places: list[Place], n_regions: int) -> None:
    """Copies the regions that the store lacks, in the order of the files."""
    todo = np.flatnonzero(~store.done)
    todo = np.array(sorted(todo, key=lambda row: places[row][:2]), dtype=np.int64)
    recorded = time.monotonic()
    lines = _lines(files, [places[row] for row in todo])
    bar = tqdm(total=len(ids), initial=len(ids) - len(todo), unit="image", desc="copying regions")
    try:
        for start in range(0, len(todo), _BATCH):
            rows = todo[start : start + _BATCH]
            values = [_row(next(lines), places[row], files, n_regions, store.dtype) for row in rows]
            store.write(rows, np.stack(values))
            if time.monotonic() - recorded > _SECONDS_BETWEEN_RECORDS:
                store.save_progress()
                recorded = time.monotonic()
            bar.update(len(rows))
    finally:
        store.save_progress()
        bar.close()


def _lines(files: tuple[Path, ...], places: list[Place]) -> Iterator[bytes]:
    """The lines at some places that are in order."""
    for number, file in enumerate(files):
        with file.open("rb") as stream:
            for place in places:
                if place.file == number:
                    stream.seek(place.offset)
                    yield stream.readline()


def _row(line: bytes, place: Place, files, n_regions: int, dtype: np.dtype) -> np.ndarray:
    """Features, then boxes as shares, both padded with zeros: (n_regions * (d + 4),)."""
    where = f"{files[place.file]}, line {place.line}"
    _, width, height, _, boxes, features = line.rstrip(b"\r\n").split(b"\t")
    try:
        boxes = np.frombuffer(base64.b64decode(boxes, validate=True), "<f4")
        features = np.frombuffer(base64.b64decode(features, validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: not base64 ({error}). Fetch the file again.") from None
    size = np.array([float(width), float(height)] * 2, np.float32)
    shares = np.clip(boxes.reshape(-1, 4) / size, 0, 1)
    row = np.zeros(n_regions * (place.dim + 4), dtype)
    with np.errstate(over="ignore"):  # too large for float16: told about below
        row[: features.size] = features
    row[n_regions * place.dim :][: shares.size] = shares.reshape(-1)
    if not np.isfinite(row).all():
        hint = " Use dtype='float32'." if np.isfinite(features).all() else ""
        raise DataError(f"{where}: holds NaN or infinity.{hint}")
    return row
