"""CVSE's own concept files of Flickr30K, read without executing what a pickle may hold.

A pickle can run any code when it is opened, and even NumPy's own part in it follows what the file
says about memory: a made-up dtype can take eight bytes of the file for the address of an object.
So the unpickler here knows plain containers and three stand-ins of NumPy's names, which build
arrays of numbers and text out of checked parts; everything else is refused.
"""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from xmr_lib.errors import DataError
from xmr_lib.language.concepts import Concepts


class _Refused(Exception):
    """The file wants something that no concept file needs; says what."""


class _Dtype:
    """Stands in for `numpy.dtype`: numbers, truth values and text of a fixed length."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[biufSU]\d{1,4}", code):
            raise _Refused("holds an array of objects, not of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        _, order, *inner = state[:5]
        if inner != [None, None, None]:  # parts of a record
            raise _Refused("holds an array of objects, not of numbers")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array as `numpy.ndarray` begins in a pickle: empty, its content follows."""

    def __setstate__(self, state: tuple) -> None:
        version, shape, dtype, fortran, content = state
        super().__setstate__((version, shape, dtype.dtype, fortran, _latin1(content)))

    def __repr__(self) -> str:
        return repr(np.asarray(self))


def _latin1(text: str | bytes | bytearray, encoding: str = "latin1") -> bytes:
    """Bytes, which Python 2 wrote as text: `_codecs.encode` of protocol 2 and below."""
    if encoding != "latin1":
        raise _Refused(f"asks for the encoding {encoding!r}")
    return text.encode("latin1") if isinstance(text, str) else bytes(text)


class _Restricted(pickle.Unpickler):
    """Refuses every name but those that arrays of numbers need, and calls none of NumPy's."""

    def find_class(self, module: str, name: str) -> Any:
        # Methods, not functions: a pickle could set a function's attributes.
        known = {
            "numpy.ndarray": "numpy.ndarray",  # only ever an argument
            "numpy.dtype": _Dtype,
            "numpy.core.multiarray._reconstruct": self._array,
            "numpy.core.multiarray.scalar": self._scalar,
            "numpy.core.numeric._frombuffer": self._filled_array,
            "_codecs.encode": self._bytes,
        }
        full = f"{module}.{name}"
        as_in_numpy_1 = re.sub(r"^numpy\._core\.", "numpy.core.", full)
        if as_in_numpy_1 not in known:
            raise _Refused(f"asks for {full}, which no concept file needs")
        return known[as_in_numpy_1]

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("asks for an object of another file")

    def _array(self, *_: Any) -> _Array:
        return _Array((0,), dtype=np.int8)

    def _filled_array(self, content: bytes, dtype: _Dtype, shape: tuple, order: str) -> np.ndarray:
        return np.frombuffer(bytes(content), dtype.dtype).reshape(shape, order=order)

    def _scalar(self, dtype: _Dtype, content: str | bytes) -> np.generic:
        return np.frombuffer(_latin1(content), dtype.dtype, count=1)[0]

    def _bytes(self, text: str, encoding: str) -> bytes:
        return _latin1(text, encoding)


def read_pickle(path: str | Path) -> Any:
    """A pickle of plain containers and arrays of numbers or text.

    Raises:
        DataError: The file is missing or damaged, or asks for anything else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _Restricted(file, encoding="latin1").load()  # CVSE's were written by Python 2
    except _Refused as error:
        raise DataError(
            f"{path} {error}: refused, nothing was executed. Do not trust this file."
        ) from None
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except Exception as error:  # a damaged pickle raises whatever it stumbles over
        raise DataError(f"{path} cannot be read as a pickle ({error!r}).") from None


def load_peer_concepts(folder: str | Path) -> tuple[Concepts, np.ndarray]:
    """CVSE's concepts with its word vectors.

    Args:
        folder: Holds `category_concepts.json` (word -> number), one `*_adj_concepts.pkl` (counts
            and co-occurrence) and one `*_concepts_glove_word2vec.pkl`; `vocab_*_concepts.pkl`
            says how many are nouns, adjectives and verbs, if it is there.

    Returns:
        The concepts, each standing for its own form only, and `(n, d)` float32 vectors.

    Raises:
        DataError: A file is missing, damaged, dangerous, or does not fit the others.
    """
    folder = Path(folder)
    names = folder / "category_concepts.json"
    try:
        numbers = json.loads(names.read_text(encoding="utf-8"))
        forms = {str(word): int(i) for word, i in numbers.items()}
    except FileNotFoundError:
        raise DataError(f"{names} is missing: that is no folder of CVSE's concepts.") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{names} is not a JSON object of words and numbers ({error}).") from None
    n = len(forms)
    if sorted(forms.values()) != list(range(n)):
        raise DataError(f"{names}: the numbers must be 0, 1, 2, … without gaps.")
    graph_file, vector_file = _one(folder, "*_adj_concepts.pkl"), _one(folder, "*word2vec.pkl")
    graph, vectors = read_pickle(graph_file), read_pickle(vector_file)
    try:
        counts, together = graph["nums"], graph["adj_all"]
    except (KeyError, TypeError, IndexError):
        raise DataError(f"{graph_file} needs a dictionary with 'nums' and 'adj_all'.") from None
    counts, together = (_numbers(values, graph_file) for values in (counts, together))
    vectors = _numbers(vectors, vector_file).astype(np.float32)
    fits = counts.shape == (n,) and together.shape == (n, n)
    if not fits or vectors.ndim != 2 or len(vectors) != n:
        raise DataError(
            f"{folder}: {n} concepts, but counts, co-occurrence and vectors of shapes "
            f"{counts.shape}, {together.shape}, {vectors.shape}."
        )
    if (together != together.T).any() or together.diagonal().any():
        raise DataError(f"{graph_file}: 'adj_all' must be symmetric, with zeros on the diagonal.")
    words = tuple(sorted(forms, key=forms.__getitem__))
    return Concepts(words, _kinds(folder, n), counts, together, forms), vectors


def _numbers(values: Any, path: Path) -> np.ndarray:
    """An array of finite numbers; `path` is for the message."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        found = getattr(values, "dtype", type(values).__name__)
        raise DataError(f"{path} needs arrays of numbers, not {found}.")
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds numbers that are not finite.")
    return np.array(values)


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise DataError(f"{folder} must hold one {pattern}, not {len(found)}.")
    return found[0]


def _kinds(folder: Path, n: int) -> tuple[int, ...]:
    """How many nouns, adjectives and verbs; 7 : 2 : 1 where no file says it."""
    files = sorted(folder.glob("vocab_*_concepts.pkl"))
    if len(files) == 1:
        found = read_pickle(files[0])
        classes = [str(kind) for kind in found.get("poss", ())] if isinstance(found, dict) else []
        if len(classes) == n:
            kinds = list(dict.fromkeys(classes))
            return tuple(classes.count(kind) for kind in kinds)
    return n * 7 // 10, n * 2 // 10, n - n * 7 // 10 - n * 2 // 10
