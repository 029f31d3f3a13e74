"""Lesson 02: VSE++ and the hardest negative. The triplet loss, and images that come twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from numpy.typing import ArrayLike
from torch import Tensor

from xmr_course.lessons.checking import Case, Check, call, fail, same
from xmr_course.lessons.drawing import (
    draw_image,
    draw_lines,
    panels,
    styled,
    whole_numbers,
    wrapped,
)
from xmr_course.lessons.drawing import plot_scores as plot_scores
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.images import open_image
from xmr_lib.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PALETTE, VERMILION, Picture


@styled
def plot_embedding_space(
    spaces: Mapping[str, tuple[np.ndarray, np.ndarray]],
    image_of_caption: np.ndarray,
    highlight: Collection[int] = (),
) -> Picture:
    """Images and captions of a joint space in two dimensions, every caption tied to its image.

    The plane is that of largest variance (PCA, by singular value decomposition); each panel has
    its own. Short lines mean that captions lie near their image.

    Args:
        spaces: Title -> (images `(n_images, d)`, captions `(n_captions, d)`), such as before and
            after training.
        image_of_caption: For each caption the row of its image.
        highlight: Images that get a colour of their own, with their captions.
    """
    figure = Picture(figsize=(5.2 * len(spaces), 4.6), layout="constrained")
    for axes, (title, (images, captions)) in zip(
        np.ravel(figure.subplots(1, len(spaces), squeeze=False)), spaces.items(), strict=True
    ):
        together = np.concatenate([np.asarray(images), np.asarray(captions)]).astype(float)
        together -= together.mean(axis=0)
        _, scale, directions = np.linalg.svd(together, full_matrices=False)
        flat = together @ directions[:2].T
        image_at, caption_at = flat[: len(images)], flat[len(images) :]
        shown = list(highlight)
        for image in range(len(images)):
            own = caption_at[image_of_caption == image]
            special = image in shown
            colour = PALETTE[shown.index(image) % len(PALETTE)] if special else "#9A9A9A"
            width, alpha = (1.6, 1.0) if special else (0.6, 0.55)
            for caption in own:
                ends = np.stack([image_at[image], caption])
                axes.plot(*ends.T, color=colour, linewidth=width, alpha=alpha, zorder=1 + special)
            axes.plot(*own.T, "o", color=colour, markersize=4, alpha=alpha, zorder=2 + special)
            axes.plot(
                *image_at[image],
                "s",
                color=colour,
                markersize=8,
                alpha=alpha,
                zorder=3 + special,
                markeredgecolor="white",
            )
        share = (scale[:2] ** 2).sum() / max((scale**2).sum(), np.finfo(float).tiny)
        axes.set(title=title, xticks=[], yticks=[])
        axes.set_xlabel(f"■ image  ● caption   (plane holds {share:.0%} of the variance)")
    return figure


@styled
def plot_triplets(margin: float = 0.2) -> Picture:
    """An anchor among captions (after RFE Fig. 3): all negatives push, or only the hardest one.

    Nearer is more similar. Negatives inside the dashed circle violate the margin.
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
                look = {"arrowprops": {"arrowstyle": "->", "color": VERMILION, "lw": 2}}
                axes.annotate("", place * 1.42, place, **look)
        axes.plot(0, 0, "s", color=BLUE, markersize=13, label="image (anchor)")
        axes.plot(*positive, "o", color=GREEN, markersize=11, label="its caption")
        look = {"color": VERMILION, "markersize": 10, "linestyle": "none"}
        look |= {"label": "other captions"}
        axes.plot(*negatives.T, "X", **look)
        axes.text(0, radius + 0.02, "margin", ha="center", va="bottom", color=GREY, fontsize=9)
        axes.set(title=title, xlim=(-1.15, 1.15), ylim=(-1.0, 1.05), aspect="equal")
        axes.axis("off")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


@styled
def plot_hinges(right: float, wrong: ArrayLike, margin: float, title: str | None = None) -> Picture:
    """One anchor's wrong partners by score: what lies above `right - margin` makes loss."""
    wrong = np.sort(np.asarray(wrong))[::-1]
    border = right - margin
    hinges = wrong - border
    places, above = np.arange(1, len(wrong) + 1), hinges > 0
    total, hardest = np.clip(hinges, 0, None).sum(), max(float(hinges[0]), 0.0)
    figure, axes = panels(9, 3.2)
    for kept, height, colour, label in (
        (slice(None), hinges, "#CFCFCF", None),
        (above, hinges, ORANGE, f"loss with all negatives: {total:.2f}"),
        (slice(1), [hardest], VERMILION, f"loss with the hardest: {hardest:.2f}"),
    ):
        height = np.asarray(height)[kept]
        axes.bar(places[kept], height, 0.85, bottom=border, color=colour, label=label)
    axes.axhline(right, color=GREEN, label="score of the right pair")
    axes.axhline(border, color=BLACK, linestyle="--", label="the same minus the margin")
    axes.set(xlabel="wrong partners in the batch, hardest first", ylabel="score", title=title)
    axes.legend(loc="lower left", fontsize=8)
    return figure


@styled
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
        draw_image(axes, open_image(data.image_files[image]), mark)
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
            words = wrapped(data.captions[captions[column]], 38, lines=3)
            row[1].text(0, height - 0.12, words, va="top", fontsize=9, parse_math=False)
        picture(row[2], caption, "✗", "which belongs to")
        picture(row[3], image, "✗", f"hardest picture   {scores[image, pair]:.2f}")
    return figure


@styled
def plot_plateau(histories: Mapping[str, pd.DataFrame]) -> Picture:
    """Training loss as a share of `2·B·margin`, and validation recalls, of several runs.

    Args:
        histories: Name -> one row for each epoch with `plateau`, `negatives` and `rsum`.
    """
    figure, (loss, recall) = panels(9.5, 3.3, 1, 2)
    epochs = np.arange(1, max(map(len, histories.values())) + 1)
    hard = {n: h["plateau"].where(h["negatives"] == "hardest") for n, h in histories.items()}
    draw_lines(loss, epochs, hard, legend=False)
    draw_lines(recall, epochs, {name: each["rsum"] for name, each in histories.items()})
    loss.axhline(1, color=BLACK, linestyle="--", linewidth=1.2)
    loss.set(title="Loss ÷ (2·B·margin), epochs with hardest negatives", ylim=(0, None))
    recall.set(title="Validation rsum", ylim=(0, None))
    whole_numbers(loss, recall)
    return figure


# --- the triplet loss -----------------------------------------------------------------------------


def _masked_triplet_loss(scores: Tensor, images: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """`function(scores, images, margin) -> (L_img, L_sent)`, RFE eqs. 7 and 8, repeated images.

    `scores` `(batch, batch)` has images in rows, captions in columns and pairs on the diagonal;
    `images` `(batch,)` numbers the pairs' images: where two numbers are equal, either caption is
    right for either image and must not serve as a negative. Both losses are sums over the batch,
    with the hardest negative in the batch only.
    """
    return _hardest(*_hinges(scores, margin, _same_image(images)))


def _hardest_triplet_loss(scores: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """`function(scores, margin) -> (L_img, L_sent)`, RFE eqs. 7 and 8.

    `scores` `(batch, batch)` has images in rows, captions in columns and pairs on the diagonal;
    both losses are sums over the batch, with the hardest negative in the batch only.
    """
    return _masked_triplet_loss(scores, torch.arange(len(scores)), margin)


def _same_image(images: Tensor) -> Tensor:
    return images[:, None] == images[None, :]


def _hinges(
    scores: Tensor, margin: float, right: Tensor | None = None, fill: float = float("-inf")
) -> tuple[Tensor, Tensor]:
    """All hinges before the clamp; right pairs count as if their score were `fill`."""
    right = _pairs(scores) if right is None else right
    positive = scores.diagonal()
    wrong = scores.masked_fill(right, fill)
    return margin - positive[:, None] + wrong, margin - positive[None, :] + wrong


def _pairs(scores: Tensor) -> Tensor:
    return torch.eye(len(scores), dtype=torch.bool)


def _hardest(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


def _easiest(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = (x.masked_fill(x == float("-inf"), float("inf")) for x in (rows, columns))
    return rows.amin(1).clamp(min=0).sum(), columns.amin(0).clamp(min=0).sum()


def _distance_signs(scores: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Eq. 7 with a distance where the kit has a similarity."""
    rows, columns = (2 * margin - x for x in _hinges(scores, margin, fill=float("inf")))
    return _hardest(rows, columns)


def _drops_repeated(scores: Tensor, images: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Leaves out all pairs but the first of an image."""
    first = [i for i in range(len(images)) if images[i] not in images[:i]]
    return _hardest_triplet_loss(scores[first][:, first], margin)


def _random(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, size, generator=generator) * 2 - 1


_SCORES: list[Case] = [
    ("two pairs", (torch.tensor([[0.9, 0.8], [0.1, 0.5]]), 0.2)),
    *((f"a random batch of {size}", (_random(size, seed=size), 0.2)) for size in (5, 8)),
    ("negative scores only", (_random(6, seed=0) / 4 - 0.7, 0.3)),
    ("all pairs win easily", (torch.eye(4), 0.2)),
    ("everything collapsed", (torch.ones(5, 5), 0.2)),
]
_TWICE, _THRICE = torch.tensor([4, 7, 4, 1, 9, 1]), torch.tensor([2, 2, 5, 2, 6, 8, 0])
_WITH_IMAGES: list[Case] = [
    ("no image twice", (_random(5, seed=5), torch.tensor([3, 1, 4, 15, 9]), 0.2)),
    ("two images twice", (_random(6, seed=6), _TWICE, 0.2)),
    ("negative scores only", (_random(6, seed=0) / 4 - 0.7, _TWICE, 0.3)),
    ("one image three times", (_random(7, seed=7), _THRICE, 0.2)),
    ("one image only: no negatives", (_random(3, seed=3), torch.tensor([5, 5, 5]), 0.2)),
]


def _two_losses(result: Any, *_: Any) -> Tensor:
    if not isinstance(result, tuple | list) or len(result) != 2:
        fail("must return two values.", "Keep the directions apart: `return L_img, L_sent`.")
    parts = [torch.as_tensor(part).detach() for part in result]
    if shapes := [tuple(part.shape) for part in parts if part.ndim]:
        fail(
            f"each loss must be one number, not of shape {shapes[0]}.",
            "Sum over the batch: eqs. 7 and 8 begin with a Σ.",
        )
    return torch.stack(parts)


def _leaves_scores(arguments: tuple) -> Callable[[Callable], None]:
    def examine(function: Callable) -> None:
        scores = arguments[0].clone()
        call(function, scores, *arguments[1:])
        if not torch.equal(scores, arguments[0]):
            fail(
                "changes `scores` in place.",
                "Others need them too: use `masked_fill`, not `masked_fill_` or `fill_diagonal_`.",
            )

    return examine


def _has_gradient(arguments: tuple, solution: Callable) -> Callable[[Callable], None]:
    """A loss must pull on the scores; one made of plain numbers does not."""

    def gradient(function: Callable) -> Tensor:
        scores = arguments[0].clone().requires_grad_()
        total = sum(call(function, scores * 1, *arguments[1:]))  # not a leaf: as in training
        if not isinstance(total, Tensor) or not total.requires_grad:
            fail(
                "gives the right numbers, but no gradient.",
                "Nothing can be learned from them: avoid .item(), float(), .detach() and NumPy.",
            )
        total.backward()
        return scores.grad

    def examine(function: Callable) -> None:
        if not same(gradient(function), gradient(solution)):
            fail("gives the right numbers, but a wrong gradient.", "Use torch operations only.")

    return examine


_ADVICE = "Take a batch of two pairs and write all four hinges down by hand."
_SWAPPED = "The two directions are swapped."
_MEAN = "The right mean; eqs. 7 and 8 sum over the batch."

check_hardest_triplet_loss = Check(
    _hardest_triplet_loss,
    _SCORES,
    [
        lambda s, m: _hardest_triplet_loss(s, m)[::-1],
        _SWAPPED,
        lambda s, m: [part / len(s) for part in _hardest_triplet_loss(s, m)],
        _MEAN,
        lambda s, m: _hardest(*_hinges(s, m, torch.zeros_like(s).bool())),
        "The right pair itself serves as a negative: leave the diagonal out before the maximum.",
        lambda s, m: _hardest(*_hinges(s, m, fill=0.0)),
        "With the diagonal of `scores` set to 0, that 0 beats all negative scores: fill with -inf.",
        lambda s, m: [part.clamp(min=0).sum() for part in _hinges(s, m)],
        "That is the sum over all negatives; only the hardest one of each anchor counts.",
        lambda s, m: [part.amax(1 - i).sum() for i, part in enumerate(_hinges(s, m))],
        "Hinges below 0 must become 0 (clamp), else easy pairs pay for the others.",
        lambda s, m: _easiest(*_hinges(s, m)),
        "You took the easiest negative: scores are similarities, the hardest is the largest.",
        _distance_signs,
        "Signs: `dist` of eqs. 7 and 8 behaves like a similarity, so margin - right + wrong.",
        lambda s, m: _hardest(*_hinges(s, m)[::-1]),
        "The right score must be the anchor's own: positive[:, None] for images (rows), "
        "positive[None, :] for captions (columns).",
        lambda s, m: [part.max().clamp(min=0) for part in _hinges(s, m)],
        "Each anchor has its own hardest negative; you kept the hardest of the whole batch.",
    ],
    _ADVICE,
    _two_losses,
    further=[_leaves_scores(_SCORES[1][1]), _has_gradient(_SCORES[1][1], _hardest_triplet_loss)],
)
check_masked_triplet_loss = Check(
    _masked_triplet_loss,
    _WITH_IMAGES,
    [
        lambda s, i, m: _masked_triplet_loss(s, i, m)[::-1],
        _SWAPPED,
        lambda s, i, m: [part / len(s) for part in _masked_triplet_loss(s, i, m)],
        _MEAN,
        lambda s, i, m: _hardest_triplet_loss(s, m),
        "Only the diagonal is left out: an image's other caption still serves as a negative.",
        _drops_repeated,
        "Keep all pairs as anchors; a repeated image is only no *negative* for its twin.",
        lambda s, i, m: _hardest(*_hinges(s, m, _same_image(i), 0.0)),
        "With right scores set to 0, that 0 beats all negative scores: fill with -inf.",
        lambda s, i, m: _hardest(*_hinges(s, m, _same_image(i) & ~_pairs(s))),
        "The right pair itself serves as a negative: an image is the same as itself, too.",
        lambda s, i, m: _hardest(*_hinges(s, m, ~_same_image(i) | _pairs(s))),
        "The mask is the wrong way round: your negatives are the right captions.",
    ],
    _ADVICE,
    _two_losses,
    further=[
        _leaves_scores(_WITH_IMAGES[1][1]),
        _has_gradient(_WITH_IMAGES[1][1], _masked_triplet_loss),
    ],
)
