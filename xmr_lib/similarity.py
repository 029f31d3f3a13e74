"""What comes out of an encoder, and how an image and a caption are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Parts:
    """Regions of images, or words of captions: any number an item, and no padding.

    The parts of item `i` are rows `starts[i]` to `starts[i + 1]` of one flat tensor, so that a
    caption of sixty words costs the memory of sixty words and no other caption pays for it; and
    what stands behind a caption's end cannot matter, because it is not there.
    """

    flat: Tensor  # all parts of all items, (n_parts, d)
    starts: Tensor  # where each item begins, and the end, (n + 1,) int64, on the CPU

    @classmethod
    def from_padded(cls, padded: Tensor, lengths: Tensor) -> Parts:
        """Takes the real parts out of a padded batch.

        Args:
            padded: `(n, longest, d)`; whatever lies behind an item's length is never read.
            lengths: How many parts of each item are real, at least one, `(n,)`.

        >>> parts = Parts.from_padded(torch.tensor([[[1.0], [2.0]], [[3.0], [9.0]]]), [2, 1])
        >>> parts.flat.tolist(), parts.starts.tolist()
        ([[1.0], [2.0], [3.0]], [0, 2, 3])
        """
        lengths = torch.as_tensor(lengths).cpu()
        longest = padded.shape[1]
        if len(lengths) != len(padded) or (lengths < 1).any() or (lengths > longest).any():
            raise ValueError(
                f"lengths must be {len(padded)} numbers between 1 and {longest}, "
                f"not {lengths.tolist()[:8]}"
            )
        starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        if (lengths == longest).all():
            return cls(padded.flatten(0, 1), starts)
        places = _places(lengths, longest).to(padded.device)
        return cls(padded.flatten(0, 1).index_select(0, places), starts)

    @property
    def lengths(self) -> Tensor:
        """Parts of each item, `(n,)` on the CPU."""
        return self.starts.diff()

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, items: slice | Tensor | np.ndarray) -> Parts:
        """The chosen items; a view where `items` is a slice."""
        if isinstance(items, slice):
            first, last, step = items.indices(len(self))
            if step == 1:
                starts = self.starts[first : max(first, last) + 1]
                return Parts(self.flat[starts[0] : starts[-1]], starts - starts[0])
            items = torch.arange(first, last, step)
        items = torch.as_tensor(items).cpu()
        lengths = self.lengths[items]
        starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        within = torch.arange(int(starts[-1])) - starts[:-1].repeat_interleave(lengths)
        rows = self.starts[items].repeat_interleave(lengths) + within
        return Parts(self.flat[rows.to(self.flat.device)], starts)

    def padded(self) -> tuple[Tensor, Tensor]:
        """Side by side: `(n, longest, d)` with zeros behind the end, and lengths `(n,)`."""
        lengths, width = self.lengths, self.flat.shape[1]
        longest = int(lengths.max())
        if (lengths == longest).all():
            return self.flat.view(len(self), longest, width), lengths
        places = _places(lengths, longest).to(self.flat.device)
        padded = self.flat.new_zeros(len(self) * longest, width).index_copy(0, places, self.flat)
        return padded.view(len(self), longest, width), lengths

    def means(self) -> Tensor:
        """Mean part of each item, `(n, d)`."""
        owner = torch.arange(len(self)).repeat_interleave(self.lengths).to(self.flat.device)
        total = self.flat.new_zeros(len(self), self.flat.shape[1]).index_add(0, owner, self.flat)
        return total / self.lengths[:, None].to(self.flat)

    def to(self, device: torch.device | str) -> Parts:
        """The same on another device."""
        return Parts(self.flat.to(device), self.starts)

    @staticmethod
    def concatenate(pieces: Sequence[Parts]) -> Parts:
        """Joins the batches of a data set."""
        lengths = torch.cat([piece.lengths for piece in pieces])
        starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        return Parts(torch.cat([piece.flat for piece in pieces]), starts)


def _places(lengths: Tensor, longest: int) -> Tensor:
    """Rows of the real parts in a padded batch `(n * longest, d)`."""
    return (torch.arange(longest) < lengths[:, None]).flatten().nonzero()[:, 0]


@dataclass(frozen=True)
class Encoded:
    """Encoded images or captions."""

    vectors: Tensor  # one vector an item, (n, d)
    parts: Parts | None = None  # regions or words of each; None where parts are not compared

    @classmethod
    def of_parts(cls, parts: Parts) -> Encoded:
        """Items that are compared by their parts; their vector is the mean part, length one."""
        return cls(l2norm(parts.means()), parts)

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, index: slice | Tensor | np.ndarray) -> Encoded:
        """The chosen items, as views where `index` is a slice."""
        return Encoded(self.vectors[index], None if self.parts is None else self.parts[index])

    def to(self, device: torch.device | str) -> Encoded:
        """The same on another device."""
        parts = None if self.parts is None else self.parts.to(device)
        return Encoded(self.vectors.to(device), parts)

    @staticmethod
    def concatenate(pieces: Sequence[Encoded]) -> Encoded:
        """Joins the batches of a data set."""
        vectors = torch.cat([piece.vectors for piece in pieces])
        if pieces[0].parts is None:
            return Encoded(vectors)
        return Encoded(vectors, Parts.concatenate([piece.parts for piece in pieces]))


def l2norm(x: Tensor, dim: int = -1) -> Tensor:
    """Divides vectors by their Euclidean norm (`Norm_L2` of RFE eqs. 2 and 6).

    A zero vector stays zero, with finite gradients; the peers' code returns NaN there. There is
    no epsilon, so that tiny vectors reach length one too.

    >>> l2norm(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / norm.where(norm > 0, 1.0)


def cosine_similarity(images: Tensor, captions: Tensor) -> Tensor:
    """Cosine of unit vectors: `dist` of RFE eqs. 7 and 8, which has the signs of a similarity.

    From `(n_images, d)` and `(n_captions, d)` to `(n_images, n_captions)`, each in [-1, 1].

    >>> cosine_similarity(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    tensor([[0.6000, 0.0000]])
    """
    return images @ captions.T


def order_similarity(images: Tensor, captions: Tensor, block: int = 64) -> Tensor:
    """Order similarity of VSE++ (after Vendrov et al. 2016): `-|| max(0, caption - image) ||`.

    A caption is more abstract than its image, so each of its coordinates should be the smaller
    one; only violations of that count. 0 is the best score.

    Args:
        images: Non-negative vectors `(n_images, d)`.
        captions: Non-negative vectors `(n_captions, d)`.
        block: Images compared at once; bounds the memory to `block * n_captions * d` numbers.

    Returns:
        `(n_images, n_captions)`, each at most 0.

    >>> order_similarity(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.5], [4.0, 5.0]]))
    tensor([[-0., -5.]])
    """
    rows = []
    for chunk in images.split(block):
        violation = (captions[None] - chunk[:, None]).clamp(min=0)  # (block, n_captions, d)
        # vector_norm has gradient 0 at 0, where a plain square root would give NaN
        rows.append(-torch.linalg.vector_norm(violation, dim=2))
    return torch.cat(rows)


SIMILARITIES = {"cosine": cosine_similarity, "order": order_similarity}
