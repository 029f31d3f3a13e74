"""A throw-away nbgrader course: source, student copy, submissions, marks.

Each step is nbgrader's own converter, called in this process with the settings of
`notebooks/assignments/nbgrader_config.py`; only the folder is another one, so that a gradebook and
graded copies are never written into the checkout.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import sysconfig
import traceback
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xmr_lib.errors import DataError, MissingDependencyError, UnknownNameError
from xmr_lib.files import project_dir

CONFIG = "nbgrader_config.py"


def assignments_dir() -> Path:
    """The nbgrader course of this checkout.

    Raises:
        DataError: The current folder does not lie in a checkout with assignments.
    """
    folder = project_dir() / "notebooks" / "assignments"
    if not (folder / CONFIG).is_file():
        raise DataError(
            f"{folder} holds no {CONFIG}: start in the checkout of xmr, or give the folder of an "
            "nbgrader course."
        )
    return folder


def assignment_ids(course: Path) -> list[str]:
    """Names of all assignments that have a source: `source/<id>/<id>.ipynb`."""
    return sorted(file.stem for file in (course / "source").glob("*/*.ipynb")
                  if file.stem == file.parent.name)  # fmt: skip


def source_of(course: Path, assignment: str) -> Path:
    """The solved notebook of an assignment.

    Raises:
        UnknownNameError: There is none of that name.
    """
    file = course / "source" / assignment / f"{assignment}.ipynb"
    if not file.is_file():
        raise UnknownNameError("assignment", assignment, assignment_ids(course))
    return file


@dataclass(frozen=True)
class Mark:
    """Points of one graded cell.

    Attributes:
        points: What was given so far; None where nobody has looked yet.
        of: What can be had.
        by_hand: The points are a person's to give (a rubric), not a test's.
    """

    points: float | None
    of: float
    by_hand: bool = False


class Course:
    """An nbgrader course in a folder of its own.

    Args:
        root: An empty folder; everything is written below it.
        original: The course whose sources and settings are used.
        timeout: Seconds that a cell may run; None leaves what the settings say.
        graded: Keep a gradebook. Student copies alone need none, and are made faster.

    Raises:
        MissingDependencyError: nbgrader is not installed.
    """

    def __init__(
        self,
        root: Path,
        original: Path | None = None,
        timeout: int | None = None,
        graded: bool = True,
    ) -> None:
        try:
            from nbgrader.coursedir import CourseDirectory
            from traitlets.config.loader import PyFileConfigLoader
        except ImportError as error:
            raise MissingDependencyError(
                'Assignments are made and graded by nbgrader: pip install -e ".[teaching]"'
            ) from error
        self.root, self.original = root.resolve(), original or assignments_dir()
        self._config = PyFileConfigLoader(CONFIG, path=str(self.original)).load_config()
        if timeout is not None:
            self._config.Execute.timeout = timeout
        self._config.CourseDirectory.root = str(self.root)
        self._config.GenerateAssignment.no_database = not graded
        self._config.SaveCells.enabled = graded
        # What graded copies are allowed to is for a real course; these are deleted afterwards.
        self._config.BaseConverter.permissions = 644
        self._directory = CourseDirectory(config=self._config)

    def add(self, assignment: str) -> Path:
        """Takes over the assignment's source and makes the student copy; returns that.

        Raises:
            DataError: nbgrader refuses the source, for instance a test without an id.
            UnknownNameError: There is no such assignment.
        """
        from nbgrader.converters import GenerateAssignment

        source = source_of(self.original, assignment)
        shutil.copytree(source.parent, self.root / "source" / assignment)
        if said := self._convert(GenerateAssignment, assignment):
            raise DataError(f"{source}: nbgrader made no student copy of it.\n{said}")
        return self.root / "release" / assignment / f"{assignment}.ipynb"

    def submit(self, assignment: str, student: str, notebook: dict[str, Any]) -> None:
        """Puts a notebook where nbgrader looks for a student's submission."""
        folder = self.root / "submitted" / student / assignment
        folder.mkdir(parents=True)
        text = json.dumps(notebook, ensure_ascii=False)
        (folder / f"{assignment}.ipynb").write_text(text, encoding="utf-8")

    def autograde(self, assignment: str, student: str) -> str:
        """Runs a submission and its tests; returns "" or what went wrong.

        `student` may be "*": everybody at once.
        """
        from nbgrader.converters import Autograde

        return self._convert(Autograde, assignment, student)

    def write_feedback(self, assignment: str, student: str) -> Path | None:
        """An HTML page of a graded submission with its marks, or None if there is none."""
        from nbgrader.converters import GenerateFeedback

        self._convert(GenerateFeedback, assignment, student)
        file = self.root / "feedback" / student / assignment / f"{assignment}.html"
        return file if file.is_file() else None

    def graded_notebook(self, assignment: str, student: str) -> Path:
        """The submission after grading, with the outputs of its cells."""
        return self.root / "autograded" / student / assignment / f"{assignment}.ipynb"

    def marks(self, assignment: str, student: str) -> dict[str, Mark]:
        """Points of each graded cell by its `grade_id`, in the order of the notebook."""
        from nbgrader.api import Gradebook

        marks = unmarked(read(source_of(self.original, assignment)))
        with Gradebook(self._directory.db_url) as gradebook:
            for grade in gradebook.find_submission_notebook(assignment, assignment, student).grades:
                points = grade.auto_score if grade.manual_score is None else grade.manual_score
                marks[grade.name] = replace(marks[grade.name], points=points)
        return marks

    def _convert(self, converter: type, assignment: str, student: str = "*") -> str:
        """One of nbgrader's steps; returns "" or its log and traceback."""
        from nbgrader.utils import setenv

        said = io.StringIO()
        log = logging.Logger(f"xmr.{converter.__name__}", logging.INFO)
        log.addHandler(logging.StreamHandler(said))
        self._directory.assignment_id, self._directory.student_id = assignment, student
        # nbgrader calls `alembic` by name, which a venv that is not activated does not have there
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
        threads = os.environ.get("OMP_NUM_THREADS", "1")  # tiny tensors, and kernels side by side
        try:
            with setenv(PATH=path, OMP_NUM_THREADS=threads), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # nbgrader's own, of its data base
                converter(coursedir=self._directory, config=self._config, log=log).start()
        except Exception:  # nbgrader raises whatever a submission provoked
            return f"{said.getvalue()}\n{traceback.format_exc()}"
        return ""


def read(file: Path) -> dict[str, Any]:
    """A notebook of ours, as JSON."""
    return json.loads(file.read_text(encoding="utf-8"))


def id_of(cell: dict[str, Any]) -> str | None:
    """The `grade_id` by which nbgrader knows a cell, or None."""
    return _nbgrader(cell).get("grade_id")


def is_graded(cell: dict[str, Any]) -> bool:
    """Whether the cell carries points: tests, and answers that are graded by hand."""
    return bool(_nbgrader(cell).get("grade"))


def is_solution(cell: dict[str, Any]) -> bool:
    """Whether students write into the cell."""
    return bool(_nbgrader(cell).get("solution"))


def unmarked(notebook: dict[str, Any]) -> dict[str, Mark]:
    """All graded cells of a source or a student copy, before anybody has looked.

    A cell that is answered and graded at once has no test: a person reads it.
    """
    return {
        id_of(cell): Mark(None, _nbgrader(cell)["points"], is_solution(cell))
        for cell in notebook["cells"]
        if is_graded(cell)
    }


def _nbgrader(cell: dict[str, Any]) -> dict[str, Any]:
    return cell.get("metadata", {}).get("nbgrader", {})
