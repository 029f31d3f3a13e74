"""Explorers for notebooks, one call each: controls above a picture of the library's figures.

Where no widgets run, the picture of the moment stands in for them; where `ipywidgets` is not
installed, a call returns its first picture and says how to install it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# A room must not have the name of what it holds: an imported module would take its place.
_ROOMS = {
    "ablation_explorer": "ablation",
    "attention_explorer": "attention",
    "margin_playground": "margin",
    "rerank_explorer": "rerank",
    "retrieval_explorer": "retrieval",
    "tree_explorer": "trees",
    "tree_items": "items",
}

__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    """Explorers are imported when used, each from its own file."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'xmr_course.explorers' has no attribute {name!r}")
    return getattr(import_module(f"xmr_course.explorers.{_ROOMS[name]}"), name)
