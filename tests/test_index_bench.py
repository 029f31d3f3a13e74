"""The comparison of indexes runs on small sizes, and its picture shows what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from bench import index as bench


def test_synthetic_vectors_are_unit_vectors_around_centres():
    vectors, queries = bench.clusters(300, dim=8, centres=3, n_queries=20, spread=0.01)
    assert vectors.shape == (300, 8) and queries.shape == (20, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (queries @ vectors.T).max(1).min() > 0.99


@pytest.mark.parametrize("kinds", [("exact", "faiss"), ("exact", "milvus")])
def test_kinds_are_compared(kinds, monkeypatch):
    pytest.importorskip("milvus_lite" if "milvus" in kinds else "faiss")
    for user in ("faiss_index", "milvus_index"):
        monkeypatch.setattr(f"xmr_lib.index.{user}.lists_for", lambda n: int(2 * n**0.5))
    vectors, queries = bench.clusters(400, dim=8, centres=40, n_queries=30)
    frame = bench.compare("made", vectors, queries, kinds, efforts=(1, 40), repeats=2)
    assert frame["kind"].tolist() == [kinds[0], kinds[1], kinds[1]]
    assert frame["effort"].tolist() == [0, 1, 40] and frame["lists"].tolist() == [0, 40, 40]
    assert frame["recall@10"].iloc[[0, 2]].tolist() == [1, 1] > [frame["recall@10"].iloc[1]]
    assert frame[["milliseconds", "load_seconds"]].gt(0).all(axis=None)
    figure = bench.plot(frame)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == [bench._LABELS[kind] for kind in kinds]
    assert axes.lines[1].get_ydata().tolist() == frame["recall@10"].tolist()[1:]
