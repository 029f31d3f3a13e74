"""SMFEA eqs. 18 and 19: categories of nodes, and the distance between two trees."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from xmr_lib.encoders.tree import Structured
from xmr_lib.losses import divergence, node_cross_entropy, node_divergence


def made(n: int = 3, n_fragments: int = 5, n_relations: int = 4, seed: int = 0) -> Structured:
    torch.manual_seed(seed)
    kind = torch.float64
    fragments = torch.randn(n, 4, n_fragments, dtype=kind).log_softmax(2)
    relations = torch.randn(n, 3, n_relations, dtype=kind).log_softmax(2)
    return Structured(fragments, relations)


def test_equation_18_by_hand_and_null_places_do_not_count():
    side = made()
    labels = torch.tensor([[4, 3, 0, 1, 2, 0, 1], [2, -1, -1, 3, -1, -1, -1], [-1] * 7])
    found = node_cross_entropy(side.fragments, side.relations, labels)
    f, r = side.fragments, side.relations
    first = f[0, 0, 4] + r[0, 0, 3] + f[0, 1, 0] + r[0, 1, 1] + f[0, 2, 2] + r[0, 2, 0] + f[0, 3, 1]
    expected = -torch.stack([first, f[1, 0, 2] + r[1, 1, 3], torch.zeros_like(first)])
    torch.testing.assert_close(found, expected)
    assert found[2] == 0


def test_equation_18_equals_torch():
    side = made(40)
    labels = torch.stack([torch.randint(-1, 4, (40,)) for _ in range(7)], dim=1)
    total = 0
    for scores, places in ((side.fragments, slice(0, 7, 2)), (side.relations, slice(1, 7, 2))):
        total = total + functional.cross_entropy(
            scores.flatten(0, 1), labels[:, places].flatten(), ignore_index=-1, reduction="sum"
        )
    found = node_cross_entropy(side.fragments, side.relations, labels)
    torch.testing.assert_close(found.sum(), total)


def test_equation_19_by_hand():
    p, q = torch.tensor([0.8, 0.2]), torch.tensor([0.5, 0.5])
    expected = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    assert divergence(p.log(), q.log()).item() == pytest.approx(expected)
    other_way = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    assert divergence(q.log(), p.log()).item() == pytest.approx(other_way)


def test_equation_19_place_by_place():
    image, caption = made(seed=0), made(seed=1)
    found = node_divergence(image, caption)
    assert found.shape == (3, 7) and (found > 0).all()
    for place in range(1, 8):
        if place % 2:
            one, other = (x.fragments[:, place // 2] for x in (image, caption))
        else:
            one, other = (x.relations[:, place // 2 - 1] for x in (image, caption))
        expected = (one.exp() * (one - other)).sum(1)
        torch.testing.assert_close(found[:, place - 1], expected)
    assert node_divergence(image, image).abs().max() < 1e-12


def test_gradients_in_float64():
    side = made(2)
    raw = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[4, 3, 0, 1, 2, 0, 1], [2, -1, -1, 3, -1, -1, -1]])

    def cross_entropy(x):
        return node_cross_entropy(x.log_softmax(2), side.relations, labels)

    def kl(x):
        return divergence(x.log_softmax(2), side.fragments)

    assert torch.autograd.gradcheck(cross_entropy, (raw,))
    assert torch.autograd.gradcheck(kl, (raw,))
    raw.grad = None
    cross_entropy(raw).sum().backward()
    assert (raw.grad[1, 1:] == 0).all()  # Null places teach nothing
