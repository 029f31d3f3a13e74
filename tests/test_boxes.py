import json

import numpy as np
import pytest
from PIL import Image
from samples import table

from xmr_lib.data import captioned
from xmr_lib.data.boxes import boxes_file, known_boxes
from xmr_lib.errors import DataError


@pytest.fixture
def folder(tmp_path):
    table(tmp_path / "mine", 2)  # pictures of 48×36 pixels
    return tmp_path / "mine"


def _write(folder, boxes):
    (folder / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    return captioned.load(folder)


def test_boxes_in_pixels_become_shares_with_the_whole_picture_last(folder):
    data = _write(folder, {"photo0.jpg": [[12, 9, 24, 18], [0, 0, 99, 36]], "photo1.jpg": []})
    assert boxes_file(data) == folder / "boxes.json"
    first, second = known_boxes(data)
    assert first.tolist() == [[0.25, 0.25, 0.5, 0.5], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert second.tolist() == [[0, 0, 1, 1]] and second.dtype == np.float32


def test_boxes_are_those_of_the_upright_picture(folder):
    file = folder / "images" / "photo0.jpg"
    with Image.open(file) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # turned by a quarter: 36 pixels wide
        image.save(file, exif=exif)
    data = _write(folder, {"photo0.jpg": [[0, 0, 18, 24]], "photo1.jpg": []})
    assert known_boxes(data)[0][0].tolist() == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({"photo1.jpg": []}, r"no boxes of 1 of the 2 pictures, such as photo0\.jpg"),
        ({"photo0.jpg": [[1, 2, 3]], "photo1.jpg": []}, r"photo0\.jpg: expected a list of \[left"),
        ({"photo0.jpg": [[9, 0, 9, 5]], "photo1.jpg": []}, r"is empty or outside of the 48×36"),
        ({"photo0.jpg": [["a", 0, 9, 5]], "photo1.jpg": []}, r"photo0\.jpg: expected a list"),
        ({"photo0.jpg": 7, "photo1.jpg": []}, r"photo0\.jpg: expected a list"),
    ],
)
def test_impossible_boxes_are_named(folder, boxes, message):
    with pytest.raises(DataError, match=message):
        known_boxes(_write(folder, boxes))
