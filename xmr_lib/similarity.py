"""What comes out of an encoder, and how an image and a caption are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """Encoded images or captions.

    Attributes:
        vectors: One vector per item, `(n, d)`.
        parts: Regions or words of each item, `(n, n_parts, d)`; None for models that do not
            compare parts.
        mask: True where a part is real and not padding, `(n, n_parts)`.
    """

    vectors: Tensor
    parts: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, index: slice | Tensor) -> Encoded:
        """The chosen items, as views where `index` is a slice."""
        return Encoded(*(None if t is None else t[index] for t in self._tensors))

    @property
    def _tensors(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return self.vectors, self.parts, self.mask

    @staticmethod
    def concatenate(pieces: Sequence[Encoded]) -> Encoded:
        """Joins the batches of a data set; parts of different lengths are padded to the longest."""
        vectors = torch.cat([p.vectors for p in pieces])
        if pieces[0].parts is None:
            return Encoded(vectors)
        width = max(p.parts.shape[1] for p in pieces)
        parts = [_pad_parts(p.parts, width) for p in pieces]
        masks = [_pad_parts(p.mask, width) for p in pieces]
        return Encoded(vectors, torch.cat(parts), torch.cat(masks))


def _pad_parts(tensor: Tensor, width: int) -> Tensor:
    """Pads dimension 1 to `width` with zeros (False for a mask)."""
    missing = width - tensor.shape[1]
    if missing == 0:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(len(tensor), missing, *tensor.shape[2:])], dim=1)


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

    Args:
        images: Unit vectors `(n_images, d)`.
        captions: Unit vectors `(n_captions, d)`.

    Returns:
        `(n_images, n_captions)`, each in [-1, 1].

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
