"""Pictures of measured tables: points and bars with intervals, drawn by seaborn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from xmr_lib.figures import BLUE, GREEN, GREY, ORANGE, Picture, style

# Of three values, low, middle and high: seaborn draws the middle one and the whole range.
_INTERVAL = {"estimator": "median", "errorbar": ("pi", 100)}


def draw_intervals(
    axes: Axes, frame: pd.DataFrame, value: str, low: Any, high: Any, bars: bool = False, **look
) -> None:
    """A point, or a bar, with its interval for each row of a frame, from top to bottom.

    Args:
        axes: Where.
        frame: A column `method`, and the values; rows without a value stay empty.
        value: Column of the values.
        low: Lower ends, one per row; NaN where there is no interval.
        high: Upper ends.
        bars: Bars instead of points.
        look: Further arguments of `seaborn.pointplot` or `seaborn.barplot`.
    """
    ends = [frame[value], low, high]
    long = pd.concat([frame[["method"]].assign(value=each) for each in ends]).dropna()
    options = {
        "data": long,
        "x": "value",
        "y": "method",
        "order": list(frame["method"]),
        "ax": axes,
    }
    if bars:
        sns.barplot(**options, **_INTERVAL, orient="h", saturation=1, **look)
    else:
        sns.pointplot(**options, **_INTERVAL, orient="h", linestyle="none", capsize=0.15, **look)
    axes.set(xlabel="", ylabel="", ylim=(len(frame) - 0.5, -0.6))


def plot_comparison(frame: pd.DataFrame, title: str | None = None) -> Picture:
    """Printed beside measured, one line per row of a table (as `reproduce` returns it).

    The two R@1 are drawn for both, because every row prints them; the sum of recalls only where
    it was measured, with the verdict of the paired bootstrap. Bars are ± one s.d. over seeds.

    Args:
        frame: Columns `method`, `printed_*`, `measured_*`, `sd_*`, `difference`, `verdict`.
        title: Over the whole picture.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(11.5, 1.5 + 0.38 * len(frame)), layout="constrained")
        printed, measured, total = figure.subplots(1, 3, sharey=True)
        ways = (("i2t_r1", "image → text", BLUE, "o"), ("t2i_r1", "text → image", ORANGE, "s"))
        for metric, way, colour, marker in ways:
            look = {"color": colour, "markers": marker}
            hollow = {"markerfacecolor": "white", "label": way}
            draw_intervals(printed, frame, f"printed_{metric}", None, None, **look, **hollow)
            _draw_spread(measured, frame, metric, **look)
        _draw_spread(total, frame, "rsum", color=GREEN, markers="D")
        for row, line in enumerate(frame.to_dict("records")):
            if pd.isna(line["measured_rsum"]):
                for axes in (measured, total):
                    place = {"transform": axes.get_yaxis_transform(), "ha": "center"}
                    axes.text(
                        0.5, row, "not measured", va="center", color=GREY, fontsize=8, **place
                    )
            elif line["verdict"]:
                difference = "" if pd.isna(line["difference"]) else f"{line['difference']:+.1f} "
                note(total, f"{difference}{line['verdict']}", (line["measured_rsum"], row), (0, 6))
        printed.set_yticks(range(len(frame)), frame["method"], parse_math=False)
        printed.set(title="R@1 printed")
        measured.set(title="R@1 measured ± s.d.")
        total.set(title="rsum measured ± s.d.")
        total.margins(x=0.15)
        handles = printed.get_legend_handles_labels()
        printed.get_legend().remove()
        figure.legend(*handles, loc="outside lower left", ncols=2)
        for axes in (printed, measured, total):
            axes.set_xlabel("%")
            axes.grid(axis="y", color="#F2F2F2")
        if title:
            figure.suptitle(title, parse_math=False)
    return figure


def note(axes: Axes, text: str, point: tuple, offset: tuple[int, int], **look: Any) -> None:
    """Small text above a point, or at its right."""
    where = {"ha": "center"} if offset[0] == 0 else {"va": "center"}
    axes.annotate(text, point, offset, textcoords="offset points", fontsize=8, **where, **look)


def _draw_spread(axes: Axes, frame: pd.DataFrame, metric: str, **look: Any) -> None:
    mean, spread = frame[f"measured_{metric}"], frame[f"sd_{metric}"]
    draw_intervals(axes, frame, f"measured_{metric}", mean - spread, mean + spread, **look)


def plot_times(
    frame: pd.DataFrame, measures: Mapping[str, str], title: str | None = None
) -> Picture:
    """RFE's Table V: seconds printed and measured, with the ratio to the model that a row extends.

    Args:
        frame: As `timing.measure` returns it.
        measures: Column -> what it is, such as "train" -> "a training iteration".
        title: Over the whole picture.
    """
    named = [
        f"{row['method']}\n(× against {row['extends']})" if row["extends"] else row["method"]
        for row in frame.to_dict("records")
    ]
    looks = {"printed": (ORANGE, "s", {"markerfacecolor": "white"}), "measured": (BLUE, "o", {})}
    with mpl.rc_context(style()):
        figure = Picture(figsize=(10, 3.2), layout="constrained")
        all_axes = figure.subplots(1, len(measures), sharey=True)
        for axes, (measure, what) in zip(all_axes, measures.items(), strict=True):
            axes.set_xscale("log")
            for source, (colour, marker, face) in looks.items():
                seconds, ends = frame[f"{source}_{measure}_s"], (None, None)
                if source == "measured":
                    ends = seconds - frame[f"sd_{measure}_s"], seconds + frame[f"sd_{measure}_s"]
                look = {"color": colour, "markers": marker, "label": source, **face}
                draw_intervals(axes, frame.assign(method=named), seconds.name, *ends, **look)
                ratios = frame[f"{source}_{measure}_ratio"]
                for row, (second, ratio) in enumerate(zip(seconds, ratios, strict=True)):
                    if pd.notna(ratio):
                        note(axes, f"{ratio:.2f}×", (second, row), (9, 0), color=colour)
            axes.set(title=f"Seconds of {what}", xlabel="seconds (log scale)")
            axes.margins(x=0.2)
        handles = all_axes[0].get_legend_handles_labels()
        for axes in all_axes:
            axes.get_legend().remove()
        figure.legend(*handles, loc="outside lower left", ncols=2)
        if title:
            figure.suptitle(title, parse_math=False)
    return figure
