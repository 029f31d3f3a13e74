"""Runs solved and wrong solutions of an assignment in the tests' own process, without a kernel."""

from __future__ import annotations

import json
import linecache
from dataclasses import dataclass

from xmr_course.grading.course import id_of, is_graded, is_solution


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


def check(source: dict, release: dict, wrong: Wrong) -> None:
    """Asserts that a wrong solution of a solved notebook fails the tests that it says, no more."""
    _, failed = run(replaced(source, wrong.cell, wrong.code))
    tests = {id_of(cell) for cell in source["cells"] if is_graded(cell)}
    assert set(failed) & tests == set(wrong.loses), failed
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
