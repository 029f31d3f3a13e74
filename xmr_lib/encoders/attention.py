"""Regions, or words, as one vector an item: self-attention with the mean as its query.

SMFEA eqs. 1 to 3, the same for both sides. An item's parts are the keys and the values; what
stands behind its last part is padding and never read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from xmr_lib.encoders.image import StandardisedInput
from xmr_lib.encoders.text import word_mask

if TYPE_CHECKING:
    from xmr_lib.models.structured import SmfeaConfig


def mean_part(parts: Tensor, mask: Tensor) -> Tensor:
    """Mean of an item's parts, the query of its attention (SMFEA eq. 1).

    Args:
        parts: Regions or words, padded, `(n, n_parts, d)`.
        mask: True on real parts `(n, n_parts)`, at least one a row.

    Returns:
        `(n, d)`.

    >>> import torch
    >>> mean_part(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    return parts.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)


def attention_weights(query: Tensor, parts: Tensor, mask: Tensor, scaled: bool = False) -> Tensor:
    """How much each part counts: softmax of its product with the query (SMFEA eq. 2).

    As printed the products are not scaled. They grow with the size of the vectors, until one part
    takes all the weight and no gradient reaches the others; the work that eq. 2 follows (Vaswani
    et al. 2017) divides them by the root of the size, which `scaled` does.

    Args:
        query: `(n, d)`.
        parts: Padded `(n, n_parts, d)`.
        mask: True on real parts `(n, n_parts)`.
        scaled: Divide the products by `sqrt(d)`.

    Returns:
        Weights `(n, n_parts)` that add up to 1, zero on padding.

    >>> import torch
    >>> weights = attention_weights(
    ...     torch.tensor([[1.0]]), torch.tensor([[[0.0], [0.0], [7.0]]]),
    ...     torch.tensor([[True, True, False]]),
    ... )
    >>> weights
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    products = (parts.masked_fill(~mask[..., None], 0) @ query[..., None])[..., 0]
    if scaled:
        products = products / parts.shape[-1] ** 0.5
    return products.masked_fill(~mask, float("-inf")).softmax(1)


def attended(weights: Tensor, parts: Tensor, mask: Tensor) -> Tensor:
    """The parts, added up by their weights (SMFEA eq. 3).

    Args:
        weights: `(n, n_parts)`.
        parts: Padded `(n, n_parts, d)`.
        mask: True on real parts `(n, n_parts)`.

    Returns:
        Instance vectors `(n, d)`, `V^D` or `S^D` of the paper.

    >>> import torch
    >>> attended(
    ...     torch.tensor([[0.25, 0.75]]), torch.tensor([[[4.0], [8.0]]]),
    ...     torch.tensor([[True, True]]),
    ... )
    tensor([[7.]])
    """
    return (weights[:, None] @ parts.masked_fill(~mask[..., None], 0))[:, 0]


def self_attention(parts: Tensor, mask: Tensor, scaled: bool = False) -> tuple[Tensor, Tensor]:
    """Instance vectors `(n, d)` and the weights `(n, n_parts)` that made them (SMFEA eqs. 1-3)."""
    weights = attention_weights(mean_part(parts, mask), parts, mask, scaled)
    return attended(weights, parts, mask), weights


class InstanceImageEncoder(StandardisedInput):
    """An image's regions as one vector `V^D` (SMFEA §3.1.1).

    Attention looks at the regions in the joint space, as §4.2 describes, or with `attend_raw` at
    the features as they came, as eq. 2 reads. The mapping is linear, so only the weights differ.
    """

    def __init__(self, region_dim: int, config: SmfeaConfig) -> None:
        super().__init__(region_dim, config.standardise)
        self.fc = nn.Linear(region_dim, config.joint_dim)  # PyTorch's own start, as §4.2 says
        self.attend_raw, self.scaled = config.attend_raw, config.attention_scale == "sqrt"

    def forward(self, regions: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Padded regions to vectors.

        Args:
            regions: `(n, n_regions, region_dim)`.
            counts: How many regions are real, `(n,)`.

        Returns:
            `V^D` `(n, joint_dim)`, and the weights of the regions `(n, n_regions)`.
        """
        mask = word_mask(counts, regions.shape[1])
        regions = self.standardised(regions.masked_fill(~mask[..., None], 0))
        if self.attend_raw:
            seen, weights = self_attention(regions, mask, self.scaled)
            return self.fc(seen), weights
        return self_attention(self.fc(regions), mask, self.scaled)
