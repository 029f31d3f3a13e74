"""Every kind of index holds, changes, forgets and keeps vectors as a plain dictionary would."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from xmr_lib.errors import DataError
from xmr_lib.index.exact import ExactIndex
from xmr_lib.index.faiss_index import FaissIndex
from xmr_lib.index.milvus_index import MilvusIndex

DIM = 16
KINDS = ["exact", "faiss", "milvus"]


def unit(n: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    """Random unit vectors."""
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_hand(content: dict[str, np.ndarray], query: np.ndarray, k: int) -> list[tuple[str, float]]:
    """All of a dictionary sorted: best first, of equals the one that came first."""
    scores = [(name, float(vector @ query)) for name, vector in content.items()]
    return sorted(scores, key=lambda each: -each[1])[:k]


def same(found, expected) -> None:
    """The same ids in the same order, and the same scores."""
    assert [name for name, _ in found] == [name for name, _ in expected]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], atol=1e-6)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def open_index(kind: str, folder, dim: int = DIM, effort: int | None = None):
    """An index of any kind in a folder; the same one each time."""
    if kind == "exact":
        return ExactIndex(folder / "exact", dim)
    pytest.importorskip(kind if kind == "faiss" else "milvus_lite")
    if kind == "faiss":
        return FaissIndex(folder / "faiss", dim, effort)
    where = str(folder / "milvus.db")
    return MilvusIndex(where, "pictures", dim, folder / "milvus.json", effort)


@pytest.fixture
def opened(kind, tmp_path):
    """Opens the index of this test, again and again the same."""
    made = []

    def at(dim: int = DIM):
        made.append(open_index(kind, tmp_path, dim))
        return made[-1]

    yield at
    for index in made:
        index.close()


NAMES = [f"picture {i}.jpg" for i in range(300)]


@pytest.mark.parametrize("k", [1, 10, 300, 1000])
def test_finds_what_sorting_everything_finds(opened, k):
    vectors, queries = unit(300), unit(7, seed=1)
    index = opened()
    for start in range(0, 300, 70):
        index.add(NAMES[start : start + 70], vectors[start : start + 70])
    assert len(index) == 300
    content = dict(zip(NAMES, vectors, strict=True))
    found = index.search(queries, k)
    assert len(found) == 7
    for each, query in zip(found, queries, strict=True):
        assert len(each) == min(k, 300)
        same(each, by_hand(content, query, k))


def test_updates_change_the_answer(opened):
    vectors, index = unit(50), opened()
    index.add(NAMES[:50], vectors)
    query = unit(1, seed=1)[0]
    (last, _) = by_hand(dict(zip(NAMES, vectors, strict=False)), query, 50)[-1]
    assert index.search(query[None], 1)[0][0][0] != last
    index.add([last], query[None])
    same(index.search(query[None], 1)[0], [(last, 1.0)])
    assert len(index) == 50
    index.add([last], -query[None])
    assert index.search(query[None], 50)[0][-1] == (last, pytest.approx(-1))


def test_what_is_removed_is_not_found(opened):
    vectors, index = unit(50), opened()
    index.add(NAMES[:50], vectors)
    query = unit(1, seed=1)
    best = [name for name, _ in index.search(query, 3)[0]]
    assert index.remove([*best, "nobody", best[0]]) == 3
    rest = {n: v for n, v in zip(NAMES, vectors, strict=False) if n not in best}
    assert len(index) == 47
    same(index.search(query, 50)[0], by_hand(rest, query[0], 50))
    assert index.missing(["nobody", *NAMES[:50]]) == ["nobody", *[n for n in NAMES if n in best]]
    index.add(best[:1], query)  # it may come back
    assert index.search(query, 1)[0][0] == (best[0], pytest.approx(1))
    index.clear()
    assert len(index) == 0 and index.search(query, 5) == [[]]


def test_nothing_in_it(opened):
    index = opened()
    assert len(index) == 0
    assert index.search(unit(3), 5) == [[], [], []]
    assert index.search(unit(0), 5) == []
    assert index.remove(["a"]) == 0 and index.missing(["a"]) == ["a"]
    index.add([], np.empty((0, DIM)))
    assert len(index) == 0


def test_equal_vectors_are_all_found(opened):
    index, vector = opened(), unit(1)
    index.add(["c", "a", "b", "other"], np.concatenate([vector, vector, vector, -vector]))
    found = index.search(vector, 3)[0]
    assert {name for name, _ in found} == {"a", "b", "c"}
    np.testing.assert_allclose([score for _, score in found], 1, atol=1e-6)


def test_of_an_id_that_comes_twice_the_later_vector_counts(opened):
    index, vectors = opened(), unit(3)
    index.add(["a", "b", "a"], vectors)
    assert len(index) == 2
    same(index.search(vectors[2:], 1)[0], [("a", 1.0)])


def test_names_of_all_kinds(opened):
    names = ["it's.jpg", 'a "quote".jpg', "back\\slash", "Grüße 犬 🐕.png", "a/b/c.jpg", "%d {x}",
             "tab\tnew\nline", "-", "é", "e\u0301", "x" * 1024]  # fmt: skip
    index, vectors = opened(), unit(len(names))
    index.add(names, vectors)
    assert len(index) == len(names) and index.missing(names) == []
    for name, vector in zip(names, vectors, strict=True):
        same(index.search(vector[None], 1)[0], [(name, 1.0)])
    assert index.remove(names[:6]) == 6
    assert index.missing(names) == names[:6]
    index.close()
    assert opened().missing(names) == names[:6]


def test_a_restart_finds_everything(opened):
    vectors, index = unit(200), opened()
    index.add(NAMES[:200], vectors)
    index.add(NAMES[5:8], vectors[100:103])
    index.remove(NAMES[10:20])
    index.synced = 17
    queries = unit(5, seed=1)
    before = index.search(queries, 20)
    index.close()
    again = opened()
    assert len(again) == 190
    after = again.search(queries, 20)
    for one, other in zip(after, before, strict=True):
        same(one, other)
    again.add(["new"], queries[:1])
    assert again.search(queries[:1], 1)[0][0] == ("new", pytest.approx(1))


def test_refuses(opened):
    index, vectors = opened(), unit(4)
    index.add(["a"], vectors[:1])
    with pytest.raises(DataError, match="2 ids, but 4 vectors"):
        index.add(["b", "c"], vectors)
    with pytest.raises(DataError, match="holds vectors of 16 numbers"):
        index.add(["b"], unit(1, dim=8))
    with pytest.raises(DataError, match="holds vectors of 16 numbers"):
        index.search(unit(1, dim=8), 1)
    for worst in (np.nan, np.inf):
        broken = vectors.copy()
        broken[2, 3] = worst
        with pytest.raises(DataError, match=r"c: its vector has length (nan|inf), not 1 \(1 of 4"):
            index.add(list("abcd"), broken)
    with pytest.raises(DataError, match="query 1: its vector has length 2, not 1"):
        index.search(np.stack([vectors[0], 2 * vectors[1]]), 1)
    for name in ("", "x" * 1025, "\udcff.jpg"):
        with pytest.raises(DataError, match="1 to 1024 bytes"):
            index.add([name], vectors[:1])
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        index.search(vectors, 0)
    assert len(index) == 1, "nothing of what was refused is there"
    same(index.search(vectors[:1], 5)[0], [("a", 1.0)])


# --- the exact index alone ------------------------------------------------------------------------


def exact(folder, n: int = 20) -> ExactIndex:
    index = ExactIndex(folder, DIM)
    index.add(NAMES[:n], unit(n))
    return index


def test_ties_come_in_the_order_of_adding(tmp_path):
    index, vector = ExactIndex(tmp_path, DIM), unit(1)
    index.add(["c", "a", "b"], np.repeat(vector, 3, 0))
    assert [name for name, _ in index.search(vector, 3)[0]] == ["c", "a", "b"]


@pytest.mark.parametrize("when", ["vectors", "log", "state"])
def test_half_a_batch_never_counts(tmp_path, monkeypatch, when):
    """Whatever a killed process leaves behind the last complete batch is written over."""
    index, vectors = exact(tmp_path), unit(9, seed=3)
    from xmr_lib.index import exact as module

    real, real_state = module._write_at, module.write_state

    def killed(path, offset, content):
        half = content[: len(content) // 2]
        real(path, offset, half if path.name.startswith(when) else content)
        if path.name.startswith(when):
            raise KeyboardInterrupt

    def never(*_):
        raise KeyboardInterrupt

    if when == "state":
        monkeypatch.setattr(module, "write_state", never)
    else:
        monkeypatch.setattr(module, "_write_at", killed)
    with pytest.raises(KeyboardInterrupt):
        index.add([f"new {i}" for i in range(9)], vectors)
    monkeypatch.setattr(module, "_write_at", real)
    monkeypatch.setattr(module, "write_state", real_state)
    again = ExactIndex(tmp_path, DIM)
    assert again.ids == NAMES[:20]
    again.add(["other"], vectors[4:5])
    again = ExactIndex(tmp_path, DIM)
    assert len(again) == 21
    same(again.search(vectors[4:5], 1)[0], [("other", 1.0)])


def test_another_process_reads_and_writes_it(tmp_path):
    index = exact(tmp_path)
    code = (
        "import sys, numpy as np; from xmr_lib.index.exact import ExactIndex\n"
        f"index = ExactIndex(sys.argv[1], {DIM})\n"
        "vector = np.eye(16)[:1]\n"
        "print(len(index), index.search(vector, 1)[0][0][0]); index.add(['theirs'], vector)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, stdout=subprocess.PIPE, text=True
    )
    query = np.eye(DIM)[:1]
    assert done.stdout.strip() == f"20 {index.search(query, 1)[0][0][0]}"
    assert len(index) == 20
    index.refresh()
    assert len(index) == 21
    same(index.search(query, 1)[0], [("theirs", 1.0)])


def test_rows_that_nobody_looks_at_go(tmp_path, monkeypatch):
    monkeypatch.setattr("xmr_lib.index.exact._MANY_DEAD", 10)
    index, vectors = exact(tmp_path), unit(60, seed=4)
    for start in range(0, 60, 20):  # three updates of everything
        index.add(NAMES[:20], vectors[start : start + 20])
    index.remove(NAMES[:3])
    content = dict(zip(NAMES[3:20], vectors[43:60], strict=True))
    (rows,) = tmp_path.glob("vectors-*.f32")
    assert rows.stat().st_size < 60 * 4 * DIM
    for each in (index, ExactIndex(tmp_path, DIM)):
        assert each.changes == 83, "operations are counted on"
        same(each.search(unit(1, seed=5), 17)[0], by_hand(content, unit(1, seed=5)[0], 17))
        assert each.changed(0, 83) is None, "what was written anew is not known step by step"
    index.add(["new"], vectors[:1])
    assert ExactIndex(tmp_path, DIM).changed(83, 84) == ["new"]


def test_changes_are_known_in_their_order(tmp_path):
    index = ExactIndex(tmp_path, DIM)
    index.add(["a", "b"], unit(2))
    index.remove(["a"])
    index.add(["c", "b"], unit(2, seed=1))
    for each in (index, ExactIndex(tmp_path, DIM)):
        assert each.changes == 5
        assert each.changed(0, 5) == ["a", "b", "c"]
        assert each.changed(2, 4) == ["a", "c"]
        assert each.changed(5, 5) == []


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("state.json", lambda content: content[:20], "state.json"),
        ("state.json", lambda content: b'{"dim": 16}', "state.json"),
        ("vectors-0.f32", lambda content: content[:-1], "vectors-0.f32.*1279 bytes, not 1280"),
        ("vectors-0.f32", lambda content: b"\xff" * len(content), "vectors-0.f32.*NaN"),
        ("log-0.jsonl", lambda content: content[:-30], "log-0.jsonl"),
        ("log-0.jsonl", lambda content: content.replace(b"[", b"("), "log-0.jsonl"),
        ("log-0.jsonl", lambda content: content.replace(b'"+"', b'"-"'), "0 of 20 rows"),
    ],
)
def test_damaged_files_are_named(tmp_path, file, damage, message):
    exact(tmp_path)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message) as told:
        ExactIndex(tmp_path, DIM).search(unit(1), 3)
    assert "Delete" in str(told.value)


def test_missing_files_and_another_model(tmp_path):
    exact(tmp_path)
    with pytest.raises(DataError, match="vectors of 16 numbers, but the model's have 8"):
        ExactIndex(tmp_path, 8)
    (tmp_path / "vectors-0.f32").unlink()
    with pytest.raises(DataError, match="0 bytes, not 1280"):
        ExactIndex(tmp_path, DIM)
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["rows"] == 20
    (tmp_path / "log-0.jsonl").unlink()
    with pytest.raises(DataError, match="log-0"):
        ExactIndex(tmp_path, DIM)
