"""A student's page: the executed notebook with its marks, as HTML in which no script can run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from xmr_course.grading.course import Mark, Notebook, id_of

# What a page may load: nothing from elsewhere, and no scripts.
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "img-src data:; style-src 'unsafe-inline'; font-src data:\">"
)


def page(notebook: Notebook, marks: Mapping[str, Mark], assignment: str, student: str) -> str:
    """The page of a graded submission.

    Args:
        notebook: As it was executed.
        marks: Points by graded cell.
        assignment: Title of the page.
        student: Named below the title.
    """
    import nbformat
    from nbconvert import HTMLExporter

    points = sum(mark.points or 0 for mark in marks.values())
    title = (
        f"# {assignment}\n\nPoints so far: **{points:g}** of {sum(m.of for m in marks.values()):g}"
    )
    cells = [nbformat.v4.new_markdown_cell(title), *_with_marks(notebook, marks)]
    whole = nbformat.v4.new_notebook(cells=cells, metadata={"title": f"{assignment}: {student}"})
    html, _ = HTMLExporter(sanitize_html=True).from_notebook_node(whole)
    html = re.sub(r"<script\b.*?</script\s*>", "", html, flags=re.DOTALL | re.IGNORECASE)
    return re.sub(r"(<head\b[^>]*>)", rf"\1{_POLICY}", html, count=1)


def _with_marks(notebook: Notebook, marks: Mapping[str, Mark]) -> list:
    import nbformat

    cells = []
    for cell in notebook["cells"]:
        cells.append(nbformat.from_dict(cell))
        if (mark := marks.get(id_of(cell))) is not None:
            given = "marked by hand" if mark.points is None else f"{mark.points:g}"
            text = f"**{id_of(cell)}: {given} of {mark.of:g} points**"
            cells.append(nbformat.v4.new_markdown_cell(text))
    return cells
