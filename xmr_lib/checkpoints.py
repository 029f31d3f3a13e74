"""What a stage of training leaves behind after every epoch, so that a killed run can continue.

A checkpoint holds the model without the wrapper that several processes put around it, so that a
run begun by two processes may be ended by one, or by eight. The last two are kept, each with a
checksum for every file: when the newest is damaged, the epoch after the other is trained again.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from accelerate import Accelerator

KEPT = 2


@dataclass
class Progress:
    """What a stage has done so far; saved with every checkpoint."""

    epoch: int = 0
    best_rsum: float = -1.0
    history: list[dict] = field(default_factory=list)


def register(accelerator: Accelerator) -> None:
    """Lets an accelerator save and load models without their wrapper."""
    accelerator.register_save_state_pre_hook(_unwrap_saved)
    accelerator.register_load_state_pre_hook(_unwrap_loaded)


def _unwrap_saved(models: list, weights: list[dict], folder: str) -> None:
    for state in weights:
        for name in [name for name in state if name.startswith("module.")]:
            state[name.removeprefix("module.")] = state.pop(name)


def _unwrap_loaded(models: list, folder: str) -> None:
    models[:] = [getattr(model, "module", model) for model in models]


def save(accelerator: Accelerator, folder: Path, progress: Progress) -> None:
    """Writes everything needed to continue, under a name it only gets once it is complete.

    Args:
        accelerator: What `register` was given. All processes must call this.
        folder: Of the stage.
        progress: The first process's counts; the others' are not used.
    """
    unfinished = folder / "unfinished"
    if accelerator.is_main_process:
        shutil.rmtree(unfinished, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(unfinished))  # each process its random state, the first the rest
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    content = asdict(progress) | {"checksums": _checksums(unfinished)}
    (unfinished / "progress.json").write_text(json.dumps(content))
    finished = folder / f"epoch-{progress.epoch:04d}"
    shutil.rmtree(finished, ignore_errors=True)  # a damaged one
    os.replace(unfinished, finished)
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def resume(accelerator: Accelerator, folder: Path) -> Progress:
    """Restores the newest undamaged checkpoint of a stage; without one nothing changes.

    Returns:
        How far the stage has come.
    """
    for checkpoint in _newest_first(folder):
        try:
            content = json.loads((checkpoint / "progress.json").read_text())
            checksums = content.pop("checksums", None)  # earlier versions wrote none
            progress = Progress(**content)
            damaged = checksums is not None and checksums != _checksums(checkpoint)
        except (OSError, ValueError, TypeError, AttributeError):
            damaged = True
        if not damaged:
            accelerator.load_state(str(checkpoint))
            return progress
        warnings.warn(f"{checkpoint} is damaged and not used.", stacklevel=3)
    return Progress()


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-[0-9]*"), reverse=True)


def _checksums(folder: Path) -> dict[str, int]:
    """CRC-32 of every file of a checkpoint but its own list."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): zlib.crc32(path.read_bytes())
        for path in files
        if path.name != "progress.json"
    }
