"""Consensus concepts: frequent words, and how often they occur together (SMFEA §3.2.3, CVSE).

CVSE shipped its concepts as files, without the code that made them. Here they are built from the
training captions: the most frequent nouns, adjectives and verbs, 7 : 2 : 1.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from xmr_lib.data.vocabulary import Vocabulary, tokenize
from xmr_lib.errors import DataError
from xmr_lib.files import atomic
from xmr_lib.language.words import Token

_SHARES = {"noun": 7, "adjective": 2, "verb": 1}
_TAGS = {"NN": 0, "NNS": 0, "JJ": 1, "JJR": 1, "JJS": 1} | {
    tag: 2 for tag in ("VB", "VBD", "VBG", "VBN", "VBP", "VBZ")
}
_NO_CONCEPTS = frozenset(("be", "have", "do", "get"))  # auxiliaries say nothing about a picture


@dataclass(frozen=True, eq=False)
class Concepts:
    """Words that captions agree on.

    Attributes:
        words: Nouns, then adjectives, then verbs, as lemmas, each by frequency.
        kinds: How many nouns, adjectives and verbs.
        counts: Captions that name each, `(n,)`.
        together: Captions that name both, `(n, n)`, symmetric, zeros on the diagonal.
        forms: Word form -> the concept that it mostly was in the training captions, so that any
            caption's concepts can be read off its words without a tagger.
    """

    words: tuple[str, ...]
    kinds: tuple[int, ...]
    counts: np.ndarray
    together: np.ndarray
    forms: dict[str, int]

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def build(cls, tagged: Iterable[Sequence[Token]], n_concepts: int = 300) -> Concepts:
        """The most frequent nouns, adjectives and verbs of the training captions.

        There are fewer than `n_concepts` where the captions have no more, with a warning.

        Raises:
            DataError: The captions hold no noun, adjective or verb.
        """
        named: list[set[tuple[str, int]]] = []  # (lemma, kind) of each caption
        by_form: dict[str, Counter[tuple[str, int]]] = defaultdict(Counter)
        for tokens in tagged:
            named.append(set())
            for token in tokens:
                kind = _TAGS.get(token.tag)
                if kind is not None and token.lemma not in _NO_CONCEPTS and len(token.lemma) > 1:
                    named[-1].add((token.lemma, kind))
                    by_form[token.word][token.lemma, kind] += 1
        counts = Counter(concept for found in named for concept in found)
        frequent = sorted(counts, key=lambda concept: (-counts[concept], concept))
        wanted = [n_concepts * share // sum(_SHARES.values()) for share in _SHARES.values()]
        wanted[0] += n_concepts - sum(wanted)  # what rounding leaves
        chosen: list[tuple[str, int]] = []
        for kind, n in enumerate(wanted):
            chosen += [concept for concept in frequent if concept[1] == kind][:n]
        if not chosen:
            raise DataError("The captions hold no noun, adjective or verb: no concepts.")
        kinds = tuple(sum(kind == k for _, kind in chosen) for k in range(len(_SHARES)))
        if len(chosen) < n_concepts:
            has = ", ".join(
                f"{n} of {asked} {name}s"
                for name, n, asked in zip(_SHARES, kinds, wanted, strict=True)
                if n < asked
            )
            warnings.warn(
                f"The captions have too few words ({has}): {len(chosen)} concepts instead of "
                f"{n_concepts}.",
                stacklevel=2,
            )
        number = {concept: i for i, concept in enumerate(chosen)}
        most = {form: of_form.most_common(1)[0][0] for form, of_form in by_form.items()}
        forms = {form: number[concept] for form, concept in most.items() if concept in number}
        together = _together(
            [[number[c] for c in found if c in number] for found in named], len(chosen)
        )
        n_captions = np.array([counts[concept] for concept in chosen])
        return cls(tuple(word for word, _ in chosen), kinds, n_captions, together, forms)

    def labels(self, captions: Sequence[str]) -> np.ndarray:
        """Which concepts each caption names, `(n_captions, n)` bool."""
        found = np.zeros((len(captions), len(self)), dtype=bool)
        for i, caption in enumerate(captions):
            for word in tokenize(caption):
                if word in self.forms:
                    found[i, self.forms[word]] = True
        return found

    def word_concepts(self, vocabulary: Vocabulary) -> np.ndarray:
        """The concept of each word of a vocabulary, `(n_words,)` int64; -1 for none."""
        return np.array([self.forms.get(word, -1) for word in vocabulary.words], dtype=np.int64)

    def graph(self) -> np.ndarray:
        """Normalised adjacency of the concepts, `(n, n)`, as CVSE's graph network takes it."""
        return normalised_adjacency(adjacency(rescale(correlation(self.counts, self.together))))

    def save(self, path: str | Path) -> None:
        """Writes an `.npz` without pickles."""
        names = json.dumps({"words": self.words, "kinds": self.kinds, "forms": self.forms})
        with atomic(path) as file:
            np.savez_compressed(file, counts=self.counts, together=self.together, names=names)

    @classmethod
    def load(cls, path: str | Path) -> Concepts:
        """Reads what `save` wrote.

        Raises:
            DataError: The file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                names = json.loads(str(arrays["names"]))
                counts, together = arrays["counts"], arrays["together"]
            words, kinds = tuple(names["words"]), tuple(names["kinds"])
            forms = {str(form): int(i) for form, i in names["forms"].items()}
        except FileNotFoundError:
            raise DataError(f"No concepts at {path}. Is this the folder of a run?") from None
        except Exception as error:  # zipfile, json and NumPy raise many types
            raise DataError(f"{path} holds no concepts ({error!r}).") from None
        n = len(words)
        if counts.shape != (n,) or together.shape != (n, n):
            shapes = f"{counts.shape}, {together.shape}"
            raise DataError(f"{path}: {n} words, but counts of shapes {shapes}.")
        if sum(kinds) != n or not all(0 <= i < n for i in forms.values()):
            raise DataError(f"{path}: its kinds or its word forms do not fit its {n} words.")
        return cls(words, kinds, counts, together, forms)


def _together(rows: Sequence[Sequence[int]], n: int) -> np.ndarray:
    """In how many rows each pair of `n` concepts stands, `(n, n)`, zeros on the diagonal."""
    columns = [column for row in rows for column in row]
    starts = np.cumsum([0, *map(len, rows)])
    named = csr_matrix((np.ones(len(columns), int), columns, starts), (len(rows), n))
    together = (named.T @ named).toarray()
    np.fill_diagonal(together, 0)
    return together


def correlation(counts: np.ndarray, together: np.ndarray) -> np.ndarray:
    """`P[i, j]`: how often concept j is there where concept i is, `(n, n)` (CVSE)."""
    return together / np.maximum(counts, 1)[:, None]


def rescale(p: np.ndarray, s: float = 5.0, u: float = 0.02) -> np.ndarray:
    """Stretches small correlations: `s ** (P - u) - s ** (-u)` (CVSE).

    >>> rescale(np.array([0.0, 1.0])).round(3)
    array([0.   , 3.873])
    """
    return s ** (p - u) - s ** (-u)


def adjacency(rescaled: np.ndarray, threshold: float = 0.3, weight: float = 0.25) -> np.ndarray:
    """Which concepts are neighbours (CVSE), and 1 on the diagonal.

    Args:
        rescaled: Correlations `(n, n)`.
        threshold: From which one two concepts are neighbours.
        weight: What a concept's neighbours weigh together, beside its own 1.

    Returns:
        `(n, n)`: `weight` shared by the neighbours of each column, plus the identity.
    """
    binary = (rescaled >= threshold).astype(float)
    return binary * weight / (binary.sum(0, keepdims=True) + 1e-6) + np.eye(len(binary))


def normalised_adjacency(a: np.ndarray) -> np.ndarray:
    """`(A D)^T D` with `D` the root of the inverse row sums on a diagonal (CVSE)."""
    d = a.sum(1) ** -0.5
    return (a * d[None, :]).T * d[None, :]
