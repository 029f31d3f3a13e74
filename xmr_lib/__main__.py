"""The command line: `python -m xmr_lib train | evaluate | search | extract | toy | doctor`."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> None:
    """Runs one of the library's commands."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["doctor"] and set(arguments[1:]) <= {"--deep"}:
        from xmr_lib import doctor  # needs no package at all

        sys.exit(doctor.main(deep="--deep" in arguments))
    from xmr_lib.command_line import run_command
    from xmr_lib.commands import COMMANDS

    run_command(COMMANDS, "python -m xmr_lib", arguments)


if __name__ == "__main__":
    main()
