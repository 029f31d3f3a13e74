"""Assignment 4, cross-attention: right and wrong solutions get the marks they deserve."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("nbgrader", reason='needs nbgrader: pip install -e ".[teaching]"')

from assignments import harness, wrong_4
from xmr_course.grading.course import assignments_dir, read, source_of

from xmr_lib.cross_attention import CrossAttention, cross_attention_scores
from xmr_lib.similarity import Parts

NAME = "4_cross_attention"
SOURCE = read(source_of(assignments_dir(), NAME))
RELEASE = read(assignments_dir() / "release" / NAME / f"{NAME}.ipynb")


@pytest.mark.slow
def test_marks(tmp_path):
    harness.check(NAME, wrong_4.WRONG, tmp_path)


@pytest.mark.parametrize("wrong", wrong_4.MORE, ids=lambda wrong: wrong.name)
def test_more_mistakes_lose_their_points(wrong):
    harness.check_without_kernel(SOURCE, RELEASE, wrong)


@pytest.mark.parametrize("direction", ["t-i", "i-t"])
@pytest.mark.parametrize("how", ["AVG", "LSE"])
def test_the_solution_says_what_the_kit_says(direction, how):
    solved, failed = harness.run(SOURCE)
    assert not failed
    k, l = torch.tensor([7, 1, 4, 36]), torch.tensor([12, 3, 1, 5, 20])  # noqa: E741
    regions, region_mask = solved["made"](0, k.tolist(), 16)
    words, word_mask = solved["made"](1, l.tolist(), 16, unit=False)
    found = solved["scan_scores"](regions, region_mask, words, word_mask, direction, how, 4.0, 5.0)
    right = cross_attention_scores(
        Parts.from_padded(regions, k),
        Parts.from_padded(words, l),
        CrossAttention(direction, how, 4.0, 5.0),
    )
    torch.testing.assert_close(found, right, atol=1e-7, rtol=0)
