"""Lesson 05: training RFE. Learning rates, gradients, margins and fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from xmr_course.lessons.checking import Check, one_number
from xmr_course.lessons.drawing import styled
from xmr_lib.figures import BLUE, GREEN, ORANGE, PALETTE, VERMILION, Picture
from xmr_lib.recipes import Recipe

_LINES = ("-", "--", ":", "-.")


@styled
def plot_schedules(recipes: Mapping[str, Recipe]) -> Picture:
    """Learning rate of every epoch of several recipes.

    Args:
        recipes: Title -> recipe.
    """
    figure = Picture(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    for (title, recipe), colour, line in zip(recipes.items(), PALETTE, _LINES, strict=False):
        epochs = np.arange(1, recipe.training.epochs + 1)
        rates = [recipe.training.lr_at(epoch - 1) for epoch in epochs]
        axes.step(epochs, rates, where="mid", color=colour, linestyle=line, label=title, lw=2)
    axes.set(xlabel="epoch", ylabel="learning rate", yscale="log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


@styled
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
        0.99,
        clip,
        f"clipped to {clip:g}",
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="bottom",
        color=VERMILION,
        fontsize=9,
    )
    axes.set(xlabel="step", ylabel="length of the gradient", yscale="log")
    axes.legend()
    return figure


@styled
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
    sides = (
        ("printed", "printed (Flickr30K, no s.d.)", BLUE, "o"),
        ("measured", "measured", GREEN, "D"),
    )
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


@styled
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


def _learning_rate(epoch: int, start: float, every: int, factor: float) -> float:
    """`function(epoch, start, every, factor) -> learning rate`.

    The first epoch is 1, as people and histories count: with `every=15` the rate first changes in
    epoch 16.
    """
    return start * factor ** ((epoch - 1) // every)


# In units of 1e-4, so that differences between small rates are seen.
_SCHEDULES = (
    (2.0, 15, 0.1, (1, 14, 15, 16, 30, 31, 36)),
    (2.0, 15, 1 / 1.2, (1, 15, 16, 31)),
    (5.0, 1, 0.5, (1, 2, 5)),
)
check_learning_rate = Check(
    _learning_rate,
    [
        (
            f"epoch {epoch}, start {start:g}, × {factor:.3g} every {every}",
            (epoch, start, every, factor),
        )
        for start, every, factor, epochs in _SCHEDULES
        for epoch in epochs
    ],
    [
        lambda epoch, start, every, factor: start * factor ** (epoch // every),
        "One epoch too early: the first epoch is 1, so epoch 15 still belongs to the first "
        "fifteen. Count the epochs that are already over, `epoch - 1`.",
        lambda epoch, start, every, factor: start * factor if epoch > every else start,
        "The rate falls again and again, every `every` epochs, not only once.",
        lambda epoch, start, every, factor: start * factor ** ((epoch - 1) / every),
        "The rate falls in steps: use `//`, which rounds down, not `/`.",
        lambda epoch, start, every, factor: start * factor ** (epoch - 1),
        "The rate is multiplied by `factor` once in `every` epochs, not in each.",
        lambda epoch, start, every, factor: start / factor ** ((epoch - 1) // every),
        "The rate grows: `factor` is below 1, so multiply by it.",
        lambda epoch, start, every, factor: start * factor * ((epoch - 1) // every),
        "Two drops multiply by `factor` twice: that is a power, `factor ** drops`.",
    ],
    "How many times has the rate been multiplied by `factor` before this epoch begins?",
    one_number,
)
