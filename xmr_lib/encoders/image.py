"""Image side of all models: pooled stages of a CNN joined to one vector, or a vector a region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xmr_lib.encoders.backbone import stage_columns
from xmr_lib.errors import DataError
from xmr_lib.similarity import Parts, l2norm

if TYPE_CHECKING:
    from xmr_lib.models.cross import ScanConfig
    from xmr_lib.models.dual import DualConfig


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
    chosen = [("max", stage) for stage in max_stages] + [("avg", stage) for stage in avg_stages]
    return l2norm(torch.cat([pooled[:, stage_columns(stage_dims, *c)] for c in chosen], dim=1))


class StandardisedInput(nn.Module):
    """Subtracts the training features' mean and divides by their s.d., channel by channel."""

    def __init__(self, width: int, standardise: bool) -> None:
        super().__init__()
        self.standardise = standardise
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("feature_scale", torch.ones(width))

    def fit_standardisation(self, features: Tensor) -> None:
        """Fits mean and s.d. of the training images' features, `(n, width)`."""
        if not self.standardise:
            return
        spread = features.std(0, correction=0)
        self.feature_mean.copy_(features.mean(0))
        self.feature_scale.copy_(spread.where(spread > 1e-6, 1.0))  # constant: only centred

    def standardised(self, features: Tensor) -> Tensor:
        """Features `(n, width)`, standardised where that is asked for."""
        if not self.standardise:
            return features
        return (features - self.feature_mean) / self.feature_scale


def _projection(width: int, joint_dim: int) -> nn.Linear:
    """A linear layer as VSE++ and SCAN initialise theirs (Xavier)."""
    layer = nn.Linear(width, joint_dim)
    bound = (6 / (width + joint_dim)) ** 0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.zeros_(layer.bias)
    return layer


class ImageEncoder(StandardisedInput):
    """Rich image representation and its projection to the joint space, `f^(I)` of RFE eqs. 7, 8.

    Stages differ in size by orders of magnitude: without standardising, eq. 2's norm lets the
    largest drown the rest.

    Args:
        stage_dims: Channels of C1…C4 of the backbone that the pooled features come from.
        config: Which stages are taken, and the size of the joint space.

    Raises:
        DataError: The features lack a stage that is taken.
    """

    def __init__(self, stage_dims: Sequence[int], config: DualConfig) -> None:
        super().__init__(2 * sum(stage_dims), config.standardise)
        self.stage_dims, self.absolute = tuple(stage_dims), config.similarity == "order"
        self.avg_stages, self.max_stages = config.avg_stages, config.max_stages
        stages = {*self.avg_stages, *self.max_stages}
        if absent := [stage for stage in sorted(stages) if not stage_dims[stage - 1]]:
            raise DataError(
                f"These features are one vector an image, which stands for C4 alone; the recipe "
                f"also takes {', '.join(f'C{stage}' for stage in absent)}. VSE++ fits them; RFE "
                "takes photographs."
            )
        width = sum(stage_dims[s - 1] for s in (*self.avg_stages, *self.max_stages))
        self.fc = _projection(width, config.joint_dim)

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled stages `(n, 2 * sum(stage_dims))` to unit vectors `(n, joint_dim)`."""
        pooled = self.standardised(pooled)
        features = rich_image_features(pooled, self.stage_dims, self.avg_stages, self.max_stages)
        return self.embed(features)

    def embed(self, features: Tensor) -> Tensor:
        """Joined features `(n, width)` to unit vectors `(n, joint_dim)`."""
        embedded = l2norm(self.fc(features))
        return embedded.abs() if self.absolute else embedded


class RegionEncoder(StandardisedInput):
    """Regions in the joint space, for models that compare them with words (SCAN §3.2)."""

    def __init__(self, region_dim: int, config: ScanConfig) -> None:
        super().__init__(region_dim, config.standardise)
        self.fc = _projection(region_dim, config.space)

    def forward(self, regions: Tensor, counts: Tensor) -> Parts:
        """Padded regions `(n, n_regions, region_dim)` and how many are real, to unit vectors."""
        real = Parts.from_padded(regions, counts)
        return Parts(l2norm(self.fc(self.standardised(real.flat))), real.starts)
