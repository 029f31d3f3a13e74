"""Pictures of notebook 08: which regions words look at, step by step, and what it costs.

As in `xmr_lib.figures`, every function returns a figure and shows nothing by itself. Boxes are
left, top, right, bottom as shares of the picture's width and height, as `Regions.boxes` keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from xmr_course.lesson_figures_encoders import HATCHES
from xmr_lib.data.images import open_image
from xmr_lib.figures import BLACK, BLUE, GREY, PALETTE, VERMILION, Picture, style

DASHES = ("-", "--", "-.", ":")  # tells boxes apart without colour


def spotlight(pixels: np.ndarray, boxes: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """A picture that is bright where the weights are, and pale elsewhere.

    A place is as bright as the weights of all boxes that hold it, added up.

    Args:
        pixels: `(height, width, 3)` uint8.
        boxes: `(n, 4)`.
        weights: `(n,)`, each from 0 to 1.

    Returns:
        `(height, width, 3)`, from 0 to 1.

    >>> dark = np.zeros((2, 2, 3), dtype=np.uint8)
    >>> spotlight(dark, [[0.0, 0.0, 0.5, 1.0]], [1.0])[0, :, 0].tolist()
    [0.0, 0.75]
    """
    height, width = pixels.shape[:2]
    light = np.zeros((height, width, 1))
    for box, weight in zip(np.asarray(boxes), np.asarray(weights), strict=True):
        left, top, right, bottom = np.rint(box * [width, height, width, height]).astype(int)
        light[top:bottom, left:right] += weight
    strength = 0.25 + 0.75 * light.clip(0, 1)
    return 1 - strength * (1 - pixels / 255.0)


def plot_word_attention(
    image_file: str | Path,
    boxes: ArrayLike,
    words: Sequence[str],
    weights: ArrayLike,
    columns: int = 6,
) -> Picture:
    """The regions that each word looks at: one panel a word, bright where its attention is.

    A box's line is as thick as the word's attention to it; its largest number stands beside the
    word.

    Args:
        image_file: The picture.
        boxes: Its regions, `(n_regions, 4)`.
        words: The sentence's words.
        weights: Attention, `(n_words, n_regions)`.
        columns: Panels in a row.
    """
    weights = np.asarray(weights, dtype=float)
    pixels = np.asarray(open_image(image_file))
    rows = -(-len(words) // columns)
    with mpl.rc_context(style()):
        figure = Picture(figsize=(1.95 * columns, 2.25 * rows), layout="constrained")
        places = np.ravel(figure.subplots(rows, columns, squeeze=False))
        for axes, word, each in zip(places, words, weights, strict=False):
            _draw_spotlight(axes, pixels, boxes, each)
            axes.set_title(f"{word}  {each.max():.2f}", fontsize=11, parse_math=False)
        for axes in places[len(words) :]:
            axes.axis("off")
    return figure


def plot_regions(
    image_file: str | Path, boxes: ArrayLike, names: Sequence[str], sentence: str = ""
) -> Picture:
    """A picture with its regions, numbered and named.

    Args:
        image_file: The picture.
        boxes: Its regions, `(n_regions, 4)`.
        names: What each region is called.
        sentence: Under the names.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(8.6, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
        pixels = np.asarray(open_image(image_file))
        left.imshow(pixels)
        _bare(left)
        right.set(xlim=(0, 1), ylim=(len(boxes) + 1.5, -0.5))
        right.axis("off")
        for number, (box, name) in enumerate(zip(np.asarray(boxes), names, strict=True)):
            colour, dash = PALETTE[number % len(PALETTE)], DASHES[number % len(DASHES)]
            corner, size = _rectangle(box, pixels)
            left.add_patch(
                Rectangle(
                    corner, *size, fill=False, edgecolor=colour, linewidth=2.4, linestyle=dash
                )
            )
            label = {"color": "white", "fontsize": 10, "va": "top", "fontweight": "bold"}
            left.text(
                corner[0] + 1, corner[1] + 1, f"{number + 1}", **label,
                bbox={"facecolor": colour, "linewidth": 0, "pad": 1.6},
            )  # fmt: skip
            right.plot([0.02, 0.12], [number, number], dash, color=colour, linewidth=2.4)
            right.text(
                0.16, number, f"{number + 1}   {name}", va="center", fontsize=11, parse_math=False
            )
        right.text(0.02, len(boxes) + 0.3, sentence, va="center", style="italic", parse_math=False)
    return figure


def plot_tables(
    tables: Mapping[str, ArrayLike], regions: Sequence[str], words: Sequence[str]
) -> Picture:
    """Tables of regions by words under each other, as numbers and as colours.

    Orange is above zero and purple below; each table has its own scale.

    Args:
        tables: Title -> numbers `(n_regions, n_words)`, or one row `(n_words,)`.
        regions: Names of the rows.
        words: Names of the columns.
    """
    shown = {title: np.atleast_2d(np.asarray(table)) for title, table in tables.items()}
    heights = [len(table) + 1.6 for table in shown.values()]
    with mpl.rc_context(style()):
        size = (1.7 + 0.72 * len(words), 0.3 * sum(heights))
        figure = Picture(figsize=size, layout="constrained")
        grid = figure.subplots(len(shown), 1, height_ratios=heights, squeeze=False)[:, 0]
        for axes, (title, table) in zip(grid, shown.items(), strict=True):
            names = regions if len(table) == len(regions) else [""] * len(table)
            draw_table(axes, table, names, words)
            axes.set_title(title, loc="left", fontsize=10)
    return figure


def plot_lambdas(
    attention: Mapping[float, ArrayLike],
    regions: Sequence[str],
    word: str,
    pooled: Mapping[str, ArrayLike],
    sharpness: ArrayLike,
) -> Picture:
    """What λ1 does to one word's attention, and λ2 to the pooled score.

    Args:
        attention: λ1 -> weights `(n_regions,)`.
        regions: Names of the regions.
        word: Whose attention it is.
        pooled: Way of pooling -> scores for each λ2, `(n,)`, or one number.
        sharpness: The values of λ2, `(n,)`.
    """
    sharpness = np.asarray(sharpness, dtype=float)
    with mpl.rc_context(style()):
        figure = Picture(figsize=(11, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
        bars = {f"λ1 = {smooth:g}": weights for smooth, weights in attention.items()}
        _grouped_bars(left, regions, bars)
        left.set(title=f"λ1: attention of “{word}”", ylabel="weight", ylim=(0, 1.02))
        left.legend(fontsize=9)
        for number, (name, scores) in enumerate(pooled.items()):
            line = np.broadcast_to(np.asarray(scores, dtype=float), sharpness.shape)
            right.plot(
                sharpness, line, "-" if np.ndim(scores) else "--", color=PALETTE[number], label=name
            )
        right.set(title="λ2: pooling the words' cosines", xlabel="λ2", ylabel="score", xscale="log")
        right.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"], minor=False)
        right.minorticks_off()
        right.legend(fontsize=9)
    return figure


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
    with mpl.rc_context(style()):
        series = max(len(panel) for panel in panels.values())
        width = (1.1 + 0.42 * len(labels) * series) * len(panels)
        figure = Picture(figsize=(max(6.0, width), 3.6), layout="constrained")
        for axes, (title, panel) in zip(
            np.ravel(figure.subplots(1, len(panels), squeeze=False, sharey=bool(unit))),
            panels.items(),
            strict=True,
        ):
            _grouped_bars(axes, labels, panel, form)
            if chance and title in chance:
                axes.axhline(chance[title], color=BLACK, linestyle="--", linewidth=1.3)
                axes.text(
                    1.01, chance[title], "guessing", transform=axes.get_yaxis_transform(),
                    va="center", fontsize=9,
                )  # fmt: skip
            axes.set(title=title, ylabel=unit)
            axes.margins(y=0.14)
        handles, names = axes.get_legend_handles_labels()
        if len(names) > 1:
            figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=9)
    return figure


def plot_explorer(
    image_file: str | Path,
    boxes: ArrayLike,
    words: Sequence[str],
    weights: ArrayLike,
    word: int | None = None,
    region: int | None = None,
    title: str = "",
) -> Picture:
    """A picture beside its table of attention, with one word or one region chosen.

    Args:
        image_file: The picture.
        boxes: Its regions, `(n_regions, 4)`.
        words: The sentence's words.
        weights: Attention, `(n_words, n_regions)`.
        word: Lights up the regions that this word looks at.
        region: Lights up this region; the words it belongs to stand out in the table.
        title: Over the whole picture.
    """
    weights = np.asarray(weights, dtype=float)
    boxes = np.asarray(boxes)
    if word is not None:
        light = weights[word]
    elif region is not None:
        light = np.eye(len(boxes))[region]
    else:
        light = np.full(len(boxes), 0.5)
    with mpl.rc_context(style()):
        figure = Picture(figsize=(9.4, max(4.1, 0.36 * len(words) + 1)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
        pixels = np.asarray(open_image(image_file))
        _draw_spotlight(left, pixels, boxes, light, numbered=True)
        draw_table(right, weights, words, [f"{n + 1}" for n in range(len(boxes))])
        right.set(xlabel="region", title="attention")
        if word is not None:
            right.add_patch(_outline((-0.5, word - 0.5), len(boxes), 1))
        if region is not None:
            right.add_patch(_outline((region - 0.5, -0.5), 1, len(words)))
            for label, weight in zip(right.get_yticklabels(), weights[:, region], strict=True):
                if weight >= 0.6 * weights[:, region].max():
                    label.set(fontweight="bold", color=VERMILION)
        if title:
            figure.suptitle(title, parse_math=False)
    return figure


def draw_table(axes: Axes, table: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Numbers `(n_rows, n_columns)` with colours behind them: orange above zero, purple below."""
    most = max(float(np.abs(table).max()), 1e-9)
    axes.imshow(table, cmap="PuOr_r", vmin=-1.5 * most, vmax=1.5 * most, aspect="auto")
    for row, column in np.ndindex(*table.shape):
        value = table[row, column]
        axes.text(
            column, row, f"{value:.2f}".replace("-", "−"), ha="center", va="center", fontsize=8,
            fontweight="bold" if value > 0.6 * most else "normal",
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), rows, fontsize=9, parse_math=False)
    axes.set_xticks(range(len(columns)), columns, fontsize=9, parse_math=False)
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_spotlight(
    axes: Axes,
    pixels: np.ndarray,
    boxes: ArrayLike,
    weights: np.ndarray,
    numbered: bool = False,
) -> None:
    axes.imshow(spotlight(pixels, boxes, weights))
    for number, (box, weight) in enumerate(zip(np.asarray(boxes), weights, strict=True), start=1):
        corner, size = _rectangle(box, pixels)
        axes.add_patch(
            Rectangle(
                corner, *size, fill=False, edgecolor=VERMILION, linewidth=0.6 + 3.4 * weight,
                alpha=float(0.25 + 0.75 * weight),
            )
        )  # fmt: skip
        if numbered:
            axes.text(
                corner[0] + 1, corner[1] + 1, f"{number}", va="top", fontsize=9, color="white",
                fontweight="bold", bbox={"facecolor": BLUE, "linewidth": 0, "pad": 1.4},
            )  # fmt: skip
    _bare(axes)


def _rectangle(box: np.ndarray, pixels: np.ndarray) -> tuple[tuple, tuple]:
    """Corner and size of a box in the coordinates of `imshow`, kept inside the picture."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = np.asarray(box) * [width, height, width, height] - 0.5
    left, top = max(left, 0.5), max(top, 0.5)
    right, bottom = min(right, width - 1.5), min(bottom, height - 1.5)
    return (left, top), (right - left, bottom - top)


def _outline(corner: tuple[float, float], width: float, height: float) -> Rectangle:
    return Rectangle(
        corner, width, height, fill=False, edgecolor=VERMILION, linewidth=2.4, clip_on=False
    )


def _grouped_bars(
    axes: Axes, labels: Sequence[str], series: Mapping[str, ArrayLike], form: str | None = None
) -> None:
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        at = np.arange(len(labels)) + (number - (len(series) - 1) / 2) * width
        bars = axes.bar(
            at, np.asarray(values, dtype=float), width * 0.94, label=name, edgecolor="white",
            color=PALETTE[number], hatch=HATCHES[number % len(HATCHES)],
        )  # fmt: skip
        if form:
            axes.bar_label(
                bars, fmt=form, fontsize=8, color=BLACK,
                bbox={"facecolor": "white", "linewidth": 0, "pad": 0.4},
            )  # fmt: skip
    axes.set_xticks(range(len(labels)), labels, parse_math=False)
    axes.grid(axis="x", visible=False)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=GREY, linewidth=0.5)
