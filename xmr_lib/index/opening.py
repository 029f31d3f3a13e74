"""Where indexes lie, who may change them, and how the kinds beside the exact one are opened."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xmr_lib.index.base import VectorIndex
from xmr_lib.index.exact import ExactIndex
from xmr_lib.index.kinds import Kind
from xmr_lib.retriever import Retriever


def home(run: Retriever) -> Path:
    """Folder of a run's indexes; an ensemble's lie in its first member's folder."""
    folder = run.runs[0].folder / "index"
    if len(run.runs) == 1:
        return folder
    members = "\n".join(str(member.folder) for member in run.runs)
    return folder / f"ensemble-{hashlib.sha256(members.encode()).hexdigest()[:8]}"


def beside(
    exact: ExactIndex, kind: Kind, name: str, uri: str | None = None, effort: int | None = None
) -> VectorIndex:
    """Opens the index of another kind that follows an exact one; its content may be old.

    Args:
        exact: In a folder of its own, beside which the other one lies.
        kind: "faiss" or "milvus".
        name: Stands for the very vectors: a database may hold those of several runs.
        uri: A Milvus database; by default a file beside the exact index.
        effort: How thoroughly a query looks.
    """
    folder = exact.folder.parent
    if kind == "faiss":
        from xmr_lib.index.faiss_index import FaissIndex

        return FaissIndex(folder / "faiss", exact.dim, effort)
    from xmr_lib.index.milvus_index import MilvusIndex

    uri = uri or str(folder / "milvus.db")
    where = hashlib.sha256(uri.encode()).hexdigest()[:8]
    state, collection = folder / f"milvus-{where}.json", f"xmr_{name}"
    return MilvusIndex(uri, collection, exact.dim, state, effort)


def delete(path: Path) -> None:
    """Deletes a file, or a folder with all in it; neither has to be there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from changing the indexes in a folder meanwhile."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        warnings.warn(f"{folder}: waiting for another process to finish.", stacklevel=3)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
