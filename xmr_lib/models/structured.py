"""SMFEA, its ablations, and CVSE: instance, structured embedding and concepts in one vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xmr_lib.data.batches import Batch
from xmr_lib.encoders.attention import InstanceImageEncoder, self_attention
from xmr_lib.encoders.consensus import Consensus
from xmr_lib.encoders.text import WordEncoder, word_mask
from xmr_lib.encoders.tree import Structured, StructuredEncoder
from xmr_lib.errors import DataError
from xmr_lib.language.knowledge import Knowledge
from xmr_lib.losses import Negatives, divergence, node_cross_entropy, node_divergence
from xmr_lib.models.base import RetrievalModel
from xmr_lib.recipes import Recipe
from xmr_lib.similarity import Encoded, cosine_similarity, l2norm


def fuse(
    instance: Tensor,
    structured: Tensor | None,
    concepts: Tensor | None,
    betas: tuple[float, float, float],
    unit: bool = True,
) -> Tensor:
    """Weighted sum of an item's three representations (SMFEA eq. 15 for images, 16 for sentences).

    Args:
        instance: `V^D` or `S^D`, `(n, d)`.
        structured: `V^T` or `S^T`; None where its weight is 0.
        concepts: `V^C` or `S^C`; None where its weight is 0.
        betas: Weights in this order.
        unit: Each part gets length one first, so that a weight is a proportion; the paper does
            not say, and CVSE, which SMFEA builds on, does. False adds the parts as they are.

    Returns:
        `V^F` or `S^F`, `(n, d)`, of any length: a cosine compares them.

    >>> one, other = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 9.0]])
    >>> fuse(one, other, None, (0.6, 0.4, 0.0))
    tensor([[0.6000, 0.4000]])
    """
    parts = [part for part in zip(betas, (instance, structured, concepts), strict=True) if part[0]]
    return sum(beta * (l2norm(part) if unit else part) for beta, part in parts)


@dataclass(frozen=True)
class Views:
    """A batch's items as SMFEA sees them.

    Attributes:
        instance: `V^D` or `S^D`, `(b, d)`.
        attention: Weights of regions or words that made it, `(b, n_parts)`, zero on padding.
        structured: Tree (or chain) of each item; None where the recipe has none.
        concepts: `V^C` or `S^C`, `(b, d)`; None where the recipe has none.
        concept_weights: Attention over the concepts, `(b, n_concepts)`.
        fused: `V^F` or `S^F`, `(b, d)`.
    """

    instance: Tensor
    attention: Tensor
    structured: Structured | None
    concepts: Tensor | None
    concept_weights: Tensor | None
    fused: Tensor


class StructuredModel(RetrievalModel):
    """SMFEA (its §3): one vector an item, made of three.

    Args:
        recipe: Which variant; `recipe.self_attention` is True.
        vocabulary_size: Number of words.
        region_dim: Size of a region's features.
        knowledge: Categories and concepts of the training captions.

    Raises:
        DataError: The recipe has trees or concepts, and `knowledge` has not.
    """

    backbone = None

    def __init__(
        self, recipe: Recipe, vocabulary_size: int, region_dim: int, knowledge: Knowledge
    ) -> None:
        super().__init__()
        self.recipe = recipe
        knowledge.require(recipe)
        self.image = InstanceImageEncoder(
            region_dim, recipe.joint_dim, recipe.standardise, recipe.attend_raw,
            recipe.attention_scale == "sqrt",
        )  # fmt: skip
        self.text = WordEncoder(
            vocabulary_size, recipe.word_dim, recipe.rnn_dim, recipe.joint_dim,
            recipe.bidirectional, normalise=False,
        )  # fmt: skip
        self.image_tree, self.text_tree = (
            self._tree(knowledge) if recipe.structure else None for _ in range(2)
        )
        self.consensus = None
        if recipe.uses_concepts:
            self.consensus = Consensus(
                torch.from_numpy(knowledge.vectors).float(),
                torch.from_numpy(knowledge.concepts.graph()).float(),
                recipe.joint_dim, recipe.concept_hidden, recipe.concept_ratio,
            )  # fmt: skip
            self.register_buffer("word_concepts", torch.from_numpy(knowledge.word_concepts))

    def _tree(self, knowledge: Knowledge) -> StructuredEncoder:
        recipe, extra = self.recipe, int(self.recipe.null == "class")  # Null comes last
        return StructuredEncoder(
            recipe.joint_dim, recipe.node_dim, len(knowledge.categories.fragments) + extra,
            len(knowledge.categories.relations) + extra, recipe.structure, recipe.cell,
            recipe.node_input == "unit",
        )  # fmt: skip

    def fit_features(self, features: Tensor) -> None:
        """Mean and s.d. of regions of training images, `(n, region_dim)`."""
        self.image.fit_standardisation(features)

    def fit_nodes(self, nodes: np.ndarray | None) -> None:
        """Categories of the training captions' trees `(n, 7)`, for classifiers to begin with."""
        if self.image_tree is None or self.recipe.node_bias == "printed":
            return
        labels = torch.from_numpy(nodes)
        for tree in (self.image_tree, self.text_tree):
            if self.recipe.null == "class":
                labels = _null_as_class(labels, *tree.classifier.sizes)
            tree.classifier.start_from(labels)

    def _graph(self) -> Tensor | None:
        """All concepts in the joint space; None where the recipe has none."""
        return None if self.consensus is None else self.consensus.concepts()

    def image_views(self, batch: Batch, trees: bool = True, graph: Tensor | None = None) -> Views:
        """All that the model makes of the batch's images.

        Args:
            batch: With regions.
            trees: False leaves trees out that the embedding does not use.
            graph: All concepts in the joint space, where they are known already.
        """
        instance, attention = self.image(batch.regions, batch.region_counts)
        tree = self.image_tree(instance) if self._wanted(trees) else None
        embedding = tree.embedding if tree else None
        concepts = weights = None
        if self.consensus is not None:
            graph = self._graph() if graph is None else graph
            concepts, weights = self.consensus.images(instance, graph, batch.share)
        fused = self._fused(instance, embedding, concepts)
        return Views(instance, attention, tree, concepts, weights, fused)

    def caption_views(self, batch: Batch, trees: bool = True, graph: Tensor | None = None) -> Views:
        """All that the model makes of the batch's captions; arguments as for `image_views`."""
        words, lengths = self.text(batch.tokens, batch.lengths).padded()
        mask = word_mask(lengths.to(words.device), words.shape[1])
        instance, attention = self_attention(words, mask, self.image.scaled)
        tree = self.text_tree(instance) if self._wanted(trees) else None
        embedding = tree.embedding if tree else None
        if tree and self.recipe.residual_text:
            embedding = embedding + instance
        concepts = weights = None
        if self.consensus is not None:
            labels = batch.concepts
            if labels is None:
                labels = self.labels(batch.tokens, batch.lengths)
            graph = self._graph() if graph is None else graph
            concepts, weights = self.consensus.captions(instance, labels, graph, batch.share)
        fused = self._fused(instance, embedding, concepts)
        return Views(instance, attention, tree, concepts, weights, fused)

    def _wanted(self, trees: bool) -> bool:
        return self.image_tree is not None and (trees or self.recipe.betas[1] > 0)

    def _fused(self, instance: Tensor, embedding: Tensor | None, concepts: Tensor | None) -> Tensor:
        return fuse(instance, embedding, concepts, self.recipe.betas, self.recipe.fusion == "unit")

    def labels(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Concepts that a caption names itself: `(b, n_concepts)` of 0 and 1."""
        named = self.word_concepts[tokens] + 1  # (b, n_words), 0 where a word is no concept
        named = named.masked_fill(~word_mask(lengths, tokens.shape[1]), 0)
        like = self.consensus.vectors  # (n_concepts, word_dim)
        found = like.new_zeros(len(tokens), len(like) + 1)
        return found.scatter_(1, named, 1.0)[:, 1:]

    def encode_images(self, batch: Batch) -> Encoded:
        """Fused vectors of length one."""
        return Encoded(l2norm(self.image_views(batch, trees=False).fused))

    def encode_captions(self, batch: Batch) -> Encoded:
        """Fused vectors of length one."""
        return Encoded(l2norm(self.caption_views(batch, trees=False).fused))

    def score(self, images: Encoded, captions: Encoded) -> Tensor:
        """Cosine of the fused vectors."""
        return cosine_similarity(images.vectors, captions.vectors)

    def loss(self, batch: Batch, negatives: Negatives | None = None) -> dict[str, Tensor]:
        """Ranking, categories and divergence together (SMFEA eq. 20), each also by its name.

        Args:
            batch: Matching pairs, with the categories of the captions' trees in `batch.nodes`.
            negatives: Takes the place of the recipe's during warm-up.

        Returns:
            "loss", and of its parts those that the recipe has, without their weights: "L_img" and
            "L_sent" (eq. 17), "L_CE" (eq. 18), "D_KL" (eq. 19), and for CVSE "L_instance",
            "L_consensus" and "KL_concepts".

        Raises:
            DataError: The recipe needs categories, and the batch has none.
        """
        graph = self._graph()  # both sides share it
        image, caption = (
            self.image_views(batch, graph=graph),
            self.caption_views(batch, graph=graph),
        )
        recipe = self.recipe

        def rank(one: Tensor, other: Tensor) -> dict[str, Tensor]:
            scores = self.batch_scores(Encoded(l2norm(one)), Encoded(l2norm(other)), batch)
            return self.ranking_loss(scores, batch, negatives)

        parts = rank(image.fused, caption.fused)
        fused, instance, concepts = recipe.rank_weights
        loss = fused * (parts["L_img"] + parts["L_sent"])
        if instance:
            parts["L_instance"] = sum(rank(image.instance, caption.instance).values())
            loss = loss + instance * parts["L_instance"]
        if concepts:
            parts["L_consensus"] = sum(rank(image.concepts, caption.concepts).values())
            loss = loss + concepts * parts["L_consensus"]
        if recipe.concept_kl_weight:
            logs = (_log(views.concept_weights) for views in (caption, image))
            each = divergence(*logs)  # text || image, as in CVSE's code; (b,)
            parts["KL_concepts"] = batch.gathered(each).sum()
            loss = loss + recipe.concept_kl_weight * parts["KL_concepts"]
        if recipe.ce_weight:
            parts["L_CE"] = self._reduced(self._cross_entropy(image, caption, batch), batch)
            loss = loss + recipe.ce_weight * parts["L_CE"]
        if recipe.kl_weight:
            each = node_divergence(image.structured, caption.structured)  # (b, 7)
            parts["D_KL"] = self._reduced(each.sum(1), batch)
            loss = loss + recipe.kl_weight * parts["D_KL"]
        return {"loss": loss, **parts}

    def _cross_entropy(self, image: Views, caption: Views, batch: Batch) -> Tensor:
        """Eq. 18 of each pair, both sides, `(b,)`."""
        if batch.nodes is None:
            raise DataError(f"{self.recipe.name} needs the captions' trees (Batch.nodes).")
        nodes = batch.nodes
        total = 0
        for side in (image.structured, caption.structured):
            if self.recipe.null == "class":
                sizes = (side.fragments.shape[2], side.relations.shape[2])
                nodes = _null_as_class(batch.nodes, *sizes)
            total = total + node_cross_entropy(side.fragments, side.relations, nodes)
        return total

    def _reduced(self, each: Tensor, batch: Batch) -> Tensor:
        each = batch.gathered(each)
        return each.sum() if self.recipe.node_reduction == "sum" else each.mean()


def _log(weights: Tensor) -> Tensor:
    """Logarithm of weights, finite where a sharp attention has come down to 0."""
    return weights.clamp(min=torch.finfo(weights.dtype).tiny).log()


def _null_as_class(nodes: Tensor, n_fragments: int, n_relations: int) -> Tensor:
    """Labels `(b, 7)` with the last category in the place of Null."""
    last = nodes.new_full((7,), n_relations - 1)
    last[::2] = n_fragments - 1
    return torch.where(nodes < 0, last, nodes)
