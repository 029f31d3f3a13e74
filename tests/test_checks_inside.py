"""Checks of notebook 14 accept right solutions and explain wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed
from xmr_course.checks import inside as check


@pytest.mark.parametrize("name", ["node_accuracy", "shares_of_cosine"])
def test_the_notebooks_solution_passes_and_its_stub_does_not(name, capsys):
    getattr(check, name)(solution("14", name))
    assert f"✓ {name}: all 3 checks passed." in capsys.readouterr().out
    with pytest.raises(CheckFailed, match="is not written yet"):
        getattr(check, name)(stub("14", name))


def per_place(truth, predicted):
    shares = [
        (truth[:, i] == predicted[:, i])[truth[:, i] >= 0].mean()
        for i in range(7)
        if (truth[:, i] >= 0).any()
    ]
    return np.mean(shares)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda t, p: (t == p).mean(), "Null places count here"),
        (lambda t, p: ((t == p) & (t >= 0)).sum() / t.size, "below the line"),
        (per_place, "rare places"),
        (lambda t, p: 100 * ((t == p) & (t >= 0)).sum() / (t >= 0).sum(), "not percent"),
        (lambda t, p: 0.0, "Count where"),
        (lambda t, p: np.zeros(7), "one number"),
    ],
)
def test_wrong_accuracies_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.node_accuracy(wrong)


norm = np.linalg.norm


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x, y: x @ y / (norm(x, axis=1) * norm(y)), "own cosines"),
        (lambda x, y: x @ y, "both lengths"),
        (lambda x, y: x @ y / norm(y), "length of the sum"),
        (lambda x, y: x @ y / (x @ y).sum(), "not to 1"),
        (lambda x, y: np.zeros(len(x)), "parts @ other"),
    ],
)
def test_wrong_shares_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.shares_of_cosine(wrong)
