import numpy as np
import pandas as pd
import pytest
import torch
from xmr_course.lessons import drawing, lesson_03, lesson_04

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)  # not square
MAPS = [torch.rand(3, size, size, generator=torch.Generator().manual_seed(size)) for size in (8, 4)]


def test_places_of_maxima_are_x_then_y_in_parts_of_the_picture():
    maps = torch.zeros(2, 4, 8)
    maps[0, 3, 1] = 5.0  # row 3 of 4, column 1 of 8
    maps[1, 0, 7] = 1.0
    expected = torch.tensor([[1.5 / 8, 3.5 / 4], [7.5 / 8, 0.5 / 4]])
    torch.testing.assert_close(lesson_03.argmax_places(maps), expected)


def test_channels_that_see_nothing_have_no_place():
    maps = [torch.cat([each, torch.zeros_like(each)]) for each in MAPS]
    figure = lesson_03.plot_argmax_places(PICTURE, maps, [(1, 2, 20, 30)])
    assert [axes.get_title().split(",")[0] for axes in figure.axes] == [
        "C1: 3 channels",
        "C2: 3 channels",
    ]


def test_channel_maps_show_what_both_pools_give():
    figure = lesson_03.plot_channel_maps(PICTURE, MAPS, [[0, 2], [1, 1]])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titles) == 4
    assert titles[1] == f"channel 2\nmax {MAPS[0][2].max():.2f}  avg {MAPS[0][2].mean():.2f}"


def test_a_flat_map_can_be_drawn():
    lesson_03.plot_channel_maps(PICTURE, [torch.zeros(1, 4, 4)], [[0]])


def test_shares_fill_the_bar_to_its_end():
    axes = drawing.plot_shares({"a": [0.5, 0.5], "b": [0.99, 0.01]}, ["one", "two"]).axes[0]
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert max(ends) == pytest.approx(1)
    assert [text.get_text() for text in axes.texts] == ["50%", "99%", "50%"]  # 1 % is too narrow


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
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["<start>", "1", "$5", "4", "<end>", "2", "<start>", "1", "<end>", "2",
                     "<pad>", "0"]  # fmt: skip


def test_backward_states_are_compared_with_the_first():
    states = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    figure = lesson_04.plot_states(
        ["a", "b", "c"], {"forward": states, "backward": states}, units=2
    )
    labels = [[t.get_text() for t in axes.get_xticklabels()] for axes in figure.axes[:2]]
    assert labels[0] == ["a\n0.71", "b\n0.71", "c\n1.00"]
    assert labels[1] == ["a\n1.00", "b\n0.00", "c\n0.71"]


def test_the_other_pictures_are_drawn():
    lesson_03.plot_removal(PICTURE, PICTURE, {"avg": [0, 0.1, 0.2, 0.3], "max": [0.1] * 4})
    lesson_04.plot_leave_one_out(
        ["a", "$dog"], {"RFE": [0.1, 0.2], "VSE++": torch.tensor([0.0, 1.0])}
    )
    lesson_04.plot_word_order([("a b", "b a")], {"one": [1.0], "two": [0.5]})
    axes = drawing.plot_cosines({"raw": torch.tensor([0.5, 0.6]), "std": [-0.001, 0.0]}, "c").axes[
        0
    ]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["raw: mean 0.55, s.d. 0.05", "std: mean 0.00, s.d. 0.00"]
