"""Who is near whom among all images and captions, from distances computed tile by tile.

Items are the images, then the captions. Distances are squared Euclidean ones; no table of all of
them is ever held, only each item's nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xmr_lib.errors import DataError

PRODUCT_TILE = 4096  # items on a side: wide enough for fast products
TABLE_TILE = 1 << 22  # numbers read from a table at once: 16 megabytes
PAIRS = 1 << 19  # numbers gathered at once


@dataclass(frozen=True)
class Neighbours:
    """The nearest of all `N` items.

    Attributes:
        index: Each item itself, then its nearest, nearest first, `(N, min(k + 1, N))`.
        distance: Their squared distances, of the same shape.
        largest: Each item's largest squared distance, 1 where all are 0, `(N,)`.
    """

    index: np.ndarray
    distance: np.ndarray
    largest: np.ndarray


class Products:
    """Squared distances of unit vectors `a` and `b`: `|a - b|² = 2 - 2ab`, from products.

    A zero vector is at √2 from all others.
    """

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a, self.b = a, b
        self.shape, self.dtype = (len(a), len(b)), a.dtype

    def tile(self, rows: slice, columns: slice) -> Tensor:
        """Squared distances `(n_rows, n_columns)`, in a new tensor."""
        # Doubling a vector is exact, and spares a pass over the tile.
        return ((-2 * self.a[rows]) @ self.b[columns].T).add_(2).clamp_(min=0)

    def pairs(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Squared distances of single pairs, `(n_pairs,)`."""
        product = torch.empty(len(rows), dtype=self.dtype)
        size = max(1, PAIRS // self.a.shape[1])
        for first in range(0, len(rows), size):
            some = slice(first, first + size)
            a, b = self.a[torch.from_numpy(rows[some])], self.b[torch.from_numpy(columns[some])]
            product[some] = torch.linalg.vecdot(a, b).cpu()
        return squared_from_score(product).numpy()

    def tiles(self, within: bool) -> Iterator[tuple[slice, slice, bool, bool]]:
        """Tiles that show each item all the others; each product is computed once.

        Args:
            within: Both groups are the same one.

        Yields:
            Rows and columns of a tile, and whether it is news to its rows and to its columns.
        """
        for rows in cut(self.shape[0], PRODUCT_TILE):
            for columns in cut(self.shape[1], PRODUCT_TILE):
                if not within or rows.start <= columns.start:
                    yield rows, columns, True, not within or rows != columns


class Table:
    """Squared distances from a table of distances or scores, squared by `squared`."""

    def __init__(self, table: Tensor, squared: Callable[[Tensor], Tensor]) -> None:
        self.table, self.squared = table, squared
        self.shape, self.dtype = (len(table), table.shape[1]), table.dtype

    def tile(self, rows: slice, columns: slice) -> Tensor:
        """As `Products.tile`."""
        return self.squared(self.table[rows, columns])

    def pairs(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """As `Products.pairs`."""
        chosen = self.table[torch.from_numpy(rows), torch.from_numpy(columns)]
        return self.squared(chosen).cpu().numpy()

    def tiles(self, within: bool) -> Iterator[tuple[slice, slice, bool, bool]]:
        """As `Products.tiles`: whole rows, then whole columns, which need no merging."""
        n, m = self.shape
        for rows in cut(n, max(1, TABLE_TILE // m)):
            yield rows, slice(0, m), True, False
        for columns in [] if within else cut(m, max(1, TABLE_TILE // n)):
            yield slice(0, n), columns, False, True


def squared_from_score(scores: Tensor) -> Tensor:
    """Squared distance of two unit vectors from their product: `2 - 2s`, and at least 0.

    >>> squared_from_score(torch.tensor([1.0, 0.5, -1.0]))
    tensor([0., 1., 4.])
    """
    return scores.mul(-2).add_(2).clamp_(min=0)


def cut(n: int, size: int) -> list[slice]:
    """Slices of at most `size` that cover `n` items."""
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


class Distances:
    """Squared distances among all images and captions.

    Args:
        within_images: Of images and images.
        cross: Of images and captions.
        within_captions: Of captions and captions.
    """

    def __init__(
        self,
        within_images: Products | Table,
        cross: Products | Table,
        within_captions: Products | Table,
    ) -> None:
        self.cross = cross
        self.n_images = cross.shape[0]
        self.n = sum(cross.shape)
        n = self.n_images
        # Part, first row, first column. In this order an item meets the others by their number.
        self.parts = ((within_images, 0, 0), (cross, 0, n), (within_captions, n, n))

    def nearest(self, k: int) -> Neighbours:
        """Each item's `k` nearest: `N(p, k)` of Zhong et al. 2017 eq. 2.

        An item comes first in its own list, even before its duplicates; among others at the same
        distance the one with the lower number comes first.

        Args:
            k: How many besides the item itself; all items where there are fewer.

        Raises:
            DataError: A distance is NaN or infinite.
        """
        found = _Nearest(self.n, k + 1, self.cross.dtype)
        for part, first_row, first_column in self.parts:
            within = first_row == first_column
            for rows, columns, for_rows, for_columns in part.tiles(within):
                tile = part.tile(rows, columns)
                if within:
                    first = max(rows.start, columns.start)
                    last = max(first, min(rows.stop, columns.stop))
                    own = torch.arange(first, last, device=tile.device)
                    tile[own - rows.start, own - columns.start] = -1  # before any duplicate
                if for_rows:
                    found.add(first_row + rows.start, first_column + columns.start, tile)
                if for_columns:
                    found.add(first_column + columns.start, first_row + rows.start, tile.T)
        if (wrong := np.flatnonzero(~np.isfinite(found.largest))).size:
            kind, place = ("image", 0) if wrong[0] < self.n_images else ("caption", self.n_images)
            raise DataError(
                f"Distances of {kind} {wrong[0] - place} are NaN or infinite. Has the training "
                "diverged, or do features hold NaN?"
            )
        largest = np.where(found.largest > 0, found.largest, 1).astype(found.largest.dtype)
        return Neighbours(found.index, np.maximum(found.distance, 0), largest)

    def pairs(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Squared distances of single pairs of items, `(n_pairs,)`."""
        result = torch.empty(len(first), dtype=self.cross.dtype).numpy()
        low, high = np.minimum(first, second), np.maximum(first, second)
        kind = (low >= self.n_images).astype(int) + (high >= self.n_images)
        for number, (part, first_row, first_column) in enumerate(self.parts):
            chosen = kind == number
            result[chosen] = part.pairs(low[chosen] - first_row, high[chosen] - first_column)
        return result


class _Nearest:
    """The nearest of every item among those it has met."""

    def __init__(self, n: int, k: int, dtype: torch.dtype) -> None:
        self.k = min(k, n)
        self.index = np.zeros((n, self.k), dtype=np.int64)
        self.distance = torch.full((n, self.k), torch.inf, dtype=dtype).numpy()
        self.largest = torch.zeros(n, dtype=dtype).numpy()
        self.met = np.zeros(n, dtype=bool)

    def add(self, first_row: int, first_column: int, tile: Tensor) -> None:
        """Rows meet columns, whose numbers are higher than those of all they have met."""
        rows = slice(first_row, first_row + len(tile))
        tile = tile.contiguous()
        self.largest[rows] = np.maximum(self.largest[rows], tile.amax(dim=1).cpu().numpy())
        distance, place = (found.cpu() for found in smallest(tile, self.k))
        index = place + first_column
        if self.met[first_row]:
            distance = torch.cat([torch.from_numpy(self.distance[rows]), distance], dim=1)
            index = torch.cat([torch.from_numpy(self.index[rows]), index], dim=1)
            distance, place = smallest(distance, self.k)
            index = index.gather(1, place)
        self.met[rows] = True
        self.distance[rows, : distance.shape[1]] = distance
        self.index[rows, : distance.shape[1]] = index


def smallest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` smallest of each row, ascending, and their places; the earlier place wins a tie.

    >>> smallest(torch.tensor([[3.0, 1.0, 1.0, 2.0, 1.0]]), 2)
    (tensor([[1., 1.]]), tensor([[1, 2]]))
    """
    if values.shape[1] <= k:
        return values.sort(dim=1, stable=True)
    found, place = values.topk(k + 1, dim=1, largest=False)
    tied = (found[:, 1:] == found[:, :-1]).any(dim=1).nonzero()[:, 0]
    found, place = found[:, :k], place[:, :k]
    for some in tied.split(256):  # topk took any of the equal ones, in any order
        row = values[some]
        last = found[some, -1:]
        equal, nearer = row == last, row < last
        room = k - nearer.sum(dim=1, keepdim=True)
        taken = nearer | (equal & (equal.cumsum(dim=1) <= room))
        places = taken.nonzero()[:, 1].view(-1, k)
        found[some], order = row.gather(1, places).sort(dim=1, stable=True)
        place[some] = places.gather(1, order)
    return found, place
