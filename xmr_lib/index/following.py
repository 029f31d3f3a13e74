"""Fills an index from the exact one, and keeps it up to date.

The exact index counts its operations, and an index that follows it remembers up to where it has
made them; an index that begins anew asks which ids it lacks. Either way what is left to do is
known after any kill, and doing a batch twice changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from tqdm.auto import tqdm

from xmr_lib.index.base import PER_LIST, VectorIndex, lists_for
from xmr_lib.index.exact import ExactIndex

_BATCH = 1000  # ids at once
_SECONDS_BETWEEN_SAVES = 30.0  # faiss writes all of its file each time


def follow(index: VectorIndex, exact: ExactIndex) -> None:
    """Makes an index hold what the exact one holds.

    Args:
        index: What follows.
        exact: What it follows.
    """
    known = index.synced <= exact.changes and exact.changed(index.synced, exact.changes) is not None
    if index.outgrown(len(exact)) or not known:
        _begin(index, exact)
    elif index.synced < exact.changes:
        _replay(index, exact)
    if len(index) != len(exact):
        _fill(index, exact)
    if len(index) != len(exact):  # it holds what nobody here put in
        _begin(index, exact)
        _fill(index, exact)


def _begin(index: VectorIndex, exact: ExactIndex) -> None:
    """Empties an index, and readies it for what is to come."""
    index.clear()
    index.prepare(len(exact), lambda: _sample(exact))
    index.synced = exact.changes  # what is put in from now on has seen all operations
    index.save()


def _fill(index: VectorIndex, exact: ExactIndex) -> None:
    """Puts in what the index lacks."""
    ids = index.missing(exact.ids)
    with _saving(index, len(exact), len(exact) - len(ids)) as step:
        for start in range(0, len(ids), _BATCH):
            some = ids[start : start + _BATCH]
            index.add(some, exact.vectors(some))
            step(len(some))


def _replay(index: VectorIndex, exact: ExactIndex) -> None:
    """Makes the operations that the index has not made yet."""
    with _saving(index, exact.changes, index.synced) as step:
        while index.synced < exact.changes:
            until = min(index.synced + _BATCH, exact.changes)
            changed = exact.changed(index.synced, until)
            gone = set(exact.missing(changed))
            there = [each for each in changed if each not in gone]
            index.remove(list(gone))
            index.add(there, exact.vectors(there))
            done, index.synced = until - index.synced, until
            step(done)


@contextmanager
def _saving(index: VectorIndex, total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Shows progress; saves from time to time, and at the end whatever happens."""
    saved = time.monotonic()
    bar = tqdm(total=total, initial=done, desc=f"load into {index.kind}", leave=False)

    def step(count: int) -> None:
        nonlocal saved
        bar.update(count)
        if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES:
            index.save()
            saved = time.monotonic()

    try:
        yield step
        index.settle()
    finally:
        bar.close()
        index.save()


def _sample(exact: ExactIndex) -> np.ndarray:
    """Vectors from all over the exact index, as many as k-means wants."""
    ids = exact.ids
    count = min(len(ids), PER_LIST * lists_for(len(ids)))
    places = np.sort(np.random.default_rng(0).permutation(len(ids))[:count])
    return exact.vectors([ids[place] for place in places])
