"""Printed beside measured: the bookkeeping, with made-up runs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from xmr_course.tables import paper, pictures, reproduce, rows

from xmr_lib import runs
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.evaluation import Ranks, Retrieval, evaluate_protocol, mean_metrics
from xmr_lib.recipes import compose
from xmr_lib.similarity import Encoded, cosine_similarity


def retrieval(seed: int, quality: float, n: int = 80) -> Retrieval:
    """A run that finds each right answer first with a chance of `quality`."""
    rng = np.random.default_rng(seed)

    def ranks(n):
        greater = np.where(rng.random(n) < quality, 0, 20)
        return Ranks(greater, np.zeros(n, int), np.ones(n, int))

    return Retrieval(ranks(n), ranks(5 * n), np.repeat(np.arange(n), 5))


QUALITY = {"VSE++": 0.3, "avg-4-BiGRU": 0.3001}  # all others: 0.7


@pytest.fixture
def made_up(monkeypatch):
    """`runs.run` without training; returns the list of (recipe, seed) that it was called with."""
    calls = []

    def made(name, seed, seconds):
        quality = QUALITY.get(name, 0.7)
        return SimpleNamespace(
            retrieval=retrieval(seed, quality),
            evaluate=lambda protocol, rerank: [retrieval(seed + 9, quality + 0.1 * bool(rerank))],
            report=SimpleNamespace(n_images=80),
            seconds=seconds,
            seed=seed,
        )

    def run(recipe, data, *, seed, features, root, regions):
        assert (features == "regions") == recipe.of_regions
        calls.append((recipe, seed))
        return made(recipe.name, seed, 2.0)

    def ensemble(name, members):
        return made(name, members[0].seed, sum(member.seconds for member in members))

    monkeypatch.setattr(runs, "run", run)
    monkeypatch.setattr(rows, "Ensemble", ensemble)
    monkeypatch.setattr(rows, "features_of", lambda *given, **more: "regions")
    return calls


def made_up_data(name: str = "toy"):
    return SimpleNamespace(name=name)


def go(table, tmp_path, name="toy", **kwargs):
    return reproduce.reproduce(
        table, made_up_data(name), features=object(), out=tmp_path, **kwargs
    ).set_index("method", drop=False)


def test_every_row_with_a_recipe_is_run_for_every_seed(made_up, tmp_path):
    frame = go("rfe-6", tmp_path, seeds=(3, 4))
    printed = paper.table("rfe-6")
    rows = [compose(name) for name in printed.recipe_of_row.values() if name]
    names = {member for row in rows for member in row.members}  # each once, ensembles included
    assert sorted((r.name, s) for r, s in made_up) == sorted((n, s) for n in names for s in (3, 4))
    assert all(recipe.scale == "toy" for recipe, _ in made_up)
    assert frame["method"].tolist() == printed.methods
    for metric in (*paper.RECALLS, "rsum"):
        assert frame[f"printed_{metric}"].equals(printed.frame.set_index("method")[metric])


def test_mean_and_deviation_over_seeds(made_up, tmp_path):
    frame = go("rfe-8", tmp_path, seeds=(0, 1, 2))
    sums = [retrieval(seed, 0.7).metrics()["rsum"] for seed in (0, 1, 2)]
    row = frame.loc["avg-4-GRU-emb-avg"]
    assert row["measured_rsum"] == pytest.approx(np.mean(sums))
    assert row["sd_rsum"] == pytest.approx(np.std(sums, ddof=1))
    assert (row["seeds"], row["seconds"]) == (3, 2.0)


def test_verdicts_against_vsepp(made_up, tmp_path):
    frame = go("rfe-6", tmp_path, seeds=(0, 1))
    assert frame["verdict"]["VSE++ [BMVC2018]"] == "baseline"
    assert frame["verdict"]["avg-4-BiGRU-emb-avg"] == "real"
    assert frame["difference"]["avg-4-BiGRU-emb-avg"] > 0
    assert frame["verdict"]["avg-4-BiGRU"] == "noise"
    assert frame["against"]["avg-4-BiGRU"] == "VSE++ [BMVC2018]"


def test_without_vsepp_the_best_printed_row_is_the_baseline(made_up, tmp_path):
    frame = go("rfe-1", tmp_path, seeds=(0,))
    assert frame["verdict"]["mg=0.2"] == "baseline"
    assert set(frame["against"]) == {"", "mg=0.2"}
    assert [recipe.model.margin for recipe, _ in made_up] == [0.1, 0.2, 0.3, 0.6]


def test_one_seed_has_no_deviation(made_up, tmp_path):
    frame = go("rfe-8", tmp_path, seeds=(0,))
    assert frame["sd_rsum"].isna().all()
    assert "±" not in reproduce.to_text(frame).split("\n", 2)[2]


def test_rows_without_recipe_are_shown_as_printed(made_up, tmp_path, monkeypatch):
    known = dict(paper.table("rfe-7").recipe_of_row)
    known["RFE-ensemble"] = None
    monkeypatch.setattr(paper.PaperTable, "recipe_of_row", property(lambda self: known))
    frame = go("rfe-7", tmp_path, seeds=(0,))
    row = frame.loc["RFE-ensemble"]
    assert row["printed_rsum"] == 388.1
    assert pd.isna(row["measured_rsum"]) and row["seeds"] == 0
    assert row["status"] == "not yet built"
    text = reproduce.to_text(frame)
    assert "not yet built" in text and "388.1" in text


def test_toy_numbers_are_called_so(made_up, tmp_path):
    assert "TOY NUMBERS" in go("rfe-8", tmp_path, seeds=(0,)).attrs["title"]
    real = go("rfe-8", tmp_path, name="flickr8k", seeds=(0,))
    assert "TOY" not in real.attrs["title"] and "flickr8k" in real.attrs["title"]
    assert made_up[-1][0].scale == "laptop"


def test_files(made_up, tmp_path):
    frame = go("rfe-6", tmp_path, seeds=(0, 1))
    assert {file.name for file in tmp_path.iterdir()} == {"rfe-6-toy.csv", "rfe-6-toy.png"}
    read = pd.read_csv(tmp_path / "rfe-6-toy.csv")
    assert read["method"].tolist() == frame["method"].tolist()
    assert read["measured_rsum"].to_numpy() == pytest.approx(
        frame["measured_rsum"].to_numpy(), abs=1e-3, nan_ok=True
    )
    go("rfe-8", tmp_path, seeds=(0,), scale="laptop")
    assert (tmp_path / "rfe-8-toy-laptop.csv").is_file()


def test_text_says_footnotes_and_baseline(made_up, tmp_path):
    text = reproduce.to_text(go("rfe-1", tmp_path, seeds=(0, 1)))
    assert "its cells add up to 400.4" in text
    assert "Differences are against mg=0.2." in text
    assert " ± " in text


def test_paper_scale_on_coco_takes_the_slow_schedule(made_up, tmp_path):
    go("rfe-6", tmp_path, name="coco", seeds=(0,), scale="paper")
    factors = {recipe.name: recipe.training.lr_drop_factor for recipe, _ in made_up}
    assert factors["avg-4-BiGRU"] == pytest.approx(1 / 1.2)
    assert factors["VSE++"] == 0.1


def test_overrides_reach_every_recipe(made_up, tmp_path):
    go("rfe-8", tmp_path, seeds=(0,), epochs=2)
    assert {recipe.training.epochs for recipe, _ in made_up} == {2}


@pytest.mark.parametrize(
    ("table", "n_images", "protocol"),
    [
        ("rfe-6", 5000, "1k-folds"),
        ("rfe-7", 5000, "5k"),
        ("rfe-6", 1000, "all"),
        ("rfe-8", 1000, "all"),
        ("rfe-8", 5000, "all"),
    ],
)
def test_protocol_is_the_tables_own_where_the_data_allow(table, n_images, protocol):
    assert reproduce._protocol(paper.table(table), n_images) == protocol


def test_folds_joined_have_the_mean_of_the_folds():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(50, 4, generator=generator)
    captions = images.repeat_interleave(2, 0) + torch.randn(100, 4, generator=generator)
    parts = evaluate_protocol(
        lambda a, b: cosine_similarity(a.vectors, b.vectors),
        Encoded(images),
        Encoded(captions),
        np.repeat(np.arange(50), 2),
        "1k-folds",
        fold_size=10,
    )
    whole = reproduce.joined(parts).metrics()
    mean = mean_metrics(parts)
    assert whole["rsum"] == pytest.approx(mean["rsum"])
    assert len(reproduce.joined(parts).i2t.greater) == 50
    assert reproduce.joined(parts).image_of_caption.tolist() == np.repeat(range(50), 2).tolist()


def test_errors(made_up, tmp_path):
    with pytest.raises(UnknownNameError, match="rfe-6"):
        go("rfe6", tmp_path)
    with pytest.raises(DataError, match="seconds"):
        go("rfe-5", tmp_path)
    with pytest.raises(DataError, match="seed"):
        go("rfe-8", tmp_path, seeds=())
    assert not made_up


def test_table_without_any_recipe(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(
        paper.PaperTable, "recipe_of_row", property(lambda self: dict.fromkeys(self.methods))
    )
    with pytest.raises(DataError, match="can be trained yet"):
        go("smfea-5", tmp_path)


def test_comparison_shows_verdicts_and_rows_not_measured():
    frame = pd.DataFrame({"method": ["VSE++", "RFE", "RFE-ensemble"]})
    for metric in ("i2t_r1", "t2i_r1", "rsum"):
        frame[f"printed_{metric}"] = [50.0, np.nan, 60.0]
        frame[f"measured_{metric}"] = [40.0, 45.0, np.nan]
        frame[f"sd_{metric}"] = [1.0, np.nan, np.nan]
    frame["difference"] = [np.nan, 5.0, np.nan]
    frame["verdict"] = ["baseline", "real", ""]
    figure = pictures.plot_comparison(frame, title="toy numbers")
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "+5.0 real" in shown and "baseline" in shown
    assert shown.count("not measured") == 2  # in both panels of measured numbers


def test_ensembles_and_reranked_rows_are_marked_and_compared_with_what_they_come_from(
    made_up, tmp_path
):
    frame = go("rfe-4", tmp_path, seeds=(0, 1))
    assert frame["mark"]["RFE [ours]"] == "transductive"
    assert frame["mark"]["SCAN-RFE t-i AVG + i-t LSE [ours]"] == "ensemble"
    assert frame["mark"]["SCAN t-i AVG [ECCV2018] [24]"] == ""
    against = frame["against"]
    assert against["SCAN-RFE t-i AVG [ours]"] == "SCAN t-i AVG [ECCV2018] [24]"
    both = "SCAN-RFE t-i AVG + i-t LSE [ours]"
    assert against[both] == "SCAN t-i AVG + i-t LSE [ECCV2018] [24]"
    assert against["SCAN t-i AVG [ECCV2018] [24]"] == "VSE++ [BMVC2018] [21]"
    assert frame["seconds"][both] == 4.0, "both members' training"
    trained = [recipe.name for recipe, seed in made_up if seed == 0]
    assert len(trained) == len(set(trained)) == 10, "members are trained once"
    text = reproduce.to_text(frame)
    assert f"{both} ⊕" in text and "RFE [ours] †" in text
    assert "(transductive)" in text and "several models" in text
    assert "Differences are against" not in text and "against" in text.splitlines()[2]


def test_reranking_stands_against_the_same_before(made_up, tmp_path):
    frame = go("rfe-9", tmp_path, seeds=(0, 1))
    base = "avg-4-max-1234-BiGRU-emb-avg"
    assert frame["verdict"][base] == "baseline"
    assert frame["against"][f"{base}-rerank"] == base
    assert frame["difference"][f"{base}-rerank"] > 0
    assert len(made_up) == 2, "nothing is trained for the re-ranked row"


def test_what_was_saved_can_be_read_again(made_up, tmp_path):
    measured = go("rfe-6", tmp_path, seeds=(0, 1)).reset_index(drop=True)
    read = reproduce.saved("rfe-6", folder=tmp_path)
    pd.testing.assert_frame_equal(read, measured.round(3), check_dtype=False)
    assert "TOY NUMBERS" in read.attrs["title"] and "RFE Table VI" in read.attrs["title"]
    text = reproduce.to_text(read).split("\n")
    assert text[3:-1] == reproduce.to_text(measured).split("\n")[3:]
    assert text[-1] == f"Measured numbers: {tmp_path / 'rfe-6-toy.csv'}"


def test_rows_that_are_not_printed_can_be_added(made_up, tmp_path):
    both = "SCAN t-i AVG + VSE++-rerank"
    frame = go("rfe-10", tmp_path, seeds=(0,), extra=[both, "VSE++"])
    assert frame["method"].tolist()[2:] == [both, "VSE++"]
    assert frame["mark"][both] == "ensemble, transductive"
    assert pd.isna(frame["printed_rsum"][both]) and frame["measured_rsum"][both] > 0
    assert frame["verdict"]["VSE++"] == "baseline"
    read = reproduce.saved("rfe-10", folder=tmp_path)
    assert read["mark"].tolist() == frame["mark"].tolist()
    assert f"{both} ⊕ †" in reproduce.to_text(read)
    few = go("rfe-10", tmp_path, seeds=(0,), rows=["avg-4-GRU-emb-avg"], extra=["VSE++"])
    assert few["seeds"].tolist() == [1, 0, 1]
    with pytest.raises(UnknownNameError, match="VSE"):
        go("rfe-10", tmp_path, extra=["VSE+++"])


def test_what_was_not_saved_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match="python -m xmr_course reproduce rfe-7"):
        reproduce.saved("rfe-7", folder=tmp_path)
    with pytest.raises(UnknownNameError):
        reproduce.saved("rfe-77")


def test_a_partial_table_never_replaces_a_whole_one(made_up, tmp_path):
    go("rfe-8", tmp_path, seeds=(0, 1))
    whole = (tmp_path / "rfe-8-toy.csv").read_bytes()
    frame = go("rfe-8", tmp_path, seeds=(0,), rows=["avg-4-GRU-emb-avg"])
    assert (tmp_path / "rfe-8-toy.csv").read_bytes() == whole
    assert frame.attrs["csv"] == str(tmp_path / "rfe-8-toy-partial.csv")


def test_tables_that_come_with_the_kit_are_preferred(made_up, tmp_path, monkeypatch):
    """What a command measures goes to the folder of pictures and hides no shipped table."""
    monkeypatch.setenv("XMR_FIGURES", str(tmp_path))
    shipped = reproduce.saved("rfe-8")
    own = reproduce.reproduce("rfe-8", made_up_data(), features=object(), seeds=(0,))
    assert own.attrs["csv"] == str(tmp_path / "reproduce" / "rfe-8-toy.csv")
    pd.testing.assert_frame_equal(reproduce.saved("rfe-8"), shipped)
    assert shipped.attrs["notes"][-1] == "Measured numbers: figures/reproduce/rfe-8-toy.csv"
    monkeypatch.setattr(reproduce, "SHIPPED", tmp_path / "none")  # as in an installed package
    assert reproduce.saved("rfe-8")["seeds"].tolist() == own["seeds"].tolist()
