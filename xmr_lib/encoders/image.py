"""Image side of VSE++ and RFE: pooled stages of a CNN, joined, normalised and projected."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xmr_lib.encoders.backbone import stage_columns
from xmr_lib.similarity import l2norm


def rich_image_features(
    pooled: Tensor,
    stage_dims: Sequence[int],
    avg_stages: Sequence[int] = (4,),
    max_stages: Sequence[int] = (1, 2, 3, 4),
) -> Tensor:
    """Joins pooled stages of a CNN and normalises the whole (RFE eq. 2).

    Args:
        pooled: Output of `pool_stages`, `(n, 2 * sum(stage_dims))`.
        stage_dims: Channels of C1…C4.
        avg_stages: Stages taken by average pooling.
        max_stages: Stages taken by max pooling; they come first, as in eq. 2.

    Returns:
        `I_fea`, unit vectors `(n, sum of the chosen stages' channels)`.

    >>> pooled = torch.tensor([[0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 4.0]])  # one channel a stage
    >>> rich_image_features(pooled, (1, 1, 1, 1), avg_stages=(4,), max_stages=(4,))
    tensor([[0.8000, 0.6000]])
    """
    return l2norm(join_stages(pooled, stage_dims, avg_stages, max_stages))


def join_stages(
    pooled: Tensor, stage_dims: Sequence[int], avg_stages: Sequence[int], max_stages: Sequence[int]
) -> Tensor:
    """Eq. 2 without its norm: the chosen pooled stages side by side, `(n, width)`."""
    chosen = [("max", stage) for stage in max_stages] + [("avg", stage) for stage in avg_stages]
    return torch.cat([pooled[:, stage_columns(stage_dims, *c)] for c in chosen], dim=1)


class ImageEncoder(nn.Module):
    """Rich image representation and its projection to the joint space, `f^(I)` of RFE eqs. 7, 8.

    Args:
        stage_dims: Channels of C1…C4 of the backbone that the pooled features come from.
        joint_dim: Size of the joint space.
        avg_stages: Stages taken by average pooling; VSE++ takes C4 alone.
        max_stages: Stages taken by max pooling.
        standardise: Subtract the training set's mean and divide by its s.d., channel by channel,
            before the parts are joined and normalised. Stages differ in size by orders of
            magnitude; without this, eq. 2's norm lets the largest drown the rest.
        absolute: Non-negative embeddings, for the order similarity.
        normalise_features: Eq. 2's norm before the projection; the peers' path for precomputed
            features leaves it out.
        normalise: Unit vectors come out; VSE0's code leaves images as they are.
    """

    def __init__(
        self,
        stage_dims: Sequence[int],
        joint_dim: int,
        avg_stages: Sequence[int] = (4,),
        max_stages: Sequence[int] = (),
        standardise: bool = False,
        absolute: bool = False,
        normalise_features: bool = True,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        self.stage_dims = tuple(stage_dims)
        self.avg_stages, self.max_stages = tuple(avg_stages), tuple(max_stages)
        self.standardise, self.absolute = standardise, absolute
        self.normalise_features, self.normalise = normalise_features, normalise
        self.register_buffer("feature_mean", torch.zeros(2 * sum(stage_dims)))
        self.register_buffer("feature_scale", torch.ones(2 * sum(stage_dims)))
        width = sum(stage_dims[s - 1] for s in (*self.avg_stages, *self.max_stages))
        self.fc = nn.Linear(width, joint_dim)
        bound = (6 / (width + joint_dim)) ** 0.5  # Xavier, as VSE++ initialises its projection
        nn.init.uniform_(self.fc.weight, -bound, bound)
        nn.init.zeros_(self.fc.bias)

    def fit_standardisation(self, pooled: Tensor) -> None:
        """Learns mean and s.d. of the pooled features from the training images, `(n, width)`."""
        if not self.standardise:
            return
        spread = pooled.std(0, correction=0)
        self.feature_mean.copy_(pooled.mean(0))
        self.feature_scale.copy_(
            spread.where(spread > 1e-6, 1.0)
        )  # constant channels: only centred

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled stages `(n, 2 * sum(stage_dims))` to unit vectors `(n, joint_dim)`."""
        if self.standardise:
            pooled = (pooled - self.feature_mean) / self.feature_scale
        join = rich_image_features if self.normalise_features else join_stages
        features = join(pooled, self.stage_dims, self.avg_stages, self.max_stages)
        embedded = self.fc(features)  # (n, joint_dim)
        if self.normalise:
            embedded = l2norm(embedded)
        return embedded.abs() if self.absolute else embedded
