"""What to bear in mind about numbers: few images, unknown words, words that were not cut."""

from __future__ import annotations

import math

import numpy as np

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.vocabulary import Vocabulary, is_uncut

_FEW = 100  # images of a split, below which the chance level is worth telling
_MANY_UNKNOWN = 0.2


def chance_rsum(captions_per_image: np.ndarray) -> float:
    """The rsum (0 … 600) that scores drawn at random are expected to give.

    Args:
        captions_per_image: (n_images,) how many captions each image of the test split has.

    >>> chance_rsum(np.ones(1)), round(chance_rsum(np.full(1000, 5)), 1)
    (600.0, 3.2)
    """
    n_images, n_captions = len(captions_per_image), int(np.sum(captions_per_image))
    total = 0.0
    for k in (1, 5, 10):
        total += min(k, n_images) / n_images  # captions find their one image
        near = min(k, n_captions)
        missed = [math.comb(n_captions - int(c), near) for c in captions_per_image]
        total += 1 - float(np.mean([each / math.comb(n_captions, near) for each in missed]))
    return 100 * total


def remarks(data: CaptionedImages, vocabulary: Vocabulary, split: str = "test") -> list[str]:
    """What to bear in mind about numbers measured on a split; empty if nothing is unusual."""
    part = data.split(split)
    n, said = part.n_images, []
    chance = chance_rsum(np.bincount(part.image_of_caption))
    unknown = vocabulary.share_of_unknown_words(part.captions)
    if n < _FEW:
        images = "1 image" if n == 1 else f"{n} images"
        said.append(f"The {split} split has {images}: guessing gives rsum {chance:.0f} of 600.")
    if unknown > _MANY_UNKNOWN:
        said.append(
            f"The model does not know {100 * unknown:.0f} % of the words in the {split} captions. "
            "Words must occur often enough in the training captions (vocabulary_threshold)."
        )
    if np.mean([is_uncut(caption) for caption in part.captions]) > _MANY_UNKNOWN:
        said.append(
            "The captions have no blanks between words, so that a whole phrase counts as one word. "
            'Write blanks; for Chinese, Japanese and Thai:  pip install "xmr-lib[languages]"'
        )
    if chance > 100 or unknown > 0.9:
        said.append("The recalls above mean nothing: they would be alike for a model without use.")
    return said
