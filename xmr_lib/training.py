"""Training: epochs, learning rate, the best weights by validation, and resuming after a kill.

A run is one or two stages. Stage 1 trains on cached features with the CNN frozen; stage 2, when
the recipe asks for it, starts from stage 1's best weights and trains the CNN on pixels too.
Devices, mixed precision and several processes are Accelerate's business.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from xmr_lib import models
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
from xmr_lib.recipes import Recipe
from xmr_lib.similarity import Parts


@dataclass
class Progress:
    """What a stage has done so far; saved with every checkpoint."""

    epoch: int = 0
    best_rsum: float = -1.0
    history: list[dict] = field(default_factory=list)


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
    """
    learn, select, report = three_parts(data)
    folder.mkdir(parents=True, exist_ok=True)
    begun, wanted = folder / "recipe.json", json.dumps(recipe.to_json(), indent=1)
    if not resume or (begun.is_file() and begun.read_text(encoding="utf-8") != wanted):
        for name in ("stage-1", "stage-2"):  # another recipe's epochs cannot be gone on with
            shutil.rmtree(folder / name, ignore_errors=True)
    write_atomically(begun, wanted.encode())
    vocabulary = Vocabulary.build(learn.captions, recipe.vocabulary_threshold)
    vocabulary.save(folder / "vocabulary.json")
    knowledge = Knowledge.build(recipe, learn.captions, vocabulary)
    knowledge.save(folder)
    setting = Setting(
        recipe, vocabulary, learn, select, features, tuple(stage_dims), backbone, seed,
        knowledge.nodes(recipe, learn.captions),
    )  # fmt: skip
    set_seed(seed)
    model = models.build(recipe, len(vocabulary), stage_dims, knowledge=knowledge)
    model.fit_features(_features_to_fit(features, learn.rows))
    model.fit_nodes(setting.nodes)
    history = _train_stage(setting, model, folder / "stage-1", recipe.epochs)
    if recipe.finetune_epochs:
        model.backbone = load_backbone(backbone).requires_grad_(True)
        model.backbone.transform = transform or model.backbone.transform
        history += _train_stage(
            setting, model, folder / "stage-2", recipe.finetune_epochs, finetune=True
        )
    write_atomically(folder / "history.json", json.dumps(history, indent=1).encode())
    save_weights(model, folder / "model.safetensors")
    result = test(model, report, features, vocabulary)
    result.save(folder / "ranks.npz")
    return result


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
    recipe, progress = setting.recipe, Progress()
    lr = recipe.finetune_lr if finetune else recipe.lr
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(mixed_precision=precision())
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
    )
    batches = loader(pairs, recipe.batch_size, setting.seed, workers=2 if finetune else 0)
    order = batches.batch_sampler
    wrapped, optimizer, batches = accelerator.prepare(model, optimizer, batches)
    if checkpoint := _latest(folder):
        accelerator.load_state(str(checkpoint))
        progress = Progress(**json.loads((checkpoint / "progress.json").read_text()))
    elif finetune:  # better than it was, or not at all
        before = test(model, setting.select, None, setting.vocabulary).metrics()
        progress.best_rsum = before["rsum"]
        save_weights(model, folder / "best.safetensors")
    for epoch in range(progress.epoch, epochs):
        started = time.perf_counter()
        for part in (order, batches):  # the prepared loader would start again from epoch 0
            part.set_epoch(epoch + (recipe.epochs if finetune else 0))
        rate = recipe.lr_at(epoch, start=lr)
        for group in optimizer.param_groups:
            group["lr"] = rate
        warm = epoch < recipe.warmup_epochs and not finetune
        negatives = "all" if warm else recipe.negatives
        row = {
            "epoch": epoch + 1,
            "stage": 2 if finetune else 1,
            "lr": rate,
            "negatives": negatives,
        }
        row |= train_epoch(
            wrapped, _shown(batches, f"epoch {epoch + 1}/{epochs}"), optimizer, accelerator,
            recipe, negatives,
        )  # fmt: skip
        model.eval()
        metrics = test(model, setting.select, setting.features, setting.vocabulary).metrics()
        row |= {name: metrics[name] for name in ("i2t_r1", "t2i_r1", "i2t_r10", "t2i_r10", "rsum")}
        row["seconds"] = time.perf_counter() - started
        _warn_of_collapse(row, metrics, setting.select.n_images)
        if metrics["rsum"] > progress.best_rsum:
            progress.best_rsum = metrics["rsum"]
            save_weights(model, folder / "best.safetensors")
        progress.history.append(row)
        progress.epoch = epoch + 1
        _save_checkpoint(accelerator, folder, progress)
    load_weights(model, folder / "best.safetensors")
    return progress.history


def train_epoch(
    model: torch.nn.Module,
    batches: Iterator[Batch] | DataLoader,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    recipe: Recipe,
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
    for batch in batches:
        parts = model(batch, negatives)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(parts["loss"])
        accelerator.clip_grad_norm_(model.parameters(), recipe.grad_clip)
        optimizer.step()
        for name, value in parts.items():
            totals[name] = totals.get(name, 0) + value.detach()
        n_batches += 1
        bound += plateau(len(batch), recipe.margin)
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
    return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"


def _shown(batches: DataLoader, title: str) -> tqdm:
    return tqdm(batches, desc=title, leave=False, mininterval=0.5)


def _latest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a stage."""
    found = sorted(folder.glob("epoch-[0-9]*"))
    return found[-1] if found else None


def _save_checkpoint(accelerator: Accelerator, folder: Path, progress: Progress) -> None:
    """Writes everything needed to go on, under a name it only gets once it is complete."""
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    accelerator.save_state(str(unfinished))
    (unfinished / "progress.json").write_text(json.dumps(asdict(progress)))
    before = _latest(folder)
    os.replace(unfinished, folder / f"epoch-{progress.epoch:04d}")
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)


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
