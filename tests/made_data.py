"""A small learnable data set without pictures: features say what captions say."""

from pathlib import Path

import numpy as np

from xmr_lib.data.captioned import CaptionedImages

STAGE_DIMS = (4, 4, 8, 16)
COLOURS = ("red", "green", "blue", "black", "white", "brown", "yellow", "grey")
THINGS = ("dog", "cat", "car", "bird", "house", "tree", "boat", "ball")


def make(n_train=120, n_val=20, n_test=20, seed=0) -> tuple[CaptionedImages, np.ndarray]:
    """Captioned images whose files do not exist, and their pooled features."""
    rng = np.random.default_rng(seed)
    n = n_train + n_val + n_test
    colour, thing = rng.integers(0, 8, n), rng.integers(0, 8, n)
    captions, owner = [], []
    for i in range(n):
        for k in range(int(rng.integers(1, 4))):
            words = [COLOURS[colour[i]], THINGS[thing[i]]]
            captions.append(" ".join(["a", *words, *(["in", "the", "picture"] if k else [])]))
            owner.append(i)
    features = rng.standard_normal((n, 2 * sum(STAGE_DIMS))).astype(np.float32) * 0.3
    meaning = np.eye(16, dtype=np.float32)
    features[:, 16:32] += meaning[colour] + meaning[8 + thing]  # average-pooled C4
    splits = np.repeat(["train", "val", "test"], [n_train, n_val, n_test])
    files = tuple(Path(f"/nowhere/{i:04d}.png") for i in range(n))
    data = CaptionedImages("made", files, tuple(captions), np.array(owner), splits, np.arange(n))
    return data, features


# Sizes of models that are trained on the sixty toy scenes.
TINY = {
    "word_dim": 12,
    "rnn_dim": 16,
    "joint_dim": 16,
    "epochs": 2,
    "batch_size": 32,
    "vocabulary_threshold": 1,
}


def never(*_, **__):
    """Stands for training where a finished run must be found."""
    raise AssertionError("trained again")
