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
    together = np.array([[0, 1, 2, 3], [1, 0, 6, 0], [2, 6, 0, 4], [3, 0, 4, 0]], dtype=np.int32)
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
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.zeros(2, dtype="V8")))
    with pytest.raises(DataError, match="objects"):
        read_pickle(tmp_path / "a.pkl")
    mark = tmp_path / "executed"
    evil = np.array([Evil(os.system, f"touch {mark}")], dtype=object)
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(evil))
    with pytest.raises(DataError, match="refused"):
        read_pickle(tmp_path / "b.pkl")
    assert not mark.exists()


class Reduced:
    """Pickles as a call with a state."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("code", ["V8", "f8"])
@pytest.mark.parametrize(
    "inner", [(None, ("a",), {"a": (np.dtype("i8"), 0)}), ((np.dtype("i8"), (1,)), None, None)]
)
def test_dtypes_with_parts_are_refused(tmp_path, code, inner):
    """The part could be an object while the flags say that there is none: a made-up address."""
    dtype = Reduced(np.dtype, (code, False, True), (3, "|", *inner, 8, 1, 0))
    reconstruct = np.ones(1).__reduce__()[0]
    record = Reduced(reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), dtype, False, b"A" * 8))
    scalar = Reduced(np.float64(1).__reduce__()[0], (dtype, b"A" * 8))
    for content in (record, {scalar: "a key is hashed as soon as it is read"}):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match="refused"):
            read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(6, dtype=">i2"),
        np.array(["dog", "é"]),
        np.array([b"dog", b"\xff"]),
        np.array([True, False]),
        np.arange(8)[::2],
        np.array(3.5),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_come_back_as_they_were(tmp_path, array, protocol):
    content = {"x": [array, (array[..., :1] if array.ndim else array[()])]}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    for found, was in zip(read_pickle(tmp_path / "a.pkl")["x"], content["x"], strict=True):
        assert found.dtype == was.dtype.newbyteorder("=") or found.dtype == was.dtype
        np.testing.assert_array_equal(found, was)


def test_arrays_shorter_than_they_say_are_refused(tmp_path):
    reconstruct, arguments, state = np.ones(3).__reduce__()
    short = Reduced(reconstruct, arguments, (*state[:4], state[4][:-1]))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(short))
    with pytest.raises(DataError, match="cannot be read"):
        read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"f30k_concepts_glove_word2vec.pkl": {}}, r"word2vec\.pkl needs arrays"),
        ({"f30k_concepts_glove_word2vec.pkl": np.array(["a"] * 4)}, r"word2vec\.pkl needs arrays"),
        ({"f30k_concepts_glove_word2vec.pkl": np.full((4, 3), np.nan)}, r"word2vec\.pkl .*finite"),
        ({"f30k_concepts_glove_word2vec.pkl": np.ones(4)}, "4 concepts"),
        ({"f30k_concepts_glove_word2vec.pkl": np.ones((5, 3))}, "4 concepts"),
        ({"f30k_adj_concepts.pkl": {"nums": 1}}, "adj_all"),
        ({"f30k_adj_concepts.pkl": {"nums": np.ones(4), "adj_all": np.eye(4)}}, "symmetric"),
        ({"f30k_adj_concepts.pkl": {"nums": np.ones(4), "adj_all": np.tri(4, k=-1)}}, "symmetric"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, changes, said):
    with pytest.raises(DataError, match=said):
        load_peer_concepts(folder(tmp_path, **changes))


def test_missing_and_damaged_files_are_told(tmp_path):
    with pytest.raises(DataError, match=r"category_concepts\.json is missing"):
        load_peer_concepts(tmp_path)
    folder(tmp_path)
    (tmp_path / "f30k_adj_concepts.pkl").write_bytes(b"\x80\x02}q")
    with pytest.raises(DataError, match="cannot be read as a pickle"):
        load_peer_concepts(tmp_path)
    (tmp_path / "f30k_adj_concepts.pkl").unlink()
    with pytest.raises(DataError, match="must hold one"):
        load_peer_concepts(tmp_path)
