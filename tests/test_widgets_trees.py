"""The explorer of trees, driven by its controls as a hand would."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from xmr_course.explorers.trees import TreeExplorer, TreeItem, plot_item, tree_explorer
from xmr_course.inside import Contributions

from xmr_lib.errors import DataError
from xmr_lib.language.referral_tree import ReferralTree

PNG = b"\x89PNG"
PHOTO = Image.new("RGB", (12, 8), "grey")
NAMES = ("dog", "and", "cat", "run in", "ball", None, "water")
RIGHT = np.array([1, 0, 0, 0, 1, 0, 0], bool)
BARE = TreeItem(
    PHOTO,
    r"A dog plays with a $\b$",
    ReferralTree(("dog", None, None, "play with", "ball", None, None)),
    NAMES,
    NAMES,
    RIGHT,
    ~RIGHT,
)
FOUND = replace(
    BARE,
    caption=r"found $\b$ " + "and found again " * 20,
    top3_captions=[(r"a dog $\b$ " * 40, True), ("a cat", False)],
    top3_images=[(PHOTO, True), (PHOTO, False), (PHOTO, False)],
    contributions=Contributions(0.5, {}, {}, np.linspace(-1, 1, 7), np.zeros(7)),
)
HALF = replace(FOUND, caption="half", top3_images=[(PHOTO, False), (PHOTO, True)])
ITEMS = (BARE, FOUND, HALF)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_success_is_a_right_answer_first_wherever_it_was_searched():
    assert [item.success for item in ITEMS] == [None, True, False]
    assert replace(FOUND, top3_captions=()).success is True
    assert replace(HALF, top3_captions=()).success is False


def test_places_without_a_word_are_not_judged():
    assert BARE.judged("image") == [True, None, None, False, True, None, None]
    assert BARE.judged("caption") == [False, None, None, True, False, None, None]
    known = [True] + [False] * 6  # of the three, the dictionary has one
    assert replace(BARE, known=known).judged("image") == [True] + [None] * 6
    with pytest.raises(ValueError):
        replace(BARE, known=[True]).judged("image")


def test_the_picture_has_the_trees_asked_for():
    names = [title.split(":")[0] for title in titles(plot_item(BARE))]
    assert names == ["", "VCS-tree", "referral tree", "TCS-tree"]
    assert "2 of 3 judged nodes right" in titles(plot_item(BARE))[1]
    assert titles(plot_item(BARE, ["caption"]))[1].startswith("TCS-tree")
    figure = plot_item(FOUND, [])
    assert titles(figure) == ["", "", "what the nodes add", ""]  # photo, nothing, bars, answers
    bars = [bar.get_height() for bar in figure.axes[2].patches]
    assert bars == [*np.linspace(-1, 1, 7), *np.zeros(7)]
    said = [text.get_text() for text in figure.axes[3].texts]
    assert [sign for sign in said if sign[0].isdigit()] == ["1 ✓", "2 ✗"]
    assert [axes.get_title() for axes in figure.axes[3].child_axes] == ["1 ✓", "2 ✗", "3 ✗"]
    assert all(len(line) <= 120 for text in said for line in text.split("\n"))
    figure.draw_without_rendering()  # "$" is no formula


def test_the_filter_offers_its_kind_only(monkeypatch):
    monkeypatch.setattr(TreeExplorer, "draw", lambda self: None)  # pictures have their own test
    explorer = tree_explorer(ITEMS)
    assert explorer.shown is BARE and len(explorer.item.options) == 3
    explorer.kind.value = "successes"
    assert [number for _, number in explorer.item.options] == [1]
    assert explorer.shown is FOUND
    (label, _), *_ = explorer.item.options
    assert label.startswith(r"2 ✓  found $\b$ and") and label.endswith("…") and len(label) < 90
    explorer.kind.value = "failures"
    assert explorer.shown is HALF
    explorer.kind.value = "all"
    assert explorer.shown is BARE
    explorer.item.value = 2
    assert explorer.shown is HALF
    explorer.next.click()  # the first one follows the last one
    assert explorer.shown is BARE and explorer.item.value == 0
    explorer.next.click()
    assert explorer.shown is FOUND


def test_a_kind_without_items_is_said_and_the_picture_stays():
    explorer = tree_explorer([FOUND])
    before = bytes(explorer.picture_box.value)
    explorer.kind.value = "failures"
    assert explorer.message.value == "No failures among these items."
    assert explorer.item.options == () and explorer.shown is FOUND
    explorer.trees["image"].value = False  # still answers
    assert bytes(explorer.picture_box.value) != before
    explorer.trees["image"].value = True
    explorer.kind.value = "all"
    assert explorer.message.value == "" and bytes(explorer.picture_box.value) == before


def test_without_items_it_says_so():
    with pytest.raises(DataError, match="at least one TreeItem"):
        tree_explorer([])
