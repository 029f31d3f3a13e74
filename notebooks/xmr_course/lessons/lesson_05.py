"""Lesson 05: training RFE. Learning rates, gradients, margins and fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns

from xmr_course.lessons.checking import Check, one_number
from xmr_course.lessons.drawing import draw_lines, panels, styled, whole_numbers
from xmr_lib.figures import BLUE, GREEN, ORANGE, VERMILION, Picture
from xmr_lib.recipes import Recipe


@styled
def plot_schedules(recipes: Mapping[str, Recipe]) -> Picture:
    """Learning rate of every epoch of several recipes."""
    figure, axes = panels(8, 3.2)
    rates = {n: [r.training.lr_at(e) for e in range(r.training.epochs)] for n, r in recipes.items()}
    epochs = np.arange(1, max(map(len, rates.values())) + 1)
    draw_lines(axes, epochs, rates, drawstyle="steps-mid", markers=False, linewidth=2)
    axes.set(ylabel="learning rate", yscale="log")
    whole_numbers(axes)
    return figure


@styled
def plot_gradient_norms(norms: Mapping[str, Sequence[float]], clip: float) -> Picture:
    """Length of the gradient at each step, before clipping."""
    figure, axes = panels(8, 3.2)
    steps = np.arange(1, max(map(len, norms.values())) + 1)
    draw_lines(axes, steps, norms, markers=False, linewidth=1.8)
    axes.axhline(clip, color=VERMILION, linewidth=1.2)
    look = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "bottom"}
    look |= {"color": VERMILION, "fontsize": 9}
    axes.text(0.99, clip, f"clipped to {clip:g}", **look)
    axes.set(xlabel="step", ylabel="length of the gradient", yscale="log")
    return figure


@styled
def plot_margins(frame: pd.DataFrame) -> Picture:
    """Sum of recalls against the margin, printed and measured, each on an axis of its own.

    The two axes have the same length in points of rsum, so that differences can be compared.

    Args:
        frame: `xmr_course.tables.reproduce.reproduce("rfe-1")`: `method` such as "mg=0.2",
            `printed_rsum`, `measured_rsum`, `sd_rsum`.
    """
    figure, grid = panels(9, 3.3, 1, 2)
    spans = []
    for axes, side, title, colour, marker in zip(
        grid,
        ("printed", "measured"),
        ("printed (Flickr30K, no s.d.)", "measured"),
        (BLUE, GREEN),
        "oD",
        strict=True,
    ):
        values = frame[f"{side}_rsum"]
        spread = frame["sd_rsum"].fillna(0) if side == "measured" else 0 * values
        places = np.arange(len(frame))
        axes.errorbar(places, values, yerr=spread, fmt=f"{marker}-", color=colour, capsize=3)
        axes.plot(values.argmax(), values.max(), "*", markersize=16, color=ORANGE)
        axes.set(title=title, xlabel="margin", ylabel="rsum")
        axes.set_xticks(places, frame["method"].str.removeprefix("mg="))
        spans.append((values.min() - spread.max(), values.max() + spread.max()))
    half = 0.62 * max(high - low for low, high in spans)
    for axes, (low, high) in zip(grid, spans, strict=True):
        axes.set_ylim((low + high) / 2 - half, (low + high) / 2 + half)
    return figure


@styled
def plot_stage_gradients(lengths: Mapping[str, float]) -> Picture:
    """How strongly each part of the model is pulled at the first step of fine-tuning.

    Args:
        lengths: Part -> length of its gradient, as a share of the length of its weights.
    """
    figure, axes = panels(7, 0.9 + 0.36 * len(lengths))
    colours = [ORANGE if name.startswith("CNN") else BLUE for name in lengths]
    sns.barplot(
        x=list(lengths.values()),
        y=list(lengths),
        hue=list(lengths),
        palette=colours,
        saturation=1,
        legend=False,
        ax=axes,
    )
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
