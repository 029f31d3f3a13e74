"""Top-k search equals sorting everything, whatever the block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xmr_lib.errors import DataError
from xmr_lib.retrieval import top_k
from xmr_lib.similarity import Encoded, Parts, cosine_similarity


def cosine(a: Encoded, b: Encoded) -> torch.Tensor:
    return cosine_similarity(a.vectors, b.vectors)


def sorted_by_hand(scores: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All of the gallery sorted, query by query: best first, of equals the earlier one."""
    places = np.array([sorted(range(len(row)), key=lambda j: (-row[j], j))[:k] for row in scores])
    return np.take_along_axis(scores.numpy(), places, axis=1), places


@pytest.mark.parametrize("levels", [None, 5, 1], ids=["no ties", "many ties", "all tied"])
@pytest.mark.parametrize("block", [1, 2, 7, 50, 4096])
@pytest.mark.parametrize("k", [1, 5, 50])
def test_equals_a_full_sort(levels, block, k):
    generator = torch.Generator().manual_seed(k)
    table = torch.randn(4, 50, generator=generator)
    if levels is not None:
        table = torch.randint(levels, (4, 50), generator=generator).float()
    sizes = []

    def look_up(queries, gallery):
        sizes.append(len(gallery))
        return table[queries.vectors[:, 0]][:, gallery.vectors[:, 0]]

    queries, gallery = (Encoded(torch.arange(n)[:, None]) for n in table.shape)
    scores, places = top_k(look_up, queries, gallery, k, block)
    expected_scores, expected_places = sorted_by_hand(table, k)
    np.testing.assert_array_equal(places, expected_places)
    np.testing.assert_array_equal(scores, expected_scores)
    assert max(sizes) <= block and sum(sizes) == 50, "every item is scored once, block by block"


def test_more_than_there_is():
    gallery = Encoded(torch.eye(3))
    scores, places = top_k(cosine, Encoded(torch.eye(3)[:2]), gallery, k=10, block=2)
    assert scores.shape == places.shape == (2, 3)
    assert places[1].tolist() == [1, 0, 2]


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_is_refused(k):
    with pytest.raises(ValueError, match=f"k must be at least 1, not {k}"):
        top_k(cosine, Encoded(torch.eye(2)), Encoded(torch.eye(2)), k)


def test_parts_travel_with_their_block():
    """Models that compare parts get the parts of the block they score."""
    torch.manual_seed(0)
    starts = torch.tensor([0, 3, 4, 6, 9, 10, 13, 15, 16, 18])
    gallery = Encoded.of_parts(Parts(torch.randn(18, 4), starts))
    queries = Encoded(torch.randn(2, 4))

    def best_part(a, b):
        each = a.vectors @ b.parts.flat.T
        return torch.stack([p.amax(1) for p in each.split(b.parts.lengths.tolist(), dim=1)], dim=1)

    scores, places = top_k(best_part, queries, gallery, k=4, block=2)
    expected_scores, expected_places = sorted_by_hand(best_part(queries, gallery), 4)
    np.testing.assert_array_equal(places, expected_places)
    np.testing.assert_allclose(scores, expected_scores)


def test_an_empty_gallery_is_an_error():
    with pytest.raises(DataError, match="nothing to search"):
        top_k(
            cosine,
            Encoded(torch.eye(2)),
            Encoded(torch.eye(2)[:0]),
            1,
        )
