"""Marks for a folder of submissions: each run in a throw-away course, none stops the others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from xmr_course.grading.course import (
    Course,
    Mark,
    assignment_ids,
    assignments_dir,
    is_graded,
    read,
    source_of,
    unmarked,
)
from xmr_course.grading.submissions import Submission, find, mend
from xmr_lib.errors import UnknownNameError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Graded:
    """What one student got for one assignment.

    Attributes:
        student: The student.
        assignment: The assignment; "" if nothing tells which it is.
        marks: Points by graded cell; empty if the assignment is not known.
        remarks: What a teacher should know: cells that stopped, tests put back, …
        feedback: The page for the student, as HTML.
    """

    student: str
    assignment: str
    marks: dict[str, Mark]
    remarks: tuple[str, ...] = ()
    feedback: str | None = None

    @property
    def automatic(self) -> float:
        """Points that the tests gave."""
        return sum(mark.points or 0 for mark in self.marks.values() if not mark.by_hand)

    @property
    def automatic_of(self) -> float:
        """Points that the tests can give."""
        return sum(mark.of for mark in self.marks.values() if not mark.by_hand)

    @property
    def open(self) -> float:
        """Points that a person has to give still."""
        return sum(m.of for m in self.marks.values() if m.by_hand and m.points is None)


def grade(
    folder: Path | str,
    course: Path | None = None,
    assignment: str | None = None,
    timeout: int | None = None,
    feedback: Path | None = None,
    jobs: int = 1,
) -> list[Graded]:
    """Grades all submissions in a folder; the submissions themselves are only read.

    Submissions are programs: they run here, with the rights of whoever calls this.

    Args:
        folder: In one of the layouts of `submissions.find`.
        course: The nbgrader course; by default the checkout's assignments.
        assignment: Only this one.
        timeout: Seconds that a cell may run before it is stopped and loses its points.
        feedback: Where pages for the students go, `<student>/<assignment>.html`; None: none.
        jobs: Submissions graded at once, each in a process of its own.

    Returns:
        One entry a submission, by student and assignment.

    Raises:
        DataError: The folder is missing or holds no notebook.
        MissingDependencyError: nbgrader is not installed.
        UnknownNameError: There is no such assignment.
    """
    course = course or assignments_dir()
    known = assignment_ids(course)
    if assignment is not None and assignment not in known:
        raise UnknownNameError("assignment", assignment, known)
    copies = {name: read(source_of(course, name)) for name in known}
    chosen = [
        each
        for each in find(Path(folder), copies)
        if assignment is None or each.assignment in (assignment, "")
    ]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        settings = (Path(temporary), course, timeout, feedback is not None)
        results = dict(tqdm(_run(chosen, settings, jobs), total=len(chosen), desc="grading"))
    graded = [results[number] for number in range(len(chosen))]
    for each in graded:
        if feedback is not None and each.feedback is not None:
            file = feedback / each.student / f"{each.assignment}.html"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(each.feedback, encoding="utf-8")
    return graded


Settings = tuple[Path, Path, int | None, bool]


def _run(chosen: list[Submission], settings: Settings, jobs: int) -> Iterator[tuple[int, Graded]]:
    if jobs == 1:
        grader = _Grader(settings)
        for number, each in enumerate(chosen):
            yield number, grader.grade(each, number)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _open, (settings,)) as pool:
        waiting = {pool.submit(_grade_in_worker, *item): item[0] for item in enumerate(chosen)}
        for done in as_completed(waiting):
            yield waiting[done], done.result()


class _Grader:
    """One process's course. Students have numbers in it: their names may hold anything."""

    def __init__(self, settings: Settings) -> None:
        folder, original, timeout, self.with_feedback = settings
        root = folder / str(os.getpid())
        root.mkdir()
        self.course = Course(root, original, timeout)
        self.copies: dict[str, dict] = {}

    def grade(self, one: Submission, number: int) -> Graded:
        if not one.assignment:
            return Graded(one.student, "", {}, tuple(one.remarks))
        if one.assignment not in self.copies:
            self.copies[one.assignment] = read(self.course.add(one.assignment))
        student_copy = self.copies[one.assignment]
        nothing = {  # points of the tests: none; a person may still find some
            name: mark if mark.by_hand else Mark(0.0, mark.of)
            for name, mark in unmarked(student_copy).items()
        }
        remarks = [*one.remarks]
        if one.notebook is None:
            return Graded(one.student, one.assignment, nothing, tuple(remarks))
        try:
            return self._run(one, f"s{number:05d}", student_copy, remarks)
        except Exception as error:  # whatever a submission provokes must not stop the others
            remarks.append(f"would not run at all ({error})")
        return Graded(one.student, one.assignment, nothing, tuple(remarks))

    def _run(self, one: Submission, student: str, student_copy: dict, remarks: list[str]) -> Graded:
        """Marks of a submission that can be read; adds to `remarks` as it goes.

        Raises:
            RuntimeError: It does not run; other exceptions, where it is odder than that.
        """
        notebook, mended = mend(one.notebook, student_copy)
        remarks += mended
        self.course.submit(one.assignment, student, notebook)
        if said := self.course.autograde(one.assignment, student):
            raise RuntimeError(_reason(said))
        remarks += _stops(read(self.course.graded_notebook(one.assignment, student)))
        marks = self.course.marks(one.assignment, student)
        page = None
        if self.with_feedback and (file := self.course.write_feedback(one.assignment, student)):
            page = file.read_text(encoding="utf-8")
        return Graded(one.student, one.assignment, marks, tuple(remarks), page)


_grader: _Grader | None = None


def _open(settings: Settings) -> None:
    global _grader
    _grader = _Grader(settings)


def _grade_in_worker(number: int, one: Submission) -> Graded:
    assert _grader is not None
    return _grader.grade(one, number)


def _reason(said: str) -> str:
    """What nbgrader's log is about: the first exception in it, else its last line."""
    lines = said.strip().splitlines()
    errors = [line for line in lines if line.split(":")[0].endswith("Error")]
    return [*errors, lines[-1]][0][:160]


def _stops(notebook: dict) -> list[str]:
    """Cells, other than tests, that ended in an error or ran too long."""
    found = []
    for place, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", []):
            if output["output_type"] != "error":
                continue
            # an interrupted cell ends with the one or the other
            too_long = output["ename"] in ("CellTimeoutError", "KeyboardInterrupt")
            if too_long or not is_graded(cell):
                name = cell["metadata"].get("nbgrader", {}).get("grade_id") or f"number {place + 1}"
                what = "ran too long" if too_long else f"stops with {output['ename']}"
                found.append(f"cell {name} {what}")
                break
    return found


def marks_table(graded: list[Graded]) -> pd.DataFrame:
    """Students × assignments: points of the tests, `+ n by hand` where a person must look."""
    import pandas as pd

    rows: dict[str, dict[str, str]] = {}
    for each in graded:
        text = f"{each.automatic:g} of {each.automatic_of:g}"
        text += f" + {each.open:g} by hand" if each.open else ""
        rows.setdefault(each.student, {})[each.assignment or "unknown"] = (
            text if each.assignment else "–"
        )
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("")
    return table[sorted(table.columns)]


def marks_by_task(graded: list[Graded]) -> pd.DataFrame:
    """A row a submission and assignment, a column a task; what a person must give stays empty."""
    import pandas as pd

    rows: dict[str, dict[str, object]] = {}
    for each in graded:
        row = rows.setdefault(each.student, {})
        name = each.assignment or "unknown"
        for cell, mark in each.marks.items():
            row[f"{name}/{cell} (of {mark.of:g})"] = mark.points
        row[f"{name}: automatic"] = each.automatic
        row[f"{name}: by hand still"] = each.open
        remarks = "; ".join(each.remarks)
        row[f"{name}: remarks"] = "; ".join(filter(None, [row.get(f"{name}: remarks"), remarks]))
    table = pd.DataFrame.from_dict(rows, orient="index").sort_index()
    table.index.name = "student"
    return table
