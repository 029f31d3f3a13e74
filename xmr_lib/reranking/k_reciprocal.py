"""The steps of k-reciprocal encoding, Zhong et al. 2017, one function for each equation.

All of them look at the whole test set, queries and answers, and not at one query alone: whatever
is built of them is transductive. Sets and weights are sparse matrices of all items by all items,
so memory grows with the items times their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array
from torch import Tensor

PAIRS = 1 << 18  # numbers handled at once: temporary arrays of two megabytes stay in the cache


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


def expanded_sets(index: np.ndarray, k: int) -> csr_array:
    """k-reciprocal neighbours and neighbours' neighbours: `R*(p, k)`, Zhong et al. 2017 eq. 4.

    The set `R(q, k/2)` of each `q` in `R(p, k)` is added when more than 2/3 of it lie in
    `R(p, k)`, the set before anything is added. The paper says "at least 2/3"; this follows the
    authors' code, as it does in rounding k/2 to an even number where it ends in a half.

    Args:
        index: Each item itself, then its nearest, `(N, min(k + 1, N))`.
        k: Neighbours that describe an item.

    Returns:
        `(N, N)`: the set of item `i` is the columns of row `i`, ascending; it always holds `i`.
    """
    mine, theirs = _sets(index), _sets(index[:, : round(k / 2) + 1])
    shared = (mine @ theirs.T).multiply(mine).tocsr()  # of each p and each q in R(p, k)
    accepted = 3 * shared.data > 2 * np.diff(theirs.indptr)[shared.indices]
    shared.data = accepted.astype(shared.dtype)
    shared.eliminate_zeros()
    result = (mine + shared @ theirs).tocsr()
    result.sort_indices()
    return result


def _sets(index: np.ndarray) -> csr_array:
    """`R(p, k)` of each item as the columns of its row, `(N, N)`."""
    row, place = np.nonzero(reciprocal(index))
    ones = np.ones(len(row), dtype=np.int32)
    return csr_array((ones, (row, index[row, place])), shape=(len(index), len(index)))


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


def local_query_expansion(features: csr_array, index: np.ndarray) -> csr_array:
    """Mean of the weights of an item and its nearest, Zhong et al. 2017 eq. 11.

    Args:
        features: Weights `V`, `(N, N)`.
        index: Each item itself, then its nearest, `(N, k2)`.
    """
    n, k2 = index.shape
    share = np.full(n * k2, 1 / k2, dtype=features.dtype)
    mean = csr_array((share, index.ravel(), np.arange(n + 1) * k2), shape=(n, n)) @ features
    mean.sort_indices()
    return mean


def jaccard_distance(images: csr_array, captions: csr_array) -> np.ndarray:
    """Jaccard distance of images' and captions' weights, Zhong et al. 2017 eq. 10.

    `1 - Σ min(V_p, V_g) / Σ max(V_p, V_g)`. Weights sum to one, so with `m` for the sum of the
    smaller ones that of the larger ones is `2 - m`. Only neighbours that both have count in `m`.

    Args:
        images: Their rows of `V`, `(n_images, N)`.
        captions: Their rows of `V`, `(n_captions, N)`.

    Returns:
        `(n_images, n_captions)`, in [0, 1].
    """
    width = captions.shape[0]
    having = captions.T.tocsr()  # of each neighbour, the captions that have it
    begin = having.indptr[images.indices]
    n_shared = having.indptr[images.indices + 1] - begin
    before = np.concatenate([[0], n_shared.cumsum()])[images.indptr]
    result = np.empty((images.shape[0], width), dtype=images.dtype)
    for rows in _chunks(before + width * np.arange(len(before)), PAIRS):  # pairs and results
        some = slice(images.indptr[rows.start], images.indptr[rows.stop])
        here = _ranges(begin[some], n_shared[some])
        smaller = np.minimum(having.data[here], np.repeat(images.data[some], n_shared[some]))
        first_cell = np.arange(rows.stop - rows.start) * width
        cell = having.indices[here] + np.repeat(first_cell, np.diff(before)[rows])
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
