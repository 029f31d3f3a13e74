"""SMFEA put together: fusion (eqs. 15, 16), objective (eq. 20), its ablations and CVSE."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from xmr_lib import models, recipes, trainer
from xmr_lib.data.batches import Batch
from xmr_lib.errors import DataError
from xmr_lib.files import save_tensors
from xmr_lib.language.categories import Categories
from xmr_lib.language.concepts import Concepts
from xmr_lib.language.knowledge import Knowledge
from xmr_lib.losses import divergence, node_cross_entropy, node_divergence, triplet_loss
from xmr_lib.models.structured import fuse
from xmr_lib.similarity import l2norm

TINY = {"word_dim": 6, "rnn_dim": 8, "joint_dim": 8, "node_dim": 4, "concept_hidden": 7}
TINY |= {"attention_dropout": 0.0, "word_dropout": 0.0}  # of CVSE
N_WORDS, REGION_DIM, B = 20, 5, 6
CATEGORIES = Categories(("dog", "ball", "red car"), ("play with", "on"))


def knowledge(n: int = 4) -> Knowledge:
    words = tuple(f"concept{i}" for i in range(n))
    together = 5 * (np.ones((n, n), dtype=int) - np.eye(n, dtype=int))
    concepts = Concepts(
        words=words,
        kinds=(2, 1, 1),
        counts=np.full(n, 9),
        together=together,
        forms={word: i for i, word in enumerate(words)},
    )
    word_concepts = np.full(N_WORDS, -1)
    word_concepts[10 : 10 + n] = range(n)
    vectors = np.random.default_rng(0).standard_normal((n, 3))
    return Knowledge(CATEGORIES, concepts, vectors, word_concepts)


def made(name: str = "SMFEA", **overrides):
    recipe = recipes.get(name, "toy", **{**TINY, **overrides})
    torch.manual_seed(0)
    return models.build(recipe.model, N_WORDS, (REGION_DIM,), knowledge=knowledge())


def batch(seed: int = 0) -> Batch:
    torch.manual_seed(seed)
    lengths = torch.tensor([7, 3, 1, 2, 5, 7])
    tokens = torch.randint(4, N_WORDS, (B, 7)) * (torch.arange(7) < lengths[:, None])
    nodes = torch.stack([torch.randint(-1, 2 + (i % 2 == 0), (B,)) for i in range(7)], dim=1)
    return Batch(
        torch.tensor([0, 1, 2, 3, 3, 4]),
        tokens,
        lengths,
        regions=torch.randn(B, 4, REGION_DIM),
        region_counts=torch.tensor([4, 1, 2, 3, 3, 4]),
        nodes=nodes,
    )


ROWS = [name for name in recipes.names() if name.startswith(("SMFEA", "CVSE"))]


def test_equations_15_and_16_by_hand():
    d, t, c = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([[-5.0, 0.0]])
    betas = (0.6, 0.3, 0.1)
    torch.testing.assert_close(fuse(d, t, c, betas, unit=False), torch.tensor([[1.3, 3.0]]))
    expected = torch.tensor([[0.6 * 0.6 - 0.1, 0.6 * 0.8 + 0.3]])
    torch.testing.assert_close(fuse(d, t, c, betas), expected)
    assert torch.equal(fuse(d, None, None, (1.0, 0.0, 0.0), unit=False), d)
    zero = fuse(torch.zeros(1, 2), t, None, (0.6, 0.4, 0.0))  # no NaN
    torch.testing.assert_close(zero, torch.tensor([[0.0, 0.4]]))


@pytest.mark.parametrize("name", ROWS)
def test_every_row_trains_one_step_and_encodes(name):
    model = made(name)
    parts = model.loss(batch())
    parts["loss"].backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None]
    if model.config.betas[1] == 0:  # trees without weight teach by their categories only
        idle = [n for n in idle if "tree.embed." not in n]
    assert not idle, f"{name} never trains {idle}"
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)
    model.eval()
    images, captions = model.encode_images(batch()), model.encode_captions(batch())
    assert images.parts is None and images.vectors.shape == (B, 8)
    for encoded in (images, captions):
        torch.testing.assert_close(encoded.vectors.norm(dim=1), torch.ones(B))
    expected = (
        l2norm(model.image_views(batch()).fused) @ l2norm(model.caption_views(batch()).fused).T
    )
    torch.testing.assert_close(model.score(images, captions), expected)


def test_equation_20_adds_up_its_named_parts():
    weights = {"rank_weights": (1.0, 2.0, 0.25), "tree_rank_weight": 0.5}
    model, data = made(ce_weight=0.5, kl_weight=3.0, **weights), batch()
    parts = model.loss(data)
    image, caption = model.image_views(data), model.caption_views(data)
    scores = l2norm(image.fused) @ l2norm(caption.fused).T
    rank = triplet_loss(scores, 0.2, "hardest", data.same_image)
    sides = (image.structured, caption.structured)
    ce = sum(node_cross_entropy(s.fragments, s.relations, data.nodes) for s in sides).mean()
    kl = node_divergence(*sides).sum(1).mean()
    expected = {"L_img": rank["L_img"], "L_sent": rank["L_sent"], "L_CE": ce, "D_KL": kl}
    for name, part, negatives in (
        ("L_instance", "instance", "hardest"),
        ("L_tree", "embedding", "hardest"),
        ("L_consensus", "concepts", "all"),
    ):
        alone = l2norm(getattr(image, part)) @ l2norm(getattr(caption, part)).T
        expected[name] = sum(triplet_loss(alone, 0.2, negatives, data.same_image).values())
    assert set(parts) == {"loss", *expected}
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value)
    whole = rank["L_img"] + rank["L_sent"] + 0.5 * ce + 3 * kl
    whole += 2 * expected["L_instance"] + 0.5 * expected["L_tree"] + 0.25 * expected["L_consensus"]
    torch.testing.assert_close(parts["loss"], whole)
    summed = made(node_reduction="sum").loss(data)
    torch.testing.assert_close(summed["L_CE"], B * ce)


def test_each_part_can_be_switched_off():
    named = {name: set(made(name).loss(batch())) - {"loss", "L_img", "L_sent"} for name in ROWS}
    alone = {"L_instance", "L_tree", "L_consensus"}
    assert named["SMFEA"] == {"L_CE", "D_KL"} | alone
    assert named["SMFEA w/o D_KL"] == {"L_CE"} | alone
    assert named["SMFEA w/o L_CE"] == {"D_KL"} | alone
    assert named["SMFEA [1.0, 0.0, 0.0]"] == {"L_CE", "D_KL", "L_instance"}  # betas of 0: no loss
    assert named["SMFEA w/o trees"] == {"L_instance", "L_consensus"}
    assert named["CVSE"] == {"L_instance", "L_consensus", "KL_concepts"}
    assert made("SMFEA w/o trees").image_tree is None
    assert made("SMFEA [0.6, 0.4, 0.0]").consensus is None


def test_cvse_weighs_its_four_losses():
    model, data = made("CVSE"), batch()
    parts = model.loss(data)
    image, caption = model.image_views(data), model.caption_views(data)
    kl = divergence(caption.concept_weights.log(), image.concept_weights.log()).sum()
    torch.testing.assert_close(parts["KL_concepts"], kl)
    rank = parts["L_img"] + parts["L_sent"]
    whole = 3 * rank + 5 * parts["L_instance"] + parts["L_consensus"] + 2 * kl
    torch.testing.assert_close(parts["loss"], whole)


def test_padding_never_matters_and_items_do_not_see_each_other():
    model, data = made().eval(), batch()
    tokens, regions = data.tokens.clone(), data.regions.clone()
    for i in range(B):
        tokens[i, data.lengths[i] :] = 12  # a concept, behind the caption's end
        regions[i, data.region_counts[i] :] = float("nan")
    garbage = replace(data, tokens=tokens, regions=regions)
    for clean, dirty in (
        (model.encode_images(data), model.encode_images(garbage)),
        (model.encode_captions(data), model.encode_captions(garbage)),
    ):
        torch.testing.assert_close(clean.vectors, dirty.vectors)
    one = Batch(
        data.images[2:3],
        data.tokens[2:3, :1],
        data.lengths[2:3],
        regions=data.regions[2:3, :2],
        region_counts=data.region_counts[2:3],
    )
    torch.testing.assert_close(
        model.encode_captions(one).vectors, model.encode_captions(data).vectors[2:3]
    )
    torch.testing.assert_close(
        model.encode_images(one).vectors, model.encode_images(data).vectors[2:3]
    )


def test_labels_are_the_concepts_that_the_caption_names():
    model = made()
    tokens = torch.tensor([[1, 10, 12, 10, 2], [1, 5, 2, 0, 0]])
    lengths = torch.tensor([5, 3])
    assert model.labels(tokens, lengths).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]
    assert model.labels(tokens, torch.tensor([2, 1])).tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]


def test_given_concepts_take_the_place_of_named_ones():
    model, data = made().eval(), batch()
    own = model.labels(data.tokens, data.lengths)
    same = model.encode_captions(replace(data, concepts=own)).vectors
    torch.testing.assert_close(same, model.encode_captions(data).vectors)
    other = model.encode_captions(replace(data, concepts=1 - own)).vectors
    assert (other - same).abs().max() > 1e-4


def test_null_as_a_category_of_its_own():
    model, data = made(null="class"), batch()
    sides = [model.image_views(data).structured, model.caption_views(data).structured]
    assert sides[0].fragments.shape[2] == 4 and sides[0].relations.shape[2] == 3
    nodes = data.nodes.clone()
    nodes[:, ::2][nodes[:, ::2] < 0] = 3
    nodes[:, 1::2][nodes[:, 1::2] < 0] = 2
    ce = sum(node_cross_entropy(s.fragments, s.relations, nodes) for s in sides).mean()
    torch.testing.assert_close(model.loss(data)["L_CE"], ce)


def test_options_change_what_they_say():
    data = batch()
    plain = made(learned_attention=False)
    state = plain.state_dict()
    for option in (
        {"residual_text": True},
        {"cell": "child_sum"},
        {"fusion": "printed"},
        {"attention_scale": "sqrt"},
        {"concept_ratio": 0.9},
        {"unit_parts": False},
        {"centred_concepts": False},
    ):
        other = made(learned_attention=False, **option)
        other.load_state_dict(state)
        same = [
            torch.equal(getattr(plain, how)(data).fused, getattr(other, how)(data).fused)
            for how in ("image_views", "caption_views")
        ]
        text_only = option.keys() & {"residual_text", "concept_ratio"}
        assert same == [bool(text_only), False], option


def test_what_is_missing_is_said():
    recipe = recipes.get("SMFEA", "toy", **TINY)
    with pytest.raises(DataError, match="categories"):
        models.build(recipe.model, N_WORDS, (REGION_DIM,))
    with pytest.raises(DataError, match="concepts"):
        models.build(recipe.model, N_WORDS, (REGION_DIM,), knowledge=Knowledge(CATEGORIES))
    with pytest.raises(DataError, match="trees"):
        made().loss(replace(batch(), nodes=None))
    with pytest.raises(DataError, match="structure"):
        recipes.get("SMFEA", "toy", structure=None)
    with pytest.raises(DataError, match="three weights"):
        recipes.get("SMFEA", "toy", betas=(1.0, 0.0))


def test_gradients_in_float64():
    model, data = made().double(), batch()
    regions = data.regions.double().requires_grad_()
    with torch.no_grad():
        assert model(replace(data, regions=regions))["loss"] > 0

    def loss(x):
        return model.loss(replace(data, regions=x), negatives="all")["loss"]

    assert torch.autograd.gradcheck(loss, (regions,), atol=1e-4)


def test_a_sharp_attention_over_concepts_keeps_cvse_finite():
    model = made("CVSE")
    with torch.no_grad():
        model.consensus.image_attention.score.weight *= 1e4
        assert (model.image_views(batch()).concept_weights == 0).any()
    loss = model.loss(batch())["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_both_trees_share_what_is_printed_without_a_side(tmp_path):
    shared, apart = made(), made(shared_trees=False)
    for name in ("inputs", "classifier", "embed"):
        assert getattr(shared.image_tree, name) is getattr(shared.text_tree, name)
        assert getattr(apart.image_tree, name) is not getattr(apart.text_tree, name)
    assert shared.image_tree.structure is not shared.text_tree.structure
    saved = {name for name in shared.state_dict() if name.startswith("text_tree")}
    assert all(name.startswith("text_tree.structure") for name in saved)
    save_tensors(tmp_path / "weights.safetensors", shared.state_dict())
    again = made()
    trainer.load_weights(again, tmp_path / "weights.safetensors")
    data = batch()
    expected = shared.eval().encode_captions(data).vectors
    torch.testing.assert_close(again.eval().encode_captions(data).vectors, expected)
    copied = deepcopy(shared)
    assert copied.text_tree.embed is copied.image_tree.embed is not shared.image_tree.embed
