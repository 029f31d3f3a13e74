"""SCAN and SCAN-RFE: regions and words, compared with each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from xmr_lib.cross_attention import (
    CrossAttention,
    Direction,
    Pooling,
    ScoreNorm,
    cross_attention_scores,
)
from xmr_lib.data.batches import Batch
from xmr_lib.encoders.image import RegionEncoder
from xmr_lib.encoders.text import TextNorm, WordEncoder
from xmr_lib.models import base
from xmr_lib.models.base import ModelConfig, RetrievalModel
from xmr_lib.similarity import Encoded


@dataclass(frozen=True)
class ScanConfig(ModelConfig):
    """What SCAN and SCAN-RFE are made of."""

    bidirectional: bool = True
    attention: Direction = "t-i"  # "t-i": words look at regions, "i-t": regions at words
    pooling: Pooling = "AVG"  # how the cosines become one score
    smooth: float = 9.0  # λ1, inverse temperature of the attention
    lse: float = 6.0  # λ2, sharpness of "LSE"
    attention_norm: ScoreNorm = "clipped_l2norm"  # what happens to products before the softmax
    # SCAN-RFE joins word embeddings to the GRU's states: "project" maps both to the joint space by
    # a layer, "regions" maps the regions to the size of both instead.
    rich_words: Literal["project", "regions"] | None = None
    norm: TextNorm = "parts"  # of a word's state and embedding, see `DualConfig`

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rich_words:
            self._require_state_as_embedding()

    @property
    def space(self) -> int:
        """Size of the space in which regions and words are compared."""
        if self.rich_words == "regions":  # regions come to the words, not words to the regions
            return self.rnn_dim + self.word_dim
        return self.joint_dim


# They learn faster than models of one vector, and every step costs more.
SCALES = {
    "toy": base.SCALES["toy"] | {"epochs": 8, "lr_drop_every": 6},
    "laptop": base.SCALES["laptop"]
    | {"rnn_dim": 256, "joint_dim": 256, "epochs": 7, "lr_drop_every": 5},
    "paper": {},
}


class CrossAttentionModel(RetrievalModel):
    """SCAN and SCAN-RFE: regions and words, compared with each other (RFE §IV-C)."""

    backbone = None
    compares_vectors = False

    def __init__(self, config: ScanConfig, vocabulary_size: int, region_dim: int) -> None:
        super().__init__()
        self.config = config
        self.attention = CrossAttention(
            config.attention, config.pooling, config.smooth, config.lse, config.attention_norm
        )
        self.image = RegionEncoder(region_dim, config)
        self.text = WordEncoder(vocabulary_size, config)

    def fit_features(self, features: Tensor) -> None:
        """Mean and s.d. of regions of training images, `(n, region_dim)`."""
        self.image.fit_standardisation(features)

    def encode_images(self, batch: Batch) -> Encoded:
        """Regions as unit vectors."""
        return Encoded.of_parts(self.image(batch.regions, batch.region_counts))

    def encode_captions(self, batch: Batch) -> Encoded:
        """Words as unit vectors."""
        return Encoded.of_parts(self.text(batch.tokens, batch.lengths))

    def score(self, images: Encoded, captions: Encoded) -> Tensor:
        """Stacked cross attention in the config's direction."""
        return cross_attention_scores(images.parts, captions.parts, self.attention)
