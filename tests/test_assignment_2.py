"""Assignment 2, the hardest negative: right and wrong solutions get the marks they deserve."""

import pytest
import torch

pytest.importorskip("nbgrader", reason='needs nbgrader: pip install -e ".[teaching]"')

from assignments import harness, wrong_2
from xmr_course.grading.course import assignments_dir, read, source_of

from xmr_lib import losses

NAME = "2_hardest_negative"


@pytest.mark.slow
def test_marks(tmp_path):
    harness.check(NAME, wrong_2.WRONG, tmp_path)


def test_the_solution_says_what_the_kit_says():
    solved, failed = harness.run(read(source_of(assignments_dir(), NAME)))
    assert not failed
    generator = torch.Generator().manual_seed(0)
    images = torch.tensor([3, 1, 3, 7, 9, 1])
    scores = torch.rand(6, 6, generator=generator) * 2 - 1
    same = images[:, None] == images[None, :]
    for ours, options in (
        (solved["all_negatives"](scores, 0.3), {"negatives": "all"}),
        (solved["hardest_negative"](scores, 0.3), {}),
        (solved["hardest_of_other_images"](scores, images, 0.3), {"same_image": same}),
    ):
        torch.testing.assert_close(
            ours, tuple(losses.triplet_loss(scores, 0.3, **options).values())
        )
    assert solved["plateau"](128, 0.2, "hardest") == losses.plateau(128, 0.2)
