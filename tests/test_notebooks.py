"""What nbval cannot see: notebooks are executed, whole lessons, and name no machine's paths."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def cells(path: Path, kind: str) -> list[dict]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def text(path: Path, kind: str) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(path, kind))


def test_numbers_are_those_of_the_design():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{i:02d}" for i in range(len(NOTEBOOKS))]
    assert len(NOTEBOOKS) >= 7


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_was_executed_in_order_without_error(path):
    code = [cell for cell in cells(path, "code") if "".join(cell["source"]).strip()]
    # nbval passes a notebook whose outputs were cleared
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert any("image/png" in o.get("data", {}) for o in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_a_whole_lesson(path):
    prose = text(path, "markdown").lower()
    for part in ("open points", "recap", "exercise", "solution", "minutes"):
        assert part in prose, f"{path.name} has no {part!r}"
    assert re.search(r"you will|learn|goals", prose), f"{path.name} names no goals"
    assert "lesson.check_" in text(path, "code"), f"{path.name} checks no exercise"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_name_no_folder_of_a_machine(path):
    printed = json.dumps(
        [
            output.get("text")
            or {k: v for k, v in output.get("data", {}).items() if "png" not in k}
            for cell in cells(path, "code")
            for output in cell["outputs"]
        ]
    )
    found = re.findall(r"(?:/home/|/root/|/tmp/|/work/|/Users/|C:\\\\)\S*", printed)
    assert not found, f"{path.name}: {found[:3]}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_captions_are_never_counted_by_fives(path):
    assert "i // 5" not in text(path, "code")
