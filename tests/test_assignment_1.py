"""Assignment 1, recall@K and protocols: right and wrong solutions get the marks they deserve."""

import numpy as np
import pytest

pytest.importorskip("nbgrader", reason='needs nbgrader: pip install -e ".[teaching]"')

from assignments import harness, wrong_1
from xmr_course.grading.course import assignments_dir, read, source_of

from xmr_lib.evaluation import evaluate_scores

NAME = "1_recall_and_protocols"


@pytest.mark.slow
def test_marks(tmp_path):
    harness.check(NAME, wrong_1.WRONG, tmp_path)


@pytest.mark.parametrize("ties", [False, True])
def test_the_solution_says_what_the_kit_says(ties):
    solved, failed = harness.run(read(source_of(assignments_dir(), NAME)))
    assert not failed
    rng = np.random.default_rng(0)
    owner = rng.permutation(np.repeat(np.arange(30), rng.integers(1, 8, 30)))
    scores = rng.integers(0, 9, (30, len(owner))) if ties else rng.random((30, len(owner)))
    kit = evaluate_scores(scores.astype(float), owner)
    i2t, t2i = solved["ranks_both_ways"](scores, owner, solved["rank"])
    np.testing.assert_allclose(i2t, kit.i2t.expected() + 1)
    np.testing.assert_allclose(t2i, kit.t2i.expected() + 1)
    if not ties:  # under ties the kit counts probabilities, and the median is a place
        ours, theirs = solved["metrics"](i2t, t2i), kit.metrics()
        assert {name: ours[name] for name in ours if "medr" not in name} == pytest.approx(
            {name: theirs[name] for name in ours if "medr" not in name}
        )
