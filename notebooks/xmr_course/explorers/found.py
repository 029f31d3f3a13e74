"""One search, judged: what a sentence or a picture finds, and where its own answer stands."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.vocabulary import tokenize
from xmr_lib.errors import DataError
from xmr_lib.figures import (
    Picture,
    caption_cards,
    plot_retrieved_captions,
    plot_retrieved_images,
)
from xmr_lib.retrieval import Hit
from xmr_lib.retriever import Retriever


@dataclass(frozen=True)
class Found:
    """What was asked, and the answer.

    Attributes:
        query: A sentence, or a picture's file.
        hits: The best answers in order, with their places; a right one that is not among them
            comes last.
        n_searched: Images or captions that were searched.
        right: Positions of the right answers; None if they are unknown.
        place: Of the best right answer; None if it is unknown.
        unknown: Words of the sentence that the model never learnt.
    """

    query: str | Path
    hits: tuple[Hit, ...]
    n_searched: int
    right: frozenset[int] | None = None
    place: int | None = None
    unknown: tuple[str, ...] = ()

    @property
    def success(self) -> bool | None:
        """Whether a right answer comes first; None if that is unknown."""
        return None if self.place is None else self.place == 1

    @property
    def verdict(self) -> str:
        """One line on right and wrong."""
        if self.place is None:
            return "not a query of the test set, so the right answer is unknown"
        if self.place == 1:
            return f"✓ a right answer comes first, of {self.n_searched:,}"
        return f"✗ the best right answer is at rank {self.place:,} of {self.n_searched:,}"


def find_images(
    run: Retriever, sentence: str, data: CaptionedImages, k: int = 5, caption: int | None = None
) -> Found:
    """The images found for a sentence.

    Args:
        run: A run or an ensemble.
        sentence: Any.
        data: What is searched.
        k: How many.
        caption: Position of the caption that the sentence is, so that its own image alone is right
            (as the test counts); None looks for the sentence among the captions, and every image
            that it describes is right.

    Raises:
        DataError: The sentence has no words.
    """
    words = tokenize(sentence)
    if not words:
        raise DataError("There are no words to search for: type a sentence.")
    if caption is None:
        same = [c for c, text in enumerate(data.captions) if text == sentence]
    else:
        same = [caption]
    return _judged(
        sentence,
        run.search_images(sentence, data.n_images, data),
        data.image_of_caption[same].tolist() or None,
        k,
        unknown_words(run, words),
    )


def find_captions(run: Retriever, image: int | Path, data: CaptionedImages, k: int = 5) -> Found:
    """The captions found for a picture.

    Args:
        run: A run or an ensemble.
        image: Position of an image of `data`, or any picture's file.
        data: What is searched.
        k: How many.

    Raises:
        DataError: The picture cannot be read, or there is no such position.
    """
    hits = run.search_captions(image, data.n_captions, data)
    if isinstance(image, Path):
        return _judged(image, hits, None, k)
    own = np.flatnonzero(data.image_of_caption == image).tolist()
    return _judged(data.image_files[image], hits, own, k)


def _judged(
    query: str | Path,
    hits: list[Hit],
    right: Collection[int] | None,
    k: int,
    unknown: tuple[str, ...] = (),
) -> Found:
    """Keeps the first `k` of all hits and the best right one."""
    place = None
    if right is not None:
        place = next(n for n, hit in enumerate(hits, start=1) if hit.index in right)
    shown = list(range(1, min(k, len(hits)) + 1))
    if place is not None and place > k:
        shown.append(place)
    placed = tuple(replace(hits[n - 1], place=n) for n in shown)
    return Found(
        query, placed, len(hits), None if right is None else frozenset(right), place, unknown
    )


def unknown_words(run: Retriever, words: Collection[str]) -> tuple[str, ...]:
    """Those of some words that the model, or a member of the ensemble, never learnt."""
    # A model that was taken to other data keeps its vocabulary in the run that it came from.
    known = [each.vocabulary.index for member in run.runs for each in member.runs]
    return tuple(word for word in dict.fromkeys(words) if not all(word in index for index in known))


def plot_found(found: Found, data: CaptionedImages, title: str = "") -> Picture:
    """The query and its answers, framed right or wrong.

    Data sets that came without pictures (precomputed regions) are told in words: each image is its
    first caption.

    Args:
        found: What is shown.
        data: What was searched.
        title: Over the picture; the verdict follows it.
    """
    title = f"{title}: {found.verdict}" if title else found.verdict
    of_sentence = isinstance(found.query, str)
    pictures = [hit.image_file for hit in found.hits] if of_sentence else [found.query]
    if not all(file.is_file() for file in pictures):
        return _in_words(found, data, title)
    if of_sentence:
        figure = plot_retrieved_images(found.query, found.hits, found.right)
    else:
        figure = plot_retrieved_captions(found.query, found.hits, found.right)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _in_words(found: Found, data: CaptionedImages, title: str) -> Picture:
    def told(image: int) -> str:
        return data.captions_of(image)[0]

    query, describe = found.query, told
    if not isinstance(query, str):
        query = f"image: {told(data.image_files.index(query))}"
        describe = data.captions.__getitem__
    return caption_cards([query], [found.hits], [found.right], describe, title)
