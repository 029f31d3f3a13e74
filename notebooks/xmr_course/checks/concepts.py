"""Checks of notebook 12: the graph of the concepts, and a sentence's attention over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from xmr_course.checks import fail, passed
from xmr_course.checks.mistakes import Case, Mistake, compare
from xmr_lib.encoders.consensus import mix_labels
from xmr_lib.language import concepts


def neighbours(function: Callable) -> None:
    """Checks `function(counts, together, s, u, threshold) -> (n, n) bool`: who is a neighbour.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "neighbours"
    rng = np.random.default_rng(12)
    cases: list[Case] = []
    for title, n in (("three concepts", 3), ("six concepts", 6), ("twelve concepts", 12)):
        together = np.triu(rng.integers(0, 40, (n, n)), 1)
        together = together + together.T
        counts = together.max(axis=1) + rng.integers(1, 90, n)
        cases.append((title, (counts, together, 5.0, 0.02, 0.3)))
    cases.append(("other constants", (*cases[-1][1][:2], 3.0, 0.1, 0.5)))

    def read(result: Any) -> np.ndarray:
        found = np.asarray(result)
        if found.ndim != 2 or found.shape[0] != found.shape[1]:
            fail(name, f"shape {found.shape}.", "Return one row and one column a concept.")
        return found.astype(float)

    advice = "P[i, j] = together[i, j] / counts[i]; then s ** (P - u) - s ** (-u) >= threshold."
    compare(name, function, cases, _neighbours, _NEIGHBOUR_MISTAKES, read, advice)
    passed(name, len(cases))


def mixed_attention(function: Callable) -> None:
    """Checks `function(scores, labels, ratio) -> weights`, a sentence's attention over concepts.

    `scores` `(b, n)` are softmax weights already, `labels` `(b, n)` 0 or 1.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "mixed_attention"
    torch.manual_seed(12)
    cases: list[Case] = []
    for title, b, n, ratio in (("one sentence", 1, 4, 0.35), ("three sentences", 3, 6, 0.35),
                               ("another ratio", 2, 5, 0.8)):  # fmt: skip
        labels = (torch.rand(b, n) > 0.6).float()
        cases.append((title, ((3 * torch.randn(b, n)).softmax(1), labels, ratio)))
    nothing = torch.zeros(2, 4)
    cases.append(("no concept named", ((3 * torch.randn(2, 4)).softmax(1), nothing, 0.35)))

    def read(result: Any) -> torch.Tensor:
        return torch.as_tensor(result, dtype=torch.float32)

    advice = "ratio * softmax(10 * labels) + (1 - ratio) * scores, the softmax over the concepts."
    compare(name, function, cases, mix_labels, _MIX_MISTAKES, read, advice)
    passed(name, len(cases))


def _neighbours(
    counts: np.ndarray, together: np.ndarray, s: float, u: float, threshold: float
) -> np.ndarray:
    p = concepts.correlation(counts, together)
    return (concepts.rescale(p, s, u) >= threshold).astype(float)


def _wrongly(p: Callable, stretch: Callable) -> Callable:
    def wrong(counts, together, s, u, threshold):
        return (stretch(p(counts, together), s, u) >= threshold).astype(float)

    return wrong


_NEIGHBOUR_MISTAKES: tuple[Mistake, ...] = (
    (
        _wrongly(lambda counts, together: together / counts[None, :], concepts.rescale),
        "P[i, j] is the share of captions with concept *i* that name j: divide row i by counts[i].",
    ),
    (
        _wrongly(concepts.correlation, lambda p, s, u: p),
        "The threshold is for the stretched correlations: s ** (P - u) - s ** (-u).",
    ),
    (
        _wrongly(concepts.correlation, lambda p, s, u: s ** (p - u)),
        "The term - s ** (-u) is missing: what never occurs together must stay at 0.",
    ),
    (
        _wrongly(lambda counts, together: together / together.sum(1, keepdims=True),
                 concepts.rescale),
        "Divide by how often a concept occurs (counts), not by the sum of its row.",
    ),
)  # fmt: skip
_MIX_MISTAKES: tuple[Mistake, ...] = (
    (
        lambda scores, labels, ratio: (1 - ratio) * (10 * labels).softmax(1) + ratio * scores,
        "ratio is the share of the named concepts, 1 - ratio that of the scores.",
    ),
    (
        lambda scores, labels, ratio: ratio * labels.softmax(1) + (1 - ratio) * scores,
        "Labels are sharpened by 10 before the softmax.",
    ),
    (
        lambda scores, labels, ratio: ratio * (10 * labels).softmax(0) + (1 - ratio) * scores,
        "The softmax runs over the concepts of one sentence (the last dimension).",
    ),
    (
        lambda scores, labels, ratio: ratio * labels + (1 - ratio) * scores,
        "0 and 1 are no weights yet: without the softmax they do not add up to 1.",
    ),
)
