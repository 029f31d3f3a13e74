"""Pictures of notebook 07: who is whose neighbour, and what re-ranking does to answers.

As in `xmr_lib.figures`, every function returns a figure and shows nothing by itself.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from xmr_lib.data.images import open_image
from xmr_lib.figures import BLUE, GREEN, GREY, PALETTE, RIGHT, VERMILION, WRONG, Picture, style
from xmr_lib.significance import Comparison

HATCHES = ("", "///", "...", "xxx", "\\\\\\")
FALL = 45  # points below the original beyond which a curve is cut off


@dataclass(frozen=True)
class Answer:
    """One item of a ranked list.

    Attributes:
        index: Its position.
        shown: A caption, or the file of a picture.
        right: Whether it belongs to the query.
        was: Its place in the original order, 1 being the top.
    """

    index: int
    shown: str | Path
    right: bool
    was: int


@dataclass(frozen=True)
class Answers:
    """The best answers of one query before and after re-ranking.

    Attributes:
        query: A caption, or the file of a picture.
        before: The original order.
        after: The order after re-ranking.
        places: Of the best right answer before and after, 1 being the top.
    """

    query: str | Path
    before: Sequence[Answer]
    after: Sequence[Answer]
    places: tuple[float, float]


def plot_neighbourhoods(
    points: np.ndarray, n_images: int, index: np.ndarray, items: Sequence[int]
) -> Picture:
    """Points in the plane and the neighbours of some, one panel each: mutual or one-sided.

    Args:
        points: `(N, 2)`, images first.
        n_images: How many of them are images.
        index: Each item itself, then its nearest, `(N, k + 1)`.
        items: Whose neighbours are shown.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(5.3 * len(items), 5.0), layout="constrained")
        for axes, item in zip(np.ravel(figure.subplots(1, len(items))), items, strict=True):
            mutual = [q for q in index[item, 1:] if item in index[q]]
            for q in index[item, 1:]:
                back = q in mutual
                look = {"color": BLUE if back else VERMILION, "linewidth": 2.2 if back else 1.6}
                axes.annotate(
                    "", points[q], points[item], zorder=1,
                    arrowprops={
                        "arrowstyle": "<->" if back else "->", "shrinkA": 9, "shrinkB": 9,
                        "linestyle": "-" if back else "--", **look,
                    },
                )  # fmt: skip
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


def plot_sets(
    points: np.ndarray, n_images: int, item: int, sets: Mapping[str, Collection[int]]
) -> Picture:
    """Points in the plane, and which of them belong to an item's set; one panel a set.

    Args:
        points: `(N, 2)`, images first.
        n_images: How many of them are images.
        item: Whose sets they are; its label is bold.
        sets: Title -> members.
    """
    with mpl.rc_context(style()):
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
        axes.plot(
            x, y, "s" if number < n_images else "o", markersize=14, zorder=2,
            markerfacecolor="#BBD9EE" if inside else "white",
            markeredgecolor="black" if inside else GREY, markeredgewidth=1.8 if inside else 1,
        )  # fmt: skip
        axes.text(
            x, y, name_of(number, n_images), ha="center", va="center_baseline", fontsize=9,
            weight="bold" if number == bold else "normal",
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.margins(0.07)
    _bare(axes)


def company(
    index: np.ndarray, n_images: int, image_of_caption: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Who stands at each place among the neighbours of images and of captions.

    Args:
        index: Each item itself, then its k nearest, images first, `(N, k + 1)`.
        n_images: How many items are images.
        image_of_caption: For each caption its image.

    Returns:
        Side -> kind of neighbour -> its share at each place, `(k,)`.
    """
    image_of = np.concatenate([np.arange(n_images), image_of_caption])
    near = index[:, 1:]
    is_image, same = near < n_images, image_of[near] == image_of[:, None]

    def shares(side: slice, **kinds: np.ndarray) -> dict[str, np.ndarray]:
        return {kind.replace("_", " "): found[side].mean(axis=0) for kind, found in kinds.items()}

    others = {"another_caption": ~same & ~is_image, "another_image": ~same & is_image}
    return {
        "Neighbours of an image": shares(
            slice(n_images), its_own_caption=same & ~is_image, **others
        ),
        "Neighbours of a caption": shares(
            slice(n_images, None), its_own_image=same & is_image,
            caption_of_the_same_image=same & ~is_image, **others,
        ),
    }  # fmt: skip


def plot_company(shares: Mapping[str, Mapping[str, np.ndarray]]) -> Picture:
    """Who stands at the first, second, third … place among the neighbours; one panel a side.

    Args:
        shares: Title -> kind of neighbour -> its share at each place, `(k,)`; the kinds' shares
            sum to one.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(10.5, 3.5), layout="constrained")
        grid = np.ravel(figure.subplots(1, len(shares), sharey=True))
        looks = list(dict.fromkeys(kind for kinds in shares.values() for kind in kinds))
        for axes, (title, kinds) in zip(grid, shares.items(), strict=True):
            below = 0.0
            for kind, share in kinds.items():
                number = looks.index(kind)  # a kind looks the same in all panels
                places = np.arange(1, len(share) + 1)
                axes.bar(
                    places, share, 0.86, bottom=below, label=kind, color=PALETTE[number],
                    hatch=HATCHES[number % len(HATCHES)], edgecolor="white", linewidth=0.5,
                )  # fmt: skip
                below = below + share
            axes.set(title=title, xlabel="place among the neighbours", ylim=(0, 1))
            axes.set_xticks([1, *range(5, len(share) + 1, 5)])
            axes.grid(False)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, fontsize=9)
        grid[0].set_ylabel("share")
        grid[0].yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    return figure


def plot_lambdas(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    lambdas: Sequence[float],
    original: Mapping[str, float],
) -> Picture:
    """Recalls against the weight of the original distance, a line for each k1 and k2.

    What falls far below the original is cut off, with its value at the lower edge.

    Args:
        curves: Panel's title -> name of a line -> a value for each of `lambdas`.
        lambdas: Weights.
        original: Panel's title -> value without re-ranking.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(10.5, 3.8), layout="constrained")
        grid = np.ravel(figure.subplots(1, len(curves)))
        for axes, (title, lines) in zip(grid, curves.items(), strict=True):
            for number, (name, values) in enumerate(lines.items()):
                axes.plot(
                    lambdas, values, marker="os^Dv"[number % 5], markersize=5, label=name,
                    linestyle=("-", "--", "-.", ":")[number % 4], color=PALETTE[number],
                )  # fmt: skip
            axes.axhline(original[title], color=GREY, linewidth=1.2)
            axes.annotate(
                "not re-ranked", (0, original[title]), (0, 5), textcoords="offset points",
                color=GREY, fontsize=8,
            )  # fmt: skip
            axes.set(title=title, xlabel="λ, weight of the original distance")
            floor = original[title] - FALL
            if min(min(values) for values in lines.values()) < floor:
                axes.set_ylim(bottom=floor)
                fallen = [
                    f"{name}: {value:.0f} at λ = {lam:g}"
                    for name, values in lines.items()
                    for lam, value in zip(lambdas, values, strict=True)
                    if value < floor
                ]
                axes.text(
                    0.98, 0.03, "\n".join(["below:", *fallen]), transform=axes.transAxes,
                    ha="right", va="bottom", fontsize=8, color=GREY,
                )  # fmt: skip
        grid[0].set_ylabel("R@1 + R@5 + R@10")
        figure.legend(
            *grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9
        )
    return figure


def plot_differences(comparisons: Mapping[str, Comparison], xlabel: str) -> Picture:
    """Differences with their intervals, one line each; hollow where chance would do.

    Args:
        comparisons: What was compared -> the result of a paired bootstrap.
        xlabel: What the differences are.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(9.5, 1.2 + 0.38 * len(comparisons)), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(comparisons))[::-1]
        axes.axvline(0, color=GREY, linewidth=1)
        for row, found in zip(rows, comparisons.values(), strict=True):
            colour = GREY if found.noise else (BLUE if found.difference > 0 else VERMILION)
            axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2)
            axes.plot(
                found.difference, row, "o", color=colour, markersize=7,
                markerfacecolor="white" if found.noise else colour,
            )  # fmt: skip
            axes.annotate(
                f"{found.difference:+.1f} {'noise' if found.noise else 'real'}",
                (found.difference, row), (0, 6), textcoords="offset points", ha="center",
                fontsize=8,
            )  # fmt: skip
        axes.set(xlabel=xlabel, ylim=(-0.6, len(comparisons) - 0.3))
        axes.set_yticks(rows, comparisons, parse_math=False)
    return figure


def plot_answers(answers: Mapping[str, Answers]) -> Picture:
    """Queries with their best answers before and after re-ranking, one below the other.

    Args:
        answers: Title -> query and answers.
    """
    with mpl.rc_context(style()):
        tall = [2.7 if isinstance(each.query, Path) else 4.5 for each in answers.values()]
        figure = Picture(figsize=(11, sum(tall)), layout="constrained")
        parts = np.ravel(figure.subfigures(len(answers), 1, height_ratios=tall))
        for part, (title, each) in zip(parts, answers.items(), strict=True):
            _draw_answers(part, title, each)
    return figure


def plot_explorer(
    answers: Answers, recalls: Mapping[str, tuple[float, float]], title: str
) -> Picture:
    """What the explorer shows: recalls before and after, and the answers of one query.

    Args:
        answers: Of the query.
        recalls: Name of a recall -> its value before and after, in percent.
        title: Settings and rsum.
    """
    with mpl.rc_context(style()):
        tall = 3.0 if isinstance(answers.query, Path) else 4.5
        figure = Picture(figsize=(11, 2.5 + tall), layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=(2.5, tall))
        top.suptitle(title, fontsize=10)
        axes = top.subplots()
        at = np.arange(len(recalls))
        for shift, place, name in ((-0.2, 0, "before"), (0.2, 1, "after")):
            values = [pair[place] for pair in recalls.values()]
            axes.bar(
                at + shift, values, 0.38, color=(GREY, BLUE)[place], hatch=("", "///")[place],
                edgecolor="white", label=name,
            )  # fmt: skip
            for x, value in zip(at + shift, values, strict=True):
                axes.text(x, value + 1, f"{value:.1f}", ha="center", va="bottom", fontsize=8)
        axes.set(ylim=(0, 112), ylabel="%")
        axes.set_xticks(at, recalls)
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        _draw_answers(bottom, "", answers)
    return figure


def _draw_answers(part: mpl.figure.SubFigure, title: str, answers: Answers) -> None:
    before, after = (f"{place:.0f}" for place in answers.places)
    heading = f"best right answer: place {before} before, {after} after"
    lists = {"before": answers.before, "after": answers.after}
    if isinstance(answers.query, Path):
        part.suptitle(f"{title}  –  {heading}" if title else heading, fontsize=10)
        picture, *places = part.subplots(1, 3, width_ratios=(1.1, 2, 2))
        picture.imshow(open_image(answers.query))
        _bare(picture)
        for axes, (name, ranked) in zip(places, lists.items(), strict=True):
            axes.set_title(name, fontsize=10, loc="left")
            _draw_captions(axes, ranked, with_was=name == "after")
        return
    query = textwrap.shorten(str(answers.query), 90)
    part.suptitle(f"{title}\n“{query}”  –  {heading}".strip(), fontsize=10, parse_math=False)
    grid = part.subplots(2, len(answers.before), squeeze=False)
    for row, (name, ranked) in zip(grid, lists.items(), strict=True):
        for place, (axes, answer) in enumerate(zip(row, ranked, strict=True), start=1):
            axes.imshow(open_image(answer.shown))
            was = f" (was {answer.was})" if name == "after" else ""
            axes.set_title(f"{place}. {_sign(answer)}{was}", fontsize=9, color=_colour(answer))
            _bare(axes)
        row[0].set_ylabel(name)


def _draw_captions(axes: Axes, ranked: Sequence[Answer], with_was: bool) -> None:
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(len(ranked), 0))
    look = {"va": "top", "fontsize": 9}
    for place, answer in enumerate(ranked):
        axes.text(0, place, f"{place + 1}. {_sign(answer)}", color=_colour(answer), **look)
        if with_was:
            axes.text(0, place + 0.4, f"was {answer.was}", va="top", fontsize=7, color=GREY)
        text = textwrap.fill(str(answer.shown), 42, max_lines=2, placeholder=" …")
        weight = "bold" if answer.right else "normal"
        axes.text(0.13, place, text, weight=weight, parse_math=False, **look)


def _sign(answer: Answer) -> str:
    return RIGHT if answer.right else WRONG


def _colour(answer: Answer) -> str:
    return GREEN if answer.right else VERMILION


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
