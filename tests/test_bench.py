"""The benchmark compares equal things, and its pieces run on small sizes."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from bench import __main__ as command
from bench import attention, growth, reranking, rows, training

from xmr_lib import models, recipes
from xmr_lib.cross_attention import cross_attention_scores
from xmr_lib.data.batches import Batch
from xmr_lib.errors import UnknownNameError
from xmr_lib.evaluation import evaluate_scores
from xmr_lib.reranking import from_distances


def test_bench_compares_equal_things():
    rng = np.random.default_rng(0)
    scores, owner = rng.standard_normal((30, 150)), np.repeat(np.arange(30), 5)
    i2t, t2i = training.plain_ranks(scores, owner)
    ours = evaluate_scores(scores, owner)
    np.testing.assert_array_equal(i2t, ours.i2t.greater)
    np.testing.assert_array_equal(t2i, ours.t2i.greater)

    torch.manual_seed(0)
    recipe = recipes.get("VSE++", "toy", rnn_dim=16, joint_dim=16, standardise=False)
    model = models.build(recipe.model, 40, (2, 3, 4, 5))
    lengths = torch.randint(1, 9, (12,))
    batch = Batch(torch.arange(12), torch.randint(4, 40, (12, 8)), lengths, torch.rand(12, 28))
    plain = training.plain_step(model, recipe, batch)
    torch.testing.assert_close(plain, model(batch)["loss"])


def test_bench_rows_say_whether_the_aim_is_met():
    assert rows.faster("x", plain=10, ours=2, times=5).met
    assert not rows.faster("x", plain=9.9, ours=2, times=5).met
    assert rows.at_most("x", plain=1, ours=1.14, times=1.15).met
    assert not rows.at_most("x", plain=1, ours=1.16, times=1.15).met


def test_works_run_in_turns():
    order = []
    seconds = rows.in_turns(lambda: order.append("a"), lambda: order.append("b"), repeats=2)
    assert order == ["a", "b"] * 3 and len(seconds) == 2


@pytest.mark.parametrize("how", attention.VARIANTS, ids=lambda how: how.direction)
def test_the_plain_loop_of_scan_gives_the_kits_scores(how):
    images, captions = attention.random_parts(5, 7)
    torch.testing.assert_close(
        attention.plain_scores(images, captions, how),
        cross_attention_scores(images, captions, how),
        atol=1e-5,
        rtol=0,
    )


def test_the_plain_reranking_gives_the_kits_distances():
    tables = reranking.made_tables(20)
    np.testing.assert_allclose(
        reranking.plain_rerank(*tables), from_distances(*tables).distances(), atol=1e-5
    )


def test_random_captions_are_as_long_as_flickrs():
    _, captions = attention.random_parts(1, 2000)
    assert 13 < captions.lengths.float().mean() < 15
    assert captions.lengths.min() >= 4 and captions.lengths.max() > 30
    norms = torch.linalg.vector_norm(captions.flat, dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_what_is_saved_for_the_backward_pass_counts_every_storage_once():
    images, captions = attention.random_parts(3, 3)
    for parts in (images, captions):
        parts.flat.requires_grad_()

    def twice(some_images, some_captions, how):
        table = some_images.flat[:2] * 2.0  # (2, 1024), kept by both products below
        return (table * table).sum() + (table * some_captions.flat[:2]).sum()

    assert attention.saved_bytes(twice, images, captions, None) == 2 * attention.DIM * 4


def test_a_part_that_runs_in_its_own_process_tells_its_memory():
    found = rows.in_own_process(
        "bench.attention",
        "evaluate_some_tiles",
        n_images=4,
        n_captions=8,
        direction="t-i",
        pooling="AVG",
        tiles=1,
    )
    assert found["all_tiles"] == 1 and found["seconds"] > 0
    assert 50e6 < found["before"] <= found["peak"] < 4e9


def test_the_memory_of_the_process_that_asks_does_not_count():
    ballast = np.ones(300_000_000, dtype=np.uint8)
    found = rows.in_own_process(
        "bench.attention", "score_once", n_images=1, n_captions=1, direction="t-i", pooling="AVG"
    )
    assert rows.peak_bytes() > ballast.nbytes
    again = np.ones(1_200_000_000, dtype=np.uint8)
    more = rows.in_own_process(
        "bench.attention", "score_once", n_images=1, n_captions=1, direction="t-i", pooling="AVG"
    )
    assert abs(more["peak"] - found["peak"]) < again.nbytes / 4


def test_rows_of_memory():
    row = rows.smaller("x", plain=30e6, ours=2e6, times=10)
    assert row.met and row.ratio == 15 and (row.plain, row.ours) == (30, 2)
    assert rows.within("x", ours=1.9e9, limit=2e9).met
    assert not rows.within("x", ours=2.1e9, limit=2e9).met
    frame = pd.DataFrame(
        [vars(row), vars(rows.within("y", 1.9e9, 2e9)), vars(rows.faster("z", 10.0, 0.5, 5))]
    )
    text = command.shown(frame).to_string()
    assert "30 MB" in text and "1,900 MB" in text and "500 ms" in text and "10.00 s" in text
    assert "nan" not in text


def test_growth_is_measured_and_drawn():
    frame = growth.measure(scan_images=(2,), rerank_images=(4, 8))
    assert frame["n"].tolist() == [20, 20, 24, 48]
    assert (frame["seconds"] > 0).all()
    assert math.isfinite(frame["megabytes"].iloc[-1])
    titles = [axes.get_title() for axes in growth.plot(frame).axes]
    assert titles == ["SCAN scores", "Re-ranking: time", "Re-ranking: memory beside the input"]


def test_small_benchmarks_run():
    assert len(attention.bench_loss(batch=4, repeats=1)) == 4
    assert {row.unit for row in attention.bench_loss(batch=4, repeats=1)} == {"s", "MB"}


def test_unknown_part_of_the_benchmark():
    with pytest.raises(UnknownNameError, match="rerank"):
        command.main(["reranks"])
