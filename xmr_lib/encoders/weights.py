"""Files of pre-trained weights: found, downloaded once, and checked before they are used."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import socket
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn

from xmr_lib.errors import DamagedFileError, DataError


def fingerprint(net: nn.Module) -> str:
    """SHA-256 over names and values of all weights: the same weights give the same one."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def hub_weights(name: str, version: str, instead: str) -> dict[str, Tensor]:
    """Weights of torchvision in torch hub's cache, downloaded if they are not there.

    Args:
        name: Of the network.
        version: Which of its weights.
        instead: What else the user could do ("or use …"), for the message.

    Raises:
        DataError: Neither here nor downloadable, or damaged; names file, address and folder.
    """
    url = _url(name, version)  # ends with the file's name, which holds the beginning of its SHA-256
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not file.is_file():
        patience = socket.getdefaulttimeout()
        socket.setdefaulttimeout(30)  # seconds: behind some firewalls a download never answers
        try:
            torch.hub.load_state_dict_from_url(url, check_hash=True, weights_only=True)
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: wrong checksum
            raise DataError(
                f"The weights of {name} are not here and cannot be downloaded ({error}). "
                f"Fetch {url} by other means and put the file {file.name} into {file.parent}; "
                f"{instead}."
            ) from None
        finally:
            socket.setdefaulttimeout(patience)
    sha256 = file.stem.rpartition("-")[2]
    return read_weights(file, sha256, "Delete the file, and it is downloaded again.")


def _url(name: str, version: str) -> str:
    from torchvision import models  # slow to import

    return models.get_model_weights(name)[version].url


def read_weights(file: Path, sha256: str, cure: str) -> dict[str, Tensor]:
    """Reads a checkpoint, whose SHA-256 begins with `sha256`, without running any code in it.

    Raises:
        DamagedFileError: Its contents are not what they were; names the file and the `cure`.
    """
    try:
        if not hashlib.sha256(file.read_bytes()).hexdigest().startswith(sha256):
            raise DamagedFileError(
                f"{file} is damaged: its SHA-256 does not begin with {sha256}. {cure}"
            )
        return torch.load(file, map_location="cpu", weights_only=True)
    except DamagedFileError:
        raise
    except Exception as error:  # whatever zip, pickle and torch raise for broken files
        reason = f"{type(error).__name__}: {error}"
        raise DamagedFileError(f"{file}: cannot be read ({reason}). {cure}") from None


def recorded_sha256(package: str, file: Path) -> str:
    """What pip has noted of a file that it installed; empty where it has not."""
    with suppress(importlib.metadata.PackageNotFoundError):
        for entry in importlib.metadata.files(package) or ():
            if entry.name == file.name and entry.hash is not None and entry.hash.mode == "sha256":
                return base64.urlsafe_b64decode(entry.hash.value + "==").hex()
    return ""
