"""Rows of any printed table, chosen by hand, beside what was measured of them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from xmr_course.explorers import bars
from xmr_course.explorers.bars import Measured, plot_bars
from xmr_course.explorers.shared import Explorer, Still, find_ipywidgets
from xmr_course.tables import paper
from xmr_course.tables.paper import PaperTable
from xmr_lib.errors import DataError
from xmr_lib.figures import Picture

GIVEN = "as given"


def ablation_explorer(
    table: str | None = None, frame: pd.DataFrame | None = None
) -> AblationExplorer | Still:
    """Choose a table of either paper and rows of it: printed bars beside measured ones.

    Measured numbers are those that `xmr_course.tables.reproduce` saved; nothing is trained.

    Args:
        table: To begin with, such as "rfe-6"; by default the table of the frame, else RFE's
            Table VII.
        frame: What `xmr_course.tables.reproduce.reproduce` returned, to be shown without saving it.

    Returns:
        The explorer; its first picture where ipywidgets is not installed.

    Raises:
        UnknownNameError: No such table.
        DataError: The frame does not say of which table it is, and `table` does not either.
    """
    if table is None:
        table = "rfe-7" if frame is None else _table_of(frame)
    choice = Choice(table, None if frame is None else bars.given(frame))
    if find_ipywidgets() is None:
        return Still(choice.picture, f"{choice.printed.title}, printed and measured")
    return AblationExplorer(choice)


class Choice:
    """A table, what is known of it, and what of it is looked at.

    Args:
        table: Such as "rfe-6".
        own: A measurement of that table that no file holds.

    Attributes:
        printed: The table.
        label: What the measured numbers come from; None where nothing was measured.
        rows: Names of the chosen rows.
        metric: What the bars show.

    >>> choice = Choice("rfe-1")
    >>> choice.metric, choice.rows
    ('rsum', ['mg=0.1', 'mg=0.2', 'mg=0.3', 'mg=0.6'])
    """

    def __init__(self, table: str, own: Measured | None = None) -> None:
        paper.table(table)  # an unknown name is told at once
        self._own = {} if own is None else {table: own}
        self.table = table

    @property
    def table(self) -> str:
        """Name of the table; another one brings its own rows and measurements."""
        return self.printed.name

    @table.setter
    def table(self, name: str) -> None:
        self.printed: PaperTable = paper.table(name)
        self.metric = bars.usual_metric(self.printed)
        self.label = next(iter(self.labels), None)
        self.rows = self.usual_rows

    @property
    def labels(self) -> list[str]:
        """What the table was measured on."""
        return [GIVEN] * (self.table in self._own) + bars.labels(self.table)

    @property
    def label(self) -> str | None:
        """What the measured numbers come from."""
        return self._label

    @label.setter
    def label(self, label: str | None) -> None:
        self._label = label
        if label is None:
            self.found = None
        else:
            self.found = (
                self._own[self.table] if label == GIVEN else bars.measured(self.table, label)
            )

    @property
    def all_rows(self) -> list[str]:
        """Printed rows, then those that were measured only."""
        extra = [] if self.found is None else self.found.frame["method"].tolist()
        return paper.with_rows(self.printed, extra).methods

    @property
    def usual_rows(self) -> list[str]:
        """Rows that the kit has a recipe for, or times; rows quoted for context are left out."""
        return [row for row in self.all_rows if row not in self._quoted()]

    def _quoted(self) -> set[str]:
        return {row for row in self.printed.methods if self.printed.status(row) == "context"}

    def notes(self) -> list[str]:
        """What a reader must know of the table and of the chosen rows."""
        notes = [
            f"{note.method + ': ' if note.method else ''}{note.text}"
            for method in ("", *self.rows)
            for note in self.printed.footnotes_of(method)
        ]
        if self.found is None:
            notes.append(f"Not measured yet: python -m xmr_course reproduce {self.table}")
        return notes

    def picture(self) -> Picture:
        """What is chosen, as a figure."""
        return plot_bars(self.printed, self.found, self.rows, self.metric)


@dataclass(eq=False)
class AblationExplorer(Explorer):
    """Controls with a picture below them; displays itself in a notebook.

    Attributes:
        choice: What is shown.
    """

    choice: Choice

    def __post_init__(self) -> None:
        widgets = find_ipywidgets()
        tables = [(paper.table(name).title, name) for name in paper.names()]
        self.table = widgets.Dropdown(options=tables, value=self.choice.table, description="table")
        self.measured = widgets.Dropdown(description="measured")
        self.metric = widgets.Dropdown(description="bars")
        self.rows = widgets.SelectMultiple(description="rows")
        controls = {
            "table": (self.table, self._new_table),
            "measured": (self.measured, self._new_measured),
            "metric": (self.metric, self._read),
            "rows": (self.rows, self._read),
        }
        self._build("ablation-explorer", "ablation explorer", controls)
        self._offer()
        self._listen()

    def picture(self) -> Picture:
        """What is chosen now, as a figure."""
        return self.choice.picture()

    def _offer(self) -> None:
        """Fills the controls with what the table has, then draws."""
        choice = self.choice
        labels = choice.labels
        self.measured.options = [(each, each) for each in labels] or [("nothing yet", None)]
        self.measured.value = choice.label
        self.metric.options = [
            (words, name) for name, words in bars.metrics(choice.printed).items()
        ]
        self.metric.value = choice.metric
        self._offer_rows()

    def _offer_rows(self) -> None:
        self.rows.value = ()  # a browser looks for what was chosen among the new rows
        self.rows.options = self.choice.all_rows
        self.rows.rows = min(12, len(self.choice.all_rows))
        self.rows.value = self.choice.rows
        self._show()

    def _show(self) -> None:
        self.draw()
        self.say(*self.choice.notes())

    def _new_table(self) -> None:
        self.choice.table = self.table.value
        self._offer()

    def _new_measured(self) -> None:
        self.choice.label = self.measured.value
        self.choice.rows = self.choice.usual_rows
        self._offer_rows()

    def _read(self) -> None:
        self.choice.metric, self.choice.rows = self.metric.value, list(self.rows.value)
        self._show()


def _table_of(frame: pd.DataFrame) -> str:
    """The printed table that a frame was measured for, by its title."""
    title = frame.attrs.get("title", "")
    for name in paper.names():
        if title.startswith(paper.table(name).title):
            return name
    raise DataError('The frame does not say of which table it is: give its name, as table="rfe-6".')
