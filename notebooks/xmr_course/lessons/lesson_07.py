"""Lesson 07: re-ranking and ensembles. Neighbours, weights and ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xmr_course.lessons.answer_drawing import plot_answers as plot_answers
from xmr_course.lessons.checking import Case, Check, fail, one_array, one_number
from xmr_course.lessons.drawing import draw_lines, draw_parts, legend_outside, panels, styled
from xmr_course.lessons.drawing import plot_cosines as plot_cosines
from xmr_course.lessons.neighbour_drawing import name_of as name_of
from xmr_course.lessons.neighbour_drawing import plot_neighbourhoods as plot_neighbourhoods
from xmr_course.lessons.neighbour_drawing import plot_sets as plot_sets
from xmr_lib.figures import BLUE, GREY, VERMILION, Picture
from xmr_lib.stats.significance import Comparison

FALL = 45  # points below the original beyond which a curve is cut off


def company(
    index: np.ndarray, n_images: int, image_of_caption: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Shares of each kind of item among the neighbours of images and of captions, place by place.

    `index`: each item itself, then its k nearest, images first, `(N, k + 1)`.

    Returns:
        Side -> kind of neighbour -> its share at each place, `(k,)`.
    """
    image_of = np.concatenate([np.arange(n_images), image_of_caption])
    near = index[:, 1:]
    is_image, same = near < n_images, image_of[near] == image_of[:, None]
    images, captions = slice(n_images), slice(n_images, None)
    others = {"another caption": ~same & ~is_image, "another image": ~same & is_image}
    of_image = {"its own caption": same & ~is_image, **others}
    of_caption = {
        "its own image": same & is_image,
        "caption of the same image": same & ~is_image,
        **others,
    }
    return {
        "Neighbours of an image": {k: v[images].mean(axis=0) for k, v in of_image.items()},
        "Neighbours of a caption": {k: v[captions].mean(axis=0) for k, v in of_caption.items()},
    }


@styled
def plot_company(shares: Mapping[str, Mapping[str, np.ndarray]]) -> Picture:
    """What stands at the first, second, third … place among the neighbours, a panel for each side.

    Args:
        shares: Title -> kind of neighbour -> its share at each place, `(k,)`; the kinds' shares
            sum to one.
    """
    figure, grid = panels(10.5, 3.5, 1, len(shares), sharey=True, squeeze=False)
    looks = list(dict.fromkeys(kind for kinds in shares.values() for kind in kinds))
    for axes, (title, kinds) in zip(grid[0], shares.items(), strict=True):
        draw_parts(axes, kinds, looks=looks)
        axes.set(title=title, xlabel="place among the neighbours", ylim=(0, 1))
        axes.set_xticks([1, *range(5, len(next(iter(kinds.values()))) + 1, 5)])
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, fontsize=9)
    grid[0, 0].set_ylabel("share")
    return figure


@styled
def plot_lambdas(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    lambdas: Sequence[float],
    original: Mapping[str, float],
) -> Picture:
    """Recalls against the weight of the original distance, a line for each k1 and k2.

    What falls far below the original is cut off, with its value at the lower edge.

    `curves`: panel's title -> name of a line -> a value for each of `lambdas`.
    `original`: panel's title -> value without re-ranking.
    """
    figure, grid = panels(10.5, 3.8, 1, len(curves), squeeze=False)
    for axes, (title, lines) in zip(grid[0], curves.items(), strict=True):
        draw_lines(axes, lambdas, lines)
        axes.axhline(original[title], color=GREY, linewidth=1.2)
        look = {"textcoords": "offset points", "color": GREY, "fontsize": 8}
        axes.annotate("not re-ranked", (0, original[title]), (0, 5), **look)
        axes.set(title=title, xlabel="λ, weight of the original distance")
        floor = original[title] - FALL
        fallen = [
            f"{name}: {value:.0f} at λ = {lam:g}"
            for name, values in lines.items()
            for lam, value in zip(lambdas, values, strict=True)
            if value < floor
        ]
        if fallen:
            axes.set_ylim(bottom=floor)
            look = {"transform": axes.transAxes, "ha": "right", "va": "bottom", "fontsize": 8}
            look |= {"color": GREY}
            axes.text(0.98, 0.03, "\n".join(["below:", *fallen]), **look)
    grid[0, 0].set_ylabel("R@1 + R@5 + R@10")
    legend_outside(figure, axes, ncols=5)
    for axes in grid[0, :-1]:
        axes.get_legend().remove()
    return figure


@styled
def plot_differences(comparisons: Mapping[str, Comparison], xlabel: str) -> Picture:
    """Differences with their intervals, one line each; hollow where chance would do."""
    figure, axes = panels(9.5, 1.2 + 0.38 * len(comparisons))
    axes.axvline(0, color=GREY, linewidth=1)
    for row, found in enumerate(comparisons.values()):
        colour = GREY if found.noise else (BLUE if found.difference > 0 else VERMILION)
        fill = "white" if found.noise else colour
        axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2)
        axes.plot(found.difference, row, "o", color=colour, markersize=7, markerfacecolor=fill)
        words = f"{found.difference:+.1f} {'noise' if found.noise else 'real'}"
        look = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
        axes.annotate(words, (found.difference, row), (0, 6), **look)
    axes.set(xlabel=xlabel, ylim=(len(comparisons) - 0.4, -0.7))
    axes.set_yticks(range(len(comparisons)), comparisons, parse_math=False)
    return figure


# --- k-reciprocal sets ----------------------------------------------------------------------------


def _reciprocal_sets(index: np.ndarray) -> list[set[int]]:
    """`function(index) -> sets`, Zhong et al. 2017 eq. 3.

    `index` `(N, k + 1)` holds each item itself, then its k nearest; the result is a list with the
    set of each item's k-reciprocal neighbours, itself included.
    """
    return _sets(_near(index) & _near(index).T)


def _near(index: np.ndarray) -> np.ndarray:
    """Whether the column's item is among the row's nearest, or the row itself."""
    near = np.zeros((len(index), len(index)), dtype=bool)
    near[np.arange(len(index))[:, None], index] = True
    return near


def _sets(table: np.ndarray) -> list[set[int]]:
    return [set(np.flatnonzero(row).tolist()) for row in table]


def _same_place(index: np.ndarray) -> list[set[int]]:
    """Mutual only where each has the other at the same place."""
    place = np.full((len(index), len(index)), -1)
    place[np.arange(len(index))[:, None], index] = np.arange(index.shape[1])
    return _sets((place >= 0) & (place == place.T))


def _one_set_each(result: Any, index: np.ndarray) -> dict[str, set[int]]:
    n = len(index)
    try:
        rows = [{int(q) for q in members} for members in result]
    except (TypeError, ValueError):
        fail(f"returned {type(result).__name__}.", "Return a list with one set for each item.")
    if len(rows) != n:
        fail(f"{len(rows)} sets for {n} items.", "Every item has a set, in their order.")
    if any(not 0 <= q < n for members in rows for q in members):
        fail(f"a set holds numbers that are no items: there are {n}, from 0 on.")
    return {f"row {p}": members for p, members in enumerate(rows)}


def _neighbour_cases() -> list[Case]:
    by_hand = np.array([[0, 1, 2], [1, 2, 0], [2, 1, 3], [3, 2, 1]])
    cases = [("four items, k=2", by_hand)]
    for n, k, seed in ((12, 3, 0), (30, 6, 1), (5, 4, 2)):
        points = np.random.default_rng(seed).normal(size=(n, 2))
        distance = ((points[:, None] - points) ** 2).sum(axis=2)
        cases.append((f"{n} points, k={k}", distance.argsort(axis=1)[:, : k + 1]))
    return [(title, (index,)) for title, index in cases]


check_reciprocal_sets = Check(
    _reciprocal_sets,
    _neighbour_cases(),
    [
        lambda i: _sets(_near(i)),
        "These are all nearest neighbours: keep only those that have the item near, too.",
        lambda i: _sets(_near(i).T),
        "These are the items that have p near. They must be among p's own neighbours as well.",
        lambda i: _sets(_near(i) | _near(i).T),
        "One of the two is not enough: both must be near each other.",
        lambda i: [members - {p} for p, members in enumerate(_reciprocal_sets(i))],
        "The item itself is missing: it stands in the first column, and is its own neighbour.",
        lambda i: _reciprocal_sets(i[:, :-1]),
        "The last neighbour is left out: the item comes first, so that k neighbours need k + 1 "
        "columns.",
        lambda i: _sets(_near(i) & _near(i[:, :-1]).T),
        "The last column of q's row is left out: its k neighbours need k + 1 columns.",
        _same_place,
        "p need not stand at the same place in q's row; anywhere in it will do.",
    ],
    "Go through the neighbours q of an item p, and keep q if p is in row q of the table.",
    _one_set_each,
)

# --- the Jaccard distance -------------------------------------------------------------------------


def _jaccard_distance(v_p: np.ndarray, v_g: np.ndarray) -> float:
    """`function(v_p, v_g) -> distance` of two items' weights, Zhong et al. 2017 eq. 10.

    Both `(N,)` are not negative and sum to one.
    """
    return float(1 - _smaller(v_p, v_g) / _larger(v_p, v_g))


def _smaller(p: np.ndarray, g: np.ndarray) -> float:
    return np.minimum(p, g).sum()


def _larger(p: np.ndarray, g: np.ndarray) -> float:
    return np.maximum(p, g).sum()


def _weight_cases() -> list[Case]:
    rng = np.random.default_rng(0)
    sparse = rng.random((2, 9)) * (rng.random((2, 9)) < 0.6)
    pairs = [
        ("half in common", ([0.5, 0.5, 0.0], [0.0, 0.5, 0.5])),
        ("the same weights", ([0.2, 0.8], [0.2, 0.8])),
        ("nothing in common", ([1.0, 0.0], [0.0, 1.0])),
        ("other weights of the same items", ([0.9, 0.1, 0.0], [0.3, 0.7, 0.0])),
        ("nine items", tuple(sparse / sparse.sum(axis=1, keepdims=True))),
    ]
    return [(title, (np.array(p), np.array(g))) for title, (p, g) in pairs]


def _common_only(p: np.ndarray, g: np.ndarray) -> float:
    both = (p > 0) & (g > 0)
    return 1 - _smaller(p, g) / max(_larger(p[both], g[both]), np.finfo(float).tiny)


check_jaccard_distance = Check(
    _jaccard_distance,
    _weight_cases(),
    [
        lambda p, g: 1 - _smaller(p, g) / 2,
        "You divide by 2, the sum of all weights of both. What they share is counted twice there: "
        "the larger weights sum to 2 − m.",
        lambda p, g: _smaller(p, g) / _larger(p, g),
        "That is the similarity: 1 for the same weights. The distance is 1 minus it.",
        lambda p, g: 1 - _smaller(p, g),
        "The sum of the larger weights is missing: divide by it.",
        _smaller,
        "That is only the sum of the smaller weights: divide by that of the larger, and take the "
        "result from 1.",
        lambda p, g: 1 - ((p > 0) & (g > 0)).sum() / ((p > 0) | (g > 0)).sum(),
        "You count neighbours as members of plain sets; eq. 10 compares their weights.",
        _common_only,
        "A neighbour that only one of them has counts in the sum of the larger weights, too.",
        lambda p, g: 1 - (p * g).sum() / np.sqrt((p**2).sum() * (g**2).sum()),
        "That is a cosine; eq. 10 takes the smaller and the larger weight of each neighbour.",
    ],
    "Write both sums down: that of the smaller weights, and that of the larger ones.",
    one_number,
)

# --- mean ranks -----------------------------------------------------------------------------------


def _mean_ranks(scores: np.ndarray) -> np.ndarray:
    """`function(scores) -> ranks`: models vote with places instead of scores.

    `scores` `(n_models, n_queries, n_answers)` has no ties; the result `(n_queries, n_answers)` is
    the mean over the models of each answer's place among its query's answers, 1 being the best.
    """
    return _places(scores).mean(axis=0)


def _places(scores: np.ndarray, axis: int = 2) -> np.ndarray:
    return (-scores).argsort(axis=axis).argsort(axis=axis) + 1


def _score_cases() -> list[Case]:
    cases = [("two models, one query", np.array([[[0.9, 0.5, 0.1]], [[0.2, 0.8, 0.3]]]))]
    for models, queries, answers in ((3, 4, 6), (2, 5, 5), (1, 2, 4)):
        scores = np.random.default_rng(answers).normal(size=(models, queries, answers))
        cases.append((f"{models} model(s), {queries} queries", scores))
    return [(title, (scores,)) for title, scores in cases]


def _one_for_each_answer(result: Any, scores: np.ndarray) -> np.ndarray:
    values = one_array(result)
    if values.shape != scores.shape[1:]:
        fail(
            f"the shape is {values.shape} and should be {scores.shape[1:]}.",
            "One number for each query and answer: average over the models (axis=0).",
        )
    return values


_SORT_AGAIN = (
    "argsort says which answer stands at a place, not at which place an answer stands: sort the "
    "order once more."
)
check_mean_ranks = Check(
    _mean_ranks,
    _score_cases(),
    [
        lambda s: _mean_ranks(s) - 1,
        "The best answer has place 1, not 0.",
        lambda s: _mean_ranks(-s),
        "The largest score is the best: yours gets the last place.",
        lambda s: _mean_ranks(-s) - 1,
        "The largest score is the best, and has place 1.",
        lambda s: _places(s).sum(axis=0),
        "That is the sum of the places; divide by the models.",
        lambda s: (-s).argsort(axis=2).mean(axis=0) + 1,
        _SORT_AGAIN,
        lambda s: (-s).argsort(axis=2).mean(axis=0),
        _SORT_AGAIN,
        lambda s: _places(s, axis=1).mean(axis=0),
        "The places run over the queries; each query ranks its own answers (the last axis).",
        lambda s: _mean_ranks(s.mean(axis=0)[None]),
        "You average scores and rank once. Here each model ranks by itself, then places are "
        "averaged.",
        lambda s: s.mean(axis=0),
        "That is the mean of the scores; average places instead.",
        lambda s: np.median(_places(s), axis=0),
        "That is the median of the places; take the mean.",
    ],
    "Take one query of one model: which place does its largest score have?",
    _one_for_each_answer,
)
