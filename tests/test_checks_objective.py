"""Checks of notebook 13 accept right solutions and explain wrong ones."""

from __future__ import annotations

import pytest
import torch
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed
from xmr_course.checks import objective as check

from xmr_lib.similarity import l2norm


@pytest.mark.parametrize("name", ["fused_vectors", "tree_divergence"])
def test_the_notebooks_solution_passes_and_its_stub_does_not(name, capsys):
    getattr(check, name)(solution("13", name))
    assert f"✓ {name}: all 4 checks passed." in capsys.readouterr().out
    with pytest.raises(CheckFailed, match="is not written yet"):
        getattr(check, name)(stub("13", name))


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda d, t, c, b: b[0] * d + b[1] * t + b[2] * c, "drowns the others"),
        (lambda d, t, c, b: l2norm(b[0] * d + b[1] * t + b[2] * c), "before the sum"),
        (lambda d, t, c, b: b[0] * l2norm(d) + b[1] * l2norm(c) + b[2] * l2norm(t), "d, t, c"),
        (
            lambda d, t, c, b: torch.cat([b[0] * l2norm(d), b[1] * l2norm(t), b[2] * l2norm(c)], 1),
            "added up",
        ),
        (lambda d, t, c, b: torch.zeros_like(d), "beta_d"),
        (lambda d, t, c, b: "no", "Return a tensor"),
    ],
)
def test_wrong_fusions_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.fused_vectors(wrong)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda i, c: (c.exp() * (c - i)).sum(), "direction"),
        (lambda i, c: (i.exp() * (i - c)).sum(1).mean(), "no mean"),
        (lambda i, c: (i * (i - c)).sum(), "probabilities"),
        (lambda i, c: -(i.exp() * c).sum(), "cross-entropy"),
        (lambda i, c: torch.tensor(7.0), "Sum over places"),
    ],
)
def test_wrong_divergences_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.tree_divergence(wrong)
