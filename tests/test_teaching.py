"""A course from an empty folder to marks: student copies, submissions of all kinds, feedback."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import zipfile

import pandas as pd
import pytest

pytest.importorskip("nbgrader", reason='needs nbgrader: pip install -e ".[teaching]"')

from assignments import tiny
from xmr_course import __main__ as commands
from xmr_course.grading import grading, own_work
from xmr_course.grading.course import (
    assignment_ids,
    course_dir,
    id_of,
    is_graded,
    is_solution,
    read,
    source_of,
    unmarked,
)
from xmr_course.grading.feedback import page
from xmr_course.grading.release import as_text, release
from xmr_course.grading.submissions import find, mend

from xmr_lib.errors import DataError, MissingDependencyError, UnknownNameError

RIGHT = {
    "half": "def half(x):\n    return x / 2",
    # nbgrader takes a warning for a failure; the course's settings prevent that
    "root": "import warnings\ndef root(x):\n    warnings.warn('slow')\n    return math.sqrt(x)",
    "why": "It is so.",
}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tiny.course(tmp_path_factory.mktemp("course"))
    release(folder)
    return folder


@pytest.fixture(scope="module")
def handed_out(course):
    return read(course / "release" / tiny.NAME / f"{tiny.NAME}.ipynb")


def test_committed_student_copies_are_what_their_sources_give():
    """So that nobody changes a source and forgets `make assignments`."""
    release(check=True)


SOURCES = [source_of(course_dir(), name) for name in assignment_ids(course_dir())]


def test_there_are_six_assignments():
    assert [file.stem[:2] for file in SOURCES] == ["1_", "2_", "3_", "4_", "5_", "6_"]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_a_source_is_a_whole_assignment(file):
    text, notebook = file.read_text(encoding="utf-8"), read(file)
    assert text == as_text(notebook), "outputs, counts or metadata of somebody's machine"
    assert all(id_of(cell) for cell in notebook["cells"]), "every cell is an answer or locked"
    tests = [cell for cell in notebook["cells"] if is_graded(cell) and not is_solution(cell)]
    for cell in tests:
        visible, hidden = cell["source"].split("### BEGIN HIDDEN TESTS")
        assert "assert" in visible and "assert" in hidden, id_of(cell)
    title = notebook["cells"][0]["source"].lower()
    points = sum(mark.of for mark in unmarked(notebook).values())
    assert f"**points:** {points:g}" in title and points == 20
    for part in ("expected time:** ", "minutes", "lesson", "paper", "you can", "you may use"):
        assert part in title, part


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_a_student_copy_gives_nothing_away(file):
    copy = course_dir() / "release" / file.stem / file.name
    text = copy.read_text(encoding="utf-8")
    assert "BEGIN SOLUTION" not in text and "HIDDEN TESTS" not in text
    notebook, solved = read(copy), read(file)
    for ours, theirs in zip(solved["cells"], notebook["cells"], strict=True):
        if is_solution(ours):
            assert ours["source"] != theirs["source"]
            assert "YOUR" in theirs["source"]
        links = re.findall(r"\]\(([^)#]+)[^)]*\)", theirs["source"])
        if theirs["cell_type"] == "markdown":
            missing = [
                link
                for link in links
                if not (link.startswith("http") or (copy.parent / link).exists())
            ]
            assert not missing, f"{id_of(theirs)} points at {missing}"


def test_student_copies_are_the_same_every_time_and_checked(course, tmp_path):
    (file,) = release(course)
    text = file.read_text(encoding="utf-8")
    assert release(course) == [file] and file.read_text(encoding="utf-8") == text
    assert "x / 2" not in text and "2.5" not in text and "half of 4" in text
    ours = tiny.course(tmp_path)
    with pytest.raises(DataError, match=r"tiny\.ipynb is missing"):
        release(ours, check=True)
    (file,) = release(ours)
    release(ours, check=True)
    file.write_text(file.read_text(encoding="utf-8").replace("Tiny", "Tinny"), encoding="utf-8")
    with pytest.raises(DataError, match=r"tiny\.ipynb is not what its source gives"):
        release(ours, check=True)
    release(ours)
    tiny.write(ours / "release" / "old" / "old.ipynb", {"cells": []})
    with pytest.raises(DataError, match=r"old\.ipynb has no source"):
        release(ours, check=True)
    release(ours)
    assert not (ours / "release" / "old" / "old.ipynb").exists()
    assert not list(ours.glob("**/gradebook.db"))
    with pytest.raises(DataError, match="holds no nbgrader_config"):
        release(tmp_path / "source")
    (tmp_path / "source" / tiny.NAME / f"{tiny.NAME}.ipynb").unlink()
    with pytest.raises(DataError, match="holds no assignment"):
        release(ours)


def test_a_source_that_nbgrader_refuses_is_named(tmp_path):
    folder = tiny.course(tmp_path)
    file = folder / "source" / tiny.NAME / f"{tiny.NAME}.ipynb"
    file.write_text(file.read_text(encoding="utf-8").replace("END SOLUTION", "END"), "utf-8")
    with pytest.raises(DataError, match=r"tiny\.ipynb: nbgrader made no student copy"):
        release(folder)


@pytest.mark.slow
def test_the_evening_of_a_teacher(course, handed_out, tmp_path, capsys):
    """Set up, hand out, collect what a learning platform gives, grade, give feedback."""
    given = tmp_path / "submissions"
    right = tiny.answered(handed_out, **RIGHT)
    wrong = tiny.answered(right, half="def half(x):\n    return 2", why="")
    endless = tiny.answered(right, half="while True:\n    pass")
    dies = tiny.answered(right, root="import os\nos._exit(1)")
    cheats = tiny.answered(wrong, test_half="pass")
    deleted = tiny.without(wrong, "setup", "test_half")
    bare = tiny.answered(wrong)
    for cell in bare["cells"]:
        cell["metadata"] = {}
    tiny.write(given / "ada" / "tiny" / "tiny.ipynb", right)
    tiny.write(given / "Bob [B] + Müller_17_assignsubmission_file" / "tiny.ipynb", wrong)
    tiny.write(given / "cleo_tiny (1).ipynb", handed_out)
    tiny.write(given / "dan_tiny.ipynb", endless)
    tiny.write(given / "eve_tiny.ipynb", dies)
    tiny.write(given / "fay" / "my homework.ipynb", cheats)
    tiny.write(given / "gus_tiny.ipynb", deleted)
    tiny.write(given / "hal_tiny.ipynb", bare)
    (given / "ida_tiny.ipynb").write_text("{ not JSON", encoding="utf-8")
    (given / "jan_notes.ipynb").write_text("{}", encoding="utf-8")
    (given / "kim").mkdir()
    tiny.write(given / ".ipynb_checkpoints" / "ada_tiny.ipynb", right)
    before = {file: file.read_bytes() for file in given.rglob("*.ipynb")}

    commands.grade(
        given, out=tmp_path / "marks.csv", feedback=tmp_path / "pages", timeout=10, course=course
    )

    said = capsys.readouterr().out
    assert {file: file.read_bytes() for file in given.rglob("*.ipynb")} == before
    assert "with your rights" in said
    marks = pd.read_csv(tmp_path / "marks.csv", index_col="student")
    got = marks[["tiny/test_half (of 2)", "tiny/test_root (of 3)"]].T.to_dict("list")
    assert got == {
        "ada": [2, 3],
        "Bob [B] + Müller": [0, 3],
        "cleo": [0, 0],
        "dan": [0, 3],  # only the cell that never ends, and what needs it
        "eve": [0, 0],  # the kernel died, no marks: the remark says why
        "fay": [0, 3],  # her own test does not count
        "gus": [0, 3],  # a deleted test neither
        "hal": [0, 3],  # nor the loss of all metadata
        "ida": [0, 0],
        "jan_notes": [0, 0],  # what is handed in cannot be read
        "kim": [0, 0],  # an empty folder
    }
    by_hand = marks["tiny: by hand still"]
    assert by_hand["ada"] == 4 and by_hand["cleo"] == 0  # left blank: nothing to read
    assert "5 of 5 + 4 by hand" in said and "0 of 5" in said
    for line in (
        "dan, tiny: cell half ran too long",
        "eve, tiny: does not run (",
        "fay, tiny: my homework.ipynb should be called tiny.ipynb",
        "gus, tiny: locked cell setup was missing and is put back",
        "gus, tiny: locked cell test_half was missing and is put back",
        "hal, tiny: nbgrader's marks are gone",
        "ida, tiny: ida_tiny.ipynb is no notebook that can be read",
        "jan_notes, tiny: jan_notes.ipynb is no notebook that can be read",
        "cleo, tiny: left blank: half, root, why",
        "kim, tiny: handed in nothing",
    ):
        assert line in said, f"{line}\n{said}"
    assert "DeadKernelError" in said.split("eve, tiny: ")[1].splitlines()[0]
    page = (tmp_path / "pages" / "Bob [B] + Müller" / "tiny.html").read_text(encoding="utf-8")
    assert "AssertionError" in page and "2.5" in page  # students see which hidden test failed
    assert not (tmp_path / "pages" / "ida").exists()
    assert not list(course.glob("**/gradebook.db"))


@pytest.mark.slow
def test_two_at_once_give_the_same(course, handed_out, tmp_path):
    right = tiny.answered(handed_out, **RIGHT)
    tiny.write(tmp_path / "ada_tiny.ipynb", right)
    tiny.write(tmp_path / "bob_tiny.ipynb", tiny.answered(right, root="def root(x):\n    return 2"))
    tiny.write(tmp_path / "cleo_tiny.ipynb", tiny.answered(right, half="half = abs"))
    graded = grading.grade(tmp_path, course, assignment=tiny.NAME, jobs=2)
    assert [(each.student, each.automatic) for each in graded] == [
        ("ada", 5),
        ("bob", 5),
        ("cleo", 3),
    ]


def test_grading_refuses(course, tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        grading.grade(tmp_path / "nowhere", course)
    with pytest.raises(DataError, match="is empty"):
        grading.grade(tmp_path, course)
    with pytest.raises(DataError, match="--run-as nobody-here: this account cannot run"):
        grading.grade(tmp_path, course, run_as="nobody-here")
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'"):
        grading.grade(tmp_path, course, assignment="tinny")


def test_without_nbgrader_the_message_says_how_to_get_it(course, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbgrader.coursedir", None)
    with pytest.raises(MissingDependencyError, match=r'pip install -e "\.\[teaching\]"'):
        release(course)


def test_who_handed_in_what(handed_out, tmp_path):
    copies = {"1_a": {"cells": []}, "1_a_more": {"cells": []}, tiny.NAME: handed_out}
    for name in (
        "ada/1_a/1_a.ipynb",
        "bob_4711_assignsubmission_file_/1_a_more.ipynb",
        "cleo_1_a.ipynb",
        "Dan Dee-1_a_more-Copy1.ipynb",
    ):
        tiny.write(
            tmp_path / name, {"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}
        )
    tiny.write(tmp_path / "eve" / "Untitled.ipynb", handed_out)
    assert [(one.student, one.assignment) for one in find(tmp_path, copies)] == [
        ("Dan Dee", "1_a_more"),
        ("ada", "1_a"),
        ("bob", "1_a_more"),
        ("cleo", "1_a"),
        ("eve", "tiny"),
    ]


def test_every_file_and_folder_of_an_archive_gives_a_submission(handed_out, tmp_path):
    """Names and wrappings of Moodle and Canvas, and whatever else students upload."""
    text = json.dumps(handed_out)
    for name in (
        "Ann Fox_4711_assignsubmission_file/tiny.ipynb",
        "Cay Ant_4713_assignsubmission_file/tiny.ipynb.txt",
        "Dee Owl_4714_assignsubmission_file/tiny.ipynb.json",
        "Gus Dog_4717_assignsubmission_file/tiny.IPYNB",
        "foxann_LATE_1234_56789_tiny-2.ipynb",
        "elkben_1235_56790_tiny.ipynb",
        "Eve Bat_4715_assignsubmission_file/tiny.py",
    ):
        file = tmp_path / "given" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for name, inside in (
        ("Ben Elk_4712_assignsubmission_file/work.zip", "work/tiny.ipynb"),
        ("hal_tiny.zip", "tiny.ipynb"),
    ):
        (tmp_path / "given" / name).parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / "given" / name, "w") as archive:
            archive.writestr(inside, text)
    (tmp_path / "given" / "ida.zip").write_bytes(b"PK no archive")
    secret = tiny.write(tmp_path / "secret.ipynb", handed_out)
    (tmp_path / "given" / "jan_tiny.ipynb").symlink_to(secret)
    (tmp_path / "given" / "kim").symlink_to(tmp_path)
    found = {one.student: one for one in find(tmp_path / "given", {tiny.NAME: handed_out})}
    assert {one.assignment for one in found.values()} == {tiny.NAME}
    with_notebook = {name for name, one in found.items() if one.notebook is not None}
    assert with_notebook == {
        "Ann Fox",
        "Ben Elk",
        "Cay Ant",
        "Dee Owl",
        "Gus Dog",
        "elkben",
        "foxann",
        "hal",
    }
    assert found["foxann"].remarks[0] == "handed in late"
    assert found["Eve Bat"].remarks == ["tiny.py is no notebook"]
    assert "cannot be read" in found["ida"].remarks[0]
    for name in ("jan", "kim"):
        assert "symbolic link and is not followed" in found[name].remarks[0]
    shutil.make_archive(
        str(tmp_path / "all"), "zip", tmp_path / "given", "Ann Fox_4711_assignsubmission_file"
    )
    (one,) = find(tmp_path / "all.zip", {tiny.NAME: handed_out})
    assert one.student == "Ann Fox" and one.notebook is not None


def test_marks_are_safe_in_a_spreadsheet_and_kept_from_the_first_one_on(
    course, handed_out, tmp_path, monkeypatch
):
    seen = []

    def graded(one, *_):
        if one.student == "zoe":
            seen.append(pd.read_csv(tmp_path / "marks.csv")["student"].tolist())
        return grading.Graded(one.student, one.assignment, {}, ("=cmd",))

    monkeypatch.setattr(grading, "grade_one", graded)
    for name in ("=1+1", "ada", "zoe"):
        tiny.write(tmp_path / "given" / name / "tiny.ipynb", handed_out)
    grading.grade(tmp_path / "given", course, out=tmp_path / "marks.csv")
    table = pd.read_csv(tmp_path / "marks.csv")
    assert table["student"].tolist() == ["'=1+1", "ada", "zoe"]
    assert table["tiny: remarks"].tolist() == ["'=cmd"] * 3
    assert seen == [["'=1+1", "ada"]]


def test_pages_hold_no_script(handed_out):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    answered = tiny.answered(handed_out, why=evil)
    for cell in answered["cells"]:
        if id_of(cell) == "half":
            data = {"text/html": evil, "image/svg+xml": f"<svg>{evil}</svg>", "text/plain": "x"}
            data["application/javascript"] = "alert(1)"
            cell["outputs"] = [{"output_type": "display_data", "data": data, "metadata": {}}]
            cell["execution_count"] = 1
    html = page(answered, unmarked(handed_out), "tiny", f"Eve {evil}")
    assert "<script" not in html and "<img src=x" not in html and "onerror=alert(1)>" not in html
    assert "default-src 'none'" in html and "test_half: marked by hand of 2 points" in html


@pytest.mark.slow
def test_a_student_cannot_write_marks_or_end_the_grading(course, handed_out, tmp_path):
    """The process that runs a submission can be killed; the others and the marks are untouched."""
    right = tiny.answered(handed_out, **RIGHT)
    kills = tiny.answered(right, half="import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
    tiny.write(tmp_path / "ada_tiny.ipynb", kills)
    tiny.write(tmp_path / "bob_tiny.ipynb", right)
    ada, bob = grading.grade(tmp_path, course)
    assert (ada.automatic, bob.automatic) == (0, 5)
    assert "does not run" in ada.remarks[0]


def test_of_two_the_newer_is_taken(handed_out, tmp_path):
    older = tiny.write(tmp_path / "ada" / "tiny.ipynb", handed_out)
    newer = tiny.write(tmp_path / "ada" / "tiny (1).ipynb", handed_out)
    for file, hour in ((older, 1), (newer, 2)):
        os.utime(file, (3600 * hour, 3600 * hour))
    (one,) = find(tmp_path, {tiny.NAME: handed_out})
    assert one.file == "ada/tiny (1).ipynb"
    assert one.remarks == ["handed in twice: tiny (1).ipynb is taken, not tiny.ipynb"]
    newer.write_text("not a notebook")
    (one,) = find(tmp_path, {tiny.NAME: handed_out})
    assert one.file == "ada/tiny.ipynb" and one.notebook is not None


def names(notebook) -> list:
    return [id_of(cell) for cell in notebook["cells"]]


def test_mending_changes_nothing_that_is_whole(handed_out):
    right = tiny.answered(handed_out, **RIGHT)
    mended, remarks = mend(right, handed_out)
    assert mended["cells"] == right["cells"] and remarks == []


@pytest.mark.parametrize("gone", ["setup", "test_half", "test_root"])
def test_a_deleted_cell_comes_back_in_its_place(handed_out, gone):
    right = tiny.answered(handed_out, **RIGHT)
    mended, remarks = mend(tiny.without(right, gone), handed_out)
    assert mended["cells"] == right["cells"]
    assert remarks == [f"locked cell {gone} was missing and is put back"]


def test_a_deleted_answer_stays_away(handed_out):
    mended, remarks = mend(tiny.without(handed_out, "half", "why"), handed_out)
    assert names(mended) == ["title", "setup", "test_half", "root", "test_root"]
    assert remarks == ["answer half is missing", "answer why is missing"]


def test_locked_cells_and_their_points_are_those_handed_out(handed_out):
    meddled = tiny.answered(handed_out, test_half="pass", setup="math = None", half="half = 1")
    for cell in meddled["cells"]:
        if id_of(cell) == "test_half":
            cell["metadata"]["nbgrader"] |= {"points": 100, "grade": False}
    mended, _ = mend(meddled, handed_out)
    assert mended["cells"] == tiny.answered(handed_out, half="half = 1")["cells"]


def test_of_copied_cells_the_last_counts_and_own_cells_stay(handed_out):
    own = {
        "cell_type": "code",
        "metadata": {"nbgrader": {"grade_id": "mine"}},
        "source": "1",
        "outputs": [],
        "execution_count": 7,
        "id": "own",
    }
    copied = {**handed_out, "cells": [handed_out["cells"][2], own, *handed_out["cells"]]}
    mended, remarks = mend(copied, handed_out)
    assert names(mended) == [None, None, *names(handed_out)] and remarks == []
    assert mended["cells"][1]["execution_count"] is None


@pytest.mark.parametrize("odd", ["x", 3, [], {"grade_id": ["half"]}, {"grade_id": None}])
def test_odd_metadata_are_taken_for_none(handed_out, tmp_path, odd):
    right = tiny.answered(handed_out, **RIGHT)
    for cell in right["cells"]:
        if id_of(cell) == "half":
            cell["metadata"] = {"nbgrader": odd}
    (one,) = find(tiny.write(tmp_path / "ada_tiny.ipynb", right).parent, {"tiny": handed_out})
    mended, remarks = mend(one.notebook, handed_out)
    assert names(mended) == ["title", "setup", None, "test_half", "root", "test_root", "why"]
    assert remarks == ["answer half is missing"]
    assert mended["cells"][2]["source"] == RIGHT["half"]


def test_whatever_a_submission_provokes_stops_no_other(course, handed_out, tmp_path, monkeypatch):
    def stumble(notebook, student_copy):
        raise KeyError("source")

    monkeypatch.setattr(grading, "mend", stumble)
    tiny.write(tmp_path / "ada_tiny.ipynb", handed_out)
    tiny.write(tmp_path / "bob_tiny.ipynb", handed_out)
    for each in grading.grade(tmp_path, course):
        assert each.automatic == 0 and each.open == 4
        assert each.remarks == ("does not run ('source')",)


def test_own_work():
    def from_here(x):
        return x

    with pytest.raises(AssertionError, match="imported from test_teaching"):
        own_work(from_here)
    from_here.__module__ = "__main__"
    own_work(from_here)

    def borrowed(x):
        from xmr_lib.evaluation import evaluate_scores

        return evaluate_scores(x)

    borrowed.__module__ = "__main__"
    with pytest.raises(AssertionError, match="borrowed calls xmr_lib"):
        own_work(borrowed)
    with pytest.raises(AssertionError, match="not a function any more"):
        own_work(3)
