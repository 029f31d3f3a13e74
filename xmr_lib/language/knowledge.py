"""What SMFEA and CVSE know about language before they train: node categories and concepts.

Both come from the training captions alone, and lie in a run's folder beside its vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.errors import DataError
from xmr_lib.language.cache import cached
from xmr_lib.language.categories import Categories
from xmr_lib.language.concepts import Concepts
from xmr_lib.language.peer_files import load_peer_concepts
from xmr_lib.language.tagging import load_tagger
from xmr_lib.language.trees import trees_of
from xmr_lib.language.word_vectors import caption_vectors, load_glove

if TYPE_CHECKING:
    from xmr_lib.models.structured import SmfeaConfig

CONCEPTS_VERSION = 4  # to be raised whenever tagging or the choice of concepts changes
_CATEGORIES, _CONCEPTS, _VECTORS = "categories.json", "concepts.npz", "concept_vectors.npy"


@dataclass(frozen=True)
class Knowledge:
    """Categories and concepts of a training set; what a recipe does not use is None.

    Attributes:
        categories: Dictionaries of fragments and relations.
        concepts: Consensus concepts with their co-occurrence.
        vectors: One word vector a concept, `(n_concepts, d)`.
        word_concepts: The concept that each word of the vocabulary stands for, -1 for none,
            `(n_words,)`.
    """

    categories: Categories | None = None
    concepts: Concepts | None = None
    vectors: np.ndarray | None = None
    word_concepts: np.ndarray | None = None

    @classmethod
    def build(
        cls, config: SmfeaConfig, captions: Sequence[str], vocabulary: Vocabulary
    ) -> Knowledge:
        """What a recipe needs, from the captions of the training set only.

        Raises:
            DataError: A backend or a file that the recipe names cannot be used.
        """
        categories = None
        if config.structure:
            trees = trees_of(captions, config.tagger, config.parser)
            categories = Categories.build(trees, config.n_fragments, config.n_relations)
        if not config.uses_concepts:
            return cls(categories)
        if config.concept_files:
            concepts, vectors = load_peer_concepts(Path(config.concept_files).expanduser())
        else:
            concepts = _concepts_of(captions, config.tagger, config.n_concepts)
            vectors = caption_vectors(captions, concepts.forms, len(concepts))
        if config.word_vectors:
            vectors = load_glove(Path(config.word_vectors).expanduser(), concepts.words)
        return cls(categories, concepts, vectors, concepts.word_concepts(vocabulary))

    def require(self, config: SmfeaConfig) -> None:
        """Raises a `DataError` where a recipe uses what is not here."""
        if config.structure and self.categories is None:
            raise DataError("This model needs node categories: see Knowledge.build.")
        if config.uses_concepts and self.concepts is None:
            raise DataError("This model needs concepts: see Knowledge.build.")

    def nodes(self, config: SmfeaConfig, captions: Sequence[str]) -> np.ndarray | None:
        """Categories of the captions' referral trees `(n, 7)`; None for recipes without trees."""
        if self.categories is None:
            return None
        return self.categories.labels(trees_of(captions, config.tagger, config.parser))

    def save(self, folder: Path) -> None:
        """Writes what is there into a run's folder."""
        if self.categories is not None:
            self.categories.save(folder / _CATEGORIES)
        if self.concepts is not None:
            self.concepts.save(folder / _CONCEPTS)
            np.save(folder / _VECTORS, self.vectors)

    @classmethod
    def load(cls, folder: Path, config: SmfeaConfig, vocabulary: Vocabulary) -> Knowledge:
        """Reads what `save` wrote, as far as the recipe uses it.

        Raises:
            DataError: A file is missing or damaged.
        """
        categories = Categories.load(folder / _CATEGORIES) if config.structure else None
        if not config.uses_concepts:
            return cls(categories)
        concepts = Concepts.load(folder / _CONCEPTS)
        try:
            vectors = np.load(folder / _VECTORS, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"{folder / _VECTORS} cannot be read ({error}). Train the run again."
            ) from None
        return cls(categories, concepts, vectors, concepts.word_concepts(vocabulary))


def _concepts_of(captions: Sequence[str], tagger: str, n_concepts: int) -> Concepts:
    """Concepts of training captions; tagging takes seconds, so they are kept in the cache."""
    return cached(
        "concepts.npz",
        [CONCEPTS_VERSION, tagger, n_concepts, list(captions)],
        lambda: Concepts.build(map(load_tagger(tagger), captions), n_concepts),
        Concepts.load,
        Concepts.save,
    )
