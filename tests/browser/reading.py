"""What is wrong with a notebook as a static page, read without a kernel and without a network."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from browser.chromium import Page

# One question to the page for all that can be seen of it.
LOOK = r"""
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const begin = element => element.textContent.trim().slice(0, 60);
const seen = element => element.getClientRects().length > 0;
const without = (element, selector) => {
    const copy = element.cloneNode(true);
    all(selector, copy).forEach(each => each.remove());
    return copy.textContent;
};
return {
    pictures: all('.jp-OutputArea img').map(each => each.complete ? each.naturalWidth : 0),
    headings: all('.jp-MarkdownCell h1, .jp-MarkdownCell h2, .jp-MarkdownCell h3, '
        + '.jp-MarkdownCell h4').map(each => [Number(each.tagName[1]), each.textContent]),
    tables: all('.jp-OutputArea table').filter(seen).length,
    prose: all('.jp-MarkdownCell .jp-RenderedMarkdown').map(each => each.textContent),
    words: all('.jp-MarkdownCell .jp-RenderedMarkdown').map(each => without(each, 'code, pre')),
    printed: all('.jp-OutputArea pre').map(each => each.textContent),
    links: all('.jp-MarkdownCell a[href]').map(each => each.getAttribute('href')),
    targets: all('[id]').map(each => each.id),
    wide: all('.jp-Cell .jp-RenderedHTMLCommon, .jp-RenderedHTMLCommon *, .jp-OutputArea-output, '
        + '.jp-OutputArea pre, .jp-InputArea pre, .jp-OutputArea img')
        .filter(each => seen(each) && (each.scrollWidth > each.clientWidth + 1
            && getComputedStyle(each).display !== 'inline'
            || each.getBoundingClientRect().right > innerWidth)).map(begin),
    page_width: document.documentElement.scrollWidth - innerWidth,
}
"""
MATH = re.compile(r"\$\$.+?\$\$|(?<![\\$\w])\$(?!\s)[^$\n]+?(?<!\s)\$(?![\d$])", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def render(notebook: Path, folder: Path) -> Path:
    """A notebook as a page that needs nothing from the network; equations stay as they are typed.

    Args:
        notebook: Its file.
        folder: For the page.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(mathjax_url="", require_js_url="", jupyter_widgets_base_url="")
    page = folder / f"{notebook.stem}.html"
    page.write_text(exporter.from_filename(str(notebook))[0], encoding="utf-8")
    return page


def faults(page: Page, notebook: Path, folder: Path) -> list[str]:
    """Whatever keeps a notebook's page from being read well, in words.

    Args:
        page: Shows it.
        notebook: Its file.
        folder: For what is rendered.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    page.open(render(notebook, folder).as_uri())
    seen = page.script(LOOK)
    return [
        *_outputs(cells, seen),
        *_headings(seen["headings"]),
        *_prose(cells, seen),
        *_links(seen, notebook.parent),
        *(f"wider than its place: {begin!r}" for begin in seen["wide"]),
        *(["the page scrolls sideways"] if seen["page_width"] > 0 else []),
    ]


def _outputs(cells: list[dict], seen: dict[str, Any]) -> list[str]:
    """Every picture and table of the notebook is shown, and no error or bare object."""
    found = []
    data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    pictures = sum("image/png" in each for each in data)
    if len(seen["pictures"]) != pictures:
        # where widgets are saved beside pictures, the page asks the network for the widgets
        found.append(
            f"{pictures} pictures are saved, {len(seen['pictures'])} are shown "
            "(explorers: python -m xmr_course.still_notebooks notebooks/*.ipynb)"
        )
    if not all(seen["pictures"]):
        found.append("a picture cannot be shown")
    tables = sum("<table" in "".join(each.get("text/html", "")) for each in data)
    if seen["tables"] != tables:
        found.append(f"{tables} tables are saved, {seen['tables']} are shown")
    for text in seen["printed"]:
        if "Traceback (most recent call last)" in text:
            found.append(f"an error: {text.strip().splitlines()[-1]}")
        if bare := re.search(r"<?\b[\w.]+ (object )?at 0x[0-9a-f]+>?|\b\w*Explorer\(", text):
            found.append(f"an object instead of what it shows: {bare[0]}")
    return found


def _headings(headings: list[tuple[int, str]]) -> list[str]:
    """One title, at the top, and no level left out on the way down."""
    levels = [level for level, _ in headings]
    found = []
    if levels[:1] != [1] or levels.count(1) != 1:
        found.append(f"the title must be the first heading and the only one: {headings[:1]}")
    for (above, _), (level, text) in pairwise(headings):
        if level > above + 1:
            found.append(f"a level is left out above the heading {text!r}")
    return found


def _prose(cells: list[dict], seen: dict[str, Any]) -> list[str]:
    """No Markdown is left over, and equations arrive as they were typed."""
    found = []
    for text in seen["words"]:
        left = re.search(r"\*\*\w|^#+ |\]\(|\|\s*-{3,}", MATH.sub("", text), re.MULTILINE)
        if left:
            found.append(f"Markdown is left over: {text[left.start() :][:40]!r}")
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    page = _squeezed(" ".join(seen["prose"]))
    for source in sources:
        for formula in MATH.findall(CODE.sub("", source)):
            if _squeezed(formula) not in page:
                found.append(f"an equation is garbled: {formula}")
    return found


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _links(seen: dict[str, Any], folder: Path) -> list[str]:
    """Links lead to a heading of the page or to a file that exists; the web is not asked."""
    found = []
    for link in seen["links"]:
        file, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        if file and not (folder / file).exists():
            found.append(f"a link to nothing: {link}")
        if not file and anchor not in seen["targets"]:
            found.append(f"a link to no heading: {link}")
    return found
