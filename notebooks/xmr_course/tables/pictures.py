"""Pictures of tables that hold something else than recalls."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd

from xmr_lib.figures import BLUE, ORANGE, Picture, style


def plot_times(
    frame: pd.DataFrame, measures: Mapping[str, str], title: str | None = None
) -> Picture:
    """RFE's Table V: seconds printed and measured, with the ratio to the model that a row extends.

    Args:
        frame: As `xmr_course.tables.timing.measure` returns it.
        measures: Column -> what it is, such as "train" -> "a training iteration".
        title: Over the whole picture.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(10, 3.2), layout="constrained")
        rows = np.arange(len(frame))[::-1]
        all_axes = figure.subplots(1, len(measures), sharey=True)
        for axes, (measure, what) in zip(all_axes, measures.items(), strict=True):
            for source, colour, marker, shift in (
                ("printed", ORANGE, "s", 0.12), ("measured", BLUE, "o", -0.12),
            ):  # fmt: skip
                seconds = frame[f"{source}_{measure}_s"]
                spread = frame[f"sd_{measure}_s"].fillna(0) if source == "measured" else None
                axes.errorbar(
                    seconds, rows + shift, xerr=spread, fmt=marker, color=colour, capsize=3,
                    markerfacecolor="white" if source == "printed" else colour, label=source,
                )  # fmt: skip
                for row, second, ratio in zip(
                    rows, seconds, frame[f"{source}_{measure}_ratio"], strict=True
                ):
                    if pd.notna(ratio):
                        axes.annotate(
                            f"{ratio:.2f}×", (second, row + shift), (9, 0), va="center",
                            textcoords="offset points", fontsize=8, color=colour,
                        )  # fmt: skip
            axes.set(xscale="log", title=f"Seconds of {what}", xlabel="seconds (log scale)")
            axes.margins(x=0.2)
            axes.set(yticks=rows, ylim=(-0.6, len(frame) - 0.4))
            axes.set_yticklabels(
                [
                    f"{row['method']}\n(× against {row['extends']})"
                    if row["extends"]
                    else row["method"]
                    for row in frame.to_dict("records")
                ]
            )
        figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
        if title:
            figure.suptitle(title)
        return figure
