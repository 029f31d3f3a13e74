"""Consensus-aware concepts of an item: attention over concepts that a graph has made (CVSE).

SMFEA §3.2.3 takes this module over from CVSE (Wang et al. 2020) without repeating it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xmr_lib.distributed import Share
from xmr_lib.encoders.attention import batch_normalised
from xmr_lib.similarity import l2norm

if TYPE_CHECKING:
    from xmr_lib.models.structured import SmfeaConfig

SHARPNESS = 10.0  # of all softmaxes over concepts


class ConceptGraph(nn.Module):
    """Two layers of graph convolution over the concepts' word vectors."""

    def __init__(self, word_dim: int, hidden: int, joint_dim: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.empty(word_dim, hidden))
        self.second = nn.Parameter(torch.empty(hidden, joint_dim))
        for weight in (self.first, self.second):
            bound = weight.shape[1] ** -0.5
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, vectors: Tensor, adjacency: Tensor) -> Tensor:
        """Concepts in the joint space.

        Args:
            vectors: Word vectors `(n_concepts, word_dim)`.
            adjacency: Normalised, `(n_concepts, n_concepts)`; it is not trained.

        Returns:
            Unit vectors `(n_concepts, joint_dim)`.
        """
        hidden = nn.functional.leaky_relu(adjacency @ (vectors @ self.first), 0.2)
        return l2norm(adjacency @ (hidden @ self.second))


class ConceptAttention(nn.Module):
    """How much each concept has to do with an item."""

    def __init__(self, dim: int) -> None:
        super().__init__()

        def side() -> nn.Sequential:  # normalised over the batch, as in CVSE
            return nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.Tanh())

        self.concepts, self.items, self.score = side(), side(), nn.Linear(dim, 1)

    def forward(self, instance: Tensor, concepts: Tensor, share: Share | None = None) -> Tensor:
        """Weights over the concepts, `(b, n_concepts)`, each row adding up to 1.

        Args:
            instance: Items `(b, d)`.
            concepts: `(n_concepts, d)`.
            share: Which items of a larger batch these are; normalisation is over all of it.
        """
        items, concepts = _mapped(self.items, instance, share), _mapped(self.concepts, concepts)
        # score(i * c) for every pair, without all products at once: (i * w) @ c
        weighed = items * self.score.weight  # (b, d)
        scores = weighed @ concepts.T + self.score.bias  # (b, n_concepts)
        return (SHARPNESS * scores).softmax(1)


def _mapped(side: nn.Sequential, rows: Tensor, share: Share | None = None) -> Tensor:
    linear, norm, tanh = side
    return tanh(batch_normalised(norm, linear(rows), share))


def centred(vectors: Tensor) -> Tensor:
    """Vectors `(n, d)` without what all of them share: minus their mean, then of length one.

    The graph smooths the concepts until they differ little from their mean. An item's concepts,
    a weighted mean of theirs, would be nearly the same vector for every item.

    >>> centred(torch.tensor([[1.0, 5.0], [1.0, 3.0]]))
    tensor([[ 0.,  1.],
            [ 0., -1.]])
    """
    return l2norm(vectors - vectors.mean(0))


def mix_labels(scores: Tensor, labels: Tensor, ratio: float) -> Tensor:
    """Attention of a sentence: its own concepts, mixed with what the attention finds.

    Args:
        scores: Weights of the attention `(b, n_concepts)`.
        labels: Concepts that the sentence names, 0 … 1, `(b, n_concepts)`.
        ratio: Share of the named ones.

    Returns:
        `ratio * softmax(10 * labels) + (1 - ratio) * scores`. A sentence that names none gives
        all concepts the same of its share.
    """
    return ratio * (SHARPNESS * labels).softmax(1) + (1 - ratio) * scores


class Consensus(nn.Module):
    """`V^C` and `S^C` of SMFEA: an item as the concepts that it has to do with.

    Args:
        vectors: Word vectors of the concepts `(n_concepts, word_dim)`.
        adjacency: Normalised, `(n_concepts, n_concepts)`.
        config: Sizes, and the share of a sentence's own concepts (see `mix_labels`).
    """

    def __init__(self, vectors: Tensor, adjacency: Tensor, config: SmfeaConfig) -> None:
        super().__init__()
        self.ratio, self.centred = config.concept_ratio, config.centred_concepts
        self.register_buffer("vectors", vectors)
        self.register_buffer("adjacency", adjacency)
        self.graph = ConceptGraph(vectors.shape[1], config.concept_hidden, config.joint_dim)
        self.image_attention = ConceptAttention(config.joint_dim)
        self.text_attention = ConceptAttention(config.joint_dim)

    def concepts(self) -> Tensor:
        """All concepts in the joint space, unit vectors `(n_concepts, joint_dim)`."""
        concepts = self.graph(self.vectors, self.adjacency)
        return centred(concepts) if self.centred else concepts

    def images(
        self, instance: Tensor, concepts: Tensor, share: Share | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images as concepts: unit vectors `(b, joint_dim)` and weights `(b, n_concepts)`."""
        weights = self.image_attention(instance, concepts, share)
        return l2norm(weights @ concepts), weights

    def captions(
        self, instance: Tensor, labels: Tensor, concepts: Tensor, share: Share | None = None
    ) -> tuple[Tensor, Tensor]:
        """Captions as concepts; `labels` `(b, n_concepts)` are the ones that they name."""
        weights = mix_labels(self.text_attention(instance, concepts, share), labels, self.ratio)
        return l2norm(weights @ concepts), weights


def complete_labels(labels: Tensor, vectors: Tensor, k: int = 5, block: int = 512) -> Tensor:
    """Completes each sentence's concepts by those of its nearest sentences (transductive).

    The rule is ours: a sentence keeps its own concepts and takes those that at least half of its
    neighbours name. CVSE's code completes labels at test time in another way, by the union over
    neighbours among the sentences and among the images. Both ways a sentence's answer depends on
    the other sentences of the test.

    Args:
        labels: Named concepts `(n, n_concepts)`, of any dtype.
        vectors: Unit vectors of the same sentences `(n, d)`.
        k: Neighbours.
        block: Sentences compared at once with all others.

    Returns:
        `(n, n_concepts)`.
    """
    k = min(k, len(labels) - 1)
    if k < 1:
        return labels
    completed = []
    for start in range(0, len(labels), block):
        some = vectors[start : start + block] @ vectors.T  # (block, n)
        rows = torch.arange(len(some), device=some.device)
        some[rows, start + rows] = float("-inf")  # not its own neighbour
        nearest = some.topk(k, dim=1).indices
        shared = labels[nearest].to(vectors).mean(1)  # (block, n_concepts)
        completed.append(torch.maximum(labels[start : start + block], (shared >= 0.5).to(labels)))
    return torch.cat(completed)
