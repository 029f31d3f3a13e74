from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from xmr_lib.encoders.image import ImageEncoder, RegionEncoder, rich_image_features
from xmr_lib.encoders.text import (
    TextEncoder,
    WordEncoder,
    WordStates,
    gru_states,
    pool_words,
    rich_text_features,
    word_mask,
)
from xmr_lib.models import DualConfig, ScanConfig
from xmr_lib.similarity import Encoded, Parts, l2norm

FOLDER = Path(__file__).parent / "golden"


def golden(name):
    return np.load(FOLDER / f"{name}.npz")


def state(arrays, prefix):
    return {
        key.removeprefix(prefix): torch.tensor(arrays[key])
        for key in arrays.files
        if key.startswith(prefix)
    }


# --- l2norm -------------------------------------------------------------------------------------


def test_golden_l2norm_and_its_zero_row():
    arrays = golden("vsepp_l2norm")
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        x = torch.tensor(arrays["X"]).to(dtype).requires_grad_()
        out = l2norm(x)
        expected = arrays["out_f32" if dtype == torch.float32 else "out_f64"]
        np.testing.assert_allclose(out[:6].detach(), expected[:6], atol=tolerance)
        assert np.isnan(expected[6]).all() and (out[6] == 0).all()  # the peers' code gives NaN
        out.sum().backward()
        assert torch.isfinite(x.grad[1:]).all()


# --- eq. 2 --------------------------------------------------------------------------------------


def test_equation_2_joins_max_stages_then_average_c4():
    dims = (1, 2, 1, 2)
    pooled = torch.arange(12.0)[None]  # average C1..C4: 0..5, max C1..C4: 6..11
    joined = torch.tensor([[6.0, 7, 8, 9, 10, 11, 4, 5]])
    out = rich_image_features(pooled, dims)
    torch.testing.assert_close(out, joined / joined.norm())
    only_c4 = rich_image_features(pooled, dims, avg_stages=(4,), max_stages=())
    torch.testing.assert_close(only_c4, torch.tensor([[4.0, 5.0]]) / 41**0.5)
    some = rich_image_features(pooled, dims, avg_stages=(1, 3), max_stages=(3, 4))
    raw = torch.tensor([[9.0, 10, 11, 0, 3]])
    torch.testing.assert_close(some, raw / raw.norm())


def test_golden_image_encoder():
    arrays = golden("vsepp_encimage")
    images = torch.tensor(arrays["images"])
    dims = (1, 1, 1, 24)
    pooled = torch.full((6, 54), 7.0)  # other stages hold anything
    pooled[:, 3:27] = images
    for name, similarity in (("out_f32", "cosine"), ("out_abs_f32", "order")):
        encoder = ImageEncoder(dims, DualConfig(joint_dim=16, similarity=similarity))
        encoder.load_state_dict(state(arrays, "sd."), strict=False)
        np.testing.assert_allclose(encoder.embed(images).detach(), arrays[name], atol=1e-5)
        # the peers' code leaves out eq. 2's norm for features that it is given
        same = torch.equal(encoder(pooled), encoder.embed(l2norm(images)))
        assert same, "C4 alone is taken, and normalised"
    np.testing.assert_allclose(encoder.fc(images).detach(), arrays["out_noimgnorm_f32"], atol=1e-5)
    out = l2norm(encoder.double().fc(images.double())).detach()
    np.testing.assert_allclose(out, arrays["out_f64"], rtol=1e-6)


def test_standardisation_uses_the_training_set_and_survives_constant_channels():
    torch.manual_seed(0)
    pooled = torch.randn(50, 8) * torch.tensor([1e4, 1, 1, 1e-3, 1, 1, 1, 1]) + 5
    pooled[:, 1] = 3.0  # constant
    config = DualConfig(joint_dim=4, avg_stages=(1, 2, 3, 4), standardise=True)
    encoder = ImageEncoder((1, 1, 1, 1), config)
    encoder.fit_standardisation(pooled)
    out = (pooled - encoder.feature_mean) / encoder.feature_scale
    torch.testing.assert_close(out[:, 0].std(correction=0), torch.tensor(1.0))
    assert (out[:, 1].abs() < 1e-5).all()
    assert torch.isfinite(encoder(pooled)).all()
    plain = ImageEncoder((1, 1, 1, 1), replace(config, standardise=False))
    plain.fit_standardisation(pooled)
    assert (plain.feature_mean == 0).all() and (plain.feature_scale == 1).all()


# --- eqs 3 to 6 ---------------------------------------------------------------------------------


def test_golden_text_encoder():
    arrays = golden("vsepp_enctext")
    tokens, lengths = torch.tensor(arrays["captions"]), torch.tensor(arrays["lengths"])
    sizes = {"word_dim": 12, "rnn_dim": 16, "joint_dim": 16, "project_text": False}
    for name, similarity, dtype, tolerance in (
        ("out_f32", "cosine", torch.float32, 1e-5),
        ("out_abs_f32", "order", torch.float32, 1e-5),
        ("out_f64", "cosine", torch.float64, 1e-9),
    ):
        encoder = TextEncoder(50, DualConfig(similarity=similarity, **sizes))
        encoder.load_state_dict(state(arrays, "L1.sd."))
        out = encoder.to(dtype)(tokens, lengths).detach()
        np.testing.assert_allclose(out, arrays[f"L1.{name}"], atol=tolerance)


SMALL = {"word_dim": 6, "rnn_dim": 8, "joint_dim": 8}


def text_encoder(**options):
    torch.manual_seed(0)
    return TextEncoder(20, DualConfig(**SMALL | {"joint_dim": 10} | options)).double()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("word_pooling", [None, "avg", "max"])
@pytest.mark.parametrize("norm", ["parts", "after"])
def test_text_encoder_equals_one_word_after_the_other(bidirectional, word_pooling, norm):
    encoder = text_encoder(bidirectional=bidirectional, word_pooling=word_pooling, norm=norm)
    tokens = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0], [9, 0, 0, 0]])
    lengths = torch.tensor([4, 2, 1])
    out = encoder(tokens, lengths)

    def gru_step(x, h, suffix):
        weights = [
            getattr(encoder.rnn, f"{n}_l0{suffix}")
            for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        (w_ir, w_iz, w_in), (w_hr, w_hz, w_hn) = weights[0].chunk(3), weights[1].chunk(3)
        (b_ir, b_iz, b_in), (b_hr, b_hz, b_hn) = weights[2].chunk(3), weights[3].chunk(3)
        r = torch.sigmoid(w_ir @ x + b_ir + w_hr @ h + b_hr)
        z = torch.sigmoid(w_iz @ x + b_iz + w_hz @ h + b_hz)
        n = torch.tanh(w_in @ x + b_in + r * (w_hn @ h + b_hn))
        return (1 - z) * n + z * h

    for row, length in enumerate(lengths):
        words = encoder.embed.weight[tokens[row, :length]]
        context = torch.zeros(8).double()
        for x in words:
            context = gru_step(x, context, "")
        if bidirectional:
            backward = torch.zeros(8).double()
            for x in words.flip(0):
                backward = gru_step(x, backward, "_reverse")
            context = context + backward
        parts = [context]
        if word_pooling:
            parts.append(words.mean(0) if word_pooling == "avg" else words.amax(0))
        if norm == "parts":
            features = torch.cat([p / p.norm() for p in parts])
        else:
            features = torch.cat(parts) / torch.cat(parts).norm()
        expected = encoder.fc(features)
        torch.testing.assert_close(out[row], expected / expected.norm())


def test_padding_never_matters():
    encoder = text_encoder(bidirectional=True, word_pooling="max")
    tokens, lengths = torch.tensor([[3, 4, 0, 0], [5, 6, 7, 8]]), torch.tensor([2, 4])
    garbage = torch.tensor([[3, 4, 19, 18], [5, 6, 7, 8]])
    torch.testing.assert_close(encoder(tokens, lengths), encoder(garbage, lengths))
    alone = encoder(torch.tensor([[3, 4]]), torch.tensor([2]))
    torch.testing.assert_close(encoder(tokens, lengths)[:1], alone)


def test_sum_and_mean_of_states_are_the_same_after_the_norm():
    torch.manual_seed(0)
    forward, backward, words = torch.randn(5, 8), torch.randn(5, 8), torch.randn(5, 3)
    summed = rich_text_features(forward + backward, words)
    averaged = rich_text_features((forward + backward) / 2, words)
    torch.testing.assert_close(summed, averaged)


def test_equation_6_by_hand_and_its_other_reading():
    context, words = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 12.0]])
    torch.testing.assert_close(rich_text_features(context, words), torch.tensor([[0.6, 0.8, 0, 1]]))
    after = rich_text_features(context, words, norm="after")
    torch.testing.assert_close(after, torch.tensor([[3.0, 4, 0, 12]]) / 13)


def test_pooling_ignores_garbage_padding():
    words = torch.tensor([[[1.0, -1], [3, -5], [float("nan"), float("inf")]]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(pool_words(words, mask), torch.tensor([[2.0, -3.0]]))
    torch.testing.assert_close(pool_words(words, mask, "max"), torch.tensor([[3.0, -1.0]]))


# --- words and regions --------------------------------------------------------------------------


@pytest.mark.parametrize(("gru", "bidirectional"), [("bi", True), ("uni", False)])
@pytest.mark.parametrize(("name", "normalise"), [("norm", True), ("nonorm", False)])
@pytest.mark.parametrize(("dtype", "atol"), [("f32", 1e-6), ("f64", 1e-9)])
def test_golden_word_encoder(gru, bidirectional, name, normalise, dtype, atol):
    arrays = golden("scan_enctext")
    sizes = {"word_dim": 12, "rnn_dim": 16, "joint_dim": 16}
    kind = WordEncoder if normalise else WordStates
    encoder = kind(50, ScanConfig(bidirectional=bidirectional, **sizes))
    encoder.load_state_dict(state(arrays, f"{gru}.sd."))
    encoder = encoder.double() if dtype == "f64" else encoder
    lengths = torch.tensor(arrays["lengths"])
    words = encoder(torch.tensor(arrays["captions"]), lengths)
    padded, found = words.padded()
    assert found.tolist() == lengths.tolist()
    # SCAN adds 1e-8 to the norms, we do not
    np.testing.assert_allclose(
        padded.detach(), arrays[f"{gru}.{name}_{dtype}"], atol=max(atol, 3e-8 * normalise)
    )


def test_golden_norms_of_scan_and_its_zero_row():
    """SCAN adds 1e-8 to the norm: two tiny rows stay shorter than one there, and not here."""
    arrays = golden("scan_norms")
    out = l2norm(torch.tensor(arrays["X"]))
    np.testing.assert_allclose(out[2:], arrays["l2_f32"][2:], atol=1e-7)
    torch.testing.assert_close(out[:2].norm(dim=1), torch.ones(2))
    assert (out[-1] == 0).all() and (arrays["l2_f32"][-1] == 0).all()


def test_words_behind_a_captions_end_are_never_read():
    torch.manual_seed(0)
    encoder = WordEncoder(20, ScanConfig(**SMALL))
    rich = WordEncoder(20, ScanConfig(**SMALL | {"joint_dim": 10}, rich_words="project"))
    tokens, lengths = torch.randint(0, 20, (3, 7)), torch.tensor([4, 1, 7])
    garbage = tokens.clone()
    garbage[0, 4:], garbage[1, 1:] = 19, 7
    for each in (encoder, rich):
        with torch.no_grad():
            torch.testing.assert_close(each(tokens, lengths).flat, each(garbage, lengths).flat)
            alone = each(tokens[1:2], lengths[1:2])  # a caption of one word, alone in its batch
            torch.testing.assert_close(alone.flat, each(tokens, lengths)[1:2].flat)


def test_scan_rfe_joins_the_embedding_to_the_context_of_each_word():
    """By hand: eq. 6 for every word, then the layer."""
    torch.manual_seed(0)
    config = ScanConfig(**SMALL | {"joint_dim": 10}, rich_words="project")
    encoder = WordEncoder(20, config)
    tokens = torch.tensor([[1, 5, 2]])
    embedded = encoder.embed(tokens)
    states = encoder.rnn(embedded)[0]
    context = (states[..., :8] + states[..., 8:]) / 2
    both = torch.cat([l2norm(context), l2norm(embedded)], dim=2)[0]
    torch.testing.assert_close(encoder(tokens, torch.tensor([3])).flat, l2norm(encoder.fc(both)))
    no_layer = WordEncoder(20, replace(config, rich_words="regions"))  # as large as both together
    assert no_layer.fc is None and no_layer(tokens, torch.tensor([3])).flat.shape == (3, 14)


def test_regions_are_standardised_projected_and_their_padding_is_never_read():
    torch.manual_seed(0)
    regions = 5 + 3 * torch.randn(4, 6, 7)
    counts = torch.tensor([6, 1, 3, 6])
    regions[1, 1:], regions[2, 3:] = float("nan"), float("inf")
    encoder = RegionEncoder(7, ScanConfig(joint_dim=5, rnn_dim=5, standardise=True))
    real = torch.cat([image[:n] for image, n in zip(regions, counts, strict=True)])
    encoder.fit_standardisation(real)
    found = encoder(regions, counts)
    by_hand = l2norm(encoder.fc((real - real.mean(0)) / real.std(0, correction=0)))
    torch.testing.assert_close(found.flat, by_hand)
    found.flat.sum().backward()
    assert torch.isfinite(encoder.fc.weight.grad).all()


# --- Parts and Encoded --------------------------------------------------------------------------


def ragged(lengths, d=3, seed=0):
    torch.manual_seed(seed)
    starts = torch.tensor([0, *np.cumsum(lengths)])
    return Parts(torch.randn(int(starts[-1]), d), starts)


def test_parts_from_padded_and_back():
    torch.manual_seed(0)
    padded, lengths = torch.randn(3, 4, 2), torch.tensor([2, 4, 1])
    parts = Parts.from_padded(padded, lengths)
    assert parts.starts.tolist() == [0, 2, 6, 7] and len(parts) == 3
    torch.testing.assert_close(parts.flat[2:6], padded[1])
    again, found = parts.padded()
    assert found.tolist() == [2, 4, 1]
    for i, n in enumerate(lengths):
        torch.testing.assert_close(again[i, :n], padded[i, :n])
        assert (again[i, n:] == 0).all()


@pytest.mark.parametrize("lengths", ([0, 2, 2], [5, 1, 1], [2, 2]))
def test_parts_refuse_lengths_that_cannot_be(lengths):
    with pytest.raises(ValueError, match="between 1 and 4"):
        Parts.from_padded(torch.zeros(3, 4, 2), torch.tensor(lengths))


@pytest.mark.parametrize(
    "index",
    [
        slice(1, 3),
        slice(None),
        slice(4, 2),
        slice(0, 5, 2),
        torch.tensor([3, 0, 3]),
        np.array([4, 1]),
    ],
)
def test_parts_choose_items_as_a_list_would(index):
    parts = ragged([2, 1, 4, 3, 1])
    items = list(parts.flat.split(parts.lengths.tolist()))
    wanted = items[index] if isinstance(index, slice) else [items[i] for i in index]
    found = parts[index]
    assert len(found) == len(wanted)
    for mine, item in zip(found.flat.split(found.lengths.tolist()), wanted, strict=True):
        torch.testing.assert_close(mine, item)


def test_a_slice_of_parts_shares_its_memory():
    parts = ragged([2, 1, 4])
    assert parts[1:].flat.data_ptr() == parts.flat[2:].data_ptr()


def test_mean_part_of_each_item():
    parts = ragged([2, 1])
    torch.testing.assert_close(parts.means()[0], parts.flat[:2].mean(0))
    torch.testing.assert_close(Encoded.of_parts(parts).vectors[1], l2norm(parts.flat[2]))


def test_encoded_joins_parts_of_different_lengths():
    a, b = Encoded.of_parts(ragged([4, 4])), Encoded.of_parts(ragged([2], seed=1))
    joined = Encoded.concatenate([a, b])
    assert joined.parts.lengths.tolist() == [4, 4, 2]
    torch.testing.assert_close(joined.parts.flat[8:], b.parts.flat)
    assert len(joined[1:]) == 2 and joined[1:].parts.lengths.tolist() == [4, 2]


def test_parts_of_large_sets_are_kept_in_half_precision(monkeypatch):
    from xmr_lib import encoding, models, recipes
    from xmr_lib.data.vocabulary import Vocabulary

    torch.manual_seed(0)
    recipe = recipes.get("SCAN t-i AVG", "toy")
    words = Vocabulary.build(["a dog runs", "two cats"], 1)
    model = models.build(recipe.model, len(words), (4,))
    tokens = words.encode(["a dog", "cats", "two dog runs"])
    full = encoding.encode_captions(model, tokens)
    monkeypatch.setattr(encoding, "LARGE", len(tokens.flat) * recipe.model.joint_dim * 4)
    half = encoding.encode_captions(model, tokens)
    assert full.parts.flat.dtype == torch.float32 and half.parts.flat.dtype == torch.float16
    assert half.vectors.dtype == torch.float32
    torch.testing.assert_close(model.score(full, half), model.score(full, full), atol=1e-3, rtol=0)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_are_those_of_a_packed_sequence(bidirectional):
    torch.manual_seed(0)
    gru = torch.nn.GRU(3, 4, batch_first=True, bidirectional=bidirectional)
    words, lengths = torch.randn(5, 6, 3), torch.tensor([6, 1, 3, 2, 6])
    packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(gru(packed)[0], batch_first=True)
    garbage = words.masked_fill(~word_mask(lengths, 6)[..., None], 1e9)
    found = gru_states(gru, garbage, lengths)
    torch.testing.assert_close(found, expected)
    ours, theirs = (
        torch.autograd.grad(x.square().sum(), gru.weight_hh_l0) for x in (found, expected)
    )
    torch.testing.assert_close(ours, theirs)
