"""Pictures that explain: those of notebooks 00 to 02, where `figures` has none of the kind.

As in `figures`, every function returns a figure and shows nothing by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from numpy.typing import ArrayLike

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.images import open_image
from xmr_lib.evaluation import Retrieval
from xmr_lib.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALETTE,
    SKY,
    VERMILION,
    Picture,
    _draw_image,
    _styled,
    _wrapped,
)
from xmr_lib.toy.scene import Scene


@_styled
def plot_captioned(data: CaptionedImages, images: Sequence[int], columns: int = 3) -> Picture:
    """Images with all their captions below, as people see a captioned data set.

    Args:
        data: Images and captions.
        images: Which ones.
        columns: Pictures side by side.
    """
    rows = -(-len(images) // columns)
    figure = Picture(figsize=(3.6 * columns, 4.2 * rows), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=(1.5, 1) * rows)
    for axes in grid.flat:
        axes.axis("off")
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        grid[2 * row, column].imshow(open_image(data.image_files[image]))
        grid[2 * row, column].set_title(f"image {image}")
        words = [_wrapped(f"{n}: {text}", 52) for n, text in enumerate(data.captions_of(image))]
        grid[2 * row + 1, column].text(
            0, 1, "\n".join(words), va="top", fontsize=8, parse_math=False,
        )  # fmt: skip
    return figure


@_styled
def plot_ground_truth(files: Sequence[Path], scenes: Sequence[Scene]) -> Picture:
    """Toy scenes with the boxes of their things and the relations between them.

    Args:
        files: Pictures.
        scenes: What is drawn in them.
    """
    figure = Picture(figsize=(3.6 * len(files), 4.2), layout="constrained")
    for axes, file, scene in zip(
        np.ravel(figure.subplots(1, len(files), squeeze=False)), files, scenes, strict=True
    ):
        axes.imshow(open_image(file))
        axes.axis("off")
        axes.set_title(f"background: {scene.background}")
        for number, thing in enumerate(scene.things):
            left, top, right, bottom = thing.box
            colour = PALETTE[number % len(PALETTE)]
            axes.add_patch(
                Rectangle(
                    (left, top), right - left, bottom - top, fill=False, color=colour, linewidth=2
                )
            )
            axes.text(
                left, top, f" {number} ", fontsize=8, color="white", va="bottom",
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 1},
            )  # fmt: skip
        things = [f"{n}: {t.size} {t.colour} {t.kind}" for n, t in enumerate(scene.things)]
        relations = [f"{r.subject} {r.name} {r.object}" for r in scene.relations]
        axes.text(
            0, -0.03, "\n".join(things + [f"→ {text}" for text in relations]), va="top", fontsize=8,
            transform=axes.transAxes,
        )  # fmt: skip
    return figure


@_styled
def plot_scores(
    scores: ArrayLike,
    image_of_caption: ArrayLike,
    marked: Mapping[str, Collection[tuple[int, int]]] | None = None,
    image_labels: Sequence[str] | None = None,
    caption_labels: Sequence[str] | None = None,
    title: str | None = None,
) -> Picture:
    """A score matrix, images in rows, captions in columns; right pairs are framed.

    Args:
        scores: `(n_images, n_captions)`.
        image_of_caption: The row of each caption's image.
        marked: Legend -> cells `(row, column)` that get a mark, at most two kinds.
        image_labels: Names of the rows.
        caption_labels: Names of the columns.
        title: Over the picture.
    """
    scores, owners = np.asarray(scores), np.asarray(image_of_caption)
    n_images, n_captions = scores.shape
    written = n_captions <= 12
    cell = 0.75 if written else 0.24
    size = (max(4.5, 2.2 + cell * n_captions), max(2.4, 1.3 + min(cell, 0.5) * n_images))
    figure = Picture(figsize=size, layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(scores, cmap="cividis", aspect="auto")
    axes.grid(False)
    figure.colorbar(drawn, ax=axes, label="score", shrink=0.9)
    for column, row in enumerate(owners):
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=VERMILION, linewidth=2.2,
                label="right pair" if column == 0 else None,
            )
        )  # fmt: skip
    if written:
        middle = (scores.min() + scores.max()) / 2
        for (row, column), value in np.ndenumerate(scores):
            shade = "white" if value < middle else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade)
    styles = zip((">", "^"), ("white", SKY), strict=True)
    for (legend, cells), (marker, colour) in zip((marked or {}).items(), styles, strict=False):
        places = np.array(sorted(cells))
        axes.plot(
            places[:, 1], places[:, 0], marker, color=colour, markeredgecolor="black",
            markersize=7, label=legend,
        )  # fmt: skip
    for axis, count, labels in (
        (axes.xaxis, n_captions, caption_labels),
        (axes.yaxis, n_images, image_labels),
    ):
        if written or labels:
            axis.set_ticks(np.arange(count), labels or [str(i) for i in range(count)])
    axes.set(xlabel="caption", ylabel="image", title=title)
    if not written or marked:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


@_styled
def plot_recalls(
    retrievals: Mapping[str, Retrieval], largest_k: int = 50, printed: Sequence[int] = (1, 5, 10)
) -> Picture:
    """Recall@K for every K, both ways.

    Args:
        retrievals: Name of a model -> its ranks; "chance" is drawn as a dashed line.
        largest_k: How far to go.
        printed: The K that papers print.
    """
    figure = Picture(figsize=(9, 3.6), layout="constrained")
    ks = np.arange(1, largest_k + 1)
    for axes, way, title in zip(
        figure.subplots(1, 2, sharey=True),
        ("i2t", "t2i"),
        ("image → text", "text → image"),
        strict=True,
    ):
        for name, retrieval in retrievals.items():
            ranks = getattr(retrieval, way)
            recalls = [100 * ranks.recall_at_k(k).mean() for k in ks]
            if name == "chance":
                axes.plot(ks, recalls, color=GREY, linestyle="--", label=name)
                continue
            (line,) = axes.plot(ks, recalls, label=name)
            dots = [recalls[k - 1] for k in printed]
            axes.plot(printed, dots, "o", color=line.get_color(), markersize=5)
        axes.set(title=title, xlabel="K", xlim=(0, largest_k), ylim=(0, 100))
        axes.set_xticks([*printed, *range(20, largest_k + 1, 10)])
    figure.axes[0].set_ylabel("recall@K, %")
    figure.axes[1].legend(loc="lower right")
    return figure


@_styled
def plot_protocols(recalls: Mapping[str, Sequence[float]], metric: str) -> Picture:
    """One model, one test set, several protocols: each part a ring, their mean a bar.

    Args:
        recalls: Protocol -> recall of each of its parts, in percent.
        metric: What is shown, for the axis.
    """
    figure = Picture(figsize=(8.5, 0.9 + 0.5 * len(recalls)), layout="constrained")
    axes = figure.subplots()
    for row, values in enumerate(recalls.values()):
        colour = PALETTE[row % len(PALETTE)]
        axes.barh(row, np.mean(values), color=colour, alpha=0.35, height=0.6)
        axes.plot(
            values, np.full(len(values), row), "o", markerfacecolor="white", color=colour,
            markeredgewidth=1.6,
        )  # fmt: skip
        axes.text(max(values), row, f"   mean {np.mean(values):.1f}", va="center", fontsize=9)
    axes.set(xlabel=metric, yticks=range(len(recalls)))
    axes.set_yticklabels(recalls)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    return figure


@_styled
def plot_bootstrap(
    drawn: Mapping[str, ArrayLike], intervals: Mapping[str, tuple[float, float]], metric: str
) -> Picture:
    """What a recall would have been on other test images, and where 95 % of it lies.

    Args:
        drawn: Title -> recalls of resampled test sets.
        intervals: Title -> lower and upper end.
        metric: What is shown, for the axis.
    """
    figure = Picture(figsize=(8.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for (title, values), colour in zip(drawn.items(), PALETTE, strict=False):
        values, (low, high) = np.round(values, 6), intervals[title]
        # Recalls come in steps of one query: bins of whole steps, else their counts go up and down.
        step = np.diff(np.unique(values)).min(initial=np.inf)
        step = step if np.isfinite(step) else 1.0
        width = step * max(1, round(np.ptp(values) / 40 / step))
        edges = np.arange(values.min() - step / 2, values.max() + width, width)
        axes.hist(
            values, edges, density=True, color=colour, alpha=0.45,
            label=f"{title}: {low:.1f} to {high:.1f}",
        )  # fmt: skip
        for end in (low, high):
            axes.axvline(end, color=colour, linestyle="--", linewidth=1.4)
    axes.set(xlabel=metric, yticks=[], title="Recall on resampled test sets, with 95 % intervals")
    axes.legend()
    return figure


@_styled
def plot_triplets(margin: float = 0.2) -> Picture:
    """An anchor among captions (after RFE Fig. 3): who pushes with all negatives, who with one.

    Nearer is more similar. Negatives inside the dashed circle violate the margin.

    Args:
        margin: `mg` of RFE eqs. 7 and 8.
    """
    positive = np.array([0.42, 0.18])
    radius = float(np.hypot(*positive)) + margin
    angles = np.deg2rad([120, 195, 238, 285, 330, 75, 158])
    lengths = np.array([0.36, 0.62, 0.55, 0.95, 0.6, 0.93, 1.02])
    negatives = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    violating = np.flatnonzero(lengths < radius)
    figure = Picture(figsize=(9.5, 4.7), layout="constrained")
    for axes, title, pushing in zip(
        figure.subplots(1, 2),
        ("all: every violating negative pushes", "hardest: only the nearest pushes"),
        (violating, [int(lengths.argmin())]),
        strict=True,
    ):
        axes.add_patch(Circle((0, 0), radius, fill=False, linestyle="--", edgecolor=GREY))
        axes.add_patch(Circle((0, 0), radius - margin, fill=False, linestyle=":", edgecolor=GREEN))
        axes.annotate(
            "", (0.06, 0.03), positive, arrowprops={"arrowstyle": "->", "color": GREEN, "lw": 2}
        )
        for number, place in enumerate(negatives):
            if number in pushing:
                axes.annotate(
                    "", place * 1.42, place,
                    arrowprops={"arrowstyle": "->", "color": VERMILION, "lw": 2},
                )  # fmt: skip
        axes.plot(0, 0, "s", color=BLUE, markersize=13, label="image (anchor)")
        axes.plot(*positive, "o", color=GREEN, markersize=11, label="its caption")
        axes.plot(
            *negatives.T, "X", color=VERMILION, markersize=10, linestyle="none",
            label="other captions",
        )  # fmt: skip
        axes.text(0, radius + 0.02, "margin", ha="center", va="bottom", color=GREY, fontsize=9)
        axes.set(title=title, xlim=(-1.15, 1.15), ylim=(-1.0, 1.05), aspect="equal")
        axes.axis("off")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


@_styled
def plot_hinges(right: float, wrong: ArrayLike, margin: float, title: str | None = None) -> Picture:
    """One anchor's wrong partners by score: what lies above `right - margin` makes loss.

    Args:
        right: Score of the right pair.
        wrong: Scores of all wrong partners in the batch.
        margin: `mg` of RFE eqs. 7 and 8.
        title: Over the picture.
    """
    wrong = np.sort(np.asarray(wrong))[::-1]
    border = right - margin
    figure = Picture(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(1, len(wrong) + 1)
    above = wrong > border
    axes.bar(places, wrong - border, bottom=border, color="#CFCFCF", width=0.85)
    axes.bar(
        places[above], (wrong - border)[above], bottom=border, color=ORANGE, width=0.85,
        label=f"loss with all negatives: {np.clip(wrong - border, 0, None).sum():.2f}",
    )  # fmt: skip
    hardest = max(float(wrong[0] - border), 0.0)
    axes.bar(
        1, hardest, bottom=border, color=VERMILION, width=0.85,
        label=f"loss with the hardest: {hardest:.2f}",
    )  # fmt: skip
    axes.axhline(right, color=GREEN, label="score of the right pair")
    axes.axhline(border, color=BLACK, linestyle="--", label="the same minus the margin")
    axes.set(xlabel="wrong partners in the batch, hardest first", ylabel="score", title=title)
    axes.legend(loc="lower left", fontsize=8)
    return figure


@_styled
def plot_hardest_negatives(
    data: CaptionedImages,
    captions: Sequence[int],
    scores: ArrayLike,
    hardest: tuple[Sequence[int], Sequence[int]],
    pairs: Sequence[int],
) -> Picture:
    """Pairs of a batch with the wrong partners that the loss compares them with, both ways.

    Args:
        data: What the batch was drawn from.
        captions: Position of each pair's caption in `data`, `(batch,)`.
        scores: `(batch, batch)`, images in rows, captions in columns.
        hardest: Column of each image's hardest caption, row of each caption's hardest image, as
            `xmr_lib.losses.hardest_negatives` returns them.
        pairs: Which pairs of the batch to draw.
    """
    scores = np.asarray(scores)
    figure = Picture(figsize=(9.5, 2.1 * len(pairs)), layout="constrained")
    grid = figure.subplots(len(pairs), 4, squeeze=False, width_ratios=(1, 1.7, 1, 1))

    def picture(axes: Axes, pair: int, mark: str, title: str) -> None:
        image = data.image_of_caption[captions[pair]]
        _draw_image(axes, open_image(data.image_files[image]), mark)
        axes.set_title(title, fontsize=9)

    for row, pair in zip(grid, pairs, strict=True):
        caption, image = int(hardest[0][pair]), int(hardest[1][pair])
        picture(row[0], pair, "✓", "the pair")
        row[1].axis("off")
        lines = (
            ("its caption ✓", pair, scores[pair, pair], GREEN),
            ("hardest caption ✗", caption, scores[pair, caption], VERMILION),
        )
        for height, (label, column, score, colour) in zip((1.0, 0.48), lines, strict=True):
            row[1].text(0, height, f"{label}   {score:.2f}", color=colour, va="top", fontsize=9)
            words = _wrapped(data.captions[captions[column]], 38, lines=3)
            row[1].text(0, height - 0.12, words, va="top", fontsize=9, parse_math=False)
        picture(row[2], caption, "✗", "which belongs to")
        picture(row[3], image, "✗", f"hardest picture   {scores[image, pair]:.2f}")
    return figure


@_styled
def plot_plateau(histories: Mapping[str, pd.DataFrame]) -> Picture:
    """Training loss as a share of `2·B·margin`, and validation recalls, of several runs.

    Args:
        histories: Name -> one row an epoch with `plateau`, `negatives` and `rsum`.
    """
    figure = Picture(figsize=(9.5, 3.3), layout="constrained")
    loss, recall = figure.subplots(1, 2)
    for (name, history), marker in zip(histories.items(), "os^D", strict=False):
        epochs = np.arange(1, len(history) + 1)
        hard = (history["negatives"] == "hardest").to_numpy()
        loss.plot(epochs[hard], history["plateau"][hard], marker=marker, label=name)
        recall.plot(epochs, history["rsum"], marker=marker, label=name)
    loss.axhline(1, color=BLACK, linestyle="--", linewidth=1.2)
    loss.set(title="Loss ÷ (2·B·margin), epochs with hardest negatives", ylim=(0, None))
    recall.set(title="Validation rsum", ylim=(0, None))
    recall.legend()
    for axes in (loss, recall):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure
