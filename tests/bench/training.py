"""Ranks, training steps of VSE++ and RFE, and the extraction of features, against plain code."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bench.rows import Row, at_most, faster, in_turns
from xmr_lib import models, recipes, toy
from xmr_lib.data.batches import Batch, LengthBatches
from xmr_lib.data.captioned import CaptionedImages, load
from xmr_lib.data.features import extract
from xmr_lib.data.images import eval_transform, open_image
from xmr_lib.data.vocabulary import TokenizedCaptions
from xmr_lib.encoders.backbone import (
    Backbone,
    ResNetStages,
    load_backbone,
    pool_stages,
    stage_columns,
)
from xmr_lib.encoders.image import ImageEncoder
from xmr_lib.errors import MissingDependencyError
from xmr_lib.evaluation import evaluate_scores
from xmr_lib.models import DualConfig, RetrievalModel
from xmr_lib.recipes import Recipe

VOCABULARY = 8481  # of Flickr30K as the peers prepared it
RESNET = (256, 512, 1024, 2048)  # channels of C1…C4


# --- ranks ----------------------------------------------------------------------------------------


def plain_ranks(scores: np.ndarray, image_of_caption: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorts all answers of one query after the other, as the peers do; ties are left to chance.

    Returns:
        Ranks of the best right answer, `(n_images,)` and `(n_captions,)`.
    """
    i2t = np.empty(len(scores), dtype=np.int64)
    for image, row in enumerate(scores):
        order = np.argsort(row)[::-1]
        i2t[image] = np.flatnonzero(image_of_caption[order] == image)[0]
    t2i = np.empty(len(image_of_caption), dtype=np.int64)
    for caption, image in enumerate(image_of_caption):
        order = np.argsort(scores[:, caption])[::-1]
        t2i[caption] = np.flatnonzero(order == image)[0]
    return i2t, t2i


def bench_ranks(n_images: int = 5000, repeats: int = 3) -> list[Row]:
    """Ranks and recalls of `n_images` × 5 captions, both directions."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(n_images), 5)
    scores = rng.standard_normal((n_images, len(owner)), dtype=np.float32)
    plain, ours = in_turns(
        lambda: plain_ranks(scores, owner),
        lambda: evaluate_scores(scores, owner).metrics(),
        repeats=repeats,
    )
    work = f"ranks and recalls, {n_images:,} × {len(owner):,}, both ways"
    return [faster(work, plain, ours, 5)]


# --- training step --------------------------------------------------------------------------------


def plain_step(model: RetrievalModel, recipe: Recipe, batch: Batch) -> Tensor:
    """VSE++'s loss as its code computes it: all GRU outputs unpacked, the last one picked."""
    image = model.image(batch.pooled)
    lengths, order = batch.lengths.sort(descending=True)
    words = model.text.embed(batch.tokens[order])
    packed = pack_padded_sequence(words, lengths, batch_first=True)
    states = pad_packed_sequence(model.text.rnn(packed)[0], batch_first=True)[0]
    last = states.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
    text = last / last.norm(dim=1, keepdim=True)
    scores = image[order] @ text.T
    right = scores.diag()[:, None]
    eye = torch.eye(len(scores)) > 0.5
    by_image = (recipe.model.margin + scores - right).clamp(min=0).masked_fill(eye, 0)
    by_text = (recipe.model.margin + scores - right.T).clamp(min=0).masked_fill(eye, 0)
    return by_image.max(1)[0].sum() + by_text.max(0)[0].sum()


def bench_training(steps: int = 8, repeats: int = 3) -> list[Row]:
    """Training steps of VSE++ on cached ResNet features, and what RFE adds to them."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    # Lengths like Flickr30K's: a few words to forty, 14 on average with the two marks.
    lengths = np.clip(rng.gamma(6, 2.05, 128 * 64).astype(int), 2, 60) + 2
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = TokenizedCaptions(rng.integers(4, VOCABULARY, starts[-1]).astype(np.int32), starts)
    pooled = torch.rand(128, 2 * sum(RESNET))

    def batches(pool: int) -> list[Batch]:
        chosen = list(LengthBatches(lengths, 128, seed=0, pool=pool))[:steps]
        each = [tokens.padded(np.array(captions)) for captions in chosen]
        return [
            Batch(torch.arange(128), torch.from_numpy(t), torch.from_numpy(n), pooled)
            for t, n in each
        ]

    vsepp = recipes.get("VSE++", "paper")
    rich_images = vsepp.replaced(max_stages=(1, 2, 3, 4))
    rfe = recipes.get("RFE", "paper")
    random, sorted_by_length = batches(pool=1), batches(pool=16)

    def epoch(recipe: Recipe, some: list[Batch], plain: bool = False) -> Callable[[], None]:
        model = models.build(recipe.model, VOCABULARY, RESNET)
        optimizer = torch.optim.Adam(model.parameters(), lr=recipe.training.lr)

        def work() -> None:
            for batch in some:
                optimizer.zero_grad()
                loss = plain_step(model, recipe, batch) if plain else model(batch)["loss"]
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.training.grad_clip)
                optimizer.step()

        return work

    plain, ours, with_rich_images, whole_rfe = (
        seconds / steps
        for seconds in in_turns(
            epoch(vsepp, random, plain=True),
            epoch(vsepp, sorted_by_length),
            epoch(rich_images, sorted_by_length),
            epoch(rfe, sorted_by_length),
            repeats=repeats,
        )
    )
    return [
        faster("VSE++ training step, batch 128, GRU 1024", plain, ours, 1),
        at_most("the same with RFE's image side, cached", ours, with_rich_images, 1.03),
        Row("the whole of RFE (biGRU)", ours, whole_rfe, "reported", whole_rfe / ours, None),
    ]


def bench_image_part(batch: int = 32, repeats: int = 5) -> list[Row]:
    """RFE's image side against VSE++'s from pixels on: CNN, pools, projection (RFE Table V)."""
    net = _photo_network()
    pixels = torch.rand(batch, 3, net.image_size, net.image_size)
    one_pool = ImageEncoder(net.stage_dims, DualConfig())
    all_pools = ImageEncoder(net.stage_dims, DualConfig(max_stages=(1, 2, 3, 4)))
    columns = stage_columns(net.stage_dims, "avg", 4)

    def vsepp() -> None:
        pooled = torch.zeros(batch, 2 * sum(net.stage_dims))
        pooled[:, columns] = net(pixels)[3].mean((2, 3))
        one_pool(pooled).sum().backward()

    def rfe() -> None:
        all_pools(pool_stages(net(pixels))).sum().backward()

    plain, ours = in_turns(vsepp, rfe, repeats=repeats)
    return [at_most(f"RFE's image part from pixels, {net.name}", plain, ours, 1.03)]


# --- extraction -----------------------------------------------------------------------------------


def bench_extraction(n_images: int = 256, repeats: int = 3) -> list[Row]:
    """Extraction from JPEG files, decoding included, against the plain forward pass alone.

    The other networks do the same work with less to fold, or in less time than decoding takes:
    they are compared with decoding a batch and running the plain forward pass on it, in turns.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photos, scenes = _jpegs(Path(folder) / "photos", n_images)
        for net, data, plain in (
            (_photo_network(), photos, _forward),
            (_random_resnet18(), photos, _decode_and_forward),
            (load_backbone("toy"), scenes, _decode_and_forward),
        ):
            caches = (Path(folder) / net.name / str(i) for i in range(repeats + 1))
            costs = in_turns(
                partial(plain, data, net),
                lambda net=net, data=data, caches=caches: extract(data, net, cache=next(caches)),
                repeats=repeats,
            )
            rows.append(faster(f"extraction of {n_images} images, {net.name}", *costs, 1.4))
    return rows


@torch.inference_mode()
def _forward(data: CaptionedImages, net: Backbone, batch_size: int = 64) -> None:
    """The plain forward pass over as many images that are already in memory."""
    net = net.to(memory_format=torch.channels_last)
    shape = (batch_size, 3, net.image_size, net.image_size)
    pixels = torch.rand(shape).contiguous(memory_format=torch.channels_last)
    for first in range(0, data.n_images, batch_size):
        net(pixels[: data.n_images - first])


@torch.inference_mode()
def _decode_and_forward(data: CaptionedImages, net: Backbone, batch_size: int = 64) -> None:
    """Decodes a batch, then runs the plain forward pass on it, and so on."""
    net = net.to(memory_format=torch.channels_last)
    look = eval_transform(net.transform, net.image_size, net.mean, net.std)
    for first in range(0, data.n_images, batch_size):
        files = data.image_files[first : first + batch_size]
        pixels = torch.stack([look(open_image(file)) for file in files])
        pool_stages(net(pixels.contiguous(memory_format=torch.channels_last)))


def _random_resnet18() -> Backbone:
    """A ResNet-18 without its weights, which need a download: as fast as with them."""
    stages = ResNetStages(torchvision.models.resnet18(weights=None))
    return Backbone("resnet18", stages, (64, 128, 256, 512))


def _photo_network() -> Backbone:
    try:
        return load_backbone("efficientnet-lite0")
    except MissingDependencyError:
        return load_backbone("resnet18")


def _jpegs(folder: Path, n: int) -> tuple[CaptionedImages, CaptionedImages]:
    """Drawn scenes as JPEGs of 500 × 375 pixels, the usual size of Flickr30K's, and as drawn."""
    drawn = load(toy.draw(n_train=n - 2, n_val=1, n_test=1, folder=folder.with_name("scenes")))
    folder.mkdir()
    lines = ["image,caption,split"]
    for i, file in enumerate(drawn.image_files):
        open_image(file).resize((500, 375)).save(folder / f"{i}.jpg", quality=90)
        lines.append(f"{i}.jpg,a drawn scene,train")
    (folder / "captions.csv").write_text("\n".join(lines), encoding="utf-8")
    return load(folder), drawn
