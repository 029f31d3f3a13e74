"""Checks of notebook 15 accept right solutions and explain wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed
from xmr_course.checks import own_photos as check


@pytest.mark.parametrize("name", ["leaking_share", "gain_per_doubling"])
def test_the_notebooks_solution_passes_and_its_stub_does_not(name, capsys):
    getattr(check, name)(solution("15", name))
    assert f"✓ {name}: all 3 checks passed." in capsys.readouterr().out
    with pytest.raises(CheckFailed, match="is not written yet"):
        getattr(check, name)(stub("15", name))


def leaking(events, splits):
    learnt = {e for e, s in zip(events, splits, strict=True) if s == "train"}
    return [e in learnt and s == "test" for e, s in zip(events, splits, strict=True)]


def shared_events(events, splits):
    learnt, asked = (
        {e for e, s in zip(events, splits, strict=True) if s == name} for name in ("train", "test")
    )
    return len(learnt & asked) / len(asked)


def val_as_well(events, splits):
    return sum(leaking(events, [s.replace("val", "train") for s in splits])) / splits.count("test")


def training_photos(events, splits):
    asked = {e for e, s in zip(events, splits, strict=True) if s == "test"}
    learnt = [e for e, s in zip(events, splits, strict=True) if s == "train"]
    return sum(e in asked for e in learnt) / len(learnt)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda e, s: sum(leaking(e, s)) / len(s), "not of all photos"),
        (shared_events, "counts events"),
        (val_as_well, "Only training counts"),
        (training_photos, "share of training photos"),
        (lambda e, s: 100 * sum(leaking(e, s)) / s.count("test"), "not percent"),
        (lambda e, s: 0.5, "Of the photos with split"),
        (leaking, "one number"),
    ],
)
def test_wrong_shares_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.leaking_share(wrong)


def line(x, y):
    return np.polyfit(x, y, 1)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda n, r: line(n, r)[0], "one more image"),
        (lambda n, r: line(np.log(n), r)[0], "2.7 times"),
        (lambda n, r: line(np.log10(n), r)[0], "ten times"),
        (lambda n, r: line(np.log2(n), r)[1], "where the line begins"),
        (lambda n, r: (r[-1] - r[0]) / np.log2(n[-1] / n[0]), "first and the last"),
        (lambda n, r: np.mean(r[1:] - r[:-1]), "not all doublings"),
        (lambda n, r: r[-1] - r[-2], "polyfit"),
        (lambda n, r: line(np.log2(n), r), "one number"),
    ],
)
def test_wrong_gains_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.gain_per_doubling(wrong)
