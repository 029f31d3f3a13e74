"""CVSE's concept files load, and a pickle that wants to run something is refused."""

from __future__ import annotations

import builtins
import json
import os
import pickle

import numpy as np
import pytest

from xmr_lib.errors import DataError
from xmr_lib.language.peer_files import load_peer_concepts, read_pickle

WORDS = {"dog": 0, "man": 1, "red": 2, "run": 3}


def folder(path, protocol=2, **changes):
    """A folder in the peers' layout."""
    together = np.arange(16, dtype=np.int32).reshape(4, 4)
    files = {
        "f30k_adj_concepts.pkl": {"nums": np.arange(4, dtype=np.int32) + 9, "adj_all": together},
        "f30k_concepts_glove_word2vec.pkl": np.ones((4, 3)),
        "vocab_f30k_concepts.pkl": {"words": list(WORDS), "poss": ["OBJ", "OBJ", "PROP", "MOT"]},
    } | changes
    (path / "category_concepts.json").write_text(json.dumps(WORDS))
    for name, content in files.items():
        (path / name).write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_peer_files_load(tmp_path, protocol):
    concepts, vectors = load_peer_concepts(folder(tmp_path, protocol))
    assert concepts.words == tuple(WORDS) and concepts.kinds == (2, 1, 1)
    assert concepts.counts.tolist() == [9, 10, 11, 12] and concepts.together[1, 2] == 6
    assert vectors.shape == (4, 3) and vectors.dtype == np.float32
    assert concepts.forms == WORDS


def test_names_of_old_numpy_load_too(tmp_path):
    content = pickle.dumps(np.arange(3.0), protocol=2)
    (tmp_path / "a.pkl").write_bytes(content.replace(b"numpy._core", b"numpy.core"))
    assert read_pickle(tmp_path / "a.pkl").tolist() == [0, 1, 2]


class Evil:
    """Runs something when it is unpickled."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    "call",
    [
        (os.system, "touch {}"),
        (builtins.eval, "open({!r}, 'w')"),
        (builtins.getattr, "os", "system"),
        (np.load, "{}"),
        (pickle.loads, b"\x80\x02K\x01."),
    ],
    ids=["system", "eval", "getattr", "np.load", "loads"],
)
def test_malicious_pickles_are_refused(tmp_path, call):
    mark = tmp_path / "executed"
    arguments = [a.format(mark) if isinstance(a, str) else a for a in call[1:]]
    path = folder(tmp_path, **{"f30k_adj_concepts.pkl": Evil(call[0], *arguments)})
    with pytest.raises(DataError, match=r"f30k_adj_concepts\.pkl asks for .* refused"):
        load_peer_concepts(path)
    assert not mark.exists()


def test_arrays_of_objects_are_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"x": [np.array([{}, []], dtype=object)]}))
    with pytest.raises(DataError, match="objects"):
        read_pickle(tmp_path / "a.pkl")
    evil = np.array([Evil(os.system, "true")], dtype=object)
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(evil))
    with pytest.raises(DataError, match="system"):
        read_pickle(tmp_path / "b.pkl")


def test_what_does_not_fit_is_told(tmp_path):
    with pytest.raises(DataError, match=r"category_concepts\.json is missing"):
        load_peer_concepts(tmp_path)
    folder(tmp_path, **{"f30k_concepts_glove_word2vec.pkl": np.ones((5, 3))})
    with pytest.raises(DataError, match="4 concepts"):
        load_peer_concepts(tmp_path)
    folder(tmp_path, **{"f30k_adj_concepts.pkl": {"nums": 1}})
    with pytest.raises(DataError, match="adj_all"):
        load_peer_concepts(tmp_path)
    (tmp_path / "f30k_adj_concepts.pkl").write_bytes(b"\x80\x02}q")
    with pytest.raises(DataError, match="cannot be read as a pickle"):
        load_peer_concepts(tmp_path)
    (tmp_path / "f30k_adj_concepts.pkl").unlink()
    with pytest.raises(DataError, match="must hold one"):
        load_peer_concepts(tmp_path)
