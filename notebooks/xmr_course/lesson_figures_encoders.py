"""Pictures of notebooks 03 and 04: what pooled maps see, and what words do to an embedding.

As in `xmr_lib.figures`, every function returns a figure and shows nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from xmr_lib.figures import BLUE, GREEN, GREY, PALETTE, VERMILION, Picture, style

HATCHES = ("", "///", "...", "xxx", "\\\\\\")  # tells the parts of a bar apart without colour


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


def plot_channel_maps(
    picture: Any, maps: Sequence[Tensor], channels: Sequence[Sequence[int]]
) -> Picture:
    """Some channels of each stage over the picture, with what the two pools make of them.

    On the left of each row stands the picture, cut into the stage's places.

    Args:
        picture: PIL image or array.
        maps: C1…C4 of this picture, each `(channels, height, width)`.
        channels: For each stage the channels to draw, equally many.
    """
    with mpl.rc_context(style()):
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
    _bare(axes)


def _draw_map(axes: Axes, picture: Any, activation: Tensor) -> None:
    """The picture in grey, the map over it, and a box round the cell that max pooling takes."""
    grey = np.asarray(picture, dtype=float)[..., :3].mean(axis=2)
    side = (0, grey.shape[1], grey.shape[0], 0)  # left, right, bottom, top in pixels
    axes.imshow(grey, cmap="gray", vmin=-120, vmax=255, extent=side)
    strength = activation.numpy()
    low, high = float(strength.min()), float(strength.max())
    scaled = (strength - low) / (high - low or 1.0)
    axes.imshow(
        np.ones_like(scaled), cmap="autumn", vmin=0, vmax=1.6, alpha=0.9 * scaled**1.5, extent=side,
    )  # fmt: skip
    height, width = grey.shape[0] / strength.shape[0], grey.shape[1] / strength.shape[1]
    x, y = argmax_places(activation[None])[0].tolist()
    width, height = max(width, 7), max(height, 7)  # a cell of C1 would be too small to see
    corner = (x * grey.shape[1] - width / 2, y * grey.shape[0] - height / 2)
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=BLUE, linewidth=2.2))
    _bare(axes)


def plot_argmax_places(
    picture: Any, maps: Sequence[Tensor], boxes: Sequence[Sequence[float]] = ()
) -> Picture:
    """Where on the picture the maxima of all channels lie, one panel a stage.

    Channels that see nothing (0 everywhere after the ReLU) are left out.

    Args:
        picture: PIL image or array.
        maps: C1…C4 of this picture, each `(channels, height, width)`.
        boxes: Things of the picture as left, top, right, bottom in pixels.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(11, 3.2), layout="constrained")
        pixels = np.asarray(picture)
        for stage, (axes, each) in enumerate(
            zip(figure.subplots(1, len(maps)), maps, strict=True), start=1
        ):
            axes.imshow(pixels, alpha=0.45)
            for left, top, right, bottom in boxes:
                axes.add_patch(
                    Rectangle(
                        (left, top), right - left, bottom - top, fill=False, linestyle="--",
                        edgecolor="black", linewidth=0.9,
                    )
                )  # fmt: skip
            scale = torch.tensor([pixels.shape[1], pixels.shape[0]])
            alive = each[each.flatten(1).amax(1) > 0]  # a channel that is 0 everywhere has no place
            places, times = torch.unique(argmax_places(alive) * scale, dim=0, return_counts=True)
            axes.scatter(
                *places.T, s=14 * times, color=VERMILION, edgecolor="white", linewidth=0.6,
                alpha=0.85,
            )  # fmt: skip
            axes.set_title(f"C{stage}: {len(alive)} channels, {len(places)} places")
            _bare(axes)
    return figure


def plot_removal(before: Any, after: Any, moved: Mapping[str, Sequence[float]]) -> Picture:
    """A picture, the same with one thing less, and how many channels notice.

    Args:
        before: Picture with the thing.
        after: Picture without it.
        moved: Pool -> for C1…C4 the share of channels that moved by more than one s.d.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(10.5, 3.0), layout="constrained")
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.7))
        for axes, picture, title in ((left, before, "with"), (middle, after, "without")):
            axes.imshow(picture)
            axes.set_title(title)
            _bare(axes)
        _grouped_bars(right, [f"C{stage}" for stage in range(1, 5)], moved)
        right.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
        right.set_title("Channels whose pool moves by more than one s.d.", fontsize=10)
        right.legend(fontsize=9)
    return figure


def plot_shares(
    shares: Mapping[str, Sequence[float]], parts: Sequence[str], title: str | None = None
) -> Picture:
    """Bars of length one, cut into what each part of a joined vector holds of its squared norm.

    Args:
        shares: Name of a bar -> a share for each part, summing to one.
        parts: Names of the parts.
        title: Over the whole picture.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(10, 1.2 + 0.55 * len(shares)), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(shares))[::-1]
        values = np.array([list(each) for each in shares.values()], dtype=float)
        left = np.zeros(len(rows))
        for number, part in enumerate(parts):
            width = values[:, number]
            axes.barh(
                rows, width, left=left, height=0.66, label=part, color=PALETTE[number],
                hatch=HATCHES[number % len(HATCHES)], edgecolor="white", linewidth=0.8,
            )  # fmt: skip
            for row, start, share in zip(rows, left, width, strict=True):
                if share > 0.025:
                    axes.text(
                        start + share / 2, row, f"{share:.0%}", ha="center", va="center",
                        fontsize=9,
                        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "linewidth": 0},
                    )  # fmt: skip
            left = left + width
        axes.set(yticks=rows, xlim=(0, 1), xlabel="share of the squared norm")
        axes.set_yticklabels(shares)
        axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
        axes.grid(False)
        figure.legend(loc="outside upper center", ncols=len(parts), fontsize=9)
        if title:
            figure.suptitle(title)
    return figure


def plot_cosines(cosines: Mapping[str, Any], xlabel: str) -> Picture:
    """Histograms of cosines on one axis.

    Args:
        cosines: Title -> values in [-1, 1].
        xlabel: What the values are.
    """
    with mpl.rc_context(style()):
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
                values, edges, weights=share, histtype="stepfilled", alpha=0.55, color=colour,
                edgecolor=colour, hatch=hatch, label=label,
            )  # fmt: skip
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set(xlabel=xlabel, ylabel="share of the pairs", xlim=(-1.02, 1.02))
        axes.legend(loc="upper left", fontsize=9)
    return figure


def plot_histories(histories: Mapping[str, Any], plateau: float | None = None) -> Picture:
    """Validation rsum and training loss of several runs on common axes.

    Epochs on all negatives are left out of the loss: its sum is another one there.

    Args:
        histories: Name -> history with `loss`, `rsum` and `negatives`, one row an epoch.
        plateau: Loss of a model that maps everything to one point (`xmr_lib.losses.plateau`).
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(10, 3.2), layout="constrained")
        recall, loss = figure.subplots(1, 2)
        for number, (name, history) in enumerate(histories.items()):
            look = {"color": PALETTE[number], "marker": "os^D"[number % 4], "markersize": 4.5}
            look["linestyle"] = ("-", "--", "-", "--")[number % 4]
            epochs = np.arange(1, len(history) + 1)
            hardest = (history["negatives"] == "hardest").to_numpy()
            recall.plot(epochs, history["rsum"], label=name, **look)
            loss.plot(epochs[hardest], history["loss"][hardest], label=name, **look)
        if plateau is not None:
            loss.axhline(plateau, color=GREY, linestyle=":", linewidth=1.4)
            loss.text(
                1, plateau, "2·B·margin: all collapsed ", transform=loss.get_yaxis_transform(),
                ha="right", va="bottom", color=GREY, fontsize=8,
            )  # fmt: skip
        recall.set(title="Validation rsum", xlabel="epoch")
        loss.set(title="Training loss (hardest negatives)", xlabel="epoch", xlim=recall.get_xlim())
        recall.legend(fontsize=9)
        for axes in (recall, loss):
            axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def plot_token_batch(words: Sequence[Sequence[str]], numbers: Any) -> Picture:
    """Captions of a batch as a table of words and their numbers; padding is hatched.

    Args:
        words: Words of each caption, with its start and end marks.
        numbers: Word numbers, padded, `(n, longest)`.
    """
    numbers = np.asarray(numbers)
    rows, columns = numbers.shape
    with mpl.rc_context(style()):
        figure = Picture(figsize=(0.95 * columns + 0.3, 0.62 * rows + 0.2), layout="constrained")
        axes = figure.subplots()
        axes.set(xlim=(0, columns), ylim=(rows, 0))
        axes.axis("off")
        for row in range(rows):
            for column in range(columns):
                real = column < len(words[row])
                axes.add_patch(
                    Rectangle(
                        (column + 0.04, row + 0.08), 0.92, 0.84, edgecolor=GREY, linewidth=0.8,
                        facecolor="#E8F1F8" if real else "#EEEEEE", hatch="" if real else "////",
                    )
                )  # fmt: skip
                label = words[row][column] if real else "<pad>"
                box = None if real else {"facecolor": "#EEEEEE", "linewidth": 0, "pad": 1}
                axes.text(
                    column + 0.5, row + 0.38, label, ha="center", va="center", fontsize=9,
                    color="black" if real else GREY, parse_math=False, bbox=box,
                )  # fmt: skip
                axes.text(
                    column + 0.5, row + 0.72, str(numbers[row, column]), ha="center", va="center",
                    fontsize=7.5, color=GREY, bbox=box,
                )  # fmt: skip
    return figure


def plot_states(words: Sequence[str], states: Mapping[str, Tensor], units: int = 40) -> Picture:
    """GRU states word by word, and how near each is to the state that counts in the end.

    Args:
        words: The caption's words, with its start and end marks.
        states: Direction -> states `(n_words, rnn_dim)`, in the order of the words. A direction
            called "backward" read them from the last to the first.
        units: How many of a state's numbers to draw.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(0.82 * len(words) + 1.2, 2.4 * len(states)), layout="constrained")
        grid = figure.subplots(len(states), 1, squeeze=False)[:, 0]
        strongest = max(each[:, :units].abs().quantile(0.98).item() for each in states.values())
        for axes, (direction, each) in zip(grid, states.items(), strict=True):
            backward = direction == "backward"
            final = each[0 if backward else -1]
            near = torch.nn.functional.cosine_similarity(each, final[None], dim=1)
            drawn = axes.imshow(
                each[:, :units].T.numpy(), aspect="auto", cmap="PuOr", vmin=-strongest,
                vmax=strongest, interpolation="nearest",
            )  # fmt: skip
            arrow = "←  reads this way" if backward else "reads this way  →"
            axes.set(title=f"{direction}   {arrow}", yticks=[], ylabel=f"{units} units")
            axes.set_xticks(
                range(len(words)),
                [f"{word}\n{value:.2f}" for word, value in zip(words, near.tolist(), strict=True)],
                fontsize=9,
                parse_math=False,
            )
            axes.get_xticklabels()[0 if backward else -1].set_fontweight("bold")
            axes.grid(False)
        grid[-1].set_xlabel("word, and cosine of the state there with the final state (bold)")
        figure.colorbar(drawn, ax=list(grid), shrink=0.6, extend="both", label="value of the unit")
    return figure


def plot_leave_one_out(words: Sequence[str], moved: Mapping[str, Sequence[float]]) -> Picture:
    """How far a sentence's embedding moves when a word is left out.

    Args:
        words: The sentence's words.
        moved: Model -> 1 - cosine of the embedding with and without each word.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(max(6.5, 1.05 * len(words)), 3.2), layout="constrained")
        axes = figure.subplots()
        _grouped_bars(axes, words, moved)
        axes.set(ylabel="1 − cosine", title="How far the embedding moves when a word is left out")
        axes.legend(fontsize=9)
    return figure


def plot_word_order(
    pairs: Sequence[tuple[str, str]], cosines: Mapping[str, Sequence[float]]
) -> Picture:
    """Similarity of two sentences of the same words in another order, one row a pair.

    Args:
        pairs: The sentences.
        cosines: Model -> cosine of each pair's embeddings.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(10, 1.3 + 0.52 * len(pairs)), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(pairs))[::-1]
        for number, (model, values) in enumerate(cosines.items()):
            axes.plot(
                np.asarray(values, dtype=float), rows, "so^Dv"[number % 5], color=PALETTE[number],
                markersize=9, alpha=0.9, label=model,
            )  # fmt: skip
        axes.axvline(1, color=GREY, linestyle="--", linewidth=1)
        axes.set_yticks(rows, [f"{a}\n{b}" for a, b in pairs], fontsize=9, parse_math=False)
        axes.set(
            xlabel="cosine of the two (1: cannot tell them apart)", ylim=(-0.6, len(pairs) - 0.4)
        )
        axes.margins(x=0.06)
        figure.legend(loc="outside upper center", ncols=len(cosines), fontsize=9)
    return figure


def _grouped_bars(axes: Axes, labels: Sequence[str], series: Mapping[str, Sequence[float]]) -> None:
    """One group of bars a label, one bar a series."""
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        at = np.arange(len(labels)) + (number - (len(series) - 1) / 2) * width
        axes.bar(
            at, np.asarray(values, dtype=float), width * 0.94, label=name, edgecolor="white",
            color=PALETTE[number], hatch=HATCHES[number % len(HATCHES)],
        )  # fmt: skip
    axes.set_xticks(range(len(labels)), labels, parse_math=False)
    axes.grid(axis="x", visible=False)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
