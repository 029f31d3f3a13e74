"""Top-k search with encoded images and captions, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from xmr_lib.errors import DataError
from xmr_lib.evaluation import ScoreFunction
from xmr_lib.similarity import Encoded


@dataclass(frozen=True)
class Hit:
    """One retrieved item.

    Attributes:
        index: Its position in the searched set.
        score: The model's similarity.
        image_file: The picture, or for a caption the picture that it describes.
        caption: The caption, when captions were searched.
        place: Its place among all answers, 1 being the best; None where it follows from the order.
    """

    index: int
    score: float
    image_file: Path
    caption: str | None = None
    place: int | None = None


def top_k(
    score: ScoreFunction, queries: Encoded, gallery: Encoded, k: int, block: int = 4096
) -> tuple[Tensor, Tensor]:
    """The `k` best of the gallery for each query, without the whole score matrix.

    Args:
        score: Compares queries (first) with gallery items (second); swap a model's `score` when
            the queries are captions: `lambda captions, images: model.score(images, captions).T`.
        queries: Encoded queries.
        gallery: Encoded items to search.
        k: How many; fewer come back from a smaller gallery.
        block: Gallery items scored at once.

    Returns:
        Scores and positions, best first, both `(n_queries, min(k, len(gallery)))`. Among equal
        scores the earlier position comes first.

    Raises:
        ValueError: `k` is below 1.
        DataError: The gallery is empty.

    >>> from xmr_lib.similarity import cosine_similarity
    >>> gallery = Encoded(torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]]))
    >>> cosine = lambda a, b: cosine_similarity(a.vectors, b.vectors)
    >>> top_k(cosine, Encoded(torch.tensor([[1.0, 0.0]])), gallery, k=2)[1]
    tensor([[1, 2]])
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if not len(gallery):
        raise DataError("The gallery is empty: there is nothing to search.")
    best_scores = best_places = None
    for start in range(0, len(gallery), block):
        scores = score(queries, gallery[start : start + block])  # (n_queries, block)
        places = torch.arange(start, start + scores.shape[1], device=scores.device)
        places = places.expand_as(scores)
        if best_scores is not None:
            scores = torch.cat([best_scores, scores], dim=1)
            places = torch.cat([best_places, places], dim=1)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
        best_scores, best_places = scores.gather(1, order), places.gather(1, order)
    return best_scores, best_places
