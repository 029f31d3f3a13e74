"""Pictures of notebook 12: how correlations are stretched, and what a graph does to concepts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xmr_lib.figures import BLUE, GREEN, GREY, ORANGE, Picture, _styled
from xmr_lib.language.concepts import rescale


@_styled
def plot_rescaling(correlations: np.ndarray, threshold: float = 0.3) -> Picture:
    """How CVSE stretches small correlations, and how many pairs pass the threshold.

    Args:
        correlations: `P` of all pairs `(n, n)`.
        threshold: Of the stretched ones.
    """
    figure = Picture(figsize=(9, 3.2), layout="constrained")
    curve, counts = figure.subplots(1, 2)
    p = np.linspace(0, 1, 200)
    curve.plot(p, rescale(p), color=BLUE, lw=2, label="5^(P − 0.02) − 5^(−0.02)")
    curve.plot(p, p, color=GREY, ls="--", lw=1.2, label="P itself")
    needed = p[np.argmax(rescale(p) >= threshold)]
    curve.axhline(threshold, color=ORANGE, lw=1.2)
    curve.axvline(needed, color=ORANGE, lw=1.2)
    curve.annotate(
        f"neighbours from P = {needed:.2f} on", (needed, 0), (8, 4), textcoords="offset points",
        fontsize=9,
    )  # fmt: skip
    curve.set(xlabel="P: share of i's captions that name j", ylabel="stretched")
    curve.legend(fontsize=8)
    pairs = correlations[~np.eye(len(correlations), dtype=bool)]
    counts.hist(pairs[pairs > 0], bins=np.linspace(0, 1, 41), color=BLUE)
    counts.axvline(needed, color=ORANGE, lw=1.2)
    counts.set(
        xlabel="P of pairs that occur together", ylabel="pairs", yscale="log",
        title=f"{(pairs >= needed).sum():,} of {len(pairs):,} pairs pass",
    )  # fmt: skip
    return figure


@_styled
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
    chosen = np.argsort(-mixed, kind="stable")[:k][::-1]
    places = np.arange(len(chosen))
    figure = Picture(figsize=(8, 0.32 * k + 1.2), layout="constrained")
    axes = figure.subplots()
    for values, colour, shift, label in (
        (named, GREEN, 0.27, "named in the sentence"),
        (scores, ORANGE, 0.0, "found by attention"),
        (mixed, BLUE, -0.27, "mixed, 0.35 : 0.65"),
    ):
        axes.barh(places + shift, values[chosen], 0.25, color=colour, label=label)
    axes.set(yticks=places, yticklabels=[words[i] for i in chosen], xlabel="weight")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@_styled
def plot_neighbour_cosines(before: np.ndarray, after: np.ndarray, edges: np.ndarray) -> Picture:
    """Cosines of concepts before and after the graph network, neighbours and others apart.

    Args:
        before: Cosines of the word vectors `(n, n)`.
        after: Cosines of the graph's output `(n, n)`.
        edges: Who is a neighbour `(n, n)`.
    """
    figure = Picture(figsize=(9, 3.0), layout="constrained")
    off = ~np.eye(len(edges), dtype=bool)
    bins = np.linspace(-1, 1, 61)
    for axes, values, title in zip(
        figure.subplots(1, 2, sharey=True), (before, after),
        ("word vectors", "after two layers of the graph (untrained)"), strict=True,
    ):  # fmt: skip
        for mask, colour, label in (
            (off & ~edges, GREY, "not neighbours"), (off & edges, BLUE, "neighbours"),
        ):  # fmt: skip
            axes.hist(values[mask], bins=bins, density=True, alpha=0.65, color=colour, label=label)
            axes.axvline(values[mask].mean(), color=colour, lw=2, ls="--")
        axes.set(title=title, xlabel="cosine of two concepts")
        axes.legend(fontsize=8)
    figure.axes[0].set_ylabel("density")
    return figure
