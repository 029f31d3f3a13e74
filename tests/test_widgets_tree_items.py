"""One call from a run of SMFEA to the explorer of its trees."""

import sys

import numpy as np
import pytest
from xmr_course import inside
from xmr_course.explorers.items import tree_items
from xmr_course.explorers.trees import TreeExplorer, tree_explorer

from xmr_lib.ensemble import Ensemble
from xmr_lib.errors import DataError


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(TreeExplorer, "draw", lambda self: None)  # pictures: other tests


def test_a_run_is_enough(tiny_run, undrawn):
    run = tiny_run("SMFEA")
    explorer = tree_explorer(run)
    items = tree_items(run)
    assert [item.caption for item in explorer.items] == [item.caption for item in items]
    assert len(items) == 12 and items[0].caption == run.report.captions[0]
    assert items[-1].caption == run.report.captions[-1]
    for item in items:
        best, right = item.top3_images[0]
        assert best == run.search_images(item.caption, 1)[0].image_file
        assert right == (best == item.picture) and len(item.top3_captions) == 3


def test_trees_are_those_of_the_whole_test_set(tiny_run):
    run = tiny_run("SMFEA")
    whole = inside.predict_nodes(run)
    chosen = [38, 0, 17, 0]
    for caption, item in zip(chosen, tree_items(run, chosen), strict=True):
        assert item.caption == whole.captions[caption]
        assert item.referral == whole.referral[caption]
        assert item.image_names == whole.names("image", caption)
        assert item.caption_names == whole.names("caption", caption)
        np.testing.assert_array_equal(item.image_right, whole.right("image")[caption])
        np.testing.assert_array_equal(item.caption_right, whole.right("caption")[caption])
        np.testing.assert_array_equal(item.known, whole.known[caption])


def test_captions_and_data_may_be_chosen(tiny_run, undrawn):
    run = tiny_run("SMFEA")
    val = run.data.split("val")
    explorer = tree_explorer(run, [3, 1], val)
    assert [item.caption for item in explorer.items] == [val.captions[3], val.captions[1]]
    few = tree_explorer(run, data=run.report.subset([2]))  # one picture, five captions
    assert len(few.items) == 5 and all(item.success for item in few.items[:1])


def test_what_has_no_trees_is_told(tiny_run, monkeypatch):
    with pytest.raises(DataError, match="VSE"):
        tree_explorer(tiny_run("VSE++"))
    with pytest.raises(DataError, match="pair"):
        tree_explorer(Ensemble("pair", (tiny_run("VSE++"), tiny_run("SMFEA"))))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(DataError, match="VSE"):
        tree_explorer(tiny_run("VSE++"))


def test_a_place_that_no_training_tree_fills_stops_nothing(tiny_run, monkeypatch):
    run = tiny_run("SMFEA")
    monkeypatch.setattr(type(run.knowledge), "nodes", lambda *_: np.full((3, 7), -1))
    nodes = inside.predict_nodes(run)
    assert (nodes.most_frequent == -1).all()
    assert nodes.accuracy()["most frequent"].eq(0).all()
