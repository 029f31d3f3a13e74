"""Commands of the toy scenes, and `doctor`."""

from __future__ import annotations

import sys
from pathlib import Path


def doctor(deep: bool = False) -> None:
    """Say what works here and, for what does not, the command that mends it.

    Args:
        deep: Also import every required package, read the shipped weights and find the device.
    """
    from xmr_lib.doctor import main

    sys.exit(main(deep))


def pretrain_toy(
    out: Path | None = None, scenes: int = 8000, epochs: int = 6, seed: int = 0
) -> None:
    """Train the toy backbone anew on scenes of its own (it ships trained).

    Args:
        out: Where the weights go; by default the file that ships with the package.
        scenes: Scenes to learn from.
        epochs: Passes over them.
        seed: Seed of weights and order.
    """
    from xmr_lib.encoders import toy_pretraining

    for name, value in toy_pretraining.pretrain(out, scenes, epochs, seed).items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")


def toy(out: Path = Path("build/toy_scenes.png")) -> None:
    """Draw the toy scenes and a sheet of some of them with their captions.

    Args:
        out: File of the sheet.
    """
    from xmr_lib import toy as scenes

    scenes.draw()
    scenes.contact_sheet(out)
    print(f"Picture: {out}")
