"""SCAN and SCAN-RFE: regions and words, compared with each other."""

from __future__ import annotations

from torch import Tensor

from xmr_lib.cross_attention import CrossAttention, cross_attention_scores
from xmr_lib.data.batches import Batch
from xmr_lib.encoders.image import RegionEncoder
from xmr_lib.encoders.text import WordEncoder
from xmr_lib.models.base import RetrievalModel
from xmr_lib.recipes import Recipe
from xmr_lib.similarity import Encoded


class CrossAttentionModel(RetrievalModel):
    """SCAN and SCAN-RFE: regions and words, compared with each other (RFE §IV-C).

    Args:
        recipe: Which variant; `recipe.attention` is not None.
        vocabulary_size: Number of words.
        region_dim: Size of a region's features.
    """

    backbone = None

    def __init__(self, recipe: Recipe, vocabulary_size: int, region_dim: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.attention = CrossAttention(
            recipe.attention, recipe.pooling, recipe.smooth, recipe.lse, recipe.attention_norm
        )
        joint_dim = recipe.joint_dim
        if recipe.rich_words == "regions":  # regions come to the words, not words to the regions
            joint_dim = recipe.rnn_dim + recipe.word_dim
        self.image = RegionEncoder(region_dim, joint_dim, recipe.standardise)
        self.text = WordEncoder(
            vocabulary_size, recipe.word_dim, recipe.rnn_dim, joint_dim, recipe.bidirectional,
            recipe.rich_words is not None, recipe.norm,
        )  # fmt: skip

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
        """Stacked cross attention in the recipe's direction."""
        return cross_attention_scores(images.parts, captions.parts, self.attention)
