"""SMFEA, its ablations, and CVSE: instance, structured embedding and concepts in one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor, nn

from xmr_lib.configs import Dropout, Several, Share, Weight
from xmr_lib.data.batches import Batch
from xmr_lib.encoders.attention import InstanceAttention, InstanceImageEncoder
from xmr_lib.encoders.consensus import Consensus
from xmr_lib.encoders.text import WordStates, word_mask
from xmr_lib.encoders.tree import Cell, Structure, Structured, StructuredEncoder
from xmr_lib.errors import DataError
from xmr_lib.language.knowledge import Knowledge
from xmr_lib.language.parsing import PARSERS
from xmr_lib.language.tagging import TAGGERS
from xmr_lib.losses import Negatives, divergence, node_cross_entropy, node_divergence
from xmr_lib.models import base
from xmr_lib.models.base import ModelConfig, RetrievalModel
from xmr_lib.similarity import Encoded, cosine_similarity, l2norm

TREE_WEIGHTS = ("ce_weight", "kl_weight", "tree_rank_weight")  # losses of the trees


@dataclass(frozen=True)
class SmfeaConfig(ModelConfig):
    """What SMFEA and CVSE are made of; the defaults are SMFEA's."""

    bidirectional: bool = True
    # Attention over regions and words (SMFEA eqs. 1-3)
    unit_parts: bool = True  # regions and word states get length one first, as in CVSE's code
    learned_attention: bool = True  # CVSE's weights in place of eq. 2
    attention_dropout: Dropout = 0.4  # inside the learned attention, as in CVSE's code
    attention_scale: Literal["sqrt", "printed"] = "printed"  # of eq. 2; "sqrt" divides products
    attend_raw: bool = False  # eq. 2 looks at regions before they are mapped
    word_dropout: Dropout = 0.4  # on word embeddings, as in CVSE's code
    # Trees (SMFEA eqs. 5-14)
    structure: Structure | None = "tree"  # of the seven places (SMFEA Table 7); None: no trees
    shared_trees: bool = True  # both sides share W^o, W_e, W_r, W_i, which have no side in print
    cell: Cell = "printed"  # "printed" as eq. 10 stands, "child_sum" after Tai et al. 2015
    node_dim: int = 128  # size of a node's hidden state
    node_input: Literal["unit", "printed"] = "unit"  # "unit" scales inputs to entries of size 1
    node_bias: Literal["frequency", "printed"] = "frequency"  # what node classifiers start from
    residual_text: bool = False  # S^T also adds the sentence's own vector, as the text says
    null: Literal["ignore", "class"] = "ignore"  # no cross-entropy for empty places, or a category
    n_fragments: int = 1440  # fragments in the dictionary, the most frequent ones
    n_relations: int = 247  # relations in the dictionary
    tagger: Annotated[str, TAGGERS] = "hanta"  # which backend tags words
    parser: Annotated[str, PARSERS] = "chunk"  # which backend parses sentences
    # Fusion and losses (SMFEA eqs. 15-20)
    betas: tuple[float, float, float] = (0.6, 0.2, 0.2)  # of instance, tree and concepts
    fusion: Literal["unit", "printed"] = "unit"  # "unit" gives parts length one before weighting
    ce_weight: Weight = 1.0  # of the nodes' cross-entropy in eq. 20
    kl_weight: Weight = 1.0  # of the divergence between the two trees in eq. 20
    node_reduction: Literal["mean", "sum"] = "mean"  # of both losses, over a batch's pairs
    rank_weights: tuple[float, float, float] = (1.0, 1.0, 0.002)  # of fused, instance, concepts
    tree_rank_weight: Weight = 0.3  # of trees alone; without its beta no part has a loss
    concept_negatives: Negatives = "all"  # of concepts alone; the hardest make them collapse
    # Concepts (SMFEA §3.2.3, CVSE)
    centred_concepts: bool = True  # the concepts' mean is taken off, see `consensus.centred`
    n_concepts: Several = 300  # the most frequent nouns, adjectives and verbs, 7:2:1
    concept_hidden: int = 512  # size of the graph's first layer
    concept_ratio: Share = 0.35  # share of a sentence's own concepts in its attention over them
    concept_kl_weight: Weight = 0.0  # of the divergence between both sides' attention
    word_vectors: str = ""  # GloVe file; "" derives vectors from the training captions
    concept_files: str = ""  # folder of CVSE's own files; "" uses the training captions
    transductive_labels: bool = False  # a sentence's concepts are completed by similar sentences

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_state_as_embedding()
        asked = {"betas": self.betas[1]} | {name: getattr(self, name) for name in TREE_WEIGHTS}
        if self.structure is None and any(asked.values()):
            name = next(name for name, weight in asked.items() if weight)
            raise DataError(f"{name} asks for trees, but there are none: set structure='tree'.")
        if self.attend_raw and self.learned_attention:
            raise DataError("attend_raw is about eq. 2: set learned_attention=False.")

    @property
    def uses_concepts(self) -> bool:
        """Whether consensus concepts take part in the embedding or in a loss."""
        return self.betas[2] > 0 or self.concept_kl_weight > 0


SCALES = {
    "toy": base.SCALES["toy"]
    | {"lr": 4e-3, "warmup_epochs": 2, "node_dim": 64, "concept_hidden": 128},
    "laptop": base.SCALES["laptop"]
    | {"rnn_dim": 256, "joint_dim": 256, "concept_hidden": 256, "epochs": 6, "lr_drop_every": 4}
    | {"lr": 1e-3, "warmup_epochs": 2},
    "paper": {},
}


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
    """A batch's items as SMFEA sees them; None where the config has no trees or concepts."""

    instance: Tensor  # V^D or S^D, (b, d)
    attention: Tensor  # weights of regions or words that made it, (b, n_parts), zero on padding
    structured: Structured | None  # tree (or chain) of each item
    embedding: Tensor | None  # V^T or S^T, (b, d)
    concepts: Tensor | None  # V^C or S^C, (b, d)
    concept_weights: Tensor | None  # attention over the concepts, (b, n_concepts)
    fused: Tensor  # V^F or S^F, (b, d)


class StructuredModel(RetrievalModel):
    """SMFEA (its §3): one vector an item, made of three.

    Raises:
        DataError: The config has trees or concepts, and `knowledge` has not.
    """

    backbone = None

    def __init__(
        self, config: SmfeaConfig, vocabulary_size: int, region_dim: int, knowledge: Knowledge
    ) -> None:
        super().__init__()
        self.config, self.transductive = config, config.transductive_labels
        knowledge.require(config)
        self.image = InstanceImageEncoder(region_dim, config)
        self.text = WordStates(vocabulary_size, config)
        self.word_dropout = nn.Dropout(config.word_dropout)
        self.word_attention = InstanceAttention(config)
        self.image_tree = self.text_tree = self.consensus = None
        if config.structure:
            extra = int(config.null == "class")  # Null comes last
            sizes = len(knowledge.categories.fragments), len(knowledge.categories.relations)
            sizes = [size + extra for size in sizes]
            self.image_tree = StructuredEncoder(config, *sizes)
            twin = self.image_tree if config.shared_trees else None
            self.text_tree = StructuredEncoder(config, *sizes, twin)
        if config.uses_concepts:
            vectors, graph = knowledge.vectors, knowledge.concepts.graph()
            self.consensus = Consensus(
                torch.from_numpy(vectors).float(), torch.from_numpy(graph).float(), config
            )
            self.register_buffer("word_concepts", torch.from_numpy(knowledge.word_concepts))

    @property
    def has_idle_parameters(self) -> bool:
        """Trees get no gradient where neither a weight nor a loss uses all of them."""
        config = self.config
        used = config.betas[1] and (config.ce_weight or config.kl_weight)
        return config.structure is not None and not used

    def fit_features(self, features: Tensor) -> None:
        """Mean and s.d. of regions of training images, `(n, region_dim)`."""
        self.image.fit_standardisation(features)

    def fit_nodes(self, nodes: np.ndarray | None) -> None:
        """Starts the classifiers with the frequencies of the training trees' nodes `(n, 7)`."""
        if self.image_tree is None or self.config.node_bias == "printed":
            return
        labels = torch.from_numpy(nodes)
        for tree in (self.image_tree, self.text_tree):
            if self.config.null == "class":
                labels = _null_as_class(labels, *tree.classifier.sizes)
            tree.classifier.start_from(labels)

    def _graph(self) -> Tensor | None:
        """All concepts in the joint space; None where the config has none."""
        return None if self.consensus is None else self.consensus.concepts()

    def image_views(self, batch: Batch, trees: bool = True, graph: Tensor | None = None) -> Views:
        """All that the model makes of the batch's images.

        Args:
            batch: With regions.
            trees: False leaves trees out that the embedding does not use.
            graph: All concepts in the joint space, where they are known already.
        """
        instance, attention = self.image(batch.regions, batch.region_counts, batch.share)
        tree = self.image_tree(instance) if self._wanted(trees) else None
        embedding = tree.embedding if tree else None
        concepts = None, None
        if self.consensus is not None:
            graph = self._graph() if graph is None else graph
            concepts = self.consensus.images(instance, graph, batch.share)
        return self._views(instance, attention, tree, embedding, *concepts)

    def caption_views(self, batch: Batch, trees: bool = True, graph: Tensor | None = None) -> Views:
        """All that the model makes of the batch's captions; arguments as for `image_views`."""
        embedded = self.word_dropout(self.text.embed(batch.tokens))
        words, lengths = self.text.states(embedded, batch.lengths).padded()
        mask = word_mask(lengths.to(words.device), words.shape[1])
        instance, attention = self.word_attention(words, mask)
        tree = self.text_tree(instance) if self._wanted(trees) else None
        embedding = tree.embedding if tree else None
        if tree and self.config.residual_text:
            embedding = embedding + instance
        concepts = None, None
        if self.consensus is not None:
            labels = batch.concepts
            if labels is None:
                labels = self.labels(batch.tokens, batch.lengths)
            graph = self._graph() if graph is None else graph
            concepts = self.consensus.captions(instance, labels, graph, batch.share)
        return self._views(instance, attention, tree, embedding, *concepts)

    def _wanted(self, trees: bool) -> bool:
        return self.image_tree is not None and (trees or self.config.betas[1] > 0)

    def _views(self, instance, attention, tree, embedding, concepts, weights) -> Views:
        config = self.config
        fused = fuse(instance, embedding, concepts, config.betas, config.fusion == "unit")
        return Views(instance, attention, tree, embedding, concepts, weights, fused)

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
            negatives: Takes the place of the config's during warm-up.

        Returns:
            "loss", and of its parts those that the config has, without their weights: "L_img" and
            "L_sent" (eq. 17), "L_CE" (eq. 18), "D_KL" (eq. 19), the ranking losses "L_instance",
            "L_tree" and "L_consensus" of the parts alone, and CVSE's "KL_concepts".

        Raises:
            DataError: The config needs categories, and the batch has none.
        """
        graph = self._graph()  # both sides share it
        image = self.image_views(batch, graph=graph)
        caption = self.caption_views(batch, graph=graph)
        config = self.config

        def rank(one: Tensor, other: Tensor, negatives: Negatives | None) -> dict[str, Tensor]:
            scores = self.batch_scores(Encoded(l2norm(one)), Encoded(l2norm(other)), batch)
            return self.ranking_loss(scores, batch, negatives)

        parts = rank(image.fused, caption.fused, negatives)
        fused, instance, concepts = config.rank_weights
        loss = fused * (parts["L_img"] + parts["L_sent"])
        d, t, c = config.betas
        of_concepts = "all" if negatives == "all" else config.concept_negatives
        for name, weight, one, other, which in (
            ("L_instance", d and instance, image.instance, caption.instance, negatives),
            (
                "L_tree",
                t and config.tree_rank_weight,
                image.embedding,
                caption.embedding,
                negatives,
            ),
            ("L_consensus", c and concepts, image.concepts, caption.concepts, of_concepts),
        ):
            if weight:
                parts[name] = sum(rank(one, other, which).values())
                loss = loss + weight * parts[name]
        if config.concept_kl_weight:
            logs = (_log(views.concept_weights) for views in (caption, image))
            each = divergence(*logs)  # text || image, as in CVSE's code; (b,)
            parts["KL_concepts"] = batch.gathered(each).sum()
            loss = loss + config.concept_kl_weight * parts["KL_concepts"]
        if config.ce_weight:
            parts["L_CE"] = self._reduced(self._cross_entropy(image, caption, batch), batch)
            loss = loss + config.ce_weight * parts["L_CE"]
        if config.kl_weight:
            each = node_divergence(image.structured, caption.structured)  # (b, 7)
            parts["D_KL"] = self._reduced(each.sum(1), batch)
            loss = loss + config.kl_weight * parts["D_KL"]
        return {"loss": loss, **parts}

    def _cross_entropy(self, image: Views, caption: Views, batch: Batch) -> Tensor:
        """Eq. 18 of each pair, both sides, `(b,)`."""
        if batch.nodes is None:
            raise DataError("This model needs the captions' trees (Batch.nodes).")
        nodes = batch.nodes
        total = 0
        for side in (image.structured, caption.structured):
            if self.config.null == "class":
                sizes = (side.fragments.shape[2], side.relations.shape[2])
                nodes = _null_as_class(batch.nodes, *sizes)
            total = total + node_cross_entropy(side.fragments, side.relations, nodes)
        return total

    def _reduced(self, each: Tensor, batch: Batch) -> Tensor:
        each = batch.gathered(each)
        return each.sum() if self.config.node_reduction == "sum" else each.mean()


def _log(weights: Tensor) -> Tensor:
    """Logarithm of weights, finite where a sharp attention has come down to 0."""
    return weights.clamp(min=torch.finfo(weights.dtype).tiny).log()


def _null_as_class(nodes: Tensor, n_fragments: int, n_relations: int) -> Tensor:
    """Labels `(b, 7)` with the last category in the place of Null."""
    last = nodes.new_full((7,), n_relations - 1)
    last[::2] = n_fragments - 1
    return torch.where(nodes < 0, last, nodes)
