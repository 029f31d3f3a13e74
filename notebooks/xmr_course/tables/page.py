"""Tables for a page and for a terminal: never wider than either, with verdicts one can see.

A notebook shows the styled form, `print` the text form. Verdicts have a sign besides their colour:
▲ better and ▼ worse by more than chance, ≈ by no more than chance.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from xmr_course.tables.paper import WIDTH
from xmr_course.tables.reproduce import SIGNS, marked
from xmr_lib.figures import BLUE, GREY, VERMILION

_COLOURS = {"▲": BLUE, "▼": VERMILION, "≈": GREY}
_METRICS = {"i2t_r1": "image → text R@1", "t2i_r1": "text → image R@1", "rsum": "rsum"}
_STYLES = [
    {"selector": "", "props": "max-width: 100%; border-collapse: collapse; font-size: 90%;"},
    {"selector": "caption", "props": "text-align: left; font-weight: bold; padding: 4px 0;"},
    {"selector": "th", "props": "text-align: center; padding: 2px 6px; font-weight: 600;"},
    {"selector": "td", "props": "text-align: right; padding: 2px 6px; white-space: pre-line;"},
    {"selector": "td.col0", "props": "text-align: left; min-width: 9em; overflow-wrap: anywhere;"},
    {"selector": "tbody tr", "props": "border-top: 1px solid #D8D8D8;"},
]


class Table:
    """A table that a notebook shows styled and `print` writes as text.

    Attributes:
        cells: What stands where; the first column names the rows.
        title: Over the table.
        notes: Below it.
        text: The text form of the cells.
    """

    def __init__(
        self, cells: pd.DataFrame, title: str = "", notes: Sequence[str] = (), text: str = ""
    ) -> None:
        self.cells, self.title, self.notes = cells, title, tuple(notes)
        self.text = text or cells.to_string(index=False, line_width=WIDTH)

    def __str__(self) -> str:
        parts = [*self.title.splitlines(), self.text]
        notes = [textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in self.notes]
        return "\n".join([*parts, *notes])

    __repr__ = __str__

    def _repr_html_(self) -> str | None:
        """The styled form; None, which leaves the text form, where pandas lacks jinja2."""
        try:
            style = self.cells.style
        except ImportError:
            return None
        # The name comes from the content, so that the same table is the same page.
        name = hashlib.sha256(str(self).encode()).hexdigest()[:8]
        style.set_uuid(name).set_table_styles(_STYLES).hide(axis="index").map(_colour)
        style.cell_ids = False
        if self.title:
            style.set_caption(_escaped(self.title).replace("\n", "<br>"))
        notes = "".join(f"<div>{_escaped(note)}</div>" for note in self.notes)
        return style.format(escape="html").to_html() + f'<div style="font-size: 90%">{notes}</div>'


def table(
    frame: pd.DataFrame,
    formats: Mapping[str, str] | None = None,
    title: str = "",
    notes: Sequence[str] = (),
) -> Table:
    """Any frame as a table; what is missing is a dash.

    Args:
        frame: One row for each line.
        formats: Column -> how its numbers are written; other numbers get one decimal.
        title: Over the table.
        notes: Below it.

    >>> print(table(pd.DataFrame({"model": ["RFE"], "rsum": [410.25]}), title="Toy numbers"))
    Toy numbers
    model  rsum
      RFE 410.2
    """
    formats = formats or {}
    cells = frame.copy().astype(object)
    for column in frame:
        form = formats.get(column, "{:.1f}" if frame[column].dtype.kind == "f" else "{}")
        cells[column] = ["–" if pd.isna(v) else form.format(v) for v in frame[column]]
    return Table(cells, title, notes)


def printed_beside_measured(frame: pd.DataFrame) -> Table:
    """A measured table: each recall as printed and as measured, and what the difference means.

    Args:
        frame: As `reproduce.reproduce` or `reproduce.saved` returns it, or some of its rows.
    """
    rows, lines = [], []
    against = [name for name in frame["against"].unique() if name]
    for row in frame.to_dict("records"):
        name, verdict, difference, interval = marked(row), _verdict(row), "", ""
        if row["verdict"] in ("real", "noise"):
            difference = f"{row['difference']:+.1f}"
            interval = f"[{row['low']:+.1f}, {row['high']:+.1f}]"
        heading, told = name, f"{verdict} {difference}\n{interval}".strip()
        if len(against) > 1 and row["against"] and difference:
            told += f"\nagainst {row['against']}"
            heading = f"{name} (against {row['against']})"
        printed = {metric: _number(row[f"printed_{metric}"]) for metric in _METRICS}
        measured = {metric: _measured(row, metric) for metric in _METRICS}
        cells = {("", "row"): name}
        for metric, words in _METRICS.items():
            cells |= {(words, "printed"): printed[metric], (words, "measured"): measured[metric]}
        cells["measured rsum", "difference [95 %]"] = told
        rows.append(cells)
        if pd.isna(row["measured_rsum"]):
            lines += [heading, _line("printed", printed.values(), "", verdict)]
        else:
            lines += [heading, _line("printed", printed.values())]
            lines += [
                _line("measured", measured.values(), f"{difference} {interval}".strip(), verdict)
            ]
    head = _line("", ("i2t R@1", "t2i R@1", "rsum"), "difference [95 %]", "verdict")
    cells = pd.DataFrame(rows)
    cells.columns = pd.MultiIndex.from_tuples(cells.columns)
    notes = [f"Differences are against {name}." for name in against if len(against) == 1]
    notes += ["▲ better and ▼ worse by more than chance, ≈ by no more than chance."]
    names = "".join(cells["", "row"])
    notes += [meaning for sign, meaning in SIGNS.values() if sign in names]
    if "at_home_rsum" in frame:
        at_home = frame.set_index("method")["at_home_rsum"].dropna()
        each = ", ".join(f"{method} {rsum:.1f}" for method, rsum in at_home.items())
        notes.append(f"rsum of the same runs on the data they were trained on: {each}.")
    notes += frame.attrs.get("notes", ())
    return Table(cells, frame.attrs.get("title", ""), notes, "\n".join([head, *lines]))


def _line(name: str, numbers: Any, difference: str = "", verdict: str = "") -> str:
    columns = "".join(f"{number:>14}" for number in numbers)
    return f"  {name:<9}{columns}  {difference:>24}  {verdict}".rstrip()


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.1f}"


def _measured(row: Mapping[str, Any], metric: str) -> str:
    spread = row[f"sd_{metric}"]
    return _number(row[f"measured_{metric}"]) + (
        "" if pd.isna(spread) else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{spread:.1f}"
    )


def _verdict(row: Mapping[str, Any]) -> str:
    """The verdict with its sign, or why there is none."""
    if not row["verdict"]:
        return "not measured" if row["status"] == "recipe" else str(row["status"])
    sign = {"noise": "≈ ", "real": "▲ " if row["difference"] > 0 else "▼ "}
    return sign.get(row["verdict"], "") + row["verdict"]


def _colour(value: Any) -> str:
    colour = _COLOURS.get(str(value)[:1])
    return f"color: {colour}; font-weight: bold;" if colour else ""


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
