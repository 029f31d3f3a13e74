"""All pictures of the commands and notebooks, in one style that colour-blind readers can read.

Every function returns a figure and shows nothing by itself: a notebook displays what the last line
of a cell returns, and `save` writes it to a file. Right and wrong are told by a sign and a line
style besides the colour.
"""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from xmr_lib.data.images import open_image
from xmr_lib.errors import DataError
from xmr_lib.files import atomic
from xmr_lib.retrieval import Hit

# Okabe and Ito's palette, told apart with every kind of colour vision.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#767676"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK, YELLOW)

RIGHT, WRONG, UNKNOWN = "✓", "✗", ""


class Picture(Figure):
    """A figure that notebooks display without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def style() -> dict[str, Any]:
    """Settings of matplotlib that all pictures share; use as `with mpl.rc_context(style())`."""
    return {
        "figure.dpi": 110,
        "savefig.dpi": 130,
        "savefig.facecolor": "white",
        "font.family": "DejaVu Sans",  # comes with matplotlib and has the signs we use
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.prop_cycle": mpl.cycler(color=PALETTE),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E4E4E4",
        "legend.frameon": False,
    }


def _styled(draw: Callable[..., Picture]) -> Callable[..., Picture]:
    @functools.wraps(draw)
    def in_style(*args: Any, **kwargs: Any) -> Picture:
        with mpl.rc_context(style()):
            return draw(*args, **kwargs)

    return in_style


def save(figure: Figure, path: str | Path) -> Path:
    """Writes a figure (PNG, SVG or PDF by its suffix), makes the folder, and returns the path.

    The date is left out, so that the same picture is the same file.
    """
    path = Path(path)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {})
    with atomic(path) as temporary:
        figure.savefig(temporary, metadata=metadata)
    return path


@_styled
def plot_history(
    history: pd.DataFrame, plateau: float | None = None, title: str | None = None
) -> Picture:
    """Loss, validation recall sum and learning rate, epoch by epoch.

    Args:
        history: One row per epoch with `loss` (mean over the batches), `rsum` (of the selection
            split), `lr`, and `negatives` and `stage` where they change.
        plateau: Loss of a model that maps everything to one point (`xmr_lib.losses.plateau`): a
            run that stays there learns nothing. Holds for the hardest negatives only.
        title: Over the whole picture.
    """
    figure = Picture(figsize=(10, 3), layout="constrained")
    loss, recall, rate = figure.subplots(1, 3)
    epochs = np.arange(1, len(history) + 1)  # counted through, where stage 2 starts at 1 again
    warm = np.zeros(len(history), dtype=bool)
    if "negatives" in history:
        warm = (history["negatives"] == "all").to_numpy()
    loss.plot(epochs, history["loss"], color=BLUE)
    loss.plot(epochs[~warm], history["loss"][~warm], "o", color=BLUE, markersize=4)
    if warm.any():
        loss.plot(
            epochs[warm],
            history["loss"][warm],
            "o",
            color=BLUE,
            markerfacecolor="white",
            label="all negatives",
        )
        loss.legend(loc="upper right", fontsize=8)
    # All negatives add up to a far larger loss than the hardest ones.
    loss.set(title="Training loss", yscale="log" if warm.any() else "linear")
    if plateau is not None:
        loss.axhline(plateau, color=VERMILION, linestyle="--", linewidth=1.2)
        loss.text(
            0.98,
            plateau,
            "2·B·margin: all collapsed",
            transform=loss.get_yaxis_transform(),
            ha="right",
            va="bottom",
            color=VERMILION,
            fontsize=8,
        )
    recall.plot(epochs, history["rsum"], marker="o", markersize=4, color=GREEN)
    recall.set(title="Validation rsum (best epoch starred)")
    if history["rsum"].notna().any():
        best = int(np.nanargmax(history["rsum"]))
        recall.plot(epochs[best], history["rsum"].iloc[best], "*", markersize=14, color=ORANGE)
    rate.step(epochs, history["lr"], where="mid", color=BLACK)
    rate.set(title="Learning rate", yscale="log")
    stages = history["stage"].to_numpy() if "stage" in history else np.ones(len(history))
    for axes in (loss, recall, rate):
        for start in epochs[1:][np.diff(stages) != 0]:
            axes.axvline(start - 0.5, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


@_styled
def plot_retrieved_images(
    query: str | Sequence[str],
    hits: Sequence[Hit] | Sequence[Sequence[Hit]],
    right: Collection[int] | Sequence[Collection[int]] | None = None,
) -> Picture:
    """The best images for a sentence, with rank, score and a frame that tells right from wrong.

    Args:
        query: A sentence, or several: one row each.
        hits: Its best images in order (with `image_file`), or a list of them for each sentence.
        right: Positions (`hit.index`) of the images it belongs to, or those of each sentence;
            None where they are unknown.
    """
    queries, hits, right = _as_rows(query, hits, right)
    columns = max((len(row) for row in hits), default=1)
    figure = Picture(figsize=(1.75 * max(columns, 3), 2.5 * len(queries)), layout="constrained")
    for part, sentence, row, known in zip(
        np.ravel(figure.subfigures(len(queries), 1)), queries, hits, right, strict=True
    ):
        part.suptitle(_wrapped(f"“{sentence}”", 19 * max(columns, 3)), parse_math=False)
        places = np.ravel(part.subplots(1, columns, squeeze=False))
        for axes in places[len(row) :]:
            axes.axis("off")
        for rank, (axes, hit) in enumerate(zip(places, row, strict=False), start=1):
            _draw_image(axes, hit.image_file, _mark(hit, known))
            axes.set_title(_label(rank, hit, known), fontsize=9, color=_colour(hit, known))
    return figure


@_styled
def plot_retrieved_captions(
    image: Any, hits: Sequence[Hit], right: Collection[int] | None = None
) -> Picture:
    """A picture and its best captions in order, each with score and a sign for right or wrong.

    Args:
        image: File, PIL image or array.
        hits: Best captions in order (with `caption`).
        right: Positions of the image's own captions; None where they are unknown.
    """
    lines = [_wrapped(hit.caption, 62) for hit in hits]
    heights = [0.34 + 0.19 * line.count("\n") for line in lines]
    figure = Picture(figsize=(9, max(2.6, 0.3 + sum(heights))), layout="constrained")
    left, listing = figure.subplots(1, 2, width_ratios=(1, 2.3))
    _draw_image(left, image, UNKNOWN)
    listing.set(xlim=(0, 1), ylim=(max(2.4, sum(heights)), 0))
    listing.axis("off")
    top = 0.0
    for rank, (hit, text, height) in enumerate(zip(hits, lines, heights, strict=True), start=1):
        colour = _colour(hit, right)
        listing.text(0.0, top, _label(rank, hit, right), color=colour, va="top", fontsize=9)
        weight = "bold" if _mark(hit, right) == RIGHT else "normal"
        listing.text(0.22, top, text, va="top", fontsize=10, weight=weight, parse_math=False)
        top += height
    return figure


@_styled
def caption_cards(
    queries: Sequence[str],
    hits: Sequence[Sequence[Hit]],
    right: Sequence[Collection[int] | None],
    describe: Callable[[int], str],
    title: str | None = None,
) -> Picture:
    """Retrieval results in words only, for photographs that may not be passed on.

    Args:
        queries: What was searched for, a sentence or the words that stand for an image.
        hits: The best answers of each query, in order.
        right: Positions of the right answers of each query; None where they are unknown.
        describe: Words for the answer at a position: a caption, or a caption of that image.
        title: Over the whole picture.
    """
    columns = max((len(row) for row in hits), default=1)
    figure = Picture(figsize=(2.3 + 2.1 * columns, 0.4 + 1.12 * len(queries)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-1.12, columns), ylim=(len(queries), 0))
    axes.axis("off")
    for row, (query, answers, known) in enumerate(zip(queries, hits, right, strict=True)):
        axes.text(
            -1.1,
            row + 0.5,
            _wrapped(query, 25, lines=5),
            va="center",
            fontsize=9,
            weight="bold",
            parse_math=False,
        )
        for column, hit in enumerate(answers):
            colour, correct = _colour(hit, known), _mark(hit, known) == RIGHT
            box = FancyBboxPatch(
                (column + 0.04, row + 0.06),
                0.92,
                0.88,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor="white",
                edgecolor=colour,
                linewidth=2.4 if correct else 1,
                linestyle="-" if correct else "--",
            )
            axes.add_patch(box)
            label = _label(column + 1, hit, known)
            axes.text(column + 0.09, row + 0.12, label, va="top", fontsize=8, color=colour)
            words = _wrapped(describe(hit.index), 27, lines=4)
            axes.text(
                column + 0.09,
                row + 0.32,
                words,
                va="top",
                fontsize=8,
                parse_math=False,
            )
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def _as_rows(query, hits, right) -> tuple[list, list, list]:
    """One query becomes a list of one."""
    if isinstance(query, str):
        query, hits, right = [query], [hits], [right]
    return list(query), list(hits), [None] * len(query) if right is None else list(right)


def _mark(hit: Hit, right: Collection[int] | None) -> str:
    if right is None:
        return UNKNOWN
    return RIGHT if hit.index in right else WRONG


def _colour(hit: Hit, right: Collection[int] | None) -> str:
    return {RIGHT: GREEN, WRONG: VERMILION, UNKNOWN: BLACK}[_mark(hit, right)]


def _label(rank: int, hit: Hit, right: Collection[int] | None) -> str:
    words = {RIGHT: " ✓ right", WRONG: " ✗ wrong", UNKNOWN: ""}[_mark(hit, right)]
    rank = rank if hit.place is None else hit.place  # a right answer from further down has one
    return f"{rank}.  {hit.score:.2f}{words}"


def _draw_image(axes: Axes, image: Any, mark: str) -> None:
    """Draws a file, PIL image or array; a file that cannot be opened is a grey box."""
    if isinstance(image, str | Path):
        try:
            image = open_image(image)
        except DataError:
            axes.text(0.5, 0.5, "no picture", transform=axes.transAxes, ha="center", va="center")
            image = np.full((3, 4, 3), 200, dtype=np.uint8)
    axes.imshow(image)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(mark != UNKNOWN)
        side.set(
            color=GREEN if mark == RIGHT else VERMILION,
            linewidth=4 if mark == RIGHT else 1.5,
            linestyle="-" if mark == RIGHT else "--",
        )


def _wrapped(text: str, width: int, lines: int = 6) -> str:
    """At most so many lines of at most `width` characters; what is left out shows as "…"."""
    wrapped = textwrap.wrap(" ".join(text.split()), width, max_lines=lines, placeholder=" …")
    return "\n".join(wrapped) or " "
