"""Lessons in a browser: as pages without a kernel, and their equations in JupyterLab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser.chromium import chromium, missing
from browser.reading import CODE, MATH, faults
from browser.server import jupyter_server

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
REASON = missing("jupyterlab", "nbconvert")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as open_page:
        yield open_page


@pytest.fixture(autouse=True)
def _evidence(request, page):
    """Whatever fails leaves a picture of the page."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(page.evidence(request.node.name))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_reads_well_without_a_kernel(page, notebook, tmp_path):
    assert faults(page, notebook, tmp_path) == []


def test_what_reads_badly_is_named(page, tmp_path):
    import nbformat

    v4 = nbformat.v4

    def executed(source: str, *outputs) -> nbformat.NotebookNode:
        return v4.new_code_cell(source, outputs=list(outputs), execution_count=1)

    prose = [
        "## No title\n\n[gone](gone.ipynb), [nowhere](#nowhere)",
        "#### Deep\n\n**never closed",
        "|a|b|c|d|\n|---|---|---|---|\n|a norm $|x|$|y|",
        "|a|b|\n|---|---|\n|" + "x" * 300 + "|y|",
    ]
    view = {"model_id": "m", "version_major": 2, "version_minor": 0}
    shown = {"application/vnd.jupyter.widget-view+json": view, "image/png": "iVBORw0KGgo="}
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell(text) for text in prose])
    notebook.cells += [
        executed("a", v4.new_output("stream", text="Traceback (most recent call last):\nOh")),
        executed("b", v4.new_output("execute_result", {"text/plain": "<A object at 0x7f>"})),
        executed("c", v4.new_output("execute_result", {"image/png": "iVBORw0KGgo="})),
        executed("d", v4.new_output("execute_result", shown)),
        executed("#" * 300),
    ]
    state = {"m": {"model_name": "HTMLModel", "model_module": "c", "state": {}}}
    notebook.metadata["widgets"] = {
        "application/vnd.jupyter.widget-state+json": {"state": state, "version_major": 2}
    }
    file = tmp_path / "bad.ipynb"
    nbformat.write(notebook, file)
    found = "\n".join(faults(page, file, tmp_path))
    for fault in (
        "2 pictures are saved, 1 are shown",
        "a picture cannot be shown",
        "an error: Oh",
        "an object instead of what it shows: <A object at 0x7f>",
        "the title must be the first heading and the only one: [[2, 'No title",
        "a level is left out above the heading 'Deep",
        "Markdown is left over: '**never closed",
        "an equation is garbled: $",
        "a link to nothing: gone.ipynb",
        "a link to no heading: #nowhere",
        "wider than its place: 'xxx",
        "wider than its place: '###",
    ):
        assert fault in found, f"{fault}\n\nnot in:\n{found}"


def test_all_equations_are_typeset_in_jupyterlab(page, tmp_path):
    """By its own MathJax, which needs no network."""
    import nbformat

    found = {}  # in their order, each once
    for notebook in NOTEBOOKS:
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                found |= dict.fromkeys(MATH.findall(CODE.sub("", "".join(cell["source"]))))
    formulas = list(found)
    assert len(formulas) > 100
    parts = [formulas[first : first + 25] for first in range(0, len(formulas), 25)]
    with jupyter_server(tmp_path / "server") as server:
        cells = [nbformat.v4.new_markdown_cell("\n\n".join(part)) for part in parts]
        server.write("equations.ipynb", cells)
        page.open(server.address("doc/tree", "equations.ipynb"))
        typeset = "return document.querySelectorAll('.jp-RenderedMarkdown mjx-container').length"
        page.wait(lambda: page.script(typeset) >= len(formulas), f"{len(formulas)} equations", 120)
        wrong = page.script(
            "return [...document.querySelectorAll('mjx-merror, [data-mjx-error]')]"
            ".map(each => each.title || each.dataset.mjxError || each.textContent)"
        )
        assert wrong == []
