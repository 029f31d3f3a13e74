"""Checks of notebook 07: k-reciprocal sets, the Jaccard distance of weights, and mean ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xmr_course.checks import CheckFailed, call, fail, passed, same
from xmr_course.checks.mistakes import Case, Mistake, compare, explain, shown


def reciprocal_sets(function: Callable) -> None:
    """Checks `function(index) -> sets`, Zhong et al. 2017 eq. 3.

    `index` `(N, k + 1)` holds each item itself, then its k nearest; the result is a list with the
    set of each item's k-reciprocal neighbours, itself included.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "reciprocal_sets"

    def read(result: Any, index: np.ndarray) -> np.ndarray:
        n = len(index)
        try:
            rows = [sorted(int(q) for q in members) for members in result]
        except (TypeError, ValueError):
            fail(name, f"returned {type(result).__name__}.", "Return a list with one set an item.")
        if len(rows) != n:
            fail(name, f"{len(rows)} sets for {n} items.", "Every item has a set, in their order.")
        if any(not 0 <= q < n for members in rows for q in members):
            fail(name, f"a set holds numbers that are no items: there are {n}, from 0 on.")
        table = np.zeros((n, n), dtype=bool)
        for p, members in enumerate(rows):
            table[p, members] = True
        return table

    def tell(row: np.ndarray) -> str:
        return "{" + ", ".join(map(str, np.flatnonzero(row))) + "}"

    cases = _neighbour_cases()
    advice = "Go through the neighbours q of an item p, and keep q if p is in row q of the table."
    _compare_tables(name, function, cases, _reciprocal, _SET_MISTAKES, read, tell, advice)
    passed(name, len(cases))


def jaccard_distance(function: Callable) -> None:
    """Checks `function(v_p, v_g) -> distance` of two items' weights, Zhong et al. 2017 eq. 10.

    Both `(N,)` are not negative and sum to one.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "jaccard_distance"

    def read(result: Any) -> float:
        if np.shape(result) != ():
            fail(name, f"returned {result!r} instead of one number.", "Two items, one distance.")
        return float(result)

    cases = _weight_cases()
    advice = "Write both sums down: that of the smaller weights, and that of the larger ones."
    compare(name, function, cases, _jaccard, _JACCARD_MISTAKES, read, advice)
    passed(name, len(cases))


def mean_ranks(function: Callable) -> None:
    """Checks `function(scores) -> ranks`: models vote with places instead of scores.

    `scores` `(n_models, n_queries, n_answers)` has no ties; the result `(n_queries, n_answers)` is
    the mean over the models of each answer's place among its query's answers, 1 being the best.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "mean_ranks"

    def read(result: Any, scores: np.ndarray) -> np.ndarray:
        right = scores.shape[1:]
        if np.shape(result) != right:
            hint = "One number for each query and answer: average over the models (axis=0)."
            fail(name, f"the shape is {np.shape(result)} and should be {right}.", hint)
        return np.asarray(result, dtype=float)

    cases = _score_cases()
    advice = "Take one query of one model: which place does its largest score have?"
    _compare_tables(name, function, cases, _mean_ranks, _RANK_MISTAKES, read, shown, advice)
    passed(name, len(cases))


def _compare_tables(
    name: str,
    function: Callable,
    cases: Sequence[Case],
    reference: Callable,
    mistakes: Sequence[Mistake],
    read: Callable[[Any, np.ndarray], np.ndarray],
    tell: Callable[[np.ndarray], str],
    advice: str,
) -> None:
    """As `compare` for functions of one array that return a table: names the first wrong row."""
    results: list[np.ndarray] = []
    wrong = None
    for title, (given,) in cases:
        try:
            results.append(read(call(name, function, given.copy()), given))
        except CheckFailed:
            if wrong is None:
                raise
            break  # a wrong number says more than the crash that follows it
        if wrong is None and not same(results[-1], reference(given)):
            wrong = title, results[-1], reference(given)
    if wrong is not None:
        title, ours, right = wrong
        row = int((~np.isclose(ours.astype(float), right.astype(float))).any(axis=1).argmax())
        what = f"{title}, row {row}: got {tell(ours[row])}, right is {tell(right[row])}."
        fail(name, what, explain(results, cases, mistakes) or advice)


# --- k-reciprocal sets ----------------------------------------------------------------------------


def _neighbour_cases() -> list[Case]:
    by_hand = np.array([[0, 1, 2], [1, 2, 0], [2, 1, 3], [3, 2, 1]])
    cases = [("four items, k=2", by_hand)]
    for n, k, seed in ((12, 3, 0), (30, 6, 1), (5, 4, 2)):
        points = np.random.default_rng(seed).normal(size=(n, 2))
        distance = ((points[:, None] - points) ** 2).sum(axis=2)
        cases.append((f"{n} points, k={k}", distance.argsort(axis=1)[:, : k + 1]))
    return [(title, (index,)) for title, index in cases]


def _near(index: np.ndarray) -> np.ndarray:
    """Whether column's item is among the row's nearest, or the row itself."""
    near = np.zeros((len(index), len(index)), dtype=bool)
    near[np.arange(len(index))[:, None], index] = True
    return near


def _reciprocal(index: np.ndarray) -> np.ndarray:
    return _near(index) & _near(index).T


def _same_place(index: np.ndarray) -> np.ndarray:
    """Mutual only where each has the other at the same place."""
    place = np.full((len(index), len(index)), -1)
    place[np.arange(len(index))[:, None], index] = np.arange(index.shape[1])
    return (place >= 0) & (place == place.T)


_SET_MISTAKES: list[Mistake] = [
    (_near, "These are all nearest neighbours: keep only those that have the item near, too."),
    (
        lambda i: _near(i).T,
        "These are the items that have p near. They must be among p's own neighbours as well.",
    ),
    (
        lambda i: _near(i) | _near(i).T,
        "One of the two is not enough: both must be near each other.",
    ),
    (
        lambda i: _reciprocal(i) & ~np.eye(len(i), dtype=bool),
        "The item itself is missing: it stands in the first column, and is its own neighbour.",
    ),
    (
        lambda i: _reciprocal(i[:, :-1]),
        "The last neighbour is left out: the item comes first, so that k neighbours need k + 1 "
        "columns.",
    ),
    (
        lambda i: _near(i) & _near(i[:, :-1]).T,
        "The last column of q's row is left out: its k neighbours need k + 1 columns.",
    ),
    (_same_place, "p need not stand at the same place in q's row; anywhere in it will do."),
]

# --- the Jaccard distance -------------------------------------------------------------------------


def _weight_cases() -> list[Case]:
    rng = np.random.default_rng(0)
    sparse = rng.random((2, 9)) * (rng.random((2, 9)) < 0.6)
    sparse /= sparse.sum(axis=1, keepdims=True)
    pairs = [
        ("half in common", ([0.5, 0.5, 0.0], [0.0, 0.5, 0.5])),
        ("the same weights", ([0.2, 0.8], [0.2, 0.8])),
        ("nothing in common", ([1.0, 0.0], [0.0, 1.0])),
        ("other weights of the same items", ([0.9, 0.1, 0.0], [0.3, 0.7, 0.0])),
        ("nine items", tuple(sparse)),
    ]
    return [(title, (np.array(p), np.array(g))) for title, (p, g) in pairs]


def _jaccard(p: np.ndarray, g: np.ndarray) -> float:
    return float(1 - np.minimum(p, g).sum() / np.maximum(p, g).sum())


_JACCARD_MISTAKES: list[Mistake] = [
    (
        lambda p, g: 1 - np.minimum(p, g).sum() / 2,
        "You divide by 2, the sum of all weights of both. What they share is counted twice there: "
        "the larger weights sum to 2 − m.",
    ),
    (
        lambda p, g: 1 - _jaccard(p, g),
        "That is the similarity: 1 for the same weights. The distance is 1 minus it.",
    ),
    (
        lambda p, g: 1 - np.minimum(p, g).sum(),
        "The sum of the larger weights is missing: divide by it.",
    ),
    (
        lambda p, g: np.minimum(p, g).sum(),
        "That is only the sum of the smaller weights: divide by that of the larger, and take the "
        "result from 1.",
    ),
    (
        lambda p, g: 1 - ((p > 0) & (g > 0)).sum() / ((p > 0) | (g > 0)).sum(),
        "You count neighbours as members of plain sets; eq. 10 compares their weights.",
    ),
    (
        lambda p, g: (
            1
            - np.minimum(p, g).sum()
            / max(np.maximum(p, g)[(p > 0) & (g > 0)].sum(), np.finfo(float).tiny)
        ),
        "A neighbour that only one of them has counts in the sum of the larger weights, too.",
    ),
    (
        lambda p, g: 1 - (p * g).sum() / np.sqrt((p**2).sum() * (g**2).sum()),
        "That is a cosine; eq. 10 takes the smaller and the larger weight of each neighbour.",
    ),
]

# --- mean ranks -----------------------------------------------------------------------------------


def _score_cases() -> list[Case]:
    by_hand = np.array([[[0.9, 0.5, 0.1]], [[0.2, 0.8, 0.3]]])
    cases = [("two models, one query", by_hand)]
    for models, queries, answers in ((3, 4, 6), (2, 5, 5), (1, 2, 4)):
        scores = np.random.default_rng(answers).normal(size=(models, queries, answers))
        cases.append((f"{models} model(s), {queries} queries", scores))
    return [(title, (scores,)) for title, scores in cases]


def _places(scores: np.ndarray, axis: int = 2) -> np.ndarray:
    return (-scores).argsort(axis=axis).argsort(axis=axis) + 1


def _mean_ranks(scores: np.ndarray) -> np.ndarray:
    return _places(scores).mean(axis=0)


_RANK_MISTAKES: list[Mistake] = [
    (lambda s: _mean_ranks(s) - 1, "The best answer has place 1, not 0."),
    (
        lambda s: _places(-s).mean(axis=0),
        "The largest score is the best: yours gets the last place.",
    ),
    (lambda s: _places(-s).mean(axis=0) - 1, "The largest score is the best, and has place 1."),
    (lambda s: _places(s).sum(axis=0), "That is the sum of the places; divide by the models."),
    (
        lambda s: (-s).argsort(axis=2).mean(axis=0) + 1,
        "argsort says which answer stands at a place, not at which place an answer stands: sort "
        "the order once more.",
    ),
    (
        lambda s: (-s).argsort(axis=2).mean(axis=0),
        "argsort says which answer stands at a place, not at which place an answer stands: sort "
        "the order once more.",
    ),
    (
        lambda s: _places(s, axis=1).mean(axis=0),
        "The places run over the queries; each query ranks its own answers (the last axis).",
    ),
    (
        lambda s: _places(s.mean(axis=0)[None])[0],
        "You average scores and rank once. Here each model ranks by itself, then places are "
        "averaged.",
    ),
    (lambda s: s.mean(axis=0), "That is the mean of the scores; average places instead."),
    (lambda s: np.median(_places(s), axis=0), "That is the median of the places; take the mean."),
]
