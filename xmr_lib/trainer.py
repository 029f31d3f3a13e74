"""The trainer: epochs, learning rate, the best weights by validation, resuming after a kill.

Devices and mixed precision are Accelerate's business. Several processes (see
`xmr_lib.distributed`) take the steps together; the first of them validates and writes.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import DistributedDataParallelKwargs
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from xmr_lib import checkpoints, distributed, evaluation
from xmr_lib.configs import Config, MaybeNone, Several
from xmr_lib.data.batches import Batch, LengthBatches, Pairs, loader
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.images import PixelDataset
from xmr_lib.data.regions import Regions
from xmr_lib.data.vocabulary import TokenizedCaptions, Vocabulary
from xmr_lib.encoding import encode_captions, encode_images
from xmr_lib.errors import DataError
from xmr_lib.evaluation import Retrieval
from xmr_lib.files import load_tensors, save_tensors
from xmr_lib.losses import plateau
from xmr_lib.models import RetrievalModel

# Code that trains many runs shows one bar for all of them, and hides those of the epochs.
_EPOCH_BARS: ContextVar[bool] = ContextVar("epoch_bars", default=True)

SHOWN = ("i2t_r1", "t2i_r1", "i2t_r10", "t2i_r10", "rsum")  # of the metrics, in the history
# Weights; a smaller model trains on one thread. Toy and laptop scale lie below. Beside other work
# on two cores, a step of RFE at laptop scale (3 million) took 0.7 s with one thread, 7 s with two.
SMALL = 4_000_000


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


class Trainer:
    """Trains a model stage by stage, and keeps what a killed run needs to continue.

    Args:
        model: Stage 1 begins with its weights; every stage leaves its best ones in it.
        learn: Images to train on.
        select: Images to choose the best epoch by.
        features: Of the whole data set.
        nodes: Categories of the training captions' trees `(n, 7)`, for SMFEA.
        folder: Where `stage-1` and `stage-2` are kept.
    """

    def __init__(
        self,
        model: RetrievalModel,
        config: TrainingConfig,
        learn: CaptionedImages,
        select: CaptionedImages,
        features: np.ndarray | Regions,
        vocabulary: Vocabulary,
        nodes: np.ndarray | None,
        folder: Path,
        seed: int,
    ) -> None:
        self.model, self.config, self.folder, self.seed = model, config, folder, seed
        self.learn, self.select, self.features, self.nodes = learn, select, features, nodes
        self.learn_tokens = vocabulary.encode(learn.captions)
        self.select_tokens = vocabulary.encode(select.captions)

    def stage(self, number: int) -> list[dict]:
        """Trains all epochs of stage 1, or of stage 2, and returns its history."""
        finetune, config, model = number == 2, self.config, self.model
        epochs = config.finetune_epochs if finetune else config.epochs
        lr = config.finetune_lr if finetune else config.lr
        folder = self.folder / f"stage-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        accelerator = accelerator_for(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        wrapped, optimizer = accelerator.prepare(model, optimizer)
        batches, order = self._batches(accelerator, finetune)
        progress = checkpoints.resume(accelerator, folder)
        if finetune and not progress.epoch and accelerator.is_main_process:
            progress.best_rsum = self._validate()["rsum"]  # better than before, or not at all
            save_tensors(folder / "best.safetensors", model.state_dict())
        for epoch in range(progress.epoch, epochs):
            started = time.perf_counter()
            for part in (order, batches):  # the prepared loader would start again from epoch 0
                part.set_epoch(epoch + (config.epochs if finetune else 0))
            rate = config.lr_at(epoch, start=lr)
            for group in optimizer.param_groups:
                group["lr"] = rate
            warm = epoch < config.warmup_epochs and not finetune
            negatives = "all" if warm else model.config.negatives
            row = {"epoch": epoch + 1, "stage": number, "lr": rate, "negatives": negatives}
            shown = _shown(batches, f"epoch {epoch + 1}/{epochs}")
            row |= train_epoch(wrapped, shown, optimizer, accelerator, config.grad_clip, negatives)
            if accelerator.is_main_process:
                metrics = self._validate()
                row |= {name: metrics[name] for name in SHOWN}
                row["seconds"] = time.perf_counter() - started
                _warn_of_collapse(row, metrics, self.select.n_images)
                if metrics["rsum"] > progress.best_rsum:
                    progress.best_rsum = metrics["rsum"]
                    save_tensors(folder / "best.safetensors", model.state_dict())
                progress.history.append(row)
            progress.epoch = epoch + 1
            checkpoints.save(accelerator, folder, progress)
        load_weights(model, folder / "best.safetensors")
        return progress.history

    def _batches(
        self, accelerator: Accelerator, finetune: bool
    ) -> tuple[DataLoader, LengthBatches]:
        """Training batches on the device, and the sampler that shuffles them."""
        backbone = self.model.backbone
        pictures = PixelDataset(self.learn, train=True, backbone=backbone) if finetune else None
        process = accelerator.process_index, accelerator.num_processes
        pairs = Pairs(self.learn, self.learn_tokens, self.features, pictures, self.nodes, *process)
        batches = loader(pairs, self.config.batch_size, self.seed, workers=2 if finetune else 0)
        # `pairs` share batches out already; Accelerate would leave out one that is not full.
        prepared = prepare_data_loader(
            batches, accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared, batches.batch_sampler

    def _validate(self) -> dict[str, float]:
        return evaluate(self.model, self.select, self.features, self.select_tokens).metrics()


def train_epoch(
    model: torch.nn.Module,
    batches: Iterable[Batch],
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
    n_batches, bound, first = 0, 0.0, None
    margin = accelerator.unwrap_model(model).config.margin
    for batch in batches:
        parts = model(batch, negatives)
        first = parts["loss"].detach() if first is None else first
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
        if not torch.isfinite(first):  # before any weight was changed
            raise DataError(
                "The loss is not finite from the start: the features are not, or too large."
            )
        rate = optimizer.param_groups[0]["lr"]
        raise DataError(f"The loss is not finite: lower the learning rate lr, now {rate:g}.")
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
            stacklevel=4,
        )


def evaluate(
    model: RetrievalModel,
    data: CaptionedImages,
    features: np.ndarray | Regions | None,
    tokens: TokenizedCaptions,
) -> Retrieval:
    """Ranks of a model on a data set, both ways; `tokens` are its captions as word numbers."""
    images = encode_images(model, data, features)
    captions = encode_captions(model, tokens)
    with torch.inference_mode():
        return evaluation.evaluate(model.score, images, captions, data.image_of_caption)


def precision() -> str:
    """bfloat16 where a GPU has it; full precision elsewhere (a CPU run repeats to the bit)."""
    on_gpu = PartialState().device.type == "cuda"
    return "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "no"


@contextmanager
def threads_for(model: RetrievalModel) -> Iterator[int]:
    """Trains a small model on one CPU thread, unless OMP_NUM_THREADS says how many.

    Its operations are short: divided among threads, most time is spent waiting for the slowest.
    """
    before = torch.get_num_threads()
    n_weights = sum(weight.numel() for weight in model.parameters())
    on_cpu = PartialState().device.type == "cpu"
    if on_cpu and n_weights < SMALL and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


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


def accelerator_for(model: RetrievalModel) -> Accelerator:
    """Device, precision, and how a model is wrapped for several processes."""
    wrapping = DistributedDataParallelKwargs(find_unused_parameters=model.has_idle_parameters)
    accelerator = Accelerator(mixed_precision=precision(), kwargs_handlers=[wrapping])
    checkpoints.register(accelerator)
    return accelerator


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Reads a model's weights from safetensors; nothing in the file is executed.

    Raises:
        DataError: The file is missing, damaged, or of another model.
    """
    again = "Train the run again (train … --no-resume); its other files can be kept."
    try:
        model.load_state_dict(load_tensors(path)[0])
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the run has not finished. Train it again.") from None
    except DataError as error:
        raise DataError(f"{error} {again}") from None
    except RuntimeError as error:  # names or shapes differ
        what = str(error).splitlines()[1].strip()
        raise DataError(f"{path} holds the weights of another model ({what}) {again}") from None
