"""What several commands need: which data, values of `--set`, a table of metrics."""

from __future__ import annotations

from typing import Annotated

import tyro

from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.runs import DataSource

Positional = tyro.conf.Positional
OfData = Annotated[DataSource, tyro.conf.arg(name="")]
TOY = DataSource()


def overrides_of(pairs: tuple[str, ...]) -> dict:
    """`margin=0.3` and the like as recipe fields, each read as its field's type."""
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


def print_metrics(rows: dict[str, dict[str, float]]) -> None:
    """Recalls, median ranks and rsum, a row each."""
    import pandas as pd

    columns = [*(f"{way}_{m}" for way in ("i2t", "t2i") for m in ("r1", "r5", "r10", "medr")),
               "rsum"]  # fmt: skip
    print(pd.DataFrame(rows).T[columns].round(1).to_string())
