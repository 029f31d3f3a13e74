"""VSE++ and RFE: one vector an image, one a caption."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from xmr_lib.data.batches import Batch
from xmr_lib.encoders.backbone import pool_stages
from xmr_lib.encoders.image import ImageEncoder
from xmr_lib.encoders.text import TextEncoder
from xmr_lib.models.base import RetrievalModel
from xmr_lib.recipes import Recipe
from xmr_lib.similarity import SIMILARITIES, Encoded


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
