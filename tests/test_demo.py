"""The demo, the examples and the bench's pieces, on a handful of toy scenes."""

import numpy as np
import pytest
import torch
from PIL import Image

from xmr_lib import bench, demo, examples, models, recipes, runs
from xmr_lib.data import toy
from xmr_lib.data.batches import Batch
from xmr_lib.evaluation import evaluate_scores

SIZES = {"word_dim": 12, "rnn_dim": 16, "joint_dim": 16, "batch_size": 32, "epochs": 2}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return toy.load(40, 10, 12, folder=tmp_path_factory.mktemp("data") / "toy-tiny")


@pytest.fixture
def small(scenes, monkeypatch, tmp_path):
    """`runs.run` on few scenes with a small network."""
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "cache"))
    whole = runs.run
    monkeypatch.setattr(runs, "run", lambda name, data, **_: whole(name, scenes, **SIZES))
    return lambda name: runs.run(name, "toy")


def test_demo_prints_a_table_and_leaves_three_pictures(small, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XMR_FIGURES", str(tmp_path / "figures"))
    demo.main()
    said = capsys.readouterr().out
    assert "toy numbers" in said and "RFE − VSE++" in said and "search" in said
    for name, run in (("VSE++", small("VSE++")), ("RFE", small("RFE"))):
        (line,) = [line for line in said.splitlines() if line.startswith(name) and "−" not in line]
        assert f"{run.metrics['i2t_r1']:.1f}" in line and f"{run.metrics['rsum']:.1f}" in line
    for name in ("history", "text_to_image", "image_to_text"):
        with Image.open(tmp_path / "figures" / f"demo_{name}.png") as picture:
            assert picture.width > 400


def words(figure) -> str:
    return " ".join(t.get_text().replace("\n", " ") for ax in figure.axes for t in ax.texts)


def test_examples_without_photographs_draw_none(small):
    run = small("RFE")
    figure = examples.text_to_image(run, n=3, k=2, words_only=True)
    assert not any(ax.images for ax in figure.axes)
    said = words(figure)
    n = run.report.n_captions
    for c in (n // 6, n // 2, 5 * n // 6):
        assert run.report.captions[c][:20] in said
        for hit in run.search_images(run.report.captions[c], 2):
            assert run.report.captions_of(hit.index)[0][:12] in said
    with_photographs = examples.text_to_image(run, n=3, k=2)
    assert sum(len(ax.images) for ax in with_photographs.axes) == 6


def test_bench_compares_equal_things():
    rng = np.random.default_rng(0)
    scores, owner = rng.standard_normal((30, 150)), np.repeat(np.arange(30), 5)
    i2t, t2i = bench.plain_ranks(scores, owner)
    ours = evaluate_scores(scores, owner)
    np.testing.assert_array_equal(i2t, ours.i2t.greater)
    np.testing.assert_array_equal(t2i, ours.t2i.greater)

    torch.manual_seed(0)
    recipe = recipes.get("VSE++", "toy", rnn_dim=16, joint_dim=16, standardise=False)
    model = models.build(recipe, 40, (2, 3, 4, 5))
    lengths = torch.randint(1, 9, (12,))
    batch = Batch(torch.arange(12), torch.randint(4, 40, (12, 8)), lengths, torch.rand(12, 28))
    plain = bench.plain_step(model, recipe, batch)
    torch.testing.assert_close(plain, model(batch)["loss"])


def test_bench_rows_say_whether_the_aim_is_met():
    assert bench._faster("x", plain=10, ours=2, times=5).met
    assert not bench._faster("x", plain=9.9, ours=2, times=5).met
    assert bench._at_most("x", plain=1, ours=1.14, times=1.15).met
    assert not bench._at_most("x", plain=1, ours=1.16, times=1.15).met


def test_works_run_in_turns():
    order = []
    seconds = bench.in_turns(lambda: order.append("a"), lambda: order.append("b"), repeats=2)
    assert order == ["a", "b"] * 3 and len(seconds) == 2
