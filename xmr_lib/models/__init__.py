"""Whole models behind one interface, so that training, evaluation and search are written once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from xmr_lib.errors import DataError
from xmr_lib.language.knowledge import Knowledge
from xmr_lib.models.base import ModelConfig, RetrievalModel
from xmr_lib.models.cross import CrossAttentionModel, ScanConfig
from xmr_lib.models.dual import DualConfig, DualEncoder
from xmr_lib.models.structured import SmfeaConfig, StructuredModel

__all__ = [
    "CrossAttentionModel",
    "DualConfig",
    "DualEncoder",
    "ModelConfig",
    "RetrievalModel",
    "ScanConfig",
    "SmfeaConfig",
    "StructuredModel",
    "build",
]


def build(
    config: ModelConfig,
    vocabulary_size: int,
    stage_dims: Sequence[int],
    backbone: nn.Module | None = None,
    knowledge: Knowledge | None = None,
) -> RetrievalModel:
    """The untrained model of a configuration.

    Args:
        config: What to build.
        vocabulary_size: Number of words.
        stage_dims: Channels of the backbone's C1…C4; for models of regions the one size of a
            region's features.
        backbone: Given when it is trained too.
        knowledge: Categories and concepts of the training captions, for SMFEA and CVSE.

    Raises:
        DataError: A model of regions is to train a backbone, or SMFEA's knowledge is missing.
    """
    if isinstance(config, DualConfig):
        return DualEncoder(config, vocabulary_size, stage_dims, backbone)
    if backbone is not None:
        raise DataError("The CNN of models that look at regions stays frozen: no fine-tuning.")
    (region_dim,) = stage_dims
    if isinstance(config, SmfeaConfig):
        return StructuredModel(config, vocabulary_size, region_dim, knowledge or Knowledge())
    return CrossAttentionModel(config, vocabulary_size, region_dim)
