"""Submissions as learning platforms give them: found, told apart, and mended for grading."""

from __future__ import annotations

import copy
import io
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xmr_course.grading.course import Notebook, id_of, is_graded, is_solution
from xmr_lib.errors import DataError

LARGEST = 100_000_000  # bytes of a notebook; larger files are not opened
_NOTEBOOK = re.compile(r"\.ipynb(\.txt|\.json)?$", re.IGNORECASE)
# Moodle: "Ada Lovelace_4711_assignsubmission_file", before or behind what was handed in
_MOODLE = re.compile(r"(_\d+)?_assignsubmission_(file|onlinetext)_?")
# Canvas: "lovelaceada_LATE_4711_815_1_recall-2.ipynb"
_CANVAS = re.compile(r"^(?P<student>.+?)(?P<late>_LATE)?_\d{2,}_\d{2,}_(?P<file>.+)$")
# "1_recall (1)", "1_recall-Copy1", "1_recall-2": a second copy by browser, JupyterLab or Canvas
_COPY = re.compile(r"(\s*\(\d+\)|-Copy\d+|-\d+)$")


@dataclass
class Submission:
    """One notebook that a student handed in, or the lack of one.

    Attributes:
        student: Taken from the name of the folder or of the file.
        assignment: Taken from the file's name, else from the tests in it; "" if neither tells.
        file: Its place in the folder of submissions.
        modified: When, in seconds.
        notebook: What it holds; None if there is none that can be read.
        remarks: What a teacher should know.
    """

    student: str
    assignment: str
    file: str
    modified: float = 0.0
    notebook: Notebook | None = None
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _File:
    """A file in the folder of submissions, perhaps inside a ZIP archive."""

    parts: tuple[str, ...]
    modified: float = 0.0
    content: bytes = b""
    problem: str = ""

    @property
    def name(self) -> str:
        return self.parts[-1]


def find(
    folder: Path, copies: Mapping[str, Notebook], assignment: str | None = None
) -> list[Submission]:
    """All submissions in a folder or a ZIP archive, by student and assignment.

    Each file or folder at the top is a student's, such as nbgrader's
    `<student>/<assignment>/<assignment>.ipynb`, Moodle's `<student>_…/<assignment>.ipynb`, and
    `<student>_<assignment>.ipynb` or Canvas's `<student>_<id>_<id>_<file>` side by side; ZIP
    archives are opened. Who handed in no notebook gets a submission without one for every
    assignment that somebody handed in.

    Args:
        folder: Where they lie.
        copies: The notebook of each assignment.
        assignment: Only submissions of this one, and those that might be.

    Raises:
        DataError: There is no such folder, or nothing in it.
    """
    if folder.is_dir():
        files = list(_walk(folder))
    elif zipfile.is_zipfile(folder):
        files = list(_unzip(folder.read_bytes(), (), 0.0))
    else:
        raise DataError(f"{folder} is no folder: give the one that holds the submissions.")
    files = [file for file in files if not any(p[:1] == "." or p == "__MACOSX" for p in file.parts)]
    if not files:
        raise DataError(
            f"{folder} is empty. Expected: <student>/<assignment>/<assignment>.ipynb, "
            "<student>/<assignment>.ipynb or <student>_<assignment>.ipynb."
        )
    newest: dict[tuple[str, str], Submission] = {}
    without: dict[str, list[str]] = {}
    for file in files:
        one = _look_at(file, copies)
        if one.notebook is None and not one.assignment:
            without.setdefault(one.student, []).extend(one.remarks)
            continue
        if assignment not in (None, one.assignment) and one.assignment:
            continue
        key = (one.student, one.assignment or one.file)
        if (other := newest.get(key)) is not None:
            one, other = _better_first(one, other)
            names = Path(one.file).name, Path(other.file).name
            one.remarks.append(f"handed in twice: {names[0]} is taken, not {names[1]}")
        newest[key] = one
    handed_in = {assignment} if assignment else {one.assignment for one in newest.values()} - {""}
    for student in set(without) - {one.student for one in newest.values()}:
        remarks = without[student] or ["handed in nothing"]
        for name in handed_in or copies:
            newest[student, name] = Submission(student, name, "", remarks=list(remarks))
    return [newest[key] for key in sorted(newest)]


def _better_first(*both: Submission) -> list[Submission]:
    """A notebook that can be read before one that cannot, then the newer one."""
    return sorted(both, key=lambda one: (one.notebook is None, -one.modified))


def _walk(folder: Path) -> Iterator[_File]:
    """All files, with a nameless one for each folder at the top; links are not followed."""
    for root, folders, names in os.walk(folder):
        place = Path(root)
        inside = place.relative_to(folder).parts
        links = [name for name in folders if (place / name).is_symlink()]
        for name in sorted([*names, *links]):
            file, parts = place / name, (*inside, name)
            if file.is_symlink():
                yield _File(parts, problem=f"{name} is a symbolic link and is not followed")
            elif not file.is_file() or file.stat().st_size > LARGEST:
                yield _File(parts, problem=f"{name} is too large, or no ordinary file")
            elif name.lower().endswith(".zip"):
                # an archive at the top is a student's folder
                above = inside or (_COPY.sub("", file.stem),)
                yield from _unzip(file.read_bytes(), above, file.stat().st_mtime)
            else:
                content = file.read_bytes() if _NOTEBOOK.search(name) else b""
                yield _File(parts, file.stat().st_mtime, content)
        if not inside:
            yield from (_File((name, "")) for name in folders if name not in links)


def _unzip(archive: bytes, inside: tuple[str, ...], modified: float) -> Iterator[_File]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            for entry in opened.infolist():
                parts = (*inside, *Path(entry.filename).parts)
                if entry.is_dir():
                    yield _File((*parts, ""))
                elif entry.file_size > LARGEST:
                    yield _File(parts, problem=f"{parts[-1]} is too large")
                elif parts[-1].lower().endswith(".zip"):
                    yield from _unzip(opened.read(entry), parts[:-1] or (parts[-1],), modified)
                else:
                    content = opened.read(entry) if _NOTEBOOK.search(parts[-1]) else b""
                    yield _File(parts, modified, content)
            if inside:
                yield _File((*inside, ""))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # damaged, encrypted
        yield _File((*inside, "archive.zip"), problem=f"a ZIP archive cannot be read ({error})")


def _look_at(file: _File, copies: Mapping[str, Notebook]) -> Submission:
    one = Submission("", "", "/".join(file.parts), file.modified)
    stem = _NOTEBOOK.sub("", file.name)
    is_notebook = stem != file.name
    canvas = _CANVAS.match(file.parts[0] if len(file.parts) > 1 else stem)
    if canvas and not _MOODLE.search(file.parts[0]):
        if canvas["late"]:
            one.remarks.append("handed in late")
        stem = canvas["file"] if len(file.parts) == 1 else stem
    else:
        canvas = None
    stem = _COPY.sub("", stem)
    if file.problem:
        one.remarks.append(file.problem)
    elif is_notebook:
        try:
            one.notebook = _read(file)
        except DataError as error:
            one.remarks.append(str(error))
    elif file.name:
        one.remarks.append(f"{file.name} is no notebook")
    named = [name for name in copies if is_notebook and name in stem]
    one.assignment = max(named, key=len) if named else _by_tests(one.notebook, copies)
    if is_notebook and not one.assignment:
        one.remarks.append(f"{file.name}: neither its name nor its cells tell which assignment")
    elif is_notebook and not (named and file.name.endswith(".ipynb")):
        one.remarks.append(f"{file.name} should be called {one.assignment}.ipynb")
    name = file.parts[0] if len(file.parts) > 1 else stem
    name = canvas["student"] if canvas else name.replace(one.assignment, "")
    one.student = _MOODLE.sub("", name).strip("_- .") or stem
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


def _read(file: _File) -> Notebook:
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing cell ids: nbformat adds some
            notebook = nbformat.reads(file.content.decode("utf-8-sig"), as_version=4)
        cells = [cell for cell in notebook["cells"] if isinstance(cell["source"], str)]
        for cell in cells:
            marks = cell["metadata"].get("nbgrader", {})
            if not (isinstance(marks, dict) and isinstance(marks.get("grade_id", ""), str)):
                del cell["metadata"]["nbgrader"]
        return {"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}
    except Exception as error:  # nbformat raises many types
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise DataError(f"{file.name} is no notebook that can be read ({reason})") from error


def mend(notebook: Notebook, original: Notebook) -> tuple[Notebook, list[str]]:
    """Makes a submission gradable: the student's answers, with all locked cells of the original.

    Locked cells (tests, set-up) are replaced by those of the original, and put back in their places
    if they were deleted; the metadata by which nbgrader knows cells come from the original, too.
    Students' answers are never changed.

    Args:
        notebook: The submission.
        original: The assignment, with its tests; its own answers are not used.

    Returns:
        The mended notebook, and what had to be mended.
    """
    wanted = {id_of(cell): cell for cell in original["cells"] if id_of(cell)}
    last = {id_of(cell): number for number, cell in enumerate(notebook["cells"])}
    cells, remarks, present = [], [], set()
    recognised = bool(set(last) & set(wanted))
    if not recognised:
        remarks.append(
            "nbgrader's marks are gone from all cells (another editor?): tests stand last"
        )
    for number, cell in enumerate(notebook["cells"]):
        cell = copy.deepcopy(cell)
        name = id_of(cell)
        own = wanted.get(name)
        if own is None or last[name] != number:  # the student's own, or copied: ordinary
            cell |= {"metadata": {}, "id": f"own-{number}"}
        else:
            present.add(name)
            if is_solution(own):
                cell["metadata"] = own["metadata"]
            else:
                cell = copy.deepcopy(own)
        cells.append(cell)
    for name, own in wanted.items():
        if name in present:
            continue
        if is_solution(own):
            # nothing to put back: an empty one would hide what may be written elsewhere
            if recognised:
                remarks.append(f"answer {name} is missing")
            continue
        if own["cell_type"] == "code" and recognised:
            remarks.append(f"locked cell {name} was missing and is put back")
        cells.insert(_place(name, list(wanted), cells), copy.deepcopy(own))
        present.add(name)
    for cell in cells:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return {**notebook, "cells": cells}, remarks


def _place(name: str, order: list[str], cells: list[Notebook]) -> int:
    """Behind the nearest cell that stood before `name` in the original; at the end without one."""
    places = {id_of(cell): place for place, cell in enumerate(cells) if id_of(cell)}
    before = [places[other] for other in order[: order.index(name)] if other in places]
    if before:
        return max(before) + 1
    return 0 if any(other in places for other in order) else len(cells)
