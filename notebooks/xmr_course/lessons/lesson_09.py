"""Lesson 09: regions and self-attention. One vector from many parts (SMFEA eqs. 1 to 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from xmr_course.lessons.checking import Case, Check
from xmr_course.lessons.drawing import draw_arrow, draw_lines, legend_outside, panels, styled
from xmr_course.lessons.drawing import plot_bars as plot_bars
from xmr_course.lessons.drawing import plot_shares_by_size as plot_shares_by_size
from xmr_course.lessons.region_drawing import plot_region_kinds as plot_region_kinds
from xmr_course.lessons.region_drawing import plot_word_attention as plot_word_attention
from xmr_lib.figures import BLACK, BLUE, GREY, VERMILION, Picture

_NEVER = float("-inf")


@styled
def plot_plane(
    cases: Mapping[str, ArrayLike], weights: Mapping[str, ArrayLike], names: Sequence[str]
) -> Picture:
    """Regions with two features each as arrows, their mean, and what attention makes of them.

    `cases`: title -> regions `(n_regions, 2)`.
    `weights`: title -> attention `(n_regions,)`; the arrows are as thick.
    """
    size = 4 * len(cases), 4.1
    figure, grid = panels(*size, 1, len(cases), squeeze=False, sharex=True, sharey=True)
    for axes, (title, regions) in zip(grid[0], cases.items(), strict=True):
        regions, each = np.asarray(regions), np.asarray(weights[title])
        for name, end, weight in zip(names, regions, each, strict=True):
            draw_arrow(axes, np.zeros(2), end, GREY, 0.8 + 5 * weight)
            at = end * 1.02 + [0.06, 0.06]
            axes.annotate(f"{name}  {weight:.2f}", end, xytext=at, fontsize=9, parse_math=False)
        for point, marker, colour, label in (
            (regions.mean(0), "o", BLUE, "mean V̄: the query (eq. 1)"),
            (each @ regions, "*", VERMILION, "attended $V^D$ (eq. 3)"),
        ):
            axes.plot(*point, marker, color=colour, markersize=12, label=label, linestyle="")
        axes.set(title=title, xlabel="first feature", aspect="equal")
    grid[0, 0].set_ylabel("second feature")
    every = np.concatenate([np.asarray(regions) for regions in cases.values()])
    low, high = np.minimum(every.min(0), 0) - 0.4, every.max(0) + 0.8
    grid[0, 0].set(xlim=(low[0], high[0] + 0.4), ylim=(low[1], high[1]))
    legend_outside(figure, grid[0, 0])
    return figure


@styled
def plot_temperature(
    scales: ArrayLike,
    weights: ArrayLike,
    names: Sequence[str],
    effective: ArrayLike,
    gradients: ArrayLike,
    marks: Mapping[str, float],
) -> Picture:
    """What the size of the products does to attention.

    Left: weights of one image's regions. Middle: how many regions count, over many images (median,
    and the middle half). Right: gradient that comes back through the softmax.

    Args:
        scales: What the products are multiplied by, `(n_scales,)`.
        weights: Of one image, `(n_scales, n_regions)`.
        names: Of its regions.
        effective: Effective number of regions, `(n_scales, n_images)`.
        gradients: Length of the gradient at the products, `(n_scales,)`.
        marks: Name -> a scale worth a line.
    """
    figure, (left, middle, right) = panels(12, 3.7, 1, 3)
    draw_lines(left, scales, dict(zip(names, np.asarray(weights).T, strict=True)), markers=False)
    left.legend(fontsize=8, loc=(0.44, 0.42), frameon=True, framealpha=1)
    left.set(title="one image", ylabel="weight", ylim=(-0.03, 1.03))
    many = pd.DataFrame(np.asarray(effective), index=np.asarray(scales)).melt(ignore_index=False)
    sns.lineplot(
        x=many.index,
        y=many["value"],
        estimator="median",
        errorbar=("pi", 50),
        color=BLUE,
        ax=middle,
    )
    middle.set(title="regions that count (test images)", ylabel="exp(entropy)")
    middle.set_ylim(bottom=0.9)
    right.plot(scales, gradients, color=VERMILION)
    right.set(title="gradient through the softmax", ylabel="length", yscale="log")
    for axes in (left, middle, right):
        axes.set(xlabel="products multiplied by", xscale="log")
        for at, line in zip(marks.values(), (":", "--"), strict=False):
            axes.axvline(at, color=BLACK, linewidth=1, linestyle=line)
    for name, at in marks.items():
        look = {"transform": middle.get_xaxis_transform(), "fontsize": 9, "va": "top"}
        look |= {"rotation": 90, "ha": "right"}
        middle.text(at, 0.98, f" {name}", **look)
    return figure


# --- attention ------------------------------------------------------------------------------------


def _attention_weights(parts: Tensor, mask: Tensor) -> Tensor:
    """`function(parts, mask) -> weights` of SMFEA eqs. 1 and 2, with padding.

    `parts` `(n, n_parts, d)` are padded with garbage, `mask` `(n, n_parts)` is True on real ones.
    The weights `(n, n_parts)` are 0 on padding and add up to 1; products are not scaled.
    """
    return _softmax(_products(parts.masked_fill(~mask[..., None], 0), _mean(parts, mask)), mask)


def _mean(parts: Tensor, mask: Tensor) -> Tensor:
    return parts.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)


def _products(parts: Tensor, query: Tensor) -> Tensor:
    return (parts * query[:, None]).sum(2)


def _softmax(products: Tensor, mask: Tensor, dim: int = 1) -> Tensor:
    return products.masked_fill(~mask, _NEVER).softmax(dim)


def _by_mean(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A wrong solution with the right query: what it does with products and mask."""
    return lambda parts, mask: change(_products(parts, _mean(parts, mask)), mask)


def _weight_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(9)

    def padded(counts: Sequence[int], width: int, d: int) -> tuple:
        parts = torch.randn(len(counts), width, d, generator=generator)
        mask = torch.arange(width) < torch.tensor(counts)[:, None]
        garbage = 2 * torch.randn(parts.shape, generator=generator) + 1
        return torch.where(mask[..., None], parts, garbage), mask

    by_hand = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]), torch.ones(1, 2, dtype=torch.bool)
    return [
        ("one image, two regions", by_hand),
        ("two images, two regions each", padded([2, 2], 2, 3)),
        ("images of one, three and two regions", padded([1, 3, 2], 3, 4)),
    ]


def _weight_advice(arguments: tuple, ours: Tensor, right: Tensor) -> str:
    if ours.isnan().any():
        return (
            "Every product became -inf: the mask is True on real regions; fill where it is False."
        )
    return "Take one image of two regions, and write the mean and both products down by hand."


_NO_MASK = "The mask is not used in the softmax: padding takes a share. Fill it with -inf before."
_WRONG_AXIS = "The softmax runs over the images of the batch (dim=0), not over each one's regions."
_MEAN_OF_PADDING = "Padding is part of the mean: leave it out of the sum, and out of the count."
check_attention_weights = Check(
    _attention_weights,
    _weight_cases(),
    [
        _by_mean(lambda p, m: p.softmax(0)),
        _WRONG_AXIS,
        _by_mean(lambda p, m: (p * m).softmax(0)),
        _WRONG_AXIS,
        _by_mean(lambda p, m: _softmax(p, m, 0).nan_to_num(0)),
        _WRONG_AXIS,
        lambda x, m: _products(x, x.mean(1)).softmax(1),
        "The mask is not used at all: padding is part of the mean and takes a share of "
        "the weights.",
        _by_mean(lambda p, m: p.softmax(1)),
        _NO_MASK,
        lambda x, m: _softmax(_products(x, x.mean(1)), m),
        _MEAN_OF_PADDING,
        lambda x, m: _softmax(_products(x, _mean(x, m) * m.sum(1, True) / m.shape[1]), m),
        "The sum is right, but divided by the width of the batch: divide by the number of an "
        "image's own regions.",
        lambda x, m: _softmax(_products(x, _mean(x, m) * m.sum(1, True)), m),
        "The query is the sum of the regions; eq. 1 divides by their number.",
        _by_mean(lambda p, m: p.softmax(1) * m),
        "Padding is set to 0 after the softmax, so the rest no longer adds up to one: fill the "
        "products with -inf before it.",
        _by_mean(lambda p, m: (p * m).softmax(1)),
        "exp(0) is 1, not 0: products of padding must become -inf to take no weight.",
        lambda x, m: _softmax(_products(x, _mean(x, m)) / x.shape[2] ** 0.5, m),
        "The products are divided by √d, as in the work that the paper follows; eq. 2 as printed "
        "is not scaled.",
        lambda x, m: _softmax(_products(x, x.masked_fill(~m[..., None], _NEVER).amax(1)), m),
        "The query is the maximum of the regions; eq. 1 takes their mean.",
        _by_mean(lambda p, m: p.masked_fill(~m, 0)),
        "These are the products; a softmax makes weights of them.",
        lambda x, m: m / m.sum(1, keepdim=True),
        "All weights are equal: the products with the mean are missing.",
    ],
    _weight_advice,
    traps=[
        (
            "padding that holds nan",
            (
                torch.tensor([[[1.0, 0.0], [0.0, 1.0], [torch.nan, torch.inf]]]),
                torch.tensor([[True, True, False]]),
            ),
            "0 · nan is nan: do not multiply by the mask, fill with `masked_fill(~mask[…, None], "
            "0)` before you add up or multiply.",
        )
    ],
)

# --- effective number of parts --------------------------------------------------------------------


def _effective_parts(weights: Tensor) -> Tensor:
    """`function(weights) -> numbers`: how many parts attention really uses.

    `weights` are `(n, n_parts)`, zero on padding; the result is `exp(-Σ α ln α)`, `(n,)`.
    """
    return torch.special.entr(weights).sum(1).exp()


_EVEN = torch.full((1, 4), 0.25)
_RANDOM = torch.randn(2, 3, generator=torch.Generator().manual_seed(2)).softmax(1)
check_effective_parts = Check(
    _effective_parts,
    [("four equal weights", (_EVEN,)), ("two images, three regions", (_RANDOM,))],
    [
        lambda w: torch.special.entr(w).sum(1),
        "This is the entropy; take `exp` of it.",
        lambda w: -torch.special.entr(w).sum(1),
        "The minus of -Σ α ln α and the `exp` are missing.",
        lambda w: 1 / _effective_parts(w),
        "The minus of -Σ α ln α is missing.",
        lambda w: (torch.special.entr(w).sum(1) / torch.tensor(2.0).log()).exp(),
        "The logarithm has base 2 and the exponential base e: take `log` for `exp`, or 2 ** …",
        lambda w: torch.special.entr(w).mean(1).exp(),
        "This is a mean over the parts; the entropy is a sum.",
        lambda w: 1 / w.square().sum(1),
        "1 / Σ α² counts parts, too, in another way (it is the Rényi entropy of order 2); here we "
        "want exp(-Σ α ln α).",
        lambda w: torch.special.entr(w).sum().exp().expand(len(w)),
        "The sum runs over all images; take it for each (dim=1).",
    ],
    "Equal weights of 1/4 on four parts must give 4: write Σ α ln α down for them by hand.",
    traps=[
        (
            "a weight of exactly 0",
            (torch.tensor([[0.5, 0.5, 0.0]]),),
            "0 · ln 0 is nan for a computer and 0 for us: `torch.special.entr(weights)` knows, or "
            "`clamp` what goes into the logarithm.",
        )
    ],
)
