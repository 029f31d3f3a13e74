"""The solutions that notebooks hide behind "Solution", to be held against their own checks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def _cells(notebook: str, kind: str) -> list[str]:
    (path,) = NOTEBOOKS.glob(f"{notebook}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def solution(notebook: str, name: str) -> Callable:
    """The function of that name in a collapsed solution of the notebook with that number."""
    for text in _cells(notebook, "markdown"):
        if "<summary>" not in text:
            continue
        for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            if re.search(rf"^def {name}\(", code, flags=re.MULTILINE):
                found: dict = {}
                exec(code, found)  # with its own imports, as a student would paste it
                return found[name]
    raise AssertionError(f"notebook {notebook} has no solution {name}")


def stub(notebook: str, name: str) -> Callable:
    """The unsolved function of that name in a code cell of the notebook."""
    for code in _cells(notebook, "code"):
        if re.search(rf"^def {name}\(", code, flags=re.MULTILINE):
            found: dict = {}
            exec("from __future__ import annotations\n" + code, found)
            return found[name]
    raise AssertionError(f"notebook {notebook} has no stub {name}")
