"""Lesson 08: cross-attention. Attention with masks, cosines by the Gram matrix, and pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import leaky_relu, normalize

from xmr_course.lessons.checking import Case, Check, one_tensor
from xmr_course.lessons.drawing import draw_bars, draw_lines, draw_table, panels, styled
from xmr_course.lessons.drawing import plot_bars as plot_bars
from xmr_course.lessons.region_drawing import plot_explorer as plot_explorer
from xmr_course.lessons.region_drawing import plot_regions as plot_regions
from xmr_course.lessons.region_drawing import plot_word_attention as plot_word_attention
from xmr_lib.figures import Picture

_NEVER = float("-inf")


@styled
def plot_tables(
    tables: Mapping[str, ArrayLike], regions: Sequence[str], words: Sequence[str]
) -> Picture:
    """Tables of regions by words under each other, as numbers and as colours.

    Orange is above zero and purple below; each table has its own scale.

    `tables`: title -> numbers `(n_regions, n_words)`, or one row `(n_words,)`.
    """
    shown = {title: np.atleast_2d(np.asarray(table)) for title, table in tables.items()}
    heights = [len(table) + 1.6 for table in shown.values()]
    size = 1.7 + 0.72 * len(words), 0.3 * sum(heights)
    figure, grid = panels(*size, len(shown), 1, height_ratios=heights, squeeze=False)
    for axes, (title, table) in zip(grid[:, 0], shown.items(), strict=True):
        draw_table(axes, table, regions if len(table) == len(regions) else [""], words)
        axes.set_title(title, loc="left", fontsize=10)
    return figure


@styled
def plot_lambdas(
    attention: Mapping[float, ArrayLike],
    regions: Sequence[str],
    word: str,
    pooled: Mapping[str, ArrayLike],
    sharpness: ArrayLike,
) -> Picture:
    """What λ1 does to one word's attention, and λ2 to the pooled score.

    Args:
        attention: λ1 -> weights `(n_regions,)`.
        regions: Names of the regions.
        word: Whose attention it is.
        pooled: Way of pooling -> scores for each λ2, `(n,)`, or one number.
        sharpness: The values of λ2, `(n,)`.
    """
    figure, (left, right) = panels(11, 3.6, 1, 2, width_ratios=(1.3, 1))
    draw_bars(left, regions, {f"λ1 = {smooth:g}": each for smooth, each in attention.items()})
    left.set(ylabel="weight", ylim=(0, 1.02))
    left.set_title(f"λ1: attention of “{word}”", parse_math=False)
    draw_lines(right, sharpness, pooled, markers=False)
    right.set(title="λ2: pooling the words' cosines", xlabel="λ2", ylabel="score", xscale="log")
    right.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"], minor=False)
    right.minorticks_off()
    return figure


# --- attention ------------------------------------------------------------------------------------


def _attention_weights(products: Tensor, regions: Tensor, words: Tensor, smooth: float) -> Tensor:
    """`function(products, regions, words, smooth) -> weights`, SCAN's attention t-i.

    `products` `(n, n_regions, n_words)` holds the products of `n` padded pairs, `regions`
    `(n, n_regions)` and `words` `(n, n_words)` are True on what is real. Every real word's weights
    `(n, n_regions, n_words)` add up to one over the real regions; columns of words that are
    padding may hold anything.
    """
    return _shared(_even(products, words), regions, smooth)


def _even(products: Tensor, words: Tensor, slope: float = 0.1, root: float = 0.5) -> Tensor:
    """Leaky ReLU and norm over a caption's real words."""
    clipped = leaky_relu(products, slope).masked_fill(~words[:, None, :], 0)
    return clipped / clipped.square().sum(2, keepdim=True).pow(root).clamp(min=1e-8)


def _shared(even: Tensor, regions: Tensor, smooth: float) -> Tensor:
    """Softmax over an image's real regions."""
    return (smooth * even).masked_fill(~regions[:, :, None], _NEVER).softmax(1)


def _over_regions(products: Tensor, regions: Tensor) -> Tensor:
    return _even(products.transpose(1, 2), regions).transpose(1, 2)


def _l1(products: Tensor, words: Tensor) -> Tensor:
    return normalize(leaky_relu(products, 0.1).masked_fill(~words[:, None, :], 0), p=1.0, dim=2)


def _all(mask: Tensor) -> Tensor:
    return torch.ones_like(mask)


def _filled(longest: int, lengths: Sequence[int]) -> Tensor:
    """True on the first `lengths[i]` places of row i, `(n, longest)`."""
    return torch.arange(longest) < torch.tensor(lengths)[:, None]


def _weight_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(8)

    def padded(regions: Sequence[int], words: Sequence[int], smooth: float) -> tuple:
        shape = len(regions), max(regions), max(words)
        products = torch.rand(*shape, generator=generator) * 1.6 - 0.8
        return products, _filled(max(regions), regions), _filled(max(words), words), smooth

    by_hand = torch.tensor([[[0.6, 0.8], [0.8, -0.6]]])
    everything = torch.ones(1, 2, dtype=torch.bool)
    return [
        ("two regions, two words", (by_hand, everything, everything, 9.0)),
        ("three regions, four words", padded([3], [4], 4.0)),
        ("regions are padded", padded([3, 5, 2], [4, 4, 4], 9.0)),
        ("words are padded", padded([3, 3], [2, 6], 9.0)),
        ("both are padded", padded([4, 2, 5], [3, 7, 1], 9.0)),
    ]


def _of_real_words(
    result: Any, products: Tensor, regions: Tensor, words: Tensor, _: float
) -> Tensor:
    result = one_tensor(result)
    return result.where(words[:, None, :], 0.0) if result.shape == products.shape else result


_BY_HAND = "Take a pair of two regions and two words, and write every step down by hand."
_WRONG_SOFTMAX = (
    "The softmax runs over the words: a word shares its attention among the regions (dim=1)."
)
_WRONG_NORM = "The norm runs over the regions: SCAN evens a region out over the words (dim=2)."
check_attention_weights = Check(
    _attention_weights,
    _weight_cases(),
    [
        lambda p, r, w, s: (s * _even(p, w)).masked_fill(~w[:, None, :], _NEVER).softmax(2),
        _WRONG_SOFTMAX,
        lambda p, r, w, s: (s * _even(p, w)).softmax(2),
        _WRONG_SOFTMAX,
        lambda p, r, w, s: _shared(_over_regions(p, r), r, s),
        _WRONG_NORM,
        lambda p, r, w, s: _shared(_over_regions(p, _all(r)), r, s),
        _WRONG_NORM,
        lambda p, r, w, s: _shared(_even(p, _all(w)), _all(r), s),
        "Neither mask is used: regions that are padding take attention, words that are padding "
        "count in the norm.",
        lambda p, r, w, s: _shared(_even(p, w), _all(r), s),
        "Regions that are padding take a share of the attention: fill their logits with -inf "
        "before the softmax.",
        lambda p, r, w, s: (s * _even(p, w)).masked_fill(~r[:, :, None], 0).softmax(1),
        "exp(0) is 1, not 0: logits of padding must become -inf to take no attention.",
        lambda p, r, w, s: _shared(_even(p, w), _all(r), s).masked_fill(~r[:, :, None], 0),
        "Padding is set to zero after the softmax, so the rest no longer adds up to one: fill the "
        "logits with -inf before it.",
        lambda p, r, w, s: _shared(_even(p, _all(w)), r, s),
        "Words that are padding count in the norm: set their products to 0 before you take it.",
        lambda p, r, w, s: _shared(_even(p, w), r, 1.0),
        "λ1 is missing: multiply by `smooth` before the softmax.",
        lambda p, r, w, s: _shared(_even(p, w), r, 1 / s),
        "λ1 is an inverse temperature: multiply by `smooth`, do not divide by it.",
        lambda p, r, w, s: _shared(_even(p, w, slope=1.0), r, s),
        "The leaky ReLU is missing: negative products are multiplied by 0.1 first.",
        lambda p, r, w, s: _shared(_even(p, w, slope=0.0), r, s),
        "This is the plain ReLU of SCAN's paper; its code, and the kit, let a tenth of a negative "
        "product through (`leaky_relu(products, 0.1)`).",
        lambda p, r, w, s: _shared(_even(p, w, slope=0.01), r, s),
        "The slope of the leaky ReLU is 0.1 here; PyTorch's own default is 0.01.",
        lambda p, r, w, s: _shared(leaky_relu(_even(p, w, slope=1.0), 0.1), r, s),
        "The order: first the leaky ReLU, then the norm.",
        lambda p, r, w, s: _shared(leaky_relu(p, 0.1), r, s),
        "The norm over the words is missing: a region that resembles every word should not win "
        "every word.",
        lambda p, r, w, s: _shared(_even(p, w, root=1.0), r, s),
        "The square root is missing: divide by the length, not by the sum of squares.",
        lambda p, r, w, s: _shared(_l1(p, w), r, s),
        "This divides by the sum of absolute values (L1); SCAN takes the Euclidean length.",
    ],
    _BY_HAND,
    _of_real_words,
)

# --- attended cosines -----------------------------------------------------------------------------


def _attended_cosines(
    weights: Tensor, products: Tensor, region_gram: Tensor, word_gram: Tensor
) -> Tensor:
    """`function(weights, products, region_gram, word_gram) -> cosines` of one pair.

    `weights` and `products` are `(n_regions, n_words)`, the Gram matrices `(n_regions, n_regions)`
    and `(n_words, n_words)`; the result is the cosine of every word with its attended vector,
    `(n_words,)`, and 0 where that vector is zero.
    """
    along, attended, word = _parts(weights, products, region_gram, word_gram)
    return along / (word.sqrt() * attended.clamp(min=0).sqrt()).clamp(min=1e-8)


def _parts(weights: Tensor, products: Tensor, regions: Tensor, words: Tensor) -> tuple:
    """w·v, |v|² and |w|² of every word."""
    squares = (weights * (regions @ weights)).sum(0)
    return (weights * products).sum(0), squares, words.diagonal()


def _made(change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A wrong solution: what to do with w·v, |v|² and |w|²."""
    return lambda *arguments: change(*_parts(*arguments))


def _wrong_gram(weights: Tensor, products: Tensor, regions: Tensor, words: Tensor) -> Tensor:
    """The words' Gram matrix between the weights; it fits only if there are as many regions."""
    squares = (weights * (words @ weights)).sum(0) if len(words) == len(weights) else torch.nan
    return (weights * products).sum(0) / (words.diagonal() * squares).sqrt()


def _other_side(weights: Tensor, products: Tensor, regions: Tensor, words: Tensor) -> Tensor:
    """aᵀGa with the words' Gram matrix over a region's weights, as in the direction i-t."""
    squares = (weights.T * (words @ weights.T)).sum(0)
    along = (weights * products).sum(1)
    return along / (regions.diagonal() * squares).sqrt()


def _three_products(regions: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return regions @ words.T, regions @ regions.T, words @ words.T


def _cosine_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(9)

    def pair(n_regions: int, n_words: int, unit: bool) -> tuple:
        regions, words = (torch.randn(n, 6, generator=generator) for n in (n_regions, n_words))
        if unit:
            regions, words = (x / x.norm(dim=1, keepdim=True) for x in (regions, words))
        logits = torch.randn(n_regions, n_words, generator=generator) * 2
        return logits.softmax(0), *_three_products(regions, words)

    return [
        ("four regions, four words, all of length one", pair(4, 4, True)),
        ("four regions, four words of any length", pair(4, 4, False)),
        ("five regions, three words of any length", pair(5, 3, False)),
        ("one region, two words", pair(1, 2, False)),
    ]


_OPPOSITE = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[0.6, 0.8]])
check_attended_cosines = Check(
    _attended_cosines,
    _cosine_cases(),
    [
        _made(lambda along, v, w: along / (v * w.sqrt())),
        "The square root is missing: aᵀGa is the *squared* length of the attended vector.",
        _made(lambda along, v, w: along / (v * w)),
        "Both square roots are missing: aᵀGa and the diagonal of the words' Gram matrix are "
        "squared lengths.",
        _made(lambda along, v, w: along / (v.sqrt() * w)),
        "The diagonal of the words' Gram matrix holds *squared* lengths: take its square root.",
        _made(lambda along, v, w: along / v.sqrt()),
        "The word's own length is missing; you find it on the diagonal of `word_gram`.",
        _made(lambda along, v, w: along / w.sqrt()),
        "The attended vector's length is missing: a mean of unit vectors is shorter than one.",
        _made(lambda along, v, w: along),
        "This is the product with the attended vector; divide by both lengths.",
        _wrong_gram,
        "The Gram matrix of the wrong side: the attended vector is a mixture of *regions*, so its "
        "length takes `region_gram`.",
        _other_side,
        "This is the direction i-t, regions that look at words; here words look at regions.",
        lambda a, p, g, h: (a * p).sum(0) / (h.diagonal() * (a.square().T @ g.diagonal())).sqrt(),
        "Only the diagonal of the Gram matrix is used: regions that resemble each other make a "
        "longer mixture, so the products of different regions count, too.",
        lambda a, p, g, h: p.sum(0) / (h.diagonal() * (a * (g @ a)).sum(0)).sqrt(),
        "The weights are missing above the line: w·v = Σ aₖ (w·vₖ).",
    ],
    _BY_HAND,
    traps=[
        (
            "two opposite regions with equal weights: the attended vector is zero, its cosine "
            "should count as 0",
            (torch.tensor([[0.5], [0.5]]), *_three_products(*_OPPOSITE)),
            "0 / 0 is nan: keep the denominator from falling below 1e-8 (`clamp(min=1e-8)`).",
        )
    ],
)

# --- pooling --------------------------------------------------------------------------------------


def _log_sum_exp(cosines: Tensor, words: Tensor, sharpness: float) -> Tensor:
    """`function(cosines, words, sharpness) -> scores`, SCAN's LSE pooling.

    `cosines` `(n, n_words)` are padded, `words` `(n, n_words)` is True on real words, `sharpness`
    is λ2; the result is `(n,)`.
    """
    return (sharpness * cosines.masked_fill(~words, _NEVER)).logsumexp(1) / sharpness


def _pool_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(10)

    def padded(lengths: Sequence[int], sharpness: float) -> tuple:
        cosines = torch.rand(len(lengths), max(lengths), generator=generator) * 1.4 - 0.5
        return cosines, _filled(max(lengths), lengths), sharpness

    by_hand = torch.tensor([[0.2, 0.6]]), torch.ones(1, 2, dtype=torch.bool), 6.0
    return [
        ("two words", by_hand),
        ("no padding", padded([4, 4, 4], 5.0)),
        ("captions of different lengths", padded([3, 6, 1, 2], 6.0)),
        ("λ2 = 20", padded([2, 5], 20.0)),
    ]


check_log_sum_exp = Check(
    _log_sum_exp,
    _pool_cases(),
    [
        lambda c, w, s: _log_sum_exp(c, _all(w), s),
        "Padding is counted: each padded place adds exp(λ2 · something) to the sum. Fill it with "
        "-inf first.",
        lambda c, w, s: _log_sum_exp(c.masked_fill(~w, 0), _all(w), s),
        "exp(0) is 1, not 0: padding must become -inf before the exponential.",
        lambda c, w, s: _log_sum_exp(c, w, s) * s,
        "The division by λ2 is missing.",
        lambda c, w, s: _log_sum_exp(c, w, 1.0) / s,
        "λ2 is missing in the exponent.",
        lambda c, w, s: _log_sum_exp(c, w, 1.0),
        "λ2 is missing: log(Σ exp(λ2 r)) / λ2.",
        lambda c, w, s: _log_sum_exp(c, w, s) - w.sum(1).log() / s,
        "This is the log of the *mean*; SCAN takes the sum (longer captions may score more).",
        lambda c, w, s: (s * c).exp().masked_fill(~w, 0).sum(1) / s,
        "The logarithm is missing.",
        lambda c, w, s: c.masked_fill(~w, _NEVER).amax(1),
        "This is the maximum; LSE is a soft one, in which every word has some say.",
        lambda c, w, s: c.masked_fill(~w, 0).sum(1) / w.sum(1),
        "This is the mean (AVG), not log-sum-exp.",
        lambda c, w, s: _log_sum_exp(c, ~w, s),
        "The mask is upside down: it is True on real words.",
        lambda c, w, s: (s * c.masked_fill(~w, _NEVER)).logsumexp(0) / s,
        "The sum runs over the pairs of the batch (dim=0) instead of each pair's words (dim=1).",
    ],
    "Take a caption of two words, and write both exponentials down by hand.",
    traps=[
        (
            "λ2 = 200",
            (torch.tensor([[0.9, 0.5, 0.0]]), torch.tensor([[True, True, False]]), 200.0),
            "exp(180) is too large for float32: take the maximum out of the sum first, or let "
            "`torch.logsumexp` do it.",
        )
    ],
)
