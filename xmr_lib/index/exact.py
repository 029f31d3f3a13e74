"""The exact index: all vectors in one file, every one of them compared.

It is also the store that the other indexes are filled from: encoding pictures is what costs time,
and is done once. Vectors are only ever appended; a log says under which id, and what was removed.
`state.json` says how far both files count, and is replaced last, so that whatever kills a process,
complete batches stay and half a batch never counts.

    state.json          how many rows and log bytes count
    vectors-<n>.f32     float32 rows, in the order they came
    log-<n>.jsonl       one line an operation: ["+", id] for the next row, ["-", id]
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xmr_lib.index.base import (
    Neighbours,
    VectorIndex,
    damaged,
    read_state,
    require_dim,
    write_state,
)
from xmr_lib.retrieval import top_k

_MANY_DEAD = 1000  # rows that nobody looks at any more, before the file is written anew
_QUERIES = 256  # compared at once


@dataclass(frozen=True)
class _Rows:
    """Rows of the file, and which of them count; what `top_k` takes blocks of."""

    vectors: Tensor  # (n, dim)
    alive: Tensor  # (n,) bool

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice) -> _Rows:
        return _Rows(self.vectors[rows], self.alive[rows])


def _cosine(queries: Tensor, rows: _Rows) -> Tensor:
    """`(n_queries, n_rows)`; rows that do not count come last."""
    return (queries @ rows.vectors.T).masked_fill(~rows.alive, -torch.inf)


class ExactIndex(VectorIndex):
    """Compares a query with every vector.

    Args:
        folder: Where it lies, or will.
        dim: Length of a vector.

    Raises:
        DataError: A file is damaged, or holds vectors of another length.

    >>> import tempfile
    >>> index = ExactIndex(Path(tempfile.mkdtemp()), dim=2)
    >>> index.add(["east", "north"], np.eye(2))
    >>> index.search(np.array([[0.6, 0.8]]), k=1)[0][0][0]
    'north'
    """

    kind = "exact"

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder, self.dim = Path(folder), dim
        self._state_file = self.folder / "state.json"
        self._start()
        self._read()

    def _start(self) -> None:
        self._generation = self._log_bytes = self._horizon = 0
        self._names: list[str] = []  # of every row, also those that do not count any more
        self._row: dict[str, int] = {}  # of every id that is there
        self._operations: list[str] = []  # ids, since `_horizon`

    def refresh(self) -> None:
        """Reads again what another process may have changed."""
        state = read_state(self._state_file, {"changes": int, "generation": int})
        now = (state["changes"], state["generation"]) if state else (0, 0)
        if now != (self.changes, self._generation):
            self._start()
            self._read()

    @property
    def changes(self) -> int:
        """Number of operations so far: the state that other indexes follow."""
        return self._horizon + len(self._operations)

    @property
    def description(self) -> str:
        """What it is."""
        return "exact search"

    @property
    def ids(self) -> list[str]:
        """All ids that are there, in the order of their rows."""
        return list(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that are not there, in their order."""
        return [each for each in ids if each not in self._row]

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """The vectors of ids that are there, `(n, dim)`, as a copy."""
        return np.array(self._matrix[[self._row[each] for each in ids]])

    def changed(self, since: int, until: int) -> list[str] | None:
        """Ids that operations `since` to `until` were about, each once.

        None: these operations are not known any more, because the file was written anew since.
        """
        if since < self._horizon:
            return None
        first, last = since - self._horizon, until - self._horizon
        return list(dict.fromkeys(self._operations[first:last]))

    def blocks(self, size: int = 4096) -> Iterator[tuple[list[str], np.ndarray]]:
        """All ids with their vectors, some at a time."""
        ids = self.ids
        for start in range(0, len(ids), size):
            some = ids[start : start + size]
            yield some, self.vectors(some)

    # --- change ------------------------------------------------------------------------------

    def _add(self, ids: list[str], vectors: np.ndarray) -> None:
        self._append(vectors, [("+", each) for each in ids])

    def remove(self, ids: Sequence[str]) -> int:
        """Takes ids out; says how many of them were there."""
        there = [each for each in dict.fromkeys(ids) if each in self._row]
        if there:
            self._append(np.empty((0, self.dim), np.float32), [("-", each) for each in there])
        return len(there)

    def clear(self) -> None:
        """Takes everything out."""
        self.remove(self.ids)

    def save(self) -> None:
        """Nothing to do: `add` and `remove` write."""

    def _append(self, vectors: np.ndarray, operations: list[tuple[str, str]]) -> None:
        lines = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in operations).encode()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._forget()  # Windows writes to no file that is mapped
        if len(vectors):
            _write_at(self._file("vectors", "f32"), len(self._names) * self._row_bytes, vectors)
        _write_at(self._file("log", "jsonl"), self._log_bytes, lines)
        self._log_bytes += len(lines)
        self._apply(operations)
        self._operations += [each for _, each in operations]
        self._write_state()
        dead = len(self._names) - len(self._row)
        if dead > _MANY_DEAD and dead > len(self._row):
            self._compact()

    def _apply(self, operations: Sequence[Sequence[str]]) -> None:
        """Takes operations that are on disk into account."""
        for sign, each in operations:
            self._row.pop(each, None)  # an updated id goes to the end, where its row is
            if sign == "+":
                self._row[each] = len(self._names)
                self._names.append(each)
        self._forget()

    def _forget(self) -> None:
        """Lets go of the mapped rows."""
        self.__dict__.pop("_matrix", None)
        self.__dict__.pop("_alive", None)

    def _compact(self) -> None:
        """Writes the rows that count to new files; the old ones go last."""
        ids, old = self.ids, self._generation
        kept = self._matrix
        rows = [self._row[each] for each in ids]
        self._generation += 1
        with self._file("vectors", "f32").open("wb") as stream:
            for start in range(0, len(rows), 4096):
                stream.write(kept[rows[start : start + 4096]].tobytes())
            _sync(stream)
        lines = "".join(json.dumps(("+", each), ensure_ascii=False) + "\n" for each in ids).encode()
        _write_at(self._file("log", "jsonl"), 0, lines)
        self._log_bytes, self._horizon, self._operations = len(lines), self.changes, []
        self._names, self._row = [], {}
        self._apply([("+", each) for each in ids])
        self._write_state()
        del kept
        for file in (self._file("vectors", "f32", old), self._file("log", "jsonl", old)):
            file.unlink(missing_ok=True)

    # --- look --------------------------------------------------------------------------------

    def _search(self, queries: np.ndarray, k: int) -> Neighbours:
        rows = _Rows(torch.from_numpy(self._matrix), self._alive)
        found: Neighbours = []
        for start in range(0, len(queries), _QUERIES):
            some = torch.from_numpy(queries[start : start + _QUERIES])
            scores, places = top_k(_cosine, some, rows, k)
            if not torch.isfinite(scores).all():
                raise damaged(self._file("vectors", "f32"), "it holds NaN or infinity")
            found += [
                [(self._names[row], score) for row, score in zip(*both, strict=True)]
                for both in zip(places.tolist(), scores.tolist(), strict=True)
            ]
        return found

    @cached_property
    def _matrix(self) -> np.ndarray:
        """All rows `(n, dim)`, mapped into memory; copy-on-write, because torch wants to write."""
        if not self._names:
            return np.empty((0, self.dim), np.float32)
        shape = (len(self._names), self.dim)
        return np.memmap(self._file("vectors", "f32"), np.float32, mode="c", shape=shape)

    @cached_property
    def _alive(self) -> Tensor:
        """Which rows count, `(n,)`."""
        alive = torch.zeros(len(self._names), dtype=torch.bool)
        alive[list(self._row.values())] = True
        return alive

    # --- files -------------------------------------------------------------------------------

    def _file(self, name: str, suffix: str, generation: int | None = None) -> Path:
        number = self._generation if generation is None else generation
        return self.folder / f"{name}-{number}.{suffix}"

    @property
    def _row_bytes(self) -> int:
        return 4 * self.dim

    def _write_state(self) -> None:
        content = {"kind": self.kind, "dim": self.dim, "generation": self._generation,
                   "rows": len(self._names), "log_bytes": self._log_bytes,
                   "horizon": self._horizon, "changes": self.changes}  # fmt: skip
        write_state(self._state_file, content)

    def _read(self) -> None:
        numbers = ("dim", "generation", "rows", "log_bytes", "horizon", "changes")
        state = read_state(self._state_file, dict.fromkeys(numbers, int))
        if state is None:
            return
        require_dim(self.folder, state["dim"], self.dim)
        self._generation, self._log_bytes = state["generation"], state["log_bytes"]
        log = self._file("log", "jsonl")
        try:
            content = log.read_bytes()[: self._log_bytes]
            operations = [json.loads(line) for line in content.splitlines()]
            self._apply(operations)
        except (OSError, ValueError, TypeError) as error:
            raise damaged(log, repr(error)) from None
        rows = self._file("vectors", "f32")
        size = rows.stat().st_size if rows.is_file() else 0
        if len(content) < self._log_bytes or len(self._names) != state["rows"]:
            raise damaged(log, f"{len(self._names)} of {state['rows']} rows have a name")
        if size < state["rows"] * self._row_bytes:
            raise damaged(rows, f"{size} bytes, not {state['rows'] * self._row_bytes}")
        self._horizon = state["horizon"]
        known = state["changes"] - self._horizon
        self._operations = [each for _, each in operations[len(operations) - known :]]


def _write_at(path: Path, offset: int, content: bytes | np.ndarray) -> None:
    """Writes behind what counts, over what a killed process may have left there."""
    with path.open("r+b" if path.is_file() else "w+b") as stream:
        stream.truncate(offset)
        stream.seek(offset)
        stream.write(content)
        _sync(stream)


def _sync(stream) -> None:
    """Makes sure that a file's content is on disk before the state says so."""
    stream.flush()
    os.fsync(stream.fileno())
