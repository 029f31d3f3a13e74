"""Whole models behind one interface, so that training, evaluation and search are written once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from xmr_lib.errors import DataError
from xmr_lib.language.knowledge import Knowledge
from xmr_lib.models.base import RetrievalModel
from xmr_lib.models.cross import CrossAttentionModel
from xmr_lib.models.dual import DualEncoder
from xmr_lib.models.structured import StructuredModel
from xmr_lib.recipes import Recipe

__all__ = [
    "CrossAttentionModel", "DualEncoder", "RetrievalModel", "StructuredModel", "build",
]  # fmt: skip


def build(
    recipe: Recipe,
    vocabulary_size: int,
    stage_dims: Sequence[int],
    backbone: nn.Module | None = None,
    knowledge: Knowledge | None = None,
) -> RetrievalModel:
    """The untrained model of a recipe.

    Args:
        recipe: What to build.
        vocabulary_size: Number of words.
        stage_dims: Channels of the backbone's C1…C4; for models of regions the one size of a
            region's features.
        backbone: Given when it is trained too.
        knowledge: Categories and concepts of the training captions, for SMFEA and CVSE.

    Raises:
        DataError: A model of regions is to train a backbone, or SMFEA's knowledge is missing.
    """
    if not recipe.of_regions:
        return DualEncoder(recipe, vocabulary_size, stage_dims, backbone)
    if backbone is not None:
        raise DataError(f"{recipe.name} looks at regions, whose CNN stays frozen: no fine-tuning.")
    (region_dim,) = stage_dims
    if recipe.self_attention:
        return StructuredModel(recipe, vocabulary_size, region_dim, knowledge or Knowledge())
    return CrossAttentionModel(recipe, vocabulary_size, region_dim)
