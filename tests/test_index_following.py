"""Indexes that follow the exact one: filled after any kill, of known recall."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_index import DIM, NAMES, by_hand, open_index, same, unit

from xmr_lib.index import base, following
from xmr_lib.index.exact import ExactIndex
from xmr_lib.index.following import follow
from xmr_lib.index.recall import measure, recall_at_k

MANY = [f"n{i}" for i in range(1500)]


@pytest.fixture(params=["faiss", "milvus"])
def kind(request):
    return request.param


@pytest.fixture
def few(monkeypatch):
    """Lists from fifty vectors on, and small batches, so that little data takes all ways."""
    monkeypatch.setattr(base, "SMALL", 50)
    monkeypatch.setattr(following, "_BATCH", 40)


@pytest.fixture
def exact(tmp_path):
    index = ExactIndex(tmp_path / "exact", DIM)
    index.add(NAMES[:200], unit(200))
    return index


def holds_the_same(index, exact) -> None:
    assert len(index) == len(exact)
    assert index.missing(exact.ids) == []
    query = unit(1, seed=9)
    same(index.search(query, 400)[0], exact.search(query, 400)[0])


@pytest.mark.parametrize("lists", [False, True], ids=["all compared", "lists"])
def test_follows_every_change(kind, lists, exact, tmp_path, request):
    if lists:
        request.getfixturevalue("few")
    with open_index(kind, tmp_path, effort=1000) as index:  # looks into every list
        follow(index, exact)
        holds_the_same(index, exact)
        assert ("lists" in index.description) == lists
        exact.add([*NAMES[5:9], "new"], unit(5, seed=2))
        exact.remove(NAMES[20:30])
        follow(index, exact)
        assert len(index) == 191
        holds_the_same(index, exact)
    with open_index(kind, tmp_path, effort=1000) as again:  # a restart
        assert again.synced == exact.changes == 215
        holds_the_same(again, exact)
        exact.remove(["new"])
        follow(again, exact)
        holds_the_same(again, exact)


@pytest.mark.parametrize("lists", [False, True], ids=["all compared", "lists"])
def test_an_interrupted_load_goes_on(kind, lists, exact, tmp_path, monkeypatch, request):
    monkeypatch.setattr(following, "_BATCH", 40)
    if lists:
        request.getfixturevalue("few")
    index = open_index(kind, tmp_path, effort=1000)
    real, sizes = index._add, []

    def killed_in_the_third(ids, vectors):
        sizes.append(len(ids))
        if len(sizes) == 3:
            raise KeyboardInterrupt
        real(ids, vectors)

    monkeypatch.setattr(index, "_add", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        follow(index, exact)
    index.close()
    with open_index(kind, tmp_path, effort=1000) as again:
        assert len(again) == 80, "two complete batches"
        loaded, real_add = [], again._add
        monkeypatch.setattr(again, "_add", lambda i, v: (loaded.extend(i), real_add(i, v)))
        follow(again, exact)
        assert sorted(loaded) == sorted(NAMES[80:200]), "only what was missing"
        holds_the_same(again, exact)


def test_what_others_did_to_it_is_put_right(kind, exact, tmp_path):
    with open_index(kind, tmp_path) as index:
        follow(index, exact)
        index.remove(NAMES[3:5])
        follow(index, exact)
        holds_the_same(index, exact)
        index.add(["stranger"], unit(1, seed=3))
        follow(index, exact)
        holds_the_same(index, exact)
        index.clear()
        follow(index, exact)
        holds_the_same(index, exact)


def test_operations_that_were_forgotten(kind, exact, tmp_path, monkeypatch):
    monkeypatch.setattr("xmr_lib.index.exact._MANY_DEAD", 10)
    with open_index(kind, tmp_path) as index:
        follow(index, exact)
        exact.remove(NAMES[:2])
        for seed in range(1, 4):
            exact.add(NAMES[2:100], unit(98, seed=seed))
        assert exact.changed(index.synced, exact.changes) is None
        follow(index, exact)
        holds_the_same(index, exact)


def test_it_grows_lists_when_there_is_enough(kind, few, tmp_path):
    exact = ExactIndex(tmp_path / "exact", DIM)
    exact.add(MANY[:40], unit(40))
    with open_index(kind, tmp_path, effort=1000) as index:
        follow(index, exact)
        assert "all vectors compared" in index.description
        exact.add(MANY[40:100], unit(60, seed=1))
        follow(index, exact)
        assert ", 20 lists" in index.description
        exact.add(MANY[100:300], unit(200, seed=2))
        follow(index, exact)
        assert ", 20 lists" in index.description, "not at every step"
        exact.add(MANY[300:], unit(1200, seed=3))
        follow(index, exact)
        assert ", 77 lists" in index.description
        holds_the_same(index, exact)


def test_recall_grows_with_effort(kind, few, tmp_path):
    exact = ExactIndex(tmp_path / "exact", DIM)
    exact.add(MANY, unit(1500))
    queries, found = unit(60, seed=1), {}
    for effort in (1, 8, 77):
        with open_index(kind, tmp_path, effort=effort) as index:
            follow(index, exact)
            found[effort] = measure(index, exact, queries)
            content = dict(zip(MANY, unit(1500), strict=True))
            true = {n for n, _ in by_hand(content, queries[0], 10)}
            mine = index.search(queries[:1], 10)[0]
            assert len(mine) <= 10 and all(a[1] >= b[1] for a, b in itertools.pairwise(mine))
            if effort == 77:
                assert {n for n, _ in mine} == true
    r10 = [found[effort]["recall@10"] for effort in (1, 8, 77)]
    assert 0 < r10[0] < 0.6 < r10[1] < r10[2] == 1
    assert found[77]["recall@1"] == 1 and found[77]["milliseconds"] > 0


def test_recall_by_hand():
    exact = [[("a", 0.9), ("b", 0.8), ("c", 0.7)], [("x", 0.5), ("y", 0.5), ("z", 0.5)]]
    found = [[("b", 0.8), ("c", 0.7)], [("z", 0.5), ("w", 0.4)]]
    # one of {a, b} and one of two of x, y, z, which are equal
    assert recall_at_k(found, exact, 2) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert recall_at_k(found, exact, 1) == pytest.approx((0 + 1) / 2)
    assert recall_at_k(found, exact, 9) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert recall_at_k([[]], [[("a", 1.0)]], 1) == 0
    assert np.isnan(recall_at_k([], [], 1))
