"""Checks of notebook 16 accept right solutions and explain wrong ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed
from xmr_course.checks import growth as check

CASES = {"index_bytes": 3, "recall_of_search": 5, "queries_needed": 3}


@pytest.mark.parametrize("name", CASES)
def test_the_notebooks_solution_passes_and_its_stub_does_not(name, capsys):
    getattr(check, name)(solution("16", name))
    assert f"✓ {name}: all {CASES[name]} checks passed." in capsys.readouterr().out
    with pytest.raises(CheckFailed, match="is not written yet"):
        getattr(check, name)(stub("16", name))


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda n, d, m: 4 * n * d, "vectors alone"),
        (lambda n, d, m: n * (4 * d + 4 * m), "2 · M"),
        (lambda n, d, m: n * (4 * d + 2 * m), "four bytes, too"),
        (lambda n, d, m: 4 * n * d + 8 * m, "links of its own"),
        (lambda n, d, m: n * (d + 2 * m), "not bytes"),
        (lambda n, d, m: 2 * n * (4 * d + 8 * m), "not eight"),
        (lambda n, d, m: n * (4 * d + 8 * m) / 1e9, "not gigabytes"),
        (lambda n, d, m: 0, "that n times"),
        (lambda n, d, m: [n, d], "one number"),
    ],
)
def test_wrong_bytes_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.index_bytes(wrong)


def by_rows(found, exact):
    return [len(np.intersect1d(f, e)) for f, e in zip(found, exact, strict=True)]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda f, e: (f == e).mean(), "as sets"),
        (lambda f, e: np.isin(f, e).mean(), "row by row"),
        (lambda f, e: np.mean([n > 0 for n in by_rows(f, e)]), "each of the k"),
        (lambda f, e: (f[:, 0] == e[:, 0]).mean(), "first place"),
        (lambda f, e: sum(by_rows(f, e)) / (f >= 0).sum(), "has not found the rest"),
        (lambda f, e: 100 * np.mean(by_rows(f, e)) / e.shape[1], "percent"),
        (lambda f, e: np.mean(by_rows(f, e)), "divide by k"),
        (lambda f, e: 1.0, "in both rows"),
        (lambda f, e: np.array(by_rows(f, e)) / e.shape[1], "one number"),
    ],
)
def test_wrong_recalls_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.recall_of_search(wrong)


def test_the_union_is_explained():
    def union(found, exact):
        pairs = zip(found.tolist(), exact.tolist(), strict=True)
        return np.mean([len(set(f) & set(e)) / len(set(f) | set(e)) for f, e in pairs])

    with pytest.raises(CheckFailed, match="not by the union"):
        check.recall_of_search(union)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda r, m: int(1.96**2 * r * (1 - r) / m**2), "Round up"),
        (lambda r, m: math.ceil(1.96 * math.sqrt(r * (1 - r)) / m), "square root"),
        (lambda r, m: math.ceil(r * (1 - r) / m**2), "1.96 of a 95 % interval is missing"),
        (lambda r, m: math.ceil(1.96 * r * (1 - r) / m**2), "squared with the rest"),
        (lambda r, m: math.ceil((2 * 1.96) ** 2 * r * (1 - r) / m**2), "either side"),
        (lambda r, m: math.ceil(1.96**2 / 4 / m**2), "worst case"),
        (lambda r, m: 1.96**2 * r * (1 - r) / m**2, "Queries come whole"),
        (lambda r, m: 1000, "Solve"),
    ],
)
def test_wrong_numbers_of_queries_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.queries_needed(wrong)
