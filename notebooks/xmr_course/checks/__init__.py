"""Checks that the notebooks' exercises call: each accepts a right solution and explains wrong ones.

A check takes the student's function, compares it with known answers, and either prints one line or
raises `CheckFailed` with what went wrong and, for typical mistakes, why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class CheckFailed(AssertionError):
    """A solution is not right yet; the message says where it differs and what may be wrong."""


def passed(name: str, n_cases: int) -> None:
    """Prints the line that every successful check ends with.

    >>> passed("recall_at_k", 5)
    ✓ recall_at_k: all 5 checks passed.
    """
    print(f"✓ {name}: all {n_cases} checks passed.")


def fail(name: str, what: str, hint: str = "") -> None:
    """Raises `CheckFailed` with one message for all checks' failures."""
    raise CheckFailed(f"✗ {name}: {what}" + (f"\n  Hint: {hint}" if hint else ""))


def call(name: str, function: Callable, *arguments: Any) -> Any:
    """Calls the student's function; an unwritten stub or a crash becomes a `CheckFailed`."""
    try:
        result = function(*arguments)
    except NotImplementedError:
        fail(name, "is not written yet.", "Replace `raise NotImplementedError` by your solution.")
    except Exception as error:
        fail(name, f"crashed with {type(error).__name__}: {error}")
    if result is None:
        fail(name, "returned None.", "Did you forget `return`?")
    return result


def same(ours: Any, theirs: Any, tolerance: float = 1e-4) -> bool:
    """Whether two numbers, arrays or tensors have one shape and, nearly, the same values."""
    a, b = (torch.as_tensor(x).detach().to(torch.float64) for x in (ours, theirs))
    return a.shape == b.shape and torch.allclose(a, b, atol=tolerance, rtol=tolerance)


def try_out(check: Callable[..., None], *arguments: Any) -> None:
    """Runs a check and prints its verdict instead of stopping the notebook at an unsolved exercise.

    >>> def my_check(function):
    ...     call("double", function, 2)
    >>> def double(x):
    ...     raise NotImplementedError
    >>> try_out(my_check, double)
    ✗ double: is not written yet.
      Hint: Replace `raise NotImplementedError` by your solution.
    """
    try:
        check(*arguments)
    except CheckFailed as failure:
        print(failure)
