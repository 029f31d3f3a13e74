"""Image–sentence retrieval: RFE, SMFEA and the models that they build on.

>>> import xmr_lib as xmr
>>> run = xmr.run("RFE", data="toy")  # doctest: +SKIP
>>> run.search_images("a dog under a tree")  # doctest: +SKIP

`README.md` beside this file says where each equation of both papers is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what an editor completes; imported when it is used, see `__getattr__`
    from xmr_lib.data.captioned import load as load_data
    from xmr_lib.ensemble import Ensemble
    from xmr_lib.errors import DataError
    from xmr_lib.evaluation import evaluate_scores as evaluate
    from xmr_lib.index.run_index import Index
    from xmr_lib.language.referral_tree import referral_tree
    from xmr_lib.recipes import Recipe
    from xmr_lib.recipes import get as recipe
    from xmr_lib.recipes import names as recipe_names
    from xmr_lib.reranking import rerank
    from xmr_lib.runs import Run, run
    from xmr_lib.runs import load as load_run

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "Ensemble",
    "Index",
    "Recipe",
    "Run",
    "evaluate",
    "load_data",
    "load_run",
    "recipe",
    "recipe_names",
    "referral_tree",
    "rerank",
    "run",
]

_HOMES = {
    "DataError": "errors.DataError",
    "Ensemble": "ensemble.Ensemble",
    "Index": "index.run_index.Index",
    "Recipe": "recipes.Recipe",
    "Run": "runs.Run",
    "evaluate": "evaluation.evaluate_scores",
    "load_data": "data.captioned.load",
    "load_run": "runs.load",
    "recipe": "recipes.get",
    "recipe_names": "recipes.names",
    "referral_tree": "language.referral_tree.referral_tree",
    "rerank": "reranking.rerank",
    "run": "runs.run",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is used, so that `doctor` and `--help` start without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'xmr_lib' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].rpartition(".")
    return getattr(import_module(f"xmr_lib.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
