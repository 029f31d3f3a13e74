"""How commands are read, shown and ended, for the library and the course alike.

Light to import: neither torch nor pandas is loaded before a command runs.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import time
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union

import tyro

from xmr_lib.errors import DataError, UnknownNameError, XMRError
from xmr_lib.sources import DataSource

Positional = tyro.conf.Positional


def run_command(
    commands: Mapping[str, Callable[..., None]], program: str, arguments: list[str] | None = None
) -> None:
    """Runs one of `commands`; an error that the user can mend is one line and exit code 2.

    Args:
        commands: Name -> function, whose arguments become the options.
        program: What is typed to start it, for the help.
        arguments: As typed; those of this process by default.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # no sentence is worth an error at the end of a training
            stream.reconfigure(errors="replace")
    try:
        if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
            raise UnknownNameError("command", arguments[0], commands)
        tyro.extras.subcommand_cli_from_dict(
            {name: _with_plain_help(command) for name, command in commands.items()},
            prog=program,
            args=arguments,
        )
    except XMRError as error:
        if os.environ.get("RANK", "0") != "0":
            time.sleep(3)  # the first process reports it, and torchrun ends the others meanwhile
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command continues from the last finished epoch", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # as in `… | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def overrides_of(pairs: tuple[str, ...]) -> dict[str, Any]:
    """The values of `--set`: `margin=0.3` and the like, each read as a Python value.

    Raises:
        DataError: A pair has no equals sign.
        UnknownNameError: The recipe has no such field.
    """
    from xmr_lib.recipes import FIELDS

    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise DataError(f"--set takes field=value, as in margin=0.3, not {pair!r}.")
        if name not in FIELDS:  # scale and seed have options of their own
            raise UnknownNameError("recipe field", name, FIELDS)
        values[name] = _value(text)
    return values


def _value(text: str) -> bool | int | float | str | tuple | None:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    if "," in text:
        return tuple(_value(part) for part in text.split(",") if part)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def require(what: str, given: bool, **options: Any) -> None:
    """Refuses options that would have no effect without something else.

    Raises:
        DataError: `what` is not given, but one of the options is.
    """
    for name, value in options.items():
        if value not in (None, False, 0, ()) and not given:
            raise DataError(f"--{name.replace('_', '-')} needs {what}.")


def print_metrics(rows: Mapping[str, Mapping[str, float]]) -> None:
    """Recalls, median ranks and rsum, one row each."""
    import pandas as pd

    columns = [
        f"{way}_{metric}" for way in ("i2t", "t2i") for metric in ("r1", "r5", "r10", "medr")
    ]
    print(pd.DataFrame(rows).T[[*columns, "rsum"]].round(1).to_string())


def _with_plain_help(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with help that names plain types (`STR`, not `{None}|STR`) and real defaults."""
    hints = typing.get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters

    def shown(**values: Any) -> Any:
        return command(**values)

    plain = {name: _plain(name, hints[name]) for name in parameters}
    shown.__doc__, shown.__annotations__ = command.__doc__, plain
    shown.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=plain[name]
            )
            for name, each in parameters.items()
        ]
    )
    return shown


def _plain(name: str, hint: Any) -> Any:
    """A type with the words and the default that the help shows for it."""
    if dataclasses.is_dataclass(typing.get_args(hint)[0] if typing.get_args(hint) else hint):
        return hint
    words = name.upper() if tyro.conf.Positional in typing.get_args(hint) else _metavar(hint)
    return Annotated[hint, tyro.conf.arg(metavar=words, help_behavior_hint=_default)]


def _default(text: str) -> str:
    return "" if text in ("", "None") else f"(default: {text})"


def _metavar(hint: Any) -> str | None:
    """`str | None` -> "STR", `tuple[int, ...]` -> "INT ..."; None where tyro's own name is good."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _metavar(arguments[0])
    if origin in (Union, types.UnionType):
        (inner,) = (each for each in arguments if each is not type(None))
        return _metavar(inner)
    if origin is tuple:
        return f"{_metavar(arguments[0])} ..."
    if origin is Literal:
        return "|".join(arguments)
    return None if hint is bool else hint.__name__.upper()


@dataclasses.dataclass(frozen=True)
class OwnData(DataSource):
    """Captioned images, where those of a run are meant unless others are named."""

    data: str = ""


OfData = Annotated[DataSource, tyro.conf.arg(name="", constructor=_with_plain_help(DataSource))]
OfOwnData = Annotated[OwnData, tyro.conf.arg(name="", constructor=_with_plain_help(OwnData))]
TOY = DataSource()
