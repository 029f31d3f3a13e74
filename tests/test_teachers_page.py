"""The teachers' page lists every wrong solution that is tested.

`python tests/test_teachers_page.py` (with `tests` on PYTHONPATH) writes its tables anew.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

COURSE = Path(__file__).parents[1] / "notebooks" / "assignments"
PAGE = COURSE / "TEACHERS.md"
BEGIN, END = "<!-- wrong answers: begin -->", "<!-- wrong answers: end -->"


def tables() -> str:
    """A table for each assignment, a row for each mistake."""
    parts = []
    for number, folder in enumerate(sorted((COURSE / "source").iterdir()), start=1):
        module = import_module(f"assignments.wrong_{number}")
        rows = [
            f"| `{wrong.cell}` | {wrong.name}{' *' if wrong.hidden_only else ''} | "
            + ", ".join(f"`{test}`" for test in wrong.loses)
            + f" | {wrong.reveals} |"
            for wrong in module.WRONG
        ]
        head = ["| answer | mistake | tests lost | what it tells |", "|---|---|---|---|"]
        parts.append("\n".join([f"### {folder.name}", "", *head, *rows]))
    return "\n\n".join(parts)


def test_every_wrong_solution_is_listed():
    text = PAGE.read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == tables()


def test_files_that_it_names_exist():
    project = COURSE.parents[1]
    named = re.findall(r"notebooks/assignments/\w+|tests/\w+/", PAGE.read_text(encoding="utf-8"))
    assert "notebooks/assignments/Dockerfile" in named
    assert not [name for name in named if not (project / name).exists()]


if __name__ == "__main__":
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(
        f"{before}{BEGIN}\n{tables()}\n{END}{rest.split(END)[1]}", encoding="utf-8", newline="\n"
    )
