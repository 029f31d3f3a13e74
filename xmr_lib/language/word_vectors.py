"""Word vectors for concepts: read from a GloVe file, or derived from the training captions.

GloVe's vectors are a download of their own. Without them the kit makes vectors from the captions
it trains on: words that share contexts get similar vectors.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from xmr_lib.data.vocabulary import tokenize
from xmr_lib.errors import DataError

WINDOW = 4  # words on each side that count as context
N_CONTEXTS = 2000  # the most frequent words


def caption_vectors(
    captions: Sequence[str], forms: Mapping[str, int], n: int, dim: int = 300
) -> np.ndarray:
    """Vectors from the captions alone: positive mutual information of words and their contexts.

    Args:
        captions: The training captions.
        forms: Word form -> which of the `n` words it is a form of.
        n: How many words get a vector.
        dim: Size of a vector; where the captions have fewer directions, the rest is zeros.

    Returns:
        `(n, dim)` float32, rows of length 1, or 0 for words that never occur; the same every time.
    """
    tokenized = [tokenize(caption) for caption in captions]
    words = Counter(word for tokens in tokenized for word in tokens if word.isalpha())
    contexts = sorted(words, key=lambda word: (-words[word], word))[:N_CONTEXTS]
    column = {word: i for i, word in enumerate(contexts)}
    counts = np.zeros((n, len(column)))
    for tokens in tokenized:
        for i, token in enumerate(tokens):
            if token in forms:
                for word in tokens[max(0, i - WINDOW) : i] + tokens[i + 1 : i + 1 + WINDOW]:
                    if word in column:
                        counts[forms[token], column[word]] += 1
    vectors = _reduced(_positive_information(counts), dim)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)


def _positive_information(counts: np.ndarray) -> np.ndarray:
    """`max(0, log(p(w, c) / (p(w) p(c))))`, zero where nothing was counted."""
    total = counts.sum()
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / max(total, 1)
    ratio = np.divide(counts, expected, out=np.ones_like(counts), where=(counts > 0))
    return np.maximum(np.log(ratio), 0)


def _reduced(matrix: np.ndarray, dim: int) -> np.ndarray:
    """The `dim` strongest directions; each points where its largest entry is positive."""
    left, strength, _ = np.linalg.svd(matrix, full_matrices=False)
    # Directions that are nothing but rounding would give words that never occur a vector.
    strength[strength <= strength.max(initial=0) * max(matrix.shape) * np.finfo(float).eps] = 0
    reduced = left * np.sqrt(strength)
    reduced[~matrix.any(1)] = 0
    signs = np.sign(reduced[np.abs(reduced).argmax(0), np.arange(reduced.shape[1])])
    reduced = (reduced * np.where(signs == 0, 1, signs))[:, :dim]
    return np.pad(reduced, ((0, 0), (0, dim - reduced.shape[1])))


def load_glove(path: str | Path, words: Sequence[str]) -> np.ndarray:
    """Vectors of some words from a GloVe text file, or an `.npz` with `words` and `vectors`.

    Args:
        path: A file with a word and its numbers a line (a first line of counts is skipped), or
            an `.npz`.
        words: Whose vectors; a word of several words takes their mean, an unknown one zeros, with
            a warning.

    Returns:
        `(len(words), d)` float32.

    Raises:
        DataError: The file is missing, or a wanted word's line is not a word and finite numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No word vectors at {path}.")
    parts = {part for word in words for part in word.split(" ")}
    found = _from_npz(path, parts) if path.suffix == ".npz" else _from_text(path, parts)
    if not found:
        raise DataError(f"{path} has a vector for none of the {len(words)} words.")
    dim = len(next(iter(found.values())))
    vectors = np.zeros((len(words), dim), dtype=np.float32)
    missing = []
    for i, word in enumerate(words):
        if known := [found[part] for part in word.split(" ") if part in found]:
            vectors[i] = np.mean(known, axis=0)
        else:
            missing.append(word)
    if missing:
        warnings.warn(
            f"{path.name} has no vector for {len(missing)} of {len(words)} words "
            f"({', '.join(missing[:5])} …); they get zeros.",
            stacklevel=2,
        )
    return vectors


def _from_npz(path: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names, vectors = arrays["words"].tolist(), arrays["vectors"]
    except Exception as error:  # zipfile, NumPy and KeyError
        raise DataError(f"{path} needs arrays 'words' and 'vectors' ({error!r}).") from None
    if vectors.ndim != 2 or len(names) != len(vectors):
        raise DataError(f"{path}: {len(names)} words, but vectors of shape {vectors.shape}.")
    if vectors.dtype.kind not in "iuf" or not np.isfinite(vectors).all():
        raise DataError(f"{path}: 'vectors' must be finite numbers ({vectors.dtype}).")
    return {name: vectors[i] for i, name in enumerate(names) if name in wanted}


def _from_text(path: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    dim = None
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(tqdm(lines, desc="word vectors", unit="word"), start=1):
            fields = line.rstrip(" \r\n").split(" ")  # fastText ends its lines with a space
            if number == 1 and len(fields) == 2:
                continue  # the counts that word2vec writes first
            if dim is None:
                dim = len(fields) - 1
            # GloVe's largest file has names with spaces: "contact name@domain.com 0.1 …"
            spaced = len(fields) > dim + 1 and not _is_number(fields[1])
            if fields[0] not in wanted or spaced:
                continue
            try:
                vector = np.array(fields[1:], dtype=np.float32)
            except ValueError:
                vector = np.zeros(0)
            if not len(vector) or len(vector) != dim or not np.isfinite(vector).all():
                raise DataError(f"{path}, line {number}: not a word and {dim} finite numbers.")
            found.setdefault(fields[0], vector)
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
