"""Student copies (`release/`) made from the solved notebooks (`source/`), the same everywhere."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xmr_course.grading.course import Course, assignment_ids, assignments_dir, read
from xmr_lib.errors import DataError

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def as_text(notebook: dict[str, Any]) -> str:
    """A notebook as it is committed: no outputs, no counts, nothing of the machine it was made on.

    >>> "my-env" in as_text({"cells": [], "metadata": {"kernelspec": {"name": "my-env"}}})
    False
    """
    cells = []
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        kept = {
            "cell_type": cell["cell_type"],
            "id": cell.get("id", f"cell-{number:02d}"),
            "metadata": {
                name: value
                for name, value in cell["metadata"].items()
                if name in ("nbgrader", "deletable", "editable", "tags")
            },
            "source": source.splitlines(keepends=True),
        }
        if cell["cell_type"] == "code":
            kept |= {"execution_count": None, "outputs": []}
        cells.append(kept)
    whole = {"cells": cells, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def student_copies(course: Path, assignments: Iterable[str]) -> dict[Path, str]:
    """What `release/` must hold: each file and its text.

    Raises:
        DataError: nbgrader refuses a source.
        MissingDependencyError: nbgrader is not installed.
        UnknownNameError: There is no such assignment.
    """
    copies = {}
    with tempfile.TemporaryDirectory() as folder:
        made = Course(Path(folder), course, graded=False)
        for assignment in assignments:
            copy = read(made.add(assignment))
            copies[course / "release" / assignment / f"{assignment}.ipynb"] = as_text(copy)
    return copies


def release(course: Path | None = None, check: bool = False) -> list[Path]:
    """Makes all student copies anew, or checks that those which lie there are up to date.

    Args:
        course: An nbgrader course; by default the checkout's.
        check: Write nothing.

    Returns:
        The student copies.

    Raises:
        DataError: With `check`, a copy differs from what its source gives, is missing, or has no
            source; or nbgrader refuses a source.
        MissingDependencyError: nbgrader is not installed.
    """
    course = course or assignments_dir()
    copies = student_copies(course, assignment_ids(course))
    strangers = sorted(set((course / "release").glob("*/*.ipynb")) - set(copies))
    if check:
        _compare(copies, strangers)
        return list(copies)
    for file, text in copies.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    for file in strangers:
        file.unlink()
    return list(copies)


def _compare(copies: dict[Path, str], strangers: list[Path]) -> None:
    problems = [f"{file} has no source" for file in strangers]
    for file, text in copies.items():
        if not file.is_file():
            problems.append(f"{file} is missing")
        elif file.read_text(encoding="utf-8") != text:
            problems.append(f"{file} is not what its source gives")
    if problems:
        raise DataError("\n".join([*problems, "Make them anew: make assignments"]))
