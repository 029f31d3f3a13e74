"""Pictures of images with their regions, and of how attention is spread over them.

Boxes are left, top, right, bottom as shares of the picture's width and height, as `Regions.boxes`
keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from xmr_course.lessons.drawing import DASHES, bare, draw_table, styled
from xmr_lib.data.images import open_image
from xmr_lib.figures import BLUE, PALETTE, VERMILION, Picture


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


@styled
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

    `weights`: attention, `(n_words, n_regions)`.
    """
    weights = np.asarray(weights, dtype=float)
    pixels = np.asarray(open_image(image_file))
    rows = -(-len(words) // columns)
    figure = Picture(figsize=(1.95 * columns, 2.25 * rows), layout="constrained")
    places = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes, word, each in zip(places, words, weights, strict=False):
        _draw_spotlight(axes, pixels, boxes, each)
        axes.set_title(f"{word}  {each.max():.2f}", fontsize=11, parse_math=False)
    for axes in places[len(words) :]:
        axes.axis("off")
    return figure


@styled
def plot_regions(
    image_file: str | Path, boxes: ArrayLike, names: Sequence[str], sentence: str = ""
) -> Picture:
    """A picture with its regions, numbered and named."""
    figure = Picture(figsize=(8.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    pixels = np.asarray(open_image(image_file))
    left.imshow(pixels)
    bare(left, frame=True)
    right.set(xlim=(0, 1), ylim=(len(boxes) + 1.5, -0.5))
    right.axis("off")
    for number, (box, name) in enumerate(zip(np.asarray(boxes), names, strict=True)):
        colour, dash = PALETTE[number % len(PALETTE)], DASHES[number % len(DASHES)]
        corner, size = box_corner(box, pixels)
        left.add_patch(
            Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=2.4, linestyle=dash)
        )
        label = {"color": "white", "fontsize": 10, "va": "top", "fontweight": "bold"}
        left.text(
            corner[0] + 1,
            corner[1] + 1,
            f"{number + 1}",
            **label,
            bbox={"facecolor": colour, "linewidth": 0, "pad": 1.6},
        )
        right.plot([0.02, 0.12], [number, number], dash, color=colour, linewidth=2.4)
        right.text(
            0.16, number, f"{number + 1}   {name}", va="center", fontsize=11, parse_math=False
        )
    right.text(0.02, len(boxes) + 0.3, sentence, va="center", style="italic", parse_math=False)
    return figure


@styled
def plot_region_kinds(panels: Mapping[str, tuple[str | Path, ArrayLike]]) -> Picture:
    """Pictures with their regions, one panel beside the other.

    Args:
        panels: Title -> picture file and its boxes `(n_regions, 4)`.
    """
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
                    (left - 0.5, top - 0.5),
                    right - left,
                    bottom - top,
                    fill=False,
                    edgecolor=BLUE if many else PALETTE[number],
                    linewidth=1.8,
                    linestyle="-" if many else DASHES[number],
                )
            )
        axes.set(xticks=[], yticks=[], title=title)
        axes.grid(False)
    return figure


@styled
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
    figure = Picture(figsize=(9.4, max(4.1, 0.36 * len(words) + 1)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    pixels = np.asarray(open_image(image_file))
    _draw_spotlight(left, pixels, boxes, light, numbered=True)
    draw_table(right, weights, words, [f"{n + 1}" for n in range(len(boxes))])
    right.set(xlabel="region", title="attention")
    if word is not None:
        right.add_patch(_outline((0, word), len(boxes), 1))
    if region is not None:
        right.add_patch(_outline((region, 0), 1, len(words)))
        for label, weight in zip(right.get_yticklabels(), weights[:, region], strict=True):
            if weight >= 0.6 * weights[:, region].max():
                label.set(fontweight="bold", color=VERMILION)
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def _draw_spotlight(
    axes: Axes, pixels: np.ndarray, boxes: ArrayLike, weights: np.ndarray, numbered: bool = False
) -> None:
    axes.imshow(spotlight(pixels, boxes, weights))
    for number, (box, weight) in enumerate(zip(np.asarray(boxes), weights, strict=True), start=1):
        corner, size = box_corner(box, pixels)
        axes.add_patch(
            Rectangle(
                corner,
                *size,
                fill=False,
                edgecolor=VERMILION,
                linewidth=0.6 + 3.4 * weight,
                alpha=float(0.25 + 0.75 * weight),
            )
        )
        if numbered:
            look = {"va": "top", "fontsize": 9, "color": "white", "fontweight": "bold"}
            look |= {"bbox": {"facecolor": BLUE, "linewidth": 0, "pad": 1.4}}
            axes.text(corner[0] + 1, corner[1] + 1, f"{number}", **look)
    bare(axes, frame=True)


def box_corner(box: np.ndarray, pixels: np.ndarray) -> tuple[tuple, tuple]:
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
