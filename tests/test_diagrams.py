"""Diagrams name their equations, and nothing in them overlaps or leaves the page."""

import itertools
import re

import pytest
from matplotlib.patches import FancyBboxPatch
from xmr_course import diagrams

from xmr_lib.errors import DataError

EQUATIONS = {
    "vsepp": {1, 3, 4, 7, 8},
    "rfe": set(range(1, 9)),
    "scan": {1, 7, 8},
    "smfea": {*range(1, 6), *range(11, 21)},  # 6 to 10 within "5–11"
    "smfea_trees": {5, 6, 11, 12, 13, 14, 18, 19},
    "triplet_loss": {1, 7, 8},
}


def numbered(words: str) -> set[int]:
    found = re.findall(r"eqs?\. ([\d,– ]+)", words)
    return {int(number) for each in found for number in re.findall(r"\d+", each)}


@pytest.mark.parametrize("name", diagrams.NAMES)
def test_equations_are_named_and_nothing_overlaps(name):
    figure = diagrams.draw(name)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    words = " ".join(text.get_text() for text in axes.texts)
    assert numbered(words) >= EQUATIONS[name] - {2}  # may stand within "1–3"
    texts = [text for text in axes.texts if text.get_text()]
    places = [text.get_window_extent() for text in texts]
    page = axes.get_window_extent()
    for text, place in zip(texts, places, strict=True):
        assert page.padded(1).containsx(place.x0) and page.padded(1).containsx(place.x1), text
        assert page.padded(1).containsy(place.y0) and page.padded(1).containsy(place.y1), text
    for (one, a), (other, b) in itertools.combinations(zip(texts, places, strict=True), 2):
        assert not a.overlaps(b), f"{one.get_text()!r} and {other.get_text()!r}"
    boxes = [box.get_window_extent() for box in axes.patches if isinstance(box, FancyBboxPatch)]
    for box, (text, place) in itertools.product(boxes, zip(texts, places, strict=True)):
        inside = box.containsx(place.x0) and box.containsx(place.x1)
        assert inside or not box.overlaps(place), text.get_text()


def test_all_are_saved_and_an_unknown_name_is_told(tmp_path):
    assert [path.name for path in diagrams.save_all(tmp_path)] == [
        f"diagram_{name}.png" for name in diagrams.NAMES
    ]
    with pytest.raises(DataError, match="there are vsepp, rfe"):
        diagrams.draw("gpo")
