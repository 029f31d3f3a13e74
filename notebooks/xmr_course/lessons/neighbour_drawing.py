"""Pictures of images and captions as points in a plane, with their neighbours."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import matplotlib as mpl
import matplotlib.patches
import numpy as np
from matplotlib.axes import Axes

from xmr_course.lessons.drawing import bare, styled
from xmr_lib.figures import BLUE, GREY, VERMILION, Picture


@styled
def plot_neighbourhoods(
    points: np.ndarray, n_images: int, index: np.ndarray, items: Sequence[int]
) -> Picture:
    """Points in the plane and the neighbours of some, one panel each: mutual or one-sided.

    `points`: `(N, 2)`, images first.
    `index`: each item itself, then its nearest, `(N, k + 1)`.
    """
    figure = Picture(figsize=(5.3 * len(items), 5.0), layout="constrained")
    for axes, item in zip(np.ravel(figure.subplots(1, len(items))), items, strict=True):
        mutual = [q for q in index[item, 1:] if item in index[q]]
        for q in index[item, 1:]:
            back = q in mutual
            look = {"color": BLUE if back else VERMILION, "linewidth": 2.2 if back else 1.6}
            axes.annotate(
                "",
                points[q],
                points[item],
                zorder=1,
                arrowprops={
                    "arrowstyle": "<->" if back else "->",
                    "shrinkA": 9,
                    "shrinkB": 9,
                    "linestyle": "-" if back else "--",
                    **look,
                },
            )
        _draw_points(axes, points, n_images, {item, *mutual})
        axes.set_title(
            f"{name_of(item, n_images)}: nearest {_names(index[item, 1:], n_images)}\n"
            f"mutual {_names(mutual, n_images) or '–'}"
        )
    handles = [
        mpl.lines.Line2D([], [], color=BLUE, linewidth=2.2, label="mutual: both are near"),
        mpl.lines.Line2D([], [], color=VERMILION, linestyle="--", label="one-sided"),
        *_kinds(),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)
    return figure


@styled
def plot_sets(
    points: np.ndarray, n_images: int, item: int, sets: Mapping[str, Collection[int]]
) -> Picture:
    """Points in the plane, and which of them belong to an item's set; one panel a set.

    `points`: `(N, 2)`, images first.
    `item`: whose sets they are; its label is bold.
    """
    figure = Picture(figsize=(3.9 * len(sets), 3.6), layout="constrained")
    grid = np.ravel(figure.subplots(1, len(sets)))
    for axes, (title, members) in zip(grid, sets.items(), strict=True):
        _draw_points(axes, points, n_images, set(members), item)
        axes.set_title(f"{title}\n{_names(sorted(members), n_images)}", fontsize=10)
    figure.legend(handles=_kinds(), loc="outside lower center", ncols=2, fontsize=9)
    return figure


def name_of(item: int, n_images: int) -> str:
    """Images are called A, B, C, captions are called 1, 2, 3.

    >>> name_of(1, 4), name_of(4, 4)
    ('B', '1')
    """
    return chr(ord("A") + item) if item < n_images else str(item - n_images + 1)


def _names(items: Sequence[int], n_images: int) -> str:
    return " ".join(name_of(int(i), n_images) for i in items)


def _kinds() -> list[mpl.lines.Line2D]:
    look = {"color": "none", "markeredgecolor": "black", "markersize": 9}
    return [
        mpl.lines.Line2D([], [], marker="s", label="image", **look),
        mpl.lines.Line2D([], [], marker="o", label="caption", **look),
    ]


def _draw_points(
    axes: Axes, points: np.ndarray, n_images: int, filled: set[int], bold: int | None = None
) -> None:
    """Squares are images, circles captions; members of a set are filled."""
    for number, (x, y) in enumerate(points):
        inside = number in filled
        look = {"markersize": 14, "zorder": 2, "markerfacecolor": "#BBD9EE" if inside else "white"}
        look |= {"markeredgecolor": "black" if inside else GREY}
        look |= {"markeredgewidth": 1.8 if inside else 1}
        axes.plot(x, y, "s" if number < n_images else "o", **look)
        look = {"ha": "center", "va": "center_baseline", "fontsize": 9}
        look |= {"weight": "bold" if number == bold else "normal"}
        axes.text(x, y, name_of(number, n_images), **look)
    axes.set_aspect("equal")
    axes.margins(0.07)
    bare(axes)
