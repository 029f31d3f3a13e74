"""Lesson 12: consensus concepts. Their graph, and a sentence's attention over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn as sns
import torch
from torch import Tensor

from xmr_course.lessons.checking import Case, Check, fail, one_array
from xmr_course.lessons.drawing import draw_bars, draw_lines, legend_outside, panels, styled
from xmr_lib.encoders.consensus import mix_labels
from xmr_lib.figures import BLUE, GREEN, GREY, ORANGE, Picture
from xmr_lib.language.concepts import correlation, rescale


@styled
def plot_rescaling(correlations: np.ndarray, threshold: float = 0.3) -> Picture:
    """How CVSE stretches small correlations, and how many pairs pass the threshold.

    `correlations`: `P` of all pairs `(n, n)`.
    """
    figure, (curve, counts) = panels(9, 3.2, 1, 2)
    p = np.linspace(0, 1, 200)
    draw_lines(
        curve,
        p,
        {"5^(P − 0.02) − 5^(−0.02)": rescale(p), "P itself": p},
        markers=False,
        palette=[BLUE, GREY],
    )
    needed = p[np.argmax(rescale(p) >= threshold)]
    curve.axhline(threshold, color=ORANGE, lw=1.2)
    look = {"textcoords": "offset points", "fontsize": 9}
    curve.annotate(f"neighbours from P = {needed:.2f} on", (needed, 2.4), (8, 0), **look)
    curve.set(xlabel="P: share of i's captions that name j", ylabel="stretched")
    pairs = correlations[~np.eye(len(correlations), dtype=bool)]
    sns.histplot(
        x=pairs[pairs > 0], bins=40, binrange=(0, 1), color=BLUE, alpha=1, linewidth=0, ax=counts
    )
    for axes in (curve, counts):
        axes.axvline(needed, color=ORANGE, lw=1.2)
    passing = f"{(pairs >= needed).sum():,} of {len(pairs):,} pairs pass"
    counts.set(xlabel="P of pairs that occur together", ylabel="pairs", yscale="log", title=passing)
    return figure


@styled
def plot_shares(
    words: Sequence[str], scores: np.ndarray, named: np.ndarray, mixed: np.ndarray, k: int = 12
) -> Picture:
    """A sentence's weights over its strongest concepts: attention, named ones, and their mix.

    Args:
        words: All concepts.
        scores: Weights of the attention `(n,)`.
        named: Softmax of the sentence's own concepts `(n,)`.
        mixed: What is used `(n,)`.
        k: Concepts shown.
    """
    strongest = np.argsort(-mixed, kind="stable")[:k]
    figure, axes = panels(8, 0.32 * k + 1.2)
    kinds = {
        "named in the sentence": named[strongest],
        "found by attention": scores[strongest],
        "mixed, 0.35 : 0.65": mixed[strongest],
    }
    look = {"orient": "h", "palette": [GREEN, ORANGE, BLUE], "hatches": [""] * 3}
    draw_bars(axes, [words[i] for i in strongest], kinds, **look)
    axes.set(xlabel="weight")
    legend_outside(figure, axes, "upper")
    return figure


@styled
def plot_neighbour_cosines(before: np.ndarray, after: np.ndarray, edges: np.ndarray) -> Picture:
    """Cosines of concepts before and after the graph network, neighbours and others apart.

    Args:
        before: Cosines of the word vectors `(n, n)`.
        after: Cosines of the graph's output `(n, n)`.
        edges: Which concepts are neighbours, `(n, n)`.
    """
    figure, grid = panels(9, 3.0, 1, 2, sharey=True)
    off = ~np.eye(len(edges), dtype=bool)
    titles = "word vectors", "after two layers of the graph (untrained)"
    for axes, values, title in zip(grid, (before, after), titles, strict=True):
        for mask, colour, label in (
            (off & ~edges, GREY, "not neighbours"),
            (off & edges, BLUE, "neighbours"),
        ):
            sns.histplot(
                x=values[mask],
                bins=60,
                binrange=(-1, 1),
                stat="density",
                alpha=0.65,
                color=colour,
                linewidth=0,
                label=label,
                ax=axes,
            )
            axes.axvline(values[mask].mean(), color=colour, lw=2, ls="--")
        axes.set(title=title, xlabel="cosine of two concepts", ylabel="density")
        axes.legend(fontsize=8)
    return figure


# --- neighbours -----------------------------------------------------------------------------------


def _neighbours(
    counts: np.ndarray, together: np.ndarray, s: float, u: float, threshold: float
) -> np.ndarray:
    """`function(counts, together, s, u, threshold) -> (n, n) bool`: True for neighbours."""
    return rescale(correlation(counts, together), s, u) >= threshold


def _square(result: Any, *_: Any) -> np.ndarray:
    found = one_array(result)
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        fail(f"shape {found.shape}.", "Return one row and one column for each concept.")
    return found


def _neighbour_cases() -> list[Case]:
    rng = np.random.default_rng(12)
    cases: list[Case] = []
    for title, n in (("three concepts", 3), ("six concepts", 6), ("twelve concepts", 12)):
        together = np.triu(rng.integers(0, 40, (n, n)), 1)
        together = together + together.T
        counts = together.max(axis=1) + rng.integers(1, 90, n)
        cases.append((title, (counts, together, 5.0, 0.02, 0.3)))
    return [*cases, ("other constants", (*cases[-1][1][:2], 3.0, 0.1, 0.5))]


check_neighbours = Check(
    _neighbours,
    _neighbour_cases(),
    [
        lambda c, t, s, u, least: rescale(t / c, s, u) >= least,
        "P[i, j] is the share of captions with concept *i* that name j: divide row i by counts[i].",
        lambda c, t, s, u, least: correlation(c, t) >= least,
        "The threshold is for the stretched correlations: s ** (P - u) - s ** (-u).",
        lambda c, t, s, u, least: s ** (correlation(c, t) - u) >= least,
        "The term - s ** (-u) is missing: what never occurs together must stay at 0.",
        lambda c, t, s, u, least: rescale(t / t.sum(1, keepdims=True), s, u) >= least,
        "Divide by how often a concept occurs (counts), not by the sum of its row.",
    ],
    "P[i, j] = together[i, j] / counts[i]; then s ** (P - u) - s ** (-u) >= threshold.",
    _square,
)

# --- attention over concepts ----------------------------------------------------------------------


def _mixed_attention(scores: Tensor, labels: Tensor, ratio: float) -> Tensor:
    """`function(scores, labels, ratio) -> weights`, a sentence's attention over concepts.

    `scores` `(b, n)` are softmax weights already, `labels` `(b, n)` 0 or 1.
    """
    return mix_labels(scores, labels, ratio)


def _sentences() -> list[Case]:
    generator = torch.Generator().manual_seed(12)
    cases: list[Case] = []
    for title, b, n, ratio, rare in (
        ("one sentence", 1, 4, 0.35, 0.6),
        ("three sentences", 3, 6, 0.35, 0.6),
        ("another ratio", 2, 5, 0.8, 0.6),
        ("no concept named", 2, 4, 0.35, 1.0),
    ):
        labels = (torch.rand(b, n, generator=generator) > rare).float()
        cases.append(
            (title, ((3 * torch.randn(b, n, generator=generator)).softmax(1), labels, ratio))
        )
    return cases


check_mixed_attention = Check(
    _mixed_attention,
    _sentences(),
    [
        lambda scores, labels, ratio: (1 - ratio) * (10 * labels).softmax(1) + ratio * scores,
        "ratio is the share of the named concepts, 1 - ratio that of the scores.",
        lambda scores, labels, ratio: ratio * labels.softmax(1) + (1 - ratio) * scores,
        "Labels are sharpened by 10 before the softmax.",
        lambda scores, labels, ratio: ratio * (10 * labels).softmax(0) + (1 - ratio) * scores,
        "The softmax runs over the concepts of one sentence (the last dimension).",
        lambda scores, labels, ratio: ratio * labels + (1 - ratio) * scores,
        "0 and 1 are no weights yet: without the softmax they do not add up to 1.",
    ],
    "ratio * softmax(10 * labels) + (1 - ratio) * scores, the softmax over the concepts.",
)
