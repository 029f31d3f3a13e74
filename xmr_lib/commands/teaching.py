"""Commands of teachers: `assignments` makes student copies, `grade` marks submissions."""

from __future__ import annotations

from pathlib import Path

from xmr_lib.commands.shared import Positional


def assignments(check: bool = False, course: Path | None = None) -> None:
    """Make the student copies of all assignments from their solved sources.

    Args:
        check: Write nothing; fail if a student copy is not what its source gives.
        course: Folder of an nbgrader course; by default notebooks/assignments.
    """
    from xmr_lib.teaching.release import release

    for file in release(course, check):
        print(f"{'up to date' if check else 'made'}: {file}")


def grade(
    submissions: Positional[Path],
    out: Path | None = None,
    assignment: str | None = None,
    feedback: Path | None = None,
    timeout: int | None = None,
    jobs: int = 1,
    course: Path | None = None,
) -> None:
    """Grade a folder of submissions and print students × assignments.

    Submissions are programs and run here with your rights: use a container or an account that
    holds nothing else.

    Args:
        submissions: Folder with <student>/<assignment>/<assignment>.ipynb,
            <student>/<assignment>.ipynb or <student>_<assignment>.ipynb; it is only read.
        out: CSV file for the points of each task.
        assignment: Grade only this one.
        feedback: Folder for the students' pages, <student>/<assignment>.html.
        timeout: Seconds that a cell may run; by default those of nbgrader_config.py.
        jobs: Submissions graded at once.
        course: Folder of an nbgrader course; by default notebooks/assignments.
    """
    from xmr_lib.teaching import grading

    print("Students' code runs here, with your rights: use a container or an account of its own.")
    graded = grading.grade(submissions, course, assignment, timeout, feedback, jobs)
    print(grading.marks_table(graded).to_string())
    for each in graded:
        for remark in each.remarks:
            print(f"{each.student}, {each.assignment or 'unknown assignment'}: {remark}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        grading.marks_by_task(graded).to_csv(out, encoding="utf-8")
        print(f"Points of each task: {out}")
    if feedback is not None:
        print(f"Pages for the students: {feedback}")
