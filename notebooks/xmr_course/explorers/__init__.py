"""Explorers for notebooks, one call each: controls beside a picture.

Where no widgets run, the current picture is shown instead; where `ipywidgets` is not
installed, a call returns its first picture and says how to install it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# No module has the name of its function: an imported module would hide the function.
_MODULES = {
    "ablation_explorer": "ablation",
    "attention_explorer": "attention",
    "margin_playground": "margin",
    "rerank_explorer": "rerank",
    "retrieval_explorer": "retrieval",
    "tree_explorer": "trees",
    "tree_items": "items",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Explorers are imported when used, each from its own file."""
    if name not in _MODULES:
        raise AttributeError(f"module 'xmr_course.explorers' has no attribute {name!r}")
    return getattr(import_module(f"xmr_course.explorers.{_MODULES[name]}"), name)
