"""Pictures of trees, of their encoder, and of concepts: what is drawn is what was given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Annotation
from PIL import Image
from xmr_course.inside import PLACES, Contributions
from xmr_course.lessons import answer_drawing, lesson_10, lesson_13, lesson_14, tree_drawing

from xmr_lib.errors import DataError
from xmr_lib.figures import BLUE, GREEN, ORANGE, VERMILION
from xmr_lib.language.referral_tree import ReferralTree

WALK = ReferralTree(("dog", None, None, "play with", "ball", None, None))
B = r"$\b$"  # would not be drawn if it were taken for a formula
DOG = f"a dog {B}"
PHOTO = Image.new("RGB", (12, 8), "grey")


def boxes(axes):
    """Text, colour and line of every node, place by place."""
    found = [text for text in axes.texts if text.get_bbox_patch() is not None]
    edges = [text.get_bbox_patch() for text in found]
    return [
        (text.get_text(), to_hex(edge.get_edgecolor()).upper(), edge.get_linestyle())
        for text, edge in zip(found, edges, strict=True)
    ]


def numbers(axes):
    return [t.get_text() for t in axes.texts if isinstance(t, Annotation)]


def test_a_tree_shows_kinds_and_null():
    (axes,) = tree_drawing.plot_tree(WALK, f"A dog plays with a {B}").axes
    found = boxes(axes)
    assert [text for text, _, _ in found] == [
        "dog", "Null", "Null", "play with", "ball", "Null", "Null",
    ]  # fmt: skip
    assert (found[0][1], found[3][1], found[4][1]) == (BLUE, ORANGE, BLUE)
    assert [line == "--" for _, _, line in found] == [node is None for node in WALK.nodes]
    assert numbers(axes) == list("1234567")
    at = [text.get_position() for text in axes.texts if text.get_bbox_patch() is not None]
    assert [x for x, _ in at] == list(range(7))  # in order from left to right
    assert [y for _, y in at] == [0, 1, 0, 2, 0, 1, 0]
    axes.figure.draw_without_rendering()  # "$" is no formula


def test_judged_nodes_have_signs_lines_and_colours():
    right = [True, None, None, False, True, None, None]
    (axes,) = tree_drawing.plot_tree(WALK, right=right).axes
    found = boxes(axes)
    assert found[0] == ("✓ dog", GREEN, "-")
    assert found[3] == ("✗ play with", VERMILION, "--")
    assert found[1][0] == "Null" and found[1][1] not in (GREEN, VERMILION)


def test_a_grid_leaves_no_empty_frame():
    figure = tree_drawing.plot_trees([WALK] * 3, ["one", "two", "three"])
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "three", ""]
    assert not figure.axes[3].axison


def test_predicted_trees_count_judged_nodes_only():
    names = ("dog", "and", "cat", "run in", B, None, "water")
    known = np.array([1, 0, 0, 1, 0, 0, 0], bool)  # "ball" is not in the dictionary
    right = np.array([1, 0, 0, 0, 0, 0, 0], bool)
    figure = tree_drawing.plot_predicted(PHOTO, DOG, WALK, names, names, right, right, known)
    image = next(axes for axes in figure.axes if "VCS" in axes.get_title())
    assert "1 of 2 judged" in image.get_title()
    figure.draw_without_rendering()
    assert [text[:1] for text, _, _ in boxes(image)] == ["✓", "a", "c", "✗", "$", "N", "w"]


def test_the_cell_names_every_equation_and_node():
    tree, cell = tree_drawing.plot_flow("S").axes
    said = " ".join(text.get_text() for text in cell.texts)
    assert all(f"({equation})" in said for equation in range(5, 12))
    assert "\\hat{S}_2" in said and "V" not in said
    inputs = [text for text in numbers(tree) if text]
    assert inputs == [f"$\\hat{{S}}_{place}$" for place in range(1, 8)]
    tree.figure.draw_without_rendering()  # the formulas can be set


def test_coverage_marks_what_is_kept():
    counts, sizes = {"fragments": [1, 6, 3], "relations": [2, 2]}, {"fragments": 2, "relations": 9}
    one, other = lesson_10.plot_coverage(counts, sizes).axes
    assert one.lines[0].get_ydata() == pytest.approx([60, 90, 100])
    assert one.lines[2].get_xydata()[0] == pytest.approx([2, 90])
    assert one.get_title() == "fragments: 2 kept, 90.0 %"
    assert other.get_title() == "relations: there are only 2, 100.0 %"
    with pytest.raises(DataError, match="no fragments to draw"):
        lesson_10.plot_coverage({"fragments": []}, {"fragments": 3})


def test_node_accuracy_draws_the_three_columns():
    frame = pd.DataFrame(
        {"image": range(8), "caption": range(10, 18), "most frequent": range(20, 28)},
        index=[*PLACES, "all"],
    )
    (axes,) = lesson_13.plot_node_accuracy(frame).axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == [*range(7), *range(10, 17), *range(20, 27)]  # without "all"


def test_divergence_and_contributions_draw_what_is_given():
    (axes,) = lesson_13.plot_divergence(np.arange(7), np.arange(7) / 2).axes
    assert [bar.get_height() for bar in axes.patches] == [*range(7), *(np.arange(7) / 2)]
    nodes = np.linspace(-0.1, 0.2, 7)
    found = Contributions(0.5, {"instance": 0.3}, {"instance": 0.4}, nodes, 2 * nodes)
    parts, seven = lesson_14.plot_contributions(found).axes
    assert [bar.get_height() for bar in parts.patches] == [0.3, 0.4]
    assert [bar.get_height() for bar in seven.patches] == pytest.approx([*nodes, *(2 * nodes)])


def test_betas_leave_a_gap_where_a_number_is_missing():
    recalls = {f"printed_{name}": [10.0, 20.0] for name in "abcdef"}
    recalls["printed_f"] = [10.0, np.nan]  # no sum of five
    frame = pd.DataFrame(
        {"method": ["[1, 0, 0]", "[0, 1, 0]"], **recalls, "printed_rsum": [np.nan, np.nan],
         "measured_rsum": [np.nan, 300.0], "sd_rsum": [np.nan, 4.0]},
    )  # fmt: skip
    printed, measured = lesson_13.plot_betas(frame).axes
    np.testing.assert_array_equal(printed.lines[0].get_xydata(), [[60, 1], [np.nan, 0]])
    np.testing.assert_array_equal(measured.lines[0].get_xydata(), [[np.nan, 1], [300, 0]])
    (bars,) = measured.collections
    np.testing.assert_array_equal(bars.get_segments()[1], [[296, 0], [304, 0]])
    assert [label.get_text() for label in printed.get_yticklabels()] == ["[1, 0, 0]", "[0, 1, 0]"]


def test_top3_frames_right_and_wrong_in_both_directions():
    found = {"SMFEA": [(PHOTO, True), (PHOTO, False)], "VSE++": [(PHOTO, False)]}
    figure = answer_drawing.plot_top3(DOG, found)
    signs = [axes.get_title()[-1:] for axes in figure.axes]
    assert signs == ["✓", "✗", "", "✗", "", ""]
    assert [axes.axison for axes in figure.axes] == [bool(sign) for sign in signs]
    lines = [axes.spines["left"].get_linestyle() for axes in figure.axes[:2]]
    assert lines[0] != lines[1]
    figure.draw_without_rendering()
    _, listing = answer_drawing.plot_top3(PHOTO, {"SMFEA": [(DOG, False), ("a cat", True)]}).axes
    said = [text.get_text() for text in listing.texts]
    assert said == ["SMFEA", "1  ✗", DOG, "2  ✓", "a cat"]
    listing.figure.draw_without_rendering()
