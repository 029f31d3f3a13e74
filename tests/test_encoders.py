from pathlib import Path

import numpy as np
import pytest
import torch

from xmr_lib.encoders.image import ImageEncoder, rich_image_features
from xmr_lib.encoders.text import TextEncoder, pool_words, rich_text_features
from xmr_lib.similarity import Encoded, l2norm

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
    options = {
        "out_f32": {},
        "out_noimgnorm_f32": {"normalise": False},
        "out_abs_f32": {"absolute": True},
    }
    for name, option in options.items():
        encoder = ImageEncoder(dims, 16, normalise_features=False, **option)
        encoder.load_state_dict(state(arrays, "sd."), strict=False)
        np.testing.assert_allclose(encoder(pooled).detach(), arrays[name], atol=1e-5)
    double = ImageEncoder(dims, 16, normalise_features=False)
    double.load_state_dict(state(arrays, "sd."), strict=False)
    out = double.double()(pooled.double()).detach()
    np.testing.assert_allclose(out, arrays["out_f64"], rtol=1e-6)


def test_standardisation_uses_the_training_set_and_survives_constant_channels():
    torch.manual_seed(0)
    pooled = torch.randn(50, 8) * torch.tensor([1e4, 1, 1, 1e-3, 1, 1, 1, 1]) + 5
    pooled[:, 1] = 3.0  # constant
    encoder = ImageEncoder((1, 1, 1, 1), 4, (1, 2, 3, 4), (), standardise=True)
    encoder.fit_standardisation(pooled)
    out = (pooled - encoder.feature_mean) / encoder.feature_scale
    torch.testing.assert_close(out[:, 0].std(correction=0), torch.tensor(1.0))
    assert (out[:, 1].abs() < 1e-5).all()
    assert torch.isfinite(encoder(pooled)).all()
    plain = ImageEncoder((1, 1, 1, 1), 4, standardise=False)
    plain.fit_standardisation(pooled)
    assert (plain.feature_mean == 0).all() and (plain.feature_scale == 1).all()


# --- eqs 3 to 6 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2])
def test_golden_text_encoder(layers):
    arrays = golden("vsepp_enctext")
    tokens, lengths = torch.tensor(arrays["captions"]), torch.tensor(arrays["lengths"])
    for name, option, dtype, tolerance in (
        ("out_f32", {}, torch.float32, 1e-5),
        ("out_abs_f32", {"absolute": True}, torch.float32, 1e-5),
        ("out_f64", {}, torch.float64, 1e-9),
    ):
        encoder = TextEncoder(50, 12, 16, 16, project=False, layers=layers, **option)
        encoder.load_state_dict(state(arrays, f"L{layers}.sd."))
        out = encoder.to(dtype)(tokens, lengths).detach()
        np.testing.assert_allclose(out, arrays[f"L{layers}.{name}"], atol=tolerance)


def text_encoder(**options):
    torch.manual_seed(0)
    return TextEncoder(20, 6, 8, 10, **options).double()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("word_pooling", [None, "avg", "max"])
@pytest.mark.parametrize("norm", ["parts", "after"])
def test_text_encoder_equals_one_word_after_the_other(bidirectional, word_pooling, norm):
    encoder = text_encoder(bidirectional=bidirectional, word_pooling=word_pooling, norm=norm)
    tokens = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0], [9, 0, 0, 0]])
    lengths = torch.tensor([4, 2, 1])
    out = encoder(tokens, lengths)

    def gru_step(x, h, suffix):
        weights = [getattr(encoder.rnn, f"{n}_l0{suffix}") for n in
                   ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]  # fmt: skip
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


def test_a_text_encoder_without_projection_needs_equal_sizes():
    with pytest.raises(ValueError, match="without projection"):
        TextEncoder(20, 6, 8, 10, project=False)


# --- Encoded ------------------------------------------------------------------------------------


def test_encoded_joins_parts_of_different_lengths():
    a = Encoded(torch.ones(2, 3), torch.ones(2, 4, 3), torch.ones(2, 4, dtype=torch.bool))
    b = Encoded(torch.zeros(1, 3), torch.ones(1, 2, 3), torch.ones(1, 2, dtype=torch.bool))
    joined = Encoded.concatenate([a, b])
    assert joined.parts.shape == (3, 4, 3)
    assert joined.mask.tolist() == [[True] * 4, [True] * 4, [True, True, False, False]]
    assert len(joined[1:]) == 2 and joined[1:].parts.shape == (2, 4, 3)
