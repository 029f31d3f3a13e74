"""One folder of features on disk: written in blocks, resumable, complete or not there at all.

A store holds

- `about.json`: what the features are of (backbone, transform, …);
- `files.txt`: one line per row: name, size and fingerprint of the image file;
- `features.part.npy` and `done.npy` while rows are missing: the values, and which rows are good;
- `features.npy` in the end: the finished array under its final name, by an atomic rename.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from xmr_lib.errors import DataError

_PIECE = 8192  # bytes; three pieces of a file tell photos apart without reading all of it


class FeatureStore:
    """The features of one list of images under one setting.

    Args:
        root: Folder of all stores.
        label: What people read in the folder's name.
        settings: Everything but the images that the values depend on.
        listing: One line per row, from `list_files`.
        columns: Length of a feature.
        dtype: "float32" or "float16".
    """

    def __init__(
        self, root: Path, label: str, settings: dict, listing: list[str], columns: int, dtype: str
    ) -> None:
        self.settings, self.listing = settings, listing
        self.shape, self.dtype = (len(listing), columns), np.dtype(dtype)
        self.key = hashlib.sha256(
            "\n".join([json.dumps(settings, sort_keys=True), *listing]).encode()
        ).hexdigest()
        self.root = root
        self.folder = root / f"{label}-{self.key[:12]}"
        self.done = np.zeros(len(listing), dtype=bool)

    @property
    def file(self) -> Path:
        """The finished array."""
        return self.folder / "features.npy"

    @property
    def _part(self) -> Path:
        return self.folder / "features.part.npy"

    @property
    def _done_file(self) -> Path:
        return self.folder / "done.npy"

    @contextmanager
    def locked(self):
        """Holds the folder for this process alone; freed by the system should the process die."""
        from filelock import FileLock

        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def start(self) -> None:
        """Makes the files, or takes up what an interrupted run or a similar store has left."""
        with self._writing():
            if self._resume():
                return
            self._check_space()
            write_atomically(self.folder / "files.txt", "\n".join(self.listing).encode())
            about = json.dumps(self.settings, indent=1, sort_keys=True)
            write_atomically(self.folder / "about.json", about.encode())
            # Sets the size of the file and its header; the rows follow by plain writes, since a
            # full disk raises an error there but kills a process that writes to mapped memory.
            np.lib.format.open_memmap(self._part, "w+", self.dtype, self.shape)
            self.save_progress()
            self._copy_from_similar()

    def _resume(self) -> bool:
        """Whether an earlier run left good files to go on with."""
        try:
            done = np.load(self._done_file)
            part = np.load(self._part, mmap_mode="r")
        except (OSError, ValueError, EOFError):  # none, or cut short
            return False
        if done.shape != self.done.shape or part.shape != self.shape or part.dtype != self.dtype:
            return False
        self.done = done
        return True

    def _copy_from_similar(self) -> None:
        """Takes rows of unchanged images from stores of the same settings.

        So mending one photo of a thousand, or adding ten, computes one or ten.
        """
        wanted = {line: row for row, line in enumerate(self.listing)}
        for about in sorted(self.root.glob("*/about.json")):
            folder = about.parent
            if folder == self.folder:
                continue
            try:
                if json.loads(about.read_text("utf-8")) != self.settings:
                    continue
                lines = (folder / "files.txt").read_text("utf-8").split("\n")
                finished = (folder / "features.npy").is_file()
                source = np.load(
                    folder / ("features.npy" if finished else "features.part.npy"), mmap_mode="r"
                )
                good = np.ones(len(lines), bool) if finished else np.load(folder / "done.npy")
            except (OSError, ValueError, EOFError):
                continue  # another process is at it, or it is broken: compute the rows instead
            if source.shape != (len(lines), self.shape[1]) or len(good) != len(lines):
                continue
            pairs = [(wanted[line], row) for row, line in enumerate(lines) if line in wanted]
            pairs = [(to, row) for to, row in pairs if good[row] and not self.done[to]]
            for start in range(0, len(pairs), 1024):
                to, rows = np.array(pairs[start : start + 1024]).T
                values = source[rows]
                finite = np.isfinite(values).all(axis=1)
                self.write(to[finite], values[finite])
        self.save_progress()

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Writes the features of some rows; they count once `save_progress` was called."""
        with self._writing(), self._part.open("r+b") as stream:
            header = os.path.getsize(self._part) - self.shape[0] * self._row_bytes
            for row, value in zip(rows, values, strict=True):
                stream.seek(header + int(row) * self._row_bytes)
                stream.write(value.astype(self.dtype, copy=False).tobytes())
            stream.flush()
        self.done[rows] = True

    def save_progress(self) -> None:
        """Records which rows are good, after making sure that they are on disk."""
        with self._writing():
            self._sync()
            temporary = self._done_file.with_suffix(".tmp")
            with temporary.open("wb") as stream:
                np.save(stream, self.done)
            os.replace(temporary, self._done_file)

    def finish(self) -> None:
        """Gives the array its final name, once all rows are there."""
        if not self.done.all():
            raise DataError(f"{self._part}: {np.sum(~self.done)} rows are still missing.")
        with self._writing():
            self._sync()
            os.replace(self._part, self.file)
            self._done_file.unlink(missing_ok=True)

    def _sync(self) -> None:
        with self._part.open("r+b") as stream:
            os.fsync(stream.fileno())

    @property
    def _row_bytes(self) -> int:
        return self.shape[1] * self.dtype.itemsize

    def _check_space(self) -> None:
        need, free = self.shape[0] * self._row_bytes, shutil.disk_usage(self.folder).free
        if need > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _writing(self):
        """Turns the system's errors into ones that say what to do."""
        try:
            yield
        except OSError as error:
            megabytes = self.shape[0] * self._row_bytes / 1e6
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DataError(
                    f"{self.folder}: the disk is full; the features need {megabytes:,.0f} MB. "
                    "Free some space, or set XMR_CACHE to a folder on another disk; then run "
                    "again: what is already computed is kept."
                ) from None
            raise DataError(
                f"{self.folder}: cannot be written ({error.strerror or error}). Set XMR_CACHE to "
                "a folder that you may write to."
            ) from None


def list_files(files: tuple[Path, ...]) -> list[str]:
    """One line per image file: its name below the common folder, its size and a fingerprint.

    Raises:
        DataError: a file cannot be read; names it.
    """
    common = os.path.commonpath([file.parent for file in files])
    return [f"{Path(os.path.relpath(file, common)).as_posix()}\t{_sample(file)}" for file in files]


def _sample(file: Path) -> str:
    """Size of a file and a fingerprint of its beginning, middle and end."""
    try:
        with open(file, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            digest = hashlib.sha256(stream.read(_PIECE))
            for start in (size // 2, size - _PIECE):
                if start > _PIECE:
                    stream.seek(start)
                    digest.update(stream.read(_PIECE))
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read ({error.strerror or error}). Has it been moved or deleted "
            "since the data set was loaded? Load it again."
        ) from None
    return f"{size}\t{digest.hexdigest()[:16]}"


def open_array(file: Path, shape: tuple[int, int], *, check_values: bool = True) -> np.ndarray:
    """Maps a finished array into memory after checking it.

    Args:
        file: The finished array.
        shape: What it must have.
        check_values: Also look for NaN, which reads the whole file.

    Raises:
        DataError: truncated, no array, of another size, or with NaN; names the file and the row.
    """
    advice = f"Delete {file.parent} and extract again."
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file}: truncated or not a .npy file ({error}). {advice}") from None
    if array.shape != shape:
        raise DataError(f"{file}: features are {array.shape}, expected {shape}. {advice}")
    for start in range(0, len(array) if check_values else 0, 4096):
        bad = ~np.isfinite(array[start : start + 4096]).all(axis=1)
        if bad.any():
            row = start + int(bad.argmax())
            raise DataError(f"{file}: row {row} holds NaN or infinity. {advice}")
    return array


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that it is either the old one or the whole new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
