"""The explorer of attention, driven by its controls as a hand would."""

import numpy as np
import pytest
from xmr_course.explorers.attention import attention_explorer, look

from xmr_lib.errors import DataError


@pytest.fixture(scope="module", params=["SCAN t-i AVG", "SCAN i-t LSE"])
def run(request, tiny_run):
    return tiny_run(request.param)


def test_look_is_what_the_model_scores(run):
    seen = look(run, 3, 1)
    n_words, n_regions = len(seen.words), len(seen.boxes)
    assert seen.words[0] == "<start>" and seen.words[-1] == "<end>"
    assert seen.weights.shape == (n_words, n_regions)
    assert seen.boxes[-1].tolist() == [0, 0, 1, 1]  # the whole picture comes last
    over = 1 if run.recipe.model.attention == "t-i" else 0
    np.testing.assert_allclose(seen.weights.sum(over), 1, rtol=1e-5)
    assert len(seen.cosines) == (n_words if over else n_regions)
    place = np.flatnonzero(run.report.image_of_caption == 3)[1]
    assert seen.score == pytest.approx(run.score_matrix()[3, place], abs=1e-5)
    own = look(run, 3, run.report.captions_of(3)[1])
    np.testing.assert_array_equal(own.weights, seen.weights)


@pytest.mark.parametrize(
    ("image", "caption", "message"),
    [
        (8, 0, "There is no image 8: .* has 8 here"),
        (-1, 0, "There is no image -1"),
        (0, 5, "There is no caption 5: image 0 has 5"),
        (0, "   ", "."),
    ],
)
def test_look_refuses_what_is_not_there(run, image, caption, message):
    with pytest.raises(DataError, match=message):
        look(run, image, caption)


def test_a_model_of_one_vector_has_nothing_to_show(tiny_run):
    with pytest.raises(DataError, match="does not compare regions with words"):
        attention_explorer(tiny_run("VSE++"))


def test_without_boxes_nothing_can_be_drawn(run):
    from dataclasses import replace

    blind = replace(run, features=replace(run.features, boxes=None))
    with pytest.raises(DataError, match="boxes of its regions are unknown"):
        look(blind, 0)


def test_a_word_and_a_region_take_turns(run):
    explorer = attention_explorer(run, image=2, caption=1)
    pictures = [bytes(explorer.picture_box.value)]
    assert pictures[0].startswith(b"\x89PNG")
    explorer.word.value = 2
    pictures.append(bytes(explorer.picture_box.value))
    explorer.region.value = 0
    assert explorer.word.value == -1
    pictures.append(bytes(explorer.picture_box.value))
    explorer.word.value = 2
    assert explorer.region.value == -1
    assert bytes(explorer.picture_box.value) == pictures[1]
    assert len(set(pictures)) == 3


def test_another_image_brings_its_captions_and_regions(run):
    explorer = attention_explorer(run, image=0)
    explorer.word.value = 1
    explorer.image.value = 6  # readers count from 1
    assert [text for text, _ in explorer.caption.options] == list(run.report.captions_of(5))
    assert explorer.word.value == explorer.region.value == -1
    assert explorer.seen.image_file == run.report.image_files[5]
    assert len(explorer.region.options) == len(explorer.seen.boxes) + 1
    explorer.caption.value = 3
    assert [word for word, _ in explorer.word.options[1:]] == list(look(run, 5, 3).words)


def test_a_sentence_of_ones_own(run):
    explorer = attention_explorer(run)
    explorer.own.value = "a zebra, perhaps"
    assert explorer.seen.words == ("<start>", "a", "zebra", ",", "perhaps", "<end>")
    assert "never learnt: " in explorer.message.value and "zebra" in explorer.message.value
    explorer.own.value = ""  # back to the caption
    assert "zebra" not in explorer.message.value
    assert explorer.seen.words == look(run, 0, 0).words
    explorer.own.value = "a zebra"
    explorer.caption.value = 2
    assert explorer.own.value == "" and explorer.seen.words == look(run, 0, 2).words
