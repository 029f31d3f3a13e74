"""Ranks, recall@K and the papers' test protocols, computed block by block.

An image's query is right when *any* of its captions is found, a caption's when its image is
(RFE eq. 10). Ties are broken at random *in expectation*: a model that scores everything the same
gets exactly chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xmr_lib.choices import Protocol
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.files import atomic
from xmr_lib.similarity import Encoded

PROTOCOLS: tuple[Protocol, ...] = ("all", "5k", "1k-folds", "first-1k")
RECALLS = tuple(f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10))

ScoreFunction = Callable[[Encoded, Encoded], Tensor]


@dataclass(frozen=True)
class Ranks:
    """Where each query's best right answer stands.

    Attributes:
        greater: Wrong items scored above the best right one, `(n_queries,)` int64.
        tied: Wrong items scored exactly like it.
        hits: Right items with that best score, at least one.
    """

    greater: np.ndarray
    tied: np.ndarray
    hits: np.ndarray

    def expected(self) -> np.ndarray:
        """Rank of the best right answer, 0 being the top; ties count their expectation."""
        return self.greater + self.tied / (self.hits + 1)

    def recall_at_k(self, k: int) -> np.ndarray:
        """Whether a right answer is among the top `k` (RFE eq. 10), for each query in [0, 1].

        Under ties this is the probability, were the tied items put in random order.

        >>> one_right_among_four_tied = Ranks(np.array([0]), np.array([3]), np.array([1]))
        >>> one_right_among_four_tied.recall_at_k(1)
        array([0.25])
        """
        places = k - self.greater  # left in the top k for the tied group
        all_wrong = np.ones(len(self.greater))
        for drawn in range(k):
            left = (self.tied - drawn) / np.maximum(self.tied + self.hits - drawn, 1)
            all_wrong *= np.where(places > drawn, np.maximum(left, 0), 1)
        return 1 - all_wrong


@dataclass(frozen=True)
class Retrieval:
    """Both directions of one test: `i2t` has a rank for each image, `t2i` for each caption."""

    i2t: Ranks
    t2i: Ranks
    image_of_caption: np.ndarray  # (n_captions,)

    def metrics(self) -> dict[str, float]:
        """Recalls in percent, median and mean rank (1 is best), and their sum (RFE eq. 9)."""
        result: dict[str, float] = {}
        for way, ranks in (("i2t", self.i2t), ("t2i", self.t2i)):
            for k in (1, 5, 10):
                result[f"{way}_r{k}"] = 100 * float(ranks.recall_at_k(k).mean())
            expected = ranks.expected()
            result[f"{way}_medr"] = float(np.floor(np.median(expected)) + 1)
            result[f"{way}_meanr"] = float(expected.mean() + 1)
        result["rsum"] = sum(result[name] for name in RECALLS)
        return result

    def save(self, path: str | Path) -> None:
        """Writes all ranks to an `.npz` file, atomically."""
        arrays = {
            f"{way}_{field}": getattr(getattr(self, way), field)
            for way in ("i2t", "t2i")
            for field in ("greater", "tied", "hits")
        }
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, image_of_caption=self.image_of_caption, **arrays)

    def in_order(self, order: np.ndarray) -> Retrieval:
        """The same for captions in the order that they had before `captions[order]`."""
        back = np.argsort(order, kind="stable")
        t2i = Ranks(self.t2i.greater[back], self.t2i.tied[back], self.t2i.hits[back])
        return Retrieval(self.i2t, t2i, self.image_of_caption[back])

    @classmethod
    def load(cls, path: str | Path) -> Retrieval:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            i2t, t2i = (
                Ranks(*(arrays[f"{way}_{field}"] for field in ("greater", "tied", "hits")))
                for way in ("i2t", "t2i")
            )
            return cls(i2t, t2i, arrays["image_of_caption"])


def evaluate_scores(scores: Tensor | np.ndarray, image_of_caption: np.ndarray) -> Retrieval:
    """Ranks both ways from a whole score matrix.

    Args:
        scores: `(n_images, n_captions)`.
        image_of_caption: For each caption the row of its image, any order, any number an image.

    Raises:
        DataError: A score is NaN, an image has no caption, or the sizes do not fit.

    >>> scores = np.array([[0.9, 0.2, 0.8], [0.1, 0.3, 0.7]])
    >>> evaluate_scores(scores, np.array([0, 0, 1])).t2i.greater
    array([0, 1, 1])
    """
    scores, owner = torch.as_tensor(scores), np.asarray(image_of_caption)
    if scores.numel() == 0 or len(owner) != scores.shape[1]:
        raise DataError(f"A score matrix {tuple(scores.shape)} does not fit {len(owner)} captions.")
    order = np.argsort(owner, kind="stable")
    if (np.diff(owner) < 0).any():
        scores = scores[:, torch.from_numpy(order)]
    found = evaluate_tiles(lambda rows, columns: scores[rows, columns], len(scores), owner[order])
    return found.in_order(order)


def evaluate(
    score: ScoreFunction,
    images: Encoded,
    captions: Encoded,
    image_of_caption: np.ndarray,
    block: int = 500,
) -> Retrieval:
    """Ranks both ways without ever holding the whole score matrix.

    Args:
        score: `(images, captions) -> (n_images, n_captions)`, such as a model's `score`.
        images: Encoded images.
        captions: Encoded captions.
        image_of_caption: For each caption the position of its image.
        block: Images in a tile; a tile holds `block` images × the captions of `block` images.

    Raises:
        DataError: A score is NaN, an image has no caption, or the sizes do not fit.
    """
    if len(image_of_caption) != len(captions):
        raise DataError(
            f"{len(captions)} captions do not fit an index of {len(image_of_caption)} captions."
        )
    owner = np.asarray(image_of_caption)
    order = np.argsort(owner, kind="stable")
    if (np.diff(owner) < 0).any():
        captions = captions[torch.from_numpy(order)]

    def tile(rows: slice, columns: slice) -> Tensor:
        return score(images[rows], captions[columns])

    return evaluate_tiles(tile, len(images), owner[order], block).in_order(order)


def evaluate_tiles(
    tile: Callable[[slice, slice], Tensor],
    n_images: int,
    image_of_caption: np.ndarray,
    block: int = 500,
) -> Retrieval:
    """Ranks both ways from tiles of scores that are computed when they are needed.

    A first pass over the tiles on the diagonal finds the scores of the right answers, a second
    over all tiles counts what beats or equals them. The diagonal's tiles are kept for it (as much
    memory as `block` captions per caption): scores may be slow to compute.

    Args:
        tile: Scores of some images and some captions, `(n_rows, n_columns)`.
        n_images: How many there are.
        image_of_caption: For each caption its image; must not decrease.
        block: Images in a tile; a tile holds `block` images × the captions of `block` images.

    Raises:
        DataError: A score is NaN, an image has no caption, or a caption no image.
    """
    starts = np.searchsorted(image_of_caption, np.arange(n_images + 1))  # first caption of an image
    if (missing := np.flatnonzero(np.diff(starts) == 0)).size or starts[-1] != len(
        image_of_caption
    ):
        raise DataError(
            f"Every image needs a caption and every caption an image: image {missing[:5].tolist()} "
            f"of {n_images} has none."
            if missing.size
            else f"Captions point at images beyond the last of {n_images}."
        )
    blocks = [
        (slice(first, last), slice(int(starts[first]), int(starts[last])))
        for first in range(0, n_images, block)
        for last in [min(first + block, n_images)]
    ]
    best = np.empty(n_images, dtype=np.float64)  # an image's best right score
    hits = np.empty(n_images, dtype=np.int64)  # how many of its captions reach it
    right = np.empty(len(image_of_caption), dtype=np.float64)  # a caption's right score
    diagonal = []
    for rows, columns in blocks:
        scores = _to_numpy(tile(rows, columns), rows, columns)
        diagonal.append(scores)
        owner = image_of_caption[columns] - rows.start
        own = scores[owner, np.arange(len(owner))]
        first_caption = starts[rows] - columns.start
        right[columns] = own
        best[rows] = np.maximum.reduceat(own, first_caption)
        hits[rows] = np.add.reduceat(own == best[rows][owner], first_caption)

    shape_i2t, shape_t2i = (2, n_images), (2, len(image_of_caption))
    i2t, t2i = np.zeros(shape_i2t, dtype=np.int64), np.zeros(shape_t2i, dtype=np.int64)
    for column, (_, columns) in enumerate(blocks):  # re-ranking keeps what a column shares
        for row, (rows, _) in enumerate(blocks):
            if row == column:
                scores = diagonal[row]
            else:
                scores = _to_numpy(tile(rows, columns), rows, columns)
            to_beat = best[rows].astype(scores.dtype)[:, None]
            i2t[0, rows] += np.count_nonzero(scores > to_beat, axis=1)
            i2t[1, rows] += np.count_nonzero(scores >= to_beat, axis=1)
            to_beat = right[columns].astype(scores.dtype)[None]
            t2i[0, columns] += _count_columns(scores > to_beat)
            t2i[1, columns] += _count_columns(scores >= to_beat)
    return Retrieval(
        Ranks(i2t[0], i2t[1] - i2t[0] - hits, hits),
        Ranks(t2i[0], t2i[1] - t2i[0] - 1, np.ones_like(t2i[0])),
        image_of_caption,
    )


def _to_numpy(scores: Tensor, rows: slice, columns: slice) -> np.ndarray:
    scores = scores.detach().cpu().numpy()
    # one reduction tells of any NaN, where a look at every score would cost a pass more
    with np.errstate(invalid="ignore"):  # both infinities add up to NaN, and are fine
        total = scores.sum()
    if np.isnan(total) and np.isnan(scores).any():
        raise DataError(
            f"Scores of images {rows.start}–{rows.stop - 1} against captions {columns.start}–"
            f"{columns.stop - 1} hold NaN. Has the training diverged, or do features hold NaN?"
        )
    return scores


def _count_columns(condition: np.ndarray) -> np.ndarray:
    """True values in each column; adds up bytes, which is twice as fast as `count_nonzero`."""
    total = np.zeros(condition.shape[1], dtype=np.int64)
    for chunk in range(0, len(condition), 255):  # a byte holds 255
        piece = condition[chunk : chunk + 255].view(np.uint8)
        total += np.add.reduce(piece, axis=0, dtype=np.uint8)
    return total


def protocol_parts(
    image_of_caption: np.ndarray, protocol: Protocol = "all", fold_size: int = 1000
) -> list[tuple[slice, slice | np.ndarray]]:
    """Images and captions of each part of a test protocol.

    "all" and "5k" take everything, "first-1k" the first 1,000 images with their captions,
    "1k-folds" each of five consecutive thousands (COCO 1K of the papers: the mean of the five).

    Args:
        image_of_caption: For each caption its image; every image has one.
        protocol: See above.
        fold_size: Images in a fold.

    Returns:
        For each part the images, and the positions of their captions.

    Raises:
        UnknownNameError: There is no such protocol.
        DataError: There are too few images for the protocol.
    """
    if protocol not in PROTOCOLS:
        raise UnknownNameError("protocol", protocol, PROTOCOLS)
    n_images = int(image_of_caption.max()) + 1
    if protocol == "5k" and n_images != 5 * fold_size:
        raise DataError(f"Protocol 5k needs {5 * fold_size} images; there are {n_images}.")
    if protocol in ("all", "5k"):
        return [(slice(0, n_images), slice(0, len(image_of_caption)))]
    n_folds = 5 if protocol == "1k-folds" else 1
    if n_images < n_folds * fold_size:
        raise DataError(
            f"Protocol {protocol} needs {n_folds * fold_size} images; there are {n_images}. "
            "Use protocol 'all'."
        )
    return [
        (
            slice(first, first + fold_size),
            np.flatnonzero((image_of_caption >= first) & (image_of_caption < first + fold_size)),
        )
        for first in range(0, n_folds * fold_size, fold_size)
    ]


def evaluate_protocol(
    score: ScoreFunction,
    images: Encoded,
    captions: Encoded,
    image_of_caption: np.ndarray,
    protocol: Protocol = "all",
    fold_size: int = 1000,
) -> list[Retrieval]:
    """One `Retrieval` for each part of a test protocol (see `protocol_parts`).

    Raises:
        UnknownNameError: There is no such protocol.
        DataError: There are too few images for the protocol.
    """
    owner = np.asarray(image_of_caption)
    return [
        evaluate(score, images[rows], captions[chosen], owner[chosen] - rows.start)
        for rows, chosen in protocol_parts(owner, protocol, fold_size)
    ]


def mean_metrics(results: Sequence[Retrieval]) -> dict[str, float]:
    """Metrics averaged over the parts of a protocol, as the papers do over five folds."""
    each = [result.metrics() for result in results]
    return {name: float(np.mean([m[name] for m in each])) for name in each[0]}


def joined(parts: Sequence[Retrieval]) -> Retrieval:
    """Folds of one test as one: recalls are their mean, and images stay together.

    Args:
        parts: As `evaluate_protocol` returns them, folds of equal size.
    """

    def ranks(way: str) -> Ranks:
        each = [getattr(part, way) for part in parts]
        return Ranks(
            *(np.concatenate([getattr(r, f) for r in each]) for f in ("greater", "tied", "hits"))
        )

    firsts = np.cumsum([0, *(len(part.i2t.greater) for part in parts)])
    image_of_caption = [
        part.image_of_caption + first for part, first in zip(parts, firsts, strict=False)
    ]
    return Retrieval(ranks("i2t"), ranks("t2i"), np.concatenate(image_of_caption))
