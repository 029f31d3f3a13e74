"""Lesson 14: looking inside SMFEA. Node accuracy, and a cosine taken apart."""

from __future__ import annotations

import numpy as np

from xmr_course.inside import PLACES, Contributions
from xmr_course.lessons.answer_drawing import plot_top3 as plot_top3
from xmr_course.lessons.checking import Case, Check, one_number
from xmr_course.lessons.drawing import draw_bars, legend_outside, panels, styled
from xmr_course.lessons.tree_drawing import plot_predicted as plot_predicted
from xmr_lib.figures import GREY, Picture

_PLACES = [place.replace(" ", "\n", 2) for place in PLACES]


@styled
def plot_contributions(found: Contributions) -> Picture:
    """Which part, and which node, decides a match; everything adds up to the score."""
    figure, (parts, nodes) = panels(10.5, 3.2, 1, 2, width_ratios=(1, 2))
    for axes, image, caption, labels in (
        (parts, list(found.image.values()), list(found.caption.values()), list(found.image)),
        (nodes, found.image_nodes, found.caption_nodes, _PLACES),
    ):
        draw_bars(axes, labels, {"image's side": image, "sentence's side": caption})
        axes.axhline(0, color=GREY, lw=0.8)
    parts.set(ylabel="share of the cosine", title=f"parts of the cosine, {found.score:.2f} in all")
    nodes.set(title="nodes of the trees (eq. 14)")
    nodes.tick_params(axis="x", labelsize=8)
    nodes.get_legend().remove()
    legend_outside(figure, parts)
    return figure


# --- node accuracy --------------------------------------------------------------------------------


def _node_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """`function(truth, predicted) -> share`: both `(n, 7)`, -1 where `truth` is Null."""
    known = truth >= 0
    return float((known & (truth == predicted)).sum() / known.sum())


def _by_place(truth: np.ndarray, predicted: np.ndarray) -> float:
    known = truth >= 0
    right = known & (truth == predicted)
    places = known.any(0)
    return float((right.sum(0)[places] / known.sum(0)[places]).mean())


def _trees() -> list[Case]:
    rng = np.random.default_rng(14)
    cases: list[Case] = []
    for title, n, nulls in (("few Nulls", 6, 0.2), ("many Nulls", 9, 0.7), ("one tree", 1, 0.4)):
        truth = rng.integers(0, 4, (n, 7))
        truth[rng.random((n, 7)) < nulls] = -1
        truth[0, 0] = 2  # something is judged
        predicted = rng.integers(0, 4, (n, 7))
        predicted[:, 3] = truth[:, 3]  # may be Null, too: that is not right but not judged
        cases.append((title, (truth, predicted)))
    return cases


check_node_accuracy = Check(
    _node_accuracy,
    _trees(),
    [
        lambda truth, predicted: (truth == predicted).mean(),
        "Null places count here: leave out where truth is negative, above and below the line.",
        lambda truth, predicted: ((truth >= 0) & (truth == predicted)).mean(),
        "Null places are still counted below the line: divide by the number of judged nodes.",
        _by_place,
        "That is the mean of the places' accuracies; rare places weigh as much as others.",
        lambda truth, predicted: 100 * _node_accuracy(truth, predicted),
        "A share between 0 and 1 is asked for, not percent.",
    ],
    "Count where truth >= 0 and predicted == truth, over where truth >= 0.",
    one_number,
)

# --- shares of a cosine ---------------------------------------------------------------------------


def _shares_of_cosine(parts: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`function(parts, other) -> (k,)`: what each part adds to cos(sum of parts, other).

    `parts` `(k, d)` add up to one vector, `other` `(d,)`.
    """
    return parts @ other / (np.linalg.norm(parts.sum(0)) * np.linalg.norm(other))


_RNG = np.random.default_rng(14)
check_shares_of_cosine = Check(
    _shares_of_cosine,
    [
        (title, (scale * _RNG.standard_normal((k, d)), _RNG.standard_normal(d)))
        for title, k, d, scale in (
            ("three parts", 3, 5, 1.0),
            ("one part", 1, 4, 2.0),
            ("seven nodes", 7, 16, 0.3),
        )
    ],
    [
        lambda parts, other: (
            parts @ other / (np.linalg.norm(parts, axis=1) * np.linalg.norm(other))
        ),
        "Those are the parts' own cosines; they do not add up. Divide by the length of the *sum*.",
        lambda parts, other: parts @ other,
        "A cosine divides by both lengths.",
        lambda parts, other: parts @ other / np.linalg.norm(other),
        "The length of the sum of the parts is missing below the line.",
        lambda parts, other: (
            _shares_of_cosine(parts, other) / _shares_of_cosine(parts, other).sum()
        ),
        "They must add up to the cosine, not to 1.",
    ],
    "parts @ other, over the length of the sum of the parts times the length of other.",
)
