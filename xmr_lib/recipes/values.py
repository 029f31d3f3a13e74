"""Overrides of a recipe's values: turned into their types, and refused where they make no sense."""

from __future__ import annotations

import math
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, get_args

from xmr_lib.cross_attention import Direction, Pooling, ScoreNorm
from xmr_lib.encoders.text import WordPooling
from xmr_lib.encoders.tree import Cell, Structure
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.language.parsing import PARSERS
from xmr_lib.language.tagging import TAGGERS
from xmr_lib.losses import Negatives
from xmr_lib.recipes.recipe import Recipe


def typed(name: str, value: Any) -> Any:
    """An override as its field's type; a single stage does for a tuple of stages."""
    usual = getattr(_USUAL, name)
    if name in _CHOICES:
        return value  # `_check` knows what is allowed
    if name in _WEIGHTS:
        return _three_weights(name, value)
    if isinstance(usual, str):
        if isinstance(value, str):
            return value
        raise DataError(f"{name} is a text, not {value!r}.")
    if isinstance(usual, tuple):
        stages = (value,) if isinstance(value, Integral) else value
        if isinstance(stages, tuple | list) and all(stage in (1, 2, 3, 4) for stage in stages):
            return tuple(sorted({int(stage) for stage in stages}))
        raise DataError(f"{name} takes stages from 1 to 4, as in (1, 2), not {value!r}.")
    if isinstance(usual, bool):
        if isinstance(value, bool):
            return value
        raise DataError(f"{name} is True or False, not {value!r}.")
    wanted, kind = (Real, float) if isinstance(usual, float) else (Integral, int)
    if not isinstance(value, wanted) or isinstance(value, bool):
        what = "a number" if kind is float else "a whole number"
        raise DataError(f"{name} must be {what}, as in {name}={usual}, not {value!r}.")
    return kind(value)


def _three_weights(name: str, value: Any) -> tuple[float, ...]:
    """Three weights that are not negative, not all zero."""
    wanted = f"{name} takes three weights, none below 0 and not all 0, as in (0.6, 0.2, 0.2)"
    if not isinstance(value, tuple | list) or len(value) != 3:
        raise DataError(f"{wanted}, not {value!r}.")
    numbers = [isinstance(each, Real) and not isinstance(each, bool) for each in value]
    if not all(numbers) or not all(0 <= each < math.inf for each in value) or not any(value):
        raise DataError(f"{wanted}, not {value!r}.")
    return tuple(float(each) for each in value)


def check(recipe: Recipe) -> None:
    """Refuses values that could only fail later, deep in the training."""
    for field in fields(Recipe):
        value, choices = getattr(recipe, field.name), _CHOICES.get(field.name)
        if choices and value not in choices:
            raise UnknownNameError(field.name, str(value), map(str, choices))
    for name, least in _LEAST.items():
        if getattr(recipe, name) < least:
            raise DataError(f"{name} must be at least {least}, not {getattr(recipe, name)}.")
    for name in _POSITIVE:
        if not 0 < getattr(recipe, name) < math.inf:
            raise DataError(f"{name} must be above 0 and finite, not {getattr(recipe, name)}.")
    if not recipe.avg_stages and not recipe.max_stages:
        raise DataError("avg_stages and max_stages are both empty: nothing is left of the image.")
    for name in _NOT_NEGATIVE:
        if not 0 <= getattr(recipe, name) < math.inf:
            raise DataError(f"{name} must not be below 0, and finite: {getattr(recipe, name)}.")
    if recipe.concept_ratio > 1:
        raise DataError(f"concept_ratio is a share of 1, not {recipe.concept_ratio}.")
    if recipe.of_regions and recipe.finetune_epochs:
        raise DataError(f"{recipe.name} looks at regions, whose CNN stays frozen: no fine-tuning.")
    _check_structure(recipe)
    gru_is_joint = (
        not recipe.project_text
        or recipe.self_attention
        or (recipe.attention and not recipe.rich_words)
    )
    if gru_is_joint and recipe.rnn_dim != recipe.joint_dim:
        raise DataError(
            f"{recipe.name} takes its GRU state as embedding: rnn_dim ({recipe.rnn_dim}) and "
            f"joint_dim ({recipe.joint_dim}) must be equal."
        )


def _check_structure(recipe: Recipe) -> None:
    """What SMFEA's parts need of each other."""
    asked = {
        "betas": recipe.betas[1] > 0,
        "ce_weight": recipe.ce_weight > 0,
        "kl_weight": recipe.kl_weight > 0,
    }
    if recipe.structure is None and any(asked.values()):
        name = next(name for name, used in asked.items() if used)
        raise DataError(f"{name} asks for trees, but the recipe has none: set structure='tree'.")
    if not recipe.self_attention and (recipe.structure or recipe.uses_concepts):
        raise DataError(
            f"{recipe.name}: trees and concepts build on SMFEA's self-attention "
            "(self_attention=True)."
        )
    if recipe.self_attention and recipe.attention is not None:
        raise DataError(f"{recipe.name}: self_attention and SCAN's attention exclude each other.")


_USUAL = Recipe("")
# What `get` may override: name and scale are its own arguments.
FIELDS = tuple(field.name for field in fields(Recipe) if field.name not in ("name", "scale"))
_CHOICES: dict[str, tuple] = {
    "similarity": ("cosine", "order"),
    "attention": (None, *get_args(Direction)),
    "pooling": get_args(Pooling),
    "attention_norm": get_args(ScoreNorm),
    "rich_words": (None, "project", "regions"),
    "negatives": get_args(Negatives),
    "norm": ("parts", "after"),
    "word_pooling": (None, *get_args(WordPooling)),
    "structure": (None, *get_args(Structure)),
    "attention_scale": ("sqrt", "printed"),
    "cell": get_args(Cell),
    "node_input": ("unit", "printed"),
    "node_bias": ("frequency", "printed"),
    "null": ("ignore", "class"),
    "fusion": ("unit", "printed"),
    "node_reduction": ("mean", "sum"),
    "tagger": TAGGERS,
    "parser": PARSERS,
}
_POSITIVE = ("lr", "finetune_lr", "grad_clip", "lr_drop_factor", "margin", "smooth", "lse")
_LEAST = {
    "epochs": 1, "batch_size": 2, "word_dim": 1, "rnn_dim": 1, "joint_dim": 1, "lr_drop_every": 1,
    "warmup_epochs": 0, "finetune_epochs": 0, "vocabulary_threshold": 1, "node_dim": 1,
    "n_fragments": 1, "n_relations": 1, "n_concepts": 2, "concept_hidden": 1,
}  # fmt: skip
_WEIGHTS = ("betas", "rank_weights")
_NOT_NEGATIVE = ("ce_weight", "kl_weight", "concept_kl_weight", "concept_ratio")
