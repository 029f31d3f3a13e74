"""Training: epochs, learning rate, the best weights by validation, and resuming after a kill.

A run is one or two stages. Stage 1 trains on cached features with the CNN frozen; stage 2, when
the recipe asks for it, starts from stage 1's best weights and trains the CNN on pixels too.
Devices and mixed precision are Accelerate's business. Several processes (see
`xmr_lib.distributed`) take the steps together; the first of them validates and writes.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from xmr_lib import checkpoints, distributed, models
from xmr_lib.configs import Config, MaybeNone, Several
from xmr_lib.data.batches import Batch, Pairs, fetch, loader
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.feature_store import write_atomically
from xmr_lib.data.images import PixelDataset
from xmr_lib.data.regions import Regions
from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.encoders.backbone import load_backbone
from xmr_lib.encoding import encode_captions, encode_images
from xmr_lib.errors import DataError
from xmr_lib.evaluation import Retrieval, evaluate
from xmr_lib.language.knowledge import Knowledge
from xmr_lib.losses import plateau
from xmr_lib.similarity import Parts

if TYPE_CHECKING:
    from xmr_lib.recipes import Recipe

# Whoever trains many runs shows one bar for all of them, and hides those of the epochs.
_EPOCH_BARS: ContextVar[bool] = ContextVar("epoch_bars", default=True)

SHOWN = ("i2t_r1", "t2i_r1", "i2t_r10", "t2i_r10", "rsum")  # of the metrics, in the history


@dataclass(frozen=True)
class TrainingConfig(Config):
    """How a model is trained."""

    epochs: int = 36  # passes over the training captions
    batch_size: Several = 128  # pairs in a batch
    lr: float = 2e-4  # Adam's learning rate at the start
    lr_drop_every: int = 15  # epochs after which the rate is multiplied by `lr_drop_factor`
    lr_drop_factor: float = 0.1
    warmup_epochs: MaybeNone = 0  # first epochs on all negatives, which keeps a run off the plateau
    grad_clip: float = 2.0  # largest norm of the gradient of all parameters
    vocabulary_threshold: int = 4  # words rarer in the training captions become `<unk>`
    finetune_epochs: MaybeNone = 0  # epochs of a second stage that trains the CNN too
    finetune_lr: float = 2e-5  # learning rate of the second stage

    def lr_at(self, epoch: int, start: float | None = None) -> float:
        """Learning rate of an epoch, the first being 0; `start` takes the place of `lr`.

        >>> [TrainingConfig().lr_at(epoch) for epoch in (0, 14, 15)]
        [0.0002, 0.0002, 2e-05]
        """
        drops = epoch // self.lr_drop_every
        return (self.lr if start is None else start) * self.lr_drop_factor**drops


# Learning rate schedules of the papers.
SCHEDULES = {
    "rfe-f30k": {"epochs": 36, "lr_drop_every": 15, "lr_drop_factor": 0.1},
    "rfe-coco": {"epochs": 36, "lr_drop_every": 15, "lr_drop_factor": 1 / 1.2},
    "vsepp": {"epochs": 30, "lr_drop_every": 15, "lr_drop_factor": 0.1},
    "scan-f30k": {"epochs": 30, "lr_drop_every": 15, "lr_drop_factor": 0.1},
    "scan-coco": {"epochs": 20, "lr": 5e-4, "lr_drop_every": 10, "lr_drop_factor": 0.1},
    "smfea": {"epochs": 50, "lr_drop_every": 25, "lr_drop_factor": 0.1},
    "cvse-coco": {"epochs": 30, "lr_drop_every": 15, "lr_drop_factor": 0.1},
}


@dataclass(frozen=True)
class Setting:
    """Everything that the stages of a run share."""

    recipe: Recipe
    vocabulary: Vocabulary
    train: CaptionedImages
    select: CaptionedImages
    features: np.ndarray | Regions
    stage_dims: tuple[int, ...]
    backbone: str
    seed: int
    nodes: np.ndarray | None = None  # categories of the training captions' trees, (n, 7)


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
) -> Retrieval:
    """Trains a recipe and leaves model, vocabulary, history and ranks in `folder`.

    Args:
        recipe: What to train.
        data: Captioned images with their splits (see `three_parts`).
        features: Pooled features of the whole data set `(n_images, 2 * sum(stage_dims))`, or its
            regions.
        stage_dims: Channels of C1…C4; of regions the one size of their features.
        folder: Where everything is written.
        backbone: Name of the network that made the features; stage 2 trains it.
        transform: Kind of transform the features went through; stage 2 keeps to it.
        seed: Seed of weights and batches; fixes the result on one machine.
        resume: Go on from the last finished epoch found in `folder`, if it is of this recipe. A
            run that was killed ends with the very weights it would have had.

    Returns:
        Ranks on the reported split, with the weights that were best on the selection split.

    Raises:
        DataError: The data, or the recipe with so many processes, cannot be trained on.
    """
    distributed.join()
    distributed.check_batch_size(recipe.training.batch_size)
    learn, select, report = three_parts(data)
    vocabulary = Vocabulary.build(learn.captions, recipe.training.vocabulary_threshold)
    with distributed.main_first():  # the others find trees and concepts in the cache
        knowledge, nodes = Knowledge(), None
        if isinstance(recipe.model, models.SmfeaConfig):
            knowledge = Knowledge.build(recipe.model, learn.captions, vocabulary)
            nodes = knowledge.nodes(recipe.model, learn.captions)
    if distributed.is_main():
        _begin(folder, recipe, resume)
        vocabulary.save(folder / "vocabulary.json")
        knowledge.save(folder)
    distributed.wait()
    _require_seen(folder)
    setting = Setting(
        recipe, vocabulary, learn, select, features, tuple(stage_dims), backbone, seed, nodes
    )
    set_seed(seed)
    model = models.build(recipe.model, len(vocabulary), stage_dims, knowledge=knowledge)
    model.fit_features(_features_to_fit(features, learn.rows))
    model.fit_nodes(setting.nodes)
    if number := PartialState().process_index:  # equal weights, but not equal random crops
        set_seed(seed + number)
    history = _train_stage(setting, model, folder / "stage-1", recipe.training.epochs)
    if recipe.training.finetune_epochs:
        model.backbone = load_backbone(backbone).requires_grad_(True)
        model.backbone.transform = transform or model.backbone.transform
        history += _train_stage(
            setting, model, folder / "stage-2", recipe.training.finetune_epochs, finetune=True
        )
    if distributed.is_main():
        write_atomically(folder / "history.json", json.dumps(history, indent=1).encode())
        save_weights(model, folder / "model.safetensors")
        test(model, report, features, vocabulary).save(folder / "ranks.npz")
    distributed.wait()
    return Retrieval.load(folder / "ranks.npz")


def _begin(folder: Path, recipe: Recipe, resume: bool) -> None:
    """Makes a run's folder, or clears it of epochs of another recipe: no going on with those."""
    folder.mkdir(parents=True, exist_ok=True)
    begun, wanted = folder / "recipe.json", json.dumps(recipe.to_json(), indent=1)
    if not resume or (begun.is_file() and json.loads(begun.read_bytes()) != json.loads(wanted)):
        for name in ("stage-1", "stage-2"):
            shutil.rmtree(folder / name, ignore_errors=True)
    write_atomically(begun, wanted.encode())


def _require_seen(folder: Path) -> None:
    if not (folder / "recipe.json").is_file():
        raise DataError(
            f"{folder} was made by the first process, but {platform.node()} does not see it: the "
            "machines that train together need runs on a disk that they share (set XMR_RUNS)."
        )


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


def _train_stage(
    setting: Setting,
    model: models.RetrievalModel,
    folder: Path,
    epochs: int,
    finetune: bool = False,
) -> list[dict]:
    """Trains all epochs of a stage, leaves its best weights in `model`, returns its history."""
    config, progress = setting.recipe.training, checkpoints.Progress()
    lr = config.finetune_lr if finetune else config.lr
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = _accelerator(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    pictures = (
        PixelDataset(setting.train, train=True, backbone=model.backbone) if finetune else None
    )
    pairs = Pairs(
        setting.train,
        setting.vocabulary.encode(setting.train.captions),
        setting.features,
        pictures,
        setting.nodes,
        accelerator.process_index,
        accelerator.num_processes,
    )
    batches = loader(pairs, config.batch_size, setting.seed, workers=2 if finetune else 0)
    order = batches.batch_sampler
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    # `pairs` share batches out already; Accelerate would leave out one that is not full.
    batches = prepare_data_loader(
        batches, accelerator.device, num_processes=1, process_index=0, put_on_device=True
    )
    if checkpoint := checkpoints.latest(folder):
        progress = checkpoints.load(accelerator, checkpoint)
    elif finetune and accelerator.is_main_process:  # better than it was, or not at all
        before = test(model, setting.select, None, setting.vocabulary).metrics()
        progress.best_rsum = before["rsum"]
        save_weights(model, folder / "best.safetensors")
    for epoch in range(progress.epoch, epochs):
        started = time.perf_counter()
        for part in (order, batches):  # the prepared loader would start again from epoch 0
            part.set_epoch(epoch + (config.epochs if finetune else 0))
        rate = config.lr_at(epoch, start=lr)
        for group in optimizer.param_groups:
            group["lr"] = rate
        warm = epoch < config.warmup_epochs and not finetune
        negatives = "all" if warm else model.config.negatives
        row = {
            "epoch": epoch + 1,
            "stage": 2 if finetune else 1,
            "lr": rate,
            "negatives": negatives,
        }
        row |= train_epoch(
            wrapped, _shown(batches, f"epoch {epoch + 1}/{epochs}"), optimizer, accelerator,
            config.grad_clip, negatives,
        )  # fmt: skip
        if accelerator.is_main_process:
            metrics = test(model, setting.select, setting.features, setting.vocabulary).metrics()
            row |= {name: metrics[name] for name in SHOWN}
            row["seconds"] = time.perf_counter() - started
            _warn_of_collapse(row, metrics, setting.select.n_images)
            if metrics["rsum"] > progress.best_rsum:
                progress.best_rsum = metrics["rsum"]
                save_weights(model, folder / "best.safetensors")
            progress.history.append(row)
        progress.epoch = epoch + 1
        checkpoints.save(accelerator, folder, progress)
    load_weights(model, folder / "best.safetensors")
    return progress.history


def train_epoch(
    model: torch.nn.Module,
    batches: Iterator[Batch] | DataLoader,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    grad_clip: float,
    negatives: str | None = None,
) -> dict[str, float]:
    """One pass over the batches.

    Returns:
        Mean over batches of "loss" and its named parts, and "plateau": L_img + L_sent as a share of
        `2 * B * margin`, where a collapsed model sits.

    Raises:
        DataError: The loss is not finite.
    """
    model.train()
    totals: dict[str, torch.Tensor] = {}
    n_batches, bound = 0, 0.0
    margin = accelerator.unwrap_model(model).config.margin
    for batch in batches:
        parts = model(batch, negatives)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(parts["loss"])
        accelerator.clip_grad_norm_(model.parameters(), grad_clip)
        optimizer.step()
        for name, value in parts.items():
            totals[name] = totals.get(name, 0) + value.detach()
        n_batches += 1
        bound += plateau(batch.n_pairs, margin)
    means = {name: float(total) / n_batches for name, total in totals.items()}
    if not np.isfinite(means["loss"]):
        raise DataError("The loss is not finite: lower the learning rate (lr).")
    means["plateau"] = float(totals["L_img"] + totals["L_sent"]) / bound
    return means


def _warn_of_collapse(row: dict, metrics: dict[str, float], n_images: int) -> None:
    """A healthy run passes by the plateau too, but ranks far better than chance while it does."""
    ranks_like_chance = metrics["t2i_meanr"] > 0.35 * n_images  # chance: half of them
    if row["negatives"] == "hardest" and abs(row["plateau"] - 1) < 0.05 and ranks_like_chance:
        warnings.warn(
            f"Epoch {row['epoch']} sits on the plateau 2·B·margin (loss {row['loss']:.2f}): all "
            "embeddings have collapsed. Warm up longer on all negatives (warmup_epochs), or lower "
            "lr.",
            stacklevel=3,
        )


def test(
    model: models.RetrievalModel,
    data: CaptionedImages,
    features: np.ndarray | Regions | None,
    vocabulary: Vocabulary,
) -> Retrieval:
    """Ranks of a model on a data set, both ways."""
    images = encode_images(model, data, features)
    captions = encode_captions(model, vocabulary.encode(data.captions))
    with torch.inference_mode():
        return evaluate(model.score, images, captions, data.image_of_caption)


def precision() -> str:
    """bfloat16 where a GPU has it; full precision elsewhere (a CPU run repeats to the bit)."""
    on_gpu = PartialState().device.type == "cuda"
    return "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "no"


@contextmanager
def hidden_epoch_bars() -> Iterator[None]:
    """Trains without a bar for each epoch."""
    before = _EPOCH_BARS.set(False)
    try:
        yield
    finally:
        _EPOCH_BARS.reset(before)


def _shown(batches: DataLoader, title: str) -> tqdm:
    hidden = not distributed.is_main() or not _EPOCH_BARS.get()
    return tqdm(batches, desc=title, leave=False, mininterval=0.5, disable=hidden)


def _accelerator(model: models.RetrievalModel) -> Accelerator:
    """Device, precision, and how models are wrapped for several processes."""
    wrapping = DistributedDataParallelKwargs(find_unused_parameters=model.has_idle_parameters)
    accelerator = Accelerator(mixed_precision=precision(), kwargs_handlers=[wrapping])
    checkpoints.register(accelerator)
    return accelerator


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Writes a model's weights as safetensors, atomically."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        pass
    try:
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, file.name)
        os.replace(file.name, path)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Reads weights that `save_weights` wrote; nothing in the file is executed.

    Raises:
        DataError: The file is missing, damaged, or of another model.
    """
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the run has not finished. Train it again.") from None
    except Exception as error:  # safetensors and torch raise types of their own
        raise DataError(
            f"{path} cannot be read as this model's weights ({error}). Delete the run's folder "
            "and train it again."
        ) from None
