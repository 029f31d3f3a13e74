"""README, make targets and citation say what is true."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from xmr_course.tables import paper

from xmr_lib import recipes

PROJECT = Path(__file__).parents[1]
PAGES = {
    page: (PROJECT / page).read_text(encoding="utf-8")
    for page in (
        "README.md",
        "xmr_lib/README.md",
        "figures/README.md",
        "notebooks/assignments/TEACHERS.md",
    )
}
README, MAP = PAGES["README.md"], PAGES["xmr_lib/README.md"]
ALL = "\n".join(PAGES.values())


def section(title: str) -> str:
    return re.split(r"\n##+ ", MAP.split(f"## {title}\n", 1)[1])[0]


def resolve(name: str):
    """`losses.triplet_loss` -> the function, in the library, the course or the benchmarks."""
    parts = name.split(".")
    for package in ("xmr_lib", "xmr_course", ""):
        for end in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(filter(None, [package, *parts[:end]])))
            except ModuleNotFoundError:
                continue
            for attribute in parts[end:]:
                found = getattr(found, attribute)
            return found
    raise AssertionError(f"The map names {name}, which does not exist")


PAPER_MAP = section("RFE") + section("SMFEA")
NAMES_IN_MAP = sorted(set(re.findall(r"`([\w.]+)`", PAPER_MAP)))


@pytest.mark.parametrize("name", NAMES_IN_MAP)
def test_paper_map_names_what_exists(name):
    assert resolve(name) is not None


def test_paper_map_is_complete():
    """All equations, tables and figures: RFE 10, X, 6; SMFEA 20, 7, 7."""

    def numbers(part: str, kind: str) -> set[int]:
        found = set()
        for row in re.findall(rf"^\| {kind} ([^|]+) \|", part, flags=re.MULTILINE):
            for piece in row.split(", "):
                first, _, last = piece.partition("–")
                first, last = (
                    paper.ROMAN.index(x) if x in paper.ROMAN else int(x)
                    for x in (first, last or first)
                )
                found |= set(range(first, last + 1))
        return found

    for title, equations, tables, figures in (("RFE", 10, 10, 6), ("SMFEA", 20, 7, 7)):
        part = section(title)
        assert numbers(part, "eqs?\\.?") == set(range(1, equations + 1))
        assert numbers(part, "Tables?") == set(range(1, tables + 1))
        assert numbers(part, "Figs?\\.?") == set(range(1, figures + 1))


def test_recipe_table_names_all_recipes():
    named = set(re.findall(r"`([^`]+)`", section("Recipes")))
    for name in named:
        if name.startswith(("VSE", "Order", "RFE", "SCAN", "avg-")) and "<" not in name:
            recipes.compose(name)
    margins = {name for name in recipes.names() if "mg=" in name}
    assert set(recipes.names()) - margins <= named
    assert {"avg-4-GRU-emb-avg mg=0.1", "mg=0.6"} <= named


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_and_pictures_exist(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)]+)\)", PAGES[page])
    folder = (PROJECT / page).parent
    assert not [t for t in targets if not (folder / t.partition("#")[0]).exists()]


def test_the_readme_is_short():
    assert len(README.encode()) <= 10_000


def test_files_that_the_map_names_exist():
    for name in re.findall(r"`([a-z_/]+\.py|[a-z_]+/)`", MAP.split("## Paper map")[0]):
        assert (PROJECT / "xmr_lib" / name).exists(), name


def test_public_names_are_complete_in_an_editor():
    """Static names, the lazy ones and `dir` say the same; each has a docstring of its own."""
    import ast

    import xmr_lib

    tree = ast.parse((PROJECT / "xmr_lib" / "__init__.py").read_text(encoding="utf-8"))
    static = {
        alias.asname or alias.name
        for block in tree.body
        if isinstance(block, ast.If)
        for line in block.body
        for alias in line.names
    }
    assert static == set(xmr_lib.__all__) <= set(dir(xmr_lib))
    for name in static:
        assert getattr(xmr_lib, name).__doc__


def test_make_targets_that_the_readme_names_exist():
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"(?:`|\n)make ([a-z]+)\b", ALL)) <= targets
    assert {"demo", "test", "lab", "notebooks", "bench"} <= targets


def test_commands_that_the_readme_names_exist():
    import xmr_course.__main__ as course

    from xmr_lib.commands import COMMANDS

    assert set(re.findall(r"python -m xmr_lib ([a-z-]+)", ALL)) <= set(COMMANDS)
    assert set(re.findall(r"python -m xmr_course ([a-z-]+)", ALL)) <= set(course.COMMANDS)


def test_extras_are_those_of_pyproject():
    """The same extras are installed by make, conda and pip users."""
    wanted = "notebooks,tests,offline-backbone"
    for name in ("Makefile", "environment.yml", "README.md"):
        assert wanted in (PROJECT / name).read_text(encoding="utf-8"), name
    listed = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in wanted.split(","):
        assert re.search(rf"^{extra} = \[", listed, flags=re.MULTILINE)
