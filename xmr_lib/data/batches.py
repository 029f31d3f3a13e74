"""Batches of image–caption pairs: random negatives, little padding, no per-word Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.regions import Regions
from xmr_lib.data.vocabulary import TokenizedCaptions
from xmr_lib.distributed import Share


@dataclass(frozen=True)
class Batch:
    """Pairs of an image and one of its captions; row `i` of everything belongs to pair `i`."""

    images: Tensor  # (b,) place of each pair's image in the data set; equal numbers, same image
    tokens: Tensor | None = None  # (b, n_words) word numbers, padded with 0
    lengths: Tensor | None = None  # (b,) words of each caption
    pooled: Tensor | None = None  # (b, 2 * sum(stage_dims)) cached features of the backbone
    regions: Tensor | None = None  # (b, n_regions, d) cached features of regions
    region_counts: Tensor | None = None  # (b,) how many regions are real; the others are padding
    pixels: Tensor | None = None  # (b, 3, height, width), when the backbone is trained too
    nodes: Tensor | None = None  # (b, 7) categories of the referral trees, negative where Null
    concepts: Tensor | None = None  # (b, n_concepts) 0 … 1; None: those that its own words name
    share: Share | None = None  # which pairs of the whole batch these are; None: all of them

    def __len__(self) -> int:
        return len(self.images)

    @property
    def n_pairs(self) -> int:
        """Pairs of the whole batch, `B`, which is `b` in a single process."""
        return len(self) if self.share is None else self.share.total

    def gathered(self, rows: Tensor) -> Tensor:
        """Rows of all processes `(B, …)` from this one's `(b, …)`, with gradients."""
        return rows if self.share is None else self.share.gather(rows)

    @property
    def same_image(self) -> Tensor:
        """`(B, B)`, True where image and caption of the whole batch belong together."""
        images = self.gathered(self.images)
        return images[:, None] == images[None, :]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on another device."""
        tensors = {name: value for name, value in vars(self).items() if torch.is_tensor(value)}
        moved = {name: t.to(device, non_blocking=non_blocking) for name, t in tensors.items()}
        return replace(self, **moved)


def fetch(features: np.ndarray | Regions, rows: np.ndarray) -> dict[str, Tensor]:
    """Cached features of some images, as the fields of a `Batch` that hold them.

    Args:
        features: Pooled features `(n_images, width)`, or regions; maybe memory-mapped.
        rows: Which images `(b,)`; only they are read.
    """
    if not isinstance(features, Regions):
        return {"pooled": torch.from_numpy(np.asarray(features[rows], dtype=np.float32))}
    return {
        "regions": torch.from_numpy(np.asarray(features.array[rows], dtype=np.float32)),
        "region_counts": torch.from_numpy(features.counts[rows]),
    }


class Pairs(Dataset):
    """All image–caption pairs of a data set, fetched a batch at a time.

    Args:
        data: The images and captions.
        tokens: The captions as word numbers, in the same order.
        features: Pooled features `(n, width)`, or regions, of the data set that `data` was cut
            from.
        pictures: Gives pixels by image position; takes the place of `features`.
        nodes: Categories of the captions' referral trees `(n_captions, 7)`, for SMFEA.
        process: Number of this process among those that train together.
        n_processes: How many train together; each fetches only its share of a batch.
    """

    def __init__(
        self,
        data: CaptionedImages,
        tokens: TokenizedCaptions,
        features: np.ndarray | Regions | None = None,
        pictures: Dataset | None = None,
        nodes: np.ndarray | None = None,
        process: int = 0,
        n_processes: int = 1,
    ) -> None:
        self.data, self.tokens = data, tokens
        self.features, self.pictures, self.nodes = features, pictures, nodes
        self.process, self.n_processes = process, n_processes

    def __len__(self) -> int:
        return self.data.n_captions

    def __getitems__(self, captions: list[int]) -> Batch:
        share = Share.of(len(captions), self.process, self.n_processes)
        chosen = np.asarray(captions if share is None else captions[share.rows])
        images = self.data.image_of_caption[chosen]
        tokens, lengths = self.tokens.padded(chosen)
        if self.pictures is not None:
            seen = {"pixels": torch.stack([self.pictures[int(image)] for image in images])}
        else:
            seen = fetch(self.features, self.data.rows[images])
        if self.nodes is not None:
            seen["nodes"] = torch.from_numpy(self.nodes[chosen])
        arrays = map(torch.from_numpy, (images, tokens, lengths))
        return Batch(*arrays, share=share, **seen)


class LengthBatches(Sampler[list[int]]):
    """Shuffled batches of captions that are about equally long.

    All captions are shuffled, cut into pools of `pool` batches, sorted by length inside a pool and
    cut into batches, which are shuffled again: a batch's negatives are still random images, but
    there is little padding. The order depends on `seed` and the epoch alone, so that a resumed
    run sees the same batches as an uninterrupted one.

    Args:
        lengths: Words of each caption `(n_captions,)`.
        batch_size: Pairs in a batch; the last of an epoch may be smaller.
        seed: Seed of the order.
        pool: Batches in a pool; 1 gives plain random batches.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int = 0, pool: int = 16) -> None:
        self.lengths, self.batch_size, self.seed, self.pool = lengths, batch_size, seed, pool
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.lengths))
        batches = []
        for start in range(0, len(order), self.pool * self.batch_size):
            pool = order[start : start + self.pool * self.batch_size]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [
                pool[i : i + self.batch_size].tolist() for i in range(0, len(pool), self.batch_size)
            ]
        for position in rng.permutation(len(batches)):
            yield batches[position]


def loader(pairs: Pairs, batch_size: int, seed: int, workers: int = 0) -> DataLoader:
    """Training batches of `pairs`; its `batch_sampler` is the `LengthBatches`."""
    return DataLoader(
        pairs,
        batch_sampler=LengthBatches(pairs.tokens.lengths, batch_size, seed),
        collate_fn=_already_a_batch,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def _already_a_batch(batch: Batch) -> Batch:
    return batch
