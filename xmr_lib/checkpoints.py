"""What a stage of training leaves behind after every epoch, so that a killed run can go on.

A checkpoint holds the model without the wrapper that several processes put around it, so that a
run begun by two processes may be ended by one, or by eight.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from accelerate import Accelerator


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
    """Writes everything needed to go on, under a name it only gets once it is complete.

    Args:
        accelerator: What `register` was given. All processes must come here.
        folder: Of the stage.
        progress: The first process's counts; the others' is not looked at.
    """
    unfinished = folder / "unfinished"
    if accelerator.is_main_process:
        shutil.rmtree(unfinished, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(unfinished))  # each process its random state, the first the rest
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    (unfinished / "progress.json").write_text(json.dumps(asdict(progress)))
    before = latest(folder)
    os.replace(unfinished, folder / f"epoch-{progress.epoch:04d}")
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)


def load(accelerator: Accelerator, checkpoint: Path) -> Progress:
    """Puts everything back as it was, and says how far that is."""
    accelerator.load_state(str(checkpoint))
    return Progress(**json.loads((checkpoint / "progress.json").read_text()))


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a stage."""
    found = sorted(folder.glob("epoch-[0-9]*"))
    return found[-1] if found else None
