"""The course's command line: `python -m xmr_course demo | reproduce | learning-curve | …`."""

from __future__ import annotations

from pathlib import Path

from xmr_lib.choices import Scale
from xmr_lib.command_line import TOY, OfData, Positional, overrides_of, run_command


def demo() -> None:
    """Train VSE++, RFE and SMFEA on toy scenes, compare them, draw what they find, and trees."""
    from xmr_course import demo as demonstration

    demonstration.main()


def reproduce(
    table: Positional[str],
    source: OfData = TOY,
    backbone: str | None = None,
    regions: str | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    scale: Scale | None = None,
    rows: tuple[str, ...] = (),
    extra: tuple[str, ...] = (),
    transfer_to: str | None = None,
) -> None:
    """Train the rows of a printed table and show printed and measured numbers side by side.

    Args:
        table: rfe-1 … rfe-10, smfea-1 … smfea-7.
        source: Which captioned images.
        backbone: Network whose features are used: toy, efficientnet-lite0, resnet18/50/101/152.
        regions: For SCAN and SMFEA: boxes (of toy scenes), grid, grid-<cells>, detector, or a TSV
            file of bottom-up attention.
        seeds: Seeds; several give a standard deviation.
        scale: Sizes and epochs: toy, laptop or paper.
        rows: Train only these rows, by their printed names or recipes; all by default.
        extra: Rows that are not printed, such as "SCAN-RFE t-i AVG-rerank".
        transfer_to: Test on this data set instead of the one trained on, as SMFEA's Table 4 does:
            toy:sketch, or a folder as for --data.
    """
    from xmr_course.tables import reproduce as reproduction
    from xmr_course.tables import timing
    from xmr_lib import distributed
    from xmr_lib.errors import DataError

    distributed.join()
    options = {"scale": scale, "backbone": backbone, "regions": regions}
    if table == "rfe-5":
        if rows or extra or transfer_to or seeds != (0, 1, 2):
            raise DataError(
                "rfe-5 is a table of seconds and trains nothing: leave out --seeds, --rows, "
                "--extra and --transfer-to."
            )
        frame = timing.reproduce_times(source, **options)
        print(timing.to_text(frame))
    else:
        options |= {"seeds": seeds, "rows": rows, "extra": extra, "transfer_to": transfer_to}
        frame = reproduction.reproduce(table, source, **options)
        print(reproduction.to_text(frame))
    print(f"Table: {frame.attrs['csv']}\nPicture: {frame.attrs['picture']}")


def learning_curve(
    recipe: Positional[str] = "VSE++",
    source: OfData = TOY,
    backbone: str | None = None,
    regions: str | None = None,
    scale: Scale | None = None,
    sizes: tuple[int, ...] = (),
    seeds: tuple[int, ...] = (0,),
    out: Path | None = None,
    set: tuple[str, ...] = (),
) -> None:
    """Train on more and more of the images: is it enough data, and would more help?

    Args:
        recipe: A row of the papers' tables that is trained (no ensemble).
        source: Which captioned images.
        backbone: Network whose features are used: toy, efficientnet-lite0, resnet18/50/101/152.
        regions: Which regions, for SCAN and SMFEA.
        scale: Sizes and epochs: toy, laptop or paper.
        sizes: Numbers of training images; 50, 100, 200, 500 … and all by default.
        seeds: Seeds of weights, and of which images are kept.
        out: File of the picture; the table gets the same name with .csv. By default
            build/figures/learning_curve_<data>.png.
        set: Fields of the recipe to change, as margin=0.3.
    """
    from xmr_course.tables import learning_curve as curves
    from xmr_lib import figures
    from xmr_lib.files import atomic, figures_dir

    frame = curves.measure(
        recipe,
        source,
        sizes=sizes,
        seeds=seeds,
        scale=scale,
        backbone=backbone,
        regions=regions,
        **overrides_of(set),
    )
    columns = ["method", "n_images", "i2t_r1", "t2i_r1", "rsum", "chance"]
    shown = frame[columns].groupby(["method", "n_images"], sort=False).mean()
    print(shown.round(1).to_string())
    for line in curves.advice(frame):
        print(line)
    out = out or figures_dir() / f"learning_curve_{frame.attrs['label']}.png"
    path = figures.save(curves.plot(frame, frame.attrs["title"]), out)
    with atomic(path.with_suffix(".csv")) as temporary:
        frame.round(2).to_csv(temporary, index=False)
    print(f"Picture: {path}, table: {path.with_suffix('.csv').name}")


def assignments(check: bool = False, course: Path | None = None) -> None:
    """Make the student copies of all assignments from their solved sources.

    Args:
        check: Write nothing; fail if a student copy is not what its source gives.
        course: Folder of an nbgrader course; by default notebooks/assignments.
    """
    from xmr_course.grading.release import release

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
    run_as: str | None = None,
) -> None:
    """Grade a folder of submissions and print students × assignments.

    Submissions are programs and run here with your rights: use a container (TEACHERS.md has the
    command), or an account that holds nothing else.

    Args:
        submissions: Folder or ZIP archive as a learning platform gives it, with
            <student>/<assignment>/<assignment>.ipynb, <student>/<assignment>.ipynb or
            <student>_<assignment>.ipynb; it is only read.
        out: CSV file for the points of each task, written again after each submission.
        assignment: Grade only this one.
        feedback: Folder for the students' pages, <student>/<assignment>.html.
        timeout: Seconds that a cell may run; by default those of nbgrader_config.py.
        jobs: Submissions graded at once.
        course: Folder of an nbgrader course; by default notebooks/assignments.
        run_as: Account under which submissions run, such as nobody; needs the rights of root.
    """
    from xmr_course.grading import grading

    print("Students' code runs here, with your rights: use a container or an account of its own.")
    graded = grading.grade(submissions, course, assignment, timeout, feedback, jobs, out, run_as)
    print(grading.marks_table(graded).to_string())
    for each in graded:
        for remark in each.remarks:
            print(f"{each.student}, {each.assignment or 'unknown assignment'}: {remark}")
    if out is not None:
        print(f"Points of each task: {out}")
    if feedback is not None:
        print(f"Pages for the students: {feedback}")


COMMANDS = {
    "demo": demo,
    "reproduce": reproduce,
    "learning-curve": learning_curve,
    "assignments": assignments,
    "grade": grade,
}


def main(arguments: list[str] | None = None) -> None:
    """Runs one of the course's commands."""
    run_command(COMMANDS, "python -m xmr_course", arguments)


if __name__ == "__main__":
    main()
