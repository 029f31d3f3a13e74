"""SMFEA's structured encoders: seven places of a fixed tree, each with a state and a category.

Both sides have one (VCS-tree for images, TCS-tree for sentences). The tree never changes, so a
whole batch goes through it level by level, four leaves at once, then two nodes, then the root,
without a loop over items. Places are numbered in order, 1 to 7:

          4              layer 3   relation (root)
      2       6          layer 2   relations
    1   3   5   7        layer 1   fragments

A chain and a linear tree over the same seven places are the paper's comparison (SMFEA Table 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from xmr_lib.similarity import l2norm

if TYPE_CHECKING:
    from xmr_lib.models.structured import SmfeaConfig

Structure = Literal["tree", "chain", "linear"]
Cell = Literal["printed", "child_sum"]

# Columns of the places in tensors `(n, 7, …)`, layer by layer, children from left to right.
LEAVES, MIDDLE, ROOT, RELATIONS = slice(0, 7, 2), slice(1, 7, 4), slice(3, 4), slice(1, 7, 2)
SHARED = ("inputs", "classifier", "embed")  # modules that both sides may have in common


def _in_order(leaves: Tensor, middle: Tensor, root: Tensor) -> Tensor:
    """Layers `(n, 4, h)`, `(n, 2, h)` and `(n, 1, h)` as places 1 to 7, `(n, 7, h)`."""
    (a, b, c, d), (left, right) = leaves.unbind(1), middle.unbind(1)
    return torch.stack([a, left, b, root[:, 0], c, right, d], dim=1)


class NodeInputs(nn.Module):
    """Maps an instance vector to the input of every node (SMFEA eq. 5)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.maps = nn.Linear(dim, 7 * dim)  # seven matrices, one under the other

    def forward(self, instance: Tensor) -> Tensor:
        """`V^D` `(n, d)` to one input a node, `(n, 7, d)`."""
        return self.maps(instance).unflatten(1, (7, -1))


def input_gate(from_input: Tensor, from_children: Tensor) -> Tensor:
    """What of the candidate enters a node (SMFEA eq. 6): `sigmoid(W x + U h)`.

    Args:
        from_input: `W x`, `(…, h)`.
        from_children: `U h` of the children's summed hidden states, `(…, h)`.
    """
    return torch.sigmoid(from_input + from_children)


def forget_gate(from_input: Tensor, from_children: Tensor) -> Tensor:
    """What a node keeps of its children (SMFEA eq. 7); arguments as for `input_gate`."""
    return torch.sigmoid(from_input + from_children)


def output_gate(from_input: Tensor, from_children: Tensor) -> Tensor:
    """What a node shows of its cell (SMFEA eq. 8); arguments as for `input_gate`."""
    return torch.sigmoid(from_input + from_children)


def candidate(from_input: Tensor, from_children: Tensor) -> Tensor:
    """What a node would like to store (SMFEA eq. 9): `tanh(W x + U h)`."""
    return torch.tanh(from_input + from_children)


def cell_state(i: Tensor, new: Tensor, f: Tensor, children_f: Tensor, children_c: Tensor) -> Tensor:
    """A node's memory, as printed (SMFEA eq. 10): `i * new + f * sum(f_k * c_k)`.

    Args:
        i: Input gates `(n, m, h)` of `m` nodes.
        new: Candidates `(n, m, h)`.
        f: Forget gates `(n, m, h)`.
        children_f: The children's own forget gates `(n, m, k, h)`; `k` is 0 for leaves.
        children_c: The children's memories `(n, m, k, h)`.

    >>> one = torch.ones(1, 1, 1)
    >>> children = torch.tensor([[[[2.0], [4.0]]]])
    >>> cell_state(0.5 * one, one, 0.5 * one, 0.5 * torch.ones(1, 1, 2, 1), children)
    tensor([[[2.]]])
    """
    return i * new + f * (children_f * children_c).sum(2)


def hidden_state(o: Tensor, c: Tensor) -> Tensor:
    """What other nodes see of a node (SMFEA eq. 11): `o * tanh(c)`."""
    return o * torch.tanh(c)


@dataclass(frozen=True)
class NodeStates:
    """States of all places, each `(n, 7, h)`; chain and linear have hidden states only."""

    hidden: Tensor
    memory: Tensor | None = None
    input_gate: Tensor | None = None
    forget_gate: Tensor | None = None
    output_gate: Tensor | None = None


class TernaryTree(nn.Module):
    """LSTM over the fixed tree: a parent hears its two children and its own input (eqs. 6-11).

    Args:
        dim: Size of a node's input.
        node_dim: Size of its hidden state.
        cell: "printed" follows eq. 10, where a parent's one forget gate, made from the sum of its
            children, meets the children's own gates; "child_sum" makes one forget gate a child
            from that child alone (Tai et al. 2015).
    """

    def __init__(self, dim: int, node_dim: int, cell: Cell = "printed") -> None:
        super().__init__()
        self.cell = cell
        self.from_input = nn.Linear(dim, 4 * node_dim)  # W^i, W^f, W^o, W^u
        self.from_children = nn.Linear(node_dim, 4 * node_dim, bias=False)  # U^i, U^f, U^o, U^u

    def forward(self, inputs: Tensor) -> NodeStates:
        """Node inputs `(n, 7, dim)` to states."""
        wx = self.from_input(inputs)  # (n, 7, 4h)
        layers, below = [], None
        for places in (LEAVES, MIDDLE, ROOT):
            below = self._layer(wx[:, places], below)  # each (n, m, h)
            layers.append(below)
        hidden, memory, i, f, o = (_in_order(*kind) for kind in zip(*layers, strict=True))
        return NodeStates(hidden, memory, i, f, o)

    def _layer(self, wx: Tensor, below: tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
        """One layer's `h, c, i, f, o` from its inputs `(n, m, 4h)` and the layer below."""
        n, m, width = wx.shape
        if below is None:
            children_h = children_c = children_f = wx.new_zeros(n, m, 0, width // 4)
            uh = torch.zeros_like(wx)
        else:  # children lie side by side: (n, 2m, h) -> (n, m, 2, h)
            children_h, children_c, _, children_f, _ = (x.unflatten(1, (m, 2)) for x in below)
            uh = self.from_children(children_h.sum(2))
        (wi, wf, wo, wu), (ui, uf, uo, uu) = wx.chunk(4, dim=2), uh.chunk(4, dim=2)
        i, f, o = input_gate(wi, ui), forget_gate(wf, uf), output_gate(wo, uo)
        new = candidate(wu, uu)
        if self.cell == "child_sum" and below is not None:
            u_forget = self.from_children.weight.chunk(4)[1]  # U^f, (h, h)
            each = forget_gate(wf[:, :, None], children_h @ u_forget.T)  # one gate a child
            c = cell_state(i, new, torch.ones_like(f), each, children_c)
        else:
            c = cell_state(i, new, f, children_f, children_c)
        return hidden_state(o, c), c, i, f, o


class LinearTree(nn.Module):
    """The same tree without gates (after StructCap, Chen et al. 2017): `h = W x + U sum(h_k)`.

    SMFEA compares with it by name only; this is our reading of "simple linear-based tree".
    """

    def __init__(self, dim: int, node_dim: int) -> None:
        super().__init__()
        self.from_input = nn.Linear(dim, node_dim)
        self.from_children = nn.Linear(node_dim, node_dim, bias=False)

    def forward(self, inputs: Tensor) -> NodeStates:
        """Node inputs `(n, 7, dim)` to states."""
        wx = self.from_input(inputs)  # (n, 7, h)
        leaves = wx[:, LEAVES]
        middle = wx[:, MIDDLE] + self.from_children(leaves.unflatten(1, (2, 2)).sum(2))
        root = wx[:, ROOT] + self.from_children(middle.sum(1, keepdim=True))
        return NodeStates(_in_order(leaves, middle, root))


class Chain(nn.Module):
    """An ordinary LSTM from place 1 to place 7 (Hochreiter and Schmidhuber 1997)."""

    def __init__(self, dim: int, node_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, node_dim, batch_first=True)

    def forward(self, inputs: Tensor) -> NodeStates:
        """Node inputs `(n, 7, dim)` to states."""
        return NodeStates(self.lstm(inputs)[0])


class NodeClassifier(nn.Module):
    """Which fragment, or which relation, a node stands for (SMFEA eqs. 12 and 13)."""

    def __init__(self, node_dim: int, n_fragments: int, n_relations: int) -> None:
        super().__init__()
        self.fragments = nn.Linear(node_dim, n_fragments)  # W_e
        self.relations = nn.Linear(node_dim, n_relations)  # W_r

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of fragments and of relations."""
        return self.fragments.out_features, self.relations.out_features

    def start_from(self, labels: Tensor) -> None:
        """Lets the classifier begin with the categories' frequencies instead of learning them.

        Args:
            labels: Categories of the training captions' trees `(n, 7)`, negative where Null.
        """
        for layer, columns in ((self.fragments, LEAVES), (self.relations, RELATIONS)):
            seen = labels[:, columns]
            counts = torch.bincount(seen[seen >= 0], minlength=layer.out_features) + 1.0
            with torch.no_grad():
                layer.bias.copy_((counts / counts.sum()).log())

    def fragment_scores(self, hidden: Tensor) -> Tensor:
        """Log-probabilities of the leaves 1, 3, 5, 7 (SMFEA eq. 12), `(n, 4, n_fragments)`."""
        return self.fragments(hidden[:, LEAVES]).log_softmax(2)

    def relation_scores(self, hidden: Tensor) -> Tensor:
        """Log-probabilities of the nodes 2, 4, 6 (SMFEA eq. 13), `(n, 3, n_relations)`."""
        return self.relations(hidden[:, RELATIONS]).log_softmax(2)


class TreeEmbedding(nn.Module):
    """All hidden states as one vector, each through a matrix of its own (SMFEA eq. 14)."""

    def __init__(self, node_dim: int, dim: int) -> None:
        super().__init__()
        self.maps = nn.Linear(7 * node_dim, dim)  # W_1 … W_7 side by side: their sum is one product

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states `(n, 7, h)` to `V^T` `(n, d)`."""
        return self.maps(hidden.flatten(1))

    def node_shares(self, hidden: Tensor) -> Tensor:
        """What each node adds to the embedding, `(n, 7, d)`; with the bias they add up to it."""
        maps = self.maps.weight.unflatten(1, (7, -1))  # (d, 7, h)
        return torch.einsum("nph,dph->npd", hidden, maps)


@dataclass(frozen=True)
class Structured:
    """What a structured encoder makes of a batch."""

    fragments: Tensor  # log-probabilities of the leaves, (n, 4, n_fragments)
    relations: Tensor  # log-probabilities of the other nodes, (n, 3, n_relations)
    embedding: Tensor | None = None  # V^T or S^T, (n, d); None where only categories are kept
    states: NodeStates | None = None  # of all places; None where only categories are kept


class StructuredEncoder(nn.Module):
    """VCS-tree or TCS-tree: instance vectors to states, categories and an embedding.

    With `node_input="unit"` instance vectors are scaled to entries of size 1 (root mean square)
    first. Without it they grow until gates and states sit at their ends, where nothing is learnt.

    Args:
        config: The structure, its cell and the sizes.
        n_fragments: Categories of the leaves.
        n_relations: Categories of the other nodes.
        twin: The other side's encoder, where both share `W^o`, `W_e`, `W_r` and `W_i`: eqs. 5 and
            12 to 14 print them without a side. What is shared is saved with the twin.
    """

    def __init__(
        self,
        config: SmfeaConfig,
        n_fragments: int,
        n_relations: int,
        twin: StructuredEncoder | None = None,
    ) -> None:
        super().__init__()
        dim, node_dim = config.joint_dim, config.node_dim
        self.unit_input = config.node_input == "unit"
        if config.structure == "tree":
            self.structure = TernaryTree(dim, node_dim, config.cell)
        else:
            self.structure = {"chain": Chain, "linear": LinearTree}[config.structure](dim, node_dim)
        if twin is not None:  # not registered here, so that nothing is saved or trained twice
            self.__dict__.update({name: getattr(twin, name) for name in SHARED})
            return
        self.inputs = NodeInputs(dim)
        self.classifier = NodeClassifier(node_dim, n_fragments, n_relations)
        self.embed = TreeEmbedding(node_dim, dim)

    def forward(self, instance: Tensor) -> Structured:
        """Instance vectors `(n, d)` through the structure."""
        if self.unit_input:
            instance = l2norm(instance) * instance.shape[1] ** 0.5
        states = self.structure(self.inputs(instance))
        hidden = states.hidden  # (n, 7, h)
        classify = self.classifier
        fragments, relations = classify.fragment_scores(hidden), classify.relation_scores(hidden)
        return Structured(fragments, relations, self.embed(hidden), states)
