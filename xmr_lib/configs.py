"""Configurations whose values are checked: each takes its field's type, or an error says why not.

A configuration is a frozen dataclass that inherits from `Config`. What a field may hold follows
from its annotation: the choices of a `Literal`, whole numbers from 1 and numbers above 0, or the
limits of one of the types below (of a text: its choices).
"""

from __future__ import annotations

import math
import types
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from xmr_lib.errors import DataError, UnknownNameError

Several = Annotated[int, 2, math.inf]  # a count of at least two
MaybeNone = Annotated[int, 0, math.inf]  # a count that may be 0
Weight = Annotated[float, 0, 1e6]  # a number that may be 0
Share = Annotated[float, 0, 1]
Dropout = Annotated[float, 0, 0.99]  # a rate; 1 would leave nothing
Margin = Annotated[float, 5e-324, 100]  # above 0; scores differ by a few units at most


@dataclass(frozen=True)
class Config:
    """A configuration; every value is checked, and turned into its field's type, when it is made.

    Raises:
        UnknownNameError: A value is none of its field's choices.
        DataError: A value is of another type, or outside of its limits.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = typed(type(self), field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)


def field_names(config: type) -> tuple[str, ...]:
    """Names of a configuration's fields, those of its bases first."""
    return tuple(field.name for field in fields(config))


@cache
def _annotations(config: type) -> dict[str, Any]:
    return get_type_hints(config, include_extras=True)


def typed(config: type, name: str, value: Any) -> Any:
    """A value as its field's type; a single number does for a tuple of stages.

    Raises:
        UnknownNameError: It is none of the field's choices.
        DataError: It is of another type, or outside of the field's limits.
    """
    kind, limits = _annotations(config)[name], ()
    if get_origin(kind) is Annotated:
        kind, *limits = get_args(kind)
    if choices := limits[0] if limits and kind is str else _choices(kind):
        if value not in choices:
            raise UnknownNameError(name, str(value), map(str, choices))
        return value
    if get_origin(kind) is tuple:
        three_weights = get_args(kind) == (float,) * 3
        return _three_weights(name, value) if three_weights else _stages(name, value)
    if kind is bool or kind is str:
        if isinstance(value, kind):
            return value
        raise DataError(f"{name} is {'a text' if kind is str else 'True or False'}, not {value!r}.")
    return _number(name, kind, limits, value, getattr(config, name))


def _choices(kind: Any) -> tuple:
    """The values of a `Literal`, of `Literal | None`, or none."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        literal, _ = get_args(kind)
        return (None, *get_args(literal))
    return ()


def _number(name: str, kind: type, limits: list, value: Any, usual: float) -> float:
    if not isinstance(value, Real if kind is float else Integral) or isinstance(value, bool):
        what = "a number" if kind is float else "a whole number"
        raise DataError(f"{name} must be {what}, as in {name}={usual}, not {value!r}.")
    least, most = limits or ((1, math.inf) if kind is int else (5e-324, 1e6))
    if not least <= value <= most:
        above = f"at least {least}" if least >= 1 or least == 0 else "above 0"
        wanted = above if kind is int else f"{above} and at most {most:g}"
        raise DataError(f"{name} must be {wanted}, not {value}.")
    return kind(value)


def _stages(name: str, value: Any) -> tuple[int, ...]:
    stages = (value,) if isinstance(value, Integral) else value
    if isinstance(stages, tuple | list) and all(stage in (1, 2, 3, 4) for stage in stages):
        return tuple(sorted({int(stage) for stage in stages}))
    raise DataError(f"{name} takes stages from 1 to 4, as in (1, 2), not {value!r}.")


def _three_weights(name: str, value: Any) -> tuple[float, ...]:
    wanted = f"{name} takes three weights, none below 0 and not all 0, as in (0.6, 0.2, 0.2)"
    if not isinstance(value, tuple | list) or len(value) != 3:
        raise DataError(f"{wanted}, not {value!r}.")
    numbers = [isinstance(each, Real) and not isinstance(each, bool) for each in value]
    if not all(numbers) or not all(0 <= each < math.inf for each in value) or not any(value):
        raise DataError(f"{wanted}, not {value!r}.")
    return tuple(float(each) for each in value)
