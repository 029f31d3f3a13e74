"""Controls in turns, heard by several threads."""

from threading import Event, Thread

from xmr_course.explorers.shared import Turns


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
