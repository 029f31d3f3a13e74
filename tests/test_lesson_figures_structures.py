import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Circle
from PIL import Image
from xmr_course.lessons import drawing, lesson_09, lesson_11, region_drawing, tree_drawing


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (60, 40), "grey").save(tmp_path / "picture.png")  # not square
    return tmp_path / "picture.png"


def test_boxes_lie_where_the_shares_say(picture):
    few, many = [[0.1, 0.2, 0.4, 0.6], [0.0, 0.0, 1.0, 1.0]], np.tile([0.0, 0.0, 0.5, 0.5], (9, 1))
    figure = region_drawing.plot_region_kinds({"two": (picture, few), "nine": (picture, many)})
    assert [axes.get_title() for axes in figure.axes] == ["two", "nine"]
    first, second = figure.axes[0].patches
    assert first.get_bbox().bounds == pytest.approx((5.5, 7.5, 18, 16))  # 60 × 40 pixels
    assert first.get_linestyle() != second.get_linestyle()
    assert len({patch.get_linestyle() for patch in figure.axes[1].patches}) == 1
    figure.draw_without_rendering()


def test_plane_shows_mean_and_attended():
    regions, weights = [[0.0, 2.0], [4.0, 0.0]], [0.25, 0.75]
    (axes,) = lesson_09.plot_plane({"one": regions}, {"one": weights}, ["$a", "b"]).axes
    mean, attended = (line.get_xydata()[0].tolist() for line in axes.lines)
    assert mean == [2, 1] and attended == [3, 0.5]
    said = [text.get_text() for text in axes.texts if text.get_text()]
    assert said == ["$a  0.25", "b  0.75"]
    axes.figure.draw_without_rendering()  # "$a" is no formula


def test_temperature_draws_weights_median_and_gradient():
    scales, weights = [0.1, 1.0], [[0.5, 0.5], [0.9, 0.1]]
    effective, gradients = [[2.0, 3.0, 7.0], [1.0, 1.0, 4.0]], [0.5, 0.1]
    figure = lesson_09.plot_temperature(
        scales, weights, ["a", "b"], effective, gradients, {"as is": 1}
    )
    left, middle, right = figure.axes
    assert [line.get_ydata().tolist() for line in left.lines[:2]] == [[0.5, 0.9], [0.5, 0.1]]
    assert middle.lines[0].get_ydata().tolist() == [3.0, 1.0]
    assert right.lines[0].get_ydata().tolist() == gradients
    assert all(axes.lines[-1].get_xdata()[0] == 1 for axes in figure.axes)


def test_shares_are_medians_over_items():
    shares = {"regions": [[0.9, 1.0, 0.2], [0.1, 0.3, 0.2]], "words": [[1.0], [0.5]]}
    figure = drawing.plot_shares_by_size([1.0, 10.0], shares, {"printed": 3.0}, "size", "share")
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines[:2]] == [[0.9, 0.2], [1.0, 0.5]]
    assert axes.lines[2].get_xdata()[0] == 3
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["regions", "words", "printed"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("size", "share")


def test_hearing_marks_who_moved_and_who_was_changed():
    moved = np.eye(7)
    moved[0, 1] = 0.5  # input of 1 changed: 2 moves half as much
    figure = tree_drawing.plot_hearing({"tree": 2 * moved, "chain": moved})
    assert len(figure.axes) == 14
    assert figure.axes[0].get_title() == "input of 1 changed"
    for axes in (figure.axes[0], figure.axes[7]):
        circles = [patch for patch in axes.patches if isinstance(patch, Circle)]
        assert len(circles) == 7
        thick = [circle.get_linewidth() > 2 for circle in circles]
        assert thick == [True] + [False] * 6
        white = [to_hex(circle.get_facecolor()) == "#ffffff" for circle in circles]
        assert white == [False, False] + [True] * 5
        assert [t.get_text() for t in axes.texts[:4]] == ["1", "1", ".50", "2"]
    heights = [sorted({round(c.center[1], 1) for c in axes.patches}) for axes in figure.axes[6:8]]
    assert heights == [[0, 1.5, 3], [0]]  # three layers, one row
    tree_drawing.plot_hearing({"tree": np.zeros((7, 7))}).draw_without_rendering()  # nothing moved


def test_arrows_end_where_the_sum_does():
    shares = np.random.default_rng(0).normal(size=(7, 2))
    shares[3] = 0  # a node may put nothing in
    bias = np.array([0.5, -0.5])
    figure = lesson_11.plot_head_to_tail(shares, bias, shares.sum(0) + bias)
    (axes,) = figure.axes
    arrows = [text for text in axes.texts if not text.get_text()]
    assert len(arrows) == 7
    assert arrows[-1].xy == pytest.approx(tuple(shares.sum(0) + bias))
    assert arrows[1].xyann == pytest.approx(arrows[0].xy)  # head to tail
    assert [text.get_text() for text in axes.texts if text.get_text()] == list("1234567")
    figure.draw_without_rendering()
