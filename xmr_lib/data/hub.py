"""Reader of data sets that Hugging Face's `datasets` has saved to disk (optional)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from xmr_lib import files
from xmr_lib.data.records import Annotations, find_columns, from_records, split_name
from xmr_lib.errors import DataError, MissingDependencyError


def read_saved_dataset(folder: Path) -> Annotations:
    """Reads a folder that `save_to_disk` wrote: columns image and caption(s), perhaps split.

    An image is a picture or a path; captions are a text, a list of texts or several columns.
    Pictures that lie in the data set itself are written to the cache once, named by their
    contents, so that rows with the same picture are rows of one image.

    Raises:
        MissingDependencyError: `datasets` is not installed.
        DataError: There are no such columns, or the folder is broken.
    """
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(
            f"{folder}: reading a saved Hugging Face data set needs the package 'datasets'. "
            'Install it with:  pip install "xmr-lib[hub]"'
        ) from None
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # Arrow, JSON and file errors of many kinds
        raise DataError(f"{folder}: cannot be read as a saved data set ({error}).") from None
    parts = loaded if isinstance(loaded, datasets.DatasetDict) else {None: loaded}
    found = Annotations(folder.name, [])
    for split, part in parts.items():
        columns = find_columns(part.column_names)
        if columns is None:
            raise DataError(
                f"{folder}: no columns named image and caption (or alike); it has "
                f"{', '.join(part.column_names)}. Rename them with rename_column and save again."
            )
        if isinstance(part.features[columns.image], datasets.Image):
            part = part.cast_column(columns.image, datasets.Image(decode=False))
        wanted = [name for name in (columns.image, *columns.captions, columns.split) if name]
        place = f"{split}, row" if split else "row"
        records = (
            (f"{place} {i}", row | {columns.image: _file(row[columns.image])})
            for i, row in enumerate(part.select_columns(wanted))
        )
        read = from_records(folder.name, records, columns, found.problems)
        for row in read.rows:
            row.split = row.split or split_name(split)
        found.rows += read.rows
    return found


def _file(image: dict | str) -> str | None:
    """Path of a record's image; writes it to the cache where it has none of its own."""
    if not isinstance(image, dict) or image.get("bytes") is None:
        return image.get("path") if isinstance(image, dict) else image
    name = hashlib.sha256(image["bytes"]).hexdigest()[:24] + Path(image.get("path") or "").suffix
    file = files.cache_dir() / "saved-datasets" / name
    if not file.is_file() or file.stat().st_size != len(image["bytes"]):
        with files.atomic(file) as temporary:
            temporary.write_bytes(image["bytes"])
    return str(file)
