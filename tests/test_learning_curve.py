"""Learning curves: nested sizes, one test set, honest advice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from xmr_course.tables import learning_curve
from xmr_course.tables.learning_curve import (
    RIDGE,
    advice,
    chance,
    epochs_for,
    sizes_for,
    with_fewer,
)

from xmr_lib import evaluation, recipes, toy, training
from xmr_lib.data import captioned
from xmr_lib.errors import DataError


@pytest.fixture(scope="module")
def scenes():
    return captioned.load(toy.draw(n_train=60, n_val=12, n_test=20, seed=5))


@pytest.fixture(scope="module")
def curve(scenes, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XMR_RUNS", str(tmp_path_factory.mktemp("curve")))
        return learning_curve.measure("VSE++", scenes, sizes=(10, 60), seeds=(0, 1), epochs=2)


def test_sizes_end_with_everything():
    assert sizes_for(2) == [2]
    assert sizes_for(26) == [26]
    assert sizes_for(5500) == [50, 100, 200, 500, 1000, 2000, 5500]
    assert sizes_for(5001) == [50, 100, 200, 500, 1000, 2000, 5001]  # 5,000 would tell nothing


def test_smaller_sets_lie_within_larger_ones(scenes):
    files = [set(with_fewer(scenes, n, seed=3).split("train").image_files) for n in (5, 20, 60)]
    assert [len(each) for each in files] == [5, 20, 60]
    assert files[0] < files[1] < files[2]
    assert files[0] != set(with_fewer(scenes, 5, seed=4).split("train").image_files)


def test_only_training_images_are_taken_away(scenes):
    few = with_fewer(scenes, 5)
    for ours, whole in zip(
        training.three_parts(few)[1:], training.three_parts(scenes)[1:], strict=True
    ):
        assert ours.image_files == whole.image_files
        assert ours.captions == whole.captions
        assert ours.rows.tolist() == whole.rows.tolist()


def test_without_a_test_split_the_same_images_choose_the_epoch(scenes):
    two = scenes.subset(np.flatnonzero(scenes.splits != "test"))
    learn, select, report = training.three_parts(two)
    few = with_fewer(two, 7)
    assert training.three_parts(few)[1].image_files == select.image_files
    assert training.three_parts(few)[2].image_files == report.image_files
    assert set(few.split("train").image_files) < set(learn.image_files)


def test_few_images_choose_the_epoch(scenes, monkeypatch):
    monkeypatch.setattr(learning_curve, "N_SELECT", 4)
    few = training.three_parts(with_fewer(scenes, 5))
    assert few[1].image_files == training.three_parts(scenes)[1].image_files[:4]
    assert few[2].n_images == 20


@pytest.mark.parametrize("n", [0, 1, 61])
def test_impossible_sizes(scenes, n):
    with pytest.raises(DataError, match=f"{n} training images"):
        with_fewer(scenes, n)


def test_small_sets_get_more_epochs_up_to_a_limit():
    recipe = recipes.get("VSE++", "laptop")  # 9 epochs of batches of 128
    assert epochs_for(recipe, 1, updates=1500) == learning_curve.MOST_EPOCHS
    assert epochs_for(recipe, 1, updates=20) == 20
    assert epochs_for(recipe, 128 * 20, updates=1500) == 75
    assert epochs_for(recipe, 128 * 20 + 1, updates=1500) == 72  # a batch of one is an update, too
    assert epochs_for(recipe, 10**6, updates=1500) == recipe.training.epochs


def test_measured_rows(curve):
    assert curve[["method", "n_images", "seed"]].to_numpy().tolist() == [
        [method, n, seed] for seed in (0, 1) for n in (10, 60) for method in ("VSE++", RIDGE)
    ]
    assert set(curve[curve.method == "VSE++"]["epochs"]) == {2}
    assert curve["rsum"].between(0, 600).all()
    recalls = curve[list(evaluation.RECALLS)]
    assert np.allclose(recalls.sum(axis=1), curve["rsum"])


def test_both_seeds_keep_other_images(curve):
    ridge = curve[(curve.method == RIDGE) & (curve.n_images == 10)]
    assert ridge["rsum"].nunique() == 2


def test_what_was_trained_is_found_again(scenes, curve, tmp_path_factory, monkeypatch):
    """The second time nothing is trained, and the numbers are the same."""
    monkeypatch.setenv("XMR_RUNS", str(tmp_path_factory.mktemp("again")))
    options = {"sizes": (10,), "seeds": (0,), "epochs": 2, "baseline": False}
    first = learning_curve.measure("VSE++", scenes, **options)
    monkeypatch.setattr(training, "train", None)
    again = learning_curve.measure("VSE++", scenes, **options)
    pd.testing.assert_frame_equal(first, again)
    alone = curve.query("method == 'VSE++' and n_images == 10 and seed == 0")
    assert first["rsum"][0] == pytest.approx(alone["rsum"].iloc[0])


def test_chance_is_what_random_scores_have(scenes):
    report = training.three_parts(scenes)[2]
    rng = np.random.default_rng(0)
    shape = (report.n_images, report.n_captions)
    rsums = [
        evaluation.evaluate_scores(rng.random(shape), report.image_of_caption).metrics()["rsum"]
        for _ in range(300)
    ]
    assert chance(report) == pytest.approx(np.mean(rsums), abs=4 * np.std(rsums) / 300**0.5)


def test_chance_of_one_image(scenes):
    assert chance(scenes.subset(np.array([0]))) == pytest.approx(600)


def rows(values: dict[tuple[str, int], float], blind: float = 10.0) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": m, "n_images": n, "rsum": r, "chance": blind, "seed": 0}
            for (m, n), r in values.items()
        ]
    )


def test_advice_of_a_rising_curve():
    said = " ".join(advice(rows({("VSE++", 100): 50, ("VSE++", 400): 110})))
    assert "110" in said and "+30 rsum for each doubling" in said and "more photographs" in said
    assert "chance:" not in said


def test_advice_of_a_flat_curve_below_the_baseline():
    said = " ".join(
        advice(rows({("VSE++", 100): 20, (RIDGE, 100): 30, ("VSE++", 200): 22, (RIDGE, 200): 21}))
    )
    assert "has become flat" in said
    assert "at least as good on 100 images" in said
    assert "too little data for any use" in said


def test_advice_of_one_size_says_nothing_of_the_next():
    said = advice(rows({("VSE++", 100): 50}))
    assert len(said) == 1


def test_the_picture_shows_all_methods(curve):
    picture = learning_curve.plot(curve, "toy scenes")
    (axes,) = picture.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "VSE++",
        RIDGE,
        "blind guess",
    ]
    assert axes.get_xlabel() and axes.get_ylabel() and axes.get_title() == "toy scenes"
