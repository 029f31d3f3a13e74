"""A run on another data set: same features, own words, nothing learnt."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import STAGE_DIMS, make
from PIL import Image

from xmr_lib import ensemble, reproduce, runs, transfer
from xmr_lib.data import toy
from xmr_lib.data.toy_styles import STYLES, redraw, rewrite
from xmr_lib.errors import DataError, UnknownNameError

SIZES = {"word_dim": 12, "rnn_dim": 16, "joint_dim": 16, "batch_size": 32, "epochs": 2}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    plain = toy.load(40, 10, 12, folder=folder / "plain")
    sketch = toy.load(8, 4, 12, folder=folder / "sketch", style="sketch")
    return plain, sketch


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XMR_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("XMR_RUNS", str(tmp_path_factory.getbasetemp() / "runs"))


@pytest.mark.parametrize("recipe", ["VSE++", "SMFEA"])
def test_a_run_on_the_other_scenes(scenes, recipe, recwarn):
    plain, sketch = scenes
    run = runs.run(recipe, plain, **SIZES)
    before = {name: p.clone() for name, p in run.model.state_dict().items()}
    moved = transfer.transfer(run, sketch)
    assert moved.report.n_images == 12 and moved.name == recipe
    assert 0 < moved.metrics["rsum"] <= 600
    for name, value in run.model.state_dict().items():
        assert (before[name] == value).all(), "nothing may be learnt"
    hits = moved.search_images("red ball", k=3)
    assert all(hit.image_file in sketch.image_files for hit in hits)
    known = run.vocabulary.coverage(moved.report.captions)
    assert moved.unknown_words == pytest.approx(1 - known)


def test_transfer_to_its_own_data_changes_nothing(scenes):
    run = runs.run("VSE++", scenes[0], **SIZES)
    moved = transfer.transfer(run, scenes[0])
    assert moved.metrics == run.metrics


def test_an_ensemble_is_moved_member_by_member(scenes):
    pair = ensemble.train("VSE++ + RFE", scenes[0], **SIZES)
    moved = transfer.transfer(pair, scenes[1])
    each = [transfer.transfer(member, scenes[1]) for member in pair.members]
    expected = np.mean([member.score_matrix() for member in each], axis=0)
    np.testing.assert_allclose(moved.score_matrix(), expected, atol=1e-5)


def test_features_that_do_not_fit_are_told(scenes, monkeypatch):
    run = runs.run("VSE++", scenes[0], **SIZES)
    other = make()[0]
    monkeypatch.setattr(
        transfer, "features_of", lambda *_, **__: type("F", (), {"stage_dims": STAGE_DIMS})()
    )
    with pytest.raises(DataError, match="Train with regions"):
        transfer.transfer(run, other)


def test_table_4_of_the_drawn_scenes(scenes, tmp_path):
    frame = reproduce.reproduce(
        "smfea-4", scenes[0], seeds=(0,), transfer_to=scenes[1], rows=("VSE++",), out=tmp_path,
        **SIZES,
    )  # fmt: skip
    row = frame.set_index("recipe").loc["VSE++"]
    run = runs.run("VSE++", scenes[0], **SIZES)
    assert row["at_home_rsum"] == pytest.approx(run.metrics["rsum"])
    moved = transfer.transfer(run, scenes[1]).metrics
    assert row["measured_rsum"] == pytest.approx(moved["rsum"])
    assert row["printed_i2t_r1"] == 40.5 and np.isnan(row["printed_i2t_r5"])
    assert "→" in frame.attrs["title"]
    assert [file.suffix for file in sorted(tmp_path.iterdir())] == [".csv", ".png"]


# --- styles ---------------------------------------------------------------------------------------


def test_the_plain_style_changes_nothing(scenes):
    plain, sketch = scenes
    assert "sketch" in sketch.name and "sketch" not in plain.name
    captions = ["A dog.", "A cat is here."]
    assert rewrite(captions, "plain") == captions
    assert STYLES[0] == "plain"
    with pytest.raises(UnknownNameError, match="sketch"):
        toy.load(style="sketsch")


def test_sketches_are_the_same_scenes_drawn_otherwise(scenes):
    one, other = (Image.open(data.split("test").image_files[0]) for data in scenes)
    assert one.size == other.size
    assert one.tobytes() != other.tobytes()
    truth = [toy.scenes(data.image_files[0].parent.parent)[-1].to_json() for data in scenes]
    assert truth[0] == truth[1]
    again = redraw(one.convert("RGB"), "sketch", "0/test/0")
    assert again.tobytes() == redraw(one.convert("RGB"), "sketch", "0/test/0").tobytes()


def test_rewritten_captions_differ_within_a_scene():
    captions = ["A dog is next to the car.", "The dog is beside a car", "One dog by the car ."]
    found = rewrite(captions, "sketch")
    assert found[0] == "dog by car"
    assert len(set(found)) == 3
