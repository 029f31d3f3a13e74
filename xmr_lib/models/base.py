"""What every model offers, so that training, evaluation and search are written once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from xmr_lib.configs import Config, Margin
from xmr_lib.data.batches import Batch
from xmr_lib.errors import DataError
from xmr_lib.losses import Negatives, triplet_loss
from xmr_lib.similarity import Encoded


@dataclass(frozen=True)
class ModelConfig(Config):
    """What all models are made of."""

    of_regions: ClassVar[bool] = True  # or of features pooled over the whole image

    standardise: bool = False  # image features are standardised by the training set
    bidirectional: bool = False  # a biGRU, or a GRU that reads forward only
    word_dim: int = 300  # size of a word embedding
    rnn_dim: int = 1024  # size of a GRU state
    joint_dim: int = 1024  # size of the joint space
    margin: Margin = 0.2  # `mg` of RFE eqs. 7 and 8
    negatives: Negatives = "hardest"  # in the batch, or "all"
    mask_same_image: bool = True  # an image's other captions are no negatives; in VSE++ they are

    def _require_state_as_embedding(self) -> None:
        if self.rnn_dim != self.joint_dim:
            raise DataError(
                "This model takes its GRU state as embedding: "
                f"rnn_dim ({self.rnn_dim}) and joint_dim ({self.joint_dim}) must be equal."
            )


# What changes with the scale. Standardising is not in the papers, and off at their scale.
SCALES = {
    "toy": {"word_dim": 64, "rnn_dim": 128, "joint_dim": 128, "standardise": True}
    | {"epochs": 12, "lr": 2e-3, "lr_drop_every": 8, "lr_drop_factor": 0.2, "warmup_epochs": 1}
    | {"vocabulary_threshold": 2},
    "laptop": {"rnn_dim": 384, "joint_dim": 384, "standardise": True}
    | {"epochs": 9, "lr": 5e-4, "lr_drop_every": 7, "lr_drop_factor": 0.2, "warmup_epochs": 1},
    "paper": {},
}


class RetrievalModel(nn.Module, ABC):
    """What every model offers: encode both sides, score them, and a loss of named parts.

    Attributes:
        config: What it is made of.
        backbone: The CNN, where it is trained too; batches then carry pixels.
        compares_vectors: Whether a score is the cosine of one vector an item.
        transductive: Whether a caption's vector depends on the captions encoded with it.
    """

    config: ModelConfig
    backbone: nn.Module | None
    compares_vectors: bool = True
    transductive: bool = False

    @property
    def has_idle_parameters(self) -> bool:
        """Whether some parameters get no gradient."""
        return False

    def fit_features(self, features: Tensor) -> None:
        """Fits the mean and s.d. of the training images' features; these are not trained."""

    def fit_nodes(self, nodes: np.ndarray | None) -> None:
        """Starts the node classifiers with the categories' frequencies in the training captions."""

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
            negatives: Takes the place of the config's during warm-up.

        Returns:
            Named parts of the objective and, as "loss", their sum.
        """
        scores = self.batch_scores(self.encode_images(batch), self.encode_captions(batch), batch)
        parts = self.ranking_loss(scores, batch, negatives)
        return {"loss": parts["L_img"] + parts["L_sent"], **parts}

    def batch_scores(self, images: Encoded, captions: Encoded, batch: Batch) -> Tensor:
        """Similarity of every image with every caption of the whole batch, `(B, B)`.

        Of several processes each compares its own images with everybody's captions: together they
        do the work once, and regions, of which there are more than words, need not travel.

        Args:
            images: This process's.
            captions: This process's.
            batch: Says which processes have the other pairs.
        """
        if batch.share is None:
            return self.score(images, captions)
        return batch.share.gather(self.score(images, batch.share.gather_encoded(captions)))

    def ranking_loss(
        self, scores: Tensor, batch: Batch, negatives: Negatives | None = None
    ) -> dict[str, Tensor]:
        """The triplet loss of scores `(B, B)`, with the config's margin and negatives."""
        config = self.config
        same_image = batch.same_image if config.mask_same_image else None
        return triplet_loss(scores, config.margin, negatives or config.negatives, same_image)

    def forward(self, batch: Batch, negatives: Negatives | None = None) -> dict[str, Tensor]:
        """`loss`, under the name that data-parallel wrappers call."""
        return self.loss(batch, negatives)
