"""faiss, for as many vectors as one machine's memory holds.

Up to `SMALL` vectors all are compared, which takes a millisecond. Above that an inverted file
(IVF) divides the vectors among lists by k-means, and a query looks into the nearest lists only.
Not a graph (HNSW): faiss cannot take a vector out of one, and building it takes many times as
long, while lists forget and take in vectors at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from xmr_lib.errors import MissingDependencyError
from xmr_lib.index.base import (
    Neighbours,
    VectorIndex,
    damaged,
    lists_for,
    read_state,
    require_dim,
    write_state,
)


class FaissIndex(VectorIndex):
    """Vectors in memory, saved as a whole.

    Args:
        folder: Where it lies, or will.
        dim: Length of a vector.
        effort: Lists that a query looks into (`nprobe`); by default a sixteenth of them.

    Raises:
        MissingDependencyError: faiss is not installed.
        DataError: A file is damaged, or holds vectors of another length.
    """

    kind = "faiss"

    def __init__(self, folder: Path, dim: int, effort: int | None = None) -> None:
        self._faiss = _faiss()
        self.folder, self.dim, self.effort = Path(folder), dim, effort
        self._state_file = self.folder / "state.json"
        self._new(lists=0)
        self._read()

    def _new(self, lists: int) -> None:
        """An empty index: of so many lists, or of none."""
        self.lists, self._next, self._dirty = lists, 0, False
        self._number: dict[str, int] = {}  # of every id that is there
        self._name: dict[int, str] = {}
        flat = self._faiss.IndexFlatIP(self.dim)
        if lists:
            inner = self._faiss.METRIC_INNER_PRODUCT
            self._index = self._faiss.IndexIVFFlat(flat, self.dim, lists, inner)
        else:
            self._index = self._faiss.IndexIDMap2(flat)

    @property
    def description(self) -> str:
        """What it is, with its settings."""
        if not self.lists:
            return "faiss, all vectors compared"
        return f"faiss, {self.lists} lists, {self.looked_into} looked into"

    def __len__(self) -> int:
        return len(self._number)

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that are not there, in their order."""
        return [each for each in ids if each not in self._number]

    def outgrown(self, n: int) -> bool:
        """Whether there should be lists by now, or four times as many vectors as they were for."""
        return lists_for(n) > 2 * self.lists

    def prepare(self, n: int, sample: Callable[[], np.ndarray]) -> None:
        """Divides the space into lists by k-means on a sample."""
        self._new(lists=0)
        if lists_for(n):
            vectors = sample()
            self._new(min(lists_for(n), len(vectors)))
            self._index.cp.min_points_per_centroid = 1  # the sample is as large as it can be
            self._index.train(np.ascontiguousarray(vectors, np.float32))

    def _add(self, ids: list[str], vectors: np.ndarray) -> None:
        self.remove(ids)
        numbers = np.arange(self._next, self._next + len(ids), dtype=np.int64)
        self._index.add_with_ids(vectors, numbers)
        self._next += len(ids)
        self._number.update(zip(ids, numbers.tolist(), strict=True))
        self._name.update(zip(numbers.tolist(), ids, strict=True))
        self._dirty = True

    def remove(self, ids: Sequence[str]) -> int:
        """Takes ids out; says how many of them were there."""
        numbers = [self._number.pop(each) for each in dict.fromkeys(ids) if each in self._number]
        for number in numbers:
            del self._name[number]
        if numbers:
            self._index.remove_ids(self._faiss.IDSelectorBatch(np.array(numbers, np.int64)))
            self._dirty = True
        return len(numbers)

    def clear(self) -> None:
        """Takes everything out, and forgets the lists."""
        self._new(lists=0)
        self._dirty = True

    def _search(self, queries: np.ndarray, k: int) -> Neighbours:
        if self.lists:
            self._index.nprobe = self.looked_into
        scores, numbers = self._index.search(queries, k)
        return [  # -1 fills up where the lists looked into hold fewer than k
            [(self._name[n], s) for n, s in zip(*both, strict=True) if n >= 0]
            for both in zip(numbers.tolist(), scores.tolist(), strict=True)
        ]

    # --- files -------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes the index and its ids under a new number; the state names it last."""
        state = read_state(self._state_file, {"generation": int})
        if not self._dirty and state is not None and state.get("synced") == self.synced:
            return
        generation = state["generation"] + 1 if state else 1
        self.folder.mkdir(parents=True, exist_ok=True)
        self._faiss.write_index(self._index, str(self._vectors_file(generation)))
        write_state(
            self._ids_file(generation),
            {"ids": list(self._number), "numbers": list(self._number.values())},
        )
        content = {"kind": self.kind, "dim": self.dim, "lists": self.lists, "next": self._next,
                   "synced": self.synced, "generation": generation}  # fmt: skip
        write_state(self._state_file, content)
        self._dirty = False
        kept = {self._vectors_file(generation), self._ids_file(generation)}
        for old in {*self.folder.glob("index-*.faiss"), *self.folder.glob("ids-*.json")} - kept:
            old.unlink(missing_ok=True)

    def _read(self) -> None:
        keys = ("dim", "lists", "next", "synced", "generation")
        state = read_state(self._state_file, dict.fromkeys(keys, int))
        if state is None:
            return
        require_dim(self.folder, state["dim"], self.dim)
        file, ids = (f(state["generation"]) for f in (self._vectors_file, self._ids_file))
        names = read_state(ids, {"ids": list, "numbers": list})
        try:
            self._index = self._faiss.read_index(str(file))
        except RuntimeError as error:
            raise damaged(file, str(error).splitlines()[-1]) from None
        if names is None or len(names["ids"]) != self._index.ntotal:
            raise damaged(ids, f"{self._index.ntotal} vectors need as many names")
        self.lists, self._next, self.synced = state["lists"], state["next"], state["synced"]
        self._number = dict(zip(names["ids"], names["numbers"], strict=True))
        self._name = {number: name for name, number in self._number.items()}

    def _vectors_file(self, generation: int) -> Path:
        return self.folder / f"index-{generation}.faiss"

    def _ids_file(self, generation: int) -> Path:
        return self.folder / f"ids-{generation}.json"


def _faiss():
    """The module, where it is installed."""
    try:
        import faiss
    except ImportError:
        raise MissingDependencyError(
            'faiss is not installed: pip install -e ".[search]" (or faiss-cpu alone).'
        ) from None
    return faiss
