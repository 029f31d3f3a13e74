"""The command line: `python -m xmr_lib train | evaluate | search | extract | …`."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable

import tyro

from xmr_lib.commands.search import search
from xmr_lib.commands.starting import doctor, pretrain_toy, toy
from xmr_lib.commands.testing import evaluate
from xmr_lib.commands.training import extract, train
from xmr_lib.errors import XMRError

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "search": search,
    "extract": extract,
    "toy": toy,
    "pretrain-toy": pretrain_toy,
    "doctor": doctor,
}


def main(arguments: list[str] | None = None) -> None:
    """Runs one of the library's commands."""
    run_command(COMMANDS, arguments)


def run_command(commands: dict[str, Callable], arguments: list[str] | None = None) -> None:
    """Runs one of `commands`; an error that the user can correct is one line, not a traceback."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="xmr", args=arguments)
    except XMRError as error:
        if os.environ.get("RANK", "0") != "0":
            time.sleep(3)  # the first process says it, and torchrun ends the others meanwhile
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last finished epoch", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
