"""Checks of notebooks 00 and 01: a rank, recall@K with any captions, and recall under ties."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from xmr_course.checks import fail, passed
from xmr_course.checks.mistakes import Case, Mistake, compare


def best_rank(function: Callable) -> None:
    """Checks `function(scores, right) -> rank` of one query.

    `scores` `(n_items,)` holds no number twice, `right` `(n_items,)` is True for right items; the
    result is the place of the best right item, 1 being the top.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "best_rank"

    def read(result: object) -> float:
        if np.shape(result) != ():
            fail(name, f"returned {result!r} instead of one number.", "One query, one rank.")
        return float(result)

    cases = _rank_cases()
    advice = "How many items score higher than the best right one? The rank is one more."
    compare(name, function, cases, _rank, _RANK_MISTAKES, read, advice)
    passed(name, len(cases))


def recall_at_k(function: Callable) -> None:
    """Checks `function(scores, image_of_caption, k) -> (image_to_text, text_to_image)`.

    `scores` is a NumPy array `(n_images, n_captions)` without ties, `image_of_caption`
    `(n_captions,)` the row of each caption's image, in any order; the result is in percent
    (RFE eq. 10).

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "recall_at_k"

    def read(result: object) -> np.ndarray:
        if np.shape(result) != (2,):
            fail(
                name,
                f"returned {result!r} instead of two numbers.",
                "Return image-to-text and text-to-image recall: `return i2t, t2i`.",
            )
        return np.asarray(result, dtype=float)

    cases = _recall_cases()
    advice = "Do one query by hand: sort its scores, largest first, and look at the top K."
    compare(name, function, cases, _recall, _RECALL_MISTAKES, read, advice)
    passed(name, len(cases))


def recall_under_ties(function: Callable) -> None:
    """Checks `function(scores, right, k) -> probability` of one query.

    `scores` `(n_items,)` may hold equal numbers, `right` `(n_items,)` is True for right items; the
    result is the probability that a right one is in the top `k` when equal scores stand in random
    order.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "recall_under_ties"

    def read(result: object) -> float:
        if np.shape(result) != ():
            fail(name, f"returned {result!r} instead of one number.", "One query, one probability.")
        return float(result)

    cases = _tie_cases()
    advice = "Write down every order of the tied items and count those that end well."
    compare(name, function, cases, _tie_probability, _TIE_MISTAKES, read, advice)
    passed(name, len(cases))


def _rank_cases() -> list[Case]:
    cases = [
        ([0.9, 0.5, 0.1], [1, 0, 0]),
        ([0.1, 0.5, 0.9], [1, 0, 0]),
        ([0.3, 0.8, 0.6, 0.1, 0.7], [1, 0, 1, 0, 0]),
        ([-0.3, -0.8, -0.1, -0.2], [1, 1, 0, 0]),
    ]
    return [
        (f"scores {scores}, right {right}", (np.array(scores), np.array(right) > 0))
        for scores, right in cases
    ]


def _rank(scores: np.ndarray, right: np.ndarray) -> int:
    """Walks down the list until a right item comes."""
    for place, item in enumerate(_top(scores, len(scores)), start=1):
        if right[item]:
            return place
    raise ValueError("no item is right")


_RANK_MISTAKES: list[Mistake] = [
    (lambda s, r: _rank(s, r) - 1, "The top is 1, not 0."),
    (lambda s, r: _rank(-s, r), "You count from the worst score up: larger scores come first."),
    (
        lambda s, r: 1 + (s > s[r].min()).sum(),
        "That is the rank of the *worst* right item; the best one counts.",
    ),
    (
        lambda s, r: 1 + (s[~r] > s[r].mean()).sum(),
        "Do not average over the right items; the best one counts.",
    ),
    (
        lambda s, r: 1 + np.argsort(-s)[r].min(),
        "argsort says which item stands at a place, not at which place an item stands.",
    ),
]


def _recall_cases() -> list[Case]:
    rng = np.random.default_rng(0)
    by_hand = np.array([[0.9, 0.1, 0.2, 0.8], [0.3, 0.7, 0.4, 0.6], [0.5, 0.75, 0.1, 0.2]])
    five = np.repeat(np.arange(6), 5)
    # As many captions as with five each, so that `caption // 5` is wrong instead of crashing.
    uneven = np.repeat(np.arange(8), [3, 7, 5, 6, 4, 1, 9, 5])
    shuffled = rng.permutation(uneven)
    cases = [
        ("three images, four captions", (by_hand, np.array([0, 1, 1, 2]), 1)),
        *(("five captions an image", (rng.random((6, 30)), five, k)) for k in (1, 5)),
        *(("one to nine captions an image", (rng.random((8, 40)), uneven, k)) for k in (1, 5)),
        ("captions in random order", (rng.random((8, 40)), shuffled, 2)),
        ("more places than images", (rng.random((8, 40)), uneven, 10)),
    ]
    return [(f"{title}, K={arguments[2]}", arguments) for title, arguments in cases]


def _recall(scores: np.ndarray, image_of_caption: np.ndarray, k: int) -> tuple[float, float]:
    """As RFE eq. 10 reads, one query after the other."""
    found = [
        any(image_of_caption[caption] == image for caption in _top(row, k))
        for image, row in enumerate(scores)
    ]
    back = [image in _top(scores[:, c], k) for c, image in enumerate(image_of_caption)]
    return 100 * float(np.mean(found)), 100 * float(np.mean(back))


def _top(scores: np.ndarray, k: int) -> list[int]:
    return np.argsort(-scores, kind="stable")[:k].tolist()


def _share_of_captions(scores: np.ndarray, image_of_caption: np.ndarray, k: int) -> tuple:
    shares = [
        np.mean(np.isin(np.flatnonzero(image_of_caption == image), _top(row, k)))
        for image, row in enumerate(scores)
    ]
    return 100 * float(np.mean(shares)), _recall(scores, image_of_caption, k)[1]


def _all_captions(scores: np.ndarray, image_of_caption: np.ndarray, k: int) -> tuple:
    found = [
        np.isin(np.flatnonzero(image_of_caption == image), _top(row, k)).all()
        for image, row in enumerate(scores)
    ]
    return 100 * float(np.mean(found)), _recall(scores, image_of_caption, k)[1]


def _first_caption(scores: np.ndarray, image_of_caption: np.ndarray, k: int) -> tuple:
    found = [
        np.flatnonzero(image_of_caption == image)[0] in _top(row, k)
        for image, row in enumerate(scores)
    ]
    return 100 * float(np.mean(found)), _recall(scores, image_of_caption, k)[1]


def _five_each(scores: np.ndarray, image_of_caption: np.ndarray, k: int) -> tuple:
    return _recall(scores, np.arange(len(image_of_caption)) // 5, k)


_RECALL_MISTAKES: list[Mistake] = [
    (lambda s, o, k: np.array(_recall(s, o, k)) / 100, "That is the right share; give percent."),
    (lambda s, o, k: _recall(s, o, k)[::-1], "The two directions are swapped."),
    (
        _five_each,
        "`caption // 5` takes five captions an image for granted: read `image_of_caption`.",
    ),
    (
        lambda s, o, k: _recall(-s, o, k),
        "np.argsort puts the smallest first: these are the K worst. Sort -scores.",
    ),
    (
        lambda s, o, k: _recall(s, o, k + 1),
        "You look one place too far: ranks that count from 0 must be < K, not <= K.",
    ),
    (
        lambda s, o, k: _recall(s, o, k - 1),
        "You stop one place too early: the top K has K places.",
    ),
    (
        _share_of_captions,
        "Image to text counts an image once *any* of its captions is found; you take the share.",
    ),
    (_all_captions, "One of an image's captions is enough (any), all need not be found."),
    (_first_caption, "Any of an image's captions is right, not only its first."),
]


def _tie_cases() -> list[Case]:
    cases = [
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
    ]
    return [
        (
            f"{title}: scores {scores}, right {right}, K={k}",
            (np.array(scores), np.array(right) > 0, k),
        )
        for title, scores, right, k in cases
    ]


def _counts(scores: np.ndarray, right: np.ndarray) -> tuple[int, int, int]:
    best = scores[right].max()
    return (
        int((scores > best).sum()),
        int((scores[~right] == best).sum()),
        int((scores[right] == best).sum()),
    )


def _tie_probability(scores: np.ndarray, right: np.ndarray, k: int) -> float:
    """Goes through all ways to fill the places that the better items leave."""
    greater, tied, hits = _counts(scores, right)
    places = min(max(k - greater, 0), tied + hits)
    drawings = list(itertools.combinations([True] * hits + [False] * tied, places))
    return float(np.mean([any(drawing) for drawing in drawings]))


def _middle(scores: np.ndarray, right: np.ndarray, k: int) -> float:
    greater, tied, hits = _counts(scores, right)
    return float(greater + tied / (hits + 1) < k)


def _each_hit(scores: np.ndarray, right: np.ndarray, k: int) -> float:
    greater, tied, hits = _counts(scores, right)
    return min(max(k - greater, 0) * hits / (tied + hits), 1)


def _one_hit(scores: np.ndarray, right: np.ndarray, k: int) -> float:
    greater, tied, _ = _counts(scores, right)
    return min(max(k - greater, 0) / (tied + 1), 1)


def _with_replacement(scores: np.ndarray, right: np.ndarray, k: int) -> float:
    greater, tied, hits = _counts(scores, right)
    return 1 - (tied / (tied + hits)) ** max(k - greater, 0)


_TIE_MISTAKES: list[Mistake] = [
    (
        lambda s, r, k: 100 * _tie_probability(s, r, k),
        "A probability lies between 0 and 1: no percent here.",
    ),
    (
        lambda s, r, k: float(_counts(s, r)[0] < k),
        "You let the right item win every tie: a constant model would get 100 %.",
    ),
    (
        lambda s, r, k: float(sum(_counts(s, r)[:2]) < k),
        "You let the right item lose every tie: a constant model would get 0 %.",
    ),
    (
        lambda s, r, k: float(r[_top(s, k)].any()),
        "argsort leaves equal scores in the order of the file: the result depends on where the "
        "right item happens to stand.",
    ),
    (
        _middle,
        "The mean rank of a tie is either in the top K or not; what is asked is how often.",
    ),
    (
        _one_hit,
        "Several right items may share the best score: count them, not only one.",
    ),
    (
        _each_hit,
        "That is the expected *number* of right items in the top K; two at once count once.",
    ),
    (
        _with_replacement,
        "Each item stands in one place only: draw without putting back.",
    ),
]
