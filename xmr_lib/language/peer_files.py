"""CVSE's own concept files of Flickr30K, read without executing what a pickle may hold.

A pickle can run any code when it is opened. Here an unpickler that knows nothing but NumPy's
arrays and plain containers opens them; everything else is refused.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from xmr_lib.errors import DataError
from xmr_lib.language.concepts import Concepts

# All that an array of numbers needs; the module's name changed in NumPy 2.
_ALLOWED = {
    *(
        (f"numpy.{core}.multiarray", name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class _Restricted(pickle.Unpickler):
    """Refuses every name but those that NumPy's arrays need."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")  # written by Python 2
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 writes an array's bytes
            return _latin1
        raise DataError(
            f"{self.path} asks for {module}.{name}, which no concept file needs: refused, nothing "
            "was executed. Do not trust this file."
        )

    def persistent_load(self, pid: Any) -> Any:
        raise DataError(f"{self.path} asks for an object of another file: refused.")


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise DataError(f"A pickle asks for the encoding {encoding!r}: refused.")
    return text.encode("latin1")


def read_pickle(path: str | Path) -> Any:
    """A pickle of plain containers and numeric arrays.

    Raises:
        DataError: The file is missing or damaged, or asks for anything else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            found = _Restricted(file, path).load()
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except Exception as error:  # a damaged pickle raises whatever it stumbles over
        raise DataError(f"{path} cannot be read as a pickle ({error!r}).") from None
    _refuse_objects(found, path)
    return found


def _refuse_objects(found: Any, path: Path) -> None:
    if isinstance(found, np.ndarray) and found.dtype.hasobject:
        raise DataError(f"{path} holds an array of objects, not of numbers: refused.")
    if isinstance(found, dict):
        for value in found.values():
            _refuse_objects(value, path)
    elif isinstance(found, list | tuple):
        for value in found:
            _refuse_objects(value, path)


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
        counts, together = np.asarray(graph["nums"]), np.asarray(graph["adj_all"])
    except (KeyError, TypeError, IndexError):
        raise DataError(f"{graph_file} needs a dictionary with 'nums' and 'adj_all'.") from None
    vectors = np.asarray(vectors, dtype=np.float32)
    if counts.shape != (n,) or together.shape != (n, n) or vectors.shape[:1] != (n,):
        raise DataError(
            f"{folder}: {n} concepts, but counts, co-occurrence and vectors of shapes "
            f"{counts.shape}, {together.shape}, {vectors.shape}."
        )
    words = tuple(sorted(forms, key=forms.__getitem__))
    return Concepts(words, _kinds(folder, n), counts, together, forms), vectors


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
