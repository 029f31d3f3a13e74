"""Errors that a user can act on: each message names the file or row and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class XMRError(Exception):
    """Base of all errors raised on purpose; the command line prints only the message."""


class DataError(XMRError, ValueError):
    """Unusable input: the message names the file, line or row and what to do about it."""


class DamagedFileError(DataError):
    """A file of the kit's own is cut short or changed: its contents do not fit its checksum."""


class MissingDependencyError(XMRError, ImportError):
    """An optional part is not installed: the message holds the command that installs it."""


class UnknownNameError(XMRError, KeyError):
    """A recipe, table, backbone, … of that name does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = list(known)
        lower = {each.lower(): each for each in reversed(known)}  # wrong case is near, too
        near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.4)
        near = [lower[each] for each in near]
        hint = (
            f"Did you mean {' or '.join(map(repr, near))}?"
            if near
            else f"Known: {', '.join(known)}."
        )
        super().__init__(f"There is no {kind} named {name!r}. {hint}")

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return self.args[0]
