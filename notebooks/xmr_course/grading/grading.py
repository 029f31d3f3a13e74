"""Marks for a folder of submissions, each run in a process of its own.

A submission's tests are those of the course; its marks are read here, from the outputs of the
executed notebook, so that there is no grade book that a student's code could write.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from xmr_course.grading.course import (
    Mark,
    Notebook,
    assignment_ids,
    course_dir,
    id_of,
    is_graded,
    is_solution,
    read,
    settings,
    source_of,
    student_copies,
    unmarked,
)
from xmr_course.grading.execute import execute, require_account
from xmr_course.grading.feedback import page
from xmr_course.grading.submissions import Submission, find, mend
from xmr_lib.errors import UnknownNameError
from xmr_lib.files import atomic

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Graded:
    """The result of one student in one assignment.

    Attributes:
        student: The student.
        assignment: The assignment; "" if it is unknown.
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
        """Points that a person still has to give."""
        return sum(m.of for m in self.marks.values() if m.by_hand and m.points is None)


def grade(
    folder: Path | str,
    course: Path | None = None,
    assignment: str | None = None,
    timeout: int | None = None,
    feedback: Path | None = None,
    jobs: int = 1,
    out: Path | None = None,
    run_as: str | None = None,
) -> list[Graded]:
    """Grades all submissions in a folder; the submissions themselves are only read.

    Submissions are programs: they run here, with the rights of the caller or of `run_as`.

    Args:
        folder: In one of the layouts of `submissions.find`.
        course: The nbgrader course; by default the checkout's assignments.
        assignment: Only this one.
        timeout: Seconds that a cell may run before it is stopped and loses its points.
        feedback: Folder for the students' pages, `<student>/<assignment>.html`.
        jobs: Submissions graded at once.
        out: CSV of all marks, written again after each submission.
        run_as: Account under which submissions run; needs the rights of root.

    Returns:
        One entry per submission, by student and assignment.

    Raises:
        DataError: The folder is missing or empty, the course has no assignment, or `run_as` cannot
            run Python.
        MissingDependencyError: nbgrader is not installed.
        UnknownNameError: There is no such assignment.
    """
    course = course_dir(course)
    known = assignment_ids(course)
    if assignment is not None and assignment not in known:
        raise UnknownNameError("assignment", assignment, known)
    config = settings(course).Execute
    if timeout is not None:
        config.timeout = timeout
    require_account(run_as)
    sources = {name: read(source_of(course, name)) for name in known}
    chosen = find(Path(folder), sources, assignment)
    handed_out = student_copies(course, {one.assignment for one in chosen} - {""})

    results: dict[int, Graded] = {}
    one_at_a_time = Lock()

    def run(number: int) -> None:
        one = chosen[number]
        each = Graded(one.student, "", {}, tuple(one.remarks))
        if name := one.assignment:
            each = grade_one(one, sources[name], handed_out[name], dict(config), run_as)
        with one_at_a_time:
            results[number] = each
            _write(each, [results[n] for n in sorted(results)], feedback, out)

    with ThreadPoolExecutor(jobs) as pool:
        list(tqdm(pool.map(run, range(len(chosen))), total=len(chosen), desc="grading"))
    return [results[number] for number in sorted(results)]


def _write(
    each: Graded, all_of_them: list[Graded], feedback: Path | None, out: Path | None
) -> None:
    """The page of one submission, and the table of all graded so far."""
    if feedback is not None and each.feedback is not None:
        with atomic(feedback / each.student / f"{each.assignment}.html") as temporary:
            temporary.write_text(each.feedback, encoding="utf-8")
    if out is not None:
        with atomic(out) as temporary:
            marks_by_task(all_of_them).to_csv(temporary, encoding="utf-8")


def grade_one(
    one: Submission,
    source: Notebook,
    handed_out: Notebook,
    config: dict[str, Any],
    run_as: str | None = None,
) -> Graded:
    """Marks of one submission; no points of tests where it does not run.

    Args:
        one: The submission.
        source: Its assignment with solutions and all tests.
        handed_out: The student copy.
        config: Traits of `nbgrader.preprocessors.Execute`.
        run_as: As for `grade`.
    """
    marks = {
        name: mark if mark.by_hand else Mark(0.0, mark.of)
        for name, mark in unmarked(source).items()
    }
    remarks, shown = [*one.remarks], None
    if one.notebook is not None:
        try:
            notebook, mended = mend(one.notebook, source)
            remarks += mended
            executed = execute(notebook, config, run_as)
            blank = _blank(executed, handed_out)
            remarks += _stops(executed) if not blank else [_left_blank(blank, handed_out)]
            marks = _marks(executed, marks, blank)
            shown = page(executed, marks, one.assignment, one.student)
        except Exception as error:  # whatever a submission provokes must not stop the others
            remarks.append(f"does not run ({error})")
    return Graded(one.student, one.assignment, marks, tuple(remarks), shown)


def _marks(executed: Notebook, marks: dict[str, Mark], blank: list[str]) -> dict[str, Mark]:
    """Points of the tests by their outputs, as nbgrader gives them; 0 for a blank text."""
    import nbformat
    from nbgrader.utils import determine_grade

    found = {}
    cells = {id_of(cell): cell for cell in executed["cells"]}
    for name, mark in marks.items():
        if mark.by_hand:
            found[name] = Mark(0.0 if name in blank or name not in cells else None, mark.of, True)
        else:
            points, _ = determine_grade(nbformat.from_dict(cells[name]))
            found[name] = Mark(points, mark.of)
    return found


def _blank(notebook: Notebook, handed_out: Notebook) -> list[str]:
    """Answers that are still as they were handed out."""
    stubs = {id_of(cell): cell["source"].strip() for cell in handed_out["cells"]}
    return [
        id_of(cell)
        for cell in notebook["cells"]
        if is_solution(cell) and cell["source"].strip() in ("", stubs[id_of(cell)])
    ]


def _left_blank(blank: list[str], handed_out: Notebook) -> str:
    """Names the tasks of blank answers by the headings that students read, such as "Task 2 · …"."""
    tasks, heading = [], ""
    for cell in handed_out["cells"]:
        titles = re.findall(r"^## (.*)$", cell["source"], flags=re.MULTILINE)
        if cell["cell_type"] == "markdown" and titles:
            heading = re.sub(r" \(\d+ points?\)$", "", titles[-1].strip())
        if id_of(cell) in blank:
            tasks.append(heading or id_of(cell))
    return f"left blank: {', '.join(dict.fromkeys(tasks))}"


def _stops(notebook: Notebook) -> list[str]:
    """Cells, other than tests, that ended in an error or ran too long."""
    found = []
    for place, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", []):
            if output["output_type"] != "error":
                continue
            # an interrupted cell ends with the one or the other
            too_long = output["ename"] in ("CellTimeoutError", "KeyboardInterrupt")
            if too_long or not is_graded(cell):
                what = "ran too long" if too_long else f"stops with {output['ename']}"
                found.append(f"cell {id_of(cell) or f'number {place + 1}'} {what}")
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
    """A row per student, a column per task; points that a person has to give stay empty."""
    import pandas as pd

    rows: dict[str, dict[str, object]] = {}
    for each in graded:
        row = rows.setdefault(_harmless(each.student), {})
        name = each.assignment or "unknown"
        for cell, mark in each.marks.items():
            row[f"{name}/{cell} (of {mark.of:g})"] = mark.points
        row[f"{name}: automatic"] = each.automatic
        row[f"{name}: by hand still"] = each.open
        remarks = "; ".join(filter(None, [row.get(f"{name}: remarks"), *each.remarks]))
        row[f"{name}: remarks"] = _harmless(remarks)
    table = pd.DataFrame.from_dict(rows, orient="index").sort_index()
    table.index.name = "student"
    return table


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula.

    >>> _harmless("=1+1"), _harmless("Ada")
    ("'=1+1", 'Ada')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
