"""Grades a solved, an untouched and several wrong solutions of an assignment, as a course would.

One kernel a solution, all of them through nbgrader's own `generate_assignment` and `autograde`, in
a folder of the test.
"""

from __future__ import annotations

import json
import linecache
from dataclasses import dataclass
from pathlib import Path

from xmr_course.grading.course import Course, Mark, id_of, is_graded, is_solution, read, source_of


@dataclass(frozen=True)
class Wrong:
    """A plausible wrong solution: the solved notebook with one cell replaced.

    Attributes:
        name: The mistake in two or three words.
        cell: `grade_id` of the solution cell that is replaced.
        code: The cell's whole new source.
        loses: `grade_id` of every test that must give no point; all others must give full points.
        reveals: What the mistake tells the teacher, one sentence.
        hidden_only: It passes everything that students see.
    """

    name: str
    cell: str
    code: str
    loses: tuple[str, ...]
    reveals: str
    hidden_only: bool = False


def replaced(notebook: dict, cell_id: str, code: str) -> dict:
    """The notebook with another source in the solution cell `cell_id`."""
    copy = json.loads(json.dumps(notebook))
    (cell,) = [cell for cell in copy["cells"] if id_of(cell) == cell_id]
    assert is_solution(cell), f"{cell_id} is no solution cell"
    cell["source"] = code.strip("\n")
    return copy


def grade(course: Course, assignment: str, source: dict, release: dict,
          wrongs: list[Wrong]) -> dict[str, dict[str, Mark]]:  # fmt: skip
    """Marks of each test cell: solved, untouched, and each wrong solution by its name."""
    solutions = {"solved": source, "untouched": release}
    solutions |= {wrong.name: replaced(source, wrong.cell, wrong.code) for wrong in wrongs}
    for number, notebook in enumerate(solutions.values()):
        course.submit(assignment, f"s{number:02d}", notebook)
    said = course.autograde(assignment, "*")
    assert not said, said
    return {
        name: {
            cell: mark
            for cell, mark in course.marks(assignment, f"s{number:02d}").items()
            if not mark.by_hand
        }
        for number, name in enumerate(solutions)
    }


def table(marks: dict[str, dict[str, Mark]]) -> str:
    """Solutions in rows, test cells in columns."""
    tests = list(next(iter(marks.values())))
    widths = [max(len(test), 6) for test in tests]
    first = max(map(len, marks))
    lines = [
        " " * first + "  " + "  ".join(f"{t:>{w}}" for t, w in zip(tests, widths, strict=True))
    ]
    for name, row in marks.items():
        cells = [f"{row[t].points!s:>{w}}" for t, w in zip(tests, widths, strict=True)]
        lines.append(f"{name:<{first}}  " + "  ".join(cells))
    return "\n".join(lines)


def check(assignment: str, wrongs: list[Wrong], folder: Path) -> None:
    """Asserts that every solution gets exactly the marks that it deserves.

    Prints the table of marks; pytest shows it where a test fails, or with `-s`.
    """
    assert len(wrongs) >= 5, "at least five wrong solutions"
    assert len({wrong.name for wrong in wrongs} | {"solved", "untouched"}) == len(wrongs) + 2
    course = Course(folder)
    release = read(course.add(assignment))
    source = read(source_of(course.original, assignment))
    marks = grade(course, assignment, source, release, wrongs)
    print(f"\n{assignment}\n{table(marks)}")
    problems = []
    loses = {"solved": (), "untouched": tuple(marks["solved"])}
    loses |= {wrong.name: wrong.loses for wrong in wrongs}
    for name, row in marks.items():
        unknown = set(loses[name]) - set(row)
        assert not unknown, f"{name}: no tests named {sorted(unknown)}, only {sorted(row)}"
        for cell, mark in row.items():
            expected = 0 if cell in loses[name] else mark.of
            if mark.points != expected:
                problems.append(f"{name}: {cell} gives {mark.points}, not {expected}")
    assert not problems, "\n".join(problems)
    assert all(wrong.loses for wrong in wrongs), "a wrong solution that loses nothing"
    sly = [wrong for wrong in wrongs if wrong.hidden_only]
    assert sly, "no wrong solution that only hidden tests catch"
    for wrong in sly:
        assert passes_what_students_see(source, release, wrong), wrong.name


def check_without_kernel(
    source: dict, release: dict, wrong: Wrong, may_fail: frozenset[str] = frozenset()
) -> None:
    """Asserts in this process that a wrong solution fails the tests that it says, and no more.

    Args:
        source: The solved notebook.
        release: The student copy.
        wrong: The mistake.
        may_fail: Cells without points that call several answers.
    """
    _, failed = run(replaced(source, wrong.cell, wrong.code))
    assert set(failed) - may_fail == set(wrong.loses), failed
    if wrong.hidden_only:
        assert passes_what_students_see(source, release, wrong)


def passes_what_students_see(source: dict, release: dict, wrong: Wrong) -> bool:
    """Whether no visible test catches a wrong solution."""
    notebook = replaced(source, wrong.cell, wrong.code)
    seen = {id_of(cell): cell["source"] for cell in release["cells"] if is_graded(cell)}
    for cell in notebook["cells"]:
        cell["source"] = seen.get(id_of(cell), cell["source"])
    _, failed = run(notebook)
    tests = {id_of(cell) for cell in notebook["cells"] if is_graded(cell)}
    print(f"{wrong.name}, visible tests only: {failed or 'nothing fails'}")
    return not tests & set(failed)


def run(notebook: dict) -> tuple[dict, dict[str, str]]:
    """Runs a notebook in this process, without a kernel: its names, and errors by cell."""
    space = {"__name__": "__main__"}  # as in a notebook
    failed = {}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code":
            continue
        code, name = "".join(cell["source"]), f"<{number} {id_of(cell)}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        try:
            exec(compile(code, name, "exec"), space)
        except Exception as error:
            failed[id_of(cell)] = repr(error)
    return space, failed
