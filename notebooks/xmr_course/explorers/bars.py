"""Rows of a printed table as bars, beside what was measured of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from xmr_course.tables import paper, reproduce, timing
from xmr_course.tables.paper import PaperTable
from xmr_lib.errors import DataError
from xmr_lib.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, Picture, _wrapped, style

RECALLS = {"rsum": "sum of the six recalls"} | {
    f"{way}_r{k}": f"{words} R@{k}"
    for way, words in (("i2t", "image → text"), ("t2i", "text → image"))
    for k in (1, 5, 10)
}
SECONDS = {measure: f"seconds of {what}" for measure, what in timing.MEASURES.items()}


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of a table's rows.

    Attributes:
        frame: As `tables.reproduce.reproduce` or `tables.timing.measure` returns it.
        on: What it was measured on; toy numbers are called so.
    """

    frame: pd.DataFrame
    on: str


def metrics(printed: PaperTable) -> dict[str, str]:
    """What a table prints: column -> words."""
    return RECALLS if printed.has_recalls else SECONDS


def usual_metric(printed: PaperTable) -> str:
    """The sum of recalls, or where few rows print it the recall that most rows print."""
    if not printed.has_recalls or printed.frame["rsum"].notna().mean() >= 0.5:
        return next(iter(metrics(printed)))
    return printed.frame[list(RECALLS)].notna().sum().idxmax()


def labels(table: str) -> list[str]:
    """What a table was measured on so far, such as "toy" or "flickr8k"; toy numbers come first."""
    files = [file for folder in reproduce.folders() for file in folder.glob(f"{table}-*.csv")]
    found = {file.stem.removeprefix(f"{table}-") for file in files}
    return sorted(found, key=lambda name: (not name.startswith("toy"), name))


def measured(table: str, label: str) -> Measured:
    """What an earlier `reproduce` of a table measured.

    Args:
        table: Such as "rfe-6".
        label: One of `labels(table)`.

    Raises:
        DataError: That has not been measured yet.
    """
    if paper.table(table).has_recalls:
        return given(reproduce.saved(table, label))
    frame = pd.read_csv(reproduce.file_of(table, label))
    return Measured(frame, f"{label}, another machine than the paper's")


def given(frame: pd.DataFrame) -> Measured:
    """A frame that `reproduce` returned."""
    on = frame.attrs.get("title", "").partition("measured: ")[2] or "as given"
    if "seed" not in on and "seeds" in frame:
        n = sorted({int(n) for n in frame["seeds"].dropna()} - {0})
        on += ", one seed" if n == [1] else f", {'–'.join(map(str, n))} seeds" if n else ""
    return Measured(frame, on)


def chosen_rows(
    printed: PaperTable, found: Measured | None, rows: Sequence[str], metric: str
) -> pd.DataFrame:
    """What is drawn: one line per chosen row, in the table's order.

    Returns:
        `method`, `label` (with † and ⊕), `printed`, `printed_sd`, `odd` (the printed sum is not
        that of its cells), `measured`, `sd`, `status`, and for recalls `printed_difference`,
        `difference`, `low`, `high`, `verdict` and `against` (about rsum, whatever the metric is).
    """
    if found is not None:
        printed = paper.with_rows(printed, found.frame["method"].tolist())
    frame = printed.frame.set_index("method")
    lines = pd.DataFrame(index=frame.index)
    if printed.has_recalls:
        lines["printed"] = frame[metric]
        lines["printed_sd"] = np.nan
    else:
        lines["printed"] = frame[f"{metric}_avg_s"]
        lines["printed_sd"] = frame[f"{metric}_sd_s"]
    marks = {"method": printed.methods, "mark": [printed.mark(m) for m in printed.methods]}
    lines["label"] = [reproduce.marked(row) for row in pd.DataFrame(marks).to_dict("records")]
    odd = {n.method for n in printed.footnotes if n.kind in ("sum", "partial-sum")}
    lines["odd"] = [metric == "rsum" and method in odd for method in printed.methods]
    lines["status"] = [printed.status(method) for method in printed.methods]
    numbers = ("measured", "sd", "difference", "low", "high", "printed_difference")
    lines[list(numbers)] = np.nan
    lines[["verdict", "against"]] = ""
    if found is not None:
        ours = found.frame.set_index("method").reindex(lines.index)
        column = metric if printed.has_recalls else f"{metric}_s"
        lines["measured"], lines["sd"] = ours[f"measured_{column}"], ours[f"sd_{column}"]
        if printed.has_recalls:
            for name in ("difference", "low", "high"):
                lines[name] = ours[name]
            for name in ("verdict", "against"):
                lines[name] = ours[name].fillna("")
            partial = [n.method for n in printed.footnotes if n.kind == "partial-sum"]
            sums = frame["rsum"].drop(partial)  # fewer cells: no sum to compare with
            other = sums.reindex(lines["against"]).to_numpy()
            lines["printed_difference"] = sums.reindex(lines.index) - other
    return lines.loc[[method for method in lines.index if method in set(rows)]].reset_index()


def plot_bars(
    printed: PaperTable, found: Measured | None, rows: Sequence[str], metric: str
) -> Picture:
    """Printed bars, measured bars ± s.d., and differences of rsum with their 95 % intervals.

    Printed and measured have axes of their own: they come from other data and larger networks.

    Args:
        printed: The table.
        found: What was measured; None shows the printed numbers alone.
        rows: Names of the rows to draw.
        metric: One of `metrics(printed)`.

    Raises:
        DataError: No row is chosen.
    """
    lines = chosen_rows(printed, found, rows, metric)
    if lines.empty:
        raise DataError("Choose at least one row of the table.")
    with_differences = bool(lines["verdict"].isin(["real", "noise"]).any())
    panels = 1 + (found is not None) + with_differences
    with mpl.rc_context(style()):
        size = (3.2 + 3.3 * panels, 1.9 + 0.4 * len(lines))
        figure = Picture(figsize=size, layout="constrained")
        axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
        where = f"{printed.dataset}, {printed.protocol}" if printed.has_recalls else "one GPU"
        _draw_bars(axes[0], lines, "printed", ORANGE, "", f"PRINTED\n{where}")
        if found is not None:
            title = f"MEASURED\n{_wrapped(found.on, 44, lines=3)}"
            _draw_bars(axes[1], lines, "measured", BLUE, "//", title)
        if with_differences:
            _draw_differences(axes[2], lines)
        for each in axes[: 1 + (found is not None)]:
            each.set_xlabel(_wrapped(metrics(printed)[metric], 40, lines=2))
        axes[0].set_yticks(_places(lines), lines["label"], parse_math=False)
        axes[0].set_ylim(-0.6, len(lines) - 0.4)
        figure.suptitle(_title(printed, found, lines), fontsize=10.5, parse_math=False)
    return figure


def _title(printed: PaperTable, found: Measured | None, lines: pd.DataFrame) -> str:
    title = [printed.title]
    if found is None:
        title.append("not measured yet: these are the printed numbers alone")
    together = " ".join(lines["label"])
    if lines["odd"].any():
        title.append("* not the sum of its six recalls: see the table's footnotes")
    title += [text for sign, text in reproduce.SIGNS.values() if sign in together]
    return "\n".join(title)


def _places(lines: pd.DataFrame) -> np.ndarray:
    """Heights of the rows: the first one on top."""
    return np.arange(len(lines))[::-1]


def _draw_bars(
    axes: Axes, lines: pd.DataFrame, which: str, colour: str, hatch: str, title: str
) -> None:
    spread = lines["printed_sd" if which == "printed" else "sd"]
    values, places = lines[which], _places(lines)
    axes.barh(places, values.fillna(0), 0.62, color=colour, hatch=hatch, edgecolor="white")
    known = spread.notna()
    axes.errorbar(
        values[known], places[known], xerr=spread[known], fmt="none", color="black", capsize=3
    )
    for place, value, sd, row in zip(
        places, values, spread, lines.to_dict("records"), strict=True
    ):  # fmt: skip
        if pd.isna(value):
            words = "not printed" if which == "printed" else _unmeasured(row["status"])
            axes.text(0, place, f" {words}", va="center", color=GREY, fontsize=8)
            continue
        form, form_sd = (".3g", ".2g") if row["status"] == "timed" else (".1f", ".1f")
        text = f"{value:{form}}" + ("" if pd.isna(sd) else f" ± {sd:{form_sd}}")
        text += "*" if row["odd"] and which == "printed" else ""
        end = value + (0 if pd.isna(sd) else sd)
        axes.annotate(
            text, (end, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    largest = (values + spread.fillna(0)).max()
    axes.set(xlim=(0, 1.42 * largest if largest > 0 else 1), title=title)  # room for the numbers
    axes.title.set_fontsize(9.5)
    axes.grid(axis="y", visible=False)


def _unmeasured(status: str) -> str:
    return {"recipe": "not measured", "timed": "not measured", "context": "quoted only"}.get(
        status, status
    )


def _draw_differences(axes: Axes, lines: pd.DataFrame) -> None:
    """Points with 95 % intervals; what may be noise is hollow."""
    others = sorted(set(lines["against"]) - {""})
    for place, row in zip(_places(lines), lines.to_dict("records"), strict=True):
        if row["verdict"] == "baseline":
            axes.plot(0, place, "D", color=GREY, markersize=6)
            axes.annotate(
                "baseline", (0, place), (8, 0), textcoords="offset points", va="center",
                fontsize=8, color=GREY,
            )  # fmt: skip
        if row["verdict"] not in ("real", "noise"):
            continue
        real, value = row["verdict"] == "real", row["difference"]
        colour = (GREEN if value > 0 else VERMILION) if real else GREY
        axes.errorbar(
            value, place, xerr=[[value - row["low"]], [row["high"] - value]], fmt="o",
            color=colour, markerfacecolor=colour if real else "white", capsize=3,
        )  # fmt: skip
        axes.annotate(
            f"{value:+.1f} {row['verdict']}", (value, place), (0, 6),
            textcoords="offset points", ha="center", fontsize=8, color=colour,
        )  # fmt: skip
        if pd.notna(row["printed_difference"]):
            axes.plot(row["printed_difference"], place, "s", color=ORANGE, markerfacecolor="white")
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.margins(x=0.2)
    against = f"against {others[0]}" if len(others) == 1 else "each against the row it builds on"
    with_printed = lines["printed_difference"].notna().any()
    axes.set(xlabel="● measured, 95 % interval" + ("   □ printed" if with_printed else ""))
    axes.set_title(_wrapped(f"DIFFERENCE OF RSUM {against}", 36, lines=2), fontsize=9.5)
    axes.grid(axis="y", visible=False)
