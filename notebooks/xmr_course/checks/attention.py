"""Checks of notebook 08: attention with masks, cosines by the Gram matrix, pooling with padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from xmr_course.checks import CheckFailed, call, fail, passed, same
from xmr_course.checks.mistakes import Case, Mistake, explain

_NEVER = float("-inf")


def attention_weights(function: Callable) -> None:
    """Checks `function(products, regions, words, smooth) -> weights`, SCAN's attention t-i.

    `products` `(n, n_regions, n_words)` holds the products of `n` padded pairs, `regions`
    `(n, n_regions)` and `words` `(n, n_words)` are True on what is real. Every real word's weights
    `(n, n_regions, n_words)` add up to one over the real regions; columns of words that are
    padding may hold anything.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    _compare(
        "attention_weights", function, _weight_cases(), _weights, _WEIGHT_MISTAKES, _real_words
    )
    passed("attention_weights", len(_weight_cases()))


def attended_cosines(function: Callable) -> None:
    """Checks `function(weights, products, region_gram, word_gram) -> cosines` of one pair.

    `weights` and `products` are `(n_regions, n_words)`, the Gram matrices `(n_regions, n_regions)`
    and `(n_words, n_words)`; the result is the cosine of every word with its attended vector,
    `(n_words,)`, and 0 where that vector is zero.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name, cases = "attended_cosines", _cosine_cases()
    _compare(name, function, cases, _cosines, _COSINE_MISTAKES)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    result = call(name, function, torch.tensor([[0.5], [0.5]]), *_three_products(*opposite))
    if not same(result, torch.zeros(1)):
        fail(
            name,
            "two opposite regions with equal weights: the attended vector is zero, its cosine "
            f"should count as 0, not {torch.as_tensor(result).flatten().tolist()}.",
            "0 / 0 is nan: keep the denominator from falling below 1e-8 (`clamp(min=1e-8)`).",
        )
    passed(name, len(cases) + 1)


def log_sum_exp(function: Callable) -> None:
    """Checks `function(cosines, words, sharpness) -> scores`, SCAN's LSE pooling.

    `cosines` `(n, n_words)` are padded, `words` `(n, n_words)` is True on real words, `sharpness`
    is λ2; the result is `(n,)`.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name, cases = "log_sum_exp", _pool_cases()
    _compare(name, function, cases, _pool, _POOL_MISTAKES)
    cosines, words = torch.tensor([[0.9, 0.5, 0.0]]), torch.tensor([[True, True, False]])
    result = call(name, function, cosines, words, 200.0)
    if not same(result, torch.tensor([0.9])):
        fail(
            name,
            f"λ2 = 200 gives {torch.as_tensor(result).flatten().tolist()} and should give 0.9.",
            "exp(180) is too large for float32: take the maximum out of the sum first, or let "
            "`torch.logsumexp` do it.",
        )
    passed(name, len(cases) + 1)


def _compare(
    name: str,
    function: Callable,
    cases: Sequence[Case],
    reference: Callable[..., Tensor],
    mistakes: Sequence[Mistake],
    counts: Callable[..., Tensor] | None = None,
) -> None:
    """Holds a function against the right one on all cases.

    Args:
        name: Of the exercise.
        function: The student's.
        cases: What it is tried on; it gets copies.
        reference: The right solution.
        mistakes: Wrong ones.
        counts: Takes the arguments and returns True where a result counts; None: everywhere.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    results: list[Tensor] = []
    wrong: tuple[str, Tensor, Tensor] | None = None
    for title, arguments in cases:
        given = [x.clone() if isinstance(x, Tensor) else x for x in arguments]
        right = reference(*arguments)
        try:
            result = _tensor(name, call(name, function, *given))
        except CheckFailed:
            if wrong is None:
                raise
            break  # a wrong number says more than the crash that follows it
        if counts is not None and result.shape == right.shape:
            real = counts(*arguments)
            result, right = result.where(real, 0.0), right.where(real, 0.0)
        results.append(result)
        if wrong is None and not same(result, right):
            wrong = title, result, right
    if wrong is None:
        return
    title, ours, right = wrong
    masked = [(_masked(mistake, counts), hint) for mistake, hint in mistakes]
    hint = explain(results, cases[: len(results)], masked)
    if ours.shape != right.shape:
        shapes = f"the shape is {tuple(ours.shape)} and should be {tuple(right.shape)}."
        fail(name, f"{title}: {shapes}", hint)
    place = int((ours.double() - right.double()).abs().nan_to_num(torch.inf).argmax())
    fail(
        name,
        f"{title}: {_place(right, place)} is {ours.flatten()[place]:.4g} and should be "
        f"{right.flatten()[place]:.4g}.",
        hint or "Take a pair of two regions and two words, and write every step down by hand.",
    )


def _masked(mistake: Callable, counts: Callable | None) -> Callable[..., Tensor]:
    """A wrong solution, zero where nothing counts."""

    def wrong(*arguments: Any) -> Tensor:
        result = mistake(*arguments)
        return result if counts is None else result.where(counts(*arguments), 0.0)

    return wrong


def _tensor(name: str, result: Any) -> Tensor:
    try:
        return torch.as_tensor(result).detach().float()
    except (TypeError, ValueError, RuntimeError):
        fail(name, f"returned {type(result).__name__}.", "Return one tensor.")


def _place(values: Tensor, at: int) -> str:
    """Position of a number in a tensor, as Python writes it."""
    if values.ndim == 1:
        return f"number [{at}]"
    index = torch.unravel_index(torch.tensor(at), values.shape)
    return f"number {[int(i) for i in index]}"


def _filled(n: int, longest: int, lengths: Sequence[int]) -> Tensor:
    """True on the first `lengths[i]` places of row i, `(n, longest)`."""
    return torch.arange(longest) < torch.tensor(lengths)[:, None].expand(n, 1)


# --- attention ------------------------------------------------------------------------------------


def _weight_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(8)

    def padded(regions: Sequence[int], words: Sequence[int], smooth: float) -> tuple:
        shape = len(regions), max(regions), max(words)
        products = torch.rand(*shape, generator=generator) * 1.6 - 0.8
        return (
            products,
            _filled(len(regions), max(regions), regions),
            _filled(len(words), max(words), words),
            smooth,
        )

    by_hand = torch.tensor([[[0.6, 0.8], [0.8, -0.6]]])
    everything = torch.ones(1, 2, dtype=torch.bool)
    return [
        ("two regions, two words", (by_hand, everything, everything, 9.0)),
        ("three regions, four words", padded([3], [4], 4.0)),
        ("regions are padded", padded([3, 5, 2], [4, 4, 4], 9.0)),
        ("words are padded", padded([3, 3], [2, 6], 9.0)),
        ("both are padded", padded([4, 2, 5], [3, 7, 1], 9.0)),
    ]


def _real_words(products: Tensor, regions: Tensor, words: Tensor, smooth: float) -> Tensor:
    return words[:, None, :]


def _even(products: Tensor, words: Tensor, slope: float = 0.1, root: float = 0.5) -> Tensor:
    """Leaky ReLU and norm over a caption's real words."""
    clipped = leaky_relu(products, slope).masked_fill(~words[:, None, :], 0)
    return clipped / clipped.square().sum(2, keepdim=True).pow(root).clamp(min=1e-8)


def _shared(even: Tensor, regions: Tensor, smooth: float) -> Tensor:
    """Softmax over an image's real regions."""
    return (smooth * even).masked_fill(~regions[:, :, None], _NEVER).softmax(1)


def _weights(products: Tensor, regions: Tensor, words: Tensor, smooth: float) -> Tensor:
    return _shared(_even(products, words), regions, smooth)


def _all(mask: Tensor) -> Tensor:
    return torch.ones_like(mask)


def _over_regions(products: Tensor, regions: Tensor) -> Tensor:
    return _even(products.transpose(1, 2), regions).transpose(1, 2)


def _norm_then_clip(products: Tensor, words: Tensor) -> Tensor:
    return leaky_relu(_even(products, words, slope=1.0), 0.1)


_WEIGHT_MISTAKES: list[Mistake] = [
    (lambda p, r, w, s: (s * _even(p, w)).masked_fill(~w[:, None, :], _NEVER).softmax(2),
     "The softmax runs over the words: a word shares its attention among the regions (dim=1)."),
    (lambda p, r, w, s: (s * _even(p, w)).softmax(2),
     "The softmax runs over the words: a word shares its attention among the regions (dim=1)."),
    (lambda p, r, w, s: _shared(_over_regions(p, r), r, s),
     "The norm runs over the regions: SCAN evens a region out over the words (dim=2)."),
    (lambda p, r, w, s: _shared(_over_regions(p, _all(r)), r, s),
     "The norm runs over the regions: SCAN evens a region out over the words (dim=2)."),
    (lambda p, r, w, s: _shared(_even(p, _all(w)), _all(r), s),
     "Neither mask is used: regions that are padding take attention, words that are padding "
     "count in the norm."),
    (lambda p, r, w, s: _shared(_even(p, w), _all(r), s),
     "Regions that are padding take a share of the attention: fill their logits with -inf "
     "before the softmax."),
    (lambda p, r, w, s: (s * _even(p, w)).masked_fill(~r[:, :, None], 0).softmax(1),
     "exp(0) is 1, not 0: logits of padding must become -inf to take no attention."),
    (lambda p, r, w, s: _shared(_even(p, w), _all(r), s).masked_fill(~r[:, :, None], 0),
     "Padding is set to zero after the softmax, so the rest no longer adds up to one: fill the "
     "logits with -inf before it."),
    (lambda p, r, w, s: _shared(_even(p, _all(w)), r, s),
     "Words that are padding count in the norm: set their products to 0 before you take it."),
    (lambda p, r, w, s: _shared(_even(p, w), r, 1.0),
     "λ1 is missing: multiply by `smooth` before the softmax."),
    (lambda p, r, w, s: _shared(_even(p, w), r, 1 / s),
     "λ1 is an inverse temperature: multiply by `smooth`, do not divide by it."),
    (lambda p, r, w, s: _shared(_even(p, w, slope=1.0), r, s),
     "The leaky ReLU is missing: negative products are multiplied by 0.1 first."),
    (lambda p, r, w, s: _shared(_even(p, w, slope=0.0), r, s),
     "This is the plain ReLU of SCAN's paper; its code, and the kit, let a tenth of a negative "
     "product through (`leaky_relu(products, 0.1)`)."),
    (lambda p, r, w, s: _shared(_even(p, w, slope=0.01), r, s),
     "The slope of the leaky ReLU is 0.1 here; PyTorch's own default is 0.01."),
    (lambda p, r, w, s: _shared(_norm_then_clip(p, w), r, s),
     "The order: first the leaky ReLU, then the norm."),
    (lambda p, r, w, s: _shared(leaky_relu(p, 0.1), r, s),
     "The norm over the words is missing: a region that resembles every word should not win "
     "every word."),
    (lambda p, r, w, s: _shared(_even(p, w, root=1.0), r, s),
     "The square root is missing: divide by the length, not by the sum of squares."),
    (lambda p, r, w, s: _shared(torch.nn.functional.normalize(
        leaky_relu(p, 0.1).masked_fill(~w[:, None, :], 0), p=1.0, dim=2), r, s),
     "This divides by the sum of absolute values (L1); SCAN takes the Euclidean length."),
]  # fmt: skip


# --- attended cosines -----------------------------------------------------------------------------


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


def _cosines(weights: Tensor, products: Tensor, regions: Tensor, words: Tensor) -> Tensor:
    attended = (weights * (regions @ weights)).sum(0).clamp(min=0).sqrt()
    return (weights * products).sum(0) / (words.diagonal().sqrt() * attended).clamp(min=1e-8)


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


_COSINE_MISTAKES: list[Mistake] = [
    (_made(lambda along, v, w: along / (v * w.sqrt())),
     "The square root is missing: aᵀGa is the *squared* length of the attended vector."),
    (_made(lambda along, v, w: along / (v * w)),
     "Both square roots are missing: aᵀGa and the diagonal of the words' Gram matrix are "
     "squared lengths."),
    (_made(lambda along, v, w: along / (v.sqrt() * w)),
     "The diagonal of the words' Gram matrix holds *squared* lengths: take its square root."),
    (_made(lambda along, v, w: along / v.sqrt()),
     "The word's own length is missing; you find it on the diagonal of `word_gram`."),
    (_made(lambda along, v, w: along / w.sqrt()),
     "The attended vector's length is missing: a mean of unit vectors is shorter than one."),
    (_made(lambda along, v, w: along),
     "This is the product with the attended vector; divide by both lengths."),
    (_wrong_gram,
     "The Gram matrix of the wrong side: the attended vector is a mixture of *regions*, so its "
     "length takes `region_gram`."),
    (_other_side,
     "This is the direction i-t, regions that look at words; here words look at regions."),
    (lambda a, p, g, h: (a * p).sum(0) / (h.diagonal() * (a.square().T @ g.diagonal())).sqrt(),
     "Only the diagonal of the Gram matrix is used: regions that resemble each other make a "
     "longer mixture, so the products of different regions count, too."),
    (lambda a, p, g, h: p.sum(0) / (h.diagonal() * (a * (g @ a)).sum(0)).sqrt(),
     "The weights are missing above the line: w·v = Σ aₖ (w·vₖ)."),
]  # fmt: skip


# --- pooling --------------------------------------------------------------------------------------


def _pool_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(10)

    def padded(lengths: Sequence[int], sharpness: float) -> tuple:
        cosines = torch.rand(len(lengths), max(lengths), generator=generator) * 1.4 - 0.5
        return cosines, _filled(len(lengths), max(lengths), lengths), sharpness

    by_hand = torch.tensor([[0.2, 0.6]]), torch.ones(1, 2, dtype=torch.bool), 6.0
    return [
        ("two words", by_hand),
        ("no padding", padded([4, 4, 4], 5.0)),
        ("captions of different lengths", padded([3, 6, 1, 2], 6.0)),
        ("λ2 = 20", padded([2, 5], 20.0)),
    ]


def _pool(cosines: Tensor, words: Tensor, sharpness: float) -> Tensor:
    return (sharpness * cosines.masked_fill(~words, _NEVER)).logsumexp(1) / sharpness


_POOL_MISTAKES: list[Mistake] = [
    (lambda c, w, s: _pool(c, _all(w), s),
     "Padding is counted: each padded place adds exp(λ2 · something) to the sum. Fill it with "
     "-inf first."),
    (lambda c, w, s: _pool(c.masked_fill(~w, 0), _all(w), s),
     "exp(0) is 1, not 0: padding must become -inf before the exponential."),
    (lambda c, w, s: _pool(c, w, s) * s,
     "The division by λ2 is missing."),
    (lambda c, w, s: _pool(c, w, 1.0) / s,
     "λ2 is missing in the exponent."),
    (lambda c, w, s: _pool(c, w, 1.0),
     "λ2 is missing: log(Σ exp(λ2 r)) / λ2."),
    (lambda c, w, s: _pool(c, w, s) - w.sum(1).log() / s,
     "This is the log of the *mean*; SCAN takes the sum (longer captions may score more)."),
    (lambda c, w, s: (s * c).exp().masked_fill(~w, 0).sum(1) / s,
     "The logarithm is missing."),
    (lambda c, w, s: c.masked_fill(~w, _NEVER).amax(1),
     "This is the maximum; LSE is a soft one, in which every word has some say."),
    (lambda c, w, s: c.masked_fill(~w, 0).sum(1) / w.sum(1),
     "This is the mean (AVG), not log-sum-exp."),
    (lambda c, w, s: _pool(c, ~w, s),
     "The mask is upside down: it is True on real words."),
    (lambda c, w, s: (s * c.masked_fill(~w, _NEVER)).logsumexp(0) / s,
     "The sum runs over the pairs of the batch (dim=0) instead of each pair's words (dim=1)."),
]  # fmt: skip
