"""The steps of k-reciprocal encoding, Zhong et al. 2017, one function for each equation.

All of them look at the whole test set, queries and answers, and not at one query alone: whatever
is built of them is transductive. Sets and weights are kept as flat arrays, so that memory grows
with the items times their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

PAIRS = 1 << 18  # numbers handled at once: temporary arrays of two megabytes stay in the cache


@dataclass(frozen=True)
class SparseRows:
    """Rows of numbers that are mostly zero: row `i` is `value[start[i]:start[i + 1]]`.

    Attributes:
        start: Where each row starts, and the end, `(n_rows + 1,)`.
        column: Column of each number, ascending in a row.
        value: The numbers.
    """

    start: np.ndarray
    column: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.start) - 1

    def row_of_each(self) -> np.ndarray:
        """Row of each number."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))


def reciprocal(index: np.ndarray) -> np.ndarray:
    """Which neighbours are k-reciprocal: `R(p, k)`, Zhong et al. 2017 eq. 3.

    Args:
        index: Each item itself, then its k nearest (eq. 2), `(N, k + 1)`.

    Returns:
        True where the item is among its neighbour's nearest too, `(N, k + 1)`.

    >>> reciprocal(np.array([[0, 1], [1, 2], [2, 1]]))  # 1 is nearest to 0, but 2 nearest to 1
    array([[ True, False],
           [ True,  True],
           [ True,  True]])
    """
    result = np.empty(index.shape, dtype=bool)
    size = max(1, PAIRS // index.shape[1] ** 2)
    for first in range(0, len(index), size):
        some = index[first : first + size]
        own = np.arange(first, first + len(some))[:, None, None]
        result[first : first + size] = (index[some] == own).any(axis=2)  # (size, k + 1, k + 1)
    return result


def expanded_sets(index: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """k-reciprocal neighbours and neighbours' neighbours: `R*(p, k)`, Zhong et al. 2017 eq. 4.

    The set `R(q, k/2)` of each `q` in `R(p, k)` is added when more than 2/3 of it lie in
    `R(p, k)`, the set before anything is added. The paper says "at least 2/3"; this follows the
    authors' code, as it does in rounding k/2 to an even number where it ends in a half.

    Args:
        index: Each item itself, then its nearest, `(N, min(k + 1, N))`.
        k: Neighbours that describe an item.

    Returns:
        `start` `(N + 1,)` and `member`: the set of item `i` is `member[start[i]:start[i + 1]]`,
        ascending; it always holds the item.
    """
    n = len(index)
    is_mine = reciprocal(index)
    half = index[:, : round(k / 2) + 1]
    is_theirs = reciprocal(half)
    n_theirs = is_theirs.sum(axis=1)
    size = min(n, max(1, 16 * PAIRS // n))
    in_set = np.zeros((size, n), dtype=bool)  # a look-up table for some items
    keys = []
    for first in range(0, n, size):
        p, place = np.nonzero(is_mine[first : first + size])
        q = index[first + p, place]
        theirs, real = half[q], is_theirs[q]  # (pairs of p and q, k/2 + 1)
        in_set[p, q] = True
        shared = (in_set[p[:, None], theirs] & real).sum(axis=1)
        in_set[p, q] = False
        accepted = 3 * shared > 2 * n_theirs[q]
        added = theirs[accepted][real[accepted]]
        adder = np.repeat(p[accepted], n_theirs[q[accepted]])
        key = np.sort(np.concatenate([p * n + q, adder * n + added]))
        keys.append(key[np.diff(key, prepend=-1) > 0] + first * n)  # each once
    item, member = np.divmod(np.concatenate(keys), n)
    return np.searchsorted(item, np.arange(n + 1)), member


def encode(distance: np.ndarray, start: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Weights of the members of an item's set: `exp(-d)`, Zhong et al. 2017 eq. 7, summing to one.

    Args:
        distance: Squared distance to each member of each item's set.
        start: Where the sets start, and the end, `(N + 1,)`.
        largest: Each item's largest squared distance, `(N,)`; `d` is relative to it.

    Returns:
        A weight for each member.
    """
    sizes = np.diff(start)
    weight = np.exp(-distance / np.repeat(largest, sizes))
    return weight / np.repeat(np.add.reduceat(weight, start[:-1]), sizes)


def local_query_expansion(features: SparseRows, index: np.ndarray) -> SparseRows:
    """Mean of the weights of an item and its nearest, Zhong et al. 2017 eq. 11.

    Args:
        features: Weights `V`, `(N, N)`.
        index: Each item itself, then its nearest, `(N, k2)`.
    """
    n, k2 = index.shape
    sizes = np.diff(features.start)
    before = np.concatenate([[0], sizes[index].sum(axis=1).cumsum()])
    keys, sums = [], []
    for items in _chunks(before, PAIRS):
        rows = index[items].ravel()
        here = _ranges(features.start[rows], sizes[rows])
        item = np.repeat(np.arange(items.start, items.stop), np.diff(before)[items])
        key = item * n + features.column[here]
        order = np.argsort(key)
        key = key[order]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        keys.append(key[first])
        sums.append(np.add.reduceat(features.value[here[order]], first))
    item, column = np.divmod(np.concatenate(keys), n)
    value = np.concatenate(sums) / features.value.dtype.type(k2)
    return SparseRows(np.searchsorted(item, np.arange(n + 1)), column, value)


@dataclass(frozen=True)
class Inverted:
    """Which captions have a neighbour: lists of captions, joined in the order of neighbours.

    Attributes:
        key: `neighbour * n_captions + caption`, ascending.
        caption: The captions.
        weight: Their weights of the neighbour.
        n_captions: How many captions there are.
        n: How many items, and so lists, there are.
    """

    key: np.ndarray
    caption: np.ndarray
    weight: np.ndarray
    n_captions: int
    n: int
    _bounds: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, features: SparseRows, n_images: int) -> Inverted:
        """Inverts the rows of the captions, which follow those of the images."""
        n_captions = len(features) - n_images
        entries = slice(features.start[n_images], None)
        caption = features.row_of_each()[entries] - n_images
        key = features.column[entries] * n_captions + caption
        order = np.argsort(key)
        weight = features.value[entries][order]
        return cls(key[order], caption[order], weight, n_captions, len(features))

    def bounds(self, captions: slice) -> tuple[np.ndarray, np.ndarray]:
        """Where each list reaches the captions of a slice and where it leaves them, `(N,)` each.

        Those of the last slice are kept: looking N lists up costs as much as a tile of few images.
        """
        asked = (captions.start, captions.stop)
        found = self._bounds.get(asked)
        if found is None:
            lists = np.arange(self.n) * self.n_captions
            reached, left = (np.searchsorted(self.key, lists + edge) for edge in asked)
            found = reached, left
            self._bounds.clear()
            self._bounds[asked] = found
        return found


def jaccard_distance(
    features: SparseRows, inverted: Inverted, images: slice, captions: slice
) -> np.ndarray:
    """Jaccard distance of images' and captions' weights, Zhong et al. 2017 eq. 10.

    `1 - Σ min(V_p, V_g) / Σ max(V_p, V_g)`. Weights sum to one, so with `m` for the sum of the
    smaller ones that of the larger ones is `2 - m`. Only neighbours that both have count in `m`.

    Args:
        features: Weights `V` of all items.
        inverted: Those of the captions by neighbour.
        images: Rows of the tile.
        captions: Columns of the tile.

    Returns:
        `(n_images, n_captions)` of the tile, in [0, 1].
    """
    width = captions.stop - captions.start
    entries = slice(features.start[images.start], features.start[images.stop])
    start = features.start[images.start : images.stop + 1] - entries.start
    neighbour, weight = features.column[entries], features.value[entries]
    reached, left = inverted.bounds(captions)
    begin = reached[neighbour]
    n_shared = left[neighbour] - begin  # captions of the tile that have the neighbour too
    before = np.concatenate([[0], n_shared.cumsum()])[start]
    result = np.empty((images.stop - images.start, width), dtype=weight.dtype)
    for rows in _chunks(before + width * np.arange(len(before)), PAIRS):  # pairs and results
        some = slice(start[rows.start], start[rows.stop])
        here = _ranges(begin[some], n_shared[some])
        smaller = np.minimum(inverted.weight[here], np.repeat(weight[some], n_shared[some]))
        first_cell = np.arange(rows.stop - rows.start) * width - captions.start
        cell = inverted.caption[here] + np.repeat(first_cell, np.diff(before)[rows])
        m = np.bincount(cell, smaller, (rows.stop - rows.start) * width)
        result[rows] = (1 - m / (2 - m)).reshape(-1, width)
    return np.maximum(result, 0, out=result)  # rounding


def final_distance(jaccard: Tensor, original: Tensor, lam: float) -> Tensor:
    """`(1 - λ) d_J + λ d`: the two distances weighted, Zhong et al. 2017 eq. 12.

    Args:
        jaccard: `(n_queries, n_answers)`.
        original: Squared distances over each query's largest, of the same shape.
        lam: Weight `λ` of the original distance.
    """
    return jaccard.lerp(original, lam)


def _ranges(begin: np.ndarray, length: np.ndarray) -> np.ndarray:
    """`begin, begin + 1, …` of each length, one after the other.

    >>> _ranges(np.array([5, 0]), np.array([2, 3]))
    array([5, 6, 0, 1, 2])
    """
    before = length.cumsum() - length
    return np.repeat(begin - before, length) + np.arange(length.sum())


def _chunks(before: np.ndarray, size: int) -> Iterator[slice]:
    """Cuts rows into runs of about `size` numbers; `before` counts those before each row."""
    first, n = 0, len(before) - 1
    while first < n:
        fitting = int(np.searchsorted(before, before[first] + size, side="right")) - 1
        last = max(fitting, first + 1)  # a row longer than `size` goes alone
        yield slice(first, last)
        first = last
