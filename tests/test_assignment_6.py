"""Assignment 6, re-ranking: right and wrong solutions get the marks they deserve."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

pytest.importorskip("nbgrader", reason='needs nbgrader: pip install -e ".[teaching]"')

from assignments import harness, wrong_6
from xmr_course.grading.course import assignments_dir, id_of, read, source_of, unmarked

from xmr_lib import evaluation, reranking

NAME = "6_reranking"
SOURCE = read(source_of(assignments_dir(), NAME))
RELEASE = read(assignments_dir() / "release" / NAME / f"{NAME}.ipynb")


@pytest.fixture(scope="module")
def solved():
    names, failed = harness.run(SOURCE)
    assert not failed
    return names


@pytest.mark.slow
def test_marks(tmp_path):
    harness.check(NAME, wrong_6.WRONG, tmp_path)


@pytest.mark.parametrize("wrong", wrong_6.MORE, ids=lambda wrong: wrong.name)
def test_more_mistakes_lose_their_points(wrong):
    harness.check_without_kernel(SOURCE, RELEASE, wrong, frozenset({"experiment"}))


def test_six_points_are_for_a_person_to_give():
    marks = unmarked(SOURCE)
    assert {name for name, mark in marks.items() if mark.by_hand} == {"report", "verdict", "plan"}
    assert sum(mark.of for mark in marks.values() if mark.by_hand) == 6
    assert sum(mark.of for mark in marks.values()) == 20


@pytest.mark.parametrize("settings", [(20, 6, 0.3), (5, 2, 0.8), (1, 1, 0.0), (150, 9, 0.3)])
def test_the_solution_says_what_the_kit_says(solved, settings):
    images, captions = solved["images"], solved["captions"]
    ours = solved["rerank"](images, captions, *settings)
    kit = reranking.rerank(*map(torch.tensor, (images, captions)), reranking.Settings(*settings))
    right = kit.distances("captions").numpy()
    if settings[0] > 1:  # bags of few words tie, and rounding breaks ties in its own way
        changed = ~np.isclose(ours, right, atol=1e-6)
        assert changed.mean() < 0.02, changed.mean()
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 8)), rng.normal(size=(70, 8))  # no ties here
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    kit = reranking.rerank(torch.tensor(a), torch.tensor(b), reranking.Settings(*settings))
    ours = solved["rerank"](a, b, *settings)
    np.testing.assert_allclose(ours, kit.distances("captions").numpy(), atol=1e-8)


def test_plain_search_is_the_kits(solved):
    images, captions, owner = solved["images"], solved["captions"], solved["owner"]
    distances = solved["squared_distances"](captions, images)
    kit = evaluation.evaluate_scores(torch.tensor(-distances.T), owner).t2i
    np.testing.assert_array_equal(solved["hits"](distances, owner), kit.expected() == 0)


def test_the_model_report_says_what_the_model_experiment_printed(capsys):
    harness.run(SOURCE)
    printed = capsys.readouterr().out
    (report,) = ["".join(cell["source"]) for cell in SOURCE["cells"] if id_of(cell) == "report"]
    rows = re.findall(
        r"^(\d+ / \d+ / [\d.]+) +(small|large)† +([\d.]+) +(\d+) +(\d+)$", printed, re.M
    )
    plain = re.search(r"plain R@1 ([\d.]+)$", printed, re.M)[1]
    changed = re.findall(r"another first answer in large company: (\d+)$", printed, re.M)
    assert len(rows) == 6 and len(changed) == 3
    for small, large, moved in zip(rows[::2], rows[1::2], changed, strict=True):
        line = f"| {small[0]} | {plain} | {small[2]} | {large[2]} | {small[3]} / {small[4]} "
        assert f"{line}| {large[3]} / {large[4]} | {moved} |" in report
