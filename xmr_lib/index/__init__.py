"""Indexes: vectors that are encoded once, kept on disk, and searched again and again.

>>> from xmr_lib import index, runs
>>> found = index.of(runs.run("RFE"), kind="faiss")  # doctest: +SKIP
>>> found.search_images("two dogs in the snow", k=3)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

from xmr_lib.index.kinds import KINDS, Kind

_WHERE = {
    "Changes": ("of_run", "Changes"),
    "ExactIndex": ("exact", "ExactIndex"),
    "FaissIndex": ("faiss_index", "FaissIndex"),
    "MilvusIndex": ("milvus_index", "MilvusIndex"),
    "RunIndex": ("of_run", "RunIndex"),
    "VectorIndex": ("base", "VectorIndex"),
    "of": ("of_run", "RunIndex"),
}

__all__ = ["KINDS", "Kind", *_WHERE]


def __getattr__(name: str) -> Any:
    """Imported when used: the command line asks for `KINDS` alone, and starts without torch."""
    from importlib import import_module

    if name not in _WHERE:
        raise AttributeError(f"module 'xmr_lib.index' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(import_module(f"xmr_lib.index.{module}"), attribute)
