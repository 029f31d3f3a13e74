"""Comparing a solution with the right one; known wrong ones tell what went wrong.

A mistake is recognised when it makes the very results that the student's function makes, on every
case: single cases are often answered alike by different mistakes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xmr_course.checks import CheckFailed, call, fail, same

# What the case is, and the arguments.
Case = tuple[str, tuple]
# A wrong solution of an exercise, and what to tell a student who wrote it.
Mistake = tuple[Callable[..., Any], str]


def compare(
    name: str,
    function: Callable,
    cases: Sequence[Case],
    reference: Callable,
    mistakes: Sequence[Mistake],
    read: Callable[[Any], Any],
    advice: str,
) -> None:
    """Holds a function against the right one on all cases.

    Args:
        name: Of the exercise.
        function: The student's.
        cases: What it is tried on; it gets copies.
        reference: The right solution.
        mistakes: Wrong ones.
        read: Brings what the student's function returns into the form of the reference's result,
            or raises `CheckFailed`.
        advice: What to do when no known mistake fits.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    results: list[Any] = []
    wrong = None
    for title, arguments in cases:
        try:
            results.append(read(call(name, function, *copy.deepcopy(arguments))))
        except CheckFailed:
            if wrong is None:
                raise
            break  # a wrong number says more than the crash that follows it
        if wrong is None and not same(results[-1], reference(*arguments)):
            wrong = title, results[-1], reference(*arguments)
    if wrong is not None:
        title, ours, right = wrong
        hint = explain(results, cases, mistakes) or advice
        fail(name, f"{title}: got {shown(ours)}, right is {shown(right)}.", hint)


def one_number(name: str) -> Callable[[Any], float]:
    """What reads the result of the exercise `name` as a single number, for `compare`."""

    def read(result: Any) -> float:
        if np.shape(result) != ():
            fail(name, f"returned shape {np.shape(result)}.", "Return one number.")
        return float(result)

    return read


def explain(results: Sequence[Any], cases: Sequence[Case], mistakes: Sequence[Mistake]) -> str:
    """The hint of the first mistake that makes the very same results, "" when there is none.

    >>> cases = [("two", (2,)), ("three", (3,))]
    >>> explain([4, 9], cases, [(lambda x: x + x, "Doubled."), (lambda x: x * x, "Squared.")])
    'Squared.'
    """
    for wrong, hint in mistakes:
        pairs = zip(results, cases, strict=False)  # results may stop at a crash
        if all(same(result, wrong(*arguments)) for result, (_, arguments) in pairs):
            return hint
    return ""


def shown(values: Any) -> str:
    """One number or several, short enough for a message.

    >>> shown(0.25), shown((50.0, 33.3333)), shown([[1, 2], [3, 4]])
    ('0.25', '(50, 33.33)', '((1, 2), (3, 4))')
    """
    try:
        return "(" + ", ".join(shown(value) for value in values) + ")"
    except TypeError:  # one number cannot be iterated over
        return f"{float(values):.4g}"
