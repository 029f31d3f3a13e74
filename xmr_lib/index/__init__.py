"""Search indexes: pictures and captions are encoded once, kept on disk, and searched many times.

>>> import xmr_lib as xmr
>>> with xmr.Index(xmr.run("RFE"), "faiss") as index:  # doctest: +SKIP
...     hits = index.search_images("two dogs in the snow", k=3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from xmr_lib.index.run_index import Index

Kind = Literal["exact", "faiss", "milvus"]
KINDS: tuple[Kind, ...] = get_args(Kind)

__all__ = ["KINDS", "Index", "Kind"]


def __getattr__(name: str) -> Any:
    """Imports `Index` when it is used: the command line asks for `Kind` alone, without torch."""
    if name != "Index":
        raise AttributeError(f"module 'xmr_lib.index' has no attribute {name!r}")
    from xmr_lib.index.run_index import Index

    return Index
