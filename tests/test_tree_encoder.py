"""SMFEA eqs. 5 to 14: the batched tree against hand-computed values and a slow recursion."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from xmr_lib.encoders import tree
from xmr_lib.encoders.tree import StructuredEncoder, TernaryTree
from xmr_lib.models import SmfeaConfig


def config(dim: int, node_dim: int, **options) -> SmfeaConfig:
    return SmfeaConfig(
        joint_dim=dim, rnn_dim=dim, node_dim=node_dim, **{"node_input": "printed"} | options
    )


CHILDREN = {2: (1, 3), 4: (2, 6), 6: (5, 7)}


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_equation_5_maps_each_node_by_its_own_matrix():
    inputs = tree.NodeInputs(2).double()
    instance = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    out = inputs(instance)
    for place in range(7):
        weight = inputs.maps.weight[2 * place : 2 * place + 2]
        bias = inputs.maps.bias[2 * place : 2 * place + 2]
        torch.testing.assert_close(out[:, place], instance @ weight.T + bias)


@pytest.mark.parametrize("gate", [tree.input_gate, tree.forget_gate, tree.output_gate])
def test_equations_6_to_8_by_hand(gate):
    found = gate(torch.tensor(0.3), torch.tensor(-1.1))
    assert found.item() == pytest.approx(sigmoid(0.3 - 1.1))


def test_equations_9_to_11_by_hand():
    new = tree.candidate(torch.tensor([[[0.3]]]), torch.tensor([[[-1.1]]]))
    assert new.item() == pytest.approx(math.tanh(-0.8))
    i, f = torch.tensor([[[0.5]]]), torch.tensor([[[0.25]]])
    children_f = torch.tensor([[[[0.1], [0.9]]]])
    children_c = torch.tensor([[[[2.0], [-4.0]]]])
    c = tree.cell_state(i, new, f, children_f, children_c)
    expected = 0.5 * math.tanh(-0.8) + 0.25 * (0.1 * 2 - 0.9 * 4)
    assert c.item() == pytest.approx(expected)
    nobody = torch.zeros(1, 1, 0, 1)
    assert tree.cell_state(i, new, f, nobody, nobody).item() == pytest.approx(0.5 * new.item())
    shown = tree.hidden_state(torch.tensor(0.5), torch.tensor(2.0))
    assert shown.item() == pytest.approx(0.5 * math.tanh(2))


def slow_tree(cell: TernaryTree, inputs: torch.Tensor) -> dict[int, tuple]:
    """One item, node by node, as the equations read; inputs `(7, d)`. Place -> (h, c, i, f, o)."""
    w, b = cell.from_input.weight, cell.from_input.bias
    wi, wf, wo, wu = w.chunk(4)
    bi, bf, bo, bu = b.chunk(4)
    ui, uf, uo, uu = cell.from_children.weight.chunk(4)

    def node(t: int) -> tuple:
        children = [node(k) for k in CHILDREN.get(t, ())]
        x = inputs[t - 1]
        h = sum((child[0] for child in children), torch.zeros(len(bi), dtype=x.dtype))
        i = torch.sigmoid(wi @ x + bi + ui @ h)
        f = torch.sigmoid(wf @ x + bf + uf @ h)
        o = torch.sigmoid(wo @ x + bo + uo @ h)
        new = torch.tanh(wu @ x + bu + uu @ h)
        if cell.cell == "printed":
            kept = f * sum((child[3] * child[1] for child in children), torch.zeros_like(f))
        else:
            own = [torch.sigmoid(wf @ x + bf + uf @ child[0]) for child in children]
            kept = sum((a * child[1] for a, child in zip(own, children, strict=True)), 0 * f)
        c = i * new + kept
        states[t] = (o * torch.tanh(c), c, i, f, o)
        return states[t]

    states: dict[int, tuple] = {}
    node(4)
    return states


@pytest.mark.parametrize("how", ["printed", "child_sum"])
def test_batched_tree_equals_recursion(how):
    torch.manual_seed(1)
    cell = TernaryTree(5, 3, how).double()
    inputs = torch.randn(4, 7, 5, dtype=torch.float64)
    fast = cell(inputs)
    kinds = (fast.hidden, fast.memory, fast.input_gate, fast.forget_gate, fast.output_gate)
    for item in range(4):
        slow = slow_tree(cell, inputs[item])
        for place in range(1, 8):
            for found, expected in zip(kinds, slow[place], strict=True):
                torch.testing.assert_close(found[item, place - 1], expected)


def test_cells_differ_above_the_leaves_only():
    torch.manual_seed(1)
    printed, child_sum = TernaryTree(5, 3), TernaryTree(5, 3, "child_sum")
    child_sum.load_state_dict(printed.state_dict())
    inputs = torch.randn(2, 7, 5)
    one, other = printed(inputs).memory, child_sum(inputs).memory
    torch.testing.assert_close(one[:, ::2], other[:, ::2])
    assert (one[:, 1::2] - other[:, 1::2]).abs().min() > 1e-6


def test_linear_tree_by_hand():
    torch.manual_seed(1)
    cell = tree.LinearTree(2, 3)
    x = torch.randn(1, 7, 2)
    own = cell.from_input(x)[0]
    u = cell.from_children.weight
    two = own[1] + u @ (own[0] + own[2])
    six = own[5] + u @ (own[4] + own[6])
    expected = torch.stack([own[0], two, own[2], own[3] + u @ (two + six), own[4], six, own[6]])
    torch.testing.assert_close(cell(x).hidden[0], expected)


def test_chain_is_an_lstm_in_order():
    torch.manual_seed(1)
    chain = tree.Chain(2, 3)
    x = torch.randn(2, 7, 2)
    torch.testing.assert_close(chain(x).hidden, chain.lstm(x)[0])
    changed = x.clone()
    changed[:, 4] += 1  # place 5 is heard from place 5 on
    heard = (chain(x).hidden != chain(changed).hidden).any(2).any(0)
    assert heard.tolist() == [False] * 4 + [True] * 3


@pytest.mark.parametrize("structure", ["tree", "linear"])
def test_who_hears_whom(structure):
    """A changed input is heard by the node itself and by what lies above it, and nowhere else."""
    torch.manual_seed(1)
    cell = TernaryTree(2, 3) if structure == "tree" else tree.LinearTree(2, 3)
    x = torch.randn(1, 7, 2)
    above = {1: {1, 2, 4}, 2: {2, 4}, 3: {3, 2, 4}, 4: {4}, 5: {5, 6, 4}, 6: {6, 4}, 7: {7, 6, 4}}
    for place, expected in above.items():
        changed = x.clone()
        changed[0, place - 1] += 1
        differs = (cell(x).hidden != cell(changed).hidden).any(2)[0]
        assert {i + 1 for i in range(7) if differs[i]} == expected


def test_equations_12_to_14_by_hand():
    torch.manual_seed(1)
    encoder = StructuredEncoder(config(4, 3), n_fragments=5, n_relations=2)
    out = encoder(torch.randn(2, 4))
    hidden = out.states.hidden
    w = encoder.classifier
    for column, place in enumerate((1, 3, 5, 7)):
        scores = hidden[:, place - 1] @ w.fragments.weight.T + w.fragments.bias
        torch.testing.assert_close(out.fragments[:, column].exp(), scores.softmax(1))
    for column, place in enumerate((2, 4, 6)):
        scores = hidden[:, place - 1] @ w.relations.weight.T + w.relations.bias
        torch.testing.assert_close(out.relations[:, column].exp(), scores.softmax(1))
    maps = encoder.embed.maps
    each = [hidden[:, i] @ maps.weight[:, 3 * i : 3 * i + 3].T for i in range(7)]
    torch.testing.assert_close(out.embedding, sum(each) + maps.bias)
    torch.testing.assert_close(encoder.embed.node_shares(hidden), torch.stack(each, dim=1))


@pytest.mark.parametrize("structure", ["tree", "chain", "linear"])
def test_gradients_in_float64_and_items_alone(structure):
    torch.manual_seed(1)
    encoder = StructuredEncoder(config(3, 2, structure=structure), 4, 3).double()
    instance = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def outputs(x):
        out = encoder(x)
        return out.fragments, out.relations, out.embedding

    assert torch.autograd.gradcheck(outputs, (instance,))
    for alone, together in zip(outputs(instance[:1]), outputs(instance), strict=True):
        torch.testing.assert_close(alone, together[:1])
    encoder(instance).embedding.sum().backward()
    encoder(instance).fragments.sum().backward()
    unused = [n for n, p in encoder.named_parameters() if p.grad is None]
    assert all("classifier.relations" in name for name in unused)


def test_zero_vectors_stay_finite():
    encoder = StructuredEncoder(config(4, 3), 5, 2)
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
    out = encoder(torch.zeros(1, 4))
    assert torch.isfinite(out.embedding).all() and torch.isfinite(out.fragments).all()


def test_unit_input_and_a_start_from_frequencies():
    torch.manual_seed(1)
    plain, unit = (
        StructuredEncoder(config(4, 3, node_input=how), 5, 2) for how in ("printed", "unit")
    )
    unit.load_state_dict(plain.state_dict())
    instance = torch.tensor([[3.0, 0.0, -4.0, 0.0]])
    torch.testing.assert_close(unit(instance).embedding, plain(instance / 2.5).embedding)
    torch.testing.assert_close(unit(100 * instance).embedding, unit(instance).embedding)
    labels = torch.tensor([[0, 1, 0, 1, -1, -1, -1], [0, -1, 4, 0, 0, 1, -1]])
    unit.classifier.start_from(labels)
    counts = torch.tensor([5.0, 1, 1, 1, 2])  # one more than seen
    torch.testing.assert_close(unit.classifier.fragments.bias.exp(), counts / counts.sum())
    torch.testing.assert_close(unit.classifier.relations.bias.exp(), torch.tensor([2 / 6, 4 / 6]))
