"""k-reciprocal re-ranking, against whole tables and one item after the other as the peers do."""

from __future__ import annotations

import time

import numpy as np
import torch

from bench.rows import Row, faster, in_own_process, in_turns, peak_bytes, within
from xmr_lib import reranking
from xmr_lib.similarity import l2norm


def plain_rerank(
    within_queries: np.ndarray,
    cross: np.ndarray,
    within_answers: np.ndarray,
    k1: int = 20,
    k2: int = 6,
    lam: float = 0.3,
) -> np.ndarray:
    """k-reciprocal re-ranking with whole tables, one item after the other.

    Args:
        within_queries: Euclidean distances, `(n_queries, n_queries)`.
        cross: `(n_queries, n_answers)`.
        within_answers: `(n_answers, n_answers)`.
        k1: As `reranking.Settings`.
        k2: As `reranking.Settings`.
        lam: As `reranking.Settings`.

    Returns:
        Final distances `(n_queries, n_answers)`.
    """
    d = np.block([[within_queries, cross], [cross.T, within_answers]]) ** 2
    d /= d.max(axis=1, keepdims=True)
    n_queries, n = len(cross), len(d)
    near = np.argpartition(d, range(k1 + 1), axis=1)[:, : k1 + 1]  # sorted as far as k1

    def reciprocal(i: int, k: int) -> np.ndarray:
        mine = near[i, : k + 1]
        return mine[(near[mine, : k + 1] == i).any(axis=1)]

    v = np.zeros_like(d)
    for i in range(n):
        mine = reciprocal(i, k1)
        members = [mine]
        for j in mine:
            theirs = reciprocal(j, round(k1 / 2))
            if len(np.intersect1d(theirs, mine)) > 2 / 3 * len(theirs):
                members.append(theirs)
        members = np.unique(np.concatenate(members))
        weights = np.exp(-d[i, members])
        v[i, members] = weights / weights.sum()
    if k2 != 1:
        v = np.stack([v[near[i, :k2]].mean(axis=0) for i in range(n)])
    have = [np.flatnonzero(column) for column in v.T]  # the items that have each neighbour
    final = lam * d[:n_queries, n_queries:]
    for i in range(n_queries):
        m = np.zeros(n, dtype=d.dtype)
        for j in np.flatnonzero(v[i]):
            m[have[j]] += np.minimum(v[i, j], v[have[j], j])
        m = m[n_queries:]
        final[i] += (1 - lam) * (1 - m / (2 - m))
    return final


def made_vectors(
    n_images: int, dim: int = 1024, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in topics of about ten, and five captions around each image."""
    rng = np.random.default_rng(seed)
    topics = rng.standard_normal((max(n_images // 10, 1), dim), dtype=np.float32)
    images = topics[rng.integers(len(topics), size=n_images)]
    images = images + rng.standard_normal(images.shape, dtype=np.float32)
    captions = np.repeat(images, 5, axis=0)
    captions += 1.2 * rng.standard_normal(captions.shape, dtype=np.float32)
    return l2norm(torch.from_numpy(images)), l2norm(torch.from_numpy(captions))


def made_tables(n_images: int) -> list[np.ndarray]:
    """Euclidean distances within and between `made_vectors`."""
    a, b = made_vectors(n_images)
    pairs = ((a, a), (a, b), (b, b))  # in place: memory is measured on top of what this takes
    return [(x @ y.T).mul_(-2).add_(2).clamp_(min=0).sqrt_().numpy() for x, y in pairs]


def bench_rerank(n_images: int = 1000, repeats: int = 3) -> list[Row]:
    """From the same tables of distances, and from vectors; then memory, also at five times that."""
    tables, vectors = made_tables(n_images), made_vectors(n_images)
    owner = np.repeat(np.arange(n_images), 5)
    plain, ours, both_ways = in_turns(
        lambda: plain_rerank(*tables),
        lambda: reranking.from_distances(*tables).distances(),
        lambda: reranking.evaluate(*vectors, owner),
        repeats=repeats,
    )
    work = f"re-ranking {n_images:,} + {5 * n_images:,}"
    rows = [
        faster(f"{work}, from tables of distances", plain, ours, 10),
        Row(
            f"{work}, from vectors, both directions and their ranks",
            plain,
            both_ways,
            "reported",
            plain / both_ways,
            None,
        ),
    ]
    extra = {}
    for way in ("plain", "sparse"):
        found = in_own_process(__name__, "once", way=way, n_images=n_images)
        extra[way] = (found["peak"] - found["input"]) / 1e6
    rows.append(
        Row(
            f"{work}: memory beside the tables",
            extra["plain"],
            extra["sparse"],
            "< 200 MB",
            extra["plain"] / max(extra["sparse"], 1),
            extra["sparse"] < 200,
            "MB",
        )
    )
    large = in_own_process(__name__, "once", way="vectors", n_images=5 * n_images)
    work = f"re-ranking {5 * n_images:,} + {25 * n_images:,}, both directions and their ranks"
    rows += [
        within(f"{work}, whole process", large["peak"], 2e9),
        Row(work, float("nan"), large["seconds"], "reported", float("nan"), None),
    ]
    return rows


def once(way: str, n_images: int) -> dict[str, float]:
    """Works once, "plain" or "sparse" on tables, or on "vectors".

    Returns:
        "seconds" that it took, and "input", the most bytes held before it began.
    """
    given = made_vectors(n_images) if way == "vectors" else made_tables(n_images)
    before, started = peak_bytes(), time.perf_counter()
    if way == "vectors":
        reranking.evaluate(*given, np.repeat(np.arange(n_images), 5))
    elif way == "plain":
        plain_rerank(*given)
    else:
        reranking.from_distances(*given).distances()
    return {"seconds": time.perf_counter() - started, "input": before}
