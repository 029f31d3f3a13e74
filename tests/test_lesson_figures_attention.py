import numpy as np
import pytest
from PIL import Image
from xmr_course.lessons import drawing, lesson_08, region_drawing

BOXES = np.array([[0.1, 0.2, 0.4, 0.6], [0.0, 0.0, 1.0, 1.0]], dtype=np.float32)
WORDS = ["<start>", "a", "$dog", "<end>"]
WEIGHTS = np.array([[0.5, 0.5], [0.2, 0.8], [0.95, 0.05], [1.0, 0.0]])


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)  # not square
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_spotlight_is_bright_where_the_weight_is():
    dark = np.zeros((10, 20, 3), dtype=np.uint8)
    lit = region_drawing.spotlight(dark, [[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]], [0.8, 0.2])
    assert lit[:, :10] == pytest.approx(0)  # 0.8 + 0.2: in full strength, black
    assert lit[:, 10:] == pytest.approx(1 - (0.25 + 0.75 * 0.2))
    assert region_drawing.spotlight(dark, BOXES, [0, 0]) == pytest.approx(0.75)


def test_every_word_has_a_panel_with_its_largest_weight(picture):
    figure = region_drawing.plot_word_attention(picture, BOXES, WORDS, WEIGHTS, columns=3)
    assert titles(figure) == ["<start>  0.50", "a  0.80", "$dog  0.95", "<end>  1.00"]
    assert len(figure.axes) == 6 and not figure.axes[5].axison
    widths = [[patch.get_linewidth() for patch in axes.patches] for axes in figure.axes[:4]]
    assert all(len(each) == 2 for each in widths)
    assert widths[2][0] > 4 * widths[2][1]
    figure.draw_without_rendering()  # "$dog" is no formula


def test_boxes_lie_where_the_shares_say(picture):
    figure = region_drawing.plot_word_attention(picture, BOXES, ["a"], WEIGHTS[:1])
    box, whole = figure.axes[0].patches
    assert box.get_bbox().bounds == pytest.approx((5.5, 7.5, 18, 16))  # 60 × 40 pixels
    assert whole.get_bbox().bounds == pytest.approx((0.5, 0.5, 58, 38))  # seen inside the frame


def test_regions_are_numbered_and_named(picture):
    figure = region_drawing.plot_regions(picture, BOXES, ["a $dog", "whole"], "“A $dog.”")
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["1", "2", "1   a $dog", "2   whole", "“A $dog.”"]
    figure.draw_without_rendering()


def test_tables_hold_their_numbers():
    figure = lesson_08.plot_tables(
        {"one": WEIGHTS.T, "two": [0.1, -0.2, 0.3, 0.0]}, ["dog", "whole"], WORDS
    )
    one, two = figure.axes
    assert [text.get_text() for text in one.texts][:4] == ["0.50", "0.20", "0.95", "1.00"]
    assert [text.get_text() for text in two.texts] == ["0.10", "−0.20", "0.30", "0.00"]
    assert [text.get_text() for text in one.get_yticklabels()] == ["dog", "whole"]
    assert [text.get_text() for text in two.get_xticklabels()] == WORDS
    lesson_08.plot_tables({"nothing": np.zeros((2, 4))}, ["dog", "whole"], WORDS)


def test_lambdas_show_bars_and_curves():
    left, right = lesson_08.plot_lambdas(
        {1: [0.5, 0.5], 9: [0.9, 0.1]},
        ["dog", "whole"],
        "$a",
        {"LSE": [2.0, 1.0], "MAX": 0.9},
        [1, 6],
    ).axes
    assert [bar.get_height() for bar in left.patches] == [0.5, 0.5, 0.9, 0.1]
    assert [line.get_ydata().tolist() for line in right.lines] == [[2.0, 1.0], [0.9, 0.9]]


def test_bars_have_numbers_and_a_line_for_chance():
    panels = {
        "one": {"a": [1.0, 2.0], "b": [3.0, 4.0]},
        "two": {"a": [50.0, 60.0], "b": [7.0, 8.0]},
    }
    one, two = drawing.plot_bars(panels, ["x", "y"], "%", {"two": 50}).axes
    assert [text.get_text() for text in one.texts] == ["1", "2", "3", "4"]
    assert "guessing" in [text.get_text() for text in two.texts]
    assert one.get_ylim() == two.get_ylim()
    one, two = drawing.plot_bars(panels, ["x", "y"], "").axes
    assert one.get_ylim() != two.get_ylim()


@pytest.mark.parametrize("chosen", [{}, {"word": 2}, {"region": 0}])
def test_explorer_outlines_what_is_chosen(picture, chosen):
    figure = region_drawing.plot_explorer(picture, BOXES, WORDS, WEIGHTS, title="$SCAN", **chosen)
    left, right = figure.axes
    assert len(left.patches) == 2
    outlines = [patch.get_bbox().bounds for patch in right.patches]
    assert (
        outlines
        == {
            "word": [(-0.5, 1.5, 2, 1)],
            "region": [(-0.5, -0.5, 1, 4)],
            "": [],
        }[next(iter(chosen), "")]
    )
    bold = [t.get_text() for t in right.get_yticklabels() if t.get_fontweight() == "bold"]
    assert bold == (["$dog", "<end>"] if "region" in chosen else [])
    figure.draw_without_rendering()
