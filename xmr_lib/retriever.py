"""What a finished run and an ensemble of runs share: encode, score, evaluate, search."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xmr_lib import evaluation, reranking
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.vocabulary import tokenize
from xmr_lib.errors import DataError
from xmr_lib.evaluation import Protocol, Retrieval, ScoreFunction
from xmr_lib.retrieval import Hit, top_k
from xmr_lib.similarity import Encoded
from xmr_lib.sources import is_toy


class Retriever(ABC):
    """A trained model with the data set that it reports on.

    Attributes:
        name: The recipe's name, or the ensemble's.
        data: The whole data set.
        report: The images that are reported on.
        retrieval: Ranks on the reported split.
    """

    name: str
    data: CaptionedImages
    report: CaptionedImages
    retrieval: Retrieval

    @property
    @abstractmethod
    def runs(self) -> tuple[Retriever, ...]:
        """This run alone, or an ensemble's members."""

    @abstractmethod
    def encode_images(self, data: CaptionedImages) -> Encoded:
        """Every image of a part of `self.data`, in its order."""

    @abstractmethod
    def encode_sentences(self, sentences: Sequence[str]) -> Encoded:
        """Any sentences.

        Raises:
            DataError: One of them has no words.
        """

    @abstractmethod
    def encode_picture(self, path: str | Path) -> Encoded:
        """Any picture, encoded the way the run's own images were."""

    @abstractmethod
    def score(self, images: Encoded, captions: Encoded) -> Tensor:
        """Similarity of every image with every caption, `(n_images, n_captions)`."""

    @property
    @abstractmethod
    def compares_vectors(self) -> bool:
        """Whether the score is the cosine of one vector an item, and not of many parts."""

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Recalls, ranks and rsum on the reported split."""
        return self.retrieval.metrics()

    @property
    def searched(self) -> CaptionedImages:
        """The images that are searched by default: all photographs; of toy scenes, `report`."""
        return self.report if is_toy(self.data) else self.data

    def unknown_words_of(self, sentence: str) -> tuple[str, ...]:
        """The sentence's words that the model, or a member of the ensemble, never learnt."""
        known = [member.vocabulary.index for member in self.runs]
        words = dict.fromkeys(tokenize(sentence))
        return tuple(word for word in words if not all(word in index for index in known))

    @cached_property
    def unknown_words(self) -> float:
        """Share (0 … 1) of the reported captions' words that a run does not know, on average."""
        shares = [run.vocabulary.share_of_unknown_words(self.report.captions) for run in self.runs]
        return sum(shares) / len(shares)

    @cached_property
    def _encoded(self) -> dict[str, tuple[Encoded, Encoded]]:
        return {}

    def encoded(self, data: CaptionedImages | None = None) -> tuple[Encoded, Encoded]:
        """All images and captions of a data set (default: the reported split), encoded once."""
        data = self.report if data is None else data
        key = hashlib.sha256(data.rows.tobytes()).hexdigest()
        if key not in self._encoded:
            self._encoded[key] = self.encode_images(data), self.encode_sentences(data.captions)
        return self._encoded[key]

    @torch.inference_mode()
    def evaluate(
        self,
        protocol: Protocol = "all",
        data: CaptionedImages | None = None,
        rerank: reranking.Settings | None = None,
    ) -> list[Retrieval]:
        """Ranks for each part of a test protocol.

        Args:
            protocol: One of `evaluation.PROTOCOLS`.
            data: What to test on; the reported split by default.
            rerank: Re-ranks each part with the help of its other items, which is transductive:
                say so beside every number that comes of it.
        """
        data = self.report if data is None else data
        images, captions = self.encoded(data)
        owner = data.image_of_caption
        if rerank is None:
            return evaluation.evaluate_protocol(self.score, images, captions, owner, protocol)
        return [
            self._reranked(images[rows], captions[chosen], owner[chosen] - rows.start, rerank)
            for rows, chosen in evaluation.protocol_parts(owner, protocol)
        ]

    def _reranked(
        self,
        images: Encoded,
        captions: Encoded,
        image_of_caption: np.ndarray,
        settings: reranking.Settings,
    ) -> Retrieval:
        """Ranks after re-ranking; scores of parts stand for the distance between the two sides."""
        cross = None
        if not self.compares_vectors:
            cross = score_table(self.score, images, captions)
            cross /= max(1.0, float(cross.max()))  # a log-sum-exp may pass 1; no order changes
        return reranking.evaluate(
            images.vectors, captions.vectors, image_of_caption, settings, cross
        )

    @torch.inference_mode()
    def score_matrix(self, data: CaptionedImages | None = None) -> np.ndarray:
        """All scores `(n_images, n_captions)`; for pictures and small sets."""
        return score_table(self.score, *self.encoded(data)).numpy()

    @torch.inference_mode()
    def search_images(
        self, sentence: str, k: int = 5, data: CaptionedImages | None = None
    ) -> list[Hit]:
        """The `k` images that fit a sentence best.

        Raises:
            DataError: The sentence has no words.
        """
        data = self.searched if data is None else data
        query = self.encode_sentences([sentence])
        images, _ = self.encoded(data)
        scores, places = top_k(lambda q, g: self.score(g, q).T, query, images, k)
        return [
            Hit(place, value, data.image_files[place])
            for value, place in zip(scores[0].tolist(), places[0].tolist(), strict=True)
        ]

    @torch.inference_mode()
    def search_captions(
        self, image: str | Path | int, k: int = 5, data: CaptionedImages | None = None
    ) -> list[Hit]:
        """The `k` captions that fit an image best.

        Args:
            image: Any picture file, or the position of an image of `data`.
            k: How many.
            data: What to search; `searched` by default.

        Raises:
            DataError: The picture cannot be read, or there is no such position.
        """
        data = self.searched if data is None else data
        images, captions = self.encoded(data)
        if isinstance(image, Integral):
            if not 0 <= image < data.n_images:
                raise DataError(f"There is no image {image}: {data.name} has {data.n_images} here.")
            query = images[image : image + 1]
        else:
            query = self.encode_picture(image)
        scores, places = top_k(self.score, query, captions, k)
        return [
            Hit(c, value, data.image_files[data.image_of_caption[c]], data.captions[c])
            for value, c in zip(scores[0].tolist(), places[0].tolist(), strict=True)
        ]


def score_table(
    score: ScoreFunction, images: Encoded, captions: Encoded, block: int = 500
) -> Tensor:
    """All scores, `(n_images, n_captions)` on the CPU, computed some images at a time."""
    rows = [
        score(images[first : first + block], captions).cpu()
        for first in range(0, len(images), block)
    ]
    return torch.cat(rows)
