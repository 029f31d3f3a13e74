"""A run on another data set: same kind of features, own words, nothing learnt."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from xmr_course.tables import reproduce

from xmr_lib import ensemble, runs, toy
from xmr_lib.data import captioned
from xmr_lib.encoders.backbone import load_backbone
from xmr_lib.encoding import encode_images
from xmr_lib.errors import DataError
from xmr_lib.sources import features_of
from xmr_lib.training import reported

SIZES = {"word_dim": 12, "rnn_dim": 16, "joint_dim": 16, "batch_size": 32, "epochs": 2}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    plain = captioned.load(toy.draw(40, 10, 12, folder=folder / "toy-plain"))
    sketch = captioned.load(toy.draw(8, 4, 12, folder=folder / "toy-sketch", style="sketch"))
    return plain, sketch


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three pictures in colour with a caption each, all for testing: nothing to train on."""
    folder = tmp_path_factory.mktemp("photos")
    rows = ["image,caption,split"]
    for i, colour in enumerate(((200, 30, 30), (30, 200, 30), (30, 30, 200))):
        Image.new("RGB", (80, 60), colour).save(folder / f"{i}.png")
        rows.append(f"{i}.png,a dog xylophone number {i},test")
    (folder / "captions.csv").write_text("\n".join(rows))
    return captioned.load(folder)


@pytest.fixture(autouse=True)
def folders(scenes, monkeypatch):
    place = scenes[0].image_files[0].parents[2]
    monkeypatch.setenv("XMR_CACHE", str(place / "cache"))
    monkeypatch.setenv("XMR_RUNS", str(place / "runs"))


@pytest.mark.parametrize("recipe", ["VSE++", "SCAN t-i AVG", "SMFEA"])
def test_the_other_pictures_by_the_runs_own_weights_and_words(scenes, recipe):
    plain, sketch = scenes
    run = runs.run(recipe, plain, **SIZES)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    moved = run.on(sketch)
    test = sketch.split("test")
    images = encode_images(
        run.model, test, features_of(sketch, of_regions=run.recipe.of_regions).inputs
    )
    by_hand = run.score(images, run.encode_sentences(test.captions)).detach().numpy()
    np.testing.assert_allclose(moved.score_matrix(), by_hand, atol=1e-5)
    assert np.abs(by_hand - run.score_matrix()).max() > 1e-3  # same scenes, other pictures
    assert all((before[n] == value).all() for n, value in run.model.state_dict().items())
    assert all(hit.image_file in test.image_files for hit in moved.search_images("red ball", k=3))
    assert moved.name == recipe and moved.compares_vectors == run.compares_vectors


def test_transfer_to_its_own_data_changes_nothing(scenes):
    for recipe in ("VSE++", "SCAN t-i AVG"):
        run = runs.run(recipe, scenes[0], **SIZES)
        assert run.on(scenes[0]).metrics == run.metrics


def test_a_picture_file_is_found_like_the_data_sets_own_image(scenes):
    moved = runs.run("VSE++", scenes[0], **SIZES).on(scenes[1])
    by_number = moved.search_captions(3, k=2)
    by_file = moved.search_captions(moved.report.image_files[3], k=2)
    assert [hit.caption for hit in by_file] == [hit.caption for hit in by_number]


def test_unknown_words_are_counted(scenes, photos):
    run = runs.run("VSE++", scenes[0], **SIZES)
    # "a dog xylophone number i": two of five words are in the scenes' captions.
    assert {"a", "dog"} <= set(run.vocabulary.words) and "number" not in run.vocabulary.words
    assert run.on(photos).unknown_words == pytest.approx(3 / 5)


def test_what_is_reported(scenes, photos):
    plain, _ = scenes
    assert reported(plain).rows.tolist() == list(range(50, 62))
    without_test = plain.subset(np.arange(50))
    assert reported(without_test).n_images == 10  # "val" whole: nothing was chosen by it
    run = runs.run("VSE++", plain, **SIZES)
    pair = ensemble.Ensemble("twice", (run, run))
    for found in (run.on(photos), pair.on(photos)):  # no training split at all
        assert found.report.n_images == 3 and len(found.retrieval.t2i.greater) == 3
    with pytest.raises(DataError, match="no split 'test' or 'val'"):
        run.on(plain.subset(np.arange(40)).as_whole())


def test_an_ensemble_is_moved_member_by_member(scenes):
    pair = ensemble.train("VSE++ + SCAN t-i AVG", scenes[0], **SIZES)
    moved = pair.on(scenes[1])
    each = [member.on(scenes[1]).score_matrix() for member in pair.members]
    np.testing.assert_allclose(moved.score_matrix(), np.mean(each, axis=0), atol=1e-5)
    assert moved.unknown_words == pytest.approx(pair.members[0].on(scenes[1]).unknown_words)


def test_the_kind_of_regions_goes_along(scenes, photos):
    """A run on photographs' default regions, the grid, sees a grid of toy scenes, not boxes."""
    grid = runs.run("SCAN t-i AVG", scenes[0], regions="grid", **SIZES)
    as_default = replace(grid, regions=None)
    assert as_default.on(scenes[1]).features.kind == "grid"
    moved = as_default.on(photos)
    assert moved.features.array.shape[1:] == grid.features.array.shape[1:]
    assert moved.score_matrix().shape == (3, 3)


def test_features_of_another_kind_are_told(scenes, photos, tmp_path):
    boxes = runs.run("SCAN t-i AVG", scenes[0], **SIZES)
    with pytest.raises(DataError, match="boxes"):
        boxes.on(photos)  # nobody knows the boxes of a photograph
    np.save(tmp_path / "test_ims.npy", np.ones((2, 5, *boxes.features.stage_dims), np.float32))
    (tmp_path / "test_caps.txt").write_text("a dog\n" * 10)
    with pytest.raises(DataError, match=r"boxes of toy, size 328.*brings precomputed of"):
        boxes.on(tmp_path)  # as many numbers a region, made by another network
    from_file = replace(boxes, features=replace(boxes.features, kind="precomputed"))
    with pytest.raises(DataError, match="read from files"):
        from_file.on(scenes[1])


def test_a_run_that_trained_its_cnn_reads_the_pictures(scenes):
    run = runs.run("VSE++", scenes[0], **SIZES)
    tuned = replace(run, model=deepcopy(run.model))
    tuned.model.backbone = load_backbone("toy")  # as if a second stage had changed nothing
    moved = tuned.on(scenes[1])
    assert moved.features is None
    expected = run.on(scenes[1]).score_matrix()
    np.testing.assert_allclose(moved.score_matrix(), expected, atol=1e-4)


def test_table_4_of_the_drawn_scenes(scenes, tmp_path):
    frame = reproduce.reproduce(
        "smfea-4",
        scenes[0],
        seeds=(0,),
        transfer_to=scenes[1],
        rows=("VSE++",),
        out=tmp_path,
        **SIZES,
    )
    row = frame.set_index("recipe").loc["VSE++"]
    run = runs.run("VSE++", scenes[0], **SIZES)
    assert row["at_home_rsum"] == pytest.approx(run.metrics["rsum"])
    assert row["measured_rsum"] == pytest.approx(run.on(scenes[1]).metrics["rsum"])
    assert row["printed_i2t_r1"] == 40.5 and np.isnan(row["printed_i2t_r5"])
    assert [file.suffix for file in sorted(tmp_path.iterdir())] == [".csv", ".png"]
