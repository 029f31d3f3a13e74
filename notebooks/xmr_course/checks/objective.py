"""Checks of notebook 13: the fused vector, and the two losses of the trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xmr_course.checks import fail, passed
from xmr_course.checks.mistakes import Case, Mistake, compare
from xmr_lib.losses import divergence
from xmr_lib.models.structured import fuse
from xmr_lib.similarity import l2norm


def fused_vectors(function: Callable) -> None:
    """Checks `function(instance, tree, concepts, betas) -> (n, d)`, SMFEA eqs. 15 and 16.

    Each part gets length one before it is weighted.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "fused_vectors"
    torch.manual_seed(13)
    cases: list[Case] = []
    for title, n, betas in (
        ("the paper's weights", 3, (0.6, 0.2, 0.2)), ("one item", 1, (0.6, 0.4, 0.0)),
        ("the instance alone", 2, (1.0, 0.0, 0.0)), ("a heavy tree", 4, (0.1, 0.8, 0.1)),
    ):  # fmt: skip
        scales = torch.tensor([0.5, 3.0, 20.0])
        parts = [scale * torch.randn(n, 4) for scale in scales]
        cases.append((title, (*parts, betas)))

    def right(d: Tensor, t: Tensor, c: Tensor, betas: tuple) -> Tensor:
        return fuse(d, t, c, betas)

    advice = "beta_d * l2norm(instance) + beta_t * l2norm(tree) + beta_c * l2norm(concepts)."
    compare(name, function, cases, right, _FUSION_MISTAKES, _tensor, advice)
    passed(name, len(cases))


def tree_divergence(function: Callable) -> None:
    """Checks `function(image, caption) -> number`, SMFEA eq. 19 of one pair.

    Both are log-probabilities `(places, n_categories)`; the result adds up all places.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "tree_divergence"
    torch.manual_seed(13)
    cases: list[Case] = [
        (title, (torch.randn(places, n).log_softmax(1), torch.randn(places, n).log_softmax(1)))
        for title, places, n in (("one place", 1, 3), ("seven places", 7, 5), ("many", 4, 30))
    ]
    same = torch.randn(3, 4).log_softmax(1)
    cases.append(("two equal trees", (same, same)))

    def right(image: Tensor, caption: Tensor) -> Tensor:
        return divergence(image, caption).sum()

    advice = "Sum over places and categories of P_image * (log P_image - log P_caption)."
    compare(name, function, cases, right, _DIVERGENCE_MISTAKES, _tensor, advice)
    passed(name, len(cases))


def _tensor(result: Any) -> Tensor:
    try:
        return torch.as_tensor(result).detach().float()
    except (TypeError, ValueError, RuntimeError):
        fail("the exercise", f"returned {type(result).__name__}.", "Return a tensor.")


_FUSION_MISTAKES: tuple[Mistake, ...] = (
    (
        lambda d, t, c, betas: betas[0] * d + betas[1] * t + betas[2] * c,
        "The longest part drowns the others: bring each to length one before it is weighted.",
    ),
    (
        lambda d, t, c, betas: l2norm(betas[0] * d + betas[1] * t + betas[2] * c),
        "The norm comes before the sum, part by part; after it the longest part has won already.",
    ),
    (
        lambda d, t, c, betas: fuse(d, c, t, betas),
        "The order of the weights is d, t, c: instance, tree, concepts.",
    ),
    (
        lambda d, t, c, betas: torch.cat(
            [beta * l2norm(x) for beta, x in zip(betas, (d, t, c), strict=True)], dim=1
        ),
        "The parts are added up, not laid side by side.",
    ),
)
_DIVERGENCE_MISTAKES: tuple[Mistake, ...] = (
    (
        lambda image, caption: divergence(caption, image).sum(),
        "The direction: D_KL(P^V || P^S) weighs by the image's probabilities.",
    ),
    (
        lambda image, caption: divergence(image, caption).mean(),
        "Eq. 19 adds the places up; it takes no mean.",
    ),
    (
        lambda image, caption: (image * (image - caption)).sum(),
        "The weights are probabilities: exp of the log-probabilities that you were given.",
    ),
    (
        lambda image, caption: -(image.exp() * caption).sum(),
        "That is the cross-entropy; the divergence takes off the image's own entropy.",
    ),
)
