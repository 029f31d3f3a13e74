"""Lesson 13: SMFEA. The fused vector, the losses of the trees, and what the parts are worth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from torch import Tensor

from xmr_course.inside import PLACES
from xmr_course.lessons.checking import Check
from xmr_course.lessons.drawing import draw_bars, legend_outside, panels, styled, whole_numbers
from xmr_lib.figures import BLUE, ORANGE, Picture
from xmr_lib.losses import divergence
from xmr_lib.models.structured import fuse
from xmr_lib.similarity import l2norm

_PLACES = [place.replace(" ", "\n", 2) for place in PLACES]


@styled
def plot_node_accuracy(accuracy: pd.DataFrame) -> Picture:
    """How often both trees name the right category, beside always naming the most frequent."""
    frame = accuracy.drop(index="all", errors="ignore")
    series = {
        "image's tree": frame["image"],
        "sentence's tree": frame["caption"],
        "most frequent": frame["most frequent"],
    }
    figure, axes = panels(9.5, 3.4)
    draw_bars(axes, _PLACES, series, "%.0f", palette=[BLUE, ORANGE, "#C8C8C8"])
    axes.set(ylabel="right nodes, %")
    legend_outside(figure, axes, "upper")  # bars may be of any height
    return figure


@styled
def plot_losses(history: pd.DataFrame) -> Picture:
    """The named parts of the objective, epoch by epoch, each on its own scale."""
    parts = [name for name in ("L_img", "L_sent", "L_CE", "D_KL") if name in history]
    figure, grid = panels(2.6 * (len(parts) + 1), 2.7, 1, len(parts) + 1)
    hard = history[history["negatives"] == "hardest"]
    for axes, name in zip(grid, [*parts, "rsum"], strict=True):
        sns.lineplot(hard, x="epoch", y=name, marker="o", color=BLUE, ax=axes)
        axes.set(title=name, ylabel="")
    whole_numbers(*grid)
    return figure


@styled
def plot_betas(frame: pd.DataFrame) -> Picture:
    """SMFEA's Table 6 as a picture: rsum of each setting of the weights, printed and measured.

    Args:
        frame: As `xmr_course.tables.reproduce.reproduce` or `saved` returns Table 6.
    """
    figure, (left, right) = panels(9, 0.5 * len(frame) + 1.2, 1, 2, sharey=True)
    rows = np.arange(len(frame))[::-1]
    recalls = [c for c in frame if c.startswith("printed_") and c != "printed_rsum"]
    printed = frame[recalls].sum(axis=1, min_count=len(recalls))
    left.plot(printed, rows, "s", color=ORANGE, markerfacecolor="white", markersize=8)
    left.set(title="printed (Flickr30K)", xlabel="sum of the six recalls")
    look = {"fmt": "o", "color": BLUE, "capsize": 4, "markersize": 7}
    right.errorbar(frame["measured_rsum"], rows, xerr=frame["sd_rsum"].fillna(0), **look)
    right.set(title="measured here, ± s.d. over seeds", xlabel="rsum")
    left.set(yticks=rows, yticklabels=frame["method"], ylabel="[β_d, β_t, β_c]")
    for axes in (left, right):
        axes.set_ylim(-0.6, len(frame) - 0.4)
        axes.margins(x=0.15)
    return figure


# --- the fused vector -----------------------------------------------------------------------------


def _fused_vectors(
    instance: Tensor, tree: Tensor, concepts: Tensor, betas: tuple[float, float, float]
) -> Tensor:
    """`function(instance, tree, concepts, betas) -> (n, d)`, SMFEA eqs. 15 and 16.

    Each part gets length one before it is weighted.
    """
    return fuse(instance, tree, concepts, betas)


_GENERATOR = torch.Generator().manual_seed(13)


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=_GENERATOR)


check_fused_vectors = Check(
    _fused_vectors,
    [
        (title, (0.5 * _random(n, 4), 3 * _random(n, 4), 20 * _random(n, 4), betas))
        for title, n, betas in (
            ("the paper's weights", 3, (0.6, 0.2, 0.2)),
            ("one item", 1, (0.6, 0.4, 0.0)),
            ("the instance alone", 2, (1.0, 0.0, 0.0)),
            ("a heavy tree", 4, (0.1, 0.8, 0.1)),
        )
    ],
    [
        lambda d, t, c, betas: betas[0] * d + betas[1] * t + betas[2] * c,
        "The longest part drowns the others: bring each to length one before it is weighted.",
        lambda d, t, c, betas: l2norm(betas[0] * d + betas[1] * t + betas[2] * c),
        "The norm comes before the sum, part by part; after it the longest part has won already.",
        lambda d, t, c, betas: fuse(d, c, t, betas),
        "The order of the weights is d, t, c: instance, tree, concepts.",
        lambda d, t, c, betas: torch.cat(
            [beta * l2norm(x) for beta, x in zip(betas, (d, t, c), strict=True)], dim=1
        ),
        "The parts are added up, not laid side by side.",
    ],
    "beta_d * l2norm(instance) + beta_t * l2norm(tree) + beta_c * l2norm(concepts).",
)

# --- the divergence of two trees ------------------------------------------------------------------


def _tree_divergence(image: Tensor, caption: Tensor) -> Tensor:
    """`function(image, caption) -> number`, SMFEA eq. 19 of one pair.

    Both are log-probabilities `(places, n_categories)`; the result adds up all places.
    """
    return divergence(image, caption).sum()


def _log_probabilities(places: int, n: int) -> Tensor:
    return _random(places, n).log_softmax(1)


_TREE = _log_probabilities(3, 4)
check_tree_divergence = Check(
    _tree_divergence,
    [
        *(
            (title, (_log_probabilities(places, n), _log_probabilities(places, n)))
            for title, places, n in (("one place", 1, 3), ("seven places", 7, 5), ("many", 4, 30))
        ),
        ("two equal trees", (_TREE, _TREE)),
    ],
    [
        lambda image, caption: divergence(caption, image).sum(),
        "The direction: D_KL(P^V || P^S) weighs by the image's probabilities.",
        lambda image, caption: divergence(image, caption).mean(),
        "Eq. 19 adds the places up; it takes no mean.",
        lambda image, caption: (image * (image - caption)).sum(),
        "The weights are probabilities: exp of the log-probabilities that you were given.",
        lambda image, caption: -(image.exp() * caption).sum(),
        "That is the cross-entropy; the divergence takes off the image's own entropy.",
    ],
    "Sum over places and categories of P_image * (log P_image - log P_caption).",
)
