"""The playground of the triplet loss, driven by its controls as a hand would."""

import numpy as np
import pytest
from xmr_course.explorers.margin import CircleBatch, in_words, margin_playground, plot_batch

from xmr_lib.errors import DataError
from xmr_lib.losses import plateau

# Two pairs: images at 0° and 90°; caption 1 lies 60° from its image, caption 2 at its image.
HAND = np.array([[0.0, 90.0], [60.0, 90.0]])
COS60, COS30 = 0.5, 3**0.5 / 2


def slowly(batch):
    """Hinges by eqs. 7 and 8, read aloud: (image, caption) sides × anchors × wrong partners."""
    n, cos = len(batch), lambda a, b: np.cos(np.deg2rad(a - b))
    hinges = np.zeros((2, n, n))
    for side in (0, 1):
        for anchor in range(n):
            own = cos(batch.angles[side, anchor], batch.angles[1 - side, anchor])
            for other in range(n):
                if other != anchor:
                    wrong = cos(batch.angles[side, anchor], batch.angles[1 - side, other])
                    hinges[side, anchor, other] = max(0, batch.margin - own + wrong)
    return hinges


def test_two_pairs_by_hand():
    batch = CircleBatch(HAND, margin=0.2)
    np.testing.assert_allclose(batch.scores, [[COS60, 0], [COS30, 1]], atol=1e-12)
    # image 1: 0.2 − 0.5 + 0 < 0; image 2: 0.2 − 1 + 0.866; caption 1: 0.2 − 0.5 + 0.866; caption 2
    np.testing.assert_allclose(
        batch.loss_of_anchors("hardest"), [[0, COS30 - 0.8], [COS30 - 0.3, 0]], atol=1e-12
    )
    assert batch.hardest().tolist() == [[1, 0], [1, 0]]
    assert batch.worst() == (1, 0)
    assert in_words(batch, 1, 0) == (
        "●1: its image 0.50, its hardest negative ■2 0.87, hinge [0.20 − 0.50 + 0.87]₊ = 0.57"
    )


@pytest.mark.parametrize("pairs", [2, 3, 6])
@pytest.mark.parametrize("margin", [0, 0.2, 1])
def test_losses_are_those_of_the_equations(pairs, margin):
    batch = CircleBatch.spread(pairs, margin)
    expected = slowly(batch)
    for kind, of_anchor in (("hardest", expected.max(2)), ("all", expected.sum(2))):
        np.testing.assert_allclose(batch.loss_of_anchors(kind), of_anchor, atol=1e-12)
        assert batch.loss(kind) == pytest.approx(of_anchor.sum())


@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_the_slope_is_that_of_small_differences(negatives):
    batch = CircleBatch.spread(5, 0.3)
    batch.negatives = negatives
    for place in ((0, 1), (1, 0), (1, 4)):
        ends = []
        for shift in (-1e-4, 1e-4):
            other = CircleBatch(batch.angles.copy(), 0.3)
            other.angles[place] += shift
            ends.append(other.loss(negatives))
        slope = (ends[1] - ends[0]) / np.deg2rad(2e-4)
        assert batch.gradient()[place] == pytest.approx(slope, abs=1e-6)
    before = batch.loss(negatives)
    batch.step()
    assert batch.loss(negatives) < before and np.abs(batch.angles).max() <= 180


def test_a_collapsed_batch_is_on_the_plateau_and_stays_there():
    batch = CircleBatch.spread(5, 0.2)
    batch.collapse()
    assert batch.loss("hardest") == pytest.approx(plateau(5, 0.2)) == pytest.approx(2.0)
    assert batch.loss("all") == pytest.approx(2.0 * 4)  # every anchor has four wrong partners
    batch.step()
    assert batch.loss("hardest") == pytest.approx(2.0)


def test_the_first_batch_tells_hardest_from_all():
    batch = margin_playground().batch
    assert 0 < batch.loss("hardest") < 0.9 * batch.loss("all")


def test_turning_the_controls_changes_the_picture():
    play = margin_playground()
    pictures = [bytes(play.picture_box.value)]
    play.margin.value = 0.5
    pictures.append(bytes(play.picture_box.value))
    assert play.batch.margin == 0.5
    play.point.value = (0, 2)
    pictures.append(bytes(play.picture_box.value))
    assert play.angle.value == round(play.batch.angles[0, 2])
    others = np.delete(play.batch.angles.ravel(), 2)
    play.angle.value = -90
    pictures.append(bytes(play.picture_box.value))
    assert play.batch.angles[0, 2] == -90
    np.testing.assert_array_equal(np.delete(play.batch.angles.ravel(), 2), others)
    play.negatives.value = "all"
    pictures.append(bytes(play.picture_box.value))
    assert len(set(pictures)) == 5 and all(each.startswith(b"\x89PNG") for each in pictures)


def test_looking_at_another_point_moves_none():
    play = margin_playground()
    play.take_step.click()  # angles are no whole degrees any more
    moved = play.batch.angles.copy()
    for point in ((0, 0), (1, 3)):
        play.point.value = point
    play.margin.value = 0.6
    np.testing.assert_array_equal(play.batch.angles, moved)


def test_buttons_step_collapse_and_reset():
    play = margin_playground(0.2, pairs=3)
    first, loss = play.batch.angles.copy(), play.batch.loss("hardest")
    for _ in range(12):
        play.take_step.click()
    assert play.batch.loss("hardest") < loss
    play.collapse.click()
    assert play.angle.value == 90 and play.batch.loss("hardest") == pytest.approx(1.2)
    play.reset.click()
    np.testing.assert_array_equal(play.batch.angles, first)


def test_bars_are_the_losses():
    batch = CircleBatch.spread(3, 0.4)
    _, table, bars = plot_batch(batch, 1, 2).axes
    heights = np.array([bar.get_height() for bar in bars.patches]).reshape(2, 2, 3)
    np.testing.assert_allclose(heights[0], batch.loss_of_anchors("all"))
    np.testing.assert_allclose(heights[1], batch.loss_of_anchors("hardest"))
    assert f"{batch.loss('hardest'):.2f} together" in bars.get_legend().texts[2].get_text()
    assert "2.40 together" in bars.get_legend().texts[0].get_text()
    assert len(table.texts) == 9 and len(table.patches) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.2, 1), "One pair alone"), ((0.2, 7), "give 2 to 6"), ((1.5, 3), "between 0 and 1")],
)
def test_wrong_arguments_are_told(arguments, message):
    with pytest.raises(DataError, match=message):
        margin_playground(*arguments)
