"""Checks of notebook 14: node accuracy with Null places, and a cosine taken apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xmr_course.checks import passed
from xmr_course.checks.mistakes import Case, Mistake, compare, one_number


def node_accuracy(function: Callable) -> None:
    """Checks `function(truth, predicted) -> share`: both `(n, 7)`, -1 where `truth` is Null.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "node_accuracy"
    rng = np.random.default_rng(14)
    cases: list[Case] = []
    for title, n, nulls in (("few Nulls", 6, 0.2), ("many Nulls", 9, 0.7), ("one tree", 1, 0.4)):
        truth = rng.integers(0, 4, (n, 7))
        truth[rng.random((n, 7)) < nulls] = -1
        truth[0, 0] = 2  # something is judged
        predicted = rng.integers(0, 4, (n, 7))
        predicted[:, 3] = truth[:, 3]  # may be Null, too: that is not right but not judged
        cases.append((title, (truth, predicted)))
    advice = "Count where truth >= 0 and predicted == truth, over where truth >= 0."
    compare(name, function, cases, _accuracy, _ACCURACY_MISTAKES, one_number(name), advice)
    passed(name, len(cases))


def shares_of_cosine(function: Callable) -> None:
    """Checks `function(parts, other) -> (k,)`: what each part adds to cos(sum of parts, other).

    `parts` `(k, d)` add up to one vector, `other` `(d,)`.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "shares_of_cosine"
    rng = np.random.default_rng(14)
    cases: list[Case] = [
        (title, (scale * rng.standard_normal((k, d)), rng.standard_normal(d)))
        for title, k, d, scale in (
            ("three parts", 3, 5, 1.0), ("one part", 1, 4, 2.0), ("seven nodes", 7, 16, 0.3),
        )
    ]  # fmt: skip
    advice = "parts @ other, over the length of the sum of the parts times the length of other."
    compare(name, function, cases, _shares, _SHARE_MISTAKES, _array, advice)
    passed(name, len(cases))


def _array(result: Any) -> np.ndarray:
    return np.asarray(result, dtype=float)


def _accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    known = truth >= 0
    return float((known & (truth == predicted)).sum() / known.sum())


def _shares(parts: np.ndarray, other: np.ndarray) -> np.ndarray:
    return parts @ other / (np.linalg.norm(parts.sum(0)) * np.linalg.norm(other))


def _by_place(truth: np.ndarray, predicted: np.ndarray) -> float:
    known = truth >= 0
    right = known & (truth == predicted)
    places = known.any(0)
    return float((right.sum(0)[places] / known.sum(0)[places]).mean())


_ACCURACY_MISTAKES: tuple[Mistake, ...] = (
    (
        lambda truth, predicted: (truth == predicted).mean(),
        "Null places count here: leave out where truth is negative, above and below the line.",
    ),
    (
        lambda truth, predicted: ((truth >= 0) & (truth == predicted)).mean(),
        "Null places are still counted below the line: divide by the number of judged nodes.",
    ),
    (_by_place, "That is the mean of the places' accuracies; rare places weigh as much as others."),
    (
        lambda truth, predicted: 100 * _accuracy(truth, predicted),
        "A share between 0 and 1 is asked for, not percent.",
    ),
)
_SHARE_MISTAKES: tuple[Mistake, ...] = (
    (
        lambda parts, other: (
            parts @ other / (np.linalg.norm(parts, axis=1) * np.linalg.norm(other))
        ),
        "Those are the parts' own cosines; they do not add up. Divide by the length of the *sum*.",
    ),
    (lambda parts, other: parts @ other, "A cosine divides by both lengths."),
    (
        lambda parts, other: parts @ other / np.linalg.norm(other),
        "The length of the sum of the parts is missing below the line.",
    ),
    (
        lambda parts, other: _shares(parts, other) / _shares(parts, other).sum(),
        "They must add up to the cosine, not to 1.",
    ),
)
