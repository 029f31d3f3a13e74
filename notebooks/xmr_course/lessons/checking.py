"""Checks of exercises: each accepts a right solution and explains wrong ones.

A mistake is recognised when it gives the very results that the student's function gives, on every
case: single cases are often answered alike by different mistakes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

# What the case is, and the arguments.
Case = tuple[str, tuple]
# What the case is, the arguments, and the hint for whoever has all cases right but this one.
Trap = tuple[str, tuple, str]


class CheckFailed(AssertionError):
    """A solution is not right yet; the message says where it differs and what may be wrong."""


def fail(what: str, hint: str = "") -> None:
    """Raises `CheckFailed`.

    >>> fail("returned 3.", "Return a list.")
    Traceback (most recent call last):
    xmr_course.lessons.checking.CheckFailed: returned 3.
      Hint: Return a list.
    """
    raise CheckFailed(what + (f"\n  Hint: {hint}" if hint else ""))


class Check:
    """The check of one exercise: called with a student's function, it prints the verdict.

    >>> def _double(x):
    ...     return 2 * x
    >>> wrong = [lambda x: x * x, "Do not square.", lambda x: -2 * x, "The sign is wrong."]
    >>> check = Check(_double, [("two", (2,)), ("three", (3,))], wrong, "Add x to itself.")
    >>> check(lambda x: x + x)
    ✓ double: all 2 checks passed.
    >>> check(lambda x: x * x)
    ✗ double: three: got 9, right is 6.
      Hint: Do not square.
    """

    def __init__(
        self,
        solution: Callable,
        cases: Sequence[Case],
        mistakes: Sequence[Any],
        advice: str | Callable[[tuple, Any, Any], str],
        read: Callable[..., Any] | None = None,
        traps: Sequence[Trap] = (),
        further: Sequence[Callable[[Callable], None]] = (),
    ) -> None:
        """Describes an exercise.

        Args:
            solution: A right solution; its docstring says what the function takes and returns, its
                name without leading underscores is the exercise's.
            cases: What functions are tried on; they get copies.
            mistakes: Wrong solutions, each followed by its hint.
            advice: The hint when no known mistake fits, or what makes it of the case's arguments,
                the student's result and the right one.
            read: Brings a result, given with the case's arguments, into a form that can be
                compared, or fails; without it, results become tensors.
            traps: Further cases, each with the hint for a function that fails only there.
            further: Called with a function that is right on all cases; they fail or return.
        """
        self.name, self.solution = solution.__name__.lstrip("_"), solution
        self.cases, self.traps, self.further = list(cases), list(traps), list(further)
        self.mistakes = list(zip(mistakes[::2], mistakes[1::2], strict=True))
        self.advice, self.read = advice, read or one_tensor
        self.__doc__ = solution.__doc__

    def __call__(self, function: Callable) -> None:
        """Prints the verdict on a student's function."""
        try:
            self.examine(function)
        except CheckFailed as failure:
            print(f"✗ {self.name}: {failure}")
        else:
            n = len(self.cases) + len(self.traps) + len(self.further)
            print(f"✓ {self.name}: all {n} checks passed.")

    def examine(self, function: Callable) -> None:
        """Compares a function with the right solution.

        Raises:
            CheckFailed: It is wrong; the message has the first wrong case, and why.
        """
        results, failures = {}, []
        for number, (_, arguments) in enumerate(self.cases):
            try:
                results[number] = self._result(function, arguments)
            except CheckFailed as failure:  # a wrong number elsewhere says more than a crash
                failures.append(failure)
        for number, result in results.items():
            title, arguments = self.cases[number]
            right = self._right(arguments)
            if not same(result, right):
                hint = self._diagnosis(results) or self._advice(arguments, result, right)
                fail(f"{title}{difference(result, right)}", hint)
        if failures:
            raise failures[0]
        for title, arguments, hint in self.traps:
            result, right = self._result(function, arguments), self._right(arguments)
            if not same(result, right):
                fail(f"{title}{difference(result, right)}", hint)
        for examine in self.further:
            examine(function)

    def _result(self, function: Callable, arguments: tuple) -> Any:
        return self.read(call(function, *copy.deepcopy(arguments)), *arguments)

    def _right(self, arguments: tuple) -> Any:
        return self.read(self.solution(*copy.deepcopy(arguments)), *arguments)

    def _diagnosis(self, results: Mapping[int, Any]) -> str:
        """The hint of the first mistake that gives the very same results, "" without one."""
        for wrong, hint in self.mistakes:
            try:
                if all(same(r, self._result(wrong, self.cases[i][1])) for i, r in results.items()):
                    return hint
            except CheckFailed:  # this mistake cannot answer one of the cases
                continue
        return ""

    def _advice(self, arguments: tuple, ours: Any, right: Any) -> str:
        shapes = np.shape(ours), np.shape(right)
        if shapes[0] != shapes[1] and math.prod(shapes[0]) == math.prod(shapes[1]):
            return "Only the shape differs: keep or take away dimensions where you pool or add up."
        return self.advice if isinstance(self.advice, str) else self.advice(arguments, ours, right)


def call(function: Callable, *arguments: Any) -> Any:
    """Calls the student's function; an unwritten stub or a crash becomes a `CheckFailed`."""
    try:
        result = function(*arguments)
    except NotImplementedError:
        fail("is not written yet.", "Replace `raise NotImplementedError` by your solution.")
    except Exception as error:
        fail(f"crashed with {type(error).__name__}: {error}")
    if result is None:
        fail("returned None.", "Did you forget `return`?")
    return result


def one_number(result: Any, *_: Any) -> float:
    """Reads a result that must be a single number."""
    try:
        if not isinstance(result, bool):
            return float(result)
    except (TypeError, ValueError, RuntimeError):
        pass
    fail(f"returned {result!r} instead of one number.", "Return one number.")


def one_array(result: Any, *_: Any) -> np.ndarray:
    """Reads a result that must be an array of numbers, or what can become one."""
    try:
        return np.asarray(result, dtype=float)
    except (TypeError, ValueError):
        fail(f"returned {type(result).__name__}.", "Return one array of numbers.")


def one_tensor(result: Any, *_: Any) -> Tensor:
    """Reads a result that must be a tensor, or what can become one."""
    try:
        return torch.as_tensor(result).detach().float()
    except (TypeError, ValueError, RuntimeError):
        fail(f"returned {type(result).__name__}.", "Return one tensor.")


def same(ours: Any, right: Any, tolerance: float = 1e-4) -> bool:
    """Whether two results have one shape and nearly the same values; words must be equal."""
    try:
        a, b = (torch.as_tensor(x).detach().double() for x in (ours, right))
    except (TypeError, ValueError, RuntimeError):
        return ours == right
    return a.shape == b.shape and torch.allclose(a, b, tolerance, tolerance, equal_nan=True)


def difference(ours: Any, right: Any) -> str:
    """Where two results differ, as the end of a message that begins with the case.

    >>> difference(np.eye(2), np.ones((2, 2)))
    ', row 0: got (1, 0), right is (1, 1).'
    >>> difference(np.zeros(3), 0.25)
    ': the shape is (3,) and should be ().'
    """
    if isinstance(right, Mapping):
        key = next(key for key in right if ours[key] != right[key])
        return f": {key} is {ours[key]!r}, right is {right[key]!r}."
    if isinstance(right, Tensor | np.ndarray):
        a, b = (torch.as_tensor(x).double() for x in (ours, right))
        if a.shape != b.shape:
            return f": the shape is {tuple(a.shape)} and should be {tuple(b.shape)}."
        wrong = ~torch.isclose(a, b, 1e-4, 1e-4)
        place = [int(i) for i in wrong.nonzero()[0]]
        if b.ndim > 2:
            at = tuple(place)
            return f": number {place} is {a[at]:.4g} and should be {b[at]:.4g}."
        if b.ndim == 2:
            return f", row {place[0]}: got {shown(a[place[0]])}, right is {shown(b[place[0]])}."
    elif np.shape(ours) != np.shape(right):
        return f": the shape is {np.shape(ours)} and should be {np.shape(right)}."
    return f": got {shown(ours)}, right is {shown(right)}."


def shown(values: Any, most: int = 8) -> str:
    """One value or several, short enough for a message.

    >>> shown(0.25), shown((50.0, 33.3333)), shown((None, "in")), shown(range(99), most=2)
    ('0.25', '(50, 33.33)', '(None, in)', '(0, 1, …)')
    """
    if values is None or isinstance(values, str):
        return str(values)
    try:
        first = [shown(value) for value in values]
    except TypeError:  # one number cannot be iterated over
        return f"{float(values):.4g}"
    return "(" + ", ".join(first[:most] + ["…"] * (len(first) > most)) + ")"
