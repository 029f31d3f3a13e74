"""Pictures of ranked answers: before and after re-ranking, and of several models side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.patches
import numpy as np
from matplotlib.axes import Axes

from xmr_course.lessons.drawing import bare, draw_image, styled, wrapped
from xmr_lib.data.images import open_image
from xmr_lib.figures import BLUE, GREEN, GREY, RIGHT, VERMILION, WRONG, Picture


@dataclass(frozen=True)
class Answer:
    """One item of a ranked list.

    Attributes:
        index: Its position.
        shown: A caption, or the file of a picture.
        right: Whether it belongs to the query.
        was: Its place in the original order, 1 being the top.
    """

    index: int
    shown: str | Path
    right: bool
    was: int


@dataclass(frozen=True)
class Answers:
    """The best answers of one query before and after re-ranking.

    Attributes:
        query: A caption, or the file of a picture.
        before: The original order.
        after: The order after re-ranking.
        places: Of the best right answer before and after, 1 being the top.
    """

    query: str | Path
    before: Sequence[Answer]
    after: Sequence[Answer]
    places: tuple[float, float]


@styled
def plot_answers(answers: Mapping[str, Answers]) -> Picture:
    """Queries with their best answers before and after re-ranking, one below the other."""
    tall = [2.7 if isinstance(each.query, Path) else 4.5 for each in answers.values()]
    figure = Picture(figsize=(11, sum(tall)), layout="constrained")
    parts = np.ravel(figure.subfigures(len(answers), 1, height_ratios=tall))
    for part, (title, each) in zip(parts, answers.items(), strict=True):
        _draw_answers(part, title, each)
    return figure


@styled
def plot_explorer(
    answers: Answers, recalls: Mapping[str, tuple[float, float]], title: str
) -> Picture:
    """What the explorer shows: recalls before and after, and the answers of one query."""
    tall = 3.0 if isinstance(answers.query, Path) else 4.5
    figure = Picture(figsize=(11, 2.5 + tall), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(2.5, tall))
    top.suptitle(title, fontsize=10)
    axes = top.subplots()
    at = np.arange(len(recalls))
    for shift, place, name in ((-0.2, 0, "before"), (0.2, 1, "after")):
        values = [pair[place] for pair in recalls.values()]
        look = {"color": (GREY, BLUE)[place], "hatch": ("", "///")[place], "edgecolor": "white"}
        look |= {"label": name}
        axes.bar(at + shift, values, 0.38, **look)
        for x, value in zip(at + shift, values, strict=True):
            axes.text(x, value + 1, f"{value:.1f}", ha="center", va="bottom", fontsize=8)
    axes.set(ylim=(0, 112), ylabel="%")
    axes.set_xticks(at, recalls)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    _draw_answers(bottom, "", answers)
    return figure


def _draw_answers(part: mpl.figure.SubFigure, title: str, answers: Answers) -> None:
    before, after = (f"{place:.0f}" for place in answers.places)
    heading = f"best right answer: place {before} before, {after} after"
    lists = {"before": answers.before, "after": answers.after}
    if isinstance(answers.query, Path):
        part.suptitle(f"{title}  –  {heading}" if title else heading, fontsize=10)
        picture, *places = part.subplots(1, 3, width_ratios=(1.1, 2, 2))
        picture.imshow(open_image(answers.query))
        bare(picture)
        for axes, (name, ranked) in zip(places, lists.items(), strict=True):
            axes.set_title(name, fontsize=10, loc="left")
            _draw_captions(axes, ranked, with_was=name == "after")
        return
    query = textwrap.shorten(str(answers.query), 90)
    part.suptitle(f"{title}\n“{query}”  –  {heading}".strip(), fontsize=10, parse_math=False)
    grid = part.subplots(2, len(answers.before), squeeze=False)
    for row, (name, ranked) in zip(grid, lists.items(), strict=True):
        for place, (axes, answer) in enumerate(zip(row, ranked, strict=True), start=1):
            axes.imshow(open_image(answer.shown))
            was = f" (was {answer.was})" if name == "after" else ""
            axes.set_title(f"{place}. {_sign(answer)}{was}", fontsize=9, color=_colour(answer))
            bare(axes)
        row[0].set_ylabel(name)


def _draw_captions(axes: Axes, ranked: Sequence[Answer], with_was: bool) -> None:
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(len(ranked), 0))
    look = {"va": "top", "fontsize": 9}
    for place, answer in enumerate(ranked):
        axes.text(0, place, f"{place + 1}. {_sign(answer)}", color=_colour(answer), **look)
        if with_was:
            axes.text(0, place + 0.4, f"was {answer.was}", va="top", fontsize=7, color=GREY)
        text = textwrap.fill(str(answer.shown), 42, max_lines=2, placeholder=" …")
        weight = "bold" if answer.right else "normal"
        axes.text(0.13, place, text, weight=weight, parse_math=False, **look)


def _sign(answer: Answer) -> str:
    return RIGHT if answer.right else WRONG


def _colour(answer: Answer) -> str:
    return GREEN if answer.right else VERMILION


@styled
def plot_top3(
    query: str | Any, answers: Mapping[str, Sequence[tuple[Any, bool]]], k: int = 3
) -> Picture:
    """The first answers of several models to one query, right and wrong framed (Figs 5 to 7).

    `query`: A sentence, when images are found; an image, when sentences are.
    `answers`: model -> its answers in order: an image or a sentence, and whether it is right.
    """
    if isinstance(query, str):
        return _top_images(query, answers, k)
    return _top_sentences(query, answers, k)


def _top_images(query: str, answers: Mapping, k: int) -> Picture:
    figure = Picture(figsize=(2.1 * k, 2.35 * len(answers) + 0.5), layout="constrained")
    figure.suptitle(wrapped(f"“{query}”", 26 * k), parse_math=False)
    all_axes = figure.subplots(len(answers), k, squeeze=False)
    for row, (model, found) in zip(all_axes, answers.items(), strict=True):
        for rank, (axes, (image, right)) in enumerate(zip(row, found, strict=False), start=1):
            draw_image(axes, image, RIGHT if right else WRONG)
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
    draw_image(left, query, "")
    listing.set(xlim=(0, 1), ylim=(len(answers) * (k + 0.6), 0))
    listing.axis("off")
    top = 0.0
    for model, found in answers.items():
        listing.text(0, top + 0.3, model, weight="bold", va="center")
        top += 0.6
        for rank, (sentence, right) in enumerate(found[:k], start=1):
            sign, colour = (RIGHT, GREEN) if right else (WRONG, VERMILION)
            listing.text(0.0, top + 0.5, f"{rank}  {sign}", color=colour, va="center")
            look = {"va": "center", "fontsize": 9, "parse_math": False}
            listing.text(0.1, top + 0.5, wrapped(sentence, 76, lines=3), **look)
            top += 1
    return figure
