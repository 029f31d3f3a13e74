"""The ridge floor: its closed form against least squares, its retrieval against known worlds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.errors import DataError
from xmr_lib.evaluation import evaluate
from xmr_lib.stats.baselines import bag_of_words, fit_ridge, ridge, ridge_regression, score


def captioned(captions_of_images: list[list[str]], split: str = "train") -> CaptionedImages:
    n = len(captions_of_images)
    return CaptionedImages(
        name="made-up",
        image_files=tuple(Path(f"{i}.png") for i in range(n)),
        captions=tuple(c for captions in captions_of_images for c in captions),
        image_of_caption=np.repeat(np.arange(n), [len(c) for c in captions_of_images]),
        splits=np.array([split] * n),
        rows=np.arange(n),
    )


def test_closed_form_equals_least_squares_on_augmented_rows():
    """Ridge is least squares with sqrt(penalty) I appended to x and zeros to y."""
    rng = np.random.default_rng(0)
    x, y, penalty = rng.normal(size=(30, 7)), rng.normal(size=(30, 4)), 2.5
    augmented = np.vstack([x, np.sqrt(penalty) * np.eye(7)])
    expected, *_ = np.linalg.lstsq(augmented, np.vstack([y, np.zeros((7, 4))]), rcond=None)
    assert ridge_regression(x, y, penalty) == pytest.approx(expected)


def test_more_channels_than_images_is_fine():
    rng = np.random.default_rng(0)
    weights = ridge_regression(rng.normal(size=(3, 20)), rng.normal(size=(3, 2)), 1.0)
    assert np.isfinite(weights).all()


def test_bag_of_words_equals_slow_version():
    captions = ["a dog sees a dog", "a cat", "bird", "a dog and a cat"]
    vocabulary = Vocabulary.build(captions, threshold=2)
    slow = [[float(word in c.split()) for word in vocabulary.words[4:]] for c in captions]
    assert bag_of_words(vocabulary.encode(captions), len(vocabulary)).tolist() == slow


WORDS = ["dog", "cat", "ball", "tree", "snow", "boat", "horse", "child"]


def world(rng, n: int):
    """Images of three things; features are a linear map of the things, captions name them."""
    things = np.zeros((n, len(WORDS)))
    captions = []
    for row in things:
        chosen = rng.choice(len(WORDS), size=3, replace=False)
        row[chosen] = 1
        names = [WORDS[i] for i in chosen]
        captions.append([f"a {' and a '.join(names)}", f"the {names[0]} near the {names[1]}"])
    return things, captions


def test_finds_what_is_linear():
    """Scenes that differ in their things are found nearly always; noise gives chance."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(len(WORDS), 12))
    things, captions = world(rng, 200)
    fitted = fit_ridge(things @ mixing, captioned(captions), penalty=1e-3)
    # all 56 triples once, so that none is there twice
    triples = np.array([t for t in np.ndindex(8, 8, 8) if t[0] < t[1] < t[2]])
    test_things = np.zeros((56, 8))
    test_things[np.arange(56)[:, None], triples] = 1
    sentences = tuple(f"a {WORDS[a]} and a {WORDS[b]} and a {WORDS[c]}" for a, b, c in triples)
    scores = score(fitted.encode_images(test_things @ mixing), fitted.encode_captions(sentences))
    found = (scores.argmax(0) == torch.arange(56)).float().mean()
    assert found > 0.95
    noise = fitted.encode_images(rng.normal(size=(56, 12)))
    lost = score(noise, fitted.encode_captions(sentences)).argmax(0) == torch.arange(56)
    assert lost.float().mean() < 0.2


def test_ridge_reads_average_pooled_c4_only():
    """All other columns hold garbage, and the result is the one of C4 alone."""
    rng = np.random.default_rng(0)
    things, captions = world(rng, 60)
    pooled = np.full((60, 2 * 14), np.nan)
    pooled[:, 6:14] = things  # avg C1 2, C2 2, C3 2, C4 8; then max
    data = captioned(captions)
    features = Features(pooled, (2, 2, 2, 8), "toy", "whole", "key", Path())
    train, test = data.subset(np.arange(40)), data.subset(np.arange(40, 60))
    images, captions = ridge(train, test, features, threshold=2)
    result = evaluate(score, images, captions, test.image_of_caption)
    assert len(result.i2t.greater) == 20 and len(result.t2i.greater) == 40
    assert result.metrics()["i2t_r10"] > 90


def test_words_of_the_test_set_are_not_learned():
    fitted = fit_ridge(np.eye(4), captioned([["a dog"], ["a cat"], ["a dog"], ["a cat"]]),
                       threshold=1)  # fmt: skip
    unseen = fitted.encode_captions(("zebra giraffe", "a dog"))
    assert not unseen.vectors[0].any()  # no known word: zero, not NaN
    assert torch.linalg.vector_norm(unseen.vectors[1]).item() == pytest.approx(1)


def test_channel_that_never_varies_does_no_harm():
    features = np.column_stack([np.ones(4), [0.0, 1, 0, 1]])
    data = captioned([["a dog"], ["a cat"], ["a dog"], ["a cat"]])
    fitted = fit_ridge(features, data, threshold=1)
    assert torch.isfinite(fitted.encode_images(features).vectors).all()


@pytest.mark.parametrize("captions", [[["a dog"]], [["one"], ["two"], ["three"]]])
def test_too_little_to_learn_from(captions):
    with pytest.raises(DataError, match="ridge baseline needs"):
        fit_ridge(np.ones((len(captions), 2)), captioned(captions), threshold=2)
