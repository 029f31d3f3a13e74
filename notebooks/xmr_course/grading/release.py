"""Student copies (`release/`) made from the solved notebooks (`source/`), the same everywhere."""

from __future__ import annotations

import json
from pathlib import Path

from xmr_course.grading.course import Notebook, assignment_ids, course_dir, student_copies
from xmr_lib.errors import DataError
from xmr_lib.files import atomic

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def as_text(notebook: Notebook) -> str:
    """A notebook as it is committed: no outputs, no counts, nothing of the machine it was made on.

    >>> "my-env" in as_text({"cells": [], "metadata": {"kernelspec": {"name": "my-env"}}})
    False
    """
    cells = []
    for number, cell in enumerate(notebook["cells"]):
        kept = {
            "cell_type": cell["cell_type"],
            "id": cell.get("id", f"cell-{number:02d}"),
            "metadata": {
                name: value
                for name, value in cell["metadata"].items()
                if name in ("nbgrader", "deletable", "editable", "tags")
            },
            "source": cell["source"].splitlines(keepends=True),
        }
        if cell["cell_type"] == "code":
            kept |= {"execution_count": None, "outputs": []}
        cells.append(kept)
    whole = {"cells": cells, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def release(course: Path | None = None, check: bool = False) -> list[Path]:
    """Makes all student copies anew, or checks that those in `release/` are up to date.

    Args:
        course: An nbgrader course; by default the checkout's.
        check: Write nothing.

    Returns:
        The student copies.

    Raises:
        DataError: With `check`, a copy differs from what its source gives, is missing, or has no
            source; or there is no assignment; or nbgrader refuses a source.
        MissingDependencyError: nbgrader is not installed.
    """
    course = course_dir(course)
    copies = {
        course / "release" / name / f"{name}.ipynb": as_text(notebook)
        for name, notebook in student_copies(course, assignment_ids(course)).items()
    }
    without_source = sorted(set((course / "release").glob("*/*.ipynb")) - set(copies))
    if check:
        _compare(copies, without_source)
        return list(copies)
    for file, text in copies.items():
        with atomic(file) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    for file in without_source:
        file.unlink()
    return list(copies)


def _compare(copies: dict[Path, str], without_source: list[Path]) -> None:
    problems = [f"{file} has no source" for file in without_source]
    for file, text in copies.items():
        if not file.is_file():
            problems.append(f"{file} is missing")
        elif file.read_text(encoding="utf-8") != text:
            problems.append(f"{file} is not what its source gives")
    if problems:
        raise DataError("\n".join([*problems, "Make the student copies again: make assignments"]))
