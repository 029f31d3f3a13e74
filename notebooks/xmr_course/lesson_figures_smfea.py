"""Pictures of notebooks 13 and 14: what SMFEA's parts are worth, its nodes, and its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from xmr_course.inside import PLACES, Contributions
from xmr_lib.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RIGHT,
    VERMILION,
    WRONG,
    Picture,
    _draw_image,
    _styled,
    _wrapped,
)

_PLACES = [place.replace(" ", "\n", 2) for place in PLACES]


@_styled
def draw_node_accuracy(accuracy: pd.DataFrame) -> Picture:
    """How often both trees name the right category, beside always naming the most frequent.

    Args:
        accuracy: As `NodePredictions.accuracy` returns it.
    """
    frame = accuracy.drop(index="all", errors="ignore")
    figure = Picture(figsize=(9.5, 3.4), layout="constrained")
    axes, places = figure.subplots(), np.arange(len(frame))
    for column, colour, shift, hatch in (
        ("image", BLUE, -0.27, ""), ("caption", ORANGE, 0.0, ""),
        ("most frequent", "#C8C8C8", 0.27, "//"),
    ):  # fmt: skip
        label = {"image": "image's tree", "caption": "sentence's tree"}.get(column, column)
        bars = axes.bar(places + shift, frame[column], 0.25, color=colour, hatch=hatch, label=label)
        axes.bar_label(bars, fmt="%.0f", fontsize=7.5, padding=1)
    axes.set(
        xticks=places, xticklabels=_PLACES,
        ylabel="right nodes, %",
    )  # fmt: skip
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)  # bars may be of any height
    return figure


@_styled
def draw_divergence(before: ArrayLike, after: ArrayLike) -> Picture:
    """Divergence of the two trees at each place, before and after training.

    Args:
        before: `D_KL(P^V || P^S)` of the places `(7,)`, mean over pairs.
        after: The same after training.
    """
    figure = Picture(figsize=(8.5, 3.0), layout="constrained")
    axes, places = figure.subplots(), np.arange(7)
    axes.bar(places - 0.2, before, 0.38, color="#C8C8C8", hatch="//", label="before training")
    axes.bar(places + 0.2, after, 0.38, color=BLUE, label="after")
    axes.set(xticks=places, xticklabels=_PLACES, ylabel="D_KL(image || sentence)\nin nats")
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    return figure


@_styled
def draw_losses(history: pd.DataFrame) -> Picture:
    """The named parts of the objective, epoch by epoch, each on its own scale.

    Args:
        history: As a run keeps it.
    """
    parts = [name for name in ("L_img", "L_sent", "L_CE", "D_KL") if name in history]
    figure = Picture(figsize=(2.6 * (len(parts) + 1), 2.7), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(parts) + 1), [*parts, "rsum"], strict=True):
        hard = history["negatives"] == "hardest"
        axes.plot(history["epoch"][hard], history[name][hard], marker="o", color=BLUE)
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


@_styled
def draw_betas(frame: pd.DataFrame) -> Picture:
    """SMFEA's Table 6 as a picture: rsum of each setting of the weights, printed and measured.

    Args:
        frame: As `xmr_course.tables.reproduce.reproduce` or `saved` returns Table 6.
    """
    figure = Picture(figsize=(9, 0.5 * len(frame) + 1.2), layout="constrained")
    rows = np.arange(len(frame))[::-1]
    axes = figure.subplots(1, 2, sharey=True)
    recalls = [c for c in frame if c.startswith("printed_") and c != "printed_rsum"]
    printed = frame[recalls].sum(axis=1, min_count=len(recalls))
    axes[0].plot(printed, rows, "s", color=ORANGE, markerfacecolor="white", markersize=8)
    axes[0].set(title="printed (Flickr30K)", xlabel="sum of the six recalls")
    spread = frame["sd_rsum"].fillna(0)
    axes[1].errorbar(
        frame["measured_rsum"], rows, xerr=spread, fmt="o", color=BLUE, capsize=4, markersize=7
    )
    axes[1].set(title="measured here, ± s.d. over seeds", xlabel="rsum")
    axes[0].set(yticks=rows, yticklabels=frame["method"], ylabel="[β_d, β_t, β_c]")
    for each in axes:
        each.set_ylim(-0.6, len(frame) - 0.4)
        each.margins(x=0.15)
    return figure


@_styled
def draw_contributions(found: Contributions) -> Picture:
    """Which part, and which node, decides a match; everything adds up to the score.

    Args:
        found: As `xmr_course.inside.contributions` returns it.
    """
    figure = Picture(figsize=(10.5, 3.2), layout="constrained")
    parts, nodes = figure.subplots(1, 2, width_ratios=(1, 2))
    for axes, image, caption, labels in (
        (parts, list(found.image.values()), list(found.caption.values()), list(found.image)),
        (nodes, found.image_nodes, found.caption_nodes, _PLACES),
    ):
        places = np.arange(len(labels))
        axes.bar(places - 0.2, image, 0.38, color=BLUE, label="image's side")
        axes.bar(places + 0.2, caption, 0.38, color=ORANGE, label="sentence's side")
        axes.axhline(0, color=GREY, lw=0.8)
        axes.set(xticks=places, xticklabels=labels)
    parts.set(ylabel="share of the cosine", title=f"parts of the cosine, {found.score:.2f} in all")
    nodes.set(title="nodes of the trees (eq. 14)")
    nodes.tick_params(axis="x", labelsize=8)
    handles = parts.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, fontsize=9)
    return figure


@_styled
def draw_top3(
    query: str | Any, answers: Mapping[str, Sequence[tuple[Any, bool]]], k: int = 3
) -> Picture:
    """The first answers of several models to one query, right and wrong framed (Figs 5 to 7).

    Args:
        query: A sentence, when images are found; an image, when sentences are.
        answers: Model -> its answers in order: an image or a sentence, and whether it is right.
        k: Answers shown.
    """
    if isinstance(query, str):
        return _top_images(query, answers, k)
    return _top_sentences(query, answers, k)


def _top_images(query: str, answers: Mapping, k: int) -> Picture:
    figure = Picture(figsize=(2.1 * k, 2.35 * len(answers) + 0.5), layout="constrained")
    figure.suptitle(_wrapped(f"“{query}”", 26 * k), parse_math=False)
    all_axes = figure.subplots(len(answers), k, squeeze=False)
    for row, (model, found) in zip(all_axes, answers.items(), strict=True):
        for rank, (axes, (image, right)) in enumerate(zip(row, found, strict=False), start=1):
            _draw_image(axes, image, RIGHT if right else WRONG)
            sign, colour = (RIGHT, GREEN) if right else (WRONG, VERMILION)
            axes.set_title(f"{rank}  {sign}", fontsize=10, color=colour)
        for axes in row[len(found) :]:
            axes.axis("off")
        row[0].set_ylabel(model, fontsize=10)
        row[0].set(xticks=[], yticks=[])
    return figure


def _top_sentences(query: Any, answers: Mapping, k: int) -> Picture:
    figure = Picture(figsize=(10, 0.75 * k * len(answers) + 0.4), layout="constrained")
    left, listing = figure.subplots(1, 2, width_ratios=(1, 2.4))
    _draw_image(left, query, "")
    listing.set(xlim=(0, 1), ylim=(len(answers) * (k + 0.6), 0))
    listing.axis("off")
    top = 0.0
    for model, found in answers.items():
        listing.text(0, top + 0.3, model, weight="bold", va="center")
        top += 0.6
        for rank, (sentence, right) in enumerate(found[:k], start=1):
            sign, colour = (RIGHT, GREEN) if right else (WRONG, VERMILION)
            listing.text(0.0, top + 0.5, f"{rank}  {sign}", color=colour, va="center")
            listing.text(
                0.1, top + 0.5, _wrapped(sentence, 76, lines=3), va="center", fontsize=9,
                parse_math=False,
            )  # fmt: skip
            top += 1
    return figure
