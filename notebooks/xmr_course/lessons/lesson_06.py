"""Lesson 06: RFE's ablations. Names of table rows, and the paired bootstrap."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from numpy.typing import ArrayLike

from xmr_course.lessons.checking import Case, Check, fail, one_array
from xmr_course.lessons.drawing import draw_bars, legend_outside, panels, styled
from xmr_lib.figures import BLACK, BLUE, GREEN, GREY, PALETTE, Picture


@styled
def plot_differences(drawn: Mapping[str, ArrayLike], observed: float) -> Picture:
    """Differences of two runs on resampled test sets, with 95 % intervals, one way per row."""
    figure, grid = panels(8.5, 0.7 + 1.5 * len(drawn), len(drawn), 1, sharex=True, squeeze=False)
    every = np.concatenate([np.asarray(values) for values in drawn.values()])
    span = every.min(), every.max()
    for axes, (title, values), colour in zip(grid[:, 0], drawn.items(), PALETTE, strict=False):
        low, high = np.quantile(values, (0.025, 0.975))
        sns.histplot(
            x=np.asarray(values),
            bins=60,
            binrange=span,
            color=colour,
            alpha=0.5,
            linewidth=0,
            ax=axes,
        )
        axes.axvline(0, color=BLACK, linewidth=1)
        axes.axvline(observed, color=GREY, linestyle=":", linewidth=1.6)
        for end in (low, high):
            axes.axvline(end, color=colour, linestyle="--", linewidth=1.4)
        axes.set(yticks=[], ylabel="", title=f"{title}: 95 % between {low:+.1f} and {high:+.1f}")
    axes.set_xlabel("difference in rsum (solid line: none; dotted: observed)")
    return figure


@styled
def plot_ladder(steps: pd.DataFrame, spread: float | None = None) -> Picture:
    """What one change of the model is worth in rsum, printed and measured.

    Args:
        steps: Index: what was changed; columns `printed` and `measured`, in points of rsum.
        spread: Typical s.d. of a difference between two runs; shown as a band around zero.
    """
    figure, axes = panels(8.5, 1.2 + 0.5 * len(steps))
    if spread is not None:
        axes.axvspan(-2 * spread, 2 * spread, color="#EDEDED", zorder=0)
        axes.text(0, -0.62, "±2 s.d. between seeds", ha="center", fontsize=8)
    axes.axvline(0, color=BLACK, linewidth=1)
    sides = {"printed": steps["printed"], "measured (toy)": steps["measured"]}
    draw_bars(axes, steps.index, sides, orient="h", palette=[BLUE, GREEN])
    axes.set(xlabel="change in rsum", ylim=(len(steps) - 0.4, -1))
    legend_outside(figure, axes)
    return figure


# --- names of rows --------------------------------------------------------------------------------


def _parse_name(name: str) -> dict[str, Any]:
    """`function(name) -> {"avg": …, "max": …, "rnn": …, "emb": …}` of RFE's row names.

    "avg" and "max" are lists of stage numbers (empty when nothing is pooled that way), "rnn" is
    "GRU" or "BiGRU", "emb" is "avg", "max" or None.
    """
    found = re.fullmatch(r"avg-(\d+)(?:-max-(\d+))?-(BiGRU|GRU)(?:-emb-(avg|max))?", name)
    stages = [[int(digit) for digit in found[group] or ""] for group in (1, 2)]
    return {"avg": stages[0], "max": stages[1], "rnn": found[3], "emb": found[4]}


def _four_keys(result: Any, *_: Any) -> dict[str, Any]:
    if not isinstance(result, Mapping) or set(result) != {"avg", "max", "rnn", "emb"}:
        fail(
            f"returned {result!r}.",
            'Return a dictionary with the keys "avg", "max", "rnn" and "emb".',
        )
    return {key: list(v) if isinstance(v, tuple) else v for key, v in result.items()}


def _name_hint(arguments: tuple, ours: dict[str, Any], right: dict[str, Any]) -> str:
    """What probably went wrong with one part of a name."""
    key = next(key for key in right if ours[key] != right[key])
    value = ours[key]
    if key in ("avg", "max"):
        if isinstance(value, str | int) and not isinstance(value, bool):
            return "The digits are stages of their own: 1234 is [1, 2, 3, 4]."
        if isinstance(value, list) and [str(s) for s in value] == [str(s) for s in right[key]]:
            return "Stages are numbers, not text: int(digit) for each digit."
        if value is None:
            return "Nothing pooled that way is an empty list."
        if key == "max" and "emb-max" in arguments[0]:
            return "In `emb-max` the max belongs to the words: stages have digits behind them."
        return "The stages are the digits right behind this word."
    if key == "rnn":
        return "`BiGRU` ends in `GRU`, too: look for the longer one first, or compare whole parts."
    if right["emb"] is None:
        return "Without `-emb-` in the name, word embeddings stay out: None."
    return "How words are pooled stands behind `emb-`; the first avg and max speak of the image."


# All printed forms, and some that only the grammar allows.
_ROWS = """
    avg-4-BiGRU avg-4-GRU-emb-avg avg-4-BiGRU-emb-max avg-1234-BiGRU-emb-avg
    avg-1234-max-1234-BiGRU-emb-avg avg-4-max-4-BiGRU-emb-avg avg-4-max-123-BiGRU-emb-avg
    avg-4-max-34-BiGRU-emb-avg avg-4-max-1234-BiGRU-emb-avg avg-24-GRU avg-3-max-2-GRU
    avg-1-max-23-GRU-emb-max
"""
check_parse_name = Check(
    _parse_name, [(row, (row,)) for row in _ROWS.split()], [], _name_hint, _four_keys
)

# --- paired bootstrap -----------------------------------------------------------------------------


def _paired_differences(hits_a: np.ndarray, hits_b: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """`function(hits_a, hits_b, draws) -> differences` of the paired bootstrap.

    `hits_a` and `hits_b` `(n_images,)` say how often each model was right on each image, `draws`
    `(n_draws, n_images)` which images each drawn test set consists of. The result `(n_draws,)` is
    the mean of a minus that of b on each drawn test set, in percent.
    """
    return 100 * (hits_a - hits_b)[draws].mean(axis=1)


def _one_for_each_draw(result: Any, *_: Any) -> np.ndarray:
    values = one_array(result)
    if values.ndim != 1:
        fail(
            f"returned shape {values.shape}, one number for each drawn test set is wanted.",
            "`hits[draws]` is (n_draws, n_images): take the mean over its last axis.",
        )
    return values


def _hits() -> list[Case]:
    rng = np.random.default_rng(0)
    a, b, draws = [1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [[0, 1, 2], [0, 0, 2]]
    cases = [("three images, two test sets", (a, b, draws))]
    cases += [("b better than a", ([0.0, 0.5, 0.2], [1.0, 0.5, 0.4], [[0, 0, 1], [2, 2, 2]]))]
    for n, m in ((5, 4), (20, 7)):
        random = rng.random(n), rng.random(n), rng.integers(n, size=(m, n))
        cases.append((f"{n} random images, {m} test sets", random))
    return [(title, tuple(map(np.array, arguments))) for title, arguments in cases]


check_paired_differences = Check(
    _paired_differences,
    _hits(),
    [
        lambda a, b, draws: 100 * (a - b)[draws].mean(0),
        "The mean goes over the images of a test set (the last axis), not over the sets.",
        lambda a, b, draws: (a - b)[draws].mean(1),
        "Percent, please: times 100.",
        lambda a, b, draws: 100 * (a - b)[draws].sum(1),
        "A recall is a mean over the images of a test set, not a sum.",
        lambda a, b, draws: 100 * (b - a)[draws].mean(1),
        "The sign: a minus b.",
        lambda a, b, draws: 100 * np.abs(a[draws].mean(1) - b[draws].mean(1)),
        "Keep the sign: without it no interval could ever include zero.",
        lambda a, b, draws: 100 * np.abs(a - b)[draws].mean(1),
        "Keep the sign: images where b is better count against a.",
        lambda a, b, draws: 100 * (a[draws].mean(1) - b.mean()),
        "Only a was drawn anew: b has to be looked at on the very same images.",
        lambda a, b, draws: 100 * (a.mean() - b[draws].mean(1)),
        "Only b was drawn anew: a has to be looked at on the very same images.",
        lambda a, b, draws: 100 * (a[draws].mean(1) - b[np.roll(draws, 1, axis=0)].mean(1)),
        "a and b saw different test sets: use the same row of `draws` for both.",
        lambda a, b, draws: np.full(len(draws), 100 * (a.mean() - b.mean())),
        "This is the difference on the whole test set: `draws` says which images to take.",
    ],
    "Work out the first drawn test set by hand: which images, which hits, which means?",
    _one_for_each_draw,
)
