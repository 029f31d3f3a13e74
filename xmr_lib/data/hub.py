"""Reader of data sets that Hugging Face's `datasets` has saved to disk (optional)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from xmr_lib import files
from xmr_lib.data.formats import (
    CAPTION_COLUMNS,
    IMAGE_COLUMNS,
    Annotations,
    Entry,
    add_caption,
    split_name,
)
from xmr_lib.errors import DataError, MissingDependencyError


def read_saved_dataset(folder: Path) -> Annotations:
    """Reads a folder that `save_to_disk` wrote: columns image and caption(s), perhaps split.

    An image is a picture or a path, the captions a text or a list of texts. Pictures that lie in
    the data set itself are written to the cache once, byte for byte.

    Raises:
        MissingDependencyError: `datasets` is not installed.
        DataError: no such columns, or the folder is broken.
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
    entries: dict[str, Entry] = {}
    problems: list[str] = []
    for split, part in parts.items():
        image_column = _column(part.column_names, IMAGE_COLUMNS, folder)
        caption_column = _column(part.column_names, CAPTION_COLUMNS, folder)
        if isinstance(part.features[image_column], datasets.Image):
            part = part.cast_column(image_column, datasets.Image(decode=False))
        store = _picture_folder(folder, split)
        for row, record in enumerate(part):
            where = f"row {row}" if split is None else f"{split}, row {row}"
            image = _image_file(record[image_column], store, row, folder, where)
            own = split_name(record.get("split") or split)
            entry = entries.setdefault(image, Entry(image, [], own, where))
            for caption in _captions(record[caption_column], folder, where):
                add_caption(entry, caption, where, problems)
    return Annotations(folder.name, list(entries.values()), problems)


def _captions(value, folder: Path, where: str) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    texts = [text.get("raw") if isinstance(text, dict) else text for text in texts]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{folder}, {where}: captions must be texts, found {texts!r:.60}.")
    return texts


def _image_file(image, store: Path, row: int, folder: Path, where: str) -> str:
    """Path of a record's image; writes it to the cache where it has none of its own."""
    if isinstance(image, str):
        return image
    name = image.get("path") or ""
    if image.get("bytes") is None:
        return name
    file = store / f"{row:06d}{Path(name).suffix or '.img'}"
    if not file.is_file() or file.stat().st_size != len(image["bytes"]):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".part")
        partial.write_bytes(image["bytes"])
        partial.replace(file)
    return str(file)


def _picture_folder(folder: Path, split: str | None) -> Path:
    states = sorted(folder.rglob("state.json"))
    digest = hashlib.sha256(str(folder).encode())
    for state in states:
        digest.update(state.read_bytes())  # holds the data set's own fingerprint
    return files.cache_dir() / "saved-datasets" / digest.hexdigest()[:16] / (split or "all")


def _column(names: list[str], wanted: tuple[str, ...], folder: Path) -> str:
    for name in wanted:
        if name in names:
            return name
    raise DataError(
        f"{folder}: no column named {' or '.join(wanted)}; it has {', '.join(names)}. "
        "Rename one with rename_column and save the data set again."
    )
