"""What the pictures of several lessons share: their look, lines, bars and tables of numbers.

As in `xmr_lib.figures`, every function that begins with `plot_` returns a figure and shows nothing
by itself. seaborn draws what is statistical, in the style of `xmr_lib.figures.style`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from xmr_lib import figures
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.images import open_image
from xmr_lib.figures import BLACK, BLUE, GREEN, GREY, PALETTE, SKY, VERMILION, Picture

styled, draw_image, wrapped = figures._styled, figures._draw_image, figures._wrapped

HATCHES = ("", "///", "...", "xxx", "\\\\\\")  # tells bars apart without colour
DASHES = ("-", "--", "-.", ":")  # tells boxes apart without colour
# Tell lines apart without colour.
_LINES = ["", (4, 1.5), (5, 1.5, 1, 1.5), (1.5, 1), (8, 2), (4, 1, 1, 1, 1, 1), (1, 2), (3, 3)]
_MARKERS = list("osD^vPX*")
_BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "linewidth": 0}


def panels(width: float, height: float, *grid: int, **options: Any) -> tuple[Picture, Any]:
    """A figure of so many inches, and its axes: one, or an array; options as for `subplots`."""
    figure = Picture(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(*grid, **options)


def legend_outside(figure: Picture, axes: Axes, place: str = "lower", **look: Any) -> None:
    """One legend for the whole figure, from what these axes show."""
    handles, labels = axes.get_legend_handles_labels()
    look = {"ncols": len(labels), "fontsize": 9} | look
    figure.legend(handles, labels, loc=f"outside {place} center", **look)
    if axes.get_legend():
        axes.get_legend().remove()


def draw_lines(axes: Axes, x: ArrayLike, lines: Mapping[str, ArrayLike], **look: Any) -> None:
    """One line for each name, told apart by colour, dashes and markers; not-a-number is left out.

    `lines`: name -> values `(n,)`, or one number: a level line. Shorter lines end early.
    """
    x = np.asarray(x, dtype=float)
    columns, n = {}, len(lines)
    for name, values in lines.items():
        values = np.asarray(values, dtype=float)
        if values.ndim == 0:
            values = np.full(len(x), values)
        columns[name] = pd.Series(values, index=x[: len(values)])
    look = {"markers": _MARKERS[:n], "dashes": _LINES[:n], "markersize": 7} | look
    look = {"palette": PALETTE[:n], "errorbar": None} | look
    sns.lineplot(pd.DataFrame(columns), ax=axes, **look)
    if look.get("legend", True):
        axes.legend(fontsize=9)


def draw_bars(
    axes: Axes,
    labels: Sequence[str],
    series: Mapping[str, ArrayLike],
    form: str | None = None,
    hatches: Sequence[str] = HATCHES,
    **look: Any,
) -> None:
    """One group of bars for each label, one bar for each series, told apart by colour and hatch.

    Args:
        axes: Where.
        labels: Of the groups.
        series: Name -> one number for each label; not-a-number gets no bar.
        form: Of the numbers at the bars' ends, such as "%.1f"; None: no numbers.
        hatches: Of the series.
        look: For `seaborn.barplot`; `orient="h"` lays the bars down.
    """
    upright = look.get("orient", "v") == "v"
    long = pd.DataFrame(
        [
            (place, name, float(value))
            for name, values in series.items()
            for place, value in enumerate(np.asarray(values, dtype=float))
        ],
        columns=["place", "series", "value"],
    )
    x, y = ("place", "value") if upright else ("value", "place")
    look = {"palette": list(PALETTE[: len(series)]), "saturation": 1, "edgecolor": "white"} | look
    sns.barplot(long, x=x, y=y, hue="series", errorbar=None, legend=False, ax=axes, **look)
    for bars, name, hatch in zip(axes.containers, series, hatches, strict=False):
        bars.set_label(name)
        for bar in bars:
            bar.set_hatch(hatch)
        if form:
            axes.bar_label(bars, fmt=form, fontsize=8, padding=1, bbox=_BOX)
    axis = axes.xaxis if upright else axes.yaxis
    axis.set_ticks(range(len(labels)), labels, parse_math=False)
    axes.set(xlabel="", ylabel="")
    axes.grid(axis="x" if upright else "y", visible=False)
    axes.legend(fontsize=9)


def draw_parts(
    axes: Axes,
    parts: Mapping[str, ArrayLike],
    lying: bool = False,
    looks: Sequence[str] | None = None,
) -> None:
    """Bars of length one, cut into parts that are named in the legend.

    Args:
        axes: Where.
        parts: Name -> its share of each bar, `(n_bars,)`.
        lying: Bars lie, with the shares written on them.
        looks: Names in the order of their colours, where panels name different ones.
    """
    before = 0.0
    for name, share in parts.items():
        number = list(looks or parts).index(name)
        share = np.asarray(share, dtype=float)
        look = {"label": name, "color": PALETTE[number], "hatch": HATCHES[number % len(HATCHES)]}
        look |= {"edgecolor": "white", "linewidth": 0.8}
        places = np.arange(len(share))
        if lying:
            bars = axes.barh(places, share, 0.66, left=before, **look)
            words = [f"{each:.0%}" if each > 0.025 else "" for each in share]
            axes.bar_label(bars, words, label_type="center", fontsize=9, bbox=_BOX)
        else:
            axes.bar(places + 1, share, 0.86, bottom=before, **look)
        before = before + share
    axis = axes.xaxis if lying else axes.yaxis
    axis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    axes.grid(False)


def draw_table(axes: Axes, table: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Numbers `(n_rows, n_columns)` with colours behind them: orange above zero, purple below.

    The cell of row i and column j reaches from (j, i) to (j + 1, i + 1).
    """
    most = max(float(np.abs(table).max()), 1e-9)
    words = np.array([[f"{value:.2f}".replace("-", "−") for value in row] for row in table])
    sns.heatmap(
        table,
        annot=words,
        fmt="",
        cmap="PuOr_r",
        vmin=-1.5 * most,
        vmax=1.5 * most,
        cbar=False,
        ax=axes,
        annot_kws={"color": BLACK, "fontsize": 8},
    )
    for text, value in zip(axes.texts, table.flat, strict=True):
        text.set_fontweight("bold" if value > 0.6 * most else "normal")
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=9, parse_math=False, rotation=0)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontsize=9, parse_math=False)
    axes.tick_params(length=0)


def draw_arrow(
    axes: Axes, start: ArrayLike, end: ArrayLike, colour: str, width: float, line: str = "-"
) -> None:
    """An arrow with a filled head, from one point to another."""
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": width, "linestyle": line}
    axes.annotate("", tuple(end), tuple(start), arrowprops=look | {"shrinkA": 0, "shrinkB": 0})


def bare(axes: Axes, frame: bool = False) -> None:
    """Takes ticks and grid away; what is left is a thin grey frame or nothing."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=frame, color=GREY, linewidth=0.5)


def whole_numbers(*all_axes: Axes, xlabel: str = "epoch") -> None:
    """Ticks at whole numbers only, such as epochs."""
    for axes in all_axes:
        axes.set_xlabel(xlabel)
        axes.xaxis.get_major_locator().set_params(integer=True)


@styled
def plot_captioned(data: CaptionedImages, images: Sequence[int], columns: int = 3) -> Picture:
    """Images with all their captions below, as people see a captioned data set."""
    rows = -(-len(images) // columns)
    figure, grid = panels(
        3.6 * columns, 4.2 * rows, 2 * rows, columns, squeeze=False, height_ratios=(1.5, 1) * rows
    )
    for axes in grid.flat:
        axes.axis("off")
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        grid[2 * row, column].imshow(open_image(data.image_files[image]))
        grid[2 * row, column].set_title(f"image {image}")
        words = [wrapped(f"{n}: {text}", 52) for n, text in enumerate(data.captions_of(image))]
        grid[2 * row + 1, column].text(
            0, 1, "\n".join(words), va="top", fontsize=8, parse_math=False
        )
    return figure


@styled
def plot_scores(
    scores: ArrayLike,
    image_of_caption: ArrayLike,
    marked: Mapping[str, Collection[tuple[int, int]]] | None = None,
    image_labels: Sequence[str] | None = None,
    caption_labels: Sequence[str] | None = None,
    title: str | None = None,
) -> Picture:
    """A score matrix, images in rows, captions in columns; right pairs are framed.

    Args:
        scores: `(n_images, n_captions)`.
        image_of_caption: The row of each caption's image.
        marked: Legend -> cells `(row, column)` that get a mark, at most two kinds.
        image_labels: Names of the rows.
        caption_labels: Names of the columns.
        title: Over the picture.
    """
    scores = np.asarray(scores)
    n_images, n_captions = scores.shape
    written = n_captions <= 12
    cell = 0.75 if written else 0.24
    size = max(4.5, 2.2 + cell * n_captions), max(2.4, 1.3 + min(cell, 0.5) * n_images)
    figure, axes = panels(*size)
    sns.heatmap(
        scores,
        annot=written,
        fmt=".2f",
        cmap="cividis",
        ax=axes,
        cbar_kws={"label": "score", "shrink": 0.9},
        xticklabels=caption_labels or (1 if written else 10),
        yticklabels=image_labels or (1 if written else 5),
    )
    for column, row in enumerate(np.asarray(image_of_caption)):
        frame = Rectangle((column, row), 1, 1, fill=False, edgecolor=VERMILION, linewidth=2.2)
        frame.set_label("" if column else "right pair")
        axes.add_patch(frame)
    styles = zip((">", "^"), ("white", SKY), strict=True)
    for (legend, cells), (marker, colour) in zip((marked or {}).items(), styles, strict=False):
        rows, columns = np.array(sorted(cells)).T
        # Beside the number, where there is one.
        at = (columns + (0.12 if marker == ">" else 0.5), rows + (0.5 if marker == ">" else 0.86))
        look = {"color": colour, "markeredgecolor": BLACK, "markersize": 7, "linestyle": "none"}
        axes.plot(*at, marker=marker, label=legend, **look)
    axes.tick_params(axis="y", rotation=0)
    axes.set(xlabel="caption", ylabel="image", title=title)
    if not written or marked:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


@styled
def plot_shares(
    shares: Mapping[str, Sequence[float]], parts: Sequence[str], title: str | None = None
) -> Picture:
    """Bars of length one, cut into what each part of a joined vector holds of its squared norm.

    `shares`: name of a bar -> a share for each part, summing to one.
    """
    figure, axes = panels(10, 1.2 + 0.55 * len(shares))
    values = np.array([list(each) for each in shares.values()], dtype=float)
    draw_parts(axes, dict(zip(parts, values.T, strict=True)), lying=True)
    axes.set_yticks(range(len(shares)), shares)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the squared norm")
    legend_outside(figure, axes, "upper")
    if title:
        figure.suptitle(title)
    return figure


@styled
def plot_cosines(cosines: Mapping[str, Any], xlabel: str) -> Picture:
    """Histograms of cosines on one axis.

    `cosines`: title -> values in [-1, 1].
    """
    figure, axes = panels(9, 3)
    looks = zip(cosines.items(), (VERMILION, BLUE, GREEN), ("///", "", "..."), strict=False)
    for (name, values), colour, hatch in looks:
        values = np.asarray(values, dtype=float)
        middle = round(values.mean(), 2) + 0.0  # no "-0.00"
        sns.histplot(
            x=values,
            binrange=(-1, 1),
            bins=80,
            stat="proportion",
            element="step",
            alpha=0.55,
            color=colour,
            hatch=hatch,
            edgecolor=colour,
            ax=axes,
            label=f"{name}: mean {middle:.2f}, s.d. {values.std():.2f}",
        )
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel=xlabel, ylabel="share of the pairs", xlim=(-1.02, 1.02))
    axes.legend(loc="upper left", fontsize=9)
    return figure


@styled
def plot_bars(
    panels_of: Mapping[str, Mapping[str, Sequence[float]]],
    labels: Sequence[str],
    unit: str,
    chance: Mapping[str, float] | None = None,
    form: str = "{:.0f}",
) -> Picture:
    """Grouped bars with their numbers, one panel beside the other; chance as a dashed line.

    Args:
        panels_of: Title -> series -> one number for each label.
        labels: Under the groups of bars.
        unit: Along the upright axes, which the panels then share; "": each has its own.
        chance: Title -> what guessing gives; None, or a title left out: no line.
        form: Of the numbers over the bars.
    """
    width = 1.1 + 0.42 * len(labels) * max(len(panel) for panel in panels_of.values())
    size = max(6.0, width * len(panels_of)), 3.6
    figure, grid = panels(*size, 1, len(panels_of), squeeze=False, sharey=bool(unit))
    for axes, (title, panel) in zip(grid[0], panels_of.items(), strict=True):
        draw_bars(axes, labels, panel, form)
        if chance and title in chance:
            axes.axhline(chance[title], color=BLACK, linestyle="--", linewidth=1.3)
            look = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 9}
            axes.text(1.01, chance[title], "guessing", **look)
        axes.set(title=title, ylabel=unit)
        axes.margins(y=0.14)
    if len(panel) > 1:
        legend_outside(figure, axes)
    for axes in grid[0]:
        if axes.get_legend():
            axes.get_legend().remove()
    return figure


@styled
def plot_shares_by_size(
    sizes: ArrayLike,
    shares: Mapping[str, ArrayLike],
    marks: Mapping[str, float],
    xlabel: str,
    ylabel: str,
) -> Picture:
    """Shares against the size of something, one line for each series: the median over items.

    Args:
        sizes: `(n_sizes,)`, drawn on a logarithmic axis.
        shares: Series -> shares from 0 to 1, `(n_sizes, n_items)`.
        marks: Name -> a size worth an upright line.
        xlabel: What the sizes are.
        ylabel: What the shares are.
    """
    figure, axes = panels(7, 4)
    medians = {name: np.median(np.asarray(each), axis=1) for name, each in shares.items()}
    draw_lines(axes, sizes, medians, markers=False)
    for number, (name, at) in enumerate(marks.items()):
        dash = (":", "-.")[number % 2]
        axes.axvline(at, color=BLACK, linewidth=1.2, linestyle=dash, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log", ylim=(-0.02, 1.05))
    legend_outside(figure, axes, ncols=2)
    return figure
