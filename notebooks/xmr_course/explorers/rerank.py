"""What re-ranking does to recalls and to single answers, to be explored by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from xmr_course.explorers.shared import Explorer, Still, find_ipywidgets
from xmr_course.lessons.answer_drawing import Answer, Answers, plot_explorer
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.errors import DataError
from xmr_lib.evaluation import RECALLS, Retrieval, evaluate_scores
from xmr_lib.figures import Picture
from xmr_lib.reranking import Settings, rerank
from xmr_lib.reranking.k_reciprocal import final_distance
from xmr_lib.retriever import Retriever

Queries = Literal["images", "captions"]
KEPT = 3  # fits that are kept: three tables of distances each


class Reranking:
    """Re-ranks one test set again and again; only a change of k1 or k2 costs a new fit.

    Whole tables of distances are kept, so this is for sets of a few thousand captions.
    `Retriever.evaluate` gives the same numbers for any size.

    Args:
        run: A run or an ensemble.
        data: What is searched; the reported split by default.
    """

    def __init__(self, run: Retriever, data: CaptionedImages | None = None) -> None:
        self.run = run
        self.data = run.report if data is None else data
        images, captions = run.encoded(self.data)
        self._vectors = images.vectors, captions.vectors
        self._scores = torch.from_numpy(run.score_matrix(self.data))
        self._fitted = lru_cache(KEPT)(self._fit)
        self.before = evaluate_scores(self._scores, self.data.image_of_caption)

    def _fit(self, k1: int, k2: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Jaccard distance images × captions, and the original one of either side's queries."""
        cross = None
        if not self.run.compares_vectors:
            cross = self._scores / max(1.0, float(self._scores.max()))
        fitted = rerank(*self._vectors, Settings(k1, k2, 0.0), cross)
        whole = replace(fitted, settings=Settings(k1, k2, 1.0))
        original = {side: whole.distances(side) for side in get_args(Queries)}
        return fitted.distances("images"), original

    def distances(self, settings: Settings, queries: Queries = "images") -> Tensor:
        """Final distances, `(n_queries, n_answers)`."""
        jaccard, original = self._fitted(settings.k1, settings.k2)
        if queries == "captions":
            jaccard = jaccard.T
        return final_distance(jaccard, original[queries], settings.lam)

    def retrieval(self, settings: Settings) -> Retrieval:
        """Ranks after re-ranking, as `Retriever.evaluate(rerank=settings)` gives them."""
        owner = self.data.image_of_caption
        i2t = evaluate_scores(-self.distances(settings, "images"), owner).i2t
        t2i = evaluate_scores(-self.distances(settings, "captions").T, owner).t2i
        return Retrieval(i2t, t2i, owner)

    def answers(
        self, settings: Settings, query: int, queries: Queries = "images", k: int = 5
    ) -> Answers:
        """The best answers of one query before and after.

        Args:
            settings: Of the re-ranking.
            query: Position of an image or a caption.
            queries: Which of the two it is.
            k: How many answers.

        Raises:
            DataError: There is no such query.
        """
        data, owner = self.data, self.data.image_of_caption
        n = data.n_images if queries == "images" else data.n_captions
        if not 0 <= query < n:
            raise DataError(f"There is no query {query}: {data.name} has {n} {queries} here.")
        if queries == "images":
            scores, right = self._scores[query], owner == query
        else:
            scores, right = self._scores[:, query], np.arange(data.n_images) == owner[query]
        order = scores.argsort(descending=True, stable=True).numpy()
        place = np.empty(len(order), dtype=int)
        place[order] = np.arange(1, len(order) + 1)
        final = self.distances(settings, queries)[query]
        new = final.argsort(stable=True).numpy()
        shown = data.captions if queries == "images" else data.image_files

        def ranked(found: np.ndarray) -> list[Answer]:
            return [Answer(int(i), shown[i], bool(right[i]), int(place[i])) for i in found[:k]]

        return Answers(
            data.image_files[query] if queries == "images" else data.captions[query],
            ranked(order),
            ranked(new),
            (1 + int(right[order].argmax()), 1 + int(right[new].argmax())),
        )

    def picture(self, settings: Settings, query: int = 0, queries: Queries = "images") -> Picture:
        """Recalls before and after, and one query's answers: the explorer without its controls."""
        before, after = self.before.metrics(), self.retrieval(settings).metrics()
        ways = {"i2t": "image→text", "t2i": "text→image"}
        recalls = {
            f"{ways[name[:3]]}\nR@{name[5:]}": (before[name], after[name]) for name in RECALLS
        }
        title = (
            f"{self.run.name}, k1 = {settings.k1}, k2 = {settings.k2}, λ = {settings.lam:g}: rsum "
            f"{before['rsum']:.1f} before, {after['rsum']:.1f} after re-ranking (transductive)"
        )
        return plot_explorer(self.answers(settings, query, queries), recalls, title)


def rerank_explorer(
    run: Retriever,
    settings: Settings | None = None,
    query: int = 0,
    queries: Queries = "images",
    data: CaptionedImages | None = None,
) -> RerankExplorer | Still:
    """Turn k1, k2 and λ, and see recalls and one query's answers before and after.

    Args:
        run: A run or an ensemble.
        settings: To begin with; None for the defaults.
        query: Position of the image or caption to begin with.
        queries: Which of the two asks.
        data: What is searched; the reported split by default.

    Returns:
        The explorer; its first picture where ipywidgets is not installed.

    Raises:
        DataError: There is no such query.
    """
    reranking, settings = Reranking(run, data), settings or Settings()
    if find_ipywidgets() is None:
        reranking.answers(settings, query, queries, k=1)  # a wrong query is told at once
        return Still(
            lambda: reranking.picture(settings, query, queries), f"re-ranking of {run.name}"
        )
    return RerankExplorer(reranking, settings, query, queries)


@dataclass(eq=False)
class RerankExplorer(Explorer):
    """Controls with a picture below them; displays itself in a notebook.

    Attributes:
        reranking: What is shown.
        settings: To begin with, then those of the controls.
        query: Likewise.
        queries: Likewise.
    """

    reranking: Reranking
    settings: Settings
    query: int = 0
    queries: Queries = "images"

    def __post_init__(self) -> None:
        widgets = find_ipywidgets()
        self.picture()  # a wrong query is told before there are controls
        begin, lazy = self.settings, {"continuous_update": False}
        k1, k2, most = begin.k1, begin.k2, max(60, begin.k1)
        self.k1 = widgets.IntSlider(k1, min=1, max=most, description="k1", **lazy)
        self.k2 = widgets.IntSlider(k2, min=1, max=k1 + 1, description="k2", **lazy)
        self.lam = widgets.FloatSlider(begin.lam, min=0, max=1, step=0.05, description="λ", **lazy)
        self.side = widgets.ToggleButtons(
            options=get_args(Queries),
            value=self.queries,
            description="queries",
            style={"button_width": "6em"},
        )
        self.number = widgets.BoundedIntText(
            self.query + 1, min=1, max=self._n_queries(), description="query"
        )
        controls = {
            "k1": (self.k1, self._read),
            "k2": (self.k2, self._read),
            "lambda": (self.lam, self._read),
            "queries": (self.side, self._read),
            "number": (self.number, self._read),
        }
        title = f"re-ranking explorer of {self.reranking.run.name}"
        self._build("rerank-explorer", title, controls)
        self.draw()
        self._listen()

    def picture(self) -> Picture:
        """What is chosen now, as a figure."""
        return self.reranking.picture(self.settings, self.query, self.queries)

    def _n_queries(self) -> int:
        data = self.reranking.data
        return data.n_images if self.queries == "images" else data.n_captions

    def _read(self) -> None:
        self.k2.max = self.k1.value + 1  # this may move k2
        self.settings = Settings(self.k1.value, self.k2.value, round(self.lam.value, 2))
        self.queries = self.side.value
        self.number.max = self._n_queries()
        self.query = self.number.value - 1  # readers count from 1
        self.draw()
