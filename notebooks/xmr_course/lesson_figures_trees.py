"""Pictures of what a tree encoder does, of its dictionaries, and of consensus concepts.

As in `xmr_lib.figures`, every function returns a figure and shows nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from xmr_course.inside import PLACES
from xmr_lib.errors import DataError
from xmr_lib.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, Picture, _styled, _wrapped
from xmr_lib.language.referral_tree import FRAGMENTS

# --- the tree's cell (lesson 11) ------------------------------------------------------------------

# Where the parts of a cell are drawn, and what they say; `{x}` is V or S.
_GATE = "(W^{w}\\,\\hat{{{{{{x}}}}}}_2 + U^{w}\\,\\tilde{{{{h}}}}_2)$"
_CELL = {
    "left": (-0.9, 0.0, "child 1\n$h_1,\\ c_1,\\ f_1$"),
    "right": (1.9, 0.0, "child 3\n$h_3,\\ c_3,\\ f_3$"),
    "input": (8.4, 0.0, "own input (5)\n$\\hat{{{x}}}_2 = {x}^D W_2$"),
    "summed": (3.9, 1.35, "$\\tilde{{h}}_2 = h_1 + h_3$"),
    "kept": (-0.4, 2.8, "$f_1 \\odot c_1 + f_3 \\odot c_3$"),
    "f": (2.5, 2.8, "forget gate (7)\n$f_2 = \\sigma" + _GATE.format(w="f")),
    "i": (5.4, 2.8, "input gate (6)\n$i_2 = \\sigma" + _GATE.format(w="i")),
    "new": (8.4, 2.8, "candidate (9)\n$\\tilde{{c}}_2 = \\tanh" + _GATE.format(w="u")),
    "o": (11.4, 2.8, "output gate (8)\n$o_2 = \\sigma" + _GATE.format(w="o")),
    "c": (
        3.9, 4.2,
        "memory (10)\n"
        "$c_2 = i_2 \\odot \\tilde{{c}}_2 + f_2 \\odot (f_1 \\odot c_1 + f_3 \\odot c_3)$",
    ),
    "h": (6.9, 5.5, "hidden state (11)\n$h_2 = o_2 \\odot \\tanh(c_2)$"),
}  # fmt: skip
_HEARS = {
    "summed": ("left", "right"),
    "kept": ("left", "right"),
    "f": ("summed", "input"),
    "i": ("summed", "input"),
    "new": ("summed", "input"),
    "o": ("summed", "input"),
    "c": ("kept", "f", "i", "new"),
    "h": ("c", "o"),
}


@_styled
def draw_flow(symbol: str = "V") -> Picture:
    """Who hears whom in the fixed tree, and what happens in one node (SMFEA eqs. 5 to 11).

    The node drawn is 2; 6 and the root 4 work alike, and a leaf has no children: its `h̃` is zero.

    Args:
        symbol: "V" for an image's tree, "S" for a sentence's.
    """
    figure = Picture(figsize=(14.5, 5.2), layout="constrained")
    tree, cell = figure.subplots(1, 2, width_ratios=(1, 2.1))
    _draw_tree_flow(tree, symbol)
    cell.set(xlim=(-1.9, 12.9), ylim=(-0.6, 6.0), title="in node 2: numbers are equations")
    cell.axis("off")
    for part, sources in _HEARS.items():
        for source in sources:
            (x, y, words), (to_x, to_y, to_words) = _CELL[source], _CELL[part]
            start, end = (x, y + _half(words)), (to_x, to_y - _half(to_words))
            _flow(cell, start, end, "--" if source == "input" else "-", shrink=(0, 1))
    for part, (x, y, words) in _CELL.items():
        gate = part in ("f", "i", "o")
        colour = {"left": BLUE, "right": BLUE, "h": ORANGE, "c": ORANGE, "input": BLACK}.get(
            part, PURPLE if gate else GREY
        )
        cell.text(
            x, y, words.format(x=symbol), ha="center", va="center", fontsize=10, zorder=3,
            bbox={"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": colour,
                  "linewidth": 1.8},
        )  # fmt: skip
    return figure


def _half(words: str) -> float:
    """Half the height of a box, in the axes' units."""
    return 0.37 if "\n" in words else 0.26


def _draw_tree_flow(axes: Axes, symbol: str) -> None:
    """The seven nodes, their inputs from below and what goes up."""
    at = {1: (0, 0), 2: (1, 1.6), 3: (2, 0), 4: (3, 3.2), 5: (4, 0), 6: (5, 1.6), 7: (6, 0)}
    axes.set(xlim=(-0.9, 6.9), ylim=(-1.5, 3.8), title="in the tree")
    axes.axis("off")
    for child, parent in ((1, 2), (3, 2), (5, 6), (7, 6), (2, 4), (6, 4)):
        _flow(axes, at[child], at[parent], "-", shrink=(14, 14))
    axes.text(1.35, 2.6, "h, c, f", fontsize=9, color=GREY, ha="center")
    for place, (x, y) in at.items():
        axes.annotate(
            f"$\\hat{{{symbol}}}_{place}$", (x, y), (0, -44), textcoords="offset points",
            ha="center", va="center", fontsize=10,
            arrowprops={"arrowstyle": "-|>", "color": BLACK, "linestyle": "--", "shrinkA": 0,
                        "shrinkB": 13},
        )  # fmt: skip
        colour = BLUE if place in FRAGMENTS else ORANGE
        axes.plot(x, y, "o", markersize=21, color=colour, zorder=3)
        axes.text(
            x, y, f"{place}", ha="center", va="center", color="white", weight="bold", zorder=4
        )


def _flow(axes: Axes, start: tuple, end: tuple, line: str, shrink: tuple[int, int]) -> None:
    axes.annotate(
        "", end, start, zorder=1,
        arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.3, "linestyle": line,
                    "shrinkA": shrink[0], "shrinkB": shrink[1]},
    )  # fmt: skip


@_styled
def draw_states(states: Mapping[str, ArrayLike], title: str = "") -> Picture:
    """Hidden states and gates of one item's tree, a row a node, and how strong each node is.

    Right of a table of states stands each node's length, right of one of gates (nothing below 0)
    their mean.

    Args:
        states: Name -> values `(7, h)`, such as the fields of `NodeStates` for one item.
        title: Over the whole picture.
    """
    figure = Picture(figsize=(2.4 * len(states) + 1.2, 3.1), layout="constrained")
    grid = figure.subplots(1, len(states), squeeze=False, sharey=True)[0]
    for axes, (name, values) in zip(grid, states.items(), strict=True):
        values = np.asarray(values, dtype=float)
        gates = bool((values >= 0).all())
        most = 1.0 if gates else max(float(np.abs(values).max()), 1e-9)
        look = {"cmap": "Blues", "vmin": 0} if gates else {"cmap": "PuOr_r", "vmin": -most}
        image = axes.imshow(values, aspect="auto", interpolation="nearest", vmax=most, **look)
        strength = values.mean(1) if gates else np.linalg.norm(values, axis=1)
        for row, value in enumerate(strength):
            axes.text(
                1.02, row, f"{value:.2f}", transform=axes.get_yaxis_transform(), fontsize=8,
                va="center",
            )  # fmt: skip
        axes.text(
            1.02, -0.75, "mean" if gates else "length", transform=axes.get_yaxis_transform(),
            fontsize=8, color=GREY,
        )  # fmt: skip
        figure.colorbar(image, ax=axes, location="bottom", shrink=0.8, aspect=30)
        axes.set(title=name.replace("_", " "), xlabel="unit")
        axes.grid(False)
    grid[0].set_yticks(range(7), PLACES, fontsize=8)
    if title:
        figure.suptitle(_wrapped(title, 30 * len(states) + 15), parse_math=False)
    return figure


# --- dictionaries of categories (lesson 10) -------------------------------------------------------


def cumulative_coverage(counts: ArrayLike) -> np.ndarray:
    """Share of all occurrences that the 1, 2, … most frequent categories make up, `(n,)`.

    >>> cumulative_coverage([1, 6, 3]).tolist()
    [0.6, 0.9, 1.0]
    """
    ordered = np.sort(np.asarray(counts, dtype=float))[::-1]
    return ordered.cumsum() / ordered.sum()


@_styled
def draw_coverage(counts: Mapping[str, ArrayLike], sizes: Mapping[str, int]) -> Picture:
    """How many nodes a dictionary knows, against how many categories it keeps.

    Args:
        counts: Kind ("fragments", "relations") -> how often each category occurs, in any order.
        sizes: Kind -> how many categories are kept (SMFEA §4.2: 1,440 and 247).

    Raises:
        DataError: A kind has no category at all.
    """
    figure = Picture(figsize=(4.6 * len(counts), 3.3), layout="constrained")
    grid = figure.subplots(1, len(counts), squeeze=False, sharey=True)[0]
    for axes, (kind, each), colour in zip(grid, counts.items(), (BLUE, ORANGE), strict=False):
        if not np.sum(each):
            raise DataError(f"There are no {kind} to draw: give how often each category occurs.")
        share = 100 * cumulative_coverage(each)
        axes.plot(np.arange(1, len(share) + 1), share, color=colour)
        kept = min(sizes[kind], len(share))
        axes.axvline(sizes[kind], color=BLACK, linewidth=1.2, linestyle="--")
        axes.plot(kept, share[kept - 1], "o", color=BLACK, markersize=6)
        size = f"{kept:,} kept" if kept == sizes[kind] else f"there are only {kept:,}"
        axes.set_title(f"{kind}: {size}, {share[kept - 1]:.1f} %", fontsize=10)
        axes.set(xscale="log", xlabel="categories, most frequent first", ylim=(0, 104))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    grid[0].set_ylabel("nodes that have a category, %")
    return figure


# --- consensus concepts (lesson 12) ---------------------------------------------------------------

_KINDS = ("nouns", "adjectives", "verbs")


@_styled
def draw_concept_graph(
    words: Sequence[str],
    adjacency: ArrayLike,
    counts: ArrayLike,
    n: int = 40,
    kinds: Sequence[int] = (),
) -> Picture:
    """The most frequent concepts on a circle, and which of them are neighbours.

    Args:
        words: All concepts.
        adjacency: Weights `(n_concepts, n_concepts)`; the diagonal is left out, and the larger
            of both directions drawn.
        counts: How many captions name each, `(n_concepts,)`: the size of its dot.
        n: How many are drawn.
        kinds: How many of the words are nouns, adjectives and verbs, in this order; then each
            kind has its colour, sign and part of the circle.
    """
    counts, weights = np.asarray(counts), np.asarray(adjacency, dtype=float)
    chosen = np.sort(np.argsort(-counts, kind="stable")[:n])  # kinds stay side by side
    weights = np.maximum(weights, weights.T)[np.ix_(chosen, chosen)]
    np.fill_diagonal(weights, 0)
    kind = np.repeat(np.arange(len(kinds)), kinds)[chosen] if len(kinds) else 0 * chosen
    angles = np.linspace(0, 2 * np.pi, len(chosen), endpoint=False)
    at = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    figure = Picture(figsize=(7.6, 8), layout="constrained")
    axes = figure.subplots()
    for i, j in np.argwhere(np.triu(weights) > 0):
        strength = weights[i, j] / weights.max()
        axes.plot(
            *at[[i, j]].T, color=GREY, linewidth=0.4 + 1.6 * strength, alpha=0.2 + 0.5 * strength,
            zorder=1,
        )  # fmt: skip
    for place, (x, y), angle in zip(range(len(chosen)), at, angles, strict=True):
        look = kind[place] % 3
        size = 25 + 150 * counts[chosen[place]] / counts.max()
        axes.scatter(x, y, size, color=(BLUE, ORANGE, GREEN)[look], marker="os^"[look], zorder=2)
        away = np.pi / 2 < angle < 3 * np.pi / 2  # words on the left end at their dot
        axes.text(
            1.06 * x, 1.06 * y, words[chosen[place]], fontsize=9, parse_math=False,
            rotation=np.degrees(angle) - 180 * away, rotation_mode="anchor", va="center",
            ha="right" if away else "left",
        )  # fmt: skip
    axes.set(xlim=(-1.32, 1.32), ylim=(-1.32, 1.32), aspect="equal")
    axes.axis("off")
    figure.suptitle(
        f"the {len(chosen)} most frequent of {len(words)} concepts, "
        f"{np.count_nonzero(np.triu(weights))} pairs of neighbours"
    )
    if len(kinds):
        handles = [
            Line2D([], [], color=colour, marker=marker, linestyle="", markersize=8, label=label)
            for colour, marker, label in zip((BLUE, ORANGE, GREEN), "os^", _KINDS, strict=True)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


@_styled
def draw_concept_weights(
    words: Sequence[str], image_weights: ArrayLike, caption_weights: ArrayLike, k: int = 10
) -> Picture:
    """The strongest concepts of a pair, the image's to the left and the caption's to the right.

    Args:
        words: All concepts.
        image_weights: Of the image `(n_concepts,)`, none below 0.
        caption_weights: Of the caption.
        k: How many are drawn: those where either side is strongest.
    """
    image, caption = np.asarray(image_weights), np.asarray(caption_weights)
    chosen = np.argsort(-np.maximum(image, caption), kind="stable")[:k][::-1]
    rows = np.arange(len(chosen))
    figure = Picture(figsize=(8, 0.32 * len(chosen) + 1.1), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    most = 1.18 * max(image[chosen].max(), caption[chosen].max(), 1e-9)
    for axes, values, title, colour, hatch in (
        (left, image, "image", BLUE, ""), (right, caption, "sentence", ORANGE, "///"),
    ):  # fmt: skip
        axes.barh(rows, values[chosen], color=colour, hatch=hatch, edgecolor="white")
        for row, value in zip(rows, values[chosen], strict=True):
            axes.annotate(
                f"{value:.2f}", (value, row), (-3 if axes is left else 3, 0), fontsize=8,
                textcoords="offset points", ha="right" if axes is left else "left", va="center",
            )  # fmt: skip
        axes.set(title=title, xlabel="weight", xlim=(0, most))
        axes.grid(axis="y", visible=False)
    left.invert_xaxis()
    left.spines["left"].set_visible(False)
    left.tick_params(axis="y", length=0)
    left.set_yticks(rows, [words[i] for i in chosen], parse_math=False)
    return figure
