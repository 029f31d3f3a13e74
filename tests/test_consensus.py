"""Concepts of an item: graph, attention and their mix, against CVSE's own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from xmr_lib.encoders.consensus import (
    ConceptAttention,
    ConceptGraph,
    Consensus,
    complete_labels,
    mix_labels,
)
from xmr_lib.language.concepts import normalised_adjacency
from xmr_lib.models import SmfeaConfig
from xmr_lib.similarity import l2norm

FOLDER = Path(__file__).parent / "golden"
GCN, ATTENTION = (np.load(FOLDER / f"cvse_{name}.npz") for name in ("cgcn", "consensus_attention"))
INSTANCE, CONCEPTS, LABELS = (
    torch.tensor(ATTENTION[name]) for name in ("instance", "concepts", "labels")
)


def test_golden_graph_network():
    graph = ConceptGraph(10, 8, 16)
    graph.load_state_dict(
        {"first": torch.tensor(GCN["sd.gc1.weight"]), "second": torch.tensor(GCN["sd.gc2.weight"])}
    )
    a = torch.tensor(normalised_adjacency(GCN["sd.adj_all"].astype(np.float64))).float()
    found = graph(torch.tensor(GCN["concept_emb"]), a)
    np.testing.assert_allclose(found.detach(), GCN["out_whole_f32"], atol=1e-6)


def test_golden_graph_network_of_two_graphs():
    """Its other option: nouns with adjectives and nouns with verbs, both graphs added up."""
    graph = ConceptGraph(10, 8, 16)
    graph.load_state_dict(
        {"first": torch.tensor(GCN["sd.gc1.weight"]), "second": torch.tensor(GCN["sd.gc2.weight"])}
    )
    both = sum(
        normalised_adjacency(GCN[f"sd.{name}"].astype(np.float64))
        for name in ("adj_O_P", "adj_O_M")
    )
    found = graph(torch.tensor(GCN["concept_emb"]), torch.tensor(both).float())
    np.testing.assert_allclose(found.detach(), GCN["out_dual_f32"], atol=1e-6)


def attention() -> ConceptAttention:
    """Their weights in ours; what they call embedding_1 is the concepts' side."""
    ours = ConceptAttention(16)
    state, prefix = {}, "bn1.sd.embedding_"
    for key in ATTENTION.files:
        if key.startswith(prefix):
            which, *rest = key.removeprefix(prefix).split(".")
            side = {"1": "concepts", "2": "items", "3": "score"}[which]
            name = rest[1:] if side == "score" else rest
            state[".".join([side, *name])] = torch.tensor(ATTENTION[key])
    ours.load_state_dict(state)
    return ours


def test_golden_attention():
    model = attention().eval()
    for dtype, name, tolerance in ((torch.float32, "f32", 1e-6), (torch.float64, "f64", 1e-12)):
        model = model.to(dtype)
        concepts = CONCEPTS.to(dtype)
        weights = model(INSTANCE.to(dtype), concepts)
        visual = "eval_visual_r0.35" if name == "f32" else "eval_visual"
        expected = ATTENTION[f"bn1.{visual}_weights_{name}"]
        np.testing.assert_allclose(weights.detach(), expected, atol=tolerance)
        embedded = l2norm(weights @ concepts).detach()
        tolerance = max(tolerance, 1e-7)  # theirs adds 1e-12 to a norm
        np.testing.assert_allclose(embedded, ATTENTION[f"bn1.{visual}_emb_{name}"], atol=tolerance)
        mixed = mix_labels(weights, LABELS.to(dtype), 0.35)
        expected = ATTENTION[f"bn1.eval_textual_r0.35_weights_{name}"]
        np.testing.assert_allclose(mixed.detach(), expected, atol=tolerance)
    mixed = mix_labels(model(INSTANCE.double(), CONCEPTS.double()), LABELS.double(), 0.4)
    expected = ATTENTION["bn1.eval_textual_r0.4_weights_f32"]
    np.testing.assert_allclose(mixed.detach(), expected, atol=1e-6)


def test_golden_attention_in_training():
    model = attention().train()
    mixed = mix_labels(model(INSTANCE, CONCEPTS), LABELS, 0.35)
    expected = ATTENTION["bn1.train_textual_r0.35_weights_f32"]
    np.testing.assert_allclose(mixed.detach(), expected, atol=1e-6)


def test_weights_add_up_and_no_labels_share_equally():
    weights = attention().eval()(INSTANCE, CONCEPTS)
    none = torch.zeros_like(weights)
    mixed = mix_labels(weights, none, 0.35)
    torch.testing.assert_close(mixed.sum(1), torch.ones(len(mixed)))
    torch.testing.assert_close(mixed, 0.35 / 20 + 0.65 * weights)


def test_one_item_in_training_is_finite():
    """Without a batch the running statistics normalise it, as they do at test time."""
    model = attention().train()
    before = model.items[1].running_mean.clone()
    one = model(INSTANCE[:1], CONCEPTS)
    assert torch.isfinite(one).all() and torch.equal(model.items[1].running_mean, before)
    assert torch.isfinite(model(INSTANCE, CONCEPTS[:1])).all()  # a single concept neither
    model.eval()
    torch.testing.assert_close(model(INSTANCE[:1], CONCEPTS), model(INSTANCE, CONCEPTS)[:1])


SMALL = SmfeaConfig(joint_dim=4, rnn_dim=4, concept_hidden=6)


def consensus() -> Consensus:
    torch.manual_seed(0)
    return Consensus(torch.randn(5, 3), torch.eye(5), SMALL)


def test_adjacency_and_vectors_are_not_trained_but_saved():
    model = consensus()
    names = {name for name, _ in model.named_parameters()}
    assert not {"adjacency", "vectors"} & names
    assert {"adjacency", "vectors"} <= set(model.state_dict())
    other = Consensus(torch.zeros(5, 3), torch.zeros(5, 5), SMALL)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.concepts(), model.concepts())


def test_items_are_unit_mixtures_of_concepts_each_side_by_its_own_attention():
    model = consensus().eval()
    instance, labels = torch.randn(3, 4), torch.eye(5)[:3]
    concepts = model.concepts()
    seen = model.image_attention(instance, concepts)
    named = mix_labels(model.text_attention(instance, concepts), labels, 0.35)
    for (vectors, weights), expected in (
        (model.images(instance, concepts), seen),
        (model.captions(instance, labels, concepts), named),
    ):
        torch.testing.assert_close(weights, expected)
        torch.testing.assert_close(vectors, l2norm(expected @ concepts))


def both_of(model: Consensus, instance: torch.Tensor, labels: torch.Tensor) -> tuple:
    concepts = model.concepts()
    return model.images(instance, concepts)[0], model.captions(instance, labels, concepts)[0]


def test_gradients_in_float64():
    model = consensus().double()
    instance = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.eye(5, dtype=torch.float64)[:3]

    assert torch.autograd.gradcheck(lambda x: both_of(model, x, labels), (instance,))
    # and of all weights, with batch norm; gradcheck changes them in place
    model = consensus().double()
    assert torch.autograd.gradcheck(
        lambda *_: both_of(model, instance.detach(), labels), tuple(model.parameters())
    )


def test_completed_labels_equal_a_plain_loop():
    torch.manual_seed(0)
    vectors = l2norm(torch.randn(30, 4))
    labels = (torch.rand(30, 6) > 0.7).float()
    found = complete_labels(labels, vectors, k=4, block=7)
    for i in range(30):
        scores = vectors @ vectors[i]
        scores[i] = -2
        nearest = scores.topk(4).indices
        expected = torch.maximum(labels[i], (labels[nearest].mean(0) >= 0.5).float())
        assert torch.equal(found[i], expected)
    assert torch.equal(complete_labels(labels.bool(), vectors, k=4), found.bool())
    assert torch.equal(complete_labels(labels[:1], vectors[:1]), labels[:1])
