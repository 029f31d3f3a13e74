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
from xmr_course.tables.pictures import draw_intervals, note
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
        size = (2.6 + 2.6 * panels, 1.9 + 0.4 * len(lines))
        figure = Picture(figsize=size, layout="constrained")
        axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
        where = f"{printed.dataset}, {printed.protocol}" if printed.has_recalls else "one GPU"
        _draw_bars(axes[0], lines, "printed", f"PRINTED\n{where}", color=ORANGE)
        if found is not None:
            title = f"MEASURED\n{_wrapped(found.on, 40, lines=3)}"
            _draw_bars(axes[1], lines, "measured", title, color=BLUE, hatch="//")
        if with_differences:
            _draw_differences(axes[2], lines)
        for each in axes[: 1 + (found is not None)]:
            each.set_xlabel(_wrapped(metrics(printed)[metric], 40, lines=2))
        axes[0].set_yticks(range(len(lines)), lines["label"], parse_math=False)
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


def _draw_bars(axes: Axes, lines: pd.DataFrame, which: str, title: str, **look: str) -> None:
    spread = lines["printed_sd" if which == "printed" else "sd"]
    ends = lines[which] - spread, lines[which] + spread
    black = {"color": "black", "linewidth": 1.2}
    draw_intervals(
        axes, lines, which, *ends, bars=True, edgecolor="white", capsize=0.2, err_kws=black, **look
    )
    for place, (row, sd) in enumerate(zip(lines.to_dict("records"), spread, strict=True)):
        if pd.isna(row[which]):
            words = "not printed" if which == "printed" else _unmeasured(row["status"])
            axes.text(0, place, f" {words}", va="center", color=GREY, fontsize=8)
            continue
        form, form_sd = (".3g", ".2g") if row["status"] == "timed" else (".1f", ".1f")
        text = f"{row[which]:{form}}" + ("" if pd.isna(sd) else f" ± {sd:{form_sd}}")
        text += "*" if row["odd"] and which == "printed" else ""
        note(axes, text, (np.nansum([row[which], sd]), place), (4, 0))
    largest = np.nanmax([0, *lines[which], *ends[1]])
    axes.set(xlim=(0, 1.55 * largest if largest > 0 else 1))  # room for the numbers
    axes.set_title(title, fontsize=9.5, parse_math=False)
    axes.grid(axis="y", visible=False)


def _unmeasured(status: str) -> str:
    return {"recipe": "not measured", "timed": "not measured", "context": "quoted only"}.get(
        status, status
    )


def _draw_differences(axes: Axes, lines: pd.DataFrame) -> None:
    """Points with 95 % intervals; what may be noise is hollow."""
    for place in np.flatnonzero(lines["verdict"] == "baseline"):
        axes.plot(0, place, "D", color=GREY, markersize=6)
        note(axes, "baseline", (0, place), (8, 0), color=GREY)
    real, up = lines["verdict"] == "real", lines["difference"] > 0
    looks = ((real & up, GREEN), (real & ~up, VERMILION), (lines["verdict"] == "noise", GREY))
    for chosen, colour in looks:
        if not chosen.any():
            continue
        some = lines.where(chosen).assign(method=lines["method"])
        face = {} if colour != GREY else {"markerfacecolor": "white"}
        draw_intervals(
            axes,
            some,
            "difference",
            some["low"],
            some["high"],
            color=colour,
            markersize=5,
            linewidth=1.4,
            **face,
        )
        for place in np.flatnonzero(chosen):
            row = lines.iloc[place]
            text = f"{row['difference']:+.1f} {row['verdict']}"
            note(axes, text, (row["difference"], place), (0, 6), color=colour)
    there = lines["printed_difference"].notna() & lines["verdict"].isin(["real", "noise"])
    axes.plot(
        lines["printed_difference"].where(there),
        range(len(lines)),
        "s",
        color=ORANGE,
        markerfacecolor="white",
    )
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.margins(x=0.2)
    others = sorted(set(lines["against"]) - {""})
    against = f"against {others[0]}" if len(others) == 1 else "each against the row it builds on"
    axes.set(xlabel="● measured, 95 % interval" + ("\n□ printed" if there.any() else ""))
    title = _wrapped(f"DIFFERENCE OF RSUM {against}", 26, lines=3)
    axes.set_title(title, fontsize=9.5, parse_math=False)
    axes.grid(axis="y", visible=False)
