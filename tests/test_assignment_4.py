"""Assignment 4 is graded honestly: solved, untouched, and wrong in eight plausible ways."""

from __future__ import annotations

import pytest

pytest.importorskip("nbgrader", reason='needs nbgrader: pip install -e ".[teaching]"')

from assignments.harness import check
from assignments.wrong_4 import WRONG


@pytest.mark.slow
def test_marks(tmp_path):
    check("4_cross_attention", WRONG, tmp_path)
