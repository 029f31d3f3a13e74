"""What every model offers, so that training, evaluation and search are written once."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor, nn

from xmr_lib.data.batches import Batch
from xmr_lib.losses import Negatives, triplet_loss
from xmr_lib.recipes import Recipe
from xmr_lib.similarity import Encoded


class RetrievalModel(nn.Module, ABC):
    """What every model offers: encode both sides, score them, and a loss of named parts."""

    recipe: Recipe
    backbone: nn.Module | None

    def fit_features(self, features: Tensor) -> None:
        """Learns from the training images' features what is no weight (standardisation)."""

    def fit_nodes(self, nodes: np.ndarray | None) -> None:
        """Learns from the categories of the training captions' trees what is only a start."""

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
            batch: Says who has the other pairs.
        """
        if batch.share is None:
            return self.score(images, captions)
        return batch.share.gather(self.score(images, batch.share.gather_encoded(captions)))

    def ranking_loss(
        self, scores: Tensor, batch: Batch, negatives: Negatives | None = None
    ) -> dict[str, Tensor]:
        """The triplet loss of scores `(B, B)`, with the recipe's margin and negatives."""
        same_image = batch.same_image if self.recipe.mask_same_image else None
        return triplet_loss(
            scores, self.recipe.margin, negatives or self.recipe.negatives, same_image
        )

    def forward(self, batch: Batch, negatives: Negatives | None = None) -> dict[str, Tensor]:
        """`loss`, under the name that data-parallel wrappers call."""
        return self.loss(batch, negatives)
