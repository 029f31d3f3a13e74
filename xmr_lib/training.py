"""A recipe is trained: its data in three parts, its words, its model, one or two stages.

Stage 1 trains on cached features with the CNN frozen; stage 2, when the recipe asks for it, starts
from stage 1's best weights and trains the CNN on pixels too.
"""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import set_seed

from xmr_lib import distributed, models
from xmr_lib.data.batches import fetch
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.regions import Regions
from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.encoders.backbone import load_backbone
from xmr_lib.errors import DataError
from xmr_lib.evaluation import Retrieval
from xmr_lib.files import atomic, save_tensors, writable
from xmr_lib.language.knowledge import Knowledge
from xmr_lib.recipes import Recipe
from xmr_lib.similarity import Parts
from xmr_lib.trainer import Trainer, evaluate, threads_for


def three_parts(data: CaptionedImages) -> tuple[CaptionedImages, CaptionedImages, CaptionedImages]:
    """Images to train on, to choose the best epoch by, and to report on.

    These are `train`, `val` and `test`. Without a test split, `val` is reported on, and the epoch
    is chosen by a tenth of the training images (500 at most) that is held out for it, always the
    same: choosing by the very images reported on would flatter the result.

    Raises:
        DataError: There is nothing to train on, or nothing to report on.
    """
    splits = data.split_names
    if "train" not in splits:
        raise DataError(f"{data.name} has no split 'train'; it has {', '.join(splits)}.")
    train = data.split("train")
    if "test" in splits and "val" in splits:
        return train, data.split("val"), data.split("test")
    reported = [name for name in ("test", "val") if name in splits]
    if not reported or train.n_images < 2:
        raise DataError(
            f"{data.name} has {', '.join(splits)} with {train.n_images} training images; training "
            "needs at least two, and a split 'val' or 'test' to report on."
        )
    held_out = max(1, min(500, train.n_images // 10))
    order = np.random.default_rng(0).permutation(train.n_images)
    select, rest = np.sort(order[:held_out]), np.sort(order[held_out:])
    return train.subset(rest), train.subset(select), data.split(reported[0])


def reported(data: CaptionedImages) -> CaptionedImages:
    """The split of other data to test on: "test", or all of "val", by which nothing was chosen.

    Raises:
        DataError: There is neither.
    """
    for name in ("test", "val"):
        if name in data.split_names:
            return data.split(name)
    raise DataError(
        f"{data.name} has no split 'test' or 'val' to report on; it has "
        f"{', '.join(data.split_names)}. Mark the images to test on in its annotations."
    )


@dataclass(frozen=True)
class Trained:
    """What training leaves behind, in memory and in the run's folder."""

    model: models.RetrievalModel  # with the weights that were best on the selection split
    vocabulary: Vocabulary
    knowledge: Knowledge
    history: list[dict]  # one row per epoch
    retrieval: Retrieval  # ranks on the reported split
    threads: int  # of the CPU


def train(
    recipe: Recipe,
    data: CaptionedImages,
    features: np.ndarray | Regions,
    stage_dims: tuple[int, ...],
    folder: Path,
    *,
    backbone: str = "toy",
    transform: str | None = None,
    seed: int = 0,
    resume: bool = True,
) -> Trained:
    """Trains a recipe and leaves model, vocabulary, history and ranks in `folder`.

    Args:
        recipe: What to train.
        data: Captioned images with their splits.
        features: Pooled features of the whole data set `(n_images, 2 * sum(stage_dims))`, or its
            regions.
        stage_dims: Channels of C1…C4; of regions the one size of their features.
        folder: Of the run.
        backbone: Name of the network that made the features; stage 2 trains it.
        transform: Kind of transform the features went through; stage 2 keeps to it.
        seed: Seed of weights and batches; fixes the result on one machine.
        resume: Continue from the last finished epoch found in `folder`, if it is of this recipe. A
            run that was killed ends with the very weights it would have had.

    Raises:
        DataError: The data, or the recipe with so many processes, cannot be trained on.
    """
    distributed.join()
    distributed.check_batch_size(recipe.training.batch_size)
    learn, select, report = three_parts(data)
    vocabulary = Vocabulary.build(learn.captions, recipe.training.vocabulary_threshold)
    knowledge, nodes = Knowledge(), None
    if isinstance(recipe.model, models.SmfeaConfig):
        with distributed.main_first():  # the others find trees and concepts in the cache
            knowledge = Knowledge.build(recipe.model, learn.captions, vocabulary)
            nodes = knowledge.nodes(recipe.model, learn.captions)
    if distributed.is_main():
        with writable(folder):
            _begin(folder, recipe, resume)
            vocabulary.save(folder / "vocabulary.json")
            knowledge.save(folder)
    distributed.wait()
    if not (folder / "recipe.json").is_file():
        raise DataError(
            f"{folder} was made by the first process, but {platform.node()} does not see it: the "
            "machines that train together need runs on a disk that they share (set XMR_RUNS)."
        )
    set_seed(seed)
    model = models.build(recipe.model, len(vocabulary), stage_dims, knowledge=knowledge)
    model.fit_features(_features_to_fit(features, learn.rows))
    model.fit_nodes(nodes)
    if number := PartialState().process_index:  # equal weights, but not equal random crops
        set_seed(seed + number)
    trainer = Trainer(
        model, recipe.training, learn, select, features, vocabulary, nodes, folder, seed
    )
    with threads_for(model) as threads, writable(folder):
        history = trainer.stage(1)
        if recipe.training.finetune_epochs:
            model.backbone = load_backbone(backbone).requires_grad_(True)
            model.backbone.transform = transform or model.backbone.transform
            history += trainer.stage(2)
        if distributed.is_main():
            retrieval = evaluate(model, report, features, vocabulary.encode(report.captions))
            write_json(folder / "history.json", history)
            save_tensors(folder / "model.safetensors", model.state_dict())
            retrieval.save(folder / "ranks.npz")
    distributed.wait()
    if not distributed.is_main():
        retrieval = Retrieval.load(folder / "ranks.npz")
        history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    return Trained(model.eval(), vocabulary, knowledge, history, retrieval, threads)


def _begin(folder: Path, recipe: Recipe, resume: bool) -> None:
    """Makes a run's folder, or clears it of epochs of another recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        before = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # nothing begun, or damaged
        before = None
    if not resume or before not in (None, json.loads(json.dumps(recipe.to_json()))):
        for name in ("stage-1", "stage-2"):
            shutil.rmtree(folder / name, ignore_errors=True)
    write_json(folder / "recipe.json", recipe.to_json())


def write_json(path: Path, content: object) -> None:
    """Writes JSON atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _features_to_fit(features: np.ndarray | Regions, rows: np.ndarray) -> torch.Tensor:
    """Training features to standardise by, `(n, width)`.

    All pooled ones; of regions those of at most 500 images, evenly spaced: mean and s.d. of some
    ten thousand regions are known well enough, and 29,000 images have gigabytes of them.
    """
    if not isinstance(features, Regions):
        return fetch(features, rows)["pooled"]
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), 500)).astype(int)]
    found = fetch(features, some)
    return Parts.from_padded(found["regions"], found["region_counts"]).flat
