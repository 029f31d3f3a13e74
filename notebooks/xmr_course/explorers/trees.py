"""Predicted trees of pictures and sentences, to be walked through by hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from xmr_course.explorers.shared import Explorer, Still, find_ipywidgets
from xmr_course.inside import Contributions
from xmr_course.lessons.tree_drawing import place_tree
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.images import open_image
from xmr_lib.errors import DataError
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
    _wrapped,
    style,
)
from xmr_lib.language.referral_tree import N_NODES, ReferralTree
from xmr_lib.retriever import Retriever
from xmr_lib.runs import Run

TREES = {"image": "VCS-tree", "referral": "referral tree", "caption": "TCS-tree"}
FILTERS = ("all", "successes", "failures")


@dataclass(frozen=True, eq=False)
class TreeItem:
    """One picture and one sentence that belong together, and what a model makes of them.

    Attributes:
        picture: File, PIL image or array.
        caption: The sentence.
        referral: Its tree.
        image_names: Categories that the picture's tree predicts, place by place.
        caption_names: The same of the sentence's tree.
        image_right: Where the picture's tree is right `(7,)`.
        caption_right: Where the sentence's tree is right.
        top3_captions: Sentences found for the picture, best first, each with whether it is right.
        top3_images: Pictures found for the sentence, likewise.
        contributions: Which node decides the match; None if it was not computed.
        known: Places that are judged `(7,)`; None for those where the referral tree says something.
    """

    picture: Any
    caption: str
    referral: ReferralTree
    image_names: Sequence[str | None]
    caption_names: Sequence[str | None]
    image_right: Sequence[bool]
    caption_right: Sequence[bool]
    top3_captions: Sequence[tuple[str, bool]] = ()
    top3_images: Sequence[tuple[Any, bool]] = ()
    contributions: Contributions | None = None
    known: Sequence[bool] | None = None

    @property
    def success(self) -> bool | None:
        """Whether every search that was made puts a right answer first; None without a search."""
        found = [answers[0][1] for answers in (self.top3_captions, self.top3_images) if answers]
        return all(found) if found else None

    def judged(self, side: str) -> list[bool | None]:
        """For each place of the "image" or "caption" tree right or wrong, None if not judged."""
        known = self.known
        if known is None:
            known = [node is not None for node in self.referral.nodes]
        right = getattr(self, f"{side}_right")
        return [bool(r) if k else None for r, k in zip(right, known, strict=True)]


def plot_item(item: TreeItem, trees: Collection[str] = tuple(TREES)) -> Picture:
    """A picture with its trees, what it finds and is found by: the explorer without its controls.

    Args:
        item: What is shown.
        trees: Which trees: "image", "referral", "caption".
    """
    shown = [name for name in TREES if name in trees]
    rows = -(-(1 + len(shown)) // 2)
    more = bool(item.contributions or item.top3_captions or item.top3_images)
    heights = (2.4 * rows, 3.0) if more else (2.5 * rows,)
    with mpl.rc_context(style()):
        figure = Picture(figsize=(10, sum(heights) + 0.4), layout="constrained")
        parts = np.ravel(figure.subfigures(len(heights), 1, height_ratios=heights))
        places = np.ravel(parts[0].subplots(rows, 2, squeeze=False))
        for axes in places[1 + len(shown) :]:
            axes.axis("off")
        _draw_image(places[0], _opened(item.picture), "")
        for axes, name in zip(places[1:], shown, strict=False):
            _draw_tree(axes, item, name)
        if more:
            _draw_answers(parts[1], item)
        figure.suptitle(_wrapped(f"“{item.caption}”", 100, lines=2), parse_math=False)
    return figure


def _draw_tree(axes: Axes, item: TreeItem, name: str) -> None:
    if name == "referral":
        place_tree(axes, item.referral, "referral tree: what the sentence says")
        return
    judged = item.judged(name)
    right, n = sum(each is True for each in judged), sum(each is not None for each in judged)
    source = {"image": "picture", "caption": "sentence"}[name]
    title = f"{TREES[name]}: from the {source}, {right} of {n} judged nodes right"
    place_tree(axes, getattr(item, f"{name}_names"), title, judged)


def _draw_answers(figure: SubFigure, item: TreeItem) -> None:
    """Bars of the nodes at the left, answers in both directions at the right."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    if item.contributions is None:
        left.axis("off")
    else:
        places = np.arange(N_NODES)
        for shift, values, colour, hatch, label in (
            (-0.2, item.contributions.image_nodes, BLUE, "", "picture's tree"),
            (0.2, item.contributions.caption_nodes, ORANGE, "///", "sentence's tree"),
        ):
            left.bar(
                places + shift,
                values,
                0.38,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                label=label,
            )
        left.axhline(0, color=GREY, linewidth=0.8)
        left.set(xlabel="node", ylabel="share of the cosine", title="what the nodes add")
        left.set_xticks(places, [str(place + 1) for place in places])
        left.legend(fontsize=8)
    right.set(xlim=(0, 1), ylim=(0, 1))
    right.axis("off")
    if item.top3_captions:
        right.text(0, 0.99, "found for the picture", weight="bold", va="top")
        for rank, (sentence, correct) in enumerate(item.top3_captions[:3], start=1):
            top = 0.99 - 0.145 * rank
            sign, colour = (RIGHT, GREEN) if correct else (WRONG, VERMILION)
            right.text(0, top, f"{rank} {sign}", color=colour, va="top")
            right.text(
                0.07,
                top,
                _wrapped(sentence, 66, lines=2),
                va="top",
                fontsize=8,
                parse_math=False,
            )
    if item.top3_images:
        right.text(0, 0.38, "found for\nthe sentence", weight="bold", va="top")
        for rank, (picture, correct) in enumerate(item.top3_images[:3], start=1):
            small = right.inset_axes((0.27 * rank - 0.04, -0.02, 0.24, 0.36))
            _draw_image(small, _opened(picture), RIGHT if correct else WRONG)
            sign, colour = (RIGHT, GREEN) if correct else (WRONG, VERMILION)
            small.set_title(f"{rank} {sign}", fontsize=9, color=colour, pad=3)


def _opened(picture: Any) -> Any:
    return open_image(picture) if isinstance(picture, (str, Path)) else picture


def tree_explorer(
    run_or_items: Run | Sequence[TreeItem],
    captions: Sequence[int] | None = None,
    data: CaptionedImages | None = None,
) -> TreeExplorer | Still:
    """Walk through pictures and sentences, all of them or successes or failures only.

    Args:
        run_or_items: A finished run of SMFEA with trees, or items that `tree_items` made.
        captions: Of a run: positions of captions; by default twelve, evenly spaced.
        data: Of a run: what the positions count in; the reported split by default.

    Returns:
        The explorer; its first picture where ipywidgets is not installed.

    Raises:
        DataError: There is no item, or the run has no trees.
    """
    items = run_or_items
    if isinstance(items, Retriever):
        from xmr_course.explorers.items import tree_items  # which needs TreeItem of this file

        items = tree_items(items, captions, data)
    if not len(items):
        raise DataError("There is nothing to explore: give at least one TreeItem.")
    if find_ipywidgets() is None:
        return Still(lambda: plot_item(items[0]), f"predicted trees, items: {len(items)}")
    return TreeExplorer(items)


@dataclass(eq=False)
class TreeExplorer(Explorer):
    """Controls with a picture below them; displays itself in a notebook.

    Attributes:
        items: What may be chosen.
        shown: The one that is shown now.
    """

    items: Sequence[TreeItem]
    shown: TreeItem = field(init=False)

    def __post_init__(self) -> None:
        widgets = find_ipywidgets()
        self.shown = self.items[0]
        self.kind = widgets.ToggleButtons(
            options=FILTERS, description="show", style={"button_width": "6em"}
        )
        self.item = widgets.Dropdown(description="item")
        self.next = widgets.Button(description="next", icon="forward")
        self.trees = {
            name: widgets.ToggleButton(value=True, description=title)
            for name, title in TREES.items()
        }
        controls = {
            "kind": (self.kind, self._new_kind),
            "item": (self.item, self._new_item),
            "next": (self.next, self._next),
            **{f"tree-{name}": (toggle, self.draw) for name, toggle in self.trees.items()},
        }
        self._build("tree-explorer", f"tree explorer, items: {len(self.items)}", controls)
        self._new_kind()
        self._listen()

    def picture(self) -> Picture:
        """What is chosen now, as a figure."""
        chosen = [name for name, toggle in self.trees.items() if toggle.value]
        return plot_item(self.shown, chosen)

    def _new_kind(self) -> None:
        """Offers the items of a kind; where there are none, what was shown stays."""
        wanted = {"successes": True, "failures": False}
        options = [
            (_label(number, item), number)
            for number, item in enumerate(self.items)
            if self.kind.value == "all" or item.success is wanted[self.kind.value]
        ]
        self.say(*([] if options else [f"No {self.kind.value} among these items."]))
        self.item.options = options
        if options:
            self.item.value = options[0][1]
            self._new_item()

    def _next(self) -> None:
        """Goes to the next item of the list; the first follows the last."""
        numbers = [number for _, number in self.item.options]
        if numbers:
            self.item.value = numbers[(numbers.index(self.item.value) + 1) % len(numbers)]
            self._new_item()

    def _new_item(self) -> None:
        self.shown = self.items[self.item.value]
        self.draw()


def _label(number: int, item: TreeItem) -> str:
    """A line for the list: number, sign and the sentence's beginning."""
    sign = {True: f" {RIGHT}", False: f" {WRONG}", None: ""}[item.success]
    return f"{number + 1}{sign}  {_wrapped(item.caption, 80, lines=1)}"
