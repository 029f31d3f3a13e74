"""faiss, for as many vectors as fit in one machine's memory.

Up to `vectors.SMALL` vectors all are compared, which takes a millisecond. Above that an inverted
file (IVF) divides the vectors among lists by k-means, and a query looks into the nearest lists
only. A graph (HNSW) would be faster to search, but takes many times as long to build.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from xmr_lib.errors import DamagedFileError, MissingDependencyError
from xmr_lib.files import load_tensors, save_tensors
from xmr_lib.index.vectors import ExactIndex, VectorIndex, lists_for

PER_LIST = 64  # vectors of a sample that k-means has for each list


class FaissIndex(VectorIndex):
    """A faiss index of an exact index's vectors; built anew when those have changed.

    Args:
        exact: Whose vectors.
        file: Where the index is kept.
        effort: Lists that a query looks into (`nprobe`); by default a sixteenth of them.

    Raises:
        MissingDependencyError: faiss is not installed.
    """

    name = "faiss"

    def __init__(self, exact: ExactIndex, file: Path, effort: int | None = None) -> None:
        try:
            import faiss
        except ImportError:
            raise MissingDependencyError(
                'faiss is not installed: pip install -e ".[search]" (or faiss-cpu alone).'
            ) from None
        self._faiss, self._file = faiss, file
        self.ids, self.dim, self.effort = exact.ids, exact.dim, effort
        self._index = self._load(exact.content)
        if self._index is None:
            self._index = self._build(exact.vectors.numpy())
            saved = torch.from_numpy(faiss.serialize_index(self._index))
            save_tensors(file, {"index": saved}, content=exact.content)
        self.lists = getattr(self._index, "nlist", 0)

    def _load(self, content: str):
        """The kept index; None where there is none, or one of other vectors."""
        try:
            tensors, about = load_tensors(self._file)
        except (FileNotFoundError, DamagedFileError):
            return None
        if about["content"] != content:
            return None
        return self._faiss.deserialize_index(tensors["index"].numpy())

    def _build(self, vectors: np.ndarray):
        faiss, n = self._faiss, len(vectors)
        index = faiss.IndexFlatIP(self.dim)
        if lists_for(n):
            index = faiss.IndexIVFFlat(index, self.dim, lists_for(n), faiss.METRIC_INNER_PRODUCT)
            count = min(n, PER_LIST * index.nlist)
            sample = np.sort(np.random.default_rng(0).permutation(n)[:count])
            index.cp.min_points_per_centroid = 1  # the sample is as large as it can be
            index.train(vectors[sample])
        index.add(vectors)
        return index

    def _search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if self.lists:
            self._index.nprobe = self.looked_into
        return self._index.search(queries, k)
