"""Lesson 01: data and evaluation. Recall@K, ties, protocols and intervals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from xmr_course.lessons.checking import Case, Check, fail, one_array, one_number
from xmr_course.lessons.drawing import draw_lines, panels, styled
from xmr_course.lessons.drawing import plot_captioned as plot_captioned
from xmr_course.lessons.drawing import plot_scores as plot_scores
from xmr_lib.data.images import open_image
from xmr_lib.evaluation import Retrieval
from xmr_lib.figures import GREY, PALETTE, Picture
from xmr_lib.toy.scene import Scene


@styled
def plot_ground_truth(files: Sequence[Path], scenes: Sequence[Scene]) -> Picture:
    """Toy scenes with the boxes of their things and the relations between them."""
    figure = Picture(figsize=(3.6 * len(files), 4.2), layout="constrained")
    for axes, file, scene in zip(
        np.ravel(figure.subplots(1, len(files), squeeze=False)), files, scenes, strict=True
    ):
        axes.imshow(open_image(file))
        axes.axis("off")
        axes.set_title(f"background: {scene.background}")
        for number, thing in enumerate(scene.things):
            left, top, right, bottom = thing.box
            colour = PALETTE[number % len(PALETTE)]
            axes.add_patch(
                Rectangle(
                    (left, top), right - left, bottom - top, fill=False, color=colour, linewidth=2
                )
            )
            look = {"fontsize": 8, "color": "white", "va": "bottom"}
            look |= {"bbox": {"facecolor": colour, "edgecolor": "none", "pad": 1}}
            axes.text(left, top, f" {number} ", **look)
        things = [f"{n}: {t.size} {t.colour} {t.kind}" for n, t in enumerate(scene.things)]
        relations = [f"{r.subject} {r.name} {r.object}" for r in scene.relations]
        look = {"va": "top", "fontsize": 8, "transform": axes.transAxes}
        axes.text(0, -0.03, "\n".join(things + [f"→ {text}" for text in relations]), **look)
    return figure


@styled
def plot_recalls(
    retrievals: Mapping[str, Retrieval], largest_k: int = 50, printed: Sequence[int] = (1, 5, 10)
) -> Picture:
    """Recall@K for every K, both ways.

    `retrievals`: name of a model -> its ranks; "chance" is grey.
    `printed`: the K that papers print; they get dots.
    """
    ks = np.arange(1, largest_k + 1)
    colours = list(zip(retrievals, PALETTE, strict=False))
    figure, (to_text, to_image) = panels(9, 3.6, 1, 2, sharey=True)
    for axes, way, title in ((to_text, "i2t", "image → text"), (to_image, "t2i", "text → image")):
        curves = {
            name: [100 * getattr(each, way).recall_at_k(k).mean() for k in ks]
            for name, each in retrievals.items()
        }
        palette = [GREY if name == "chance" else colour for name, colour in colours]
        draw_lines(axes, ks, curves, palette=palette, markevery=[k - 1 for k in printed])
        axes.set(title=title, xlabel="K", xlim=(0, largest_k), ylim=(0, 100))
        axes.set_xticks([*printed, *range(20, largest_k + 1, 10)])
    to_text.set_ylabel("recall@K, %")
    to_text.get_legend().remove()
    return figure


@styled
def plot_protocols(recalls: Mapping[str, Sequence[float]], metric: str) -> Picture:
    """One model, one test set, several protocols: each part a ring, their mean a bar.

    `recalls`: protocol -> recall of each of its parts, in percent.
    """
    figure, axes = panels(8.5, 0.9 + 0.5 * len(recalls))
    frame = pd.DataFrame([(name, v) for name, each in recalls.items() for v in each])
    look = {"x": 1, "y": 0, "hue": 0, "palette": list(PALETTE[: len(recalls)]), "ax": axes}
    sns.barplot(frame, errorbar=None, alpha=0.35, width=0.6, legend=False, **look)
    sns.stripplot(frame, jitter=False, marker="$\\circ$", size=9, legend=False, **look)
    for row, values in enumerate(recalls.values()):
        axes.text(max(values), row, f"   mean {np.mean(values):.1f}", va="center", fontsize=9)
    axes.set(xlabel=metric, ylabel="")
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    return figure


@styled
def plot_bootstrap(
    drawn: Mapping[str, ArrayLike], intervals: Mapping[str, tuple[float, float]], metric: str
) -> Picture:
    """What a recall would have been on other test images, and where 95 % of it lies."""
    figure, axes = panels(8.5, 3.2)
    for (title, values), colour in zip(drawn.items(), PALETTE, strict=False):
        values, (low, high) = np.round(values, 6), intervals[title]
        # Recalls come in steps of one query: bins of whole steps, else their counts go up and down.
        step = np.diff(np.unique(values)).min(initial=np.inf)
        step = step if np.isfinite(step) else 1.0
        width = step * max(1, round(np.ptp(values) / 40 / step))
        edges = np.arange(values.min() - step / 2, values.max() + width, width)
        label = f"{title}: {low:.1f} to {high:.1f}"
        sns.histplot(
            x=values,
            bins=list(edges),
            stat="density",
            color=colour,
            alpha=0.45,
            linewidth=0,
            label=label,
            ax=axes,
        )
        for end in (low, high):
            axes.axvline(end, color=colour, linestyle="--", linewidth=1.4)
    axes.set(xlabel=metric, ylabel="", yticks=[])
    axes.set_title("Recall on resampled test sets, with 95 % intervals")
    axes.legend()
    return figure


# --- recall@K -------------------------------------------------------------------------------------


def _top(scores: np.ndarray, k: int) -> list[int]:
    return np.argsort(-scores, kind="stable")[:k].tolist()


def _recall_at_k(scores: np.ndarray, image_of_caption: np.ndarray, k: int) -> tuple[float, float]:
    """`function(scores, image_of_caption, k) -> (image_to_text, text_to_image)`, RFE eq. 10.

    `scores` is a NumPy array `(n_images, n_captions)` without ties, `image_of_caption`
    `(n_captions,)` the row of each caption's image, in any order; the result is in percent.
    """
    return _to_text(scores, image_of_caption, k), _to_image(scores, image_of_caption, k)


def _to_text(scores: np.ndarray, owner: np.ndarray, k: int, reduce: Callable = np.any) -> float:
    """Image to text; `reduce` says how an image's captions count, given which are in the top K."""
    found = [
        np.isin(np.flatnonzero(owner == image), _top(row, k)) for image, row in enumerate(scores)
    ]
    return 100 * float(np.mean([reduce(each) if len(each) else False for each in found]))


def _to_image(scores: np.ndarray, owner: np.ndarray, k: int) -> float:
    return 100 * float(np.mean([i in _top(scores[:, c], k) for c, i in enumerate(owner)]))


def _five_each(owner: np.ndarray) -> np.ndarray:
    return np.arange(len(owner)) // 5


_FIVE = "`caption // 5` takes five captions for each image for granted: read `image_of_caption`."


def _recall_cases() -> list[Case]:
    rng = np.random.default_rng(0)
    by_hand = np.array([[0.9, 0.1, 0.2, 0.8], [0.3, 0.7, 0.4, 0.6], [0.5, 0.75, 0.1, 0.2]])
    five = np.repeat(np.arange(6), 5)
    # As many captions as with five each, so that `caption // 5` is wrong instead of crashing.
    uneven = np.repeat(np.arange(8), [3, 7, 5, 6, 4, 1, 9, 5])
    shuffled = rng.permutation(uneven)
    cases = [
        ("three images, four captions", (by_hand, np.array([0, 1, 1, 2]), 1)),
        *(("five captions for each image", (rng.random((6, 30)), five, k)) for k in (1, 5)),
        *(
            ("one to nine captions for each image", (rng.random((8, 40)), uneven, k))
            for k in (1, 5)
        ),
        ("captions in random order", (rng.random((8, 40)), shuffled, 2)),
        ("more places than images", (rng.random((8, 40)), uneven, 10)),
    ]
    return [(f"{title}, K={arguments[2]}", arguments) for title, arguments in cases]


def _two_numbers(result: Any, *_: Any) -> np.ndarray:
    values = one_array(result)
    if values.shape != (2,):
        fail(
            f"returned {result!r} instead of two numbers.",
            "Return image-to-text and text-to-image recall: `return i2t, t2i`.",
        )
    return values


check_recall_at_k = Check(
    _recall_at_k,
    _recall_cases(),
    [
        lambda s, o, k: np.array(_recall_at_k(s, o, k)) / 100,
        "That is the right share; give percent.",
        lambda s, o, k: _recall_at_k(s, o, k)[::-1],
        "The two directions are swapped.",
        lambda s, o, k: _recall_at_k(s, _five_each(o), k),
        _FIVE,
        lambda s, o, k: (_to_text(s, o, k), _to_image(s, _five_each(o), k)),
        f"Text to image: {_FIVE}",
        lambda s, o, k: (_to_text(s, _five_each(o), k), _to_image(s, o, k)),
        f"Image to text: {_FIVE}",
        lambda s, o, k: _recall_at_k(-s, o, k),
        "np.argsort puts the smallest first: these are the K worst. Sort -scores.",
        lambda s, o, k: _recall_at_k(s, o, k + 1),
        "You look one place too far: ranks that count from 0 must be < K, not <= K.",
        lambda s, o, k: _recall_at_k(s, o, k - 1),
        "You stop one place too early: the top K has K places.",
        lambda s, o, k: (_to_text(s, o, k, np.mean), _to_image(s, o, k)),
        "Image to text counts an image once *any* of its captions is found; you take the share.",
        lambda s, o, k: (_to_text(s, o, k, np.all), _to_image(s, o, k)),
        "One of an image's captions is enough (any), all need not be found.",
        lambda s, o, k: (_to_text(s, o, k, lambda found: found[0]), _to_image(s, o, k)),
        "Any of an image's captions is right, not only its first.",
    ],
    "Do one query by hand: sort its scores, largest first, and look at the top K.",
    _two_numbers,
)

# --- recall under ties ----------------------------------------------------------------------------


def _recall_under_ties(scores: np.ndarray, right: np.ndarray, k: int) -> float:
    """`function(scores, right, k) -> probability` of one query.

    `scores` `(n_items,)` may hold equal numbers, `right` `(n_items,)` is True for right items; the
    result is the probability that a right one is in the top `k` when equal scores stand in random
    order.
    """
    greater, tied, hits = _counts(scores, right)
    places = min(max(k - greater, 0), tied + hits)
    drawings = list(itertools.combinations([True] * hits + [False] * tied, places))
    return float(np.mean([any(drawing) for drawing in drawings]))


def _counts(scores: np.ndarray, right: np.ndarray) -> tuple[int, int, int]:
    """How many items beat the best right one, and how many wrong and right ones tie with it."""
    best = scores[right].max()
    return (
        int((scores > best).sum()),
        int((scores[~right] == best).sum()),
        int((scores[right] == best).sum()),
    )


def _by_counts(change: Callable[[int, int, int, int], float]) -> Callable:
    """A wrong solution made of the places left in the top K, and those counts."""

    def wrong(scores: np.ndarray, right: np.ndarray, k: int) -> float:
        greater, tied, hits = _counts(scores, right)
        return float(change(max(k - greater, 0), tied, hits, k - greater))

    return wrong


_TIES = (
    ("no tie, found", [0.9, 0.5, 0.1], [1, 0, 0], 1),
    ("no tie, not found", [0.9, 0.5, 0.1], [0, 0, 1], 2),
    ("a constant model", [0.5] * 10, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0], 1),
    ("a constant model", [0.5] * 10, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 5),
    ("three right ones in the tie", [0.5] * 8, [0, 1, 0, 1, 0, 0, 1, 0], 2),
    ("a tie below the top", [0.9, 0.8, 0.4, 0.4, 0.4, 0.1], [0, 0, 0, 1, 0, 0], 3),
    ("a tie out of reach", [0.9, 0.8, 0.4, 0.4], [0, 0, 1, 0], 2),
    ("a tie that fits in", [0.9, 0.4, 0.4, 0.1], [0, 1, 0, 0], 3),
    ("another right one below", [0.9, 0.4, 0.4, 0.4, 0.1], [0, 1, 1, 0, 1], 2),
    ("more places than items", [0.2, 0.2], [0, 1], 5),
)
check_recall_under_ties = Check(
    _recall_under_ties,
    [
        (f"{title}: scores {s}, right {right}, K={k}", (np.array(s), np.array(right) > 0, k))
        for title, s, right, k in _TIES
    ],
    [
        lambda s, r, k: 100 * _recall_under_ties(s, r, k),
        "A probability lies between 0 and 1: no percent here.",
        _by_counts(lambda places, tied, hits, left: left > 0),
        "You let the right item win every tie: a constant model would get 100 %.",
        _by_counts(lambda places, tied, hits, left: left > tied),
        "You let the right item lose every tie: a constant model would get 0 %.",
        lambda s, r, k: float(r[_top(s, k)].any()),
        "argsort leaves equal scores in the order of the file: the result depends on where the "
        "right item happens to stand.",
        _by_counts(lambda places, tied, hits, left: left > tied / (hits + 1)),
        "The mean rank of a tie is either in the top K or not; what is asked is how often.",
        _by_counts(lambda places, tied, hits, left: min(places / (tied + 1), 1)),
        "Several right items may share the best score: count them, not only one.",
        _by_counts(lambda places, tied, hits, left: min(places * hits / (tied + hits), 1)),
        "That is the expected *number* of right items in the top K; two at once count once.",
        _by_counts(lambda places, tied, hits, left: 1 - (tied / (tied + hits)) ** places),
        "Each item stands in one place only: draw without putting back.",
    ],
    "Write down every order of the tied items and count those that end well.",
    one_number,
)
