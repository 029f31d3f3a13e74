"""Submissions as learning platforms give them: found, told apart, and mended for grading."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmr_course.grading.course import id_of, is_graded, is_solution
from xmr_lib.errors import DataError

Notebook = dict[str, Any]

# Moodle puts "Ada Lovelace_4711_assignsubmission_file" before or behind what was handed in
_PLATFORM = re.compile(r"(_\d+)?_assignsubmission_(file|onlinetext)_?")
# "1_recall (1)", "1_recall-Copy1": a browser's and JupyterLab's second copies
_COPY = re.compile(r"(\s*\(\d+\)|-Copy\d+)$")


@dataclass
class Submission:
    """One notebook that a student handed in.

    Attributes:
        student: Taken from the name of the folder or of the file.
        assignment: Taken from the file's name, else from the tests in it; "" if neither tells.
        file: Where it lies.
        notebook: What it holds; None if it cannot be read.
        remarks: What a teacher should know.
    """

    student: str
    assignment: str
    file: Path
    notebook: Notebook | None = None
    remarks: list[str] = field(default_factory=list)


def find(folder: Path, copies: Mapping[str, Notebook]) -> list[Submission]:
    """All submissions in a folder, by student and assignment.

    Understood are nbgrader's layout, `<student>/<assignment>/<assignment>.ipynb`, a folder a
    student as Moodle's, `<student>_…/<assignment>.ipynb`, and files side by side,
    `<student>_<assignment>.ipynb`.

    Args:
        folder: Where they lie.
        copies: The student copy of each assignment.

    Raises:
        DataError: There is no such folder, or no notebook in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give the one that holds the submissions.")
    files = [
        file
        for file in sorted(folder.rglob("*.ipynb"))
        if not any(part.startswith((".", "__MACOSX")) for part in file.relative_to(folder).parts)
    ]
    if not files:
        raise DataError(
            f"{folder} holds no notebook. Expected: <student>/<assignment>/<assignment>.ipynb, "
            "<student>/<assignment>.ipynb or <student>_<assignment>.ipynb."
        )
    newest: dict[tuple[str, str], Submission] = {}
    for file in files:
        one = _look_at(file, folder, copies)
        key = (one.student, one.assignment or file.name)
        if (other := newest.get(key)) is not None:
            one, other = sorted([one, other], key=lambda each: -each.file.stat().st_mtime)
            one.remarks.append(f"handed in twice: {one.file.name} is newer than {other.file.name}")
        newest[key] = one
    return [newest[key] for key in sorted(newest)]


def _look_at(file: Path, folder: Path, copies: Mapping[str, Notebook]) -> Submission:
    one = Submission("", "", file)
    try:
        one.notebook = _read(file)
    except DataError as error:
        one.remarks.append(str(error))
    stem = _COPY.sub("", file.stem)
    named = [name for name in copies if name in stem]
    one.assignment = max(named, key=len) if named else _by_tests(one.notebook, copies)
    if not one.assignment:
        one.remarks.append(f"{file.name}: neither its name nor its cells tell which assignment")
    elif not named:
        one.remarks.append(f"{file.name} should be called {one.assignment}.ipynb")
    inside = file.relative_to(folder).parts[:-1]
    name = inside[0] if inside else stem.replace(one.assignment, "")
    one.student = _PLATFORM.sub("", name).strip("_- .") or stem
    return one


def _by_tests(notebook: Notebook | None, copies: Mapping[str, Notebook]) -> str:
    """The assignment that shares most graded cells with the notebook."""
    mine = {id_of(cell) for cell in (notebook or {}).get("cells", [])}
    shared = {
        name: sum(is_graded(cell) and id_of(cell) in mine for cell in copy["cells"])
        for name, copy in copies.items()
    }
    best = max(shared, key=shared.get, default="")
    return best if best and shared[best] else ""


def _read(file: Path) -> Notebook:
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing cell ids: nbformat adds some
            notebook = nbformat.reads(file.read_text(encoding="utf-8-sig"), as_version=4)
        cells = [cell for cell in notebook["cells"] if isinstance(cell["source"], str)]
        for cell in cells:
            marks = cell["metadata"].get("nbgrader", {})
            if not (isinstance(marks, dict) and isinstance(marks.get("grade_id", ""), str)):
                del cell["metadata"]["nbgrader"]
        return {"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": notebook.metadata}
    except Exception as error:  # nbformat raises what it happens to trip over
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise DataError(f"{file.name} is no notebook that can be read ({reason})") from error


def mend(notebook: Notebook, student_copy: Notebook) -> tuple[Notebook, list[str]]:
    """Makes a submission gradable: the student's cells, with everything locked as handed out.

    Locked cells (tests, set-up) are put back as they were, in their places if they were deleted;
    the metadata by which nbgrader knows cells are taken from the student copy. What students
    wrote is never changed.

    Args:
        notebook: The submission.
        student_copy: The notebook that was handed out.

    Returns:
        The mended notebook, and what had to be mended.
    """
    handed_out = {id_of(cell): cell for cell in student_copy["cells"] if id_of(cell)}
    last = {id_of(cell): number for number, cell in enumerate(notebook["cells"])}
    cells, remarks, present = [], [], set()
    recognised = bool(set(last) & set(handed_out))
    if not recognised:
        remarks.append(
            "nbgrader's marks are gone from all cells (another editor?): tests stand last"
        )
    for number, cell in enumerate(notebook["cells"]):
        cell = copy.deepcopy(cell)
        name = id_of(cell)
        original = handed_out.get(name)
        if original is None or last[name] != number:  # the student's own, or copied: ordinary
            cell["metadata"] = {}
        else:
            present.add(name)
            if is_solution(original):
                cell["metadata"] = original["metadata"]
            else:
                cell = copy.deepcopy(original)
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        cells.append(cell)
    for name, original in handed_out.items():
        if name in present:
            continue
        if is_solution(original):
            # nothing to put back: an empty one would hide what may be written elsewhere
            if recognised:
                remarks.append(f"answer {name} is missing")
            continue
        if original["cell_type"] == "code" and recognised:
            remarks.append(f"locked cell {name} was missing and is put back")
        cells.insert(_place(name, list(handed_out), cells), copy.deepcopy(original))
        present.add(name)
    return {**notebook, "cells": cells}, remarks


def _place(name: str, order: list[str], cells: list[dict[str, Any]]) -> int:
    """Behind the nearest cell that stood before `name` when handed out; at the end without one."""
    places = {id_of(cell): place for place, cell in enumerate(cells) if id_of(cell)}
    before = [places[other] for other in order[: order.index(name)] if other in places]
    if before:
        return max(before) + 1
    return 0 if any(other in places for other in order) else len(cells)
