"""Image–sentence retrieval, written to be read: RFE, SMFEA and what they build on.

>>> import xmr_lib as xmr
>>> run = xmr.run("RFE", data="toy")  # doctest: +SKIP
>>> run.search_images("a dog under a tree")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_SHORTCUTS = {
    "run": ("runs", "run"),
    "load_run": ("runs", "load"),
    "load_data": ("data.captioned", "load"),
    "Recipe": ("recipes", "Recipe"),
    "recipe": ("recipes", "get"),
    "recipe_names": ("recipes", "names"),
    "evaluate": ("evaluation", "evaluate_scores"),
    "rerank": ("reranking", "rerank"),
    "Index": ("index.run_index", "Index"),
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is used, so that `doctor` and `--help` start without torch."""
    from importlib import import_module

    if name not in _SHORTCUTS:
        raise AttributeError(f"module 'xmr_lib' has no attribute {name!r}")
    module, attribute = _SHORTCUTS[name]
    return getattr(import_module(f"xmr_lib.{module}"), attribute)
