"""Controls to play with in notebooks; what they show is drawn by the library's figures.

Each needs `ipywidgets` when it is made, and says how to install it where it is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_ROOMS = {
    "attention_explorer": "attention",
    "rerank_explorer": "rerank",
    "tree_explorer": "trees",
    "tree_items": "tree_items",
}

__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    """Explorers are imported when used, each from its own file."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'xmr_lib.widgets' has no attribute {name!r}")
    return getattr(import_module(f"xmr_lib.widgets.{_ROOMS[name]}"), name)
