"""Own photographs: written as the kit reads them, counted, and twins found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from xmr_course import own_photos

from xmr_lib.data import captioned
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.errors import DataError


@pytest.fixture
def photos(tmp_path) -> CaptionedImages:
    """Four pictures; the last has two captions, with a comma, quotes and letters beyond ASCII."""
    files = []
    for i in range(4):
        files.append(tmp_path / f"{i}.png")
        Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(files[-1])
    captions = ("a red dog", "a red cat", "a red dog", 'a "stop" sign, red', "ein rötlicher Hund")
    splits = np.array(["train", "train", "val", "test"])
    return CaptionedImages(
        "mine", tuple(files), captions, np.array([0, 1, 2, 3, 3]), splits, np.arange(4)
    )


def test_what_is_written_is_read_back(photos, tmp_path):
    folder = own_photos.write_folder(photos, tmp_path / "out" / "mine")
    again = captioned.load(folder)
    assert again.captions == photos.captions
    assert again.splits.tolist() == photos.splits.tolist()
    assert [f.name for f in again.image_files] == [f.name for f in photos.image_files]
    assert again.image_files[2].read_bytes() == photos.image_files[2].read_bytes()


def test_a_table_alone_changes_the_splits_and_touches_no_picture(photos, tmp_path):
    table = own_photos.write_table(
        replace(photos, splits=np.array(["val", "train", "train", "test"])), tmp_path / "new.csv"
    )
    again = captioned.load(table, images=tmp_path)
    assert again.splits.tolist() == ["val", "train", "train", "test"]
    assert again.image_files == photos.image_files


def test_one_name_for_two_pictures_is_refused(photos, tmp_path):
    twice = replace(photos, image_files=(photos.image_files[0],) * 4)
    with pytest.raises(DataError, match=r"0\.png"):
        own_photos.write_folder(twice, tmp_path / "mine")


def test_summary_counts(photos):
    table = own_photos.summary(photos, threshold=2)
    assert table.index.tolist() == ["train", "val", "test"]
    assert table["images"].tolist() == [2, 1, 1]
    assert table["captions"].tolist() == [2, 1, 2]
    assert table["captions an image"].tolist() == ["1–1", "1–1", "2–2"]
    # known: a, red (twice in training); of the test captions' 7 + 3 words and marks two are
    assert table["unknown words, %"].tolist() == [33.3, 33.3, 80.0]
    assert table["words a caption"].tolist() == [3.0, 3.0, 5.0]


def test_summary_without_training_images(photos):
    table = own_photos.summary(photos.split("test"))
    assert table["unknown words, %"].tolist() == [100.0]


def features_of(vectors) -> Features:
    vectors = np.asarray(vectors, dtype=np.float32)
    dims = (1, 1, 1, vectors.shape[1])
    whole = np.zeros((len(vectors), 2 * sum(dims)), dtype=np.float32)
    whole[:, 3 : 3 + vectors.shape[1]] = vectors
    return Features(whole, dims, "made", "whole", "", Path())


def test_twins_across_splits_are_found(photos):
    near = features_of([[1, 0], [-1, 0.1], [1, 0.01], [0, -1]])
    found = own_photos.near_duplicates(photos, near)
    assert found[["image", "split", "other image", "other split"]].to_numpy().tolist() == [
        ["0.png", "train", "2.png", "val"]
    ]
    assert 0.85 < found["cosine"][0] <= 1.0001


def test_twins_within_a_split_only_when_asked(photos):
    near = features_of([[1, 0], [1, 0], [-1, 0.9], [-1, -0.9]])
    assert own_photos.near_duplicates(photos, near).empty
    found = own_photos.near_duplicates(photos, near, splits=False)
    assert found[["image", "other image"]].to_numpy().tolist() == [["0.png", "1.png"]]


def test_pictures_without_any_difference_are_no_crash(photos):
    assert own_photos.near_duplicates(photos, features_of(np.ones((4, 2)))).empty
