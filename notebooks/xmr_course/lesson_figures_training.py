"""Pictures of notebooks 05 and 06, where `figures` has none of the kind.

As in `figures`, every function returns a figure and shows nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from xmr_lib.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALETTE,
    VERMILION,
    Picture,
    _styled,
)
from xmr_lib.recipes import Recipe

_LINES = ("-", "--", ":", "-.")


@_styled
def plot_schedules(recipes: Mapping[str, Recipe]) -> Picture:
    """Learning rate of every epoch of several recipes.

    Args:
        recipes: Title -> recipe.
    """
    figure = Picture(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    for (title, recipe), colour, line in zip(recipes.items(), PALETTE, _LINES, strict=False):
        epochs = np.arange(1, recipe.epochs + 1)
        rates = [recipe.lr_at(epoch - 1) for epoch in epochs]
        axes.step(epochs, rates, where="mid", color=colour, linestyle=line, label=title, lw=2)
    axes.set(xlabel="epoch", ylabel="learning rate", yscale="log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


@_styled
def plot_gradient_norms(norms: Mapping[str, Sequence[float]], clip: float) -> Picture:
    """Length of the gradient at each step, before clipping.

    Args:
        norms: Title -> one length per step.
        clip: Largest length that is let through.
    """
    figure = Picture(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    for (title, values), colour, line in zip(norms.items(), PALETTE, _LINES, strict=False):
        axes.plot(np.arange(1, len(values) + 1), values, line, color=colour, label=title, lw=1.8)
    axes.axhline(clip, color=VERMILION, linewidth=1.2)
    axes.text(
        0.99, clip, f"clipped to {clip:g}", transform=axes.get_yaxis_transform(), ha="right",
        va="bottom", color=VERMILION, fontsize=9,
    )  # fmt: skip
    axes.set(xlabel="step", ylabel="length of the gradient", yscale="log")
    axes.legend()
    return figure


@_styled
def plot_margins(frame: pd.DataFrame) -> Picture:
    """Sum of recalls against the margin, printed and measured, each on an axis of its own.

    The two axes have the same length in points of rsum, so that differences can be compared.

    Args:
        frame: `tables.reproduce.reproduce("rfe-1")`: `method` such as "mg=0.2", `printed_rsum`,
            `measured_rsum`, `sd_rsum`, and `low` and `high` of the difference to the baseline.
    """
    margins = frame["method"].str.removeprefix("mg=").astype(float)
    places = np.arange(len(frame))
    figure = Picture(figsize=(9, 3.3), layout="constrained")
    panels = figure.subplots(1, 2)
    sides = (("printed", "printed (Flickr30K, no s.d.)", BLUE, "o"),
             ("measured", "measured", GREEN, "D"))  # fmt: skip
    spans = []
    for axes, (side, title, colour, marker) in zip(panels, sides, strict=True):
        values = frame[f"{side}_rsum"]
        spread = frame["sd_rsum"].fillna(0) if side == "measured" else 0 * values
        axes.errorbar(places, values, yerr=spread, fmt=f"{marker}-", color=colour, capsize=3)
        best = int(values.argmax())
        axes.plot(places[best], values.iloc[best], "*", markersize=16, color=ORANGE)
        axes.set(title=title, xlabel="margin", ylabel="rsum", xticks=places)
        axes.set_xticklabels([f"{margin:g}" for margin in margins])
        spans.append((values.min() - spread.max(), values.max() + spread.max()))
    half = 0.62 * max(high - low for low, high in spans)
    for axes, (low, high) in zip(panels, spans, strict=True):
        axes.set_ylim((low + high) / 2 - half, (low + high) / 2 + half)
    return figure


@_styled
def plot_stage_gradients(lengths: Mapping[str, float]) -> Picture:
    """How strongly each part of the model is pulled at the first step of fine-tuning.

    Args:
        lengths: Part -> length of its gradient, as a share of the length of its weights.
    """
    figure = Picture(figsize=(7, 0.9 + 0.36 * len(lengths)), layout="constrained")
    axes = figure.subplots()
    names = list(lengths)[::-1]
    colours = [ORANGE if name.startswith("CNN") else BLUE for name in names]
    axes.barh(names, [lengths[name] for name in names], color=colours)
    axes.set(xlabel="length of the gradient ÷ length of the weights")
    axes.grid(axis="y", visible=False)
    return figure


@_styled
def plot_differences(drawn: Mapping[str, ArrayLike], observed: float) -> Picture:
    """Differences of two runs on resampled test sets, with 95 % intervals, one way per row.

    Args:
        drawn: Title -> differences in rsum.
        observed: The difference on the test set itself.
    """
    figure = Picture(figsize=(8.5, 0.7 + 1.5 * len(drawn)), layout="constrained")
    panels = np.ravel(figure.subplots(len(drawn), 1, sharex=True, squeeze=False))
    both = np.concatenate([np.asarray(values) for values in drawn.values()])
    edges = np.linspace(both.min(), both.max(), 60)
    for axes, (title, values), colour in zip(panels, drawn.items(), PALETTE, strict=False):
        low, high = np.quantile(values, (0.025, 0.975))
        axes.hist(values, edges, color=colour, alpha=0.5)
        axes.axvline(0, color=BLACK, linewidth=1)
        axes.axvline(observed, color=GREY, linestyle=":", linewidth=1.6)
        for end in (low, high):
            axes.axvline(end, color=colour, linestyle="--", linewidth=1.4)
        axes.set(yticks=[], title=f"{title}: 95 % between {low:+.1f} and {high:+.1f}")
    panels[-1].set_xlabel("difference in rsum (solid line: none; dotted: observed)")
    return figure


@_styled
def plot_ladder(steps: pd.DataFrame, spread: float | None = None) -> Picture:
    """What one change of the model is worth in rsum, printed and measured.

    Args:
        steps: Index: what was changed; columns `printed` and `measured`, in points of rsum.
        spread: Typical s.d. of a difference between two runs; shown as a band around zero.
    """
    figure = Picture(figsize=(8.5, 1.2 + 0.5 * len(steps)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(steps))[::-1]
    if spread is not None:
        axes.axvspan(-2 * spread, 2 * spread, color="#EDEDED", zorder=0)
        axes.text(0, rows.max() + 0.62, "±2 s.d. between seeds", ha="center", fontsize=8)
    axes.axvline(0, color=BLACK, linewidth=1)
    axes.barh(rows + 0.18, steps["printed"], 0.34, color=BLUE, label="printed")
    axes.barh(
        rows - 0.18, steps["measured"], 0.34, color=GREEN, hatch="//", edgecolor="white",
        label="measured (toy)",
    )  # fmt: skip
    axes.set(yticks=rows, xlabel="change in rsum", ylim=(-0.6, len(steps)))
    axes.set_yticklabels(steps.index, parse_math=False)
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=2)
    return figure
