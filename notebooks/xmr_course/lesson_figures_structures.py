"""Pictures of notebooks 09 and 11: one vector from many parts, and who hears whom in a tree.

As in `xmr_lib.figures`, every function returns a figure and shows nothing by itself. Boxes are
left, top, right, bottom as shares of the picture's width and height, as `Regions.boxes` keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from numpy.typing import ArrayLike

from xmr_course.lesson_figures_attention import DASHES
from xmr_lib.data.images import open_image
from xmr_lib.figures import BLACK, BLUE, GREY, ORANGE, PALETTE, VERMILION, Picture, style

# Where a structure's seven places stand, and which of them hear which, (child, parent).
_TREE_PLACES = {
    1: (0, 0), 2: (1, 1.5), 3: (2, 0), 4: (3, 3), 5: (4, 0), 6: (5, 1.5), 7: (6, 0),
}  # fmt: skip
_TREE_EDGES = ((1, 2), (3, 2), (5, 6), (7, 6), (2, 4), (6, 4))
_CHAIN_PLACES = {place: (place - 1, 0) for place in range(1, 8)}
_CHAIN_EDGES = tuple((place, place + 1) for place in range(1, 7))
_WARM = mpl.colormaps["Oranges"]


# --- regions (lesson 09) --------------------------------------------------------------------------


def plot_region_kinds(panels: Mapping[str, tuple[str | Path, ArrayLike]]) -> Picture:
    """Pictures with their regions, one panel beside the other.

    Args:
        panels: Title -> picture file and its boxes `(n_regions, 4)`.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(3.1 * len(panels), 3.5), layout="constrained")
        places = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (title, (file, boxes)) in zip(places, panels.items(), strict=True):
            pixels = np.asarray(open_image(file))
            height, width = pixels.shape[:2]
            axes.imshow(pixels)
            many = len(boxes) > len(DASHES)  # then styles no longer tell them apart
            for number, box in enumerate(np.asarray(boxes)):
                left, top, right, bottom = box * [width, height, width, height]
                axes.add_patch(
                    Rectangle(
                        (left - 0.5, top - 0.5), right - left, bottom - top, fill=False,
                        edgecolor=BLUE if many else PALETTE[number], linewidth=1.8,
                        linestyle="-" if many else DASHES[number],
                    )
                )  # fmt: skip
            axes.set(xticks=[], yticks=[], title=title)
            axes.grid(False)
    return figure


def plot_plane(
    cases: Mapping[str, ArrayLike], weights: Mapping[str, ArrayLike], names: Sequence[str]
) -> Picture:
    """Regions with two features each as arrows, their mean, and what attention makes of them.

    Args:
        cases: Title -> regions `(n_regions, 2)`.
        weights: Title -> attention `(n_regions,)`; the arrows are as thick.
        names: Of the regions.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(4 * len(cases), 4.1), layout="constrained")
        places = figure.subplots(1, len(cases), squeeze=False, sharex=True, sharey=True)[0]
        for axes, (title, regions) in zip(places, cases.items(), strict=True):
            regions, each = np.asarray(regions), np.asarray(weights[title])
            for number, (end, weight) in enumerate(zip(regions, each, strict=True)):
                _arrow(axes, np.zeros(2), end, GREY, 0.8 + 5 * weight)
                axes.annotate(
                    f"{names[number]}  {weight:.2f}", end, xytext=end * 1.02 + [0.06, 0.06],
                    fontsize=9, parse_math=False,
                )  # fmt: skip
            for point, marker, colour, label in (
                (regions.mean(0), "o", BLUE, "mean V̄: the query (eq. 1)"),
                (each @ regions, "*", VERMILION, "attended V^D (eq. 3)"),
            ):
                axes.plot(*point, marker, color=colour, markersize=12, label=label, linestyle="")
            axes.set(title=title, xlabel="first feature", aspect="equal")
        places[0].set_ylabel("second feature")
        everything = np.concatenate([np.asarray(regions) for regions in cases.values()])
        low, high = np.minimum(everything.min(0), 0) - 0.4, everything.max(0) + 0.8
        places[0].set(xlim=(low[0], high[0] + 0.4), ylim=(low[1], high[1]))
        handles, labels = places[0].get_legend_handles_labels()
        for label in range(len(labels)):
            labels[label] = labels[label].replace("V^D", "$V^D$")
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def plot_temperature(
    scales: ArrayLike,
    weights: ArrayLike,
    names: Sequence[str],
    effective: ArrayLike,
    gradients: ArrayLike,
    marks: Mapping[str, float],
) -> Picture:
    """What the size of the products does to attention.

    Left: weights of one image's regions. Middle: how many regions count, over many images (median,
    and the middle half). Right: gradient that comes back through the softmax.

    Args:
        scales: What the products are multiplied by, `(n_scales,)`.
        weights: Of one image, `(n_scales, n_regions)`.
        names: Of its regions.
        effective: Effective number of regions, `(n_scales, n_images)`.
        gradients: Length of the gradient at the products, `(n_scales,)`.
        marks: Name -> a scale worth a line.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(12, 3.7), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        for number, (name, line) in enumerate(zip(names, np.asarray(weights).T, strict=True)):
            left.plot(scales, line, DASHES[number % len(DASHES)], color=PALETTE[number], label=name)
        left.legend(fontsize=8, loc=(0.44, 0.42), frameon=True, framealpha=1)
        left.set(title="one image", ylabel="weight", ylim=(-0.03, 1.03))
        low, half, high = np.quantile(np.asarray(effective), (0.25, 0.5, 0.75), axis=1)
        middle.fill_between(scales, low, high, color=BLUE, alpha=0.2, linewidth=0)
        middle.plot(scales, half, color=BLUE)
        middle.set(title="regions that count (test images)", ylabel="exp(entropy)")
        middle.set_ylim(bottom=0.9)
        right.plot(scales, gradients, color=VERMILION)
        right.set(title="gradient through the softmax", ylabel="length", yscale="log")
        for axes in (left, middle, right):
            axes.set(xlabel="products multiplied by", xscale="log")
            for number, (name, at) in enumerate(marks.items()):
                axes.axvline(at, color=BLACK, linewidth=1, linestyle=(":", "--")[number % 2])
                if axes is middle:
                    axes.text(
                        at, 0.98, f" {name}", transform=axes.get_xaxis_transform(), fontsize=9,
                        va="top", rotation=90, ha="right",
                    )  # fmt: skip
    return figure


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
    with mpl.rc_context(style()):
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


# --- trees (lesson 11) ----------------------------------------------------------------------------


def plot_hearing(changes: Mapping[str, ArrayLike]) -> Picture:
    """Which places change when the input of one is changed: rows of small structures.

    The place whose input is changed has a thick ring; colour and number say how much each state
    moved, as a share of the largest change in the panel; a place that did not move stays white
    and has no number. Places are numbered beside their circles.

    Args:
        changes: Structure ("chain", or any other name for a tree) -> `(7, 7)`, changed input by
            changed place.
    """
    heights = [0.8 if name == "chain" else 1.5 for name in changes]
    with mpl.rc_context(style()):
        figure = Picture(figsize=(15, 1.05 * sum(heights) + 0.5), layout="constrained")
        grid = figure.subplots(len(changes), 7, squeeze=False, height_ratios=heights)
        for row, (name, moved) in zip(grid, changes.items(), strict=True):
            for column, (axes, each) in enumerate(zip(row, np.asarray(moved), strict=True)):
                _draw_structure(axes, name, each / max(float(each.max()), 1e-12), column + 1)
            row[0].set_ylabel(name)
        for column, axes in enumerate(grid[0], start=1):
            axes.set_title(f"input of {column} changed", fontsize=10)
    return figure


def _draw_structure(axes: Axes, name: str, strength: np.ndarray, changed: int) -> None:
    chain = name == "chain"
    places, edges = (_CHAIN_PLACES, _CHAIN_EDGES) if chain else (_TREE_PLACES, _TREE_EDGES)
    for child, parent in edges:
        axes.plot(*zip(places[child], places[parent], strict=True), color=GREY, lw=1, zorder=1)
    for place, (x, y) in places.items():
        value = strength[place - 1]
        ring = {"edgecolor": BLACK, "linewidth": 2.6} if place == changed else {"edgecolor": GREY}
        colour = _WARM(0.1 + 0.45 * value) if value > 0 else "white"
        axes.add_patch(Circle((x, y), 0.46, zorder=2, facecolor=colour, **ring))
        if value > 0:
            said = f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"
            axes.text(x, y, said, ha="center", va="center", fontsize=7.5)
        axes.text(x, y - 0.8, f"{place}", ha="center", va="center", fontsize=7.5, color=GREY)
    top = max(y for _, y in places.values())
    axes.set(xlim=(-0.6, 6.6), ylim=(-1.1, top + 0.6), xticks=[], yticks=[], aspect="equal")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def plot_head_to_tail(shares: ArrayLike, bias: ArrayLike, embedding: ArrayLike) -> Picture:
    """The nodes' shares of an embedding as arrows, one behind the other, up to their sum (eq. 14).

    Args:
        shares: In a plane, `(7, 2)`.
        bias: Where the sum starts, `(2,)`.
        embedding: Where it must end, `(2,)`.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(6.4, 4.8), layout="constrained")
        axes = figure.subplots()
        start = np.asarray(bias, dtype=float)
        reach = [np.zeros(2), start]
        for place, share in enumerate(np.asarray(shares, dtype=float), start=1):
            leaf = place % 2 == 1
            colour = BLUE if leaf else ORANGE
            _arrow(axes, start, start + share, colour, 2.2, "-" if leaf else "--")
            beside = np.array([-share[1], share[0]]) / max(float(np.hypot(*share)), 1e-12)
            axes.annotate(
                f"{place}", start + share / 2, xytext=11 * beside, textcoords="offset points",
                ha="center", va="center", fontsize=10, color=BLACK,
            )  # fmt: skip
            start = start + share
            reach.append(start)
        axes.plot(*np.asarray(bias), "s", color=GREY, markersize=7, label="bias: where it starts")
        axes.plot(
            *np.asarray(embedding), "*", color=VERMILION, markersize=16, zorder=3,
            label="embedding $V^T$",
        )  # fmt: skip
        axes.plot([], [], color=BLUE, label="fragments 1 3 5 7")
        axes.plot([], [], "--", color=ORANGE, label="relations 2 4 6")
        axes.update_datalim(reach)  # arrows do not count by themselves
        axes.margins(0.12)
        axes.autoscale_view()
        axes.set(xlabel="first direction", ylabel="second direction")
        axes.set_aspect("equal", adjustable="datalim")
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _arrow(
    axes: Axes, start: np.ndarray, end: np.ndarray, colour: str, width: float, line: str = "-"
) -> None:
    axes.annotate(
        "", xy=tuple(end), xytext=tuple(start),
        arrowprops={
            "arrowstyle": "-|>", "color": colour, "linewidth": width, "linestyle": line,
            "shrinkA": 0, "shrinkB": 0,
        },
    )  # fmt: skip
