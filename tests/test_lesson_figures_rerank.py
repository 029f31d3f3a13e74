import numpy as np
import pytest
from PIL import Image
from xmr_course.lessons import answer_drawing, lesson_07, neighbour_drawing

from xmr_lib.significance import Comparison

POINTS = np.array([[0.0, 0.0], [1.0, 0.0], [1.5, 0.0], [1.6, 1.0]])
INDEX = np.array([[0, 1], [1, 2], [2, 1], [3, 2]])  # of the nearest, only 1 and 2 are mutual


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "scene.png"
    Image.new("RGB", (8, 6), "red").save(path)
    return path


def test_mutual_and_one_sided_neighbours_are_told_apart():
    figure = neighbour_drawing.plot_neighbourhoods(POINTS, 1, INDEX, [0, 1])
    assert [axes.get_title() for axes in figure.axes] == [
        "A: nearest 1\nmutual –",
        "1: nearest 2\nmutual 2",
    ]
    arrows = [
        [text.arrow_patch for text in axes.texts if getattr(text, "arrow_patch", None)]
        for axes in figure.axes
    ]
    assert [[arrow.get_linestyle() for arrow in each] for each in arrows] == [["--"], ["-"]]


def test_sets_name_their_members():
    axes = neighbour_drawing.plot_sets(POINTS, 2, 3, {"R": [3, 0], "R*": {3, 0, 2}}).axes
    assert [each.get_title() for each in axes] == ["R\nA 2", "R*\nA 1 2"]
    filled = [line.get_markerfacecolor() != "white" for line in axes[0].lines]
    assert filled == [True, False, False, True]
    assert [text.get_weight() for text in axes[0].texts] == ["normal"] * 3 + ["bold"]


def test_company_says_who_stands_where():
    owner = np.array([0, 0, 1])  # two images, items 2, 3 (of the first) and 4
    index = np.array([[0, 2, 4], [1, 0, 4], [2, 3, 0], [3, 2, 4], [4, 2, 0]])
    found = lesson_07.company(index, 2, owner)
    of_image, of_caption = found["Neighbours of an image"], found["Neighbours of a caption"]
    assert {kind: share.tolist() for kind, share in of_image.items()} == {
        "its own caption": [0.5, 0.5],
        "another caption": [0.0, 0.5],
        "another image": [0.5, 0.0],
    }
    thirds = {kind: (3 * share).round().tolist() for kind, share in of_caption.items()}
    assert thirds == {
        "its own image": [0, 1],
        "caption of the same image": [2, 0],
        "another caption": [1, 1],
        "another image": [0, 1],
    }
    one, other = lesson_07.plot_company(found).axes
    for axes, n_kinds in ((one, 3), (other, 4)):
        assert len(axes.patches) == 2 * n_kinds
        assert max(bar.get_y() + bar.get_height() for bar in axes.patches) == pytest.approx(1)

    def colours(axes):
        handles, labels = axes.get_legend_handles_labels()
        return {
            label: bar.patches[0].get_facecolor()
            for bar, label in zip(handles, labels, strict=True)
        }

    for kind in ("another caption", "another image"):
        assert colours(one)[kind] == colours(other)[kind]


def test_curves_that_fall_far_are_cut_off_and_named():
    curves = {"up": {"a": [101, 102], "b": [3.4, 100]}, "down": {"a": [90, 100], "b": [95, 100]}}
    up, down = lesson_07.plot_lambdas(curves, (0, 1), {"up": 100, "down": 100}).axes
    assert up.get_ylim()[0] == 100 - lesson_07.FALL
    assert "below:\nb: 3 at λ = 0" in [text.get_text() for text in up.texts]
    assert [text.get_text() for text in down.texts] == ["not re-ranked"]


def test_noise_is_hollow():
    found = {
        "better $x$": Comparison("rsum", 2.0, 1.0, 3.0),
        "either": Comparison("rsum", 1.0, -1.0, 3.0),
    }
    axes = lesson_07.plot_differences(found, "points").axes[0]
    assert [text.get_text() for text in axes.texts] == ["+2.0 real", "+1.0 noise"]
    hollow = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"]
    assert hollow == [lesson_07.BLUE, "white"]


def answers(query, shown, places=(2.0, 1.0)):
    before = [answer_drawing.Answer(0, shown, False, 1), answer_drawing.Answer(1, shown, True, 2)]
    after = [answer_drawing.Answer(1, shown, True, 2), answer_drawing.Answer(0, shown, False, 1)]
    return answer_drawing.Answers(query, before, after, places)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_answers_of_an_image_and_of_a_caption(picture):
    figure = answer_drawing.plot_answers(
        {"gain": answers(picture, "a $5 dog"), "loss": answers("a red scene", picture)}
    )
    captions, images = figure.subfigs
    assert captions.get_suptitle() == "gain  –  best right answer: place 2 before, 1 after"
    assert "a red scene" in images.get_suptitle()
    assert texts(captions)[:4] == ["1. ✗", "a $5 dog", "2. ✓", "a $5 dog"]
    assert texts(captions)[4:7] == ["1. ✓", "was 2", "a $5 dog"]
    assert [axes.get_title() for axes in images.axes] == [
        "1. ✗", "2. ✓", "1. ✓ (was 2)", "2. ✗ (was 1)",
    ]  # fmt: skip


def test_explorer_names_recalls_before_and_after(picture):
    figure = answer_drawing.plot_explorer(
        answers(picture, "a dog"), {"R@1": (10.0, 20.0)}, "k1 = 3"
    )
    assert texts(figure)[:2] == ["10.0", "20.0"]
    assert figure.subfigs[0].get_suptitle() == "k1 = 3"
