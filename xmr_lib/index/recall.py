"""How often an index finds what exact search finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from xmr_lib.index.base import Neighbours, VectorIndex

_EQUAL = 1e-5  # cosines closer than this are the same but for the order of additions


def recall_at_k(found: Neighbours, exact: Neighbours, k: int) -> float:
    """The part of the exact `k` nearest that is among the `k` found, mean over queries.

    Neighbours with equal cosines are worth the same: whoever finds one of them has found it.

    Args:
        found: Of each query, by the index.
        exact: Of each query, by exact search; at least `k` where there are as many.
        k: How many count.

    >>> exact = [[("a", 0.9), ("b", 0.8), ("c", 0.8)]]
    >>> recall_at_k([[("a", 0.9), ("c", 0.8)]], exact, k=2)
    1.0
    >>> recall_at_k([[("b", 0.8), ("d", 0.1)]], exact, k=2)
    0.5
    """
    parts = []
    for mine, best in zip(found, exact, strict=True):
        best = best[:k]
        if best:
            worst = best[-1][1] - _EQUAL
            parts.append(sum(score >= worst for _, score in mine[:k]) / len(best))
    return float(np.mean(parts)) if parts else float("nan")


def measure(
    index: VectorIndex,
    exact: VectorIndex | Neighbours,
    queries: np.ndarray,
    ks: Sequence[int] = (1, 10),
    timed: int = 20,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Recall of an index, and what a query costs that is asked alone.

    Args:
        index: Whose recall.
        exact: Exact search of the same content, or what it found.
        queries: Unit vectors `(n, dim)`.
        ks: For how many nearest.
        timed: How many of the queries are asked one by one, to take the time.
        clock: By which; `time.process_time` leaves out what other programs took meanwhile.

    Returns:
        "recall@<k>" for each, and "milliseconds", the median of those queries.
    """
    most = max(ks)
    found = index.search(queries, most)
    truth = exact.search(queries, most) if isinstance(exact, VectorIndex) else exact
    seconds = []
    for query in queries[:timed]:
        started = clock()
        index.search(query[None], most)
        seconds.append(clock() - started)
    recalls = {f"recall@{k}": recall_at_k(found, truth, k) for k in ks}
    return recalls | {"milliseconds": 1000 * float(np.median(seconds))}
