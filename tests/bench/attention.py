"""SCAN's scores and loss, against a loop over captions as its equations read."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from bench.rows import Row, at_most, faster, in_own_process, in_turns, smaller, within
from xmr_lib.cross_attention import CrossAttention, cross_attention_scores
from xmr_lib.evaluation import evaluate
from xmr_lib.losses import triplet_loss
from xmr_lib.similarity import Encoded, Parts, l2norm

N_REGIONS, DIM = 36, 1024  # as bottom-up attention and SCAN have them
VARIANTS = (CrossAttention("t-i", "AVG", 9.0), CrossAttention("i-t", "LSE", 4.0, 5.0))


def random_parts(
    n_images: int, n_captions: int, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Parts, Parts]:
    """Regions and words of no meaning, with lengths like Flickr30K's (14 words on average)."""
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    words = np.clip(rng.gamma(6, 2.05, n_captions).astype(int), 2, 60) + 2
    both = []
    for lengths in (np.full(n_images, N_REGIONS), words):
        starts = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]))
        flat = torch.empty(int(starts[-1]), DIM, dtype=dtype)
        for block in flat.split(5_000):  # no second copy of much of it
            block.copy_(l2norm(torch.randn(block.shape, generator=generator)))
        both.append(Parts(flat, starts))
    return both[0], both[1]


def plain_scores(images: Parts, captions: Parts, how: CrossAttention) -> Tensor:
    """One caption after the other against all images, attended vectors and all, in float32."""
    regions, _ = images.padded()  # (n_images, n_regions, d)
    columns = []
    for words in captions.flat.split(captions.lengths.tolist()):
        words = words.expand(len(regions), -1, -1)  # (n_images, n_words, d)
        query, context = (words, regions) if how.direction == "t-i" else (regions, words)
        even = leaky_relu(context @ query.transpose(1, 2), 0.1)  # (n_images, n_context, n_query)
        even = even / (even.square().sum(2, keepdim=True).sqrt() + 1e-8)
        weights = (how.smooth * even.transpose(1, 2)).softmax(2)
        attended = weights @ context  # (n_images, n_query, d)
        lengths = query.norm(dim=2) * attended.norm(dim=2)
        cosines = (query * attended).sum(2) / lengths.clamp(min=1e-8)
        if how.pooling == "LSE":
            columns.append((how.lse * cosines).exp().sum(1).log() / how.lse)
        else:
            columns.append(cosines.mean(1))
    return torch.stack(columns, dim=1)


def bare_products(images: Parts, captions: Parts) -> None:
    """Every region times every word and nothing else, in blocks as large as the kit's."""
    for regions in images.flat.split(8 * N_REGIONS):
        for words in captions.flat.split(2800):
            regions @ words.T


@torch.inference_mode()
def bench_scores(n_images: int = 1000, n_captions: int = 5000, repeats: int = 2) -> list[Row]:
    """Scores of a test set. The loop takes minutes: it runs on a 50th of the captions, times 50."""
    images, captions = random_parts(n_images, n_captions)
    sample = captions[slice(0, n_captions, 50)]
    rows = []
    for how in VARIANTS:
        name = f"{how.direction} {how.pooling}"
        plain, bare, ours = in_turns(
            lambda how=how: plain_scores(images, sample, how),
            lambda: bare_products(images, captions),
            lambda how=how: cross_attention_scores(images, captions, how),
            repeats=repeats,
        )
        plain *= n_captions / len(sample)
        work = f"SCAN scores {name}, {n_images:,} × {n_captions:,}"
        rows += [
            faster(f"{work}: loop over captions (a 50th of it, × 50)", plain, ours, 5),
            at_most(f"{work}: the bare products of regions and words", bare, ours, 1.5),
        ]
    for how in VARIANTS:
        found = in_own_process(
            __name__,
            "score_once",
            n_images=n_images,
            n_captions=n_captions,
            direction=how.direction,
            pooling=how.pooling,
        )
        rows.append(
            within(
                f"whole process of SCAN scores {how.direction} {how.pooling}, features included",
                found["peak"],
                2e9,
            )
        )
    return rows


@torch.inference_mode()
def score_once(n_images: int, n_captions: int, direction: str, pooling: str) -> None:
    """Scores random features once."""
    images, captions = random_parts(n_images, n_captions)
    cross_attention_scores(images, captions, CrossAttention(direction, pooling))


def bench_loss(batch: int = 128, repeats: int = 5) -> list[Row]:
    """The loss of a batch forward and backward, and what is kept in between."""
    images, captions = random_parts(batch, batch)
    for parts in (images, captions):
        parts.flat.requires_grad_()

    def work(scores, how) -> None:
        images.flat.grad = captions.flat.grad = None
        sum(triplet_loss(scores(images, captions, how)).values()).backward()

    rows = []
    for how in VARIANTS:
        plain, ours = in_turns(
            lambda how=how: work(plain_scores, how),
            lambda how=how: work(cross_attention_scores, how),
            repeats=repeats,
        )
        name = f"SCAN loss {how.direction} {how.pooling}, batch {batch}, forward and backward"
        kept = [
            saved_bytes(f, images, captions, how) for f in (plain_scores, cross_attention_scores)
        ]
        rows += [faster(name, plain, ours, 4), smaller(f"{name}: saved activations", *kept, 10)]
    return rows


def saved_bytes(scores, images: Parts, captions: Parts, how: CrossAttention) -> int:
    """Bytes that the gradient of a batch's scores keeps, the parts themselves left out."""
    storages: dict[int, int] = {}
    given = {parts.flat.untyped_storage().data_ptr() for parts in (images, captions)}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept = scores(images, captions, how)  # alive until all is counted
    del kept
    return sum(storages.values())


def bench_large(n_images: int = 5000, n_captions: int = 25_000, tiles: int = 12) -> list[Row]:
    """All of COCO 5K's test: memory of the whole process, time from some of its tiles."""
    rows = []
    for how in VARIANTS:
        found = in_own_process(
            __name__,
            "evaluate_some_tiles",
            n_images=n_images,
            n_captions=n_captions,
            direction=how.direction,
            pooling=how.pooling,
            tiles=tiles,
        )
        work = f"ranks of {n_images:,} × {n_captions:,} by SCAN {how.direction} {how.pooling}"
        rows += [
            within(f"{work}, whole process, float16 features included", found["peak"], 3e9),
            Row(
                f"{work}: from {tiles} of {found['all_tiles']:.0f} tiles",
                float("nan"),
                found["seconds"],
                "reported",
                float("nan"),
                None,
            ),
        ]
    return rows


@torch.inference_mode()
def evaluate_some_tiles(
    n_images: int, n_captions: int, direction: str, pooling: str, tiles: int
) -> dict[str, float]:
    """Runs a whole evaluation whose scores are real for the first tiles only, and zero after.

    Returns:
        "seconds" that all tiles would take, "cpu_seconds", which other programs do not disturb, and
        "all_tiles", how many there are.
    """
    how = CrossAttention(direction, pooling)
    images, captions = random_parts(n_images, n_captions, dtype=torch.float16)
    none = torch.zeros(0)
    taken: list[tuple[float, float]] = []  # of each pair in a tile
    asked = 0

    def score(some_images: Encoded, some_captions: Encoded) -> Tensor:
        nonlocal asked
        asked += 1
        if len(taken) == tiles:
            return torch.zeros(len(some_images), len(some_captions))
        started = np.array([time.perf_counter(), time.process_time()])
        scores = cross_attention_scores(some_images.parts, some_captions.parts, how)
        both = np.array([time.perf_counter(), time.process_time()]) - started
        taken.append(tuple(both / (len(some_images) * len(some_captions))))
        return scores

    owner = np.repeat(np.arange(n_images), n_captions // n_images)
    evaluate(
        score,
        Encoded(none.expand(n_images, 0), images),
        Encoded(none.expand(n_captions, 0), captions),
        owner,
    )
    seconds, cpu_seconds = (np.mean(taken, axis=0) * n_images * n_captions).tolist()
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "all_tiles": asked}
