"""SCAN's scores: golden values, a plain loop over pairs, gradients, and every edge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, leaky_relu

from xmr_lib import cross_attention
from xmr_lib.cross_attention import (
    CrossAttention,
    attended_cosines,
    attention_logits,
    attention_map,
    attention_weights,
    cross_attention_scores,
    pool_cosines,
)
from xmr_lib.losses import triplet_loss
from xmr_lib.similarity import Parts, l2norm

GOLDEN = Path(__file__).parent / "golden"
POOLINGS = {"LogSumExp": "LSE", "Max": "MAX", "Sum": "SUM", "Mean": "AVG"}
DIRECTIONS = {"t2i": "t-i", "i2t": "i-t"}
VARIANTS = [
    CrossAttention(direction, pooling, smooth)
    for direction, smooth in (("t-i", 9.0), ("i-t", 4.0))
    for pooling in ("AVG", "LSE", "MAX", "SUM")
]


def ids(how: CrossAttention) -> str:
    return f"{how.direction} {how.pooling}"


def units(*shape, dtype=torch.float32):
    return l2norm(torch.randn(*shape, dtype=dtype))


def parts(lengths, d=16, dtype=torch.float32):
    lengths = torch.as_tensor(lengths)
    starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return Parts(units(int(lengths.sum()), d, dtype=dtype), starts)


def plain_score(image, caption, how):
    """One pair, as the equations read: attend, make the attended vectors, compare, pool."""
    query, context = (caption, image) if how.direction == "t-i" else (image, caption)
    even = leaky_relu(context @ query.T, 0.1)  # (n_context, n_query)
    even = even / (even.square().sum(1, keepdim=True).sqrt() + 1e-8)
    weights = (how.smooth * even).softmax(0)
    attended = weights.T @ context  # (n_query, d), what the fast code never makes
    cosines = cosine_similarity(query, attended, dim=1)
    if how.pooling == "LSE":
        return (how.lse * cosines).exp().sum().log() / how.lse
    return {"AVG": cosines.mean, "MAX": cosines.max, "SUM": cosines.sum}[how.pooling]()


def plain_scores(images, captions, how):
    rows = [
        torch.stack([
            plain_score(image, caption, how)
            for caption in captions.flat.split(captions.lengths.tolist())
        ])
        for image in images.flat.split(images.lengths.tolist())
    ]  # fmt: skip
    return torch.stack(rows)


# --- golden values --------------------------------------------------------------------------------


def golden_scores():
    with np.load(GOLDEN / "scan_xattn.npz") as arrays:
        return [name for name in arrays.files if name[:3] in DIRECTIONS]


@pytest.mark.parametrize("name", golden_scores())
@pytest.mark.parametrize("captions", ["captions", "captions_garbage_pad"])
def test_golden_scores(name, captions):
    arrays = np.load(GOLDEN / "scan_xattn.npz")
    direction, pooling, smooth, *lse, precision = name.split("_")
    dtype, atol = (torch.float64, 1e-12) if precision == "f64" else (torch.float32, 5e-6)
    how = CrossAttention(
        DIRECTIONS[direction], POOLINGS[pooling], float(smooth[1:]),
        float(lse[0].removeprefix("lse")) if lse else 6.0,
    )  # fmt: skip
    images = torch.tensor(arrays["images"]).to(dtype)
    found = cross_attention_scores(
        Parts.from_padded(images, torch.full((6,), 9)),
        Parts.from_padded(torch.tensor(arrays[captions]).to(dtype), arrays["cap_lens"]),
        how,
    )
    np.testing.assert_allclose(found, arrays[name], atol=atol)


def golden_attention():
    with np.load(GOLDEN / "scan_func_attention.npz") as arrays:
        return sorted({n.removesuffix("_attn_f64") for n in arrays.files if "attn_f64" in n})


@pytest.mark.parametrize("name", golden_attention())
def test_golden_attention_and_attended_vectors(name):
    arrays = np.load(GOLDEN / "scan_func_attention.npz")
    norm, _, smooth = name.rpartition("_s")
    for dtype, precision, atol in ((torch.float64, "f64", 1e-12), (torch.float32, "f32", 2e-6)):
        query, context = (torch.tensor(arrays[n]).to(dtype) for n in ("query", "context"))
        products = context @ query.transpose(1, 2)  # (b, n_context, n_query): one query item each
        weights = attention_weights(
            products[..., None], CrossAttention(smooth=float(smooth), norm=norm)
        )[..., 0]
        np.testing.assert_allclose(weights, arrays[f"{name}_attn_{precision}"], atol=atol)
        attended = weights.transpose(1, 2) @ context
        np.testing.assert_allclose(attended, arrays[f"{name}_ctx_{precision}"], atol=10 * atol)


def test_golden_l1norm():
    """SCAN's own l1norm modes crash; the norm itself is golden, over the queries here."""
    arrays = np.load(GOLDEN / "scan_norms.npz")
    x = torch.tensor(arrays["X"], dtype=torch.float64)
    found = attention_logits(x[:, None, :, None], "l1norm")[:, 0, :, 0]
    np.testing.assert_allclose(found, arrays["l1_f64"], atol=1e-12)
    found = attention_logits(x[:, None, :, None], "l2norm")[:, 0, :, 0]
    np.testing.assert_allclose(found, arrays["l2_f64"], atol=1e-12)


# --- against the slow version ---------------------------------------------------------------------


@pytest.mark.parametrize("how", VARIANTS, ids=ids)
def test_scores_equal_a_plain_loop_over_pairs(how):
    torch.manual_seed(0)
    images, captions = parts([36] * 7, 64), parts([3, 1, 12, 40, 7, 7, 2, 19, 5], 64)
    found = cross_attention_scores(images, captions, how)
    torch.testing.assert_close(found, plain_scores(images, captions, how), atol=1e-5, rtol=0)


@pytest.mark.parametrize("how", VARIANTS, ids=ids)
def test_any_number_of_regions(how):
    torch.manual_seed(1)
    images, captions = parts([4, 1, 5, 2, 5, 3]), parts([2, 9, 1, 4])
    found = cross_attention_scores(images, captions, how)
    torch.testing.assert_close(found, plain_scores(images, captions, how), atol=1e-5, rtol=0)


@pytest.mark.parametrize("how", VARIANTS, ids=ids)
def test_the_size_of_blocks_changes_nothing(how, monkeypatch):
    torch.manual_seed(2)
    images, captions = parts([6, 2, 6, 1, 4]), parts([3, 11, 5, 1, 1, 8])
    whole = cross_attention_scores(images, captions, how)
    for contexts, queries in ((1, 1), (7, 12), (12, 7)):
        monkeypatch.setattr(cross_attention._Contexts, "parts_at_once", contexts)
        monkeypatch.setattr(cross_attention._Queries, "parts_at_once", queries)
        torch.testing.assert_close(
            cross_attention_scores(images, captions, how), whole, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("how", VARIANTS, ids=ids)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_gradients_of_the_loss_equal_those_of_the_plain_loop(how, dtype, atol):
    torch.manual_seed(3)
    images, captions = (parts(n, dtype=torch.float64) for n in ([9] * 6, [4, 1, 7, 3, 7, 2]))

    def gradients(scores, dtype):
        flat = [p.flat.clone().to(dtype).requires_grad_() for p in (images, captions)]
        each = [Parts(f, p.starts) for f, p in zip(flat, (images, captions), strict=True)]
        sum(triplet_loss(scores(*each, how), negatives="all").values()).backward()
        return [f.grad.double() for f in flat]

    exact = gradients(plain_scores, torch.float64)
    for fast, slow in zip(gradients(cross_attention_scores, dtype), exact, strict=True):
        assert slow.abs().max() > 1e-3
        torch.testing.assert_close(fast, slow, atol=atol, rtol=0)


@pytest.mark.parametrize("norm", ["clipped_l2norm", "clipped_l1norm", "softmax", "no_norm"])
def test_gradients_of_all_steps_are_right(norm):
    torch.manual_seed(4)
    how = CrossAttention("t-i", "LSE", 4.0, 5.0, norm)
    starts = torch.tensor([0, 2, 5]), torch.tensor([0, 3, 4])

    def score(regions, words):
        return cross_attention_scores(Parts(regions, starts[0]), Parts(words, starts[1]), how)

    given = [units(n, 4, dtype=torch.float64).requires_grad_() for n in (5, 4)]
    assert torch.autograd.gradcheck(score, given)


# --- edges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", VARIANTS, ids=ids)
def test_one_image_one_region_one_word(how):
    """The peer crashes on one image, and on a caption of one word."""
    image, word = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0]])
    one = torch.tensor([0, 1])
    found = cross_attention_scores(Parts(image, one), Parts(word, one), how)
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(0.6, abs=1e-6)  # one query: any pooling is its cosine


@pytest.mark.parametrize("how", VARIANTS, ids=ids)
def test_garbage_in_the_padding_never_matters(how):
    torch.manual_seed(5)
    images, captions = torch.randn(3, 6, 8), torch.randn(4, 9, 8)
    n_regions, n_words = torch.tensor([6, 2, 4]), torch.tensor([9, 1, 5, 3])
    scores, gradients = [], []
    for garbage in (0.0, 1e30, float("nan"), float("inf")):
        i, c = images.clone(), captions.clone()
        for padded, lengths in ((i, n_regions), (c, n_words)):
            for item, n in zip(padded, lengths, strict=True):
                item[n:] = garbage
        i.requires_grad_()
        found = cross_attention_scores(
            Parts.from_padded(i, n_regions), Parts.from_padded(c, n_words), how
        )
        found.sum().backward()
        scores.append(found.detach())
        gradients.append(i.grad)
    for found, gradient in zip(scores[1:], gradients[1:], strict=True):
        torch.testing.assert_close(found, scores[0], atol=0, rtol=0)
        torch.testing.assert_close(gradient, gradients[0], atol=0, rtol=0)


@pytest.mark.parametrize("how", VARIANTS, ids=ids)
def test_zero_vectors_have_finite_scores_and_gradients(how):
    flat = torch.zeros(5, 4, requires_grad=True)
    words = Parts(torch.zeros(3, 4, requires_grad=True), torch.tensor([0, 2, 3]))
    found = cross_attention_scores(Parts(flat, torch.tensor([0, 2, 5])), words, how)
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert torch.isfinite(flat.grad).all() and torch.isfinite(words.flat.grad).all()


def test_opposite_parts_attended_equally_cancel_to_zero():
    """aᵀ G a = 0: the attended vector is zero, and so is the cosine."""
    image = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    how = CrossAttention("t-i", "AVG", smooth=0.0)
    found = cross_attention_scores(
        Parts(image, torch.tensor([0, 2])), Parts(image[:1], torch.tensor([0, 1])), how
    )
    assert found.item() == 0


def test_scores_do_not_depend_on_the_company():
    torch.manual_seed(6)
    images, captions = parts([5, 2, 3]), parts([4, 30, 1, 2])
    for how in VARIANTS:
        whole = cross_attention_scores(images, captions, how)
        alone = cross_attention_scores(images[1:2], captions[2:3], how)
        torch.testing.assert_close(alone[0, 0], whole[1, 2], atol=1e-6, rtol=0)


def test_half_precision_parts_are_computed_in_full():
    torch.manual_seed(7)
    images, captions = parts([5] * 3), parts([4, 2])
    halves = [Parts(p.flat.half(), p.starts) for p in (images, captions)]
    found = cross_attention_scores(*halves, VARIANTS[0])
    assert found.dtype == torch.float32
    same = [Parts(p.flat.float(), p.starts) for p in halves]
    torch.testing.assert_close(found, cross_attention_scores(*same, VARIANTS[0]))
    with torch.autocast("cpu", torch.bfloat16):
        inside = cross_attention_scores(images, captions, VARIANTS[0])
    torch.testing.assert_close(inside, cross_attention_scores(images, captions, VARIANTS[0]))


# --- by hand --------------------------------------------------------------------------------------


def test_attended_cosine_by_hand():
    """Weights (1/4, 3/4) on (1, 0) and (0, 1): v = (1/4, 3/4), q = (3, 0), cos = 1 / sqrt(10)."""
    context, query = torch.eye(2), torch.tensor([[3.0, 0.0]])
    products = (context @ query.T)[None, :, :, None]
    weights = torch.tensor([0.25, 0.75])[None, :, None, None]
    found = attended_cosines(weights, products, (context @ context.T)[None], torch.tensor([[3.0]]))
    assert found.item() == pytest.approx(10**-0.5)


def test_attention_by_hand():
    """Products 0.3 and 0.4 of one region with two words, norm 0.5: 0.6 and 0.8, times λ1."""
    products = torch.tensor([[0.3, 0.4], [-0.1, 0.0]])[None, :, :, None]
    logits = attention_logits(products, "clipped_l2norm", smooth=9.0)[0, :, :, 0]
    expected = 9 * torch.tensor([[0.6, 0.8], [-1.0, 0.0]])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    weights = attention_weights(products, CrossAttention(smooth=9.0))[0, :, :, 0]
    assert weights[0, 0].item() == pytest.approx(1 / (1 + np.exp(-9 * 1.6)), abs=1e-6)
    torch.testing.assert_close(weights.sum(0), torch.ones(2))


def test_pooling_by_hand_and_its_padding():
    cosines = torch.tensor([0.2, 0.6, float("nan")])[None, :, None]
    padding = torch.tensor([[False], [False], [True]])
    expected = {"AVG": 0.4, "SUM": 0.8, "MAX": 0.6, "LSE": np.log(np.exp(1.2) + np.exp(3.6)) / 6}
    for pooling, value in expected.items():
        found = pool_cosines(cosines, pooling, 6.0, padding)
        assert found.item() == pytest.approx(value, abs=1e-6), pooling


def test_lse_lies_between_the_largest_and_the_sum_and_nears_the_largest():
    torch.manual_seed(8)
    cosines = torch.rand(3, 5, 4)
    largest = pool_cosines(cosines, "MAX")
    assert (pool_cosines(cosines, "LSE", 6.0) > largest).all()
    torch.testing.assert_close(pool_cosines(cosines, "LSE", 1e4), largest, atol=1e-3, rtol=0)


@pytest.mark.parametrize("how", VARIANTS, ids=ids)
def test_the_drawn_map_is_what_the_score_was_made_of(how):
    torch.manual_seed(9)
    image, caption = units(5, 8), units(3, 8)
    weights, cosines = attention_map(image, caption, how)
    assert weights.shape == (3, 5)
    along = 1 if how.direction == "t-i" else 0
    torch.testing.assert_close(weights.sum(along), torch.ones(weights.shape[1 - along]))
    score = pool_cosines(cosines[None, :, None], how.pooling, how.lse).item()
    assert score == pytest.approx(plain_score(image, caption, how).item(), abs=1e-5)


# --- memory ---------------------------------------------------------------------------------------


def saved_bytes(work) -> int:
    """Bytes that autograd keeps between the way there and the way back, each storage once."""
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(storages.values())


@pytest.mark.parametrize("direction", ["t-i", "i-t"])
def test_the_way_back_keeps_less_than_a_tenth_of_the_plain_code(direction):
    torch.manual_seed(10)
    how = CrossAttention(direction, "AVG", 9.0)
    images, captions = parts([36] * 32, 512), parts([14] * 32, 512)
    for each in (images, captions):
        each.flat.requires_grad_()
    fast = saved_bytes(lambda: cross_attention_scores(images, captions, how))
    slow = saved_bytes(lambda: plain_scores(images, captions, how))
    assert fast < slow / 10
