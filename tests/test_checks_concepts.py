"""Checks of notebook 12 accept right solutions and explain wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed
from xmr_course.checks import concepts as check


@pytest.mark.parametrize("name", ["neighbours", "mixed_attention"])
def test_the_notebooks_solution_passes_and_its_stub_does_not(name, capsys):
    getattr(check, name)(solution("12", name))
    assert f"✓ {name}: all 4 checks passed." in capsys.readouterr().out
    with pytest.raises(CheckFailed, match="is not written yet"):
        getattr(check, name)(stub("12", name))


def stretched(p, s, u):
    return s ** (p - u) - s ** (-u)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda c, t, s, u, x: stretched(t / c, s, u) >= x, r"divide row i"),
        (lambda c, t, s, u, x: t / c[:, None] >= x, "stretched"),
        (lambda c, t, s, u, x: s ** (t / c[:, None] - u) >= x, "must stay at 0"),
        (lambda c, t, s, u, x: stretched(t / t.sum(1)[:, None], s, u) >= x, "not by the sum"),
        (lambda c, t, s, u, x: np.ones(3), "one row and one column"),
        (lambda c, t, s, u, x: np.zeros((len(c), len(c))), "P\\[i, j\\]"),
    ],
)
def test_wrong_neighbours_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.neighbours(wrong)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x, y, r: (1 - r) * (10 * y).softmax(1) + r * x, "ratio is the share"),
        (lambda x, y, r: r * y.softmax(1) + (1 - r) * x, "sharpened by 10"),
        (lambda x, y, r: r * (10 * y).softmax(0) + (1 - r) * x, "last dimension"),
        (lambda x, y, r: r * y + (1 - r) * x, "no weights yet"),
        (lambda x, y, r: torch.zeros_like(x), "softmax over the concepts"),
    ],
)
def test_wrong_attention_is_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.mixed_attention(wrong)
