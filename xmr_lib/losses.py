"""Training objectives on a matrix of scores between a batch's images and captions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from xmr_lib.encoders.tree import Structured

Negatives = Literal["hardest", "all"]


def triplet_loss(
    scores: Tensor,
    margin: float = 0.2,
    negatives: Negatives = "hardest",
    same_image: Tensor | None = None,
) -> dict[str, Tensor]:
    """Bidirectional triplet loss, summed over the batch (RFE eqs. 1, 7 and 8).

    Row `i` and column `i` of the scores belong together. With `negatives="hardest"` each anchor is
    compared with its best-scored wrong partner only; with `"all"` with every wrong partner (the
    sum-of-hinges form, which warms a model up gently).

    Args:
        scores: Similarities `(batch, batch)`, images in rows, captions in columns.
        margin: `mg` of the paper: by how much a right pair must win.
        negatives: Which wrong partners count.
        same_image: `(batch, batch)`, True where image and caption belong together. When an image
            comes twice in a batch, its other caption is right as well and must not serve as a
            negative. None: only the diagonal is right, as in the peers' code.

    Returns:
        `{"L_img": …, "L_sent": …}`: image anchors against captions (eq. 7) and caption anchors
        against images (eq. 8). Their sum is eq. 1.

    Raises:
        ValueError: The scores are not square.

    >>> scores = torch.tensor([[0.9, 0.8], [0.1, 0.5]])
    >>> parts = triplet_loss(scores, margin=0.2)
    >>> {name: round(value.item(), 2) for name, value in parts.items()}
    {'L_img': 0.1, 'L_sent': 0.5}
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"scores must be square (batch, batch), not {tuple(scores.shape)}")
    right = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    right = right if same_image is None else right | same_image
    positive = scores.diagonal()
    image_anchor = (margin - positive[:, None] + scores).clamp(min=0).masked_fill(right, 0)
    caption_anchor = (margin - positive[None, :] + scores).clamp(min=0).masked_fill(right, 0)
    if negatives == "hardest":
        return {"L_img": image_anchor.amax(1).sum(), "L_sent": caption_anchor.amax(0).sum()}
    return {"L_img": image_anchor.sum(), "L_sent": caption_anchor.sum()}


def hardest_negatives(scores: Tensor, same_image: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Which wrong partner each anchor of a batch is compared with in eqs. 7 and 8.

    Args:
        scores: `(batch, batch)`, images in rows, captions in columns, pairs on the diagonal.
        same_image: As for `triplet_loss`.

    Returns:
        For each image the hardest caption's column, for each caption the hardest image's row,
        both `(batch,)`.

    >>> hardest_negatives(torch.tensor([[0.9, 0.8], [0.1, 0.5]]))
    (tensor([1, 0]), tensor([1, 0]))
    """
    right = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    right = right if same_image is None else right | same_image
    wrong = scores.masked_fill(right, float("-inf"))
    return wrong.argmax(1), wrong.argmax(0)


def plateau(batch_size: int, margin: float) -> float:
    """Loss of a batch in which everything has collapsed onto one point: `2 * B * margin`.

    With hardest negatives a run can sit there for ever (51.2 for 128 pairs and margin 0.2).

    >>> plateau(128, 0.2)
    51.2
    """
    return 2 * batch_size * margin


def node_cross_entropy(fragments: Tensor, relations: Tensor, labels: Tensor) -> Tensor:
    """How surprised a structured encoder is by the referral trees (SMFEA eq. 18, one side).

    The paper's leading minus is left out: cross-entropy has its own. Eq. 18 adds both sides'.

    Args:
        fragments: Log-probabilities of places 1, 3, 5, 7, `(n, 4, n_fragments)`.
        relations: Log-probabilities of places 2, 4, 6, `(n, 3, n_relations)`.
        labels: Categories of all seven places `(n, 7)`; negative where a place is Null.

    Returns:
        `(n,)`: summed over the places that are not Null.

    >>> half = torch.tensor([0.5, 0.5]).log()
    >>> labels = torch.tensor([[0, -1, 1, 1, -1, -1, -1]])
    >>> node_cross_entropy(half.expand(1, 4, 2), half.expand(1, 3, 2), labels)  # three times ln 2
    tensor([2.0794])
    """
    total = 0
    for scores, places in ((fragments, slice(0, 7, 2)), (relations, slice(1, 7, 2))):
        wanted = labels[:, places]
        picked = scores.gather(2, wanted.clamp(min=0)[..., None])[..., 0]  # (n, places)
        total = total - picked.masked_fill(wanted < 0, 0).sum(1)
    return total


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Kullback-Leibler divergence `D_KL(P || Q)` of log-probabilities over the last dimension.

    >>> certain, unsure = torch.tensor([1.0, 1e-30]).log(), torch.tensor([0.5, 0.5]).log()
    >>> divergence(certain, unsure)
    tensor(0.6931)
    """
    return (p.exp() * (p - q)).sum(-1)


def node_divergence(image: Structured, caption: Structured) -> Tensor:
    """How far the image's categories are from the sentence's at each place (SMFEA eq. 19).

    Args:
        image: What the image's encoder says, `P^V`.
        caption: What the sentence's encoder says, `P^S`.

    Returns:
        `D_KL(P^V || P^S)` of the places 1 to 7, `(n, 7)`; eq. 19 adds them up.
    """
    fragments = divergence(image.fragments, caption.fragments)  # (n, 4)
    relations = divergence(image.relations, caption.relations)  # (n, 3)
    return torch.cat([fragments, relations], dim=1)[:, [0, 4, 1, 5, 2, 6, 3]]
