"""A course with one small assignment, for tests of what surrounds the assignments."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from xmr_course.grading.course import CONFIG, course_dir, id_of
from xmr_course.grading.release import as_text

NAME = "tiny"


def _cell(name: str, kind: str, source: str, points: float | None = None, **nbgrader) -> dict:
    marks = {"grade": False, "solution": False, "locked": False, "task": False}
    marks |= {"grade_id": name, "schema_version": 3, **nbgrader}
    marks |= {} if points is None else {"grade": True, "points": points}
    return {"cell_type": kind, "id": name, "metadata": {"nbgrader": marks}, "source": source}


CELLS = [
    _cell("title", "markdown", "# Tiny", locked=True),
    _cell("setup", "code", "import math", locked=True),
    _cell(
        "half",
        "code",
        "def half(x):\n    ### BEGIN SOLUTION\n    return x / 2\n    ### END SOLUTION",
        solution=True,
    ),
    _cell(
        "test_half",
        "code",
        'assert half(4) == 2, "half of 4"\n'
        "### BEGIN HIDDEN TESTS\nassert half(5) == 2.5\n### END HIDDEN TESTS",
        2,
        locked=True,
    ),
    _cell(
        "root",
        "code",
        "def root(x):\n    ### BEGIN SOLUTION\n    return math.sqrt(x)\n    ### END SOLUTION",
        solution=True,
    ),
    _cell("test_root", "code", 'assert root(4) == 2, "root of 4"', 3, locked=True),
    _cell("why", "markdown", "Because.", 4, solution=True),
]


def course(folder: Path) -> Path:
    """A folder as `notebooks/assignments` is, with the kit's own settings."""
    source = folder / "source" / NAME
    source.mkdir(parents=True)
    text = as_text({"cells": CELLS, "metadata": {}})
    (source / f"{NAME}.ipynb").write_text(text, encoding="utf-8")
    (folder / CONFIG).write_bytes((course_dir() / CONFIG).read_bytes())
    return folder


def answered(release: dict, **answers: str) -> dict:
    """The student copy with the named cells' sources replaced, as a student would."""
    notebook = copy.deepcopy(release)
    for cell in notebook["cells"]:
        if id_of(cell) in answers:
            cell["source"] = answers[id_of(cell)]
    return notebook


def without(notebook: dict, *names: str) -> dict:
    """The notebook without some of its cells."""
    return {**notebook, "cells": [c for c in notebook["cells"] if id_of(c) not in names]}


def write(file: Path, notebook: dict) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(notebook), encoding="utf-8")
    return file
