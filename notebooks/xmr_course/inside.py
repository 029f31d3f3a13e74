"""Looking inside SMFEA: predicted trees, how often they are right, and what decides a match.

The referral trees come from the captions; the image's tree is compared with the tree of the caption
that it is paired with. Nothing here is used in training or retrieval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xmr_lib import training
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.encoders.tree import Structured
from xmr_lib.encoding import caption_batches, image_batches
from xmr_lib.errors import DataError
from xmr_lib.evaluation import Ranks
from xmr_lib.language.categories import Categories
from xmr_lib.language.referral_tree import ReferralTree
from xmr_lib.language.trees import trees_of
from xmr_lib.losses import node_divergence
from xmr_lib.models import StructuredModel
from xmr_lib.retriever import Retriever
from xmr_lib.runs import Run
from xmr_lib.similarity import l2norm

PLACES = (
    "1 subject",
    "2 joins 1 and 3",
    "3 subject's second",
    "4 root",
    "5 object",
    "6 joins on",
    "7 last",
)


@dataclass(frozen=True)
class NodePredictions:
    """Most likely categories of both trees of every caption and its image.

    Attributes:
        categories: Dictionaries that the labels are numbers of.
        captions: The captions.
        image_of_caption: Position of each caption's image `(n,)`.
        referral: The captions' own trees.
        truth: Their categories `(n, 7)`, -1 where a place is Null or not in the dictionary.
        image: Predicted by the image's tree `(n, 7)`, -1 for Null where Null is a category.
        caption: Predicted by the caption's tree `(n, 7)`.
        image_confidence: Probability of the predicted category `(n, 7)`.
        caption_confidence: The same of the caption's tree.
        divergence: `D_KL(P^V || P^S)` of each place `(n, 7)`.
        most_frequent: The most frequent category of each place in the training captions `(7,)`.
    """

    categories: Categories
    captions: Sequence[str]
    image_of_caption: np.ndarray
    referral: Sequence[ReferralTree]
    truth: np.ndarray
    image: np.ndarray
    caption: np.ndarray
    image_confidence: np.ndarray
    caption_confidence: np.ndarray
    divergence: np.ndarray
    most_frequent: np.ndarray

    @cached_property
    def known(self) -> np.ndarray:
        """Places whose right category is known `(n, 7)`; only they are judged."""
        return self.truth >= 0

    def right(self, side: str) -> np.ndarray:
        """Where "image" or "caption" names the right category, `(n, 7)`."""
        return self.known & (getattr(self, side) == self.truth)

    def accuracy(self) -> pd.DataFrame:
        """Percent of judged nodes that are right, one row a place and "all", beside a guess.

        Columns: `judged` (how many nodes), `image`, `caption`, and `most frequent`: what always
        answering the place's most frequent training category would score.
        """
        guess = self.known & (self.truth == self.most_frequent)
        found = {"image": self.right("image"), "caption": self.right("caption")}
        found["most frequent"] = guess
        rows = []
        for place in [*range(7), slice(None)]:
            judged = int(self.known[:, place].sum())
            shares = {k: 100 * v[:, place].sum() / max(judged, 1) for k, v in found.items()}
            rows.append({"judged": judged, **shares})
        return pd.DataFrame(rows, index=pd.Index([*PLACES, "all"], name="place"))

    def names(self, side: str, item: int) -> tuple[str | None, ...]:
        """Categories that "image" or "caption" predicts for one caption, place by place."""
        labels = getattr(self, side)[item]
        return tuple(self.categories.name(p, int(label)) for p, label in enumerate(labels, 1))


def predict_nodes(run: Run, data: CaptionedImages | None = None) -> NodePredictions:
    """Both trees of every caption of a data set, and of its image.

    Args:
        run: A finished run of SMFEA with trees.
        data: What to look at; the reported split by default.

    Raises:
        DataError: The run's recipe has no trees.
    """
    model, recipe, knowledge = require_trees(run), run.recipe, run.knowledge
    data = run.report if data is None else data
    trees = trees_of(data.captions, recipe.model.tagger, recipe.model.parser)
    found: dict[str, np.ndarray] = {}
    for chosen, image, caption in _structured(run, model, data):
        values = {"divergence": node_divergence(image, caption)}
        for side, structured in (("image", image), ("caption", caption)):
            best = _most_likely(structured, recipe.model.null == "class")
            values[side], values[f"{side}_confidence"] = best
        for name, value in values.items():  # each (b, 7)
            value = value.cpu().numpy()
            found.setdefault(name, np.empty((data.n_captions, 7), value.dtype))[chosen] = value
    learn = training.three_parts(run.data)[0]
    return NodePredictions(
        categories=knowledge.categories,
        captions=data.captions,
        image_of_caption=data.image_of_caption,
        referral=trees,
        truth=knowledge.categories.labels(trees),
        most_frequent=_most_frequent(knowledge.nodes(recipe.model, learn.captions)),
        **found,
    )


def require_trees(run: Retriever) -> StructuredModel:
    """The model of a run with trees.

    Raises:
        DataError: There are none.
    """
    model = getattr(run, "model", None)
    if not isinstance(model, StructuredModel) or model.image_tree is None:
        raise DataError(f"{run.name} has no trees: give a run of SMFEA, such as runs.run('SMFEA').")
    return model


@torch.inference_mode()
def _structured(
    run: Run, model: StructuredModel, data: CaptionedImages
) -> Iterator[tuple[np.ndarray, Structured, Structured]]:
    """Captions in batches: their places `(b,)`, their images' trees and their own."""
    model.eval()
    device = next(model.parameters()).device
    images = [
        model.image_views(batch.to(device)).structured
        for batch in image_batches(data, run.features.inputs)
    ]
    fragments, relations = (
        torch.cat([getattr(piece, name) for piece in images]) for name in ("fragments", "relations")
    )
    for chosen, batch in caption_batches(run.vocabulary.encode(data.captions)):
        owner = torch.from_numpy(data.image_of_caption[chosen]).to(device)
        image = Structured(fragments[owner], relations[owner])
        yield chosen, image, model.caption_views(batch.to(device)).structured


def _most_likely(structured: Structured, null_is_class: bool) -> tuple[Tensor, Tensor]:
    """Labels and their probabilities, both `(n, 7)`."""
    labels, confidence = [], []
    for scores in (structured.fragments, structured.relations):
        probability, chosen = scores.max(2)
        if null_is_class:
            chosen = chosen.masked_fill(chosen == scores.shape[2] - 1, -1)
        labels.append(chosen)
        confidence.append(probability.exp())
    order = [0, 4, 1, 5, 2, 6, 3]  # four leaves and three relations, back in order
    return torch.cat(labels, 1)[:, order], torch.cat(confidence, 1)[:, order]


def _most_frequent(nodes: np.ndarray) -> np.ndarray:
    """The label that most training trees have at each place `(7,)`; -1 where none has any."""
    return np.array([np.bincount(c[c >= 0]).argmax() if (c >= 0).any() else -1 for c in nodes.T])


@dataclass(frozen=True)
class Contributions:
    """What a pair's score is made of; all parts of a side add up to the score.

    Attributes:
        score: Cosine of the fused vectors.
        image: Share of the image's instance, tree and concepts, by name.
        caption: The same of the caption.
        image_nodes: Share of each node of the image's tree `(7,)`; they add up to its "tree" but
            for the bias of eq. 14.
        caption_nodes: The same of the caption's tree.
    """

    score: float
    image: dict[str, float]
    caption: dict[str, float]
    image_nodes: np.ndarray
    caption_nodes: np.ndarray


@torch.inference_mode()
def contributions(run: Run, caption: int, data: CaptionedImages | None = None) -> Contributions:
    """Which part, and which node, decides how well a caption fits its image.

    The fused vector is a sum (eqs. 15 and 16), and the tree's embedding a sum over its nodes
    (eq. 14), so the cosine is a sum too: each summand is one part's product with the other side's
    fused vector, over both lengths.

    Args:
        run: A finished run of SMFEA with trees.
        caption: Position of a caption of `data`.
        data: The reported split by default.
    """
    model = require_trees(run)
    data = run.report if data is None else data
    device = next(model.parameters()).device
    image = data.subset(data.image_of_caption[caption : caption + 1])
    (seen,) = image_batches(image, run.features.inputs)
    ((_, read),) = caption_batches(run.vocabulary.encode([data.captions[caption]]))
    views = (model.image_views(seen.to(device)), model.caption_views(read.to(device)))
    sides, config = [], run.recipe.model
    unit = config.fusion == "unit"
    for own, other, tree in (
        (*views, model.image_tree),
        (*views[::-1], model.text_tree),
    ):
        towards = l2norm(other.fused)[0] / torch.linalg.vector_norm(own.fused)
        parts = dict(zip(("instance", "tree", "concepts"), config.betas, strict=True))
        values = {"instance": own.instance, "tree": own.embedding, "concepts": own.concepts}
        shares, scale = {}, {}
        for name, beta in parts.items():
            if beta:
                length = torch.linalg.vector_norm(values[name]) if unit else 1
                scale[name] = beta / length
                shares[name] = float(scale[name] * values[name][0] @ towards)
        nodes = tree.embed.node_shares(own.structured.states.hidden)[0]  # (7, d)
        sides.append((shares, (scale.get("tree", 0) * nodes @ towards).cpu().numpy()))
    (image_shares, image_nodes), (caption_shares, caption_nodes) = sides
    score = float(l2norm(views[0].fused)[0] @ l2norm(views[1].fused)[0])
    return Contributions(score, image_shares, caption_shares, image_nodes, caption_nodes)


@torch.inference_mode()
def agreement(run: Run, n: int = 256) -> pd.DataFrame:
    """Whether an image and its own caption agree, part by part.

    Args:
        run: A finished run of SMFEA or CVSE.
        n: How many test images, each with its first caption; all of them where there are fewer.

    Returns:
        Rows "instance", "tree", "concepts" (those that the model has) and "fused". Columns `own`:
        mean cosine of an image and its caption; `others`: of an image and another's caption;
        `rank`: mean place of the own caption among the captions, 1 at best.

    Raises:
        DataError: The run's model has no such parts.
    """
    model = getattr(run, "model", None)
    if not isinstance(model, StructuredModel):
        raise DataError(f"{run.name} has no parts: give a run of SMFEA or CVSE.")
    device = next(model.parameters()).device
    report, features = run.report, run.features.inputs
    first = np.unique(report.image_of_caption, return_index=True)[1][:n]
    images = report.subset(report.image_of_caption[first])
    tokens = run.vocabulary.encode([report.captions[i] for i in first])
    model.eval()
    seen = [model.image_views(batch.to(device)) for batch in image_batches(images, features)]
    read = [
        (rows, model.caption_views(batch.to(device))) for rows, batch in caption_batches(tokens)
    ]
    order = np.argsort(np.concatenate([rows for rows, _ in read]))
    found = {}
    for name in ("instance", "embedding", "concepts", "fused"):
        if getattr(seen[0], name) is None:
            continue
        image, caption = (
            l2norm(torch.cat([getattr(views, name) for views in side]))
            for side in (seen, [views for _, views in read])
        )
        cosines = (image @ caption[order].T).cpu().numpy()
        own = cosines.diagonal()
        found["tree" if name == "embedding" else name] = {
            "own": own.mean(),
            "others": (cosines.sum() - own.sum()) / max(1, cosines.size - len(own)),
            "rank": 1 + (cosines > own[:, None]).sum(1).mean(),
        }
    return pd.DataFrame(found).T


def best_and_worst(
    run: Retriever, baseline: Retriever, way: str = "t2i", n: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Queries where a model gains most over a baseline, and its worst failures.

    Args:
        run: The model.
        baseline: Another model on the same test items.
        way: "t2i" (captions ask) or "i2t" (images ask).
        n: How many of each.

    Returns:
        Positions of the best successes (a right answer comes first; those that the baseline ranks
        lowest come first), and of the worst failures (the model's own worst ranks), each at most
        `(n,)`.

    Raises:
        DataError: The two were tested on different items.
    """
    own, other = (_ranks(retriever, way).expected() for retriever in (run, baseline))
    if len(own) != len(other):
        raise DataError(f"{run.name} and {baseline.name} were not tested on the same items.")
    gained = np.where(own < 1, other - own, -np.inf)
    successes = np.argsort(-gained, kind="stable")[:n]
    failures = np.argsort(-own, kind="stable")[:n]
    return successes[gained[successes] > 0], failures[own[failures] >= 1]


def _ranks(retriever: Retriever, way: str) -> Ranks:
    return getattr(retriever.retrieval, way)
