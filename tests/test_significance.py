"""Bootstrap: equal to a slow obvious version, and right about noise on data of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.evaluation import Ranks, Retrieval
from xmr_lib.stats.significance import Comparison, bootstrap_interval, paired_bootstrap


def ranks(greater: np.ndarray, tied: np.ndarray | None = None) -> Ranks:
    tied = np.zeros_like(greater) if tied is None else tied
    return Ranks(greater, tied, np.ones_like(greater))


def random_run(seed: int, captions_per_image: list[int], spread: int = 12) -> Retrieval:
    rng = np.random.default_rng(seed)
    image_of_caption = np.repeat(np.arange(len(captions_per_image)), captions_per_image)
    n, m = len(captions_per_image), len(image_of_caption)
    return Retrieval(
        ranks(rng.integers(0, spread, n), rng.integers(0, 3, n)),
        ranks(rng.integers(0, spread, m), rng.integers(0, 3, m)),
        image_of_caption,
    )


def world(rng, difficulty, shift=0.0, captions=5) -> Retrieval:
    """A run whose chance of a top-10 hit is known for every image."""
    p = 1 / (1 + np.exp(-(difficulty + shift)))
    of_captions = np.repeat(p, captions)
    return Retrieval(
        ranks((rng.random(len(p)) > p) * 20),
        ranks((rng.random(len(of_captions)) > of_captions) * 20),
        np.repeat(np.arange(len(p)), captions),
    )


def slow_metric(run: Retrieval, images, metric: str) -> float:
    """The metric of one drawn test set, one image and one caption at a time."""
    names = ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10"]
    total = 0.0
    for name in names if metric == "rsum" else [metric]:
        way, k = name.split("_r")
        hits = getattr(run, way).recall_at_k(int(k))
        found = []
        for image in images:
            if way == "i2t":
                found.append(hits[image])
            else:
                found.extend(hits[c] for c in np.flatnonzero(run.image_of_caption == image))
        total += 100 * sum(found) / len(found)
    return total


UNEVEN = [1, 5, 2, 7, 3, 3, 1, 4]


@pytest.mark.parametrize("metric", ["rsum", "i2t_r1", "t2i_r5", "t2i_r3"])
def test_interval_equals_slow_version(metric):
    run = random_run(0, UNEVEN)
    drawn = np.random.default_rng(7).integers(len(UNEVEN), size=(50, len(UNEVEN)))
    slow = [slow_metric(run, images, metric) for images in drawn]
    fast = bootstrap_interval(run, metric, n=50, seed=7)
    assert fast == pytest.approx(np.quantile(slow, [0.025, 0.975]))


def test_paired_with_seeds_equals_slow_version():
    """Same images on both sides, seeds drawn for each side by itself."""
    a = [random_run(seed, UNEVEN) for seed in (0, 1, 2)]
    b = [random_run(seed, UNEVEN, spread=15) for seed in (3, 4)]
    rng = np.random.default_rng(5)
    drawn = rng.integers(len(UNEVEN), size=(40, len(UNEVEN)))
    seeds_a = rng.integers(3, size=(40, 3))
    seeds_b = rng.integers(2, size=(40, 2))
    slow = [
        np.mean([slow_metric(a[s], images, "rsum") for s in of_a])
        - np.mean([slow_metric(b[s], images, "rsum") for s in of_b])
        for images, of_a, of_b in zip(drawn, seeds_a, seeds_b, strict=True)
    ]
    fast = paired_bootstrap(a, b, n=40, seed=5, level=0.9)
    assert (fast.low, fast.high) == pytest.approx(tuple(np.quantile(slow, [0.05, 0.95])))
    mean = [np.mean([run.metrics()["rsum"] for run in side]) for side in (a, b)]
    assert fast.difference == pytest.approx(mean[0] - mean[1])


def test_blocks_do_not_change_the_result(monkeypatch):
    run = random_run(0, UNEVEN)
    whole = bootstrap_interval(run, n=300)
    monkeypatch.setattr("xmr_lib.stats.significance._BLOCK", 7 * len(UNEVEN))
    # other draws (seeds are drawn between the blocks), the same distribution
    assert bootstrap_interval(run, n=300) == pytest.approx(whole, rel=0.15)


def test_identical_runs_are_noise():
    run = random_run(0, [5] * 100)
    same = paired_bootstrap(run, run)
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    assert same.noise


def test_clear_difference_is_real_and_signed():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=300)
    good, bad = world(rng, difficulty, 1.5), world(rng, difficulty)
    better = paired_bootstrap(good, bad, "t2i_r10")
    worse = paired_bootstrap(bad, good, "t2i_r10")
    assert not better.noise and better.low > 0
    assert not worse.noise and worse.high < 0
    assert "real" in str(better)


def test_pairing_narrows_the_interval():
    """What is hard for both sides cancels: the paired interval is narrower than unpaired ones."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(scale=3, size=300)
    a, b = world(rng, difficulty), world(rng, difficulty)
    paired = paired_bootstrap(a, b, "i2t_r10")
    widths = [np.diff(bootstrap_interval(run, "i2t_r10"))[0] for run in (a, b)]
    assert paired.high - paired.low < 0.9 * np.hypot(*widths)


def test_seeds_that_disagree_widen_the_interval():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=200)
    alike = [world(rng, difficulty) for _ in range(3)]
    unlike = [world(rng, difficulty, shift) for shift in (-1, 0, 1)]
    low, high = bootstrap_interval(alike, "t2i_r10")
    wide_low, wide_high = bootstrap_interval(unlike, "t2i_r10")
    assert wide_high - wide_low > 2 * (high - low)


def test_coverage():
    """95 % intervals hold the true recall of the world about 95 times in a hundred."""
    rng = np.random.default_rng(0)
    truth = 100 * np.mean(1 / (1 + np.exp(-rng.normal(size=1_000_000))))
    inside = 0
    for trial in range(200):
        run = world(rng, rng.normal(size=150))
        low, high = bootstrap_interval(run, "t2i_r10", n=300, seed=trial)
        inside += low <= truth <= high
    assert 0.89 <= inside / 200 <= 0.99


def test_one_image_says_nothing():
    hit = Retrieval(ranks(np.array([0])), ranks(np.array([0, 0])), np.array([0, 0]))
    miss = Retrieval(ranks(np.array([50])), ranks(np.array([50, 50])), np.array([0, 0]))
    assert bootstrap_interval(hit) == (0, 600)
    comparison = paired_bootstrap(hit, miss)
    assert comparison == Comparison("rsum", 600, -600, 600)
    assert comparison.noise


def test_captions_in_any_order():
    run = random_run(0, UNEVEN)
    order = np.random.default_rng(1).permutation(len(run.image_of_caption))
    shuffled = Retrieval(
        run.i2t,
        Ranks(*(getattr(run.t2i, field)[order] for field in ("greater", "tied", "hits"))),
        run.image_of_caption[order],
    )
    assert bootstrap_interval(shuffled) == pytest.approx(bootstrap_interval(run))


def test_errors():
    run, other = random_run(0, UNEVEN), random_run(0, [5] * 8)
    with pytest.raises(DataError, match="different test sets"):
        paired_bootstrap(run, other)
    with pytest.raises(UnknownNameError, match="i2t_r1"):
        bootstrap_interval(run, "i2t_medr")
    with pytest.raises(DataError, match="No runs"):
        paired_bootstrap([], run)
