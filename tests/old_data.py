"""The small data set that `old_runs/` was trained on; its features are made by a formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.regions import Regions

COLOURS, ANIMALS = ("red", "green", "blue", "white"), ("dog", "cat", "bird", "horse")
SIZES = {
    "word_dim": 4,
    "rnn_dim": 6,
    "joint_dim": 6,
    "epochs": 2,
    "batch_size": 8,
    "vocabulary_threshold": 1,
}
SMALL_TREES = {"node_dim": 3, "concept_hidden": 4, "n_fragments": 9, "n_relations": 3}
SMALL_TREES |= {"n_concepts": 6}
RUNS = {  # each of the three model families, by the name of its recipe
    "avg-4-max-34-BiGRU-emb-avg": SIZES | {"margin": 0.3},
    "SCAN t-i AVG": SIZES,
    "SMFEA": SIZES | SMALL_TREES,
}


def make() -> CaptionedImages:
    """Thirty-two images with two captions each: 20 to train on, 6 and 6 to validate and test."""
    kinds = [(colour, animal) for colour in COLOURS for animal in ANIMALS] * 2
    captions = [
        caption
        for i, (colour, animal) in enumerate(kinds)
        for caption in (f"a {colour} {animal}", f"a {animal} runs on grass number {i}")
    ]
    splits = np.repeat(["train", "val", "test"], [20, 6, 6])
    files = tuple(Path(f"/nowhere/{i}.png") for i in range(len(kinds)))
    owner = np.repeat(np.arange(len(kinds)), 2)
    return CaptionedImages("old", files, tuple(captions), owner, splits, np.arange(len(kinds)))


def features(of_regions: bool) -> Features | Regions:
    """Pooled features `(32, 24)`, or three regions of 5 numbers an image."""
    n, where = 32, Path("/nowhere")
    if of_regions:
        array = np.sin(np.arange(n * 15, dtype=np.float32)).reshape(n, 3, 5)
        return Regions(array, np.full(n, 3), None, "grid", "toy", "rfe", "1" * 64, where)
    array = np.sin(np.arange(n * 24, dtype=np.float32)).reshape(n, 24)
    return Features(array, (2, 2, 4, 4), "toy", "rfe", "0" * 64, where)
