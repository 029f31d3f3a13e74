"""Every kind of index finds what sorting everything finds, and follows the exact one."""

from __future__ import annotations

import builtins
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from xmr_lib.errors import DataError, MissingDependencyError
from xmr_lib.index import vectors as module
from xmr_lib.index.faiss_index import FaissIndex
from xmr_lib.index.milvus_index import MilvusIndex
from xmr_lib.index.recall import measure, recall_at_k
from xmr_lib.index.vectors import ExactIndex

DIM = 16
NAMES = [f"picture {i}.jpg" for i in range(300)]


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


def opened(kind: str, exact: ExactIndex, effort: int | None = None, uri: str | None = None):
    """An index of any kind beside an exact one; the same one each time."""
    folder = exact.folder.parent
    if kind == "exact":
        return exact
    pytest.importorskip(kind if kind == "faiss" else "milvus_lite")
    if kind == "faiss":
        return FaissIndex(exact, folder / "faiss.safetensors", effort)
    return MilvusIndex(exact, uri or str(folder / "milvus.db"), folder / "milvus.json", effort)


@pytest.fixture
def exact(tmp_path):
    index = ExactIndex(tmp_path / "exact", DIM)
    index.add(NAMES[:200], unit(200))
    return index


@pytest.fixture
def few(monkeypatch):
    """Lists from fifty vectors on, and small files, so that little data takes all ways."""
    for user in ("vectors", "faiss_index", "milvus_index"):
        monkeypatch.setattr(f"xmr_lib.index.{user}.lists_for", lambda n: int(2 * n**0.5))
    monkeypatch.setattr(module, "PER_FILE", 40)


# --- the exact index ------------------------------------------------------------------------------


@pytest.mark.parametrize("per_file", [40, 4096])
def test_adding_updating_and_removing_as_a_dictionary_does(tmp_path, monkeypatch, per_file):
    monkeypatch.setattr(module, "PER_FILE", per_file)
    index, content, rng = ExactIndex(tmp_path, DIM), {}, np.random.default_rng(0)
    for step in range(12):
        ids = list(rng.choice(NAMES, 30))  # some twice: the later vector counts
        vectors = unit(30, seed=step)
        index.add(ids, vectors)
        for name, vector in zip(ids, vectors, strict=True):
            content.pop(name, None)
            content[name] = vector
        gone = list(rng.choice(NAMES, 12))
        assert index.remove(gone) == len(set(gone) & set(content))
        for name in gone:
            content.pop(name, None)
    query = unit(1, seed=99)
    for each in (index, ExactIndex(tmp_path, DIM)):
        assert len(each) == len(content) and set(each.ids) == set(content)
        same(each.search(query, 500)[0], by_hand(content, query[0], 500))
    assert len(list(tmp_path.iterdir())) == (1 if per_file == 4096 else 6)
    index.remove(NAMES)
    assert not list(tmp_path.iterdir()) and index.search(query, 3) == [[]]


def test_ties_come_in_the_order_of_adding(tmp_path):
    index, vector = ExactIndex(tmp_path, DIM), unit(1)
    index.add(["c", "a", "b"], np.repeat(vector, 3, 0))
    assert [name for name, _ in index.search(vector, 3)[0]] == ["c", "a", "b"]


def test_names_of_all_kinds(tmp_path):
    names = [
        'a "quote".jpg',
        "back\\slash",
        "Grüße 犬 🐕.png",
        "a\0b",
        "tab\tnew\nline",
        "",
        "\udcff",
    ]
    ExactIndex(tmp_path, DIM).add(names, unit(len(names)))
    assert ExactIndex(tmp_path, DIM).ids == names


def test_refuses(exact):
    vectors = unit(4)
    with pytest.raises(DataError, match="2 ids, but 4 vectors"):
        exact.add(["b", "c"], vectors)
    with pytest.raises(DataError, match="holds vectors of 16 numbers"):
        exact.search(unit(1, dim=8), 1)
    for worst in (np.nan, np.inf):
        broken = vectors.copy()
        broken[2, 3] = worst
        with pytest.raises(DataError, match=r"c: its vector has length (nan|inf), not 1 \(1 of 4"):
            exact.add(list("abcd"), broken)
    with pytest.raises(DataError, match="query 1: its vector has length 2, not 1"):
        exact.search(np.stack([vectors[0], 2 * vectors[1]]), 1)
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        exact.search(vectors, 0)
    with pytest.raises(DataError, match="vectors of 16 numbers, but the model's have 8"):
        ExactIndex(exact.folder, 8)
    assert len(exact) == 200, "nothing of what was refused is there"


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_left_out_and_the_others_stay(exact, few, damage):
    exact.add(NAMES[200:], unit(100, seed=1))
    file = max(exact.folder.iterdir())
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes({"flip": content, "cut": content[:-7], "empty": b""}[damage])
    with pytest.warns(UserWarning, match=r"vectors-000001.safetensors is damaged.*computed again"):
        again = ExactIndex(exact.folder, DIM)
    assert again.ids == NAMES[:200]


# --- the kinds beside it --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["faiss", "milvus"])
@pytest.mark.parametrize("lists", [False, True], ids=["all compared", "lists"])
def test_other_kinds_follow_every_change(kind, lists, exact, request):
    if lists:
        request.getfixturevalue("few")
    queries = unit(3, seed=9)
    for change in ("nothing", "add", "remove", "everything"):
        if change == "add":
            exact.add([*NAMES[5:9], "new"], unit(5, seed=2))
        if change == "remove":
            exact.remove(NAMES[20:30])
        if change == "everything":
            exact.remove(exact.ids)
        for _ in range(2):  # the second time it is found as it was left
            index = opened(kind, exact, effort=1000)  # looks into every list
            assert ("lists" in index.description) == (lists and len(exact) > 0)
            for k in (1, 10, 500):
                for mine, its in zip(
                    index.search(queries, k), exact.search(queries, k), strict=True
                ):
                    same(mine, its)
            index.close()


def test_a_kept_index_is_used_again_and_a_damaged_one_built_anew(exact, tmp_path):
    opened("faiss", exact)
    file = tmp_path / "faiss.safetensors"
    before = file.stat().st_mtime_ns
    opened("faiss", exact)
    assert file.stat().st_mtime_ns == before
    file.write_bytes(file.read_bytes()[:-9])
    query = unit(1, seed=1)
    same(opened("faiss", exact).search(query, 9)[0], exact.search(query, 9)[0])


def test_few_lists_find_less(exact, few):
    queries = unit(100, seed=1)
    truth = exact.search(queries, 10)
    index = opened("faiss", exact)
    recalls = []
    for index.effort in (1, 8, 28):
        found = measure(index.search, truth, queries)
        recalls.append(found["recall@10"])
        assert found["milliseconds"] > 0
    assert index.lists == 28 and recalls[0] < recalls[1] < recalls[2] == 1


def test_recall_by_hand():
    best = [[("a", 0.9), ("b", 0.8), ("c", 0.8)], [("d", 0.5)]]
    assert recall_at_k([[("a", 0.9), ("c", 0.8)], [("d", 0.5)]], best, k=2) == 1
    assert recall_at_k([[("b", 0.8)], []], best, k=2) == 0.25


# --- Milvus ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server of its own process, at a TCP address as a cluster's."""
    pytest.importorskip("milvus_lite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder / "data")]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(120):
            with socket.socket() as probe:
                if server.poll() is None and probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.25)
        else:
            pytest.skip("milvus-lite's server does not start here")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def test_an_address_takes_the_same_code_and_keeps_one_collection(address, exact):
    query = unit(1, seed=1)
    for change in (lambda: None, lambda: exact.add([NAMES[3]], query)):
        change()
        index = opened("milvus", exact, uri=address)
        assert index.description.startswith("Milvus, ")
        same(index.search(query, 60)[0], exact.search(query, 60)[0])
        collections = index._client.list_collections()
        index.close()
    assert collections == [index.collection], "the collection of older vectors is gone"


def test_half_a_collection_is_filled_anew(exact, monkeypatch):
    pytest.importorskip("milvus_lite")
    from pymilvus import MilvusClient

    insert, calls = MilvusClient.insert, []

    def killed(self, name, rows):
        calls.append(len(rows))
        insert(self, name, rows[:50])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MilvusClient, "insert", killed)
        with pytest.raises(KeyboardInterrupt):
            opened("milvus", exact)
    assert calls == [200]
    index = opened("milvus", exact)
    assert len(index.search(unit(1), 500)[0]) == 200
    index.close()


def test_one_process_at_a_time_and_the_others_wait(exact):
    index, second = (
        opened("milvus", exact),
        opened("milvus", exact),
    )  # in one process
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from xmr_lib.index.vectors import ExactIndex; from xmr_lib.index import milvus_index\n"
        "folder = Path(sys.argv[1]); milvus_index._WAIT = float(sys.argv[2])\n"
        "exact = ExactIndex(folder / 'exact', 16)\n"
        "index = milvus_index.MilvusIndex(\n"
        "    exact, str(folder / 'milvus.db'), folder / 'milvus.json')\n"
        "print(len(index.search(np.eye(16)[:1], 500)[0])); index.close()\n"
    )
    command = [sys.executable, "-c", code, str(exact.folder.parent)]
    told = subprocess.run([*command, "0.1"], stderr=subprocess.PIPE, text=True)
    assert told.returncode and "open in another process" in told.stderr
    waiting = subprocess.Popen([*command, "60"], stdout=subprocess.PIPE, text=True)
    index.close()
    assert len(second.search(unit(1), 500)[0]) == 200, "closing one leaves the other open"
    second.close()
    assert waiting.communicate()[0].strip() == "200"


def test_the_token_comes_from_the_environment(monkeypatch, exact, tmp_path):
    import pymilvus

    given = {}

    class Client:
        def __init__(self, **arguments):
            given.update(arguments)

        def __getattr__(self, _):
            return lambda *_, **__: False

    exact.remove(exact.ids)
    monkeypatch.setattr(pymilvus, "MilvusClient", Client)
    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    MilvusIndex(exact, "https://cluster.example:19530", tmp_path / "x.json").close()
    assert given == {"uri": "https://cluster.example:19530", "token": "root:secret"}
    assert "secret" not in (tmp_path / "x.json").read_text()


def test_what_milvus_cannot_do_is_explained(exact, tmp_path, monkeypatch):
    pytest.importorskip("milvus_lite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(DataError, match="Is the server running"):
            opened("milvus", exact, uri=uri)
    monkeypatch.setattr("xmr_lib.index.milvus_index._MOST_K", 5)
    index = opened("milvus", exact)
    with pytest.raises(DataError, match="at most 5 neighbours, not 6"):
        index.search(unit(1), 6)
    index.close()


@pytest.mark.parametrize("name", ["pymilvus", "milvus_lite", "faiss"])
def test_what_is_not_installed_is_named(name, monkeypatch, exact, tmp_path):
    real = builtins.__import__

    def without(module, *rest, **more):
        if module.split(".")[0] == name:
            raise ImportError(f"No module named {name!r}", name=name)
        return real(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=rf'{name} is not .*pip install -e ".\[search'):
        if name == "faiss":
            FaissIndex(exact, tmp_path / "x")
        else:
            MilvusIndex(exact, str(tmp_path / "x.db"), tmp_path / "x.json")
