"""Checks of notebooks 09 and 11: self-attention with a mask, and the cell of SMFEA's tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from xmr_course.checks import call, fail, passed, same
from xmr_course.checks.mistakes import Case, Mistake, compare

_NEVER = float("-inf")


def attention_weights(function: Callable) -> None:
    """Checks `function(parts, mask) -> weights` of SMFEA eqs. 1 and 2, with padding.

    `parts` `(n, n_parts, d)` are padded with garbage, `mask` `(n, n_parts)` is True on real ones.
    The weights `(n, n_parts)` are 0 on padding and add up to 1; products are not scaled.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name, cases = "attention_weights", _weight_cases()
    unpadded = _tensor(name, call(name, function, *(x.clone() for x in cases[0][1])))
    if unpadded.isnan().any():
        fail(
            name,
            "an image without padding gives nan.",
            "Every product became -inf: the mask is True on real regions; fill where it is False.",
        )
    _check(
        name, function, cases, _weights, _WEIGHT_MISTAKES,
        "Take one image of two regions, and write the mean and both products down by hand.",
    )  # fmt: skip
    parts = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [torch.nan, torch.inf]]])
    mask = torch.tensor([[True, True, False]])
    if not same(call(name, function, parts, mask), torch.tensor([[0.5, 0.5, 0.0]])):
        fail(
            name,
            "padding that holds nan comes through.",
            "0 · nan is nan: do not multiply by the mask, fill with `masked_fill(~mask[…, None], "
            "0)` before you add up or multiply.",
        )
    passed(name, len(cases) + 1)


def effective_parts(function: Callable) -> None:
    """Checks `function(weights) -> numbers`: how many parts attention really uses.

    `weights` are `(n, n_parts)`, zero on padding; the result is `exp(-Σ α ln α)`, `(n,)`.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name, cases = "effective_parts", _entropy_cases()
    _check(
        name, function, cases, _effective, _ENTROPY_MISTAKES,
        "Equal weights of 1/4 on four parts must give 4: write Σ α ln α down for them by hand.",
    )  # fmt: skip
    found = call(name, function, torch.tensor([[0.5, 0.5, 0.0]]))
    if not same(found, torch.tensor([2.0])):
        fail(
            name,
            f"a weight of exactly 0 gives {_tensor(name, found).flatten().tolist()}, right is 2.",
            "0 · ln 0 is nan for a computer and 0 for us: `torch.special.entr(weights)` knows, or "
            "`clamp` what goes into the logarithm.",
        )
    passed(name, len(cases) + 1)


def node_state(function: Callable) -> None:
    """Checks `function(z_i, z_f, z_o, z_u, children_f, children_c) -> (c, h)`, SMFEA eqs. 6-11.

    Each `z` `(n, m, h)` is the sum in the brackets of eqs. 6 to 9 for `m` nodes; `children_f` and
    `children_c` `(n, m, k, h)` are forget gates and cells of their children, `k` is 0 for leaves.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name, cases = "node_state", _node_cases()
    _check(
        name, function, cases, _node, _NODE_MISTAKES,
        "Take one node with hidden states of one number, and write eqs. 6 to 11 down by hand.",
        _pair,
    )  # fmt: skip
    passed(name, len(cases))


def children_sums(function: Callable) -> None:
    """Checks `function(hidden) -> sums`: what the nodes 2, 4 and 6 hear of their children.

    `hidden` `(n, 7, h)` are the states of places 1 to 7 in order; the result `(n, 3, h)` holds the
    summed states of the children of 2, 4 and 6, in that order.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name, cases = "children_sums", _sum_cases()
    _check(
        name, function, cases, _sums, _SUM_MISTAKES,
        "Draw the tree, write its seven numbers beside the places, and add up by hand.",
    )  # fmt: skip
    passed(name, len(cases))


def _check(
    name: str,
    function: Callable,
    cases: Sequence[Case],
    reference: Callable[..., Tensor],
    mistakes: Sequence[Mistake],
    advice: str,
    read: Callable[[str, Any], Tensor] | None = None,
) -> None:
    """Shapes first, on the first case; then `compare` on all."""
    read = read or _tensor
    title, arguments = cases[0]
    found = read(name, call(name, function, *(x.clone() for x in arguments)))
    right = reference(*arguments)
    if found.shape != right.shape:
        fail(name, f"{title}: the shape is {_shape(found, read)}, not {_shape(right, read)}.")
    compare(name, function, cases, reference, mistakes, lambda result: read(name, result), advice)


def _shape(values: Tensor, read: Callable) -> str:
    return f"{tuple(values.shape[1:] if read is _pair else values.shape)}"


def _tensor(name: str, result: Any) -> Tensor:
    try:
        return torch.as_tensor(result).detach().float()
    except (TypeError, ValueError, RuntimeError):
        fail(name, f"returned {type(result).__name__}.", "Return one tensor.")


def _pair(name: str, result: Any) -> Tensor:
    """Cells and hidden states, one behind the other."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        fail(name, f"returned {type(result).__name__}.", "Return two tensors: `return c, h`.")
    c, h = (_tensor(name, each) for each in result)
    if c.shape != h.shape:
        fail(name, f"c has the shape {tuple(c.shape)} and h {tuple(h.shape)}; both are alike.")
    return torch.stack([c, h])


# --- attention ------------------------------------------------------------------------------------


def _weight_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(9)

    def padded(counts: Sequence[int], width: int, d: int) -> tuple:
        parts = torch.randn(len(counts), width, d, generator=generator)
        mask = torch.arange(width) < torch.tensor(counts)[:, None]
        garbage = 2 * torch.randn(parts.shape, generator=generator) + 1
        return torch.where(mask[..., None], parts, garbage), mask

    by_hand = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]), torch.ones(1, 2, dtype=torch.bool)
    return [
        ("one image, two regions", by_hand),
        ("two images, two regions each", padded([2, 2], 2, 3)),
        ("images of one, three and two regions", padded([1, 3, 2], 3, 4)),
    ]


def _mean(parts: Tensor, mask: Tensor) -> Tensor:
    return parts.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)


def _products(parts: Tensor, query: Tensor) -> Tensor:
    return (parts * query[:, None]).sum(2)


def _softmax(products: Tensor, mask: Tensor, dim: int = 1) -> Tensor:
    return products.masked_fill(~mask, _NEVER).softmax(dim)


def _weights(parts: Tensor, mask: Tensor) -> Tensor:
    return _softmax(_products(parts, _mean(parts, mask)), mask)


def _by_mean(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A wrong solution with the right query: what it does with products and mask."""
    return lambda parts, mask: change(_products(parts, _mean(parts, mask)), mask)


_NO_MASK = "The mask is not used in the softmax: padding takes a share. Fill it with -inf before."
_WRONG_AXIS = "The softmax runs over the images of the batch (dim=0), not over each one's regions."
_MEAN_OF_PADDING = "Padding is part of the mean: leave it out of the sum, and out of the count."

_WEIGHT_MISTAKES: list[Mistake] = [
    (_by_mean(lambda p, m: p.softmax(0)), _WRONG_AXIS),
    (_by_mean(lambda p, m: (p * m).softmax(0)), _WRONG_AXIS),
    (_by_mean(lambda p, m: _softmax(p, m, 0).nan_to_num(0)), _WRONG_AXIS),
    (lambda x, m: _products(x, x.mean(1)).softmax(1),
     "The mask is not used at all: padding is part of the mean and takes a share of the weights."),
    (_by_mean(lambda p, m: p.softmax(1)), _NO_MASK),
    (lambda x, m: _softmax(_products(x, x.mean(1)), m), _MEAN_OF_PADDING),
    (lambda x, m: _softmax(_products(x, _mean(x, m) * m.sum(1, True) / m.shape[1]), m),
     "The sum is right, but divided by the width of the batch: divide by the number of an "
     "image's own regions."),
    (lambda x, m: _softmax(_products(x, _mean(x, m) * m.sum(1, True)), m),
     "The query is the sum of the regions; eq. 1 divides by their number."),
    (_by_mean(lambda p, m: p.softmax(1) * m),
     "Padding is set to 0 after the softmax, so the rest no longer adds up to one: fill the "
     "products with -inf before it."),
    (_by_mean(lambda p, m: (p * m).softmax(1)),
     "exp(0) is 1, not 0: products of padding must become -inf to take no weight."),
    (lambda x, m: _softmax(_products(x, _mean(x, m)) / x.shape[2] ** 0.5, m),
     "The products are divided by √d, as in the work that the paper follows; eq. 2 as printed "
     "is not scaled."),
    (lambda x, m: _softmax(_products(x, x.masked_fill(~m[..., None], _NEVER).amax(1)), m),
     "The query is the maximum of the regions; eq. 1 takes their mean."),
    (_by_mean(lambda p, m: p.masked_fill(~m, 0)),
     "These are the products; a softmax makes weights of them."),
    (lambda x, m: m / m.sum(1, keepdim=True),
     "All weights are equal: the products with the mean are missing."),
]  # fmt: skip


def _entropy_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(2)
    return [
        ("four equal weights", (torch.full((1, 4), 0.25),)),
        ("two images, three regions", (torch.randn(2, 3, generator=generator).softmax(1),)),
    ]


def _effective(weights: Tensor) -> Tensor:
    return torch.special.entr(weights).sum(1).exp()


_ENTROPY_MISTAKES: list[Mistake] = [
    (lambda w: torch.special.entr(w).sum(1), "This is the entropy; take `exp` of it."),
    (lambda w: -torch.special.entr(w).sum(1), "The minus of -Σ α ln α and the `exp` are missing."),
    (lambda w: 1 / _effective(w), "The minus of -Σ α ln α is missing."),
    (lambda w: (torch.special.entr(w).sum(1) / torch.tensor(2.0).log()).exp(),
     "The logarithm has base 2 and the exponential base e: take `log` for `exp`, or 2 ** …"),
    (lambda w: torch.special.entr(w).mean(1).exp(),
     "This is a mean over the parts; the entropy is a sum."),
    (lambda w: 1 / w.square().sum(1),
     "1 / Σ α² counts parts, too, in another way (it is the Rényi entropy of order 2); here we "
     "want exp(-Σ α ln α)."),
    (lambda w: torch.special.entr(w).sum().exp().expand(len(w)),
     "The sum runs over all images; take it for each (dim=1)."),
]  # fmt: skip


# --- tree -----------------------------------------------------------------------------------------


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


def _node(z_i: Tensor, z_f: Tensor, z_o: Tensor, z_u: Tensor, fk: Tensor, ck: Tensor) -> Tensor:
    return _shown(z_i.sigmoid() * z_u.tanh() + z_f.sigmoid() * (fk * ck).sum(2), z_o)


def _shown(c: Tensor, z_o: Tensor) -> Tensor:
    return torch.stack([c, z_o.sigmoid() * c.tanh()])


def _kept(change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A wrong solution: what it keeps of the children, from `f`, `f_k` and `c_k`."""
    return lambda i, f, o, u, fk, ck: _shown(
        i.sigmoid() * u.tanh() + change(f.sigmoid(), fk, ck), o
    )


def _without_sigmoid(i: Tensor, f: Tensor, o: Tensor, u: Tensor, fk: Tensor, ck: Tensor) -> Tensor:
    c = i * u.tanh() + f * (fk * ck).sum(2)
    return torch.stack([c, o * c.tanh()])


_NODE_MISTAKES: list[Mistake] = [
    (_kept(lambda f, fk, ck: (fk * ck).sum(2)),
     "The node's own forget gate f is missing in eq. 10: it multiplies the whole sum."),
    (_kept(lambda f, fk, ck: f * ck.sum(2)),
     "The children's gates f_k are missing: eq. 10 has two forget gates, the node's and each "
     "child's."),
    (_kept(lambda f, fk, ck: ck.sum(2)),
     "Both forget gates are missing in eq. 10."),
    (_kept(lambda f, fk, ck: f * fk.sum(2) * ck.sum(2)),
     "You add up before you multiply: each child's cell meets its own gate, Σ (f_k · c_k)."),
    (_kept(lambda f, fk, ck: f.square() * ck.sum(2)),
     "The node's own gate stands in the place of the children's: f_k comes from `children_f`."),
    (_kept(lambda f, fk, ck: f * (fk * ck).sum(2) / max(ck.shape[2], 1)),
     "Eq. 10 takes the sum over the children, not their mean."),
    (_kept(lambda f, fk, ck: f + (fk * ck).sum(2)),
     "f is added to the children's sum; eq. 10 multiplies."),
    (_kept(lambda f, fk, ck: (1 - f) * (fk * ck).sum(2)),
     "Here 1 - f forgets. In an LSTM f near 1 *keeps*; its name is unlucky."),
    (_kept(lambda f, fk, ck: torch.zeros_like(f)),
     "The children are missing: c = i · c̃ + f · Σ (f_k · c_k)."),
    (_kept(lambda f, fk, ck: f * (fk * ck).sum(1)),
     "The sum runs over the nodes (dim=1) instead of over each one's children (dim=2)."),
    (lambda i, f, o, u, fk, ck: _shown(i.sigmoid() * u + f.sigmoid() * (fk * ck).sum(2), o),
     "tanh of the candidate is missing (eq. 9)."),
    (lambda i, f, o, u, fk, ck: _shown(
        i.sigmoid() * u.sigmoid() + f.sigmoid() * (fk * ck).sum(2), o),
     "The candidate goes through tanh, not through a sigmoid: it is no gate (eq. 9)."),
    (lambda i, f, o, u, fk, ck: _shown(u.tanh() + f.sigmoid() * (fk * ck).sum(2), o),
     "The input gate i is missing: i · c̃."),
    (_without_sigmoid,
     "The gates miss their sigmoid (eqs. 6 to 8)."),
    (lambda i, f, o, u, fk, ck: _node(i, f, o, u, fk, ck)[:1] * torch.stack(
        [torch.ones_like(o), o.sigmoid()]),
     "c is right, but h = o · tanh(c) misses its tanh (eq. 11)."),
    (lambda i, f, o, u, fk, ck: torch.stack(
        [_node(i, f, o, u, fk, ck)[0], _node(i, f, o, u, fk, ck)[0].tanh()]),
     "c is right, but h misses the output gate (eq. 11)."),
    (lambda *z: _node(*z).flip(0), "c and h are swapped: `return c, h`."),
]  # fmt: skip


def _sum_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(7)
    powers = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]).reshape(1, 7, 1)
    return [
        ("the places hold 1, 2, 4, 8, 16, 32, 64", (powers,)),
        ("two trees", (torch.randn(2, 7, 2, generator=generator),)),
    ]


def _added(*children: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Sums of the given places (from 1), one group a node."""
    columns = [[place - 1 for place in group] for group in children]
    return lambda hidden: torch.stack([hidden[:, group].sum(1) for group in columns], dim=1)


_sums = _added((1, 3), (2, 6), (5, 7))

_SUM_MISTAKES: list[Mistake] = [
    (_added((1, 3), (5, 7), (2, 6)),
     "The sums are right, their order is not: the nodes come as 2, 4, 6; the root is in the "
     "middle."),
    (_added((2, 6), (1, 3), (5, 7)),
     "The sums are right, their order is not: the nodes come as 2, 4, 6; the root is in the "
     "middle."),
    (_added((1, 3), (3, 5), (5, 7)),
     "3 and 5 stand beside the root in the row, but its children in the tree are 2 and 6."),
    (_added((1, 3), (1, 3, 5, 7), (5, 7)),
     "The root hears its two children 2 and 6 only, not the leaves: they reach it through them."),
    (lambda hidden: _sums(torch.cat([hidden[:, 1:], hidden[:, :1]], dim=1)),
     "Places are numbered from 1, columns from 0: place 1 is `hidden[:, 0]`."),
    (lambda hidden: _sums(hidden) / 2, "h̃ is the sum of the children's states, not their mean."),
    (_added((1, 2, 3), (2, 4, 6), (5, 6, 7)),
     "A node's own state is not part of what it hears: h̃ is there before the state is."),
    (_added((1, 3), (2, 6, 1, 3, 5, 7), (5, 7)),
     "The root hears its two children 2 and 6 only, not the leaves: they reach it through them."),
    (_added((1, 2), (3, 4), (5, 6)),
     "This takes neighbours in the row; the children of 2 are 1 and 3, of 4 are 2 and 6."),
]  # fmt: skip
