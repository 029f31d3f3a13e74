"""Milvus: a database of vectors, in a folder of its own or on a cluster, by the same few calls.

An address that ends in `.db` opens Milvus Lite, which runs within this process and keeps
everything in a folder of that name. `http://host:19530` is a Milvus server or cluster, for what
outgrows a machine; `MILVUS_TOKEN` in the environment is its token.

Consistency is strong: what was put in, replaced or deleted is so in the very next search.
"""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from xmr_lib.errors import DataError, MissingDependencyError
from xmr_lib.index.base import (
    LONGEST_ID,
    Neighbours,
    VectorIndex,
    lists_for,
    read_state,
    write_state,
)

_BATCH = 500  # vectors or ids a request: 4 MB of 2,048 numbers, below every limit
_MOST_K = 16_384  # Milvus answers no more than this
_SEGMENT = 100_000  # vectors that Milvus Lite divides among lists together; clusters take more
_PATIENCE = 600.0  # seconds that a server may take to build its lists
_open_files: Counter[Path] = Counter()  # Milvus Lite serves a file once for all of a process


class MilvusIndex(VectorIndex):
    """A collection of a Milvus database.

    Args:
        uri: A file that ends in `.db`, or the address of a server.
        collection: Name of the collection; it is made when the first vectors come.
        dim: Length of a vector.
        state: JSON file on this machine that says how far the collection has followed. Where it
            names another collection, that one is dropped: this one takes its place.
        effort: Lists that a query looks into (`nprobe`); by default a sixteenth of them.

    Raises:
        MissingDependencyError: pymilvus or milvus-lite is not installed.
        DataError: The database cannot be opened or reached, or holds vectors of another length.
    """

    kind = "milvus"

    def __init__(
        self,
        uri: str,
        collection: str,
        dim: int,
        state: Path,
        effort: int | None = None,
    ) -> None:
        self.uri, self.dim, self.effort = uri, dim, effort
        self.collection = re.sub(r"\W", "_", collection)
        self._state_file = state
        self._client = None
        self._file = Path(uri).expanduser().resolve() if uri.endswith(".db") else None
        self._client = self._connect()
        try:
            self._open()
        except BaseException:
            self._disconnect()
            raise

    def _open(self) -> None:
        """Looks for the collection, and how far it is."""
        with self._telling():
            self._exists = self._client.has_collection(self.collection)
            if self._exists:
                self._check_dim()
                self._client.load_collection(self.collection)
        old = read_state(self._state_file, {"synced": int, "lists": int, "collection": str})
        if old and old["collection"] != self.collection:  # of older weights
            with self._telling():
                self._client.drop_collection(old["collection"])
        elif old and self._exists:
            self.synced, self.lists = old["synced"], old["lists"]

    @property
    def description(self) -> str:
        """What it is, with its settings."""
        name = "Milvus Lite" if self._file else "Milvus"
        if not self.lists:
            return f"{name}, all vectors compared"
        return f"{name}, {self.lists} lists, {self.looked_into} looked into"

    def __len__(self) -> int:
        if not self._exists:
            return 0
        with self._telling():
            (row,) = self._client.query(
                self.collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
            )
        return int(row["count(*)"])

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that the collection does not hold, in their order."""
        there: set[str] = set()
        for some in _parts(ids) if self._exists else ():
            with self._telling():
                rows = self._client.query(
                    self.collection, filter=_one_of(some), output_fields=["id"],
                    consistency_level="Strong",
                )  # fmt: skip
            there.update(row["id"] for row in rows)
        return [each for each in ids if each not in there]

    def outgrown(self, n: int) -> bool:
        """Whether there should be lists by now, or four times as many vectors as they were for."""
        return lists_for(min(n, _SEGMENT)) > 2 * self.lists

    def prepare(self, n: int, sample: Callable[[], np.ndarray]) -> None:
        """Makes the collection; Milvus divides its vectors among lists by itself."""
        self.clear()
        self._create(lists_for(min(n, _SEGMENT)))

    def _create(self, lists: int) -> None:
        from pymilvus import DataType

        client = self._client
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=LONGEST_ID)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dim)
        how = client.prepare_index_params()
        how.add_index(
            "vector",
            index_type="IVF_FLAT" if lists else "FLAT",
            metric_type="IP",
            # nested, because Milvus Lite overlooks a bare nlist; servers read either
            params={"params": {"nlist": lists}} if lists else {},
        )
        with self._telling():
            client.create_collection(
                self.collection, schema=schema, index_params=how, consistency_level="Strong"
            )
            client.load_collection(self.collection)
        self._exists, self.lists = True, lists

    def _add(self, ids: list[str], vectors: np.ndarray) -> None:
        if not self._exists:
            self._create(lists=0)
        for start in range(0, len(ids), _BATCH):
            both = zip(ids[start : start + _BATCH], vectors[start : start + _BATCH], strict=True)
            rows = [{"id": each, "vector": vector} for each, vector in both]
            with self._telling():
                self._client.upsert(self.collection, rows)

    def remove(self, ids: Sequence[str]) -> int:
        """Takes ids out; says how many of them were there."""
        lacking = set(self.missing(ids))
        there = [each for each in dict.fromkeys(ids) if each not in lacking]
        for some in _parts(there):
            with self._telling():
                self._client.delete(self.collection, filter=_one_of(some))
        return len(there)

    def clear(self) -> None:
        """Drops the collection."""
        if self._exists:
            with self._telling():
                self._client.drop_collection(self.collection)
        self._exists, self.lists, self.synced = False, 0, 0

    def _search(self, queries: np.ndarray, k: int) -> Neighbours:
        if k > _MOST_K:
            raise DataError(f"Milvus answers with at most {_MOST_K} neighbours, not {k}.")
        found: Neighbours = []
        for start in range(0, len(queries), _BATCH):
            with self._telling():
                answer = self._client.search(
                    self.collection, data=list(queries[start : start + _BATCH]), limit=k,
                    output_fields=["id"], consistency_level="Strong",
                    search_params={"params": {"nprobe": self.looked_into} if self.lists else {}},
                )  # fmt: skip
            found += [[(hit["id"], float(hit["distance"])) for hit in hits] for hits in answer]
        return found

    def save(self) -> None:
        """Notes how far the collection has followed; the vectors are there already."""
        if self._exists:
            content = {"collection": self.collection, "synced": self.synced, "lists": self.lists}
            write_state(self._state_file, content | {"uri": self.uri})

    def settle(self) -> None:
        """Waits until the lists are built; until then Milvus compares everything."""
        if not self._exists:
            return
        with self._telling():
            self._client.flush(self.collection)
            if not self.lists:
                return
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

    def close(self) -> None:
        """Saves, and ends the connection; a file may then be opened by another process."""
        if self._client is not None:
            self.save()
            self._disconnect()

    def _disconnect(self) -> None:
        self._client.close()
        self._client = None
        if self._file:
            _open_files[self._file] -= 1
            if not _open_files[self._file]:
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(str(self._file))

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
        with self._telling():
            if self._file:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                client = MilvusClient(uri=str(self._file))
                _open_files[self._file] += 1
                return client
            return MilvusClient(uri=self.uri, token=os.environ.get("MILVUS_TOKEN", ""))

    def _check_dim(self) -> None:
        fields = self._client.describe_collection(self.collection)["fields"]
        (dim,) = (each["params"]["dim"] for each in fields if each["name"] == "vector")
        if int(dim) != self.dim:
            raise DataError(
                f"{self.uri}: the collection {self.collection} holds vectors of {dim} numbers, but "
                f"the model's have {self.dim}. Drop it; the next search builds it again."
            )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turns Milvus's errors into ones that say what to do."""
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            hint = (
                "Is it open in another process or notebook? Milvus Lite lets one in at a time."
                if self._file
                else "Is the server running, and MILVUS_TOKEN right?"
            )
            raise DataError(f"{self.uri}: Milvus says: {error.message or error}. {hint}") from error


def _parts(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _BATCH):
        yield list(ids[start : start + _BATCH])


def _one_of(ids: Sequence[str]) -> str:
    """Milvus's words for "the id is one of these", whatever characters they have."""
    return f"id in [{', '.join(json.dumps(each, ensure_ascii=False) for each in ids)}]"
