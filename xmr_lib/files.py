"""Folders of the kit, and files that are written whole or not at all.

The cache may be deleted at any time; runs may not.
"""

from __future__ import annotations

import errno
import os
import sys
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from xmr_lib.errors import DamagedFileError, DataError

if TYPE_CHECKING:
    import torch

_WRITE_ERRORS = {
    getattr(errno, name, None)
    for name in [
        "EACCES",
        "EPERM",
        "EROFS",
        "ENOSPC",
        "EDQUOT",
        "ENAMETOOLONG",
        "ENOTDIR",
        "EEXIST",
    ]
}


def cache_dir() -> Path:
    """Folder of recomputable files (toy scenes, features): `$XMR_CACHE`, else the user's cache."""
    if custom := os.environ.get("XMR_CACHE"):
        return Path(custom).expanduser()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "xmr"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "xmr"


def project_dir() -> Path:
    """The checkout that the current folder lies in, else the current folder itself.

    Notebooks run in `notebooks/`, the command line usually one level up: both must find the
    same runs and figures.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "xmr_lib" / "files.py").is_file():
            return folder
    return here


def runs_dir() -> Path:
    """Folder of trained runs: `$XMR_RUNS`, else `runs/` of the project."""
    if custom := os.environ.get("XMR_RUNS"):
        return Path(custom).expanduser()
    return project_dir() / "runs"


def figures_dir() -> Path:
    """Folder of pictures and tables: `$XMR_FIGURES`, else `build/figures/` of the project.

    The pictures that come with the kit lie in `figures/`; only `make notebooks` writes there.
    """
    if custom := os.environ.get("XMR_FIGURES"):
        return Path(custom).expanduser()
    return project_dir() / "build" / "figures"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, which becomes `path` if the block ends well.

    Readers see the old file or the whole new one. Several processes may write the same file: each
    has a temporary file of its own, and the last one wins.

    Raises:
        DataError: Naming the folder, when it cannot be written or the disk is full.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic(folder / "numbers.txt") as temporary:
    ...     _ = temporary.write_text("1 2 3")
    >>> [file.name for file in folder.iterdir()]
    ['numbers.txt']
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        with writable(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # some libraries write for this account alone
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turns a failed write below `folder` into one line that names the folder and the cure."""
    try:
        yield
    except OSError as error:
        if error.errno not in _WRITE_ERRORS:
            raise
        elsewhere = "XMR_CACHE, XMR_RUNS and XMR_FIGURES put the kit's folders elsewhere."
        raise DataError(f"{folder} cannot be written: {error.strerror}. {elsewhere}") from error


@contextmanager
def locked(folder: Path, what: str, wait: bool = True) -> Iterator[None]:
    """Lets one process at a time change what lies in `folder`; the others wait.

    Args:
        folder: Is made if it is missing; the lock is a file in it.
        what: What is being changed, for the message to those who wait.
        wait: Whether to wait for the other process; otherwise a DataError says that it is busy.
    """
    from filelock import FileLock, Timeout

    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", mode=0o666 & ~_umask())
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise DataError(f"Another process is changing {what} ({folder}).") from None
            print(f"Waiting for another process that is changing {what} …", file=sys.stderr)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def save_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], **about: str) -> None:
    """Writes named tensors as a safetensors file that holds a checksum of its contents.

    Args:
        path: The file; an old one is replaced atomically.
        tensors: Of any type and shape.
        about: Texts kept beside the tensors, such as settings.
    """
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={**about, "checksum": _checksum(tensors, about)})


def load_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Reads what `save_tensors` has written, memory-mapped.

    Returns:
        The tensors, and the texts kept beside them.

    Raises:
        DamagedFileError: The file is cut short, or its contents do not fit its checksum.
    """
    with _safetensors(path) as file:
        about = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    checksum = about.pop("checksum", None)
    if checksum is not None and checksum != _checksum(tensors, about):
        raise DamagedFileError(f"{path} is damaged: its contents do not fit its checksum.")
    return tensors, about


def load_texts(path: str | Path) -> dict[str, str]:
    """The texts kept beside tensors, read without a look at these (or at the checksum)."""
    with _safetensors(path) as file:
        return file.metadata() or {}


@contextmanager
def _safetensors(path: str | Path) -> Iterator:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is damaged ({error}).") from error


def _checksum(tensors: Mapping[str, torch.Tensor], about: Mapping[str, str]) -> str:
    """CRC-32 of names, types, shapes and values: fast, and enough against damage by accident."""
    import torch

    total = zlib.crc32(repr(sorted(about.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        if tensor.numel():
            total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy(), total)
    return f"{total:08x}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
