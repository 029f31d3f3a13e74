"""Unit vectors under names: what every kind of index searches, and the exact index of them.

Vectors have length one, so that the product of two is their cosine. Encoding is what costs time,
so the exact index is the one that is kept; the other kinds are filled from it.
"""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from xmr_lib.errors import DamagedFileError, DataError
from xmr_lib.files import load_tensors, save_tensors
from xmr_lib.retrieval import top_k

Neighbours = list[list[tuple[str, float]]]  # of each query: (id, cosine), best first

SMALL = 10_000  # vectors up to which comparing all of them is quick enough
PER_FILE = 4096  # vectors that a file holds before the next one is begun
_QUERIES = 256  # compared at once
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
        name: Of the kind, for people.
        dim: Length of a vector.
        ids: Names of the vectors, in their order.
        lists: Lists that the vectors are divided among; 0: none, all are compared.
        effort: Lists that a query looks into; None: a sixteenth of them.
    """

    name: ClassVar[str]
    dim: int
    ids: list[str]
    lists: int = 0
    effort: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def search(self, queries: np.ndarray | Tensor, k: int) -> Neighbours:
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
        queries = unit_vectors(queries, self.dim, [f"query {i}" for i in range(len(queries))])
        k = min(k, len(self))
        if not k or not len(queries):
            return [[] for _ in queries]
        scores, places = self._search(queries, k)
        return [  # -1 stands where the lists looked into hold fewer than k
            [(self.ids[place], score) for place, score in zip(*both, strict=True) if place >= 0]
            for both in zip(np.asarray(places).tolist(), np.asarray(scores).tolist(), strict=True)
        ]

    @abstractmethod
    def _search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and places in `ids` of the nearest, both `(n_queries, k)`."""

    @property
    def looked_into(self) -> int:
        """Lists that a query looks into."""
        return min(self.effort or max(8, self.lists // 16), self.lists)

    @property
    def description(self) -> str:
        """The kind of index with its settings, in words."""
        if not self.lists:
            return f"{self.name}, all vectors compared"
        return f"{self.name}, {self.lists} lists, {self.looked_into} looked into"

    def close(self) -> None:  # noqa: B027
        """Lets go of connections."""


class ExactIndex(VectorIndex):
    """Compares a query with every vector; the vectors lie in files.

    New vectors go to the last file until it holds `PER_FILE`; only files with a removed vector are
    written again. Each has a checksum and is replaced as a whole, so a killed process loses the
    batch that it was writing and no other. A damaged file is deleted with a warning.

    Args:
        folder: Where the files lie, or will.
        dim: Length of a vector.

    >>> import tempfile
    >>> index = ExactIndex(Path(tempfile.mkdtemp()), dim=2)
    >>> index.add(["east", "north"], np.eye(2))
    >>> index.search(np.array([[0.6, 0.8]]), k=1)[0][0][0]
    'north'
    """

    name = "exact search"

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder, self.dim = Path(folder), dim
        self._files: dict[Path, tuple[list[str], Tensor]] = {}
        for file in sorted(self.folder.glob("vectors-*.safetensors")):
            try:
                self._files[file] = self._read(file)
            except DamagedFileError as error:
                warnings.warn(f"{error} Its vectors are computed again.", stacklevel=2)
                file.unlink()

    def add(self, ids: Sequence[str], vectors: np.ndarray | Tensor) -> None:
        """Puts vectors in; an id that is there already gets the new vector.

        Args:
            ids: Names; of one that comes twice the later vector counts.
            vectors: Unit vectors `(n, dim)`.

        Raises:
            DataError: Another length, NaN, no unit vectors, or a number of ids that differs from
                that of vectors.
        """
        if len(ids) != len(vectors):
            raise DataError(f"{len(ids)} ids, but {len(vectors)} vectors.")
        vectors = torch.from_numpy(unit_vectors(vectors, self.dim, ids))
        last = {each: place for place, each in enumerate(ids)}
        ids, vectors = list(last), vectors[list(last.values())]
        self.remove(ids)
        last = max(self._files, default=self._file(0))
        old, kept = self._files.get(last, ([], vectors[:0]))
        if len(old) < PER_FILE:
            ids, vectors = [*old, *ids], torch.cat([kept, vectors])
        else:
            last = self._file(int(last.stem.rpartition("-")[2]) + 1)
        if ids:
            self._write(last, ids, vectors)

    def remove(self, ids: Sequence[str]) -> int:
        """Takes ids out; says how many of them were there."""
        gone, before = set(ids), len(self)
        for file, (names, vectors) in list(self._files.items()):
            kept = [row for row, each in enumerate(names) if each not in gone]
            if not kept:
                file.unlink(missing_ok=True)
                del self._files[file]
                self._forget()
            elif len(kept) < len(names):
                self._write(file, [names[row] for row in kept], vectors[kept])
        return before - len(self)

    @cached_property
    def ids(self) -> list[str]:
        """Names of the vectors, in their order."""
        return [each for names, _ in self._files.values() for each in names]

    @cached_property
    def vectors(self) -> Tensor:
        """All vectors `(n, dim)`, float32, in the order of `ids`."""
        return torch.cat([torch.empty(0, self.dim), *(part for _, part in self._files.values())])

    @cached_property
    def content(self) -> str:
        """A hash of all ids and vectors: other indexes that were filled from them know it."""
        digest = sha256(json.dumps(self.ids).encode())
        digest.update(self.vectors.numpy().data)
        return digest.hexdigest()[:16]

    @property
    def description(self) -> str:
        """The kind of index."""
        return self.name

    def _search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        found = [
            top_k(lambda a, b: a @ b.T, some, self.vectors, k)
            for some in torch.from_numpy(queries).split(_QUERIES)
        ]
        scores, places = (torch.cat(each).numpy() for each in zip(*found, strict=True))
        return scores, places

    def _file(self, number: int) -> Path:
        return self.folder / f"vectors-{number:06}.safetensors"

    def _read(self, file: Path) -> tuple[list[str], Tensor]:
        tensors, about = load_tensors(file)
        vectors = tensors["vectors"]
        if vectors.shape[1] != self.dim:
            raise DataError(
                f"{file}: holds vectors of {vectors.shape[1]} numbers, but the model's have "
                f"{self.dim}. Delete {self.folder}; the next search builds it again."
            )
        return json.loads(about["ids"]), vectors

    def _write(self, file: Path, ids: list[str], vectors: Tensor) -> None:
        save_tensors(file, {"vectors": vectors}, ids=json.dumps(ids))
        self._files[file] = ids, vectors
        self._forget()

    def _forget(self) -> None:
        for name in ("ids", "vectors", "content"):
            self.__dict__.pop(name, None)


def unit_vectors(
    vectors: np.ndarray | Tensor, dim: int, names: Sequence[str] | None = None
) -> np.ndarray:
    """Contiguous float32 vectors `(n, dim)`, checked to be of length one.

    Raises:
        DataError: They have another size or length, or NaN; names the first such vector.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise DataError(
            f"Vectors are {vectors.shape}, but the index holds vectors of {dim} numbers. Another "
            "model made them: build another index for it."
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
