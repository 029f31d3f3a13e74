"""Milvus Lite in a file and Milvus at an address: the very same code, restarts, clear errors."""

from __future__ import annotations

import builtins
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from test_index import DIM, NAMES, same, unit

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

from xmr_lib.errors import DataError, MissingDependencyError
from xmr_lib.index import milvus_index
from xmr_lib.index.exact import ExactIndex
from xmr_lib.index.following import follow
from xmr_lib.index.milvus_index import MilvusIndex


def lite(folder, name: str = "pictures", dim: int = DIM) -> MilvusIndex:
    return MilvusIndex(str(folder / "milvus.db"), name, dim, folder / f"{name}.json")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server of its own process, at a TCP address as a cluster's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    server = subprocess.Popen(
        [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder / "data"),
         "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(120):
            if server.poll() is not None:
                pytest.skip("milvus-lite's server does not start here")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.25)
        else:
            pytest.skip("milvus-lite's server does not answer")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def test_an_address_takes_the_same_code(address, tmp_path):
    exact = ExactIndex(tmp_path / "exact", DIM)
    exact.add(NAMES[:60], unit(60))
    query = unit(1, seed=1)
    with MilvusIndex(address, "pictures", DIM, tmp_path / "a.json") as index:
        assert index.description.startswith("Milvus, ")
        follow(index, exact)
        same(index.search(query, 60)[0], exact.search(query, 60)[0])
        exact.add([NAMES[3]], query)
        exact.remove([NAMES[4]])
        follow(index, exact)
        same(index.search(query, 60)[0], exact.search(query, 60)[0])
    with MilvusIndex(address, "pictures", DIM, tmp_path / "a.json") as again:
        assert (len(again), again.synced) == (59, 62)
        same(again.search(query, 5)[0], exact.search(query, 5)[0])
        with MilvusIndex(address, "pictures", DIM, tmp_path / "b.json") as elsewhere:
            follow(elsewhere, exact)  # another machine, which does not know how far it is
            assert len(elsewhere) == 59


def test_the_token_comes_from_the_environment(monkeypatch, tmp_path):
    import pymilvus

    given = {}

    class Client:
        def __init__(self, **arguments):
            given.update(arguments)

        def has_collection(self, _):
            return False

        def close(self):
            given["closed"] = True

    monkeypatch.setattr(pymilvus, "MilvusClient", Client)
    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    MilvusIndex("https://cluster.example:19530", "x", DIM, tmp_path / "x.json").close()
    assert given == {"uri": "https://cluster.example:19530", "token": "root:secret", "closed": True}
    assert "secret" not in "".join(f.read_text() for f in tmp_path.glob("*"))


def test_no_server_there(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(DataError, match="Is the server running"):
            MilvusIndex(uri, "x", DIM, tmp_path / "x.json")


CHILD = """
import sys
import numpy as np
from pathlib import Path
from xmr_lib.index.milvus_index import MilvusIndex
folder = Path(sys.argv[1])
index = MilvusIndex(str(folder / "milvus.db"), "pictures", 16, folder / "pictures.json")
print(len(index), index.synced, index.search(np.eye(16)[:1], 1)[0][0][0])
index.add(["theirs"], np.eye(16)[:1])
index.remove(["picture 1.jpg"])
{end}
"""


@pytest.mark.parametrize("end", ["index.close()", "import os; os._exit(9)"], ids=["", "killed"])
def test_another_process_finds_everything_after_a_restart(tmp_path, end):
    index = lite(tmp_path)
    index.add(NAMES[:30], unit(30))
    index.synced = 7
    query = np.eye(DIM)[:1]
    best = index.search(query, 1)[0][0][0]
    index.close()
    code = CHILD.format(end=end)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    if "exit" not in end:
        assert done.stdout.strip() == f"30 7 {best}"
    with lite(tmp_path) as again:
        assert len(again) == 30
        assert again.missing(["theirs", *NAMES[:30]]) == [NAMES[1]]
        same(again.search(query, 1)[0], [("theirs", 1.0)])


def test_one_process_at_a_time(tmp_path):
    with lite(tmp_path) as index:
        index.add(NAMES[:3], unit(3))
        with lite(tmp_path, "captions") as other:  # the same process may open it twice
            other.add(["c"], unit(1))
        assert len(index) == 3, "closing one leaves the other open"
        code = CHILD.format(end="")
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE, text=True
        )
        assert done.returncode and "open in another process" in done.stderr


def test_another_model_and_older_weights(tmp_path):
    with lite(tmp_path) as index:
        index.add(NAMES[:3], unit(3))
    with pytest.raises(DataError, match="holds vectors of 16 numbers, but the model's have 8"):
        lite(tmp_path, dim=8)
    state = tmp_path / "pictures.json"
    where = str(tmp_path / "milvus.db")
    with MilvusIndex(where, "of other weights", 8, state) as index:
        assert len(index) == index.synced == 0
        index.add(["a"], unit(1, dim=8))
    with lite(tmp_path) as index:
        assert len(index) == 0, "the collection of older weights is gone"


def test_more_than_milvus_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(milvus_index, "_MOST_K", 5)
    with lite(tmp_path) as index:
        index.add(NAMES[:10], unit(10))
        with pytest.raises(DataError, match="at most 5 neighbours, not 6"):
            index.search(unit(1), 6)


@pytest.mark.parametrize("name", ["pymilvus", "milvus_lite", "faiss"])
def test_what_is_not_installed_is_named(name, monkeypatch, tmp_path):
    from xmr_lib.index.faiss_index import FaissIndex

    real = builtins.__import__

    def without(module, *rest, **more):
        if module.split(".")[0] == name:
            raise ImportError(f"No module named {name!r}", name=name)
        return real(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=rf'{name} is not .*pip install -e ".\[search'):
        FaissIndex(tmp_path, DIM) if name == "faiss" else lite(tmp_path)
