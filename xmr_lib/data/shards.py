"""Features kept on disk: shards of some hundred images each, which need no other record.

A row is found by its *key*, the hash of what it was computed from (an image's content), in the
folder of its settings (network, transform, …). A shard holds its own keys and is never changed:
what is interrupted goes on where it was, two data sets share the photos that they have in common,
and only photos that are new or changed are computed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from xmr_lib import files
from xmr_lib.errors import DamagedFileError, DataError

SHARD = 256  # images in a shard: a killed run loses at most so much work
_LARGE = 64 * 2**20  # bytes; of larger files three pieces are hashed
_SETTLED = 2.0  # seconds after which another change of a file gives it another time stamp


class Rows:
    """Rows of several memory-mapped arrays as one array, read only where they are asked for.

    Row i is `arrays[owner[i]][start[i] : start[i] + counts[i]]`, padded with zeros to the largest
    count; without counts it is `arrays[owner[i]][start[i]]`.

    Attributes:
        shape: (n, d) without counts, else (n, largest count, d).
        dtype: Of the numbers.
        ndim: 2 or 3.

    >>> rows = Rows([np.eye(2), np.full((3, 2), 7.0)], [0, 1, 0], [1, 0, 0])
    >>> rows.shape, rows[[2, 1]].tolist()
    ((3, 2), [[1.0, 0.0], [7.0, 7.0]])
    """

    def __init__(
        self,
        arrays: Sequence[np.ndarray],
        owner: Sequence[int],
        start: Sequence[int],
        counts: Sequence[int] | None = None,
    ) -> None:
        self._arrays = list(arrays)
        self._owner, self._start = np.asarray(owner), np.asarray(start)
        self._counts = np.ones(len(self._owner), int) if counts is None else np.asarray(counts)
        self._most = int(self._counts.max(initial=1))
        regions = () if counts is None else (self._most,)
        self.shape = (len(self._owner), *regions, self._arrays[0].shape[1])
        self.dtype, self.ndim = np.result_type(*self._arrays), len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index) -> np.ndarray:
        """Indexed as an array is; reads whole rows, and all of them for `rows[:, 3]`."""
        if isinstance(index, tuple):
            one = isinstance(index[0], int | np.integer)
            return self[index[0]][index[1:]] if one else self[:][index]
        rows = np.arange(len(self))[index]  # checks bounds, understands negative numbers and masks
        flat = rows.reshape(-1)
        counts = self._counts[flat]
        item = np.repeat(np.arange(len(flat)), counts)  # whose, of every row that is read
        region = np.arange(len(item)) - np.repeat(counts.cumsum() - counts, counts)
        owner, place = self._owner[flat][item], self._start[flat][item] + region
        values = np.zeros((len(flat) * self._most, self.shape[-1]), self.dtype)
        order = owner.argsort(kind="stable")
        for some in np.split(order, np.flatnonzero(np.diff(owner[order])) + 1):
            if len(some):
                found = self._read(owner[some[0]], place[some])
                values[item[some] * self._most + region[some]] = found
        return values.reshape(*rows.shape, *self.shape[1:])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def _read(self, number: int, places: np.ndarray) -> np.ndarray:
        return self._arrays[number][places]


class Shards:
    """The features computed under one setting.

    Args:
        root: Folder of all settings.
        label: What people read in the folder's name.
        settings: Everything but the images that the values depend on.
    """

    def __init__(self, root: Path, label: str, settings: dict) -> None:
        self.settings = json.dumps(settings, sort_keys=True)
        label = re.sub(r"[^\w.-]+", "_", label)
        self.folder = root / f"{label}-{_digest([self.settings])[:12]}"
        self._files: set[Path] = set()  # those that were looked into
        self._shards: list[dict[str, np.ndarray]] = []
        self._places: dict[str, tuple[int, int, int]] = {}  # key → shard, first row, count

    def key(self, keys: Iterable[str]) -> str:
        """SHA-256 of all that the features of some images depend on."""
        return _digest([self.settings, *keys])

    def missing(self, keys: Sequence[str]) -> list[int]:
        """Positions of the keys that no sound shard holds, each key once; warns of damaged ones."""
        wanted = {key: position for position, key in reversed(list(enumerate(keys)))}
        for file in sorted(self.folder.glob("[!.]*.safetensors")):
            if file not in self._files and not wanted.keys() <= self._places.keys():
                self._look_into(file, wanted)
        return sorted(position for key, position in wanted.items() if key not in self._places)

    def add(self, rows: dict[str, dict[str, torch.Tensor]]) -> None:
        """Writes a shard: by key, what an image has, such as "values", each (count, d)."""
        images = list(rows.values())
        tensors = {name: torch.cat([image[name] for image in images]) for name in images[0]}
        tensors["counts"] = torch.tensor([len(image["values"]) for image in images])
        file = self.folder / f"{self.key(rows)[:32]}.safetensors"
        files.save_tensors(file, tensors, keys=" ".join(rows), settings=self.settings)
        self._look_into(file, rows)

    def counts(self, keys: Sequence[str]) -> np.ndarray:
        """How many rows each image has, (n,) int64."""
        return np.array([self._places[key][2] for key in keys], dtype=np.int64)

    def rows(self, keys: Sequence[str], name: str = "values", *, pooled: bool = False) -> Rows:
        """What images have: (n, largest count, d), or (n, d) where they are `pooled`."""
        owner, start, counts = np.array([self._places[key] for key in keys]).T
        arrays = [shard[name] for shard in self._shards]
        return Rows(arrays, owner, start, None if pooled else counts)

    def _look_into(self, file: Path, wanted: Iterable[str]) -> None:
        """Takes a shard if it holds a key that is wanted and is sound."""
        self._files.add(file)
        try:
            keys = files.load_texts(file).get("keys", "").split(" ")
            if self._places.keys() >= set(keys) or not set(keys) & set(wanted):
                return
            tensors, _ = files.load_tensors(file)
        except DamagedFileError as error:
            warnings.warn(f"{error} What it held is computed again.", stacklevel=5)
            with suppress(OSError):
                file.unlink()
            return
        except OSError:  # another process has just removed it
            return
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        starts = np.cumsum(arrays["counts"]) - arrays["counts"]
        for key, start, count in zip(keys, starts, arrays["counts"], strict=True):
            self._places[key] = (len(self._shards), int(start), int(count))
        self._shards.append(arrays)


def content_keys(images: Sequence[Path], cache: Path | None = None) -> list[str]:
    """The `content_key` of files, kept in the cache by size and times of change.

    So only files that are new or changed are read.

    Raises:
        DataError: A file cannot be read; names it.
    """
    names = [os.path.abspath(image) for image in images]
    common = os.path.commonpath([os.path.dirname(name) for name in names])
    kept = Path(cache or files.cache_dir()) / "contents" / f"{_digest([common])[:16]}.json"
    try:
        known = dict(json.loads(kept.read_text("utf-8")))
    except (OSError, ValueError, TypeError):  # not there yet, or damaged
        known = {}
    try:
        stats = {name: os.stat(name) for name in names}
        stamps = {name: [s.st_size, s.st_mtime_ns, s.st_ctime_ns] for name, s in stats.items()}
        todo = [name for name, stamp in stamps.items() if known.get(name, [])[:-1] != stamp]
        with ThreadPoolExecutor(4) as pool:
            new = dict(zip(todo, pool.map(content_key, todo), strict=True))
    except OSError as error:
        raise DataError(
            f"{error.filename}: cannot be read ({error.strerror or error}). Has it been moved or "
            "deleted since the data set was loaded? Load it again."
        ) from None
    settled = time.time() - _SETTLED
    keep = {
        name: [*stamps[name], key]
        for name, key in new.items()
        if max(stats[name].st_mtime, stats[name].st_ctime) < settled
    }
    if keep:
        with suppress(DataError, OSError), files.atomic(kept) as temporary:  # only time is lost
            temporary.write_text(json.dumps(known | keep), "utf-8")
    return [new[name] if name in new else known[name][-1] for name in names]


def content_key(file: str | Path) -> str:
    """A hash of a file's content (above 64 MB: of its size and three pieces)."""
    with open(file, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        for place in [0] if size <= _LARGE else [0, size // 2, size - 2**20]:
            stream.seek(place)
            digest.update(stream.read(-1 if size <= _LARGE else 2**20))
    return digest.hexdigest()[:32]


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
