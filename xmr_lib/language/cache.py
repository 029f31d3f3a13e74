"""What takes long to derive from captions is kept in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from xmr_lib.files import atomic, cache_dir

T = TypeVar("T")


def cached(
    name: str,
    key: Any,
    make: Callable[[], T],
    load: Callable[[Path], T],
    save: Callable[[T, Path], None],
) -> T:
    """Reads a value from the cache, or makes it and keeps it there.

    Args:
        name: Folder and ending of the file, such as "trees.json".
        key: What the value depends on, as JSON can hold it.
        make: Computes the value.
        load: Reads it from a file; where that fails, the value is made again.
        save: Writes it to a file.
    """
    folder, ending = name.split(".")
    content = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    file = cache_dir() / folder / f"{content[:20]}.{ending}"
    with suppress(Exception):  # missing or damaged, which raises many types
        return load(file)
    value = make()
    with atomic(file) as temporary:
        save(value, temporary)
    return value
