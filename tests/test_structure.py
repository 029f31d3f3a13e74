"""The shape of the code: imports flow one way, and files are short enough to be read."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PROJECT = Path(__file__).parents[1]
FOLDERS = {"xmr_lib": PROJECT, "xmr_course": PROJECT / "notebooks"}
MODULES = {
    ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file
    for package, root in FOLDERS.items()
    for file in sorted((root / package).rglob("*.py"))
}


def imported(module: str) -> set[str]:
    """Modules of the kit that are loaded when `module` is."""
    found = set()
    for line in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        if isinstance(line, ast.ImportFrom) and line.module:
            names = {f"{line.module}.{alias.name}" for alias in line.names}
            found |= {name if name in MODULES else line.module for name in names}
        elif isinstance(line, ast.Import):
            found |= {alias.name for alias in line.names}
    return (found & set(MODULES)) - {module}


def test_no_circle_of_imports():
    TopologicalSorter({module: imported(module) for module in MODULES}).prepare()


def test_the_library_never_names_the_course():
    for module, file in MODULES.items():
        if module.startswith("xmr_lib"):
            assert "xmr_course" not in file.read_text(encoding="utf-8"), file


def test_no_file_is_longer_than_400_lines():
    long = {
        module: lines
        for module, file in MODULES.items()
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
