"""Regions, or words, as one vector an item: self-attention with the mean as its query.

SMFEA eqs. 1 to 3, the same for both sides. An item's parts are the keys and the values; what
stands behind its last part is padding and never read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xmr_lib.distributed import Share
from xmr_lib.encoders.image import StandardisedInput
from xmr_lib.encoders.text import word_mask
from xmr_lib.errors import DataError
from xmr_lib.similarity import l2norm

if TYPE_CHECKING:
    from xmr_lib.models.structured import SmfeaConfig

PLACES = 100  # regions that the learned attention tells apart; detectors give at most so many


def mean_part(parts: Tensor, mask: Tensor) -> Tensor:
    """Mean of an item's parts, the query of its attention (SMFEA eq. 1).

    Args:
        parts: Regions or words, padded, `(n, n_parts, d)`.
        mask: True on real parts `(n, n_parts)`, at least one a row.

    Returns:
        `(n, d)`.

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

    >>> query, parts = torch.tensor([[1.0]]), torch.tensor([[[0.0], [0.0], [7.0]]])
    >>> attention_weights(query, parts, torch.tensor([[True, True, False]]))
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

    >>> weights, parts = torch.tensor([[0.25, 0.75]]), torch.tensor([[[4.0], [8.0]]])
    >>> attended(weights, parts, torch.tensor([[True, True]]))
    tensor([[7.]])
    """
    return (weights[:, None] @ parts.masked_fill(~mask[..., None], 0))[:, 0]


def self_attention(parts: Tensor, mask: Tensor, scaled: bool = False) -> tuple[Tensor, Tensor]:
    """Instance vectors `(n, d)` and the weights `(n, n_parts)` that made them (SMFEA eqs. 1-3)."""
    weights = attention_weights(mean_part(parts, mask), parts, mask, scaled)
    return attended(weights, parts, mask), weights


def batch_normalised(norm: nn.BatchNorm1d, rows: Tensor, share: Share | None = None) -> Tensor:
    """Rows `(b, d)` normalised over the batch.

    Args:
        norm: A single row is no batch: the running statistics normalise it.
        rows: This process's.
        share: Which rows of a larger batch these are; the statistics are those of all of it.
    """
    if share is not None:
        return norm(share.gather(rows))[share.rows]
    if len(rows) == 1:
        known = norm.running_mean, norm.running_var, norm.weight, norm.bias
        return nn.functional.batch_norm(rows, *known, eps=norm.eps)
    return norm(rows)


class PlaceNorm(nn.BatchNorm1d):
    """Batch normalisation of each region's place, over the images and the features (CVSE).

    Without padding it is PyTorch's; padding does not count. Places that the training never saw keep
    mean 0 and variance 1.
    """

    def forward(self, parts: Tensor, mask: Tensor) -> Tensor:
        """Regions `(n, n_parts, d)`, `mask` True on real ones `(n, n_parts)`.

        Raises:
            DataError: An image has more regions than there are places.
        """
        n = parts.shape[1]
        if n > self.num_features:
            raise DataError(
                f"The learned attention tells {self.num_features} regions apart, and an image has "
                f"{n}: give fewer regions, or train with learned_attention=False."
            )
        mean, var = self.running_mean[:n], self.running_var[:n]
        if self.training:
            mean, var = self._statistics(parts, mask)
        scale = self.weight[:n] * (var + self.eps).rsqrt()
        return (parts - mean[:, None]) * scale[:, None] + self.bias[:n, None]

    def _statistics(self, parts: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each place `(n_parts,)`; the running ones move towards them."""
        real = mask[..., None]
        values = mask.sum(0) * parts.shape[2]  # of each place
        mean = parts.masked_fill(~real, 0).sum((0, 2)) / values.clamp(min=1)
        off = (parts - mean[:, None]).masked_fill(~real, 0)
        var = off.square().sum((0, 2)) / values.clamp(min=1)
        with torch.no_grad():
            seen = values > 1
            unbiased = var * values / (values - 1).clamp(min=1)
            for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
                known = running[: len(new)]
                known.copy_(torch.where(seen, known.lerp(new, self.momentum), known))
        return mean, var


class LearnedAttention(nn.Module):
    """How much each part counts, as in CVSE's code: `w3 · (tanh(W1 part) * tanh(W2 mean)) + b`.

    It takes the place of eq. 2. For images both products are batch-normalised before the tanh; for
    sentences nothing is, and their mean has length one. Dropout follows each tanh.

    Args:
        places: Most regions of an image; None for sentences.
    """

    def __init__(self, dim: int, dropout: float, places: int | None = None) -> None:
        super().__init__()
        self.part, self.query = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.score = nn.Linear(dim, 1)
        self.part_norm = PlaceNorm(places) if places else None
        self.query_norm = nn.BatchNorm1d(dim) if places else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, parts: Tensor, mask: Tensor, share: Share | None = None) -> Tensor:
        """Weights `(n, n_parts)` that add up to 1, zero on padding; arguments as above.

        Args:
            parts: Padded `(n, n_parts, d)`.
            mask: True on real parts `(n, n_parts)`.
            share: See `batch_normalised`.
        """
        parts = parts.masked_fill(~mask[..., None], 0)
        each, mean = self.part(parts), mean_part(parts, mask)
        if self.part_norm is None:
            mean = self.query(l2norm(mean))
        else:
            mean = batch_normalised(self.query_norm, self.query(mean), share)
            if share is None:
                each = self.part_norm(each, mask)
            else:
                each = self.part_norm(share.gather(each), share.gather(mask))[share.rows]
        each, mean = self.dropout(each.tanh()), self.dropout(mean.tanh())
        scores = self.score(each * mean[:, None])[..., 0]  # (n, n_parts)
        return scores.masked_fill(~mask, float("-inf")).softmax(1)


class InstanceAttention(nn.Module):
    """An item's parts as one vector: by eqs. 1 to 3, or with CVSE's weights in place of eq. 2.

    With `unit_parts` every region and every word's state first gets length one, as in CVSE's code.
    Without it the region with the longest vector, mostly the whole picture, takes all the weight.
    """

    def __init__(self, config: SmfeaConfig, places: int | None = None) -> None:
        super().__init__()
        self.unit, self.scaled = config.unit_parts, config.attention_scale == "sqrt"
        self.learned = None
        if config.learned_attention:
            self.learned = LearnedAttention(config.joint_dim, config.attention_dropout, places)

    def forward(
        self, parts: Tensor, mask: Tensor, share: Share | None = None
    ) -> tuple[Tensor, Tensor]:
        """Instance vectors `(n, d)` and the weights of the parts `(n, n_parts)`."""
        if self.unit:
            parts = l2norm(parts.masked_fill(~mask[..., None], 0))
        if self.learned is None:
            return self_attention(parts, mask, self.scaled)
        weights = self.learned(parts, mask, share)
        return l2norm(attended(weights, parts, mask)), weights


class InstanceImageEncoder(StandardisedInput):
    """An image's regions as one vector `V^D` (SMFEA §3.1.1).

    Attention looks at the regions in the joint space, as §4.2 describes, or with `attend_raw` at
    the features as they came, as eq. 2 reads. The mapping is linear, so only the weights differ.
    """

    def __init__(self, region_dim: int, config: SmfeaConfig) -> None:
        super().__init__(region_dim, config.standardise)
        self.fc = nn.Linear(region_dim, config.joint_dim)  # PyTorch's own start, as §4.2 says
        self.attend_raw = config.attend_raw
        self.attention = InstanceAttention(config, PLACES)

    def forward(
        self, regions: Tensor, counts: Tensor, share: Share | None = None
    ) -> tuple[Tensor, Tensor]:
        """Padded regions to vectors.

        Args:
            regions: `(n, n_regions, region_dim)`.
            counts: How many regions are real, `(n,)`.
            share: See `batch_normalised`.

        Returns:
            `V^D` `(n, joint_dim)`, and the weights of the regions `(n, n_regions)`.
        """
        mask = word_mask(counts, regions.shape[1])
        regions = self.standardised(regions.masked_fill(~mask[..., None], 0))
        if self.attend_raw:
            seen, weights = self_attention(regions, mask, self.attention.scaled)
            return self.fc(seen), weights
        return self.attention(self.fc(regions), mask, share)
