"""Pictures of the lessons: what is drawn is what was given, and words are never taken for formulas.

`B` and words with "$" would not be drawn if they were taken for a formula.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Circle
from matplotlib.text import Annotation
from PIL import Image
from xmr_course.inside import PLACES, Contributions
from xmr_course.lessons import (
    answer_drawing,
    drawing,
    lesson_01,
    lesson_02,
    lesson_03,
    lesson_04,
    lesson_05,
    lesson_06,
    lesson_07,
    lesson_08,
    lesson_09,
    lesson_10,
    lesson_11,
    lesson_12,
    lesson_13,
    lesson_14,
    lesson_16,
    neighbour_drawing,
    region_drawing,
    tree_drawing,
)

from xmr_lib import recipes
from xmr_lib.errors import DataError
from xmr_lib.evaluation import evaluate_scores
from xmr_lib.figures import BLUE, GREEN, ORANGE, VERMILION
from xmr_lib.language.referral_tree import ReferralTree
from xmr_lib.stats.significance import Comparison

B = r"$\b$"
PHOTO = Image.new("RGB", (60, 40), "grey")  # not square
BOXES = np.array([[0.1, 0.2, 0.4, 0.6], [0.0, 0.0, 1.0, 1.0]], dtype=np.float32)
WORDS = ["<start>", "a", "$dog", "<end>"]
WEIGHTS = np.array([[0.5, 0.5], [0.2, 0.8], [0.95, 0.05], [1.0, 0.0]])
MAPS = [torch.rand(3, size, size, generator=torch.Generator().manual_seed(size)) for size in (8, 4)]
WALK = ReferralTree(("dog", None, None, "play with", "ball", None, None))


@pytest.fixture
def picture(tmp_path):
    PHOTO.save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture(autouse=True)
def no_figure_of_pyplot():
    """A notebook would show it a second time."""
    yield
    assert not plt.get_fignums()


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def texts(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def lines(axes, n):
    return [line.get_ydata().tolist() for line in axes.lines[:n]]


def bars(axes):
    return [bar.get_height() for container in axes.containers for bar in container]


# --- shared ---------------------------------------------------------------------------------------


def test_lines_end_where_their_values_do():
    _, axes = drawing.panels(4, 3)
    drawing.draw_lines(axes, [1, 2, 4], {"a": [3.0, np.nan, 5.0], "short": [1.0], "level": 2})
    assert axes.lines[0].get_xydata().tolist() == [[1, 3], [4, 5]]
    assert lines(axes, 3)[1:] == [[1], [2, 2, 2]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "short", "level"]


def test_bars_have_numbers_hatches_and_a_line_for_chance():
    given = {"one": {"a": [1.0, 2.0], "b": [3.0, 4.0]}, "two": {"a": [50.0, np.nan], "b": [7, 8.0]}}
    figure = drawing.plot_bars(given, ["x", B], "%", {"two": 50})
    one, two = figure.axes
    assert bars(one) == [1, 2, 3, 4] and texts(one) == ["1", "2", "3", "4"]
    assert [bars.patches[0].get_hatch() for bars in one.containers] == ["", "///"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert "guessing" in texts(two) and "guessing" not in texts(one)
    assert one.get_ylim() == two.get_ylim()
    one, two = drawing.plot_bars(given, ["x", "y"], "").axes
    assert one.get_ylim() != two.get_ylim()
    figure.draw_without_rendering()


def test_scores_frame_the_right_pairs():
    figure = drawing.plot_scores(np.eye(2, 3), [0, 1, 1], {"hardest": {(0, 2)}})
    axes = figure.axes[0]
    assert texts(axes) == ["1.00", "0.00", "0.00", "0.00", "1.00", "0.00"]
    assert [frame.get_xy() for frame in axes.patches] == [(0, 0), (1, 1), (2, 1)]
    (x,), (y,) = axes.lines[0].get_data()
    assert 2 < x < 3 and 0 < y < 1


def test_shares_fill_the_bar_to_its_end():
    axes = drawing.plot_shares({"a": [0.5, 0.5], "b": [0.99, 0.01]}, ["one", "two"]).axes[0]
    assert max(bar.get_x() + bar.get_width() for bar in axes.patches) == pytest.approx(1)
    assert texts(axes) == ["50%", "99%", "50%"]  # 1 % is too narrow for its number


def test_cosines_say_mean_and_deviation():
    given = {"raw": torch.tensor([0.5, 0.6]), "std": [-0.001, 0.0]}
    axes = drawing.plot_cosines(given, "cosine").axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["raw: mean 0.55, s.d. 0.05", "std: mean 0.00, s.d. 0.00"]


def test_shares_by_size_are_medians_over_items():
    shares = {"regions": [[0.9, 1.0, 0.2], [0.1, 0.3, 0.2]], "words": [[1.0], [0.5]]}
    figure = drawing.plot_shares_by_size([1.0, 10.0], shares, {"printed": 3.0}, "size", "share")
    (axes,), (legend,) = figure.axes, figure.legends
    assert lines(axes, 2) == [[0.9, 0.2], [1.0, 0.5]]
    assert axes.lines[-1].get_xdata()[0] == 3
    assert [text.get_text() for text in legend.get_texts()] == ["regions", "words", "printed"]


# --- lessons 01 to 06 -----------------------------------------------------------------------------


def test_embedding_space_keeps_distances_of_a_plane():
    """Points that lie in a plane of 16 dimensions are drawn with their true distances."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(16, 2)))
    images, captions = rng.normal(size=(4, 2)), rng.normal(size=(8, 2))
    spaces = {
        "plane": (images @ basis.T, captions @ basis.T),
        "collapsed": (np.ones((4, 3)), np.ones((8, 3))),
    }
    figure = lesson_02.plot_embedding_space(spaces, np.repeat(np.arange(4), 2), highlight=[1])
    axes = figure.axes[0]
    assert "100% of the variance" in axes.get_xlabel()
    squares = np.array([line.get_xydata()[0] for line in axes.lines if line.get_marker() == "s"])
    drawn = np.linalg.norm(squares[0] - squares[3])
    assert drawn == pytest.approx(np.linalg.norm(images[0] - images[3]))
    figure.draw_without_rendering()


def test_recall_curves_and_protocols():
    found = evaluate_scores(np.eye(4), np.arange(4))
    axes = lesson_01.plot_recalls({"model": found, "chance": found}, largest_k=12).axes[1]
    assert lines(axes, 2) == [[100.0] * 12] * 2
    axes = lesson_01.plot_protocols({"1K": [40, 42], "5K": [20]}, "R@1").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [41, 20]
    assert texts(axes) == ["   mean 41.0", "   mean 20.0"] and ticks(axes.yaxis) == ["1K", "5K"]


def test_places_of_maxima_are_x_then_y_in_parts_of_the_picture():
    maps = torch.zeros(2, 4, 8)
    maps[0, 3, 1] = 5.0  # row 3 of 4, column 1 of 8
    maps[1, 0, 7] = 1.0
    expected = torch.tensor([[1.5 / 8, 3.5 / 4], [7.5 / 8, 0.5 / 4]])
    torch.testing.assert_close(lesson_03.argmax_places(maps), expected)


def test_maps_show_both_pools_and_silent_channels_have_no_place():
    figure = lesson_03.plot_channel_maps(PHOTO, MAPS, [[0, 2], [1, 1]])
    third = MAPS[0][2]
    assert titles(figure)[1] == f"channel 2\nmax {third.max():.2f}  avg {third.mean():.2f}"
    lesson_03.plot_channel_maps(PHOTO, [torch.zeros(1, 4, 4)], [[0]])  # a flat map
    silent = [torch.cat([each, torch.zeros_like(each)]) for each in MAPS]
    figure = lesson_03.plot_argmax_places(PHOTO, silent, [(1, 2, 20, 30)])
    assert [title.split(",")[0] for title in titles(figure)] == ["C1: 3 channels", "C2: 3 channels"]


def test_loss_leaves_out_epochs_on_all_negatives():
    history = pd.DataFrame(
        {"loss": [900.0, 5.0, 4.0], "rsum": [1.0, 2.0, 3.0], "negatives": ["all"] + ["hardest"] * 2}
    )
    recall, loss = lesson_03.plot_histories({"one": history, "two": history}, plateau=51.2).axes
    assert recall.lines[0].get_xydata().tolist() == [[1, 1], [2, 2], [3, 3]]
    assert loss.lines[0].get_xydata().tolist() == [[2, 5], [3, 4]]


def test_padding_is_named_in_the_table_of_tokens():
    words = [["<start>", "$5", "<end>"], ["<start>", "<end>"]]
    axes = lesson_04.plot_token_batch(words, [[1, 4, 2], [1, 2, 0]]).axes[0]
    said = "<start> 1 $5 4 <end> 2 <start> 1 <end> 2 <pad> 0"
    assert texts(axes) == said.split()


def test_backward_states_are_compared_with_the_first():
    states = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    figure = lesson_04.plot_states(["a", "b", "c"], {"forward": states, "backward": states}, 2)
    assert ticks(figure.axes[0].xaxis) == ["a\n0.71", "b\n0.71", "c\n1.00"]
    assert ticks(figure.axes[1].xaxis) == ["a\n1.00", "b\n0.00", "c\n0.71"]


def test_words_of_a_sentence_are_no_formulas():
    lesson_04.plot_leave_one_out(["a", B], {"RFE": [0.1, 0.2]}).draw_without_rendering()
    figure = lesson_04.plot_word_order([(f"a {B}", f"{B} a")], {"one": [1.0], "two": [0.5]})
    assert ticks(figure.axes[0].yaxis) == [f"a {B}\n{B} a"]
    figure.draw_without_rendering()


def test_schedules_are_those_of_the_recipes():
    shown = {"a": recipes.get("RFE"), "b": recipes.get("RFE", "toy")}
    drawn = lesson_05.plot_schedules(shown).axes[0].lines
    for line, recipe in zip(drawn, shown.values(), strict=False):
        rates = [recipe.training.lr_at(epoch) for epoch in range(recipe.training.epochs)]
        np.testing.assert_allclose(line.get_xydata(), [*enumerate(rates, start=1)])


@pytest.mark.parametrize("deviation", [np.nan, 2.0])
def test_margins_have_axes_of_one_height(deviation):
    frame = pd.DataFrame(
        {
            "method": ["mg=0.1", "mg=0.2", "mg=0.6"],
            "printed_rsum": [400.5, 422.8, 400.9],
            "measured_rsum": [300.0, 310.0, 311.0],
            "sd_rsum": deviation,
        }
    )
    left, right = lesson_05.plot_margins(frame).axes
    assert np.ptp(right.get_ylim()) == pytest.approx(np.ptp(left.get_ylim()))
    assert np.ptp(left.get_ylim()) > 22.3
    assert ticks(left.xaxis) == ["0.1", "0.2", "0.6"]


def test_stage_gradients_tell_the_network_from_the_rest():
    axes = lesson_05.plot_stage_gradients({"CNN: C1": 1.5, "text": 0.4}).axes[0]
    assert ticks(axes.yaxis) == ["CNN: C1", "text"]
    colours = [to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
    assert colours == [ORANGE, BLUE] and [bar.get_width() for bar in axes.patches] == [1.5, 0.4]


def test_differences_say_their_interval():
    values = np.linspace(-1, 3, 1001)
    figure = lesson_06.plot_differences({"paired": values, "apart": 2 * values}, observed=1.0)
    assert "between -0.9 and +2.9" in titles(figure)[0]


@pytest.mark.parametrize("spread", [None, 1.5])
def test_ladder_lives_with_rows_not_measured(spread):
    steps = pd.DataFrame({"printed": [3.1, -1.0], "measured": [2.0, np.nan]}, index=["a", B])
    figure = lesson_06.plot_ladder(steps, spread)
    axes = figure.axes[0]
    widths = [bar.get_width() for container in axes.containers for bar in container]
    assert [width for width in widths if not np.isnan(width)] == [3.1, -1.0, 2.0]
    assert ticks(axes.yaxis) == ["a", B]
    figure.draw_without_rendering()


# --- lesson 07 ------------------------------------------------------------------------------------

POINTS = np.array([[0.0, 0.0], [1.0, 0.0], [1.5, 0.0], [1.6, 1.0]])
INDEX = np.array([[0, 1], [1, 2], [2, 1], [3, 2]])  # of the nearest, only 1 and 2 are mutual


def test_mutual_and_one_sided_neighbours_are_told_apart():
    figure = neighbour_drawing.plot_neighbourhoods(POINTS, 1, INDEX, [0, 1])
    assert titles(figure) == ["A: nearest 1\nmutual –", "1: nearest 2\nmutual 2"]
    arrows = [
        [text.arrow_patch.get_linestyle() for text in axes.texts if isinstance(text, Annotation)]
        for axes in figure.axes
    ]
    assert arrows == [["--"], ["-"]]


def test_sets_name_their_members():
    axes = neighbour_drawing.plot_sets(POINTS, 2, 3, {"R": [3, 0], "R*": {3, 0, 2}}).axes
    assert [each.get_title() for each in axes] == ["R\nA 2", "R*\nA 1 2"]
    filled = [line.get_markerfacecolor() != "white" for line in axes[0].lines]
    assert filled == [True, False, False, True]
    assert [text.get_weight() for text in axes[0].texts] == ["normal"] * 3 + ["bold"]


def test_company_says_who_stands_where():
    index = np.array([[0, 2, 4], [1, 0, 4], [2, 3, 0], [3, 2, 4], [4, 2, 0]])
    found = lesson_07.company(index, 2, np.array([0, 0, 1]))  # items 2 and 3 are of image 0
    assert {kind: share.tolist() for kind, share in found["Neighbours of an image"].items()} == {
        "its own caption": [0.5, 0.5],
        "another caption": [0.0, 0.5],
        "another image": [0.5, 0.0],
    }
    of_caption = found["Neighbours of a caption"]
    assert {kind: (3 * share).round().tolist() for kind, share in of_caption.items()} == {
        "its own image": [0, 1],
        "caption of the same image": [2, 0],
        "another caption": [1, 1],
        "another image": [0, 1],
    }
    looks = []
    for axes, kinds in zip(lesson_07.plot_company(found).axes, found.values(), strict=True):
        assert len(axes.patches) == 2 * len(kinds)
        assert max(bar.get_y() + bar.get_height() for bar in axes.patches) == pytest.approx(1)
        looks.append({c.get_label(): c.patches[0].get_facecolor() for c in axes.containers})
    for kind in ("another caption", "another image"):
        assert looks[0][kind] == looks[1][kind]


def test_curves_that_fall_far_are_cut_off_and_named():
    curves = {"up": {"a": [101, 102], "b": [3.4, 100]}, "down": {"a": [90, 100], "b": [95, 100]}}
    up, down = lesson_07.plot_lambdas(curves, (0, 1), {"up": 100, "down": 100}).axes
    assert up.get_ylim()[0] == 100 - lesson_07.FALL
    assert "below:\nb: 3 at λ = 0" in texts(up) and texts(down) == ["not re-ranked"]


def test_noise_is_hollow():
    found = {
        "better $x$": Comparison("rsum", 2.0, 1.0, 3.0),
        "either": Comparison("rsum", 1.0, -1.0, 3.0),
    }
    axes = lesson_07.plot_differences(found, "points").axes[0]
    assert texts(axes) == ["+2.0 real", "+1.0 noise"]
    hollow = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"]
    assert hollow == [BLUE, "white"]


def answers(query, shown):
    before = [
        answer_drawing.Answer(0, shown, False, 1),
        answer_drawing.Answer(1, shown, True, 2),
    ]
    return answer_drawing.Answers(query, before, before[::-1], (2.0, 1.0))


def test_answers_of_an_image_and_of_a_caption(picture):
    given = {"gain": answers(picture, "a $5 dog"), "loss": answers("a red scene", picture)}
    captions, images = answer_drawing.plot_answers(given).subfigs
    assert captions.get_suptitle() == "gain  –  best right answer: place 2 before, 1 after"
    assert "a red scene" in images.get_suptitle()
    said = [text for axes in captions.axes for text in texts(axes)]
    assert said[:4] == ["1. ✗", "a $5 dog", "2. ✓", "a $5 dog"]
    assert said[4:7] == ["1. ✓", "was 2", "a $5 dog"]
    assert titles(images) == ["1. ✗", "2. ✓", "1. ✓ (was 2)", "2. ✗ (was 1)"]
    figure = answer_drawing.plot_explorer(given["gain"], {"R@1": (10.0, 20.0)}, "k1 = 3")
    assert texts(figure.axes[0]) == ["10.0", "20.0"]
    assert figure.subfigs[0].get_suptitle() == "k1 = 3"


def test_top3_frames_right_and_wrong_in_both_directions():
    found = {"SMFEA": [(PHOTO, True), (PHOTO, False)], "VSE++": [(PHOTO, False)]}
    figure = answer_drawing.plot_top3(f"a dog {B}", found)
    signs = [axes.get_title()[-1:] for axes in figure.axes]
    assert signs == ["✓", "✗", "", "✗", "", ""]
    assert [axes.axison for axes in figure.axes] == [bool(sign) for sign in signs]
    frames = [axes.spines["left"].get_linestyle() for axes in figure.axes[:2]]
    assert frames[0] != frames[1]
    figure.draw_without_rendering()
    _, listing = answer_drawing.plot_top3(PHOTO, {"SMFEA": [(B, False), ("a cat", True)]}).axes
    assert texts(listing) == ["SMFEA", "1  ✗", B, "2  ✓", "a cat"]
    listing.figure.draw_without_rendering()


# --- regions: lessons 08 and 09 -------------------------------------------------------------------


def test_spotlight_is_bright_where_the_weight_is():
    dark = np.zeros((10, 20, 3), dtype=np.uint8)
    lit = region_drawing.spotlight(dark, [[0, 0, 0.5, 1], [0, 0, 1, 1]], [0.8, 0.2])
    assert lit[:, :10] == pytest.approx(0)  # 0.8 + 0.2: in full strength, black
    assert lit[:, 10:] == pytest.approx(1 - (0.25 + 0.75 * 0.2))


def test_every_word_has_a_panel_with_its_boxes(picture):
    figure = region_drawing.plot_word_attention(picture, BOXES, WORDS, WEIGHTS, columns=3)
    assert titles(figure) == ["<start>  0.50", "a  0.80", "$dog  0.95", "<end>  1.00"]
    assert len(figure.axes) == 6 and not figure.axes[5].axison
    box, whole = figure.axes[2].patches
    assert box.get_linewidth() > 4 * whole.get_linewidth()
    assert box.get_bbox().bounds == pytest.approx((5.5, 7.5, 18, 16))  # 60 × 40 pixels
    assert whole.get_bbox().bounds == pytest.approx((0.5, 0.5, 58, 38))  # seen inside the frame
    figure.draw_without_rendering()


def test_regions_are_numbered_named_and_told_apart(picture):
    figure = region_drawing.plot_regions(picture, BOXES, ["a $dog", "whole"], "“A $dog.”")
    said = [text for axes in figure.axes for text in texts(axes)]
    assert said == ["1", "2", "1   a $dog", "2   whole", "“A $dog.”"]
    figure.draw_without_rendering()
    many = np.tile([0.0, 0.0, 0.5, 0.5], (9, 1))
    figure = region_drawing.plot_region_kinds({"two": (picture, BOXES), "nine": (picture, many)})
    two, nine = ({box.get_linestyle() for box in axes.patches} for axes in figure.axes)
    assert titles(figure) == ["two", "nine"] and len(two) == 2 and len(nine) == 1


@pytest.mark.parametrize("chosen", [{}, {"word": 2}, {"region": 0}])
def test_explorer_outlines_what_is_chosen(picture, chosen):
    figure = region_drawing.plot_explorer(picture, BOXES, WORDS, WEIGHTS, title="$SCAN", **chosen)
    left, right = figure.axes
    assert len(left.patches) == 2
    outlines = {"word": [(0, 2, 2, 1)], "region": [(0, 0, 1, 4)], "": []}
    drawn = [patch.get_bbox().bounds for patch in right.patches]
    assert drawn == outlines[next(iter(chosen), "")]
    bold = [t.get_text() for t in right.get_yticklabels() if t.get_fontweight() == "bold"]
    assert bold == (["$dog", "<end>"] if "region" in chosen else [])
    figure.draw_without_rendering()


def test_tables_hold_their_numbers():
    figure = lesson_08.plot_tables(
        {"one": WEIGHTS.T, "two": [0.1, -0.2, 0.3, 0.0]}, ["dog", "whole"], WORDS
    )
    one, two = figure.axes
    assert texts(one)[:4] == ["0.50", "0.20", "0.95", "1.00"]
    assert texts(two) == ["0.10", "−0.20", "0.30", "0.00"]
    assert ticks(one.yaxis) == ["dog", "whole"] and ticks(two.xaxis) == WORDS
    lesson_08.plot_tables({"nothing": np.zeros((2, 4))}, ["dog", "whole"], WORDS)


def test_lambdas_show_bars_and_curves():
    attention, pooled = {1: [0.5, 0.5], 9: [0.9, 0.1]}, {"LSE": [2.0, 1.0], "MAX": 0.9}
    left, right = lesson_08.plot_lambdas(attention, ["dog", "all"], "$a", pooled, [1, 6]).axes
    assert bars(left) == [0.5, 0.5, 0.9, 0.1]
    assert lines(right, 2) == [[2.0, 1.0], [0.9, 0.9]]


def test_plane_shows_mean_and_attended():
    regions, weights = [[0.0, 2.0], [4.0, 0.0]], [0.25, 0.75]
    (axes,) = lesson_09.plot_plane({"case": regions}, {"case": weights}, ["$a", "b"]).axes
    assert [line.get_xydata()[0].tolist() for line in axes.lines] == [[2, 1], [3, 0.5]]
    assert texts(axes) == ["$a  0.25", "b  0.75"]
    axes.figure.draw_without_rendering()


def test_temperature_draws_weights_median_and_gradient():
    effective, gradients = [[2.0, 3.0, 7.0], [1.0, 1.0, 4.0]], [0.5, 0.1]
    figure = lesson_09.plot_temperature(
        [0.1, 1.0], [[0.5, 0.5], [0.9, 0.1]], ["a", "b"], effective, gradients, {"as is": 1}
    )
    left, middle, right = figure.axes
    assert lines(left, 2) == [[0.5, 0.9], [0.5, 0.1]]
    assert lines(middle, 1) == [[3.0, 1.0]] and lines(right, 1) == [gradients]
    assert all(axes.lines[-1].get_xdata()[0] == 1 for axes in figure.axes)


# --- trees and concepts: lessons 10 to 14 ---------------------------------------------------------


def boxes(axes):
    """Text, colour and line of every node, place by place."""
    found = [(text, text.get_bbox_patch()) for text in axes.texts if text.get_bbox_patch()]
    return [
        (text.get_text(), to_hex(edge.get_edgecolor()).upper(), edge.get_linestyle())
        for text, edge in found
    ]


def test_a_tree_shows_kinds_and_null():
    (axes,) = tree_drawing.plot_tree(WALK, f"A dog plays with a {B}").axes
    found = boxes(axes)
    assert [text for text, _, _ in found] == [node or "Null" for node in WALK.nodes]
    assert (found[0][1], found[3][1], found[4][1]) == (BLUE, ORANGE, BLUE)
    assert [line == "--" for _, _, line in found] == [node is None for node in WALK.nodes]
    at = [text.get_position() for text in axes.texts if text.get_bbox_patch()]
    assert at == [(0, 0), (1, 1), (2, 0), (3, 2), (4, 0), (5, 1), (6, 0)]
    axes.figure.draw_without_rendering()


def test_judged_nodes_have_signs_lines_and_colours():
    right = [True, None, None, False, True, None, None]
    found = boxes(tree_drawing.plot_tree(WALK, right=right).axes[0])
    assert found[0] == ("✓ dog", GREEN, "-") and found[3] == ("✗ play with", VERMILION, "--")
    assert found[1][0] == "Null" and found[1][1] not in (GREEN, VERMILION)


def test_several_trees_and_predicted_ones():
    figure = tree_drawing.plot_trees([WALK] * 3, ["one", "two", "three"])
    assert titles(figure) == ["one", "two", "three"] and not figure.axes[3].axison
    names = ("dog", "and", "cat", "run in", B, None, "water")
    known = np.array([1, 0, 0, 1, 0, 0, 0], bool)  # "ball" is not in the dictionary
    right = np.array([1, 0, 0, 0, 0, 0, 0], bool)
    figure = tree_drawing.plot_predicted(PHOTO, B, WALK, names, names, right, right, known)
    image = next(axes for axes in figure.axes if "VCS" in axes.get_title())
    assert "1 of 2 judged" in image.get_title()
    assert [text[:1] for text, _, _ in boxes(image)] == ["✓", "a", "c", "✗", "$", "N", "w"]
    figure.draw_without_rendering()


def test_hearing_marks_who_moved_and_who_was_changed():
    moved = np.eye(7)
    moved[0, 1] = 0.5  # input of 1 changed: 2 moves half as much
    figure = tree_drawing.plot_hearing({"tree": 2 * moved, "chain": moved})
    assert figure.axes[0].get_title() == "input of 1 changed"
    for axes in (figure.axes[0], figure.axes[7]):
        circles = [patch for patch in axes.patches if isinstance(patch, Circle)]
        assert [circle.get_linewidth() > 2 for circle in circles] == [True] + [False] * 6
        white = [to_hex(circle.get_facecolor()) == "#ffffff" for circle in circles]
        assert white == [False, False] + [True] * 5
        assert texts(axes)[:4] == ["1", "1", ".50", "2"]
    heights = [sorted({round(c.center[1], 1) for c in axes.patches}) for axes in figure.axes[6:8]]
    assert heights == [[0, 1.5, 3], [0]]  # three layers, one row
    tree_drawing.plot_hearing({"tree": np.zeros((7, 7))}).draw_without_rendering()  # nothing moved


def test_arrows_end_where_the_sum_does():
    shares = np.random.default_rng(0).normal(size=(7, 2))
    shares[3] = 0  # a node may put nothing in
    bias = np.array([0.5, -0.5])
    (axes,) = lesson_11.plot_head_to_tail(shares, bias, shares.sum(0) + bias).axes
    arrows = [text for text in axes.texts if not text.get_text()]
    assert arrows[-1].xy == pytest.approx(tuple(shares.sum(0) + bias))
    assert arrows[1].xyann == pytest.approx(arrows[0].xy)  # head to tail
    assert texts(axes) == list("1234567")


def test_coverage_marks_what_is_kept():
    counts, sizes = {"fragments": [1, 6, 3], "relations": [2, 2]}, {"fragments": 2, "relations": 9}
    one, other = lesson_10.plot_coverage(counts, sizes).axes
    assert one.lines[0].get_ydata() == pytest.approx([60, 90, 100])
    assert one.lines[2].get_xydata()[0] == pytest.approx([2, 90])
    assert one.get_title() == "fragments: 2 kept, 90.0 %"
    assert other.get_title() == "relations: there are only 2, 100.0 %"
    with pytest.raises(DataError, match="no fragments to draw"):
        lesson_10.plot_coverage({"fragments": []}, {"fragments": 3})


def test_concepts_pass_the_threshold_and_the_strongest_come_first():
    correlations = np.array([[1.0, 0.5], [0.1, 1.0]])
    assert "1 of 2 pairs pass" in titles(lesson_12.plot_rescaling(correlations))
    named, scores, mixed = np.array([[0.1, 0.9], [0.6, 0.4], [0.3, 0.7]])
    (axes,) = lesson_12.plot_shares(["cat", B], scores, named, mixed, k=2).axes
    assert ticks(axes.yaxis) == [B, "cat"]
    widths = [bar.get_width() for container in axes.containers for bar in container]
    assert widths == [0.9, 0.1, 0.4, 0.6, 0.7, 0.3]


def test_nodes_and_contributions_draw_what_is_given():
    frame = pd.DataFrame(
        {"image": range(8), "caption": range(10, 18), "most frequent": range(20, 28)},
        index=[*PLACES, "all"],
    )
    (axes,) = lesson_13.plot_node_accuracy(frame).axes
    assert bars(axes) == [*range(7), *range(10, 17), *range(20, 27)]  # without "all"
    nodes = np.linspace(-0.1, 0.2, 7)
    found = Contributions(0.5, {"instance": 0.3}, {"instance": 0.4}, nodes, 2 * nodes)
    parts, seven = lesson_14.plot_contributions(found).axes
    assert bars(parts) == [0.3, 0.4] and bars(seven) == pytest.approx([*nodes, *(2 * nodes)])


def test_betas_leave_a_gap_where_a_number_is_missing():
    recalls = {f"printed_{name}": [10.0, 20.0] for name in "abcdef"}
    recalls["printed_f"] = [10.0, np.nan]  # no sum of five
    frame = pd.DataFrame(
        {
            "method": ["[1, 0, 0]", "[0, 1, 0]"],
            **recalls,
            "printed_rsum": [np.nan, np.nan],
            "measured_rsum": [np.nan, 300.0],
            "sd_rsum": [np.nan, 4.0],
        }
    )
    printed, measured = lesson_13.plot_betas(frame).axes
    np.testing.assert_array_equal(printed.lines[0].get_xydata(), [[60, 1], [np.nan, 0]])
    (spread,) = measured.collections
    np.testing.assert_array_equal(spread.get_segments()[1], [[296, 0], [304, 0]])
    assert ticks(printed.yaxis) == ["[1, 0, 0]", "[0, 1, 0]"]


# --- lesson 16 ------------------------------------------------------------------------------------


def test_recall_by_effort():
    frame = pd.DataFrame(
        {
            "effort": [1, 4],
            "recall@1": [0.5, 1.0],
            "recall@10": [0.25, 0.75],
            "milliseconds": [1, 2],
        }
    )
    recall, time = lesson_16.plot_recall(frame).axes
    assert lines(recall, 2) == [[0.5, 1.0], [0.25, 0.75]] and lines(time, 1) == [[1.0, 2.0]]
    assert ticks(time.xaxis) == ["1", "4"]


def test_hardest_captions_of_ones_own_share_and_of_anothers():
    scores = np.eye(4)
    scores[0, 1] = scores[1, 3] = scores[2, 3] = scores[3, 0] = 0.5  # two of them across
    axes = lesson_16.plot_hardest(scores).axes[0]
    own, others = ({tuple(at) for at in line.get_xydata() - 0.5} for line in axes.lines)
    assert own == {(1, 0), (3, 2)} and others == {(3, 1), (0, 3)}
    assert len(axes.patches) == 2
