"""An nbgrader course: solved sources, the cells that carry points, and student copies.

Student copies are made by nbgrader's own converter, with the settings of
`notebooks/assignments/nbgrader_config.py` but in another folder, so that nothing is written into
the checkout.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import sysconfig
import tempfile
import traceback
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmr_lib.errors import DataError, MissingDependencyError, UnknownNameError
from xmr_lib.files import project_dir

CONFIG = "nbgrader_config.py"
Notebook = dict[str, Any]


def course_dir(course: Path | None = None) -> Path:
    """The folder of an nbgrader course; by default the assignments of this checkout.

    Raises:
        DataError: It holds no settings, or no assignment.
    """
    folder = course or project_dir() / "notebooks" / "assignments"
    if not (folder / CONFIG).is_file():
        raise DataError(
            f"{folder} holds no {CONFIG}: start in the checkout of xmr, or give the folder of an "
            "nbgrader course with --course."
        )
    if not assignment_ids(folder):
        raise DataError(
            f"{folder} holds no assignment: the solved notebook of an assignment is "
            "source/<assignment>/<assignment>.ipynb."
        )
    return folder


def assignment_ids(course: Path) -> list[str]:
    """Names of all assignments that have a source: `source/<id>/<id>.ipynb`."""
    files = (course / "source").glob("*/*.ipynb")
    return sorted(file.stem for file in files if file.stem == file.parent.name)


def source_of(course: Path, assignment: str) -> Path:
    """The solved notebook of an assignment.

    Raises:
        UnknownNameError: There is none of that name.
    """
    file = course / "source" / assignment / f"{assignment}.ipynb"
    if not file.is_file():
        raise UnknownNameError("assignment", assignment, assignment_ids(course))
    return file


def settings(course: Path) -> Any:
    """The course's settings, as nbgrader reads them.

    Raises:
        MissingDependencyError: nbgrader is not installed.
    """
    try:
        import nbgrader.coursedir  # noqa: F401
        from traitlets.config.loader import PyFileConfigLoader
    except ImportError as error:
        raise MissingDependencyError(
            'Assignments are made and graded by nbgrader: pip install -e ".[teaching]"'
        ) from error
    return PyFileConfigLoader(CONFIG, path=str(course.resolve())).load_config()


def student_copies(course: Path, assignments: Iterable[str]) -> dict[str, Notebook]:
    """Each assignment's notebook as students get it: without solutions and hidden tests.

    Raises:
        DataError: nbgrader refuses a source, for instance a test without an id.
        MissingDependencyError: nbgrader is not installed.
        UnknownNameError: There is no such assignment.
    """
    config, copies = settings(course), {}
    with tempfile.TemporaryDirectory() as folder:
        config.CourseDirectory.root = folder
        config.GenerateAssignment.no_database = True
        config.SaveCells.enabled = False
        for assignment in assignments:
            source = source_of(course, assignment)
            shutil.copytree(source.parent, Path(folder) / "source" / assignment)
            if said := _generate(config, assignment):
                raise DataError(f"{source}: nbgrader made no student copy of it.\n{said}")
            file = Path(folder) / "release" / assignment / f"{assignment}.ipynb"
            copies[assignment] = read(file)
    return copies


def _generate(config: Any, assignment: str) -> str:
    """Makes one student copy; returns "" or nbgrader's log and traceback."""
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.utils import setenv

    said = io.StringIO()
    log = logging.Logger("xmr.assignments", logging.INFO)
    log.addHandler(logging.StreamHandler(said))
    directory = CourseDirectory(config=config, assignment_id=assignment)
    # nbgrader calls `alembic` by name; it is not on the PATH of a venv that is not activated
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    try:
        with setenv(PATH=path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nbgrader's own, about its data base
            GenerateAssignment(coursedir=directory, config=config, log=log).start()
    except Exception:  # nbgrader raises many types
        return f"{said.getvalue()}\n{traceback.format_exc()}"
    return ""


@dataclass(frozen=True)
class Mark:
    """Points of one graded cell.

    Attributes:
        points: Points given; None where a person still has to give them.
        of: The most that can be given.
        by_hand: A person gives the points by a rubric, not a test.
    """

    points: float | None
    of: float
    by_hand: bool = False


def read(file: Path) -> Notebook:
    """A notebook of the course, as JSON; each cell's source is one string."""
    notebook = json.loads(file.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def id_of(cell: Notebook) -> str | None:
    """The `grade_id` by which nbgrader knows a cell, or None."""
    return _nbgrader(cell).get("grade_id")


def is_graded(cell: Notebook) -> bool:
    """Whether the cell carries points: tests, and answers that are graded by hand."""
    return bool(_nbgrader(cell).get("grade"))


def is_solution(cell: Notebook) -> bool:
    """Whether students write into the cell."""
    return bool(_nbgrader(cell).get("solution"))


def unmarked(notebook: Notebook) -> dict[str, Mark]:
    """All graded cells of a source or a student copy, without points.

    A cell that is both an answer and graded has no test: a person reads it.
    """
    return {
        id_of(cell): Mark(None, _nbgrader(cell)["points"], is_solution(cell))
        for cell in notebook["cells"]
        if is_graded(cell)
    }


def _nbgrader(cell: Notebook) -> dict[str, Any]:
    return cell.get("metadata", {}).get("nbgrader", {})
