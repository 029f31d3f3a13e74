"""What every index can do, and what it takes: unit vectors under names.

Vectors have length one, so that their product is the cosine, and ids are names that people use
(a picture's file name), so that one says which picture is to be replaced or taken out.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from xmr_lib.data.feature_store import write_atomically
from xmr_lib.errors import DataError

Neighbours = list[list[tuple[str, float]]]  # of each query: (id, cosine), best first
LONGEST_ID = 1024  # bytes; a Milvus collection must say so beforehand
SMALL = 10_000  # vectors up to which comparing all of them is quick enough
PER_LIST = 64  # vectors of a sample that k-means has for each list
_LENGTH_SLACK = 1e-3  # float16 vectors have lengths from 0.9995 to 1.0005


def lists_for(n: int) -> int:
    """Lists to divide `n` vectors among; 0: none, because comparing all of them is quick enough.

    >>> lists_for(10_000), lists_for(100_000)
    (0, 632)
    """
    return 0 if n <= SMALL else int(2 * n**0.5)


class VectorIndex(ABC):
    """Unit vectors by name, searched by cosine.

    Attributes:
        kind: "exact", "faiss" or "milvus".
        dim: Length of a vector.
        lists: Lists that its vectors are divided among; 0: none, all are compared.
        effort: Lists that a query looks into; None: a sixteenth of them.
        synced: How far an index has followed the exact one (see `following.follow`).
    """

    kind: ClassVar[str]
    dim: int
    lists: int = 0
    effort: int | None = None
    synced: int = 0

    def add(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Puts vectors in; an id that is there already gets the new vector.

        Args:
            ids: Names; of one that comes twice the later vector counts.
            vectors: Unit vectors `(n, dim)`.

        Raises:
            DataError: Another length, NaN, no unit vectors, a number of ids that differs from that
                of vectors, or an id that is empty or too long.
        """
        ids, vectors = _checked(ids, vectors, self.dim)
        if ids:
            self._add(ids, vectors)

    def search(self, queries: np.ndarray, k: int) -> Neighbours:
        """The `k` nearest of each query, best first; fewer where the index holds fewer.

        Args:
            queries: Unit vectors `(n_queries, dim)`.
            k: How many.

        Raises:
            DataError: Queries of another length, or with NaN.
            ValueError: `k` is below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        queries = _checked_vectors(queries, self.dim, [f"query {i}" for i in range(len(queries))])
        k = min(k, len(self))
        return self._search(queries, k) if k and len(queries) else [[] for _ in queries]

    @abstractmethod
    def _add(self, ids: list[str], vectors: np.ndarray) -> None:
        """`add` with what was checked: at least one id, no id twice."""

    @abstractmethod
    def _search(self, queries: np.ndarray, k: int) -> Neighbours:
        """`search` with what was checked: at least one query, `1 <= k <= len(self)`."""

    @abstractmethod
    def remove(self, ids: Sequence[str]) -> int:
        """Takes ids out; those that are not there do not matter. How many were there."""

    @abstractmethod
    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that the index does not hold, in their order."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def clear(self) -> None:
        """Takes everything out."""

    @abstractmethod
    def save(self) -> None:
        """Makes what was put in and taken out last."""

    def close(self) -> None:
        """Saves, and lets go of files and connections."""
        self.save()

    @property
    @abstractmethod
    def description(self) -> str:
        """In words: what kind of index it is, with its settings."""

    @property
    def looked_into(self) -> int:
        """Lists that a query looks into."""
        return min(self.effort or max(8, self.lists // 16), self.lists)

    def outgrown(self, n: int) -> bool:
        """Whether the index should be built anew to hold `n` vectors well."""
        return False

    def prepare(self, n: int, sample: Callable[[], np.ndarray]) -> None:  # noqa: B027
        """Readies an empty index for `n` vectors like those of a sample `(m, dim)`."""

    def settle(self) -> None:  # noqa: B027
        """Does after a load what could wait so long."""

    def __enter__(self) -> VectorIndex:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _checked(ids: Sequence[str], vectors: np.ndarray, dim: int) -> tuple[list[str], np.ndarray]:
    """Ids and their vectors as float32, each id once, with its last vector."""
    ids = list(ids)
    if len(ids) != len(vectors):
        raise DataError(f"{len(ids)} ids, but {len(vectors)} vectors.")
    for each in ids:
        if not 0 < _bytes(each) <= LONGEST_ID:
            raise DataError(f"{each[:80]!r}: an id must be a text of 1 to {LONGEST_ID} bytes.")
    vectors = _checked_vectors(vectors, dim, ids)
    last = {each: place for place, each in enumerate(ids)}
    if len(last) < len(ids):
        ids, vectors = list(last), vectors[list(last.values())]
    return ids, vectors


def _bytes(text: str) -> int:
    """Length in UTF-8; 0 where a file's name is no text at all."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def _checked_vectors(vectors: np.ndarray, dim: int, names: Sequence[str]) -> np.ndarray:
    """Unit vectors as contiguous float32 `(n, dim)`."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise DataError(
            f"Vectors are {vectors.shape}, but the index holds vectors of {dim} numbers. Another "
            "model made them: build an index of its own for it."
        )
    lengths = np.linalg.norm(vectors, axis=1)  # NaN and infinity show in the length, too
    bad = ~(np.abs(lengths - 1) <= _LENGTH_SLACK)
    if bad.any():
        first = int(bad.argmax())
        raise DataError(
            f"{names[first]}: its vector has length {lengths[first]:.4g}, not 1 ({bad.sum()} of "
            f"{len(vectors)} are like that). Divide vectors by their length first; NaN comes from "
            "broken weights."
        )
    return vectors


def read_state(path: Path, needed: dict[str, type]) -> dict[str, Any] | None:
    """What an index's JSON file says; None where there is no file.

    Args:
        path: The file.
        needed: Keys that must be there, with their types.

    Raises:
        DataError: It is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for key, kind in needed.items():
            if not isinstance(content[key], kind):
                raise TypeError(f"{key} is no {kind.__name__}")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, repr(error)) from None
    return content


def require_dim(folder: Path, dim: int, wanted: int) -> None:
    """Vectors on disk must be as long as the model's.

    Raises:
        DataError: They are not.
    """
    if dim != wanted:
        raise DataError(
            f"{folder}: holds vectors of {dim} numbers, but the model's have {wanted}. Delete it; "
            "the next search builds it again."
        )


def write_state(path: Path, content: dict[str, Any]) -> None:
    """Writes an index's JSON file: the old one or the whole new one is there at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content, indent=1).encode())


def damaged(path: Path, why: str) -> DataError:
    """The error of a file that cannot be used."""
    return DataError(
        f"{path}: this part of the index is damaged ({why}). Delete {path.parent}; the next search "
        "builds it again."
    )
