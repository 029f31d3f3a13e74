"""Encoding whole data sets with a trained model, in batches of bounded size.

Models that compare parts keep every region and every word. Above `LARGE` bytes a data set's parts
are kept in float16, half the memory; scores are computed in float32 all the same, and differ by
less than 0.001. 5,000 images with 25,000 captions need 2 GB this way instead of 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from xmr_lib.data.batches import Batch, fetch
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.images import PixelDataset
from xmr_lib.data.regions import Regions
from xmr_lib.data.vocabulary import TokenizedCaptions
from xmr_lib.encoders.consensus import complete_labels
from xmr_lib.models import RetrievalModel, StructuredModel
from xmr_lib.similarity import Encoded, Parts, l2norm

LARGE = 500_000_000  # bytes of parts in float32


@torch.inference_mode()
def encode_images(
    model: RetrievalModel,
    data: CaptionedImages,
    features: np.ndarray | Regions | None = None,
    batch_size: int = 512,
    workers: int = 2,
) -> Encoded:
    """Every image of `data`, in its order.

    Args:
        model: A trained model; it is left in evaluation mode.
        data: The images.
        features: Pooled features, or regions, that `data.rows` index. A model that brings its own
            (fine-tuned) backbone reads the pictures instead.
        batch_size: Images at once when features are cached; pictures come 64 at a time.
        workers: Processes that decode pictures.
    """
    model.eval()
    device = next(model.parameters()).device
    if model.backbone is None:
        batches = image_batches(data, features, batch_size)
    else:
        batches = _picture_batches(data, model.backbone, workers)
    found = _Collected(
        features.counts[data.rows] if isinstance(features, Regions) else None, data.n_images
    )
    first = 0
    for batch in batches:
        found.put(np.arange(first, first + len(batch)), model.encode_images(batch.to(device)))
        first += len(batch)
    return found.all()


def image_batches(
    data: CaptionedImages, features: np.ndarray | Regions, batch_size: int = 512
) -> Iterator[Batch]:
    """The images of `data` in their order, with their cached features."""
    for start in range(0, data.n_images, batch_size):
        rows = data.rows[start : start + batch_size]
        yield Batch(torch.from_numpy(rows), **fetch(features, rows))


def _picture_batches(
    data: CaptionedImages, backbone: torch.nn.Module, workers: int
) -> Iterator[Batch]:
    pictures = DataLoader(PixelDataset(data, backbone=backbone), batch_size=64, num_workers=workers)
    for pixels in tqdm(pictures, desc="encode pictures", leave=False):
        yield Batch(torch.arange(len(pixels)), pixels=pixels)


@torch.inference_mode()
def encode_captions(
    model: RetrievalModel, tokens: TokenizedCaptions, batch_size: int = 256
) -> Encoded:
    """Every caption, in its order; batches hold captions of similar length.

    Where the recipe says `transductive_labels`, the captions' concepts are completed by those of
    similar captions among them first.

    Args:
        model: A trained model; it is left in evaluation mode.
        tokens: Captions as word numbers.
        batch_size: Captions at once.
    """
    model.eval()
    device = next(model.parameters()).device
    concepts = _completed_concepts(model, tokens) if model.transductive else None
    found = _Collected(tokens.lengths, len(tokens))
    for chosen, batch in caption_batches(tokens, batch_size):
        if concepts is not None:
            batch = replace(batch, concepts=concepts[chosen])
        found.put(chosen, model.encode_captions(batch.to(device)))
    return found.all()


def caption_batches(
    tokens: TokenizedCaptions, batch_size: int = 256
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Captions of similar length together: their places `(b,)`, and the batch."""
    order = np.argsort(tokens.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        words, lengths = (torch.from_numpy(a) for a in tokens.padded(chosen))
        yield chosen, Batch(torch.from_numpy(chosen), words, lengths)


def _completed_concepts(model: StructuredModel, tokens: TokenizedCaptions) -> torch.Tensor:
    """Concepts of all captions, completed by their neighbours' (transductive), on the CPU."""
    device = next(model.parameters()).device
    instances = labels = None
    for chosen, batch in caption_batches(tokens):
        batch = batch.to(device)
        found = model.caption_views(batch, trees=False).instance.cpu()
        own = model.labels(batch.tokens, batch.lengths).cpu()
        if instances is None:
            instances = found.new_empty(len(tokens), found.shape[1])
            labels = own.new_empty(len(tokens), own.shape[1])
        instances[torch.from_numpy(chosen)], labels[torch.from_numpy(chosen)] = found, own
    return complete_labels(labels, l2norm(instances))


class _Collected:
    """Encoded items, each batch written where it belongs: nothing is kept twice.

    Args:
        n_parts: Regions or words of each item `(n,)`; None where items have no parts.
        n: Number of items.
    """

    def __init__(self, n_parts: np.ndarray | None, n: int) -> None:
        self.n = n
        self.starts = None if n_parts is None else np.concatenate([[0], np.cumsum(n_parts)])
        self.vectors: torch.Tensor | None = None
        self.flat: torch.Tensor | None = None

    def put(self, items: np.ndarray, batch: Encoded) -> None:
        """Takes a batch; `items` are its places `(b,)`."""
        if self.vectors is None:
            self._make_room(batch)
        self.vectors[torch.from_numpy(items)] = batch.vectors
        if batch.parts is not None:
            lengths = batch.parts.lengths.numpy()
            within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            rows = np.repeat(self.starts[items], lengths) + within
            self.flat[torch.from_numpy(rows)] = batch.parts.flat.to(self.flat.dtype)

    def _make_room(self, batch: Encoded) -> None:
        self.vectors = batch.vectors.new_empty(self.n, batch.vectors.shape[1])
        if batch.parts is not None:
            shape = (int(self.starts[-1]), batch.parts.flat.shape[1])
            large = shape[0] * shape[1] * 4 >= LARGE
            self.flat = batch.parts.flat.new_empty(shape, dtype=torch.float16 if large else None)

    def all(self) -> Encoded:
        """What was taken, in order of place."""
        if self.flat is None:
            return Encoded(self.vectors)
        return Encoded(self.vectors, Parts(self.flat, torch.from_numpy(self.starts)))
