"""Re-ranking fitted to the images and captions of a test: distances both ways, and ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from xmr_lib import evaluation
from xmr_lib.errors import DataError
from xmr_lib.reranking.k_reciprocal import (
    encode,
    expanded_sets,
    final_distance,
    jaccard_distance,
    local_query_expansion,
)
from xmr_lib.reranking.neighbours import (
    Distances,
    Neighbours,
    Products,
    Table,
    squared_from_score,
)


@dataclass(frozen=True)
class Settings:
    """What RFE leaves open; the defaults are those of Zhong et al.'s code.

    Attributes:
        k1: Neighbours that describe an item, besides itself. Where there are fewer other items,
            all of them do.
        k2: Neighbours, itself included, over which descriptions are averaged; 1 averages nothing.
        lam: Weight of the original distance; the Jaccard distance has the rest of 1.

    Raises:
        DataError: A setting is out of its range.
    """

    k1: int = 20
    k2: int = 6
    lam: float = 0.3

    def __post_init__(self) -> None:
        if not (_is_whole(self.k1) and self.k1 >= 1):
            raise DataError(f"k1 must be a whole number of at least 1, not {self.k1!r}.")
        if not (_is_whole(self.k2) and 1 <= self.k2 <= self.k1 + 1):
            raise DataError(
                f"k2 must be a whole number from 1 to k1 + 1 = {self.k1 + 1}, not {self.k2!r}: "
                "only the item and its k1 nearest are known. k2=1 averages nothing."
            )
        if not 0 <= self.lam <= 1:  # NaN neither
            raise DataError(f"lam must lie between 0 and 1, not {self.lam!r}.")


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@dataclass(frozen=True)
class KReciprocal:
    """Fitted re-ranking, for images as queries and for captions as queries.

    Items are the images, then the captions; `N` is the number of both.

    Attributes:
        settings: What it was fitted with.
        neighbours: The nearest of each item.
        features: Weights `V` of each item's neighbours, `(N, N)`, sparse.
        cross: Squared distances of images and captions.
    """

    settings: Settings
    neighbours: Neighbours
    features: csr_array
    cross: Products | Table

    def distances(
        self,
        queries: Literal["images", "captions"] = "images",
        rows: slice = slice(None),
        columns: slice = slice(None),
    ) -> Tensor:
        """Final distances of queries and answers of the other kind; the smallest is the best.

        Args:
            queries: Which side asks. Only the original distance depends on it: each is divided by
                its query's largest.
            rows: Some of the queries.
            columns: Some of the answers.

        Returns:
            `(n_rows, n_columns)`: images × captions, or captions × images if captions ask.

        Raises:
            DataError: `queries` is neither side.
        """
        if queries not in ("images", "captions"):
            raise DataError(f"Queries are 'images' or 'captions', not {queries!r}.")
        images, captions = (rows, columns) if queries == "images" else (columns, rows)
        n_images, n_captions = self.cross.shape
        images = slice(*images.indices(n_images))
        captions = slice(*captions.indices(n_captions))
        original = self.cross.tile(images, captions).cpu()
        largest = torch.from_numpy(self.neighbours.largest)
        if queries == "images":
            original /= largest[:n_images][images, None]
        else:
            original /= largest[n_images:][captions]
        if self.settings.lam == 1:
            final = original
        else:
            answers = slice(n_images + captions.start, n_images + captions.stop)
            jaccard = jaccard_distance(self.features[images], self.features[answers])
            final = final_distance(torch.from_numpy(jaccard), original, self.settings.lam)
        return final if queries == "images" else final.T


def rerank(
    images: Tensor,
    captions: Tensor,
    settings: Settings | None = None,
    cross: Tensor | np.ndarray | None = None,
) -> KReciprocal:
    """Describes each image and caption by its k-reciprocal neighbours among all of them.

    Transductive: a distance depends on the other images and captions. Computed in
    float64 if the image vectors are, else in float32; products run on their device.

    Args:
        images: Unit vectors `(n_images, d)`. A zero vector is at distance √2 from all others.
        captions: Unit vectors `(n_captions, d)`.
        settings: None for the defaults.
        cross: Scores of images and captions `(n_images, n_captions)`, where they are not the cosine
            of the vectors, as for models that compare parts. A score `s` counts as the squared
            distance `2 - 2s`, and as 0 if above 1: scale scores of a log-sum-exp first.

    Raises:
        DataError: A vector is not of length one or holds NaN, or sizes do not fit.

    >>> images = torch.eye(3)
    >>> captions = images[[0, 0, 1, 1, 2, 2]]
    >>> rerank(images, captions, Settings(k1=2, k2=1)).distances("captions").argmin(dim=1)
    tensor([0, 0, 1, 1, 2, 2])
    """
    images = _unit(images, "image")
    captions = _unit(captions, "caption").to(images)
    if images.shape[1] != captions.shape[1]:
        raise DataError(
            f"Image vectors have {images.shape[1]} numbers, caption vectors {captions.shape[1]}. "
            "Encode both with the same model."
        )
    shape = (len(images), len(captions))
    if cross is None:
        between = Products(images, captions)
    else:
        scores = torch.as_tensor(cross).detach()
        if scores.shape != shape:
            raise DataError(
                f"Scores {tuple(scores.shape)} do not fit {shape[0]} images × {shape[1]} captions."
            )
        between = Table(scores.to(images.dtype), squared_from_score)
    parts = Distances(Products(images, images), between, Products(captions, captions))
    return _fit(parts, settings or Settings())


def _unit(vectors: Tensor, kind: str) -> Tensor:
    vectors = torch.as_tensor(vectors).detach()
    if vectors.ndim != 2 or not vectors.numel():
        raise DataError(
            f"The {kind} vectors have the shape {tuple(vectors.shape)}. Give one row for each "
            f"{kind}, and at least one {kind}."
        )
    if vectors.dtype != torch.float64:
        vectors = vectors.float()
    norm = torch.linalg.vector_norm(vectors, dim=1)
    fine = ((norm - 1).abs() < 1e-3) | (norm == 0)  # NaN is not
    if not fine.all():
        first = int((~fine).nonzero()[0])
        raise DataError(
            f"The vector of {kind} {first} has length {float(norm[first]):.4g} and not 1. Divide "
            "by the length with similarity.l2norm; if it is nan, the features or the model hold "
            "NaN."
        )
    return vectors


def from_distances(
    images_images: Tensor | np.ndarray,
    images_captions: Tensor | np.ndarray,
    captions_captions: Tensor | np.ndarray,
    settings: Settings | None = None,
) -> KReciprocal:
    """The same from whole tables of Euclidean distances (not squared), as Zhong et al.'s code.

    Args:
        images_images: `(n_images, n_images)`, symmetric.
        images_captions: `(n_images, n_captions)`.
        captions_captions: `(n_captions, n_captions)`, symmetric.
        settings: None for the defaults.

    Raises:
        DataError: Sizes do not fit, or a distance is NaN or infinite.
    """
    tables = [torch.as_tensor(t) for t in (images_images, images_captions, captions_captions)]
    shapes = [tuple(t.shape) for t in tables]
    n_images, n_captions = len(tables[0]), len(tables[2])
    fitting = [(n_images, n_images), (n_images, n_captions), (n_captions, n_captions)]
    if shapes != fitting or not n_images * n_captions:
        raise DataError(
            f"Distances {', '.join(map(str, shapes))} do not fit together. Give images × images, "
            "images × captions and captions × captions, none of them empty."
        )
    dtype = torch.float64 if tables[1].dtype == torch.float64 else torch.float32
    parts = (Table(t.detach().to(dtype), torch.square) for t in tables)
    return _fit(Distances(*parts), settings or Settings())


def _fit(distances: Distances, settings: Settings) -> KReciprocal:
    neighbours = distances.nearest(settings.k1)
    sets = expanded_sets(neighbours.index, settings.k1)
    distance = _distances_in_sets(distances, neighbours, sets)
    weight = encode(distance, sets.indptr, neighbours.largest)
    features = csr_array((weight, sets.indices, sets.indptr), shape=sets.shape)
    if settings.k2 > 1:
        features = local_query_expansion(features, neighbours.index[:, : settings.k2])
    return KReciprocal(settings, neighbours, features, distances.cross)


def _distances_in_sets(distances: Distances, neighbours: Neighbours, sets: csr_array) -> np.ndarray:
    """Squared distance to each member of each item's set; few are not among the nearest."""
    n = distances.n
    item, member = np.repeat(np.arange(n), np.diff(sets.indptr)), sets.indices.astype(np.int64)
    key = item * n + member  # ascending
    near = (np.arange(n)[:, None] * n + neighbours.index).ravel()
    place = np.minimum(np.searchsorted(key, near), len(key) - 1)
    is_member = key[place] == near
    result = np.full(len(key), np.nan, dtype=neighbours.distance.dtype)
    result[place[is_member]] = neighbours.distance.ravel()[is_member]
    far = np.flatnonzero(np.isnan(result))
    result[far] = distances.pairs(item[far], member[far])
    return result


def evaluate(
    images: Tensor,
    captions: Tensor,
    image_of_caption: np.ndarray,
    settings: Settings | None = None,
    cross: Tensor | np.ndarray | None = None,
) -> evaluation.Retrieval:
    """Ranks after re-ranking: `i2t` with images as queries, `t2i` with captions as queries.

    Transductive: each answer depends on the other queries of the test.

    Args:
        images: Unit vectors `(n_images, d)`.
        captions: Unit vectors `(n_captions, d)`.
        image_of_caption: For each caption the row of its image, in any order.
        settings: None for the defaults.
        cross: As for `rerank`.

    Raises:
        DataError: As `rerank` and `evaluation.evaluate`.
    """
    image_of_caption = np.asarray(image_of_caption)
    if len(image_of_caption) != len(captions):
        raise DataError(
            f"{len(captions)} captions do not fit an index of {len(image_of_caption)} captions."
        )
    # Captions in the order of their images: then any tile is one of slices.
    order = np.argsort(image_of_caption, kind="stable")
    if (np.diff(image_of_caption) < 0).any():
        captions = captions[torch.as_tensor(order, device=captions.device)]
        cross = None if cross is None else torch.as_tensor(cross)[:, torch.as_tensor(order)]
    fitted = rerank(images, captions, settings, cross)
    n_images, owner = len(images), image_of_caption[order]
    i2t, t2i = (
        evaluation.evaluate_tiles(tile, n_images, owner).in_order(order)
        for tile in (
            lambda rows, columns: -fitted.distances("images", rows, columns),
            lambda rows, columns: -fitted.distances("captions", columns, rows).T,
        )
    )
    return evaluation.Retrieval(i2t.i2t, t2i.t2i, image_of_caption)
