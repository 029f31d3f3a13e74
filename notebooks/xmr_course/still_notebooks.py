"""Explorers in saved notebooks as pictures: `python -m xmr_course.still_notebooks NOTEBOOKS`.

An explorer is saved as a widget and as a picture. A page made of the notebook takes the widget, and
fetches it from the network; a JupyterLab that has not run it says "model not found". Without the
widget both show the picture.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

VIEW = "application/vnd.jupyter.widget-view+json"


def keep_pictures(notebook: dict[str, Any]) -> int:
    """Takes the widget out of every output that has a picture, too.

    Progress bars have none and stay. The state of all widgets goes with the last of them.

    Args:
        notebook: What a notebook's JSON says; it is changed.

    Returns:
        How many outputs were changed.

    >>> output = {"data": {VIEW: {"model_id": "1"}, "image/png": "…"}}
    >>> notebook = {"cells": [{"outputs": [output]}], "metadata": {"widgets": {}}}
    >>> keep_pictures(notebook), output, notebook["metadata"]
    (1, {'data': {'image/png': '…'}}, {})
    """
    outputs = [o.get("data", {}) for cell in notebook["cells"] for o in cell.get("outputs", [])]
    changed = [data for data in outputs if VIEW in data and "image/png" in data]
    for data in changed:
        del data[VIEW]
    if not any(VIEW in data for data in outputs):
        notebook["metadata"].pop("widgets", None)
    return len(changed)


def main(files: list[str]) -> None:
    """Rewrites those notebooks that hold an explorer."""
    for file in map(Path, files):
        notebook = json.loads(file.read_text(encoding="utf-8"))
        if keep_pictures(notebook):
            text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            file.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
