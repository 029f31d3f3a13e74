"""Checks of notebook 02: the hardest-negative triplet loss, and images that come twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xmr_course.checks import call, fail, passed, same
from xmr_course.checks.mistakes import Case, Mistake, compare


def hardest_triplet_loss(function: Callable) -> None:
    """Checks `function(scores, margin) -> (L_img, L_sent)`, RFE eqs. 7 and 8.

    `scores` `(batch, batch)` has images in rows, captions in columns and pairs on the diagonal;
    both losses are sums over the batch, with the hardest negative in the batch only.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    _check("hardest_triplet_loss", function, _score_cases(), _plain_loss, _PLAIN_MISTAKES)


def masked_triplet_loss(function: Callable) -> None:
    """Checks `function(scores, images, margin) -> (L_img, L_sent)` with repeated images.

    As `hardest_triplet_loss`, but `images` `(batch,)` numbers the pairs' images: where two numbers
    are equal, either caption is right for either image and must not serve as a negative.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    _check("masked_triplet_loss", function, _image_cases(), _masked_loss, _MASKED_MISTAKES)


def _check(
    name: str,
    function: Callable,
    cases: list[Case],
    reference: Callable,
    mistakes: list[Mistake],
) -> None:
    """Right numbers, a right gradient, and `scores` left as they were."""

    def read(result: Any) -> Tensor:
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            fail(
                name,
                "must return two values.",
                "Keep the directions apart: `return L_img, L_sent`.",
            )
        parts = [torch.as_tensor(part) for part in result]
        if shapes := [tuple(part.shape) for part in parts if part.ndim]:
            fail(
                name,
                f"each loss must be one number, not of shape {shapes[0]}.",
                "Sum over the batch: eqs. 7 and 8 begin with a Σ.",
            )
        return torch.stack([part.detach() for part in parts])

    advice = "Take a batch of two pairs and write all four hinges down by hand."
    compare(name, function, cases, reference, mistakes, read, advice)
    arguments = cases[1][1]
    scores = arguments[0].clone()
    call(name, function, scores, *arguments[1:])
    if not torch.equal(scores, arguments[0]):
        fail(
            name,
            "changes `scores` in place.",
            "Others need them too: use `masked_fill`, not `masked_fill_` or `fill_diagonal_`.",
        )
    _compare_gradients(name, function, arguments, reference)
    passed(name, len(cases) + 2)


def _compare_gradients(
    name: str, function: Callable, arguments: tuple, reference: Callable
) -> None:
    """A loss must pull on the scores; one made of plain numbers does not."""
    gradients = []
    for each in (function, reference):
        scores = arguments[0].clone().requires_grad_()
        result = call(name, each, scores * 1, *arguments[1:])  # not a leaf: as in training
        total = sum(result)
        if not isinstance(total, Tensor) or not total.requires_grad:
            fail(
                name,
                "gives the right numbers, but no gradient.",
                "Nothing can be learned from them: avoid .item(), float(), .detach() and NumPy.",
            )
        total.backward()
        gradients.append(scores.grad)
    if not same(*gradients):
        fail(name, "gives the right numbers, but a wrong gradient.", "Use torch operations only.")


def _random(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, size, generator=generator) * 2 - 1


def _score_cases() -> list[Case]:
    return [
        ("two pairs", (torch.tensor([[0.9, 0.8], [0.1, 0.5]]), 0.2)),
        *((f"a random batch of {size}", (_random(size, seed=size), 0.2)) for size in (5, 8)),
        ("negative scores only", (_random(6, seed=0) / 4 - 0.7, 0.3)),
        ("all pairs win easily", (torch.eye(4), 0.2)),
        ("everything collapsed", (torch.ones(5, 5), 0.2)),
    ]


def _image_cases() -> list[Case]:
    twice, thrice = torch.tensor([4, 7, 4, 1, 9, 1]), torch.tensor([2, 2, 5, 2, 6, 8, 0])
    return [
        ("no image twice", (_random(5, seed=5), torch.tensor([3, 1, 4, 15, 9]), 0.2)),
        ("two images twice", (_random(6, seed=6), twice, 0.2)),
        ("negative scores only", (_random(6, seed=0) / 4 - 0.7, twice, 0.3)),
        ("one image three times", (_random(7, seed=7), thrice, 0.2)),
        ("one image only: no negatives", (_random(3, seed=3), torch.tensor([5, 5, 5]), 0.2)),
    ]


def _plain_loss(scores: Tensor, margin: float) -> Tensor:
    return _masked_loss(scores, torch.arange(len(scores)), margin)


def _masked_loss(scores: Tensor, images: Tensor, margin: float) -> Tensor:
    """As eqs. 7 and 8 read, one anchor after the other: `(2,)`."""
    zero = scores.sum().double() * 0
    image_loss, caption_loss = zero, zero
    for i in range(len(scores)):
        others = [j for j in range(len(scores)) if images[j] != images[i]]
        captions = [margin - scores[i, i] + scores[i, j] for j in others]
        pictures = [margin - scores[i, i] + scores[j, i] for j in others]
        image_loss = image_loss + max([zero, *captions])
        caption_loss = caption_loss + max([zero, *pictures])
    return torch.stack([image_loss, caption_loss])


def _hinges(
    scores: Tensor, margin: float, right: Tensor | None = None, fill: float = float("-inf")
) -> tuple[Tensor, Tensor]:
    """All hinges before the clamp; right pairs count as if their score were `fill`."""
    right = torch.eye(len(scores), dtype=torch.bool) if right is None else right
    positive = scores.diagonal()
    wrong = scores.masked_fill(right, fill)
    return margin - positive[:, None] + wrong, margin - positive[None, :] + wrong


def _made(
    change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], **options
) -> Callable[[Tensor, float], Tensor]:
    """A wrong solution: what to do with the two tables of hinges."""

    def wrong(scores: Tensor, margin: float) -> Tensor:
        return torch.stack(change(*_hinges(scores, margin, **options)))

    return wrong


def _hardest(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


def _without_mask(scores: Tensor, margin: float) -> Tensor:
    nothing = torch.zeros(len(scores), len(scores), dtype=torch.bool)
    return torch.stack(_hardest(*_hinges(scores, margin, nothing)))


def _flipped(scores: Tensor, margin: float) -> Tensor:
    """Eq. 7 with a distance where the kit has a similarity."""
    eye = torch.eye(len(scores), dtype=torch.bool)
    positive = scores.diagonal()
    rows = (margin + positive[:, None] - scores).masked_fill(eye, 0)
    columns = (margin + positive[None, :] - scores).masked_fill(eye, 0)
    return torch.stack(_hardest(rows, columns))


def _wrong_positive(scores: Tensor, margin: float) -> Tensor:
    columns, rows = _hinges(scores, margin)
    return torch.stack(_hardest(rows, columns))


_PLAIN_MISTAKES: list[Mistake] = [
    (lambda s, m: _plain_loss(s, m).flip(0), "The two directions are swapped."),
    (
        lambda s, m: _plain_loss(s, m) / len(s),
        "The right mean; eqs. 7 and 8 sum over the batch.",
    ),
    (
        _without_mask,
        "The right pair itself serves as a negative: leave the diagonal out before the maximum.",
    ),
    (
        _made(_hardest, fill=0.0),
        "With the diagonal of `scores` set to 0, that 0 beats all negative scores: fill with -inf.",
    ),
    (
        _made(lambda r, c: (r.clamp(min=0).sum(), c.clamp(min=0).sum())),
        "That is the sum over all negatives; only the hardest one of each anchor counts.",
    ),
    (
        _made(lambda r, c: (r.amax(1).sum(), c.amax(0).sum())),
        "Hinges below 0 must become 0 (clamp), else pairs that win by far pay for the others.",
    ),
    (
        _made(
            lambda r, c: (
                r.masked_fill(r == float("-inf"), float("inf")).amin(1).clamp(min=0).sum(),
                c.masked_fill(c == float("-inf"), float("inf")).amin(0).clamp(min=0).sum(),
            )
        ),
        "You took the easiest negative: scores are similarities, the hardest is the largest.",
    ),
    (
        _flipped,
        "Signs: `dist` of eqs. 7 and 8 behaves like a similarity, so margin - right + wrong.",
    ),
    (
        _wrong_positive,
        "The right score must be the anchor's own: positive[:, None] for images (rows), "
        "positive[None, :] for captions (columns).",
    ),
    (
        lambda s, m: torch.stack([part.max() for part in _hinges(s, m)]).clamp(min=0),
        "Each anchor has its own hardest negative; you kept the hardest of the whole batch.",
    ),
]


def _drops_repeated(scores: Tensor, images: Tensor, margin: float) -> Tensor:
    """Leaves out all pairs but the first of an image."""
    first = [i for i in range(len(images)) if images[i] not in images[:i]]
    return _plain_loss(scores[first][:, first], margin)


def _same(images: Tensor) -> Tensor:
    return images[:, None] == images[None, :]


_MASKED_MISTAKES: list[Mistake] = [
    (
        lambda s, i, m: _masked_loss(s, i, m).flip(0),
        "The two directions are swapped.",
    ),
    (
        lambda s, i, m: _masked_loss(s, i, m) / len(s),
        "The right mean; eqs. 7 and 8 sum over the batch.",
    ),
    (
        lambda s, i, m: _plain_loss(s, m),
        "Only the diagonal is left out: an image's other caption still serves as a negative.",
    ),
    (
        _drops_repeated,
        "Keep all pairs as anchors; a repeated image is only no *negative* for its twin.",
    ),
    (
        lambda s, i, m: torch.stack(_hardest(*_hinges(s, m, _same(i), 0.0))),
        "With right scores set to 0, that 0 beats all negative scores: fill with -inf.",
    ),
    (
        lambda s, i, m: torch.stack(
            _hardest(*_hinges(s, m, _same(i) & ~torch.eye(len(s), dtype=torch.bool)))
        ),
        "The right pair itself serves as a negative: an image is the same as itself, too.",
    ),
    (
        lambda s, i, m: torch.stack(
            _hardest(*_hinges(s, m, ~_same(i) | torch.eye(len(s), dtype=torch.bool)))
        ),
        "The mask is the wrong way round: your negatives are the right captions.",
    ),
]
