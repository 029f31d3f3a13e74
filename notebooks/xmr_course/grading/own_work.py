"""A small guard for assignments: the answer is written by the student, not imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable


def own_work(function: Callable) -> None:
    """Refuses a function that was imported, or that calls this kit instead of doing the work.

    It keeps honest people honest. A determined student can get round it, but not unseen.

    Args:
        function: What the student wrote in the notebook.

    Raises:
        AssertionError: It comes from a module, or its source mentions `xmr_lib`.

    >>> own_work(inspect.cleandoc)
    Traceback (most recent call last):
    AssertionError: cleandoc was imported from inspect: write it yourself, in its cell.
    """
    name = getattr(function, "__name__", repr(function))
    assert callable(function), f"{name} is not a function any more: was its name used twice?"
    module = getattr(function, "__module__", None)
    assert module == "__main__", (
        f"{name} was imported from {module}: write it yourself, in its cell."
    )
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # made by exec, or by a class: nothing to read
        return
    assert "xmr_lib" not in source, f"{name} calls xmr_lib: write it yourself, with numpy or torch."
