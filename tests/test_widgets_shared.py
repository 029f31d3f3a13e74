"""What all explorers share: one answer at a time, errors as text."""

import pytest

import xmr_lib.widgets
from xmr_lib.errors import DataError, XMRError
from xmr_lib.widgets import shared


def refuse():
    raise DataError("no <b>words</b>")


def test_an_error_is_told_and_the_next_turn_goes_on():
    told = []
    turns = shared.Turns(told.append)
    turns(refuse)(None)
    turns(refuse)(None)
    assert [str(error) for error in told] == ["no <b>words</b>"] * 2
    with pytest.raises(XMRError):
        shared.Turns()(refuse)(None)
    with pytest.raises(ZeroDivisionError):  # a mistake of ours is not hidden
        turns(lambda: 1 / 0)(None)


def test_what_is_said_is_text():
    class Bare(shared.Explorer):
        def picture(self):
            raise NotImplementedError

    bare = Bare()
    bare._build("xmr-bare", "bare", [])
    bare.say("a < b", "& c")
    assert bare.message.value == "a &lt; b<br>&amp; c"
    bare.say()
    assert bare.message.value == ""
    assert [child._dom_classes for child in bare.box.children] == [
        ("xmr-message",), ("xmr-picture",),
    ]  # fmt: skip


def test_every_explorer_is_offered_under_its_name():
    for name in xmr_lib.widgets.__all__:
        assert getattr(xmr_lib.widgets, name).__name__ == name
