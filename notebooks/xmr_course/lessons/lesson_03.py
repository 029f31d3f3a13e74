"""Lesson 03: rich image representation. What pooled maps see, and RFE eq. 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.patches
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from xmr_course.lessons.checking import Case, Check
from xmr_course.lessons.drawing import bare, draw_bars, draw_lines, panels, styled, whole_numbers
from xmr_course.lessons.drawing import plot_cosines as plot_cosines
from xmr_course.lessons.drawing import plot_shares as plot_shares
from xmr_lib.encoders import image
from xmr_lib.encoders.backbone import pool_stages
from xmr_lib.figures import BLUE, GREY, VERMILION, Picture
from xmr_lib.similarity import l2norm

Maps = Sequence[Tensor]


def argmax_places(maps: Tensor) -> Tensor:
    """Where each channel is largest, as fractions of the picture's width and height.

    Args:
        maps: One picture's map of a stage, `(channels, height, width)`.

    Returns:
        `(channels, 2)`: x and y of the middle of the winning cell, in (0, 1).

    >>> argmax_places(torch.tensor([[[0.0, 0.0], [0.0, 5.0]]]))
    tensor([[0.7500, 0.7500]])
    """
    height, width = maps.shape[1:]
    best = maps.flatten(1).argmax(1)
    return torch.stack([(best % width + 0.5) / width, (best // width + 0.5) / height], dim=1)


@styled
def plot_channel_maps(
    picture: Any, maps: Sequence[Tensor], channels: Sequence[Sequence[int]]
) -> Picture:
    """Some channels of each stage over the picture, with what the two pools make of them.

    On the left of each row stands the picture, cut into the stage's places.

    `maps`: C1…C4 of this picture, each `(channels, height, width)`.
    `channels`: for each stage the channels to draw, equally many.
    """
    columns = 1 + len(channels[0])
    figure = Picture(figsize=(1.8 * columns + 0.4, 8.4), layout="constrained")
    grid = figure.subplots(len(maps), columns, squeeze=False)
    for stage, (row, each, chosen) in enumerate(zip(grid, maps, channels, strict=True), 1):
        _draw_places(row[0], picture, each.shape[1:])
        for axes, channel in zip(row[1:], chosen, strict=True):
            _draw_map(axes, picture, each[channel])
            largest, mean = each[channel].max(), each[channel].mean()
            axes.set_title(f"channel {channel}\nmax {largest:.2f}  avg {mean:.2f}", fontsize=8)
        size = "×".join(map(str, each.shape))
        row[0].set_ylabel(f"C{stage}\n{size}", fontsize=10)
    return figure


def _draw_places(axes: Axes, picture: Any, shape: tuple[int, int]) -> None:
    """The picture under the grid of a stage's places."""
    pixels = np.asarray(picture)
    axes.imshow(pixels, extent=(0, pixels.shape[1], pixels.shape[0], 0))
    look = {"color": "black", "linewidth": 0.35, "alpha": 0.55}
    for y in np.linspace(0, pixels.shape[0], shape[0] + 1):
        axes.axhline(y, **look)
    for x in np.linspace(0, pixels.shape[1], shape[1] + 1):
        axes.axvline(x, **look)
    bare(axes)


def _draw_map(axes: Axes, picture: Any, activation: Tensor) -> None:
    """The picture in grey, the map over it, and a box round the cell that max pooling takes."""
    grey = np.asarray(picture, dtype=float)[..., :3].mean(axis=2)
    side = (0, grey.shape[1], grey.shape[0], 0)  # left, right, bottom, top in pixels
    axes.imshow(grey, cmap="gray", vmin=-120, vmax=255, extent=side)
    strength = activation.numpy()
    low, high = float(strength.min()), float(strength.max())
    scaled = (strength - low) / (high - low or 1.0)
    axes.imshow(
        np.ones_like(scaled), cmap="autumn", vmin=0, vmax=1.6, alpha=0.9 * scaled**1.5, extent=side
    )
    height, width = grey.shape[0] / strength.shape[0], grey.shape[1] / strength.shape[1]
    x, y = argmax_places(activation[None])[0].tolist()
    width, height = max(width, 7), max(height, 7)  # a cell of C1 would be too small to see
    corner = (x * grey.shape[1] - width / 2, y * grey.shape[0] - height / 2)
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=BLUE, linewidth=2.2))
    bare(axes)


@styled
def plot_argmax_places(
    picture: Any, maps: Sequence[Tensor], boxes: Sequence[Sequence[float]] = ()
) -> Picture:
    """Where on the picture the maxima of all channels lie, one panel a stage.

    Channels that see nothing (0 everywhere after the ReLU) are left out.

    `maps`: C1…C4 of this picture, each `(channels, height, width)`.
    `boxes`: things of the picture as left, top, right, bottom in pixels.
    """
    figure = Picture(figsize=(11, 3.2), layout="constrained")
    pixels = np.asarray(picture)
    for stage, (axes, each) in enumerate(
        zip(figure.subplots(1, len(maps)), maps, strict=True), start=1
    ):
        axes.imshow(pixels, alpha=0.45)
        for left, top, right, bottom in boxes:
            axes.add_patch(
                Rectangle(
                    (left, top),
                    right - left,
                    bottom - top,
                    fill=False,
                    linestyle="--",
                    edgecolor="black",
                    linewidth=0.9,
                )
            )
        scale = torch.tensor([pixels.shape[1], pixels.shape[0]])
        alive = each[each.flatten(1).amax(1) > 0]  # a channel that is 0 everywhere has no place
        places, times = torch.unique(argmax_places(alive) * scale, dim=0, return_counts=True)
        axes.scatter(
            *places.T, s=14 * times, color=VERMILION, edgecolor="white", linewidth=0.6, alpha=0.85
        )
        axes.set_title(f"C{stage}: {len(alive)} channels, {len(places)} places")
        bare(axes)
    return figure


@styled
def plot_removal(before: Any, after: Any, moved: Mapping[str, Sequence[float]]) -> Picture:
    """A picture, the same with one thing less, and how many channels notice.

    `moved`: pool -> for C1…C4 the share of channels that moved by more than one s.d.
    """
    figure, (left, middle, right) = panels(10.5, 3.0, 1, 3, width_ratios=(1, 1, 1.7))
    for axes, picture, title in ((left, before, "with"), (middle, after, "without")):
        axes.imshow(picture)
        axes.set_title(title)
        bare(axes)
    draw_bars(right, [f"C{stage}" for stage in range(1, 5)], moved)
    right.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    right.set_title("Channels whose pool moves by more than one s.d.", fontsize=10)
    return figure


@styled
def plot_histories(histories: Mapping[str, pd.DataFrame], plateau: float) -> Picture:
    """Validation rsum and training loss of several runs on common axes.

    Epochs on all negatives are left out of the loss: its sum is another one there.

    Args:
        histories: Name -> history with `loss`, `rsum` and `negatives`, one row for each epoch.
        plateau: Loss of a model that maps everything to one point (`xmr_lib.losses.plateau`).
    """
    figure, (recall, loss) = panels(10, 3.2, 1, 2)
    epochs = np.arange(1, max(map(len, histories.values())) + 1)
    hard = {n: h["loss"].where(h["negatives"] == "hardest") for n, h in histories.items()}
    draw_lines(recall, epochs, {name: each["rsum"] for name, each in histories.items()})
    draw_lines(loss, epochs, hard, legend=False)
    loss.axhline(plateau, color=GREY, linestyle=":", linewidth=1.4)
    look = {"transform": loss.get_yaxis_transform(), "ha": "right", "va": "bottom", "color": GREY}
    look |= {"fontsize": 8}
    loss.text(1, plateau, "2·B·margin: all collapsed ", **look)
    recall.set(title="Validation rsum")
    loss.set(title="Training loss (hardest negatives)", xlim=recall.get_xlim())
    whole_numbers(recall, loss)
    return figure


# --- eq. 2 ----------------------------------------------------------------------------------------


def _rich_image_features(maps: Maps) -> Tensor:
    """`function(maps) -> I_fea`, RFE eq. 2 from the maps themselves.

    The maps C1…C4 are `(n, channels_i, height_i, width_i)` each; `I_fea` is
    `(n, channels_1 + … + channels_4 + channels_4)`.
    """
    return image.rich_image_features(pool_stages(maps), [m.shape[1] for m in maps])


def _largest(maps: Maps) -> list[Tensor]:
    return [m.amax((2, 3)) for m in maps]


def _average(maps: Maps) -> list[Tensor]:
    return [m.mean((2, 3)) for m in maps]


def _joined(maps: Maps) -> Tensor:
    return torch.cat([*_largest(maps), _average(maps)[3]], dim=1)


def _cases() -> list[Case]:
    generator = torch.Generator().manual_seed(3)
    cases = []
    for title, n, channels, sizes in (
        ("two images", 2, (2, 3, 4, 5), (8, 4, 2, 2)),
        ("one channel in each stage", 1, (1, 1, 1, 1), (2, 2, 2, 2)),
        ("three images", 3, (4, 2, 3, 2), (6, 5, 4, 3)),
    ):
        maps = tuple(
            torch.randn(n, c, h, h + 1, generator=generator) * 10.0 ** (2 - stage)
            for stage, (c, h) in enumerate(zip(channels, sizes, strict=True))
        )
        cases.append((title, (maps,)))
    return cases


check_rich_image_features = Check(
    _rich_image_features,
    _cases(),
    [
        _joined,
        "The vectors are not normalised: eq. 2 divides the joined vector by its length.",
        lambda maps: torch.cat([l2norm(x) for x in (*_largest(maps), _average(maps)[3])], dim=1),
        "Each part has length one, so the whole has √5: eq. 2 joins first and normalises once.",
        lambda maps: l2norm(torch.cat(_largest(maps), dim=1)),
        "Average-pooled C4 is missing: it is the last part of eq. 2.",
        lambda maps: l2norm(torch.cat([_average(maps)[3], *_largest(maps)], dim=1)),
        "Average-pooled C4 comes last in eq. 2; here it comes first.",
        lambda maps: l2norm(torch.cat([*_average(maps), _average(maps)[3]], dim=1)),
        "C1…C4 are average-pooled here; eq. 2 takes their maximum (and C4's average besides).",
        lambda maps: l2norm(torch.cat([*_average(maps), _largest(maps)[3]], dim=1)),
        "Max and average are swapped: eq. 2 has the maximum of all stages, the average of C4.",
        lambda maps: l2norm(torch.cat([*_largest(maps), _largest(maps)[3]], dim=1)),
        "C4's maximum stands there twice; the last part of eq. 2 is C4's average.",
        lambda maps: _joined(maps) / _joined(maps).abs().sum(1, keepdim=True),
        "This divides by the sum of absolute values (L1); Norm_L2 is the Euclidean length.",
        lambda maps: l2norm(_joined(maps), dim=0),
        "The sums run over the images of the batch: normalise each row (dim=1), not columns.",
        lambda maps: _joined(maps) / _joined(maps).norm(),
        "The whole batch is divided by one number: each image needs its own length (dim=1).",
    ],
    "Take one image with one channel in each stage: write down five numbers and their length.",
)
