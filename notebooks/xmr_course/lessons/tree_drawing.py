"""Trees as pictures: referral trees, predicted trees (SMFEA Figs 1 and 4), and their encoder.

Fragments and relations have a colour each, Null is faint. Where a tree is judged, right and wrong
are told by a sign and a line style besides the colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.patches
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from xmr_course.lessons.drawing import draw_image, styled, wrapped
from xmr_lib.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RIGHT,
    VERMILION,
    WRONG,
    Picture,
)
from xmr_lib.language.referral_tree import FRAGMENTS, ReferralTree

# Where the seven places are drawn, and which hears which, as (child, parent).
_AT = {1: (0, 0), 2: (1, 1), 3: (2, 0), 4: (3, 2), 5: (4, 0), 6: (5, 1), 7: (6, 0)}
_EDGES = ((1, 2), (3, 2), (5, 6), (7, 6), (2, 4), (6, 4))
Nodes = Sequence[str | None] | ReferralTree


def place_tree(
    axes: Axes, nodes: Nodes, title: str = "", right: Sequence[bool | None] | None = None
) -> None:
    """Draws one tree into axes.

    `nodes`: what stands at the places 1 to 7.
    `right`: for each place True or False where it is judged, None where not; without it nodes are
      coloured by what they are.
    """
    nodes = nodes.nodes if isinstance(nodes, ReferralTree) else tuple(nodes)
    axes.set(xlim=(-0.75, 6.75), ylim=(-0.45, 2.5))
    axes.axis("off")
    if title:
        axes.set_title(title, fontsize=10, parse_math=False)
    for child, parent in _EDGES:
        (x, y), (to_x, to_y) = _AT[child], _AT[parent]
        there = nodes[child - 1] is not None and nodes[parent - 1] is not None
        axes.plot((x, to_x), (y, to_y), color=GREY if there else "#D8D8D8", lw=1.2, zorder=1)
    for place, (x, y) in _AT.items():
        node, judged = nodes[place - 1], None if right is None else right[place - 1]
        colour, sign, line = _look(place, node, right is not None, judged)
        text = "Null" if node is None else _short(node)
        faint = node is None and judged is None
        axes.text(
            x,
            y,
            f"{sign}{text}",
            ha="center",
            va="center",
            fontsize=8.5,
            zorder=2,
            parse_math=False,
            color="#A0A0A0" if faint else "black",
            bbox={
                "boxstyle": "round,pad=0.35",
                "facecolor": "white",
                "edgecolor": colour,
                "linestyle": line,
                "linewidth": 1 if faint else 1.8,
            },
        )
        how = {"textcoords": "offset points", "ha": "center", "fontsize": 6.5, "color": GREY}
        axes.annotate(str(place), (x, y), (0, -25 if "\n" in text else -19), **how)


def _look(place: int, node: str | None, judging: bool, right: bool | None) -> tuple[str, str, str]:
    """Colour, sign and line style of a node."""
    if judging:
        if right is None:
            return "#C4C4C4", "", "--" if node is None else "-"
        return (GREEN, f"{RIGHT} ", "-") if right else (VERMILION, f"{WRONG} ", "--")
    if node is None:
        return "#C4C4C4", "", "--"
    return (BLUE if place in FRAGMENTS else ORANGE), "", "-"


def _short(text: str, width: int = 12) -> str:
    r"""At most two lines that fit into a box; what is left out shows as "…".

    >>> _short("skateboarding instructor")
    'skateboardi…\ninstructor'
    >>> _short("black leather jacket")
    'black\nleather…'
    >>> _short("be skateboarding next to")
    'be\nskateboardi…'
    """
    words = [word if len(word) <= width else f"{word[: width - 1]}…" for word in text.split()]
    first, *rest = textwrap.wrap(" ".join(words), width) or [" "]
    if len(rest) > 1:  # the library's own placeholder would take a long second line with it
        rest = [f"{rest[0][: width - 1].rstrip('…')}…"]
    return "\n".join([first, *rest])


@styled
def plot_tree(
    tree: Nodes, caption: str = "", right: Sequence[bool | None] | None = None
) -> Picture:
    """One tree with its caption above; arguments as for `place_tree`."""
    figure = Picture(figsize=(6.6, 2.6), layout="constrained")
    place_tree(figure.subplots(), tree, wrapped(caption, 78), right)
    return figure


@styled
def plot_trees(trees: Sequence[Nodes], captions: Sequence[str], columns: int = 2) -> Picture:
    """Several trees with their captions."""
    rows = -(-len(trees) // columns)
    figure = Picture(figsize=(5.6 * columns, 2.5 * rows), layout="constrained")
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes[len(trees) :]:
        axes.axis("off")
    for axes, tree, caption in zip(all_axes, trees, captions, strict=False):
        place_tree(axes, tree, wrapped(caption, 66))
    return figure


@styled
def plot_predicted(
    picture: Any,
    caption: str,
    referral: ReferralTree,
    image_names: Sequence[str | None],
    caption_names: Sequence[str | None],
    image_right: Sequence[bool],
    caption_right: Sequence[bool],
    known: Sequence[bool],
) -> Picture:
    """Both predicted trees beside the referral tree (SMFEA Fig. 4).

    Args:
        picture: The image.
        caption: Its sentence.
        referral: The sentence's own tree.
        image_names: Categories that the image's tree predicts, place by place.
        caption_names: Categories that the sentence's tree predicts.
        image_right: Where the image's tree is right `(7,)`.
        caption_right: Where the sentence's tree is right.
        known: Places that are judged: the referral tree has a category there.
    """
    figure = Picture(figsize=(12, 5.6), layout="constrained")
    axes = figure.subplot_mosaic(
        [["photo", "referral"], ["image", "caption"]], height_ratios=(1, 1)
    )
    draw_image(axes["photo"], picture, "")
    axes["photo"].set_title("image")
    place_tree(axes["referral"], referral, "referral tree (from the sentence)")
    for name, title, nodes, right in (
        ("image", "VCS-tree: predicted from the image", image_names, image_right),
        ("caption", "TCS-tree: predicted from the sentence", caption_names, caption_right),
    ):
        judged = [bool(r) if k else None for r, k in zip(right, known, strict=True)]
        n = sum(map(bool, known))
        count = f"{sum(bool(j) for j in judged)} of {n} judged nodes right"
        place_tree(axes[name], nodes, f"{title} – {count}", judged)
    figure.suptitle(wrapped(f"“{caption}”", 110), parse_math=False)
    legend = f"{RIGHT} right   {WRONG} wrong   grey: not judged, Null or not in the dictionary"
    figure.supxlabel(legend, fontsize=9, color=GREY)
    return figure


# --- the encoder (lesson 11) ----------------------------------------------------------------------


_TALL = {place: (x, 1.5 * y) for place, (x, y) in _AT.items()}
_CHAIN_PLACES = {place: (place - 1, 0) for place in range(1, 8)}
_CHAIN_EDGES = tuple((place, place + 1) for place in range(1, 7))
_WARM = mpl.colormaps["Oranges"]


@styled
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
    places, edges = (_CHAIN_PLACES, _CHAIN_EDGES) if chain else (_TALL, _EDGES)
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
