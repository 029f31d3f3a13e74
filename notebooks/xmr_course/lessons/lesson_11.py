"""Lesson 11: tree encoders. Which node hears which, and the cell of SMFEA's tree (eqs. 5 to 14)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from xmr_course.lessons.checking import Case, Check, fail, one_tensor
from xmr_course.lessons.drawing import draw_arrow, legend_outside, panels, styled
from xmr_course.lessons.drawing import plot_bars as plot_bars
from xmr_course.lessons.drawing import plot_shares_by_size as plot_shares_by_size
from xmr_course.lessons.tree_drawing import plot_hearing as plot_hearing
from xmr_lib.figures import BLUE, GREY, ORANGE, VERMILION, Picture


@styled
def plot_head_to_tail(shares: ArrayLike, bias: ArrayLike, embedding: ArrayLike) -> Picture:
    """The nodes' shares of an embedding as arrows, one behind the other, up to their sum (eq. 14).

    `shares`: in a plane, `(7, 2)`.
    `bias`: where the sum starts, `(2,)`.
    """
    figure, axes = panels(6.4, 4.8)
    steps, bias = np.asarray(shares, dtype=float), np.asarray(bias, dtype=float)
    reach = np.concatenate([[bias], bias + steps.cumsum(axis=0)])
    for place, (start, step) in enumerate(zip(reach, steps, strict=False), start=1):
        leaf = place % 2 == 1
        look = (BLUE, 2.2, "-") if leaf else (ORANGE, 2.2, "--")
        draw_arrow(axes, start, start + step, *look)
        beside = np.array([-step[1], step[0]]) / max(float(np.hypot(*step)), 1e-12)
        how = {"textcoords": "offset points", "ha": "center", "va": "center"}
        axes.annotate(f"{place}", start + step / 2, 11 * beside, **how)
    star = {"color": VERMILION, "markersize": 16, "zorder": 3, "label": "embedding $V^T$"}
    axes.plot(*bias, "s", color=GREY, markersize=7, label="bias: where it starts")
    axes.plot(*np.asarray(embedding), "*", **star)
    axes.plot([], [], color=BLUE, label="fragments 1 3 5 7")
    axes.plot([], [], "--", color=ORANGE, label="relations 2 4 6")
    axes.update_datalim([*reach, np.zeros(2)])  # arrows do not count by themselves
    axes.margins(0.12)
    axes.autoscale_view()
    axes.set(xlabel="first direction", ylabel="second direction")
    axes.set_aspect("equal", adjustable="datalim")
    legend_outside(figure, axes, ncols=2)
    return figure


# --- one node -------------------------------------------------------------------------------------


def _node_state(
    z_i: Tensor, z_f: Tensor, z_o: Tensor, z_u: Tensor, children_f: Tensor, children_c: Tensor
) -> tuple[Tensor, Tensor]:
    """`function(z_i, z_f, z_o, z_u, children_f, children_c) -> (c, h)`, SMFEA eqs. 6-11.

    Each `z` `(n, m, h)` is the sum in the brackets of eqs. 6 to 9 for `m` nodes; `children_f` and
    `children_c` `(n, m, k, h)` are forget gates and cells of their children, `k` is 0 for leaves.
    """
    kept = z_f.sigmoid() * (children_f * children_c).sum(2)
    return _with_hidden(z_i.sigmoid() * z_u.tanh() + kept, z_o)


def _with_hidden(c: Tensor, z_o: Tensor) -> tuple[Tensor, Tensor]:
    return c, z_o.sigmoid() * c.tanh()


def _kept(change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable:
    """A wrong solution: what it keeps of the children, from `f`, `f_k` and `c_k`."""
    return lambda i, f, o, u, fk, ck: _with_hidden(
        i.sigmoid() * u.tanh() + change(f.sigmoid(), fk, ck), o
    )


def _new(change: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    """A wrong solution: what it takes in, from the brackets of eqs. 6 and 9."""
    return lambda i, f, o, u, fk, ck: _with_hidden(change(i, u) + f.sigmoid() * (fk * ck).sum(2), o)


def _without_sigmoid(
    i: Tensor, f: Tensor, o: Tensor, u: Tensor, fk: Tensor, ck: Tensor
) -> tuple[Tensor, Tensor]:
    c = i * u.tanh() + f * (fk * ck).sum(2)
    return c, o * c.tanh()


def _node_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(11)

    def nodes(n: int, m: int, k: int, h: int) -> tuple:
        sums = [torch.randn(n, m, h, generator=generator) for _ in range(4)]
        gates = torch.rand(n, m, k, h, generator=generator)
        return *sums, gates, torch.randn(n, m, k, h, generator=generator)

    return [
        ("two nodes with two children each", nodes(1, 2, 2, 1)),
        ("a batch of two roots", nodes(2, 1, 2, 2)),
        ("a leaf", nodes(1, 1, 0, 2)),
    ]


def _two_tensors(result: Any, *_: Any) -> Tensor:
    """Cells and hidden states, one behind the other."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        fail(f"returned {type(result).__name__}.", "Return two tensors: `return c, h`.")
    c, h = map(one_tensor, result)
    if c.shape != h.shape:
        fail(f"c has the shape {tuple(c.shape)} and h {tuple(h.shape)}; both are alike.")
    return torch.stack([c, h], dim=-1)


check_node_state = Check(
    _node_state,
    _node_cases(),
    [
        _kept(lambda f, fk, ck: (fk * ck).sum(2)),
        "The node's own forget gate f is missing in eq. 10: it multiplies the whole sum.",
        _kept(lambda f, fk, ck: f * ck.sum(2)),
        "The children's gates f_k are missing: eq. 10 has two forget gates, the node's and each "
        "child's.",
        _kept(lambda f, fk, ck: ck.sum(2)),
        "Both forget gates are missing in eq. 10.",
        _kept(lambda f, fk, ck: f * fk.sum(2) * ck.sum(2)),
        "You add up before you multiply: each child's cell meets its own gate, Σ (f_k · c_k).",
        _kept(lambda f, fk, ck: f.square() * ck.sum(2)),
        "The node's own gate stands in the place of the children's: f_k comes from `children_f`.",
        _kept(lambda f, fk, ck: f * (fk * ck).sum(2) / max(ck.shape[2], 1)),
        "Eq. 10 takes the sum over the children, not their mean.",
        _kept(lambda f, fk, ck: f + (fk * ck).sum(2)),
        "f is added to the children's sum; eq. 10 multiplies.",
        _kept(lambda f, fk, ck: (1 - f) * (fk * ck).sum(2)),
        "Here 1 - f forgets. In an LSTM f near 1 *keeps*; its name is unlucky.",
        _kept(lambda f, fk, ck: torch.zeros_like(f)),
        "The children are missing: c = i · c̃ + f · Σ (f_k · c_k).",
        _kept(lambda f, fk, ck: f * (fk * ck).sum(1)),
        "The sum runs over the nodes (dim=1) instead of over each one's children (dim=2).",
        _new(lambda i, u: i.sigmoid() * u),
        "tanh of the candidate is missing (eq. 9).",
        _new(lambda i, u: i.sigmoid() * u.sigmoid()),
        "The candidate goes through tanh, not through a sigmoid: it is no gate (eq. 9).",
        _new(lambda i, u: u.tanh()),
        "The input gate i is missing: i · c̃.",
        _without_sigmoid,
        "The gates miss their sigmoid (eqs. 6 to 8).",
        lambda *z: (_node_state(*z)[0], z[2].sigmoid() * _node_state(*z)[0]),
        "c is right, but h = o · tanh(c) misses its tanh (eq. 11).",
        lambda *z: (_node_state(*z)[0], _node_state(*z)[0].tanh()),
        "c is right, but h misses the output gate (eq. 11).",
        lambda *z: _node_state(*z)[::-1],
        "c and h are swapped: `return c, h`.",
    ],
    "Take one node with hidden states of one number, and write eqs. 6 to 11 down by hand.",
    _two_tensors,
)

# --- sums of children -----------------------------------------------------------------------------


def _added(*children: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Sums of the given places (from 1), one group for each node."""
    columns = [[place - 1 for place in group] for group in children]
    return lambda hidden: torch.stack([hidden[:, group].sum(1) for group in columns], dim=1)


def _children_sums(hidden: Tensor) -> Tensor:
    """`function(hidden) -> sums`: what the nodes 2, 4 and 6 hear of their children.

    `hidden` `(n, 7, h)` are the states of places 1 to 7 in order; the result `(n, 3, h)` holds the
    summed states of the children of 2, 4 and 6, in that order.
    """
    return _added((1, 3), (2, 6), (5, 7))(hidden)


_POWERS = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]).reshape(1, 7, 1)
_RANDOM = torch.randn(2, 7, 2, generator=torch.Generator().manual_seed(7))
_ORDER = (
    "The sums are right, their order is not: the nodes come as 2, 4, 6; the root is in the middle."
)
_LEAVES = (
    "The root hears its two children 2 and 6 only, not the leaves: they reach it through them."
)
check_children_sums = Check(
    _children_sums,
    [("the places hold 1, 2, 4, 8, 16, 32, 64", (_POWERS,)), ("two trees", (_RANDOM,))],
    [
        _added((1, 3), (5, 7), (2, 6)),
        _ORDER,
        _added((2, 6), (1, 3), (5, 7)),
        _ORDER,
        _added((1, 3), (3, 5), (5, 7)),
        "3 and 5 stand beside the root in the row, but its children in the tree are 2 and 6.",
        _added((1, 3), (1, 3, 5, 7), (5, 7)),
        _LEAVES,
        lambda hidden: _children_sums(hidden.roll(-1, 1)),
        "Places are numbered from 1, columns from 0: place 1 is `hidden[:, 0]`.",
        lambda hidden: _children_sums(hidden) / 2,
        "h̃ is the sum of the children's states, not their mean.",
        _added((1, 2, 3), (2, 4, 6), (5, 6, 7)),
        "A node's own state is not part of what it hears: h̃ is there before the state is.",
        _added((1, 3), (2, 6, 1, 3, 5, 7), (5, 7)),
        _LEAVES,
        _added((1, 2), (3, 4), (5, 6)),
        "This takes neighbours in the row; the children of 2 are 1 and 3, of 4 are 2 and 6.",
    ],
    "Draw the tree, write its seven numbers beside the places, and add up by hand.",
)
