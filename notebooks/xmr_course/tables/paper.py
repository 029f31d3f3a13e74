"""Every printed table of both papers, with footnotes on sums that do not add up.

>>> from xmr_course.tables import paper
>>> table = paper.table("rfe-1")
>>> float(table.frame.set_index("method").loc["mg=0.2", "rsum"])
422.8
>>> [note.text for note in table.footnotes if note.kind == "sum"]
['the printed sum is 400.9, its cells add up to 400.4 (more than rounding can explain)']
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources

import pandas as pd

from xmr_lib.errors import UnknownNameError
from xmr_lib.evaluation import RECALLS

_PRINTED = resources.files(__package__) / "printed"  # the tables, and what is printed around them
_ABOUT = json.loads((_PRINTED / "about.json").read_text(encoding="utf-8"))

WIDTH = 100  # characters of a line of text
PAPERS = {"rfe": "RFE", "smfea": "SMFEA"}
ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")

# Each of six cells and their sum is rounded to 0.1, so a sum can be off by 7 x 0.05 at most.
ROUNDING = 0.05 * (len(RECALLS) + 1)

# Rows that name a model of one of the two papers; all others are quoted for context only.
_OWN_ROW = re.compile(r"avg-|mg=|VSE\+\+|RFE|SCAN|CVSE|SMFEA|w/o |\[|chain-|linear-")

# SMFEA's tables write "SCAN*" or "SCAN". The numbers show which of SCAN's models is meant, because
# RFE's Tables II, III and IV print them again; those of Table 4 are printed nowhere else.
_SCAN_IN_SMFEA = {
    "smfea-1": "SCAN t-i AVG + i-t LSE",
    "smfea-2": "SCAN t-i LSE + i-t AVG",
    "smfea-3": "SCAN t-i AVG + i-t LSE",
    "smfea-4": "SCAN t-i AVG",
}


@dataclass(frozen=True)
class Footnote:
    """One thing a reader must know about a printed row.

    Attributes:
        method: The row; "" when the note is about the whole table.
        kind: "sum" (does not add up), "partial-sum" (adds up fewer than six cells), "missing"
            (cells that are not printed) or "reading" (found by reading the paper).
        text: The note itself.
    """

    method: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.method}: {self.text}" if self.method else self.text


@dataclass(frozen=True)
class PaperTable:
    """A table as printed.

    Attributes:
        name: Such as "rfe-6".
        caption: What it shows.
        dataset: "flickr30k", "coco" or "not stated".
        protocol: Test protocol, as `xmr_lib.evaluation.PROTOCOLS` names it.
        frame: One row per printed row: `method`, the six recalls (percent) and `rsum`, NaN where
            nothing is printed. Table V of RFE has columns of seconds instead.
        footnotes: In the order of the rows, those about the whole table first.
    """

    name: str
    caption: str
    dataset: str
    protocol: str
    frame: pd.DataFrame
    footnotes: tuple[Footnote, ...]

    @property
    def title(self) -> str:
        """Name as the paper writes it, with the caption: "RFE Table VI: ablation of …"."""
        paper, number = self.name.split("-")
        shown = ROMAN[int(number)] if paper == "rfe" else number
        return f"{PAPERS[paper]} Table {shown}: {self.caption}"

    @property
    def methods(self) -> list[str]:
        """Names of the rows, as printed."""
        return self.frame["method"].tolist()

    @property
    def has_recalls(self) -> bool:
        """False for Table V of RFE, which prints seconds."""
        return set(RECALLS) <= set(self.frame.columns)

    @cached_property
    def recipe_of_row(self) -> dict[str, str | None]:
        """Row -> name of the recipe, ensemble or re-ranked recipe that reproduces it, or None."""
        from xmr_lib import recipes  # here, because recipes are not needed to look at a table

        def known(name: str | None) -> str | None:
            try:
                if name is not None:
                    recipes.compose(name)
            except UnknownNameError:
                return None
            return name

        return {method: known(_recipe_name(self.name, method)) for method in self.methods}

    def mark(self, method: str) -> str:
        """What a reader must know of a measured row: "ensemble", "transductive", both, or ""."""
        from xmr_lib import recipes

        name = self.recipe_of_row[method]
        return recipes.compose(name).mark if name else ""

    def status(self, method: str) -> str:
        """What the kit does about a row: "recipe", "timed", "not yet built" or "context"."""
        if not self.has_recalls:
            return "timed"
        if self.recipe_of_row[method]:
            return "recipe"
        return "not yet built" if _recipe_name(self.name, method) else "context"

    def footnotes_of(self, method: str) -> tuple[Footnote, ...]:
        """Footnotes of one row ("" for those of the whole table)."""
        return tuple(note for note in self.footnotes if note.method == method)

    def __str__(self) -> str:
        """The table as text: marks after rows that have footnotes, footnotes below."""
        numbers = {note: i for i, note in enumerate(self.footnotes, start=1)}

        def marked(method: str) -> str:
            marks = [numbers[note] for note in self.footnotes_of(method)]
            return method + "".join(f" ({i})" for i in marks)

        shown = self.frame.assign(method=[marked(m) for m in self.methods])
        decimals = 1 if self.has_recalls else 3
        body = shown.to_string(index=False, na_rep="–", float_format=lambda x: f"{x:.{decimals}f}")
        notes = [
            textwrap.fill(f"({i}) {note}", WIDTH, subsequent_indent="    ")
            for note, i in numbers.items()
        ]
        where = f"{self.dataset}, {self.protocol}"
        return "\n".join([f"{self.title} ({where})", body, *notes])


def names() -> list[str]:
    """Names of all printed tables: rfe-1 … rfe-10, smfea-1 … smfea-7."""
    return list(_ABOUT)


def table(name: str) -> PaperTable:
    """One printed table.

    Args:
        name: Such as "rfe-6" or "smfea-5" (see `names`).

    Raises:
        UnknownNameError: When there is no such table; suggests the nearest names.
    """
    if name not in _ABOUT:
        raise UnknownNameError("table", name, names())
    about, frame = dict(_ABOUT[name]), _read(name)
    footnotes = _footnotes(frame, about.pop("notes", {}))
    return PaperTable(name, frame=frame, footnotes=footnotes, **about)


def with_rows(printed: PaperTable, extra: Sequence[str]) -> PaperTable:
    """A table with rows that are not printed: recipes, ensembles or re-ranked ones by name.

    >>> with_rows(table("rfe-10"), ["VSE++-rerank"]).mark("VSE++-rerank")
    'transductive'
    """
    new = [name for name in extra if name not in printed.methods]
    rows = pd.DataFrame({"method": new}).reindex(columns=printed.frame.columns)
    numbers = {column: float for column in rows.columns if column != "method"}
    frame = pd.concat([printed.frame, rows.astype(numbers)], ignore_index=True)
    return replace(printed, frame=frame) if new else printed


def _read(name: str) -> pd.DataFrame:
    paper, number = name.split("-")
    prefixes = (f"{paper}_table_{int(number):02d}_", f"{paper}_table_{number}_")
    (file,) = (file for file in _PRINTED.iterdir() if file.name.startswith(prefixes))
    with file.open(encoding="utf-8") as lines:
        frame = pd.read_csv(lines)
    frame = frame.rename(columns={"beta_d_t_c": "method"})
    if set(RECALLS) & set(frame.columns):
        frame = frame.reindex(columns=["method", *RECALLS, "rsum"])
    return frame


def _recipe_name(name: str, method: str) -> str | None:
    """Name under which a recipe of that row would go, None for rows quoted for context."""
    bare = re.sub(r" \[(\w+|[A-Z]+\d{4})\]", "", method)  # [BMVC2018] [21] [ours]
    bare = bare.removesuffix(" (ours)").removesuffix("-5K")
    if name in _SCAN_IN_SMFEA and bare in ("SCAN*", "SCAN"):
        return _SCAN_IN_SMFEA[name]
    if not _OWN_ROW.match(bare) or bare.endswith("*") or name == "rfe-5":
        return None
    if name == "rfe-1":
        return f"avg-4-GRU-emb-avg {bare}"
    if name == "rfe-4" and bare == "RFE":
        return "avg-4-GRU-emb-avg-rerank"
    if name == "smfea-6" and bare == "[0.6, 0.2, 0.2]":
        return "SMFEA"
    of_smfea = name in ("smfea-5", "smfea-6", "smfea-7")
    if of_smfea and bare.startswith(("w/o ", "[", "chain-", "linear-")):
        return f"SMFEA {bare}"
    return bare


def _footnotes(frame: pd.DataFrame, notes: dict[str, str]) -> tuple[Footnote, ...]:
    found = [Footnote("", "reading", notes[""])] if "" in notes else []
    for row in frame.to_dict("records"):
        if "rsum" in row:
            found += _cell_footnotes(row, printed=[c for c in RECALLS if frame[c].notna().any()])
        if row["method"] in notes:
            found.append(Footnote(row["method"], "reading", notes[row["method"]]))
    return tuple(found)


def _cell_footnotes(row: dict, printed: Sequence[str]) -> list[Footnote]:
    """Notes found by adding up one row; `printed` are the columns that the table has."""
    method, rsum = row["method"], row["rsum"]
    cells = [row[column] for column in printed if pd.notna(row[column])]
    total = round(sum(cells), 1)  # the cells have one decimal; the rest is binary noise
    found = []
    if pd.notna(rsum) and len(cells) == len(RECALLS) and total != rsum:
        much = "more than" if abs(total - rsum) > ROUNDING else "no more than"
        text = f"the printed sum is {rsum:.1f}, its cells add up to {total:.1f} "
        text += f"({much} rounding can explain)"
        found.append(Footnote(method, "sum", text))
    if pd.notna(rsum) and len(cells) < len(RECALLS) and total == rsum:
        text = f"the printed sum adds up only the {len(cells)} cells that are printed"
        found.append(Footnote(method, "partial-sum", text))
    missing = [column for column in printed if pd.isna(row[column])]
    if missing:
        found.append(Footnote(method, "missing", f"not printed: {', '.join(missing)}"))
    return found
