"""How often an index finds what comparing everything finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from xmr_lib.index.vectors import Neighbours

_EQUAL = 1e-5  # cosines closer than this are the same but for the order of additions


def recall_at_k(found: Neighbours, exact: Neighbours, k: int) -> float:
    """Share of the exact `k` nearest that are among the `k` found, mean over queries.

    Neighbours with equal scores count the same: finding one of them is as good as another.

    Args:
        found: Of each query, by the index.
        exact: Of each query, by comparing everything; at least `k` where there are as many.
        k: How many count.

    >>> exact = [[("a", 0.9), ("b", 0.8), ("c", 0.8)]]
    >>> recall_at_k([[("a", 0.9), ("c", 0.8)]], exact, k=2)
    1.0
    >>> recall_at_k([[("b", 0.8), ("d", 0.1)]], exact, k=2)
    0.5
    """
    parts = []
    for mine, best in zip(found, exact, strict=True):
        if best := best[:k]:
            worst = best[-1][1] - _EQUAL
            parts.append(sum(score >= worst for _, score in mine[:k]) / len(best))
    return float(np.mean(parts)) if parts else float("nan")


def measure(
    search: Callable[[Sequence, int], Neighbours],
    truth: Neighbours,
    queries: Sequence,
    ks: Sequence[int] = (1, 10),
    timed: int = 20,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Recall of a search, and the time of a query that is asked alone.

    Args:
        search: Finds the nearest of some queries.
        truth: What comparing everything finds.
        queries: Encoded, `(n, …)`.
        ks: For how many nearest.
        timed: How many of the queries are asked one by one, to take the time.
        clock: For the time; `time.process_time` leaves out what other programs took meanwhile.

    Returns:
        "recall@<k>" for each, and "milliseconds", the median of those queries.
    """
    most = max(ks)
    found = search(queries, most)
    seconds = []
    for place in range(min(timed, len(queries))):
        started = clock()
        search(queries[place : place + 1], most)
        seconds.append(clock() - started)
    recalls = {f"recall@{k}": recall_at_k(found, truth, k) for k in ks}
    return recalls | {"milliseconds": 1000 * float(np.median(seconds))}
