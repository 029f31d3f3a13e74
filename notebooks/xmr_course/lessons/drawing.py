"""What the pictures of several lessons share.

As in `xmr_lib.figures`, every function that begins with `plot_` returns a figure and shows nothing
by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.patches
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from xmr_lib import figures
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.images import open_image
from xmr_lib.figures import BLACK, BLUE, GREEN, GREY, PALETTE, SKY, VERMILION, Picture

styled, draw_image, wrapped = figures._styled, figures._draw_image, figures._wrapped

HATCHES = ("", "///", "...", "xxx", "\\\\\\")  # tells bars apart without colour
DASHES = ("-", "--", "-.", ":")  # tells lines and boxes apart without colour


@styled
def plot_captioned(data: CaptionedImages, images: Sequence[int], columns: int = 3) -> Picture:
    """Images with all their captions below, as people see a captioned data set.

    Args:
        data: Images and captions.
        images: Which ones.
        columns: Pictures side by side.
    """
    rows = -(-len(images) // columns)
    figure = Picture(figsize=(3.6 * columns, 4.2 * rows), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=(1.5, 1) * rows)
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
    scores, owners = np.asarray(scores), np.asarray(image_of_caption)
    n_images, n_captions = scores.shape
    written = n_captions <= 12
    cell = 0.75 if written else 0.24
    size = (max(4.5, 2.2 + cell * n_captions), max(2.4, 1.3 + min(cell, 0.5) * n_images))
    figure = Picture(figsize=size, layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(scores, cmap="cividis", aspect="auto")
    axes.grid(False)
    figure.colorbar(drawn, ax=axes, label="score", shrink=0.9)
    for column, row in enumerate(owners):
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                fill=False,
                edgecolor=VERMILION,
                linewidth=2.2,
                label="right pair" if column == 0 else None,
            )
        )
    if written:
        middle = (scores.min() + scores.max()) / 2
        for (row, column), value in np.ndenumerate(scores):
            shade = "white" if value < middle else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade)
    styles = zip((">", "^"), ("white", SKY), strict=True)
    for (legend, cells), (marker, colour) in zip((marked or {}).items(), styles, strict=False):
        places = np.array(sorted(cells))
        axes.plot(
            places[:, 1],
            places[:, 0],
            marker,
            color=colour,
            markeredgecolor="black",
            markersize=7,
            label=legend,
        )
    for axis, count, labels in (
        (axes.xaxis, n_captions, caption_labels),
        (axes.yaxis, n_images, image_labels),
    ):
        if written or labels:
            axis.set_ticks(np.arange(count), labels or [str(i) for i in range(count)])
    axes.set(xlabel="caption", ylabel="image", title=title)
    if not written or marked:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


@styled
def plot_shares(
    shares: Mapping[str, Sequence[float]], parts: Sequence[str], title: str | None = None
) -> Picture:
    """Bars of length one, cut into what each part of a joined vector holds of its squared norm.

    Args:
        shares: Name of a bar -> a share for each part, summing to one.
        parts: Names of the parts.
        title: Over the whole picture.
    """
    figure = Picture(figsize=(10, 1.2 + 0.55 * len(shares)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(shares))[::-1]
    values = np.array([list(each) for each in shares.values()], dtype=float)
    left = np.zeros(len(rows))
    for number, part in enumerate(parts):
        width = values[:, number]
        axes.barh(
            rows,
            width,
            left=left,
            height=0.66,
            label=part,
            color=PALETTE[number],
            hatch=HATCHES[number % len(HATCHES)],
            edgecolor="white",
            linewidth=0.8,
        )
        for row, start, share in zip(rows, left, width, strict=True):
            if share > 0.025:
                axes.text(
                    start + share / 2,
                    row,
                    f"{share:.0%}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "linewidth": 0},
                )
        left = left + width
    axes.set(yticks=rows, xlim=(0, 1), xlabel="share of the squared norm")
    axes.set_yticklabels(shares)
    axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    axes.grid(False)
    figure.legend(loc="outside upper center", ncols=len(parts), fontsize=9)
    if title:
        figure.suptitle(title)
    return figure


@styled
def plot_cosines(cosines: Mapping[str, Any], xlabel: str) -> Picture:
    """Histograms of cosines on one axis.

    Args:
        cosines: Title -> values in [-1, 1].
        xlabel: What the values are.
    """
    figure = Picture(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(-1, 1, 81)
    looks = zip(cosines.items(), (VERMILION, BLUE, GREEN), ("///", "", "..."), strict=False)
    for (name, values), colour, hatch in looks:
        values = np.asarray(values, dtype=float)
        share = np.full(len(values), 1 / len(values))
        middle = round(values.mean(), 2) + 0.0  # no "-0.00"
        label = f"{name}: mean {middle:.2f}, s.d. {values.std():.2f}"
        axes.hist(
            values,
            edges,
            weights=share,
            histtype="stepfilled",
            alpha=0.55,
            color=colour,
            edgecolor=colour,
            hatch=hatch,
            label=label,
        )
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel=xlabel, ylabel="share of the pairs", xlim=(-1.02, 1.02))
    axes.legend(loc="upper left", fontsize=9)
    return figure


@styled
def plot_bars(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    labels: Sequence[str],
    unit: str,
    chance: Mapping[str, float] | None = None,
    form: str = "{:.0f}",
) -> Picture:
    """Grouped bars with their numbers, one panel beside the other; chance as a dashed line.

    Args:
        panels: Title -> series -> one number a label.
        labels: Under the groups of bars.
        unit: Along the upright axes, which the panels then share; "": each has its own.
        chance: Title -> what guessing gives; None, or a title left out: no line.
        form: Of the numbers over the bars.
    """
    series = max(len(panel) for panel in panels.values())
    width = (1.1 + 0.42 * len(labels) * series) * len(panels)
    figure = Picture(figsize=(max(6.0, width), 3.6), layout="constrained")
    for axes, (title, panel) in zip(
        np.ravel(figure.subplots(1, len(panels), squeeze=False, sharey=bool(unit))),
        panels.items(),
        strict=True,
    ):
        grouped_bars(axes, labels, panel, form)
        if chance and title in chance:
            axes.axhline(chance[title], color=BLACK, linestyle="--", linewidth=1.3)
            axes.text(
                1.01,
                chance[title],
                "guessing",
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=9,
            )
        axes.set(title=title, ylabel=unit)
        axes.margins(y=0.14)
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=9)
    return figure


def draw_table(axes: Axes, table: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Numbers `(n_rows, n_columns)` with colours behind them: orange above zero, purple below."""
    most = max(float(np.abs(table).max()), 1e-9)
    axes.imshow(table, cmap="PuOr_r", vmin=-1.5 * most, vmax=1.5 * most, aspect="auto")
    for row, column in np.ndindex(*table.shape):
        value = table[row, column]
        axes.text(
            column,
            row,
            f"{value:.2f}".replace("-", "−"),
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold" if value > 0.6 * most else "normal",
        )
    axes.set_yticks(range(len(rows)), rows, fontsize=9, parse_math=False)
    axes.set_xticks(range(len(columns)), columns, fontsize=9, parse_math=False)
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


@styled
def plot_shares_by_size(
    sizes: ArrayLike,
    shares: Mapping[str, ArrayLike],
    marks: Mapping[str, float],
    xlabel: str,
    ylabel: str,
) -> Picture:
    """Shares against the size of something, one line a series: the median over items.

    Args:
        sizes: `(n_sizes,)`, drawn on a logarithmic axis.
        shares: Series -> shares from 0 to 1, `(n_sizes, n_items)`.
        marks: Name -> a size worth an upright line.
        xlabel: What the sizes are.
        ylabel: What the shares are.
    """
    figure = Picture(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, each) in enumerate(shares.items()):
        line = np.median(np.asarray(each), axis=1)
        axes.plot(sizes, line, DASHES[number], color=PALETTE[number], label=name)
    for number, (name, at) in enumerate(marks.items()):
        dash = (":", "-.")[number % 2]
        axes.axvline(at, color=BLACK, linewidth=1.2, linestyle=dash, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log", ylim=(-0.02, 1.05))
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def grouped_bars(
    axes: Axes, labels: Sequence[str], series: Mapping[str, ArrayLike], form: str | None = None
) -> None:
    """One group of bars for each label, one bar for each series, with numbers in `form`."""
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        at = np.arange(len(labels)) + (number - (len(series) - 1) / 2) * width
        bars = axes.bar(
            at,
            np.asarray(values, dtype=float),
            width * 0.94,
            label=name,
            edgecolor="white",
            color=PALETTE[number],
            hatch=HATCHES[number % len(HATCHES)],
        )
        if form:
            axes.bar_label(
                bars,
                fmt=form,
                fontsize=8,
                color=BLACK,
                bbox={"facecolor": "white", "linewidth": 0, "pad": 0.4},
            )
    axes.set_xticks(range(len(labels)), labels, parse_math=False)
    axes.grid(axis="x", visible=False)


def draw_arrow(
    axes: Axes, start: ArrayLike, end: ArrayLike, colour: str, width: float, line: str = "-"
) -> None:
    """An arrow with a filled head, from one point to another."""
    axes.annotate(
        "",
        xy=tuple(end),
        xytext=tuple(start),
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": width,
            "linestyle": line,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def bare(axes: Axes, frame: bool = False) -> None:
    """Takes ticks and grid away; what is left is a thin grey frame or nothing."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=frame, color=GREY, linewidth=0.5)
