"""Milvus: a database of vectors, in a folder of its own or on a cluster, by the same few calls.

An address that ends in `.db` opens Milvus Lite, which runs within this process and keeps
everything in a folder of that name. `http://host:19530` is a Milvus server or cluster;
`MILVUS_TOKEN` in the environment is its token.

A collection is named after its content, so a collection of that name with all vectors in it is up
to date, whoever filled it; any other is filled anew.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from xmr_lib.errors import DataError, MissingDependencyError
from xmr_lib.files import atomic
from xmr_lib.index.vectors import ExactIndex, VectorIndex, lists_for

_BATCH = 500  # vectors a request: 4 MB of 2,048 numbers, below every limit
_MOST_K = 16_384  # Milvus answers no more than this
_SEGMENT = 100_000  # vectors that Milvus Lite divides among lists together; clusters take more
_PATIENCE = 600.0  # seconds that a server may take to build its lists
_WAIT = 60.0  # seconds for another process to close a file of Milvus Lite


class MilvusIndex(VectorIndex):
    """A collection of a Milvus database that holds an exact index's vectors.

    Args:
        exact: Whose vectors.
        uri: A file that ends in `.db`, or the address of a server.
        state: JSON file on this machine with the names of collections that were filled for this
            index; those of older vectors are dropped.
        effort: Lists that a query looks into (`nprobe`); by default a sixteenth of them.

    Raises:
        MissingDependencyError: pymilvus or milvus-lite is not installed.
        DataError: The database cannot be opened or reached.
    """

    def __init__(self, exact: ExactIndex, uri: str, state: Path, effort: int | None = None) -> None:
        self.ids, self.dim, self.uri, self.effort = exact.ids, exact.dim, uri, effort
        self.lists = lists_for(min(len(exact), _SEGMENT))
        self._file = Path(uri).expanduser().resolve() if uri.endswith(".db") else None
        self.name = "Milvus Lite" if self._file else "Milvus"
        self.collection = f"xmr_{exact.content}"
        self._client = self._connect()
        try:
            with self._explained():
                self._prepare(exact, state)
        except BaseException:
            self.close()
            raise

    def _prepare(self, exact: ExactIndex, state: Path) -> None:
        """Fills the collection, if it does not hold everything, and drops older ones."""
        client, old = self._client, []
        with suppress(FileNotFoundError, ValueError):
            old = [each for each in json.loads(state.read_text()) if each != self.collection]
        if client.has_collection(self.collection) and self._count() == len(exact):
            client.load_collection(self.collection)
        else:
            client.drop_collection(self.collection)
            _write(state, [*old, self.collection])
            if len(exact):
                self._fill(exact.vectors.numpy())
        for each in old:
            client.drop_collection(each)
        _write(state, [self.collection])

    def _count(self) -> int:
        (row,) = self._client.query(
            self.collection,
            filter="",
            output_fields=["count(*)"],
            consistency_level="Strong",
        )
        return int(row["count(*)"])

    def _fill(self, vectors: np.ndarray) -> None:
        """Makes the collection; Milvus divides its vectors among lists by itself."""
        from pymilvus import DataType

        client = self._client
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dim)
        how = client.prepare_index_params()
        how.add_index(
            "vector",
            index_type="IVF_FLAT" if self.lists else "FLAT",
            metric_type="IP",
            # nested, because Milvus Lite overlooks a bare nlist; servers read either
            params={"params": {"nlist": self.lists}} if self.lists else {},
        )
        client.create_collection(
            self.collection, schema=schema, index_params=how, consistency_level="Strong"
        )
        client.load_collection(self.collection)
        for start in tqdm(range(0, len(vectors), _BATCH), desc="fill Milvus", leave=False):
            some = vectors[start : start + _BATCH]
            rows = [{"id": start + row, "vector": vector} for row, vector in enumerate(some)]
            client.insert(self.collection, rows)
        client.flush(self.collection)
        if self.lists:
            self._wait_for_lists()

    def _wait_for_lists(self) -> None:
        """Until the lists are built, Milvus compares everything."""
        if self._file:  # Milvus Lite calls them built before they are, but loads them whole
            self._client.release_collection(self.collection)
            self._client.load_collection(self.collection)
            return
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            about = self._client.describe_index(self.collection, "vector")
            if not int(about.get("pending_index_rows", 0)):
                return
            time.sleep(0.5)
        warnings.warn(f"{self.uri}: still building its lists; they are used later.", stacklevel=2)

    def _search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if k > _MOST_K:
            raise DataError(f"Milvus answers with at most {_MOST_K} neighbours, not {k}.")
        scores, places = np.zeros((len(queries), k)), np.full((len(queries), k), -1)
        for start in range(0, len(queries), _BATCH):
            with self._explained():
                answer = self._client.search(
                    self.collection,
                    data=list(queries[start : start + _BATCH]),
                    limit=k,
                    consistency_level="Strong",
                    search_params={"params": {"nprobe": self.looked_into} if self.lists else {}},
                )
            for row, hits in enumerate(answer, start=start):
                places[row, : len(hits)] = [hit["id"] for hit in hits]
                scores[row, : len(hits)] = [hit["distance"] for hit in hits]
        return scores, places

    # --- connection --------------------------------------------------------------------------

    def _connect(self):
        try:
            from pymilvus import MilvusClient

            if self._file:
                import milvus_lite  # noqa: F401 (pymilvus imports it, and tells less)
        except ImportError as error:
            raise MissingDependencyError(
                f'{error.name} is not installed: pip install -e ".[search]" (or pymilvus and '
                "milvus-lite). Where milvus-lite cannot be installed, give the address of a "
                "Milvus server."
            ) from None
        with self._explained():
            if not self._file:
                return MilvusClient(uri=self.uri, token=os.environ.get("MILVUS_TOKEN", ""))
            self._lock()
            try:
                return MilvusClient(uri=str(self._file))
            except BaseException:
                self._held.release()
                raise

    def _lock(self) -> None:
        """Waits until no other process has the file open: Milvus Lite lets one in at a time."""
        from filelock import FileLock, Timeout

        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._held = FileLock(f"{self._file}.lock", is_singleton=True)  # counts within a process
        try:
            self._held.acquire(timeout=_WAIT)
        except Timeout:
            raise DataError(
                f"{self._file} is open in another process or notebook, and Milvus Lite lets one "
                "in at a time. Close it there, or give another --uri."
            ) from None

    def close(self) -> None:
        """Ends the connection; another process may then open a file of Milvus Lite."""
        if self._client is None:
            return
        self._client.close()
        self._client = None
        if self._file:
            if self._held.lock_counter == 1:  # the last of this process
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(str(self._file))
            self._held.release()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns Milvus's errors into ones that say what to do."""
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            hint = (
                "Is the file damaged? Delete it; the next search fills it again."
                if self._file
                else "Is the server running, and MILVUS_TOKEN right?"
            )
            raise DataError(f"{self.uri}: Milvus says: {error.message or error}. {hint}") from error


def _write(state: Path, collections: list[str]) -> None:
    with atomic(state) as temporary:
        temporary.write_text(json.dumps(collections))
