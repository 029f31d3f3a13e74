"""Your own photographs: a folder in the layout that the kit reads, and checks before training.

They differ from benchmarks: nearly equal pictures of one burst are in both training and test, some
pictures have one caption and some ten, and half of the words occur once.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.vocabulary import Vocabulary, tokenize
from xmr_lib.errors import DataError
from xmr_lib.similarity import l2norm


def write_folder(data: CaptionedImages, folder: str | Path) -> Path:
    """Copies pictures into `folder/images` and writes `folder/captions.csv` beside them.

    This is the layout that `--data folder` reads, and a pattern for your own.

    Args:
        data: Captioned images; their file names must differ.
        folder: Made if missing; files of the same names are replaced.

    Returns:
        The folder.

    Raises:
        DataError: Two pictures have one file name.
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    write_table(data, folder / "captions.csv")
    for file in data.image_files:
        shutil.copy2(file, folder / "images" / file.name)
    return folder


def write_table(data: CaptionedImages, path: str | Path) -> Path:
    """Writes captions and splits as a CSV with the columns `image,caption,split`.

    Args:
        data: Captioned images; their file names must differ.
        path: Of the CSV; pictures are named without their folders.

    Raises:
        DataError: Two pictures have one file name.
    """
    names = [file.name for file in data.image_files]
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise DataError(f"{len(twice)} file names belong to several pictures, as {twice[0]}.")
    owner = data.image_of_caption
    columns = {
        "image": [names[image] for image in owner],
        "caption": data.captions,
        "split": data.splits[owner],
    }
    pd.DataFrame(columns).to_csv(path, index=False, encoding="utf-8")
    return Path(path)


def summary(data: CaptionedImages, threshold: int = 4) -> pd.DataFrame:
    """What a data set holds, a row for each split.

    Args:
        data: The whole data set.
        threshold: Words rarer than this in the training captions are unknown to a model.

    Returns:
        "images", "captions", the fewest and most captions of an image, words a caption (median),
        and the share of the words, in percent, that a model trained here would not know.
    """
    learnt = data.split("train").captions if "train" in data.split_names else ()
    vocabulary = Vocabulary.build(learnt, threshold)
    rows = {}
    for split in data.split_names:
        part = data.split(split)
        lengths = [len(tokenize(caption)) for caption in part.captions]
        each = np.bincount(part.image_of_caption)
        rows[split] = {
            "images": part.n_images,
            "captions": part.n_captions,
            "captions an image": f"{each.min()}–{each.max()}",
            "words a caption": float(np.median(lengths)),
            "unknown words, %": round(100 * vocabulary.share_of_unknown_words(part.captions), 1),
        }
    return pd.DataFrame(rows).T


def near_duplicates(
    data: CaptionedImages, features: Features, least: float = 0.85, splits: bool = True
) -> pd.DataFrame:
    """Pairs of pictures that a network can hardly tell apart, most alike first.

    A picture of the test set with a twin in the training set makes a model look better than it
    is: keep both in one split (the column `split` of the CSV says which).

    Args:
        data: The whole data set.
        features: Its pooled features; average-pooled C4, centred, is compared.
        least: Smallest cosine that is listed.
        splits: Only pairs whose pictures are in different splits.

    Returns:
        "cosine", "image", "split", "other image", "other split".
    """
    x = np.asarray(features.of(data)[:, features.columns("avg", 4)], dtype=np.float32)
    x = l2norm(torch.from_numpy(x - x.mean(axis=0))).numpy()
    found = []
    for first in range(0, len(x), 1024):
        cosines = x[first : first + 1024] @ x.T  # (block, n_images)
        for row, other in np.argwhere(cosines >= least):
            one = first + row
            if one < other and not (splits and data.splits[one] == data.splits[other]):
                found.append((float(cosines[row, other]), int(one), int(other)))
    found.sort(key=lambda pair: -pair[0])
    names = ["cosine", "image", "split", "other image", "other split"]
    rows = [
        (cosine, data.image_files[i].name, data.splits[i], data.image_files[j].name, data.splits[j])
        for cosine, i, j in found
    ]
    return pd.DataFrame(rows, columns=names)
