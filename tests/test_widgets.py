"""What all explorers do: a picture without widgets, classes, turns."""

import base64
import sys
from threading import Event, Thread
from time import process_time

import pytest
import xmr_course.explorers
from xmr_course.explorers.shared import Turns

from xmr_lib.errors import DataError

VIEW = "application/vnd.jupyter.widget-view+json"
EXPLORERS = {  # function -> recipe that it explores, and other arguments
    "retrieval_explorer": ("RFE", {"sentence": "a dog"}),
    "attention_explorer": ("SCAN t-i AVG", {"image": 2}),
    "tree_explorer": ("SMFEA", {"captions": [3]}),
    "rerank_explorer": ("RFE", {}),
    "ablation_explorer": (None, {"table": "rfe-1"}),
    "margin_playground": (None, {"pairs": 3}),
}


@pytest.fixture(params=EXPLORERS)
def explorer(request, tiny_run):
    """One of the explorers, as a function without arguments."""
    recipe, more = EXPLORERS[request.param]
    given = [tiny_run(recipe)] if recipe else []
    return lambda: getattr(xmr_course.explorers, request.param)(*given, **more)


def test_readers_without_widgets_see_the_picture(explorer, monkeypatch, capsys):
    shown = explorer()
    data, metadata = shown._repr_mimebundle_()
    assert VIEW in data and data["text/plain"] == shown.title
    assert metadata["image/png"]["alt"].startswith(f"{shown.title}: ")
    assert base64.b64decode(data["image/png"]) == shown.picture()._repr_png_()
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    still = explorer()
    assert "pip install ipywidgets" in capsys.readouterr().out and "ipywidgets" in repr(still)
    bundle, metadata = still._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"} and metadata["image/png"]["alt"]
    assert bundle["image/png"] == data["image/png"]


def test_controls_can_be_found_by_their_classes_and_no_box_scrolls(explorer):
    shown = explorer()
    assert shown.box._dom_classes[0] == "xmr-explorer"
    for name, (control, _) in shown.controls.items():
        assert f"xmr-{name}" in control._dom_classes
    assert {box.layout.overflow for box in (shown.box, *shown.box.children)} == {"visible"}


def test_a_turn_is_drawn_within_a_second_of_computing(explorer):
    shown, took = explorer(), []
    for _ in range(3):  # on a busy machine some turns take longer than they compute
        started = process_time()
        shown.draw()
        took.append(process_time() - started)
    assert min(took) < 1


def test_wrong_arguments_are_told_without_widgets_too(tiny_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for name, recipe, wrong, message in (
        ("attention_explorer", "SCAN t-i AVG", {"image": 99}, "There is no image 99"),
        ("rerank_explorer", "RFE", {"query": 8}, "There is no query 8"),
        ("tree_explorer", "VSE++", {}, "VSE"),
    ):
        with pytest.raises(DataError, match=message):
            getattr(xmr_course.explorers, name)(tiny_run(recipe), **wrong)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        xmr_course.explorers.nonsense  # noqa: B018


def test_a_change_from_another_thread_is_answered_after_the_first():
    turns, heard, drawing, asked = Turns(), [], Event(), Event()
    second = Thread(target=turns(lambda: heard.append("second")), args=(None,))

    def first():
        drawing.set()
        asked.wait(5)
        second.join(0.2)  # in vain: it waits for this answer
        heard.append("first")

    slow = Thread(target=turns(first), args=(None,))
    slow.start()
    drawing.wait(5)
    second.start()
    asked.set()
    slow.join(5)
    second.join(5)
    assert heard == ["first", "second"]


def test_what_an_answer_sets_is_not_answered():
    turns, heard = Turns(), []
    echo = turns(lambda: heard.append("echo"))
    turns(lambda: (heard.append("first"), echo(None)))(None)
    assert heard == ["first"]
    echo(None)
    assert heard == ["first", "echo"]
