"""Lesson 00: the rank of the best right item."""

from __future__ import annotations

import numpy as np

from xmr_course.lessons.checking import Check, one_number
from xmr_course.lessons.drawing import plot_scores as plot_scores


def _best_rank(scores: np.ndarray, right: np.ndarray) -> int:
    """`function(scores, right) -> rank` of one query.

    `scores` `(n_items,)` holds no number twice, `right` `(n_items,)` is True for right items; the
    result is the place of the best right item, 1 being the top.
    """
    for place, item in enumerate(np.argsort(-scores), start=1):
        if right[item]:
            return place
    raise ValueError("no item is right")


_QUERIES = (
    ([0.9, 0.5, 0.1], [1, 0, 0]),
    ([0.1, 0.5, 0.9], [1, 0, 0]),
    ([0.3, 0.8, 0.6, 0.1, 0.7], [1, 0, 1, 0, 0]),
    ([-0.3, -0.8, -0.1, -0.2], [1, 1, 0, 0]),
    ([0.6, 0.9, 0.4, 0.1], [0, 1, 0, 1]),
)
check_best_rank = Check(
    _best_rank,
    [
        (f"scores {scores}, right {right}", (np.array(scores), np.array(right) > 0))
        for scores, right in _QUERIES
    ],
    [
        lambda s, r: _best_rank(s, r) - 1,
        "The top is 1, not 0.",
        lambda s, r: _best_rank(-s, r),
        "You count from the worst score up: larger scores come first.",
        lambda s, r: 1 + (s > s[r].min()).sum(),
        "That is the rank of the *worst* right item; the best one counts.",
        lambda s, r: 1 + (s[~r] > s[r].mean()).sum(),
        "Do not average over the right items; the best one counts.",
        lambda s, r: 1 + np.argsort(-s)[r].min(),
        "argsort says which item stands at a place, not at which place an item stands.",
    ],
    "How many items score higher than the best right one? The rank is one more.",
    one_number,
)
