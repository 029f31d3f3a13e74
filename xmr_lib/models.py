"""Whole models behind one interface, so that training, evaluation and search are written once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from xmr_lib.cross_attention import CrossAttention, cross_attention_scores
from xmr_lib.data.batches import Batch
from xmr_lib.encoders.backbone import pool_stages
from xmr_lib.encoders.image import ImageEncoder, RegionEncoder
from xmr_lib.encoders.text import TextEncoder, WordEncoder
from xmr_lib.errors import DataError
from xmr_lib.losses import Negatives, triplet_loss
from xmr_lib.recipes import Recipe
from xmr_lib.similarity import SIMILARITIES, Encoded


class RetrievalModel(nn.Module, ABC):
    """What every model offers: encode both sides, score them, and a loss of named parts."""

    recipe: Recipe
    backbone: nn.Module | None

    def fit_features(self, features: Tensor) -> None:
        """Learns from the training images' features what is no weight (standardisation)."""

    @abstractmethod
    def encode_images(self, batch: Batch) -> Encoded:
        """Vectors of the batch's images, and their parts where the model compares parts."""

    @abstractmethod
    def encode_captions(self, batch: Batch) -> Encoded:
        """Vectors of the batch's captions, and their parts where the model compares parts."""

    @abstractmethod
    def score(self, images: Encoded, captions: Encoded) -> Tensor:
        """Similarity of every image with every caption, `(n_images, n_captions)`."""

    def loss(self, batch: Batch, negatives: Negatives | None = None) -> dict[str, Tensor]:
        """Hard triplet loss, both directions (RFE eqs. 1, 7, 8).

        Args:
            batch: Matching pairs.
            negatives: Takes the place of the recipe's during warm-up.

        Returns:
            Named parts of the objective and, as "loss", their sum.
        """
        scores = self.score(self.encode_images(batch), self.encode_captions(batch))
        same_image = batch.same_image if self.recipe.mask_same_image else None
        parts = triplet_loss(
            scores, self.recipe.margin, negatives or self.recipe.negatives, same_image
        )
        return {"loss": parts["L_img"] + parts["L_sent"], **parts}

    def forward(self, batch: Batch, negatives: Negatives | None = None) -> dict[str, Tensor]:
        """`loss`, under the name that data-parallel wrappers call."""
        return self.loss(batch, negatives)


class DualEncoder(RetrievalModel):
    """VSE++ and RFE: one vector an image, one a caption (RFE Fig. 2).

    Args:
        recipe: Which variant.
        vocabulary_size: Number of words.
        stage_dims: Channels of the backbone's C1…C4.
        backbone: Given when it is trained too; batches then carry pixels, not pooled features.
    """

    def __init__(
        self,
        recipe: Recipe,
        vocabulary_size: int,
        stage_dims: Sequence[int],
        backbone: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.recipe, self.backbone = recipe, backbone
        absolute = recipe.similarity == "order"
        self.image = ImageEncoder(
            stage_dims, recipe.joint_dim, recipe.avg_stages, recipe.max_stages,
            recipe.standardise, absolute,
        )  # fmt: skip
        self.text = TextEncoder(
            vocabulary_size, recipe.word_dim, recipe.rnn_dim, recipe.joint_dim,
            recipe.bidirectional, recipe.word_pooling, recipe.norm, recipe.project_text,
            absolute=absolute,
        )  # fmt: skip

    def fit_features(self, pooled: Tensor) -> None:
        """Mean and s.d. of the pooled features of the training images, `(n, width)`."""
        self.image.fit_standardisation(pooled)

    def encode_images(self, batch: Batch) -> Encoded:
        """Unit vectors `(b, joint_dim)` from pooled features, or from pixels."""
        pooled = batch.pooled
        if pooled is None:
            pooled = pool_stages(self.backbone(batch.pixels))  # (b, 2 * sum(stage_dims))
        return Encoded(self.image(pooled))

    def encode_captions(self, batch: Batch) -> Encoded:
        """Unit vectors `(b, joint_dim)`."""
        return Encoded(self.text(batch.tokens, batch.lengths))

    def score(self, images: Encoded, captions: Encoded) -> Tensor:
        """Cosine, or order similarity where the recipe says so."""
        return SIMILARITIES[self.recipe.similarity](images.vectors, captions.vectors)


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


def build(
    recipe: Recipe,
    vocabulary_size: int,
    stage_dims: Sequence[int],
    backbone: nn.Module | None = None,
) -> RetrievalModel:
    """The untrained model of a recipe.

    Args:
        recipe: What to build.
        vocabulary_size: Number of words.
        stage_dims: Channels of the backbone's C1…C4; for models of regions the one size of a
            region's features.
        backbone: Given when it is trained too.

    Raises:
        DataError: A model of regions is to train a backbone.
    """
    if recipe.attention is None:
        return DualEncoder(recipe, vocabulary_size, stage_dims, backbone)
    if backbone is not None:
        raise DataError(f"{recipe.name} compares regions, whose CNN stays frozen: no fine-tuning.")
    (region_dim,) = stage_dims
    return CrossAttentionModel(recipe, vocabulary_size, region_dim)
