"""SMFEA eqs. 1 to 4: regions and words as one vector an item."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from xmr_lib.encoders.attention import (
    InstanceAttention,
    InstanceImageEncoder,
    LearnedAttention,
    PlaceNorm,
    attended,
    attention_weights,
    mean_part,
    self_attention,
)
from xmr_lib.encoders.text import WordStates, mean_of_directions
from xmr_lib.errors import DataError
from xmr_lib.models import SmfeaConfig
from xmr_lib.similarity import l2norm

TWO = torch.tensor([[[1.0, 0.0], [0.0, 3.0], [99.0, 99.0]]])  # two parts and garbage
SMALL = {"rnn_dim": 4, "joint_dim": 4}
MASK = torch.tensor([[True, True, False]])


def test_equations_1_to_3_by_hand():
    query = mean_part(TWO, MASK)
    assert query.tolist() == [[0.5, 1.5]]
    weights = attention_weights(query, TWO, MASK)
    first = 1 / (1 + math.exp(4.5 - 0.5))  # products 0.5 and 4.5
    torch.testing.assert_close(weights, torch.tensor([[first, 1 - first, 0.0]]))
    vector = attended(weights, TWO, MASK)
    torch.testing.assert_close(vector, torch.tensor([[first, 3 * (1 - first)]]))
    torch.testing.assert_close(self_attention(TWO, MASK)[0], vector)


@pytest.mark.parametrize("garbage", [0.0, 1e30, float("inf"), float("nan")])
def test_padding_is_never_read(garbage):
    parts = TWO.clone()
    parts[:, 2] = garbage
    parts.requires_grad_()
    vector, weights = self_attention(parts, MASK)
    torch.testing.assert_close(vector, self_attention(TWO[:, :2], MASK[:, :2])[0])
    assert weights[0, 2] == 0
    vector.sum().backward()
    assert torch.isfinite(parts.grad).all() and (parts.grad[:, 2] == 0).all()


def test_one_part_is_its_own_vector_and_zero_parts_share_equally():
    one = torch.randn(3, 1, 4)
    vector, weights = self_attention(one, torch.ones(3, 1, dtype=torch.bool))
    assert torch.equal(vector, one[:, 0]) and (weights == 1).all()
    _, weights = self_attention(torch.zeros(1, 4, 2), torch.ones(1, 4, dtype=torch.bool))
    assert weights.tolist() == [[0.25] * 4]


def test_equation_4_is_the_mean_of_both_directions():
    states = torch.tensor([[[1.0, 2.0, 5.0, 8.0]]])  # forward 1 2, backward 5 8
    assert mean_of_directions(states).tolist() == [[[3.0, 5.0]]]
    torch.manual_seed(0)
    encoder = WordStates(9, SmfeaConfig(word_dim=3, **SMALL)).double()
    tokens = torch.tensor([[1, 5, 2]])
    words = encoder(tokens, torch.tensor([3])).flat
    states, _ = encoder.rnn(encoder.embed(tokens))
    torch.testing.assert_close(words, (states[0, :, :4] + states[0, :, 4:]) / 2)


def test_regions_are_mapped_before_or_after_they_are_attended_to():
    torch.manual_seed(0)
    regions, counts = torch.randn(2, 3, 5), torch.tensor([3, 2])
    config = SmfeaConfig(unit_parts=False, learned_attention=False, **SMALL)
    mapped = InstanceImageEncoder(5, config)
    raw = InstanceImageEncoder(5, replace(config, attend_raw=True))
    raw.load_state_dict(mapped.state_dict())
    for encoder, looked_at in ((mapped, mapped.fc(regions[1:, :2])), (raw, regions[1:, :2])):
        vector, weights = encoder(regions, counts)
        everything = torch.ones(1, 2, dtype=torch.bool)
        expected = self_attention(looked_at, everything)[1]
        torch.testing.assert_close(weights[1:, :2], expected)
        by_hand = expected @ mapped.fc(regions[1, :2])  # the mapping is linear
        torch.testing.assert_close(vector[1:], by_hand)


def test_gradients_in_float64():
    torch.manual_seed(0)
    parts = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert torch.autograd.gradcheck(lambda x: self_attention(x, mask)[0], (parts,))


def test_images_do_not_depend_on_their_neighbours():
    torch.manual_seed(0)
    encoder = InstanceImageEncoder(5, SmfeaConfig(standardise=True, **SMALL)).eval()
    encoder.fit_standardisation(torch.randn(50, 5) * 3 + 1)
    regions, counts = torch.randn(4, 6, 5), torch.tensor([6, 1, 3, 2])
    together = encoder(regions, counts)[0]
    for i, n in enumerate(counts.tolist()):
        alone = encoder(regions[i : i + 1, :n], counts[i : i + 1])[0]
        torch.testing.assert_close(alone, together[i : i + 1])


def test_scaled_products_keep_the_softmax_soft():
    by_hand = torch.softmax(torch.tensor([0.5, 4.5]) / 2**0.5, 0)
    weights = attention_weights(mean_part(TWO, MASK), TWO, MASK, scaled=True)
    torch.testing.assert_close(weights[0, :2], by_hand)
    torch.manual_seed(0)
    large = torch.randn(8, 6, 1024) + torch.randn(8, 1, 1024)
    everything = torch.ones(8, 6, dtype=torch.bool)
    printed, scaled = (self_attention(large, everything, how)[1].amax(1) for how in (False, True))
    assert printed.min() > 0.99 and scaled.max() < 0.9


def test_regions_and_words_get_length_one_before_eq_1():
    plain, unit = (
        InstanceAttention(SmfeaConfig(learned_attention=False, unit_parts=unit, **SMALL))
        for unit in (False, True)
    )
    torch.testing.assert_close(plain(TWO, MASK)[0], self_attention(TWO, MASK)[0])
    ones = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [7.0, 7.0]]])
    torch.testing.assert_close(unit(TWO, MASK)[0], self_attention(ones, MASK)[0])


def learned(places: int | None = None, dropout: float = 0.0) -> LearnedAttention:
    torch.manual_seed(0)
    model = LearnedAttention(4, dropout, places)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def cvse_attention(model: LearnedAttention, parts: torch.Tensor, image: bool) -> torch.Tensor:
    """CVSE's attention of unpadded parts `(n, k, d)` written down plainly, without dropout."""
    query = parts.sum(1) / parts.shape[1]
    each = parts @ model.part.weight.T + model.part.bias
    if image:
        places = torch.nn.BatchNorm1d(parts.shape[1]).to(parts)  # channels are the places
        names = ("weight", "bias", "running_mean", "running_var")
        state = {name: getattr(model.part_norm, name)[: parts.shape[1]] for name in names}
        places.load_state_dict(state, strict=False)
        each = places.train(model.training)(each)
        mean = query @ model.query.weight.T + model.query.bias
        spread = mean.var(0, correction=0) if model.training else model.query_norm.running_var
        middle = mean.mean(0) if model.training else model.query_norm.running_mean
        mean = (mean - middle) / (spread + 1e-5) ** 0.5
        mean = mean * model.query_norm.weight + model.query_norm.bias
    else:
        query = query / query.norm(dim=1, keepdim=True)
        mean = query @ model.query.weight.T + model.query.bias
    weights = []
    for k in range(parts.shape[1]):
        product = torch.tanh(each[:, k]) * torch.tanh(mean)
        weights.append((product * model.score.weight[0]).sum(1) + model.score.bias)
    return torch.stack(weights, dim=1).exp() / torch.stack(weights, dim=1).exp().sum(1)[:, None]


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_learned_attention_is_that_of_cvse(image, training):
    model = learned(7 if image else None).double().train(training)
    parts = l2norm(torch.randn(5, 3, 4, dtype=torch.float64))
    expected = cvse_attention(model, parts, image)
    everything = torch.ones(5, 3, dtype=torch.bool)
    torch.testing.assert_close(model(parts, everything), expected)
    padded = torch.cat([parts, torch.full((5, 2, 4), torch.nan)], dim=1)
    mask = torch.tensor([True] * 3 + [False] * 2).expand(5, 5)
    weights = model(padded, mask)
    torch.testing.assert_close(weights[:, :3], expected)
    assert (weights[:, 3:] == 0).all()


def test_places_are_normalised_as_by_pytorch_and_padding_does_not_count():
    torch.manual_seed(0)
    parts = torch.randn(6, 3, 4)
    ours, theirs = PlaceNorm(3), torch.nn.BatchNorm1d(3)
    mask = torch.ones(6, 3, dtype=torch.bool)
    for _ in range(2):
        torch.testing.assert_close(ours(parts, mask), theirs(parts))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    mask[2:, 2] = False  # two images have a third region
    mask[:, 1] = False  # nobody has a second
    before = ours.running_mean.clone()
    found = ours(parts, mask)
    third = parts[:2, 2]
    by_hand = (third - third.mean()) / (third.var(correction=0) + 1e-5) ** 0.5
    torch.testing.assert_close(found[:2, 2], by_hand)
    assert ours.running_mean[1] == before[1] and torch.isfinite(ours.running_var).all()
    with pytest.raises(DataError, match="3 regions apart"):
        ours(torch.zeros(1, 4, 4), torch.ones(1, 4, dtype=torch.bool))


def test_learned_attention_at_its_edges():
    attention = InstanceAttention(SmfeaConfig(**SMALL), places=5).train()
    one = torch.randn(1, 2, 4)  # one image is no batch, and still trains
    vector, weights = attention(one, torch.ones(1, 2, dtype=torch.bool))
    vector.sum().backward()
    torch.testing.assert_close(vector.norm(dim=1), torch.ones(1))
    alone = attention(one[:, :1], torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(alone[0], l2norm(one[:, 0]))
    zero, weights = attention.eval()(torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool))
    assert (zero == 0).all() and torch.isfinite(weights).all()
    dropped = learned(dropout=0.4).train()
    parts, everything = torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    assert not torch.equal(dropped(parts, everything), dropped(parts, everything))
