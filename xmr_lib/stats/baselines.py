"""A floor that needs no training: ridge regression from an image's features to words.

Each image's captions become one bag of words; a linear map from the image's mean-pooled C4 to that
bag has a closed form. An unseen image is then searched by the words predicted for it. A trained
model that does not beat this baseline was not worth its training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.vocabulary import SPECIAL, TokenizedCaptions, Vocabulary
from xmr_lib.encoders.backbone import stage_columns
from xmr_lib.errors import DataError
from xmr_lib.similarity import Encoded, cosine_similarity, l2norm


def bag_of_words(tokens: TokenizedCaptions, vocabulary_size: int) -> np.ndarray:
    """Which words each caption has: `(n_captions, vocabulary_size - 4)` of 0 and 1, float32.

    The four special words are left out; a caption of unknown words only is all zero.
    """
    words = np.zeros((len(tokens), vocabulary_size), dtype=np.float32)
    words[np.repeat(np.arange(len(tokens)), tokens.lengths), tokens.flat] = 1
    return words[:, len(SPECIAL) :]


def ridge_regression(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """The map `w` that minimises `|x w - y|² + penalty |w|²`, in closed form.

    Args:
        x: `(n, d)`, centred.
        y: `(n, m)`, centred.
        penalty: Above 0.

    Returns:
        `(d, m)`: `(xᵀx + penalty I)⁻¹ xᵀy`.

    >>> ridge_regression(np.array([[1.0], [-1.0]]), np.array([[3.0], [-3.0]]), penalty=1.0)
    array([[2.]])
    """
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += penalty
    return np.linalg.solve(gram, x.T @ y)


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge baseline.

    Attributes:
        vocabulary: Words of the training captions.
        idf: Weight of each word, larger for rarer ones, `(n_words,)`.
        mean: Mean of the training images' features, `(d,)`.
        deviation: Their standard deviation.
        weights: From standardised features to weighted words, `(d, n_words)`.
    """

    vocabulary: Vocabulary
    idf: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray

    def encode_images(self, features: np.ndarray) -> Encoded:
        """Words predicted for images, as unit vectors: features `(n, d)` -> `(n, n_words)`.

        The mean over all images is left out of the prediction: it says what images have in
        common, and would pull every image towards the same words (on Flickr8k's validation
        images it takes 8 points from image-to-text R@10).
        """
        predicted = (features - self.mean) / self.deviation @ self.weights
        return Encoded(l2norm(torch.from_numpy(predicted.astype(np.float32))))

    def encode_captions(self, captions: tuple[str, ...]) -> Encoded:
        """Weighted words of captions, as unit vectors `(n_captions, n_words)`."""
        bags = bag_of_words(self.vocabulary.encode(captions), len(self.vocabulary)) * self.idf
        return Encoded(l2norm(torch.from_numpy(bags)))


def score(images: Encoded, captions: Encoded) -> torch.Tensor:
    """Cosine of predicted and written words, `(n_images, n_captions)`."""
    return cosine_similarity(images.vectors, captions.vectors)


def fit_ridge(
    features: np.ndarray, data: CaptionedImages, penalty: float = 0.1, threshold: int = 4
) -> Ridge:
    """Fits the baseline on training images.

    Args:
        features: `(data.n_images, d)`, such as average-pooled C4.
        data: The training images with their captions.
        penalty: Strength of the ridge, as a multiple of the number of images (the features are
            standardised, so that one number suits all backbones).
        threshold: Words rarer than this in the training captions are left out.

    Raises:
        DataError: Fewer than two images, or no word is frequent enough.
    """
    vocabulary = Vocabulary.build(data.captions, threshold)
    if data.n_images < 2 or len(vocabulary) == len(SPECIAL):
        raise DataError(
            f"The ridge baseline needs two training images and words that occur {threshold} "
            f"times; {data.name} has {data.n_images} images and "
            f"{len(vocabulary) - len(SPECIAL)} such words."
        )
    bags = bag_of_words(vocabulary.encode(data.captions), len(vocabulary))
    idf = np.log(len(bags) / bags.sum(axis=0)).astype(np.float32)  # 0 for a word of all captions
    counts = np.zeros((data.n_images, bags.shape[1]), dtype=np.float64)
    np.add.at(counts, data.image_of_caption, bags * idf)
    target = counts / np.bincount(data.image_of_caption)[:, None]  # mean over an image's captions
    x = np.asarray(features, dtype=np.float64)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[deviation == 0] = 1  # a channel that never varies tells nothing
    centred = target - target.mean(axis=0)
    weights = ridge_regression((x - mean) / deviation, centred, penalty * data.n_images)
    return Ridge(vocabulary, idf, mean, deviation, weights)


def ridge(
    train: CaptionedImages,
    test: CaptionedImages,
    features: Features,
    penalty: float = 0.1,
    threshold: int = 4,
) -> tuple[Encoded, Encoded]:
    """Fits the ridge baseline on average-pooled C4 and encodes the test images and captions.

    Args:
        train: Images to learn from.
        test: Images to report on.
        features: Of the whole data set that both were cut from.
        penalty: As for `fit_ridge`, as is `threshold`.
        threshold: The least count of a word.

    Returns:
        Images and captions, to evaluate with `score` like those of any model.
    """
    columns = stage_columns(features.stage_dims, "avg", 4)
    fitted = fit_ridge(features.array[train.rows][:, columns], train, penalty, threshold)
    images = fitted.encode_images(features.array[test.rows][:, columns])
    return images, fitted.encode_captions(test.captions)
