import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import retrieval_hit_rate

from xmr_lib.errors import DataError
from xmr_lib.evaluation import (
    Ranks,
    Retrieval,
    evaluate,
    evaluate_protocol,
    evaluate_scores,
    mean_metrics,
)
from xmr_lib.similarity import Encoded, cosine_similarity, l2norm

GOLDEN = np.load(Path(__file__).parent / "golden" / "eval_ranks.npz")


def made_scores(seed: int, n: int, boost: float) -> np.ndarray:
    scores = np.random.RandomState(seed).standard_normal((n, 5 * n)).astype(np.float32)
    for i in range(n):
        scores[i, 5 * i : 5 * i + 5] += np.float32(boost)
    return scores


def five_each(n: int) -> np.ndarray:
    return np.repeat(np.arange(n), 5)


def peers_five(metrics: dict[str, float], way: str) -> list[float]:
    return [metrics[f"{way}_{name}"] for name in ("r1", "r5", "r10", "medr", "meanr")]


@pytest.mark.parametrize("name", ["rand", "small"])
def test_golden_ranks_and_recalls(name):
    if name == "rand":
        scores = made_scores(11, 1000, 2.5)
        assert hashlib.sha256(scores.tobytes()).hexdigest() == str(GOLDEN["rand_sha256"])
    else:
        scores = GOLDEN["small_S"]
    result = evaluate_scores(scores, five_each(len(scores)))
    for way in ("i2t", "t2i"):
        np.testing.assert_array_equal(getattr(result, way).greater, GOLDEN[f"{name}_{way}_ranks"])
        assert not getattr(result, way).tied.any()
        np.testing.assert_allclose(peers_five(result.metrics(), way), GOLDEN[f"{name}_{way}"])


def test_golden_ties_lie_between_the_bounds():
    scores = np.round(made_scores(11, 1000, 2.5) * 2) / 2
    result = evaluate_scores(scores, five_each(1000))
    for way in ("i2t", "t2i"):
        expected = getattr(result, way).expected()
        assert (expected >= GOLDEN[f"tie_{way}_optimistic"]).all()
        assert (expected <= GOLDEN[f"tie_{way}_pessimistic"]).all()
        np.testing.assert_array_equal(getattr(result, way).greater, GOLDEN[f"tie_{way}_optimistic"])
    metrics = result.metrics()
    ours = [metrics[f"{w}_{m}"] for w in ("i2t", "t2i") for m in ("r1", "r5", "r10")]
    bounds = [
        [*GOLDEN[f"tie_recalls_{side}"][:3], *GOLDEN[f"tie_recalls_{side}"][5:8]]
        for side in ("pessimistic", "optimistic")
    ]
    assert (np.array(bounds[0]) < ours).all() and (ours < np.array(bounds[1])).all()


def test_golden_folds():
    folds = [
        evaluate_scores(made_scores(int(seed), 1000, 2.5), five_each(1000))
        for seed in GOLDEN["fold5_seeds"]
    ]
    columns = [str(c) for c in GOLDEN["fold5_columns"]]
    ours, mean = folds[0].metrics(), mean_metrics(folds)
    compared = 0
    for column, first, average in zip(
        columns, GOLDEN["fold5_per_fold"][0], GOLDEN["fold5_mean"], strict=True
    ):
        if column in ours:
            assert ours[column] == pytest.approx(first)
            assert mean[column] == pytest.approx(average)
            compared += 1
    assert compared >= 7, columns


def test_equal_scores_give_chance():
    metrics = evaluate_scores(np.zeros((40, 200)), five_each(40)).metrics()
    assert metrics["t2i_r1"] == pytest.approx(100 / 40)
    assert metrics["t2i_r10"] == pytest.approx(100 * 10 / 40)
    assert metrics["i2t_r1"] == pytest.approx(100 * 5 / 200)
    assert metrics["t2i_meanr"] == pytest.approx(20.5)


def slow_ranks(scores: np.ndarray, image_of_caption: np.ndarray, trials: int = 4000):
    """Breaks ties by drawing orders, one query at a time."""
    rng = np.random.default_rng(0)

    def first_right(row, right):
        places = []
        for _ in range(trials):
            order = np.lexsort((rng.random(len(row)), -row))
            places.append(int(np.flatnonzero(right[order])[0]))
        return np.array(places)

    i2t = [first_right(row, image_of_caption == i) for i, row in enumerate(scores)]
    every = np.arange(len(scores))
    t2i = [first_right(scores[:, c], every == i) for c, i in enumerate(image_of_caption)]
    return np.array(i2t), np.array(t2i)


def test_ties_equal_drawing_many_orders():
    rng = np.random.default_rng(3)
    image_of_caption = np.array([0, 0, 1, 2, 2, 2, 3])
    scores = rng.integers(0, 3, (4, 7)).astype(float)
    result = evaluate_scores(scores, image_of_caption)
    for ranks, drawn in zip(
        (result.i2t, result.t2i), slow_ranks(scores, image_of_caption), strict=True
    ):
        np.testing.assert_allclose(ranks.expected(), drawn.mean(1), atol=0.1)
        for k in (1, 2, 3):
            np.testing.assert_allclose(ranks.recall_at_k(k), (drawn < k).mean(1), atol=0.04)


@given(st.integers(1, 9), st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_blocks_equal_whole_matrix_for_any_captions_per_image(n_images, seed, block):
    rng = np.random.default_rng(seed)
    image_of_caption = np.concatenate(
        [np.arange(n_images), rng.integers(0, n_images, rng.integers(0, 12))]
    )
    rng.shuffle(image_of_caption)
    scores = torch.as_tensor(rng.integers(0, 4, (n_images, len(image_of_caption))) / 2)
    images = Encoded(torch.arange(n_images)[:, None])
    captions = Encoded(torch.arange(len(image_of_caption))[:, None])
    seen = []

    def score(some_images, some_captions):
        seen.append((len(some_images), len(some_captions)))
        return scores[some_images.vectors, some_captions.vectors.T]

    blocked = evaluate(score, images, captions, image_of_caption, block=block)
    assert max(rows for rows, _ in seen) <= block
    for i in range(n_images):  # the definition, query by query
        own = image_of_caption == i
        best = scores[i, own].max()
        assert blocked.i2t.greater[i] == int((scores[i] > best).sum())
        assert blocked.i2t.tied[i] == int((scores[i, ~own] == best).sum())
        assert blocked.i2t.hits[i] == int((scores[i, own] == best).sum())
    for c, i in enumerate(image_of_caption):
        column = scores[:, c]
        assert blocked.t2i.greater[c] == int((column > column[i]).sum())
        assert blocked.t2i.tied[c] == int((column == column[i]).sum()) - 1
    whole = evaluate_scores(scores, image_of_caption)
    assert whole.metrics() == blocked.metrics()


def test_real_vectors_in_blocks_equal_whole():
    torch.manual_seed(0)
    images, captions = l2norm(torch.randn(230, 32)), l2norm(torch.randn(700, 32))
    owner = np.sort(
        np.concatenate([np.arange(230), np.random.default_rng(0).integers(0, 230, 470)])
    )
    blocked = evaluate(
        lambda a, b: cosine_similarity(a.vectors, b.vectors),
        Encoded(images), Encoded(captions), owner, block=64,
    )  # fmt: skip
    whole = evaluate_scores(cosine_similarity(images, captions), owner)
    np.testing.assert_array_equal(blocked.i2t.greater, whole.i2t.greater)
    np.testing.assert_array_equal(blocked.t2i.greater, whole.t2i.greater)


def test_recall_equals_torchmetrics_hit_rate():
    scores = torch.as_tensor(made_scores(5, 20, 1.0))
    result = evaluate_scores(scores, five_each(20))
    for i in range(20):
        target = torch.as_tensor(five_each(20) == i)
        for k in (1, 5, 10):
            theirs = retrieval_hit_rate(scores[i], target, top_k=k)
            assert result.i2t.recall_at_k(k)[i] == theirs


def test_one_image_one_caption_is_perfect():
    metrics = evaluate_scores(np.array([[-3.0]]), np.array([0])).metrics()
    assert metrics["rsum"] == 600 and metrics["i2t_medr"] == 1


def test_protocols():
    rng = np.random.default_rng(0)
    scores = torch.as_tensor(rng.standard_normal((50, 100)))
    images = Encoded(torch.arange(50)[:, None])
    captions = Encoded(torch.arange(100)[:, None])
    owner = np.repeat(np.arange(50), 2)

    def score(a, b):
        return scores[a.vectors, b.vectors.T]

    folds = evaluate_protocol(score, images, captions, owner, "1k-folds", fold_size=10)
    assert len(folds) == 5
    third = evaluate_scores(scores[20:30, 40:60], owner[:20])
    np.testing.assert_array_equal(folds[2].i2t.greater, third.i2t.greater)
    first = evaluate_protocol(score, images, captions, owner, "first-1k", fold_size=10)
    assert first[0].metrics() == folds[0].metrics()
    with pytest.raises(DataError, match="needs 5000 images; there are 50"):
        evaluate_protocol(score, images, captions, owner, "1k-folds")


def test_nan_scores_are_refused():
    scores = np.zeros((2, 2))
    scores[1, 0] = np.nan
    with pytest.raises(DataError, match=r"images 0–1 .* hold NaN"):
        evaluate_scores(scores, np.array([0, 1]))


def test_infinite_scores_of_both_signs_are_ranked():
    scores = np.array([[np.inf, -np.inf], [0.0, 1.0]])
    assert evaluate_scores(scores, np.array([0, 1])).metrics()["rsum"] == 600


def test_image_without_caption_is_refused():
    with pytest.raises(DataError, match="image \\[1\\] of 2 has none"):
        evaluate_scores(np.zeros((2, 2)), np.array([0, 0]))


def test_save_and_load(tmp_path):
    result = evaluate_scores(made_scores(1, 8, 1.0), five_each(8))
    result.save(tmp_path / "ranks.npz")
    again = Retrieval.load(tmp_path / "ranks.npz")
    assert again.metrics() == result.metrics()
    assert [p.name for p in tmp_path.iterdir()] == ["ranks.npz"]


def test_recall_of_hand_computed_ties():
    # one wrong above, then 2 wrong and 2 right tied: top 2 holds one of four, top 3 two of four
    ranks = Ranks(np.array([1]), np.array([2]), np.array([2]))
    assert ranks.recall_at_k(1)[0] == 0
    assert ranks.recall_at_k(2)[0] == pytest.approx(2 / 4)
    assert ranks.recall_at_k(3)[0] == pytest.approx(1 - (2 / 4) * (1 / 3))
    assert ranks.recall_at_k(4)[0] == 1
    assert ranks.expected()[0] == pytest.approx(1 + 2 / 3)
