"""Toy scenes of another style; the plain ones stay as they ever were."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image

from xmr_lib import toy
from xmr_lib.data import captioned
from xmr_lib.errors import UnknownNameError
from xmr_lib.sources import DataSource, is_toy
from xmr_lib.toy.captions import write
from xmr_lib.toy.drawing import draw_scene
from xmr_lib.toy.layout import compose
from xmr_lib.toy.styles import STYLES, redraw, rewrite

NAMES = [f"0/train/{i}" for i in range(400)]
PLAIN = [write(compose(name), name) for name in NAMES]
SKETCH = [rewrite(captions, "sketch") for captions in PLAIN]
# Changes only together with toy.VERSION: captions are the same on every machine.
CHECKSUM = "1423141e432b8452d253e6f6f06ace4d9387751a47469c484b766f1e3c7c1425"


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("styles")
    drawn = [toy.draw(3, 1, 2, folder=folder / style, style=style) for style in STYLES]
    return [captioned.load(each) for each in drawn]


def test_plain_scenes_are_drawn_and_told_as_before(both):
    plain, _ = both
    names = [*(f"0/train/{i}" for i in range(3)), "0/val/0", "0/test/0", "0/test/1"]
    for i, name in enumerate(names):
        scene = compose(name)
        drawn = Image.open(plain.image_files[i])
        assert drawn.tobytes() == draw_scene(scene, name).tobytes()
        assert list(plain.captions_of(i)) == write(scene, name)
    folder = plain.image_files[0].parent.parent
    assert json.loads((folder / "scenes.json").read_text())["name"] == f"toy-{toy.VERSION}-3-1-2-0"


def test_sketches_are_the_same_scenes_drawn_and_told_otherwise(both):
    plain, sketch = both
    truth = [toy.scenes(data.image_files[0].parent.parent) for data in both]
    assert truth[0] == truth[1] and sketch.splits.tolist() == plain.splits.tolist()
    assert not set(plain.captions) & set(sketch.captions)
    for one, other in zip(plain.image_files, sketch.image_files, strict=True):
        one, other = Image.open(one), Image.open(other)
        assert one.size == other.size and one.tobytes() != other.tobytes()


def test_names_choose_the_style(monkeypatch, tmp_path):
    monkeypatch.setenv("XMR_CACHE", str(tmp_path))
    draw = toy.draw
    assert draw.__defaults__[:3] == (2000, 500, 1000)  # hence the folder toy-3-2000-500-1000-0
    monkeypatch.setattr(toy, "draw", lambda style: draw(2, 1, 1, style=style))
    folders = {
        "toy": f"toy-{toy.VERSION}-2-1-1-0",
        "toy:sketch": f"toy-sketch-{toy.VERSION}-2-1-1-0",
    }
    for name, folder in folders.items():
        data = DataSource(name).load()
        assert data.image_files[0].parent.parent == tmp_path / folder and is_toy(data)
    with pytest.raises(UnknownNameError, match="sketch"):
        captioned.load("toy:sketsch")


def test_a_sketch_by_hand():
    """Flat colour fades by 0.3 to its mean, ± 4 of grain; a line and its border turn to ink."""
    flat = Image.new("RGB", (40, 30), (200, 100, 0))
    found = np.asarray(redraw(flat, "sketch", "a"), int)
    assert np.abs(found - (170, 100, 30)).max() == 4
    assert (found - (170, 100, 30) == (found - (170, 100, 30))[..., :1]).all()  # grain is grey
    assert redraw(flat, "sketch", "a").tobytes() == redraw(flat, "sketch", "a").tobytes()
    assert redraw(flat, "sketch", "a").tobytes() != redraw(flat, "sketch", "b").tobytes()
    line = Image.new("RGB", (40, 30), "white")
    line.paste((0, 0, 0), (20, 0, 21, 30))
    ink = np.asarray(redraw(line, "sketch", "a"), int)[5:-5].mean(axis=(0, 2))
    assert ink[:19].min() > 250 and abs(ink[19] - (0.4 * 255 + 0.6 * 40)) < 4


def test_captions_are_telegrams():
    for plain, sketch in zip(PLAIN, SKETCH, strict=True):
        assert len(set(sketch)) == 5 and not set(plain) & set(sketch)
    text = "\n".join(caption for captions in SKETCH for caption in captions)
    assert not re.search(r"\b(a|an|the|is|are|little|puppy|riding)\b", text)
    assert re.search(r"^behind flower: ", text, re.M) and re.search(r"\brides\b", text)
    assert hashlib.sha256(text.encode()).hexdigest() == CHECKSUM, "raise toy.VERSION"


def test_captions_that_would_read_alike_stay_different():
    alike = ["A dog is beside the car.", "The dog is next to a car", "One dog by the car ."]
    found = rewrite(alike, "sketch")
    assert found == ["dog by car", "sketch of dog by car", "One dog by the car ."]
