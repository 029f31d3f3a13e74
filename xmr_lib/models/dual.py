"""VSE++ and RFE: one vector an image, one a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from xmr_lib.data.batches import Batch
from xmr_lib.encoders.backbone import pool_stages
from xmr_lib.encoders.image import ImageEncoder
from xmr_lib.encoders.text import TextEncoder, TextNorm, WordPooling
from xmr_lib.errors import DataError
from xmr_lib.models.base import ModelConfig, RetrievalModel
from xmr_lib.similarity import SIMILARITIES, Encoded


@dataclass(frozen=True)
class DualConfig(ModelConfig):
    """What VSE++ and RFE are made of."""

    of_regions: ClassVar[bool] = False

    avg_stages: tuple[int, ...] = (4,)  # stages C1…C4 taken by average pooling
    max_stages: tuple[int, ...] = ()  # stages taken by max pooling
    word_pooling: WordPooling | None = None  # how word embeddings join the GRU's state; None: not
    norm: TextNorm = "parts"  # "parts" as RFE eq. 6 prints it, "after" as the text beside it says
    project_text: bool = True  # a layer follows the text features; VSE++ has none
    similarity: Literal["cosine", "order"] = "cosine"  # "order" for VSE++'s order embeddings

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.avg_stages and not self.max_stages:
            raise DataError("avg_stages and max_stages are both empty: no image features are left.")
        if not self.project_text:
            self._require_state_as_embedding()
            if self.word_pooling is not None:
                raise DataError("word_pooling needs a layer behind it: set project_text=True.")


class DualEncoder(RetrievalModel):
    """VSE++ and RFE: one vector an image, one a caption (RFE Fig. 2).

    Args:
        stage_dims: Channels of the backbone's C1…C4.
        backbone: Given when it is trained too; batches then carry pixels, not pooled features.
    """

    def __init__(
        self,
        config: DualConfig,
        vocabulary_size: int,
        stage_dims: Sequence[int],
        backbone: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        self.compares_vectors = config.similarity == "cosine"
        self.image = ImageEncoder(stage_dims, config)
        self.text = TextEncoder(vocabulary_size, config)

    def fit_features(self, features: Tensor) -> None:
        """Mean and s.d. of the pooled features of the training images, `(n, width)`."""
        self.image.fit_standardisation(features)

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
        """Cosine, or order similarity where the config says so."""
        return SIMILARITIES[self.config.similarity](images.vectors, captions.vectors)
