"""Checks of notebooks 05 and 06: learning rate, a table row's name, and the paired bootstrap."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xmr_course.checks import CheckFailed, call, fail, passed
from xmr_course.checks.mistakes import Case, Mistake, compare


def learning_rate(function: Callable) -> None:
    """Checks `function(epoch, start, every, factor) -> learning rate`.

    The first epoch is 1, as people and histories count: with `every=15` the rate first changes in
    epoch 16.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "learning_rate"

    def read(result: Any) -> float:
        if np.shape(result) != ():
            fail(name, f"returned {result!r} instead of one number.", "One epoch, one rate.")
        return float(result)

    # In units of 1e-4, so that differences between small rates are seen.
    cases: list[Case] = [
        (f"epoch {epoch}, start {start:g}, × {factor:.3g} every {every}",
         (epoch, start, every, factor))
        for start, every, factor, epochs in (
            (2.0, 15, 0.1, (1, 14, 15, 16, 30, 31, 36)),
            (2.0, 15, 1 / 1.2, (1, 15, 16, 31)),
            (5.0, 1, 0.5, (1, 2, 5)),
        )
        for epoch in epochs
    ]  # fmt: skip
    advice = "How many times has the rate been multiplied by `factor` before this epoch begins?"
    compare(name, function, cases, _rate, _RATE_MISTAKES, read, advice)
    passed(name, len(cases))


def parse_name(function: Callable) -> None:
    """Checks `function(name) -> {"avg": …, "max": …, "rnn": …, "emb": …}` of RFE's row names.

    "avg" and "max" are lists of stage numbers (empty when nothing is pooled that way), "rnn" is
    "GRU" or "BiGRU", "emb" is "avg", "max" or None.

    Raises:
        CheckFailed: The first name that is read wrong, and why.
    """
    name = "parse_name"
    read: dict[str, dict] = {}
    for row in _ROWS:
        result = call(name, function, row)
        if not isinstance(result, Mapping) or set(result) != {"avg", "max", "rnn", "emb"}:
            fail(
                name,
                f"{row}: returned {result!r}.",
                'Return a dictionary with the keys "avg", "max", "rnn" and "emb".',
            )
        read[row] = dict(result)
    for row, ours in read.items():
        right = _parse(row)
        for key in right:
            value = list(ours[key]) if key in ("avg", "max") and _is_many(ours[key]) else ours[key]
            if value != right[key]:
                fail(
                    name,
                    f'{row}: "{key}" is {ours[key]!r}, right is {right[key]!r}.',
                    _name_hint(row, key, value, right),
                )
    passed(name, len(_ROWS))


def paired_differences(function: Callable) -> None:
    """Checks `function(hits_a, hits_b, draws) -> differences` of the paired bootstrap.

    `hits_a` and `hits_b` `(n_images,)` say how often each model was right on each image, `draws`
    `(n_draws, n_images)` which images each drawn test set consists of. The result `(n_draws,)` is
    the mean of a minus that of b on each drawn test set, in percent.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "paired_differences"
    rng = np.random.default_rng(0)
    cases: list[Case] = [
        ("three images, two test sets",
         (np.array([1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0]), np.array([[0, 1, 2], [0, 0, 2]]))),
        ("b better than a",
         (np.array([0.0, 0.5, 0.2]), np.array([1.0, 0.5, 0.4]), np.array([[0, 0, 1], [2, 2, 2]]))),
        *(
            (f"{n} random images, {m} test sets",
             (rng.random(n), rng.random(n), rng.integers(n, size=(m, n))))
            for n, m in ((5, 4), (20, 7))
        ),
    ]  # fmt: skip

    def read(result: Any) -> np.ndarray:
        values = np.asarray(result, dtype=float)
        if values.ndim != 1:
            fail(
                name,
                f"returned shape {values.shape}, one number for each drawn test set is wanted.",
                "`hits[draws]` is (n_draws, n_images): take the mean over its last axis.",
            )
        return values

    advice = "Work out the first drawn test set by hand: which images, which hits, which means?"
    try:
        compare(name, function, cases, _differences, _PAIRED_MISTAKES, read, advice)
    except CheckFailed as failure:
        sizes = {len(arguments[0]) for _, arguments in cases}
        ours = np.shape(call(name, function, *cases[0][1]))
        if ours and ours[0] in sizes and ours[0] != len(cases[0][1][2]):
            fail(
                name,
                f"returned {ours[0]} numbers for 2 drawn test sets of 3 images.",
                "The mean goes over the images of a test set (the last axis), not over the sets.",
            )
        raise failure from None
    passed(name, len(cases))


def _rate(epoch: int, start: float, every: int, factor: float) -> float:
    return start * factor ** ((epoch - 1) // every)


_RATE_MISTAKES: list[Mistake] = [
    (lambda epoch, start, every, factor: start * factor ** (epoch // every),
     "One epoch too early: the first epoch is 1, so epoch 15 still belongs to the first fifteen. "
     "Count the epochs that are already over, `epoch - 1`."),
    (lambda epoch, start, every, factor: start * factor if epoch > every else start,
     "The rate falls again and again, every `every` epochs, not only once."),
    (lambda epoch, start, every, factor: start * factor ** ((epoch - 1) / every),
     "The rate falls in steps: use `//`, which rounds down, not `/`."),
    (lambda epoch, start, every, factor: start * factor ** (epoch - 1),
     "The rate is multiplied by `factor` once in `every` epochs, not in each."),
    (lambda epoch, start, every, factor: start / factor ** ((epoch - 1) // every),
     "The rate grows: `factor` is below 1, so multiply by it."),
    (lambda epoch, start, every, factor: start * factor * ((epoch - 1) // every),
     "Two drops multiply by `factor` twice: that is a power, `factor ** drops`."),
]  # fmt: skip

# All printed forms, and some that only the grammar allows.
_ROWS = (
    "avg-4-BiGRU", "avg-4-GRU-emb-avg", "avg-4-BiGRU-emb-max", "avg-1234-BiGRU-emb-avg",
    "avg-1234-max-1234-BiGRU-emb-avg", "avg-4-max-4-BiGRU-emb-avg", "avg-4-max-123-BiGRU-emb-avg",
    "avg-4-max-34-BiGRU-emb-avg", "avg-4-max-1234-BiGRU-emb-avg", "avg-24-GRU", "avg-3-max-2-GRU",
    "avg-1-max-23-GRU-emb-max",
)  # fmt: skip


def _parse(row: str) -> dict[str, Any]:
    found = re.fullmatch(r"avg-(\d+)(?:-max-(\d+))?-(BiGRU|GRU)(?:-emb-(avg|max))?", row)
    stages = [[int(digit) for digit in found[group] or ""] for group in (1, 2)]
    return {"avg": stages[0], "max": stages[1], "rnn": found[3], "emb": found[4]}


def _is_many(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _name_hint(row: str, key: str, value: Any, right: dict[str, Any]) -> str:
    """What probably went wrong with one part of a name."""
    if key in ("avg", "max"):
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return "The digits are stages of their own: 1234 is [1, 2, 3, 4]."
        if _is_many(value) and [str(stage) for stage in value] == [str(s) for s in right[key]]:
            return "Stages are numbers, not text: int(digit) for each digit."
        if value is None:
            return "Nothing pooled that way is an empty list."
        if key == "max" and "emb-max" in row:
            return "In `emb-max` the max belongs to the words: stages have digits behind them."
        return "The stages are the digits right behind this word."
    if key == "rnn":
        return "`BiGRU` ends in `GRU`, too: look for the longer one first, or compare whole parts."
    if right["emb"] is None:
        return "Without `-emb-` in the name, word embeddings stay out: None."
    return "How words are pooled stands behind `emb-`; the first avg and max speak of the image."


def _differences(hits_a: np.ndarray, hits_b: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return np.array([100 * np.mean([hits_a[i] - hits_b[i] for i in drawn]) for drawn in draws])


def _unpaired(hits_a: np.ndarray, hits_b: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Other images for b: those of the test set drawn before."""
    return 100 * (hits_a[draws].mean(1) - hits_b[np.roll(draws, 1, axis=0)].mean(1))


_PAIRED_MISTAKES: list[Mistake] = [
    (lambda a, b, draws: (a - b)[draws].mean(1), "Percent, please: times 100."),
    (lambda a, b, draws: 100 * (a - b)[draws].sum(1),
     "A recall is a mean over the images of a test set, not a sum."),
    (lambda a, b, draws: 100 * (b - a)[draws].mean(1), "The sign: a minus b."),
    (lambda a, b, draws: 100 * np.abs(a[draws].mean(1) - b[draws].mean(1)),
     "Keep the sign: without it no interval could ever include zero."),
    (lambda a, b, draws: 100 * np.abs(a - b)[draws].mean(1),
     "Keep the sign: images where b is better count against a."),
    (lambda a, b, draws: 100 * (a[draws].mean(1) - b.mean()),
     "Only a was drawn anew: b has to be looked at on the very same images."),
    (lambda a, b, draws: 100 * (a.mean() - b[draws].mean(1)),
     "Only b was drawn anew: a has to be looked at on the very same images."),
    (_unpaired, "a and b saw different test sets: use the same row of `draws` for both."),
    (lambda a, b, draws: np.full(len(draws), 100 * (a.mean() - b.mean())),
     "This is the difference on the whole test set: `draws` says which images to take."),
]  # fmt: skip
