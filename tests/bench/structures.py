"""SMFEA: what trees add to a training step, and the batched tree against one node at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bench.rows import Row, at_most, faster, in_turns
from xmr_lib import models, recipes
from xmr_lib.data.batches import Batch
from xmr_lib.encoders.tree import TernaryTree
from xmr_lib.language.categories import Categories
from xmr_lib.language.concepts import Concepts
from xmr_lib.language.knowledge import Knowledge
from xmr_lib.recipes import Recipe

VOCABULARY = 8481
_CHILDREN = {2: (1, 3), 4: (2, 6), 6: (5, 7)}


def bench_structures(batch: int = 128, steps: int = 4, repeats: int = 3) -> list[Row]:
    """Training steps of SMFEA with and without trees, 36 regions of 2,048, at the paper's sizes."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    knowledge = random_knowledge(rng)
    lengths = torch.from_numpy(np.sort(np.clip(rng.gamma(6, 2.05, batch).astype(int), 2, 60) + 2))
    data = Batch(
        torch.arange(batch),
        torch.randint(4, VOCABULARY, (batch, int(lengths.max()))),
        lengths,
        regions=torch.rand(batch, 36, 2048),
        region_counts=torch.full((batch,), 36),
        nodes=torch.from_numpy(rng.integers(-1, 247, (batch, 7))),
    )
    with_trees = recipes.get("SMFEA", "paper")

    def step(recipe: Recipe) -> Callable[[], None]:
        model = models.build(recipe.model, VOCABULARY, (2048,), knowledge=knowledge)
        optimizer = torch.optim.Adam(model.parameters(), lr=recipe.training.lr)

        def work() -> None:
            for _ in range(steps):
                optimizer.zero_grad()
                model(data)["loss"].backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.training.grad_clip)
                optimizer.step()

        return work

    without = recipes.get("SMFEA w/o trees", "paper")
    child_sum = with_trees.replaced(cell="child_sum")
    plain, ours, other = (
        seconds / steps
        for seconds in in_turns(step(without), step(with_trees), step(child_sum), repeats=repeats)
    )
    return [
        at_most(f"SMFEA training step, batch {batch}, against w/o trees", plain, ours, 1.5),
        Row("the same with child-sum cells", plain, other, "reported", other / plain, None),
        *bench_tree(batch),
    ]


def bench_tree(batch: int = 128, dim: int = 1024, node_dim: int = 128) -> list[Row]:
    """Both ways through the tree, forward and backward: all items at once, and node by node."""
    tree = TernaryTree(dim, node_dim)
    inputs = torch.randn(batch, 7, dim, requires_grad=True)
    plain, ours = in_turns(
        lambda: plain_tree(tree, inputs).sum().backward(),
        lambda: tree(inputs).hidden.sum().backward(),
        repeats=3,
    )
    return [faster(f"tree of SMFEA, {batch} items, both ways", plain, ours, 5)]


def plain_tree(tree: TernaryTree, inputs: Tensor) -> Tensor:
    """Hidden states `(n, 7, h)`, item by item and node by node, as eqs. 6 to 11 read."""
    w, b = tree.from_input.weight, tree.from_input.bias
    u = tree.from_children.weight

    def node(place: int, item: Tensor, found: dict[int, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        below = [node(child, item, found) for child in _CHILDREN.get(place, ())]
        summed = sum((h for h, _, _ in below), torch.zeros(u.shape[1]))
        i, f, o, new = (w @ item[place - 1] + b + u @ summed).chunk(4)
        i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
        c = i * new.tanh()
        for _, child_c, child_f in below:
            c = c + f * child_f * child_c
        found[place] = o * c.tanh()
        return found[place], c, f

    rows = []
    for item in inputs:
        found: dict[int, Tensor] = {}
        node(4, item, found)
        rows.append(torch.stack([found[place] for place in range(1, 8)]))
    return torch.stack(rows)


def random_knowledge(rng: np.random.Generator, n_concepts: int = 300) -> Knowledge:
    """Dictionaries of the paper's sizes, and concepts that occur together at random."""
    categories = Categories(
        tuple(f"fragment {i}" for i in range(1440)), tuple(f"relation {i}" for i in range(247))
    )
    counts = rng.integers(310, 3000, n_concepts)
    together = np.triu(rng.integers(0, 900, (n_concepts, n_concepts)), 1)
    words = tuple(f"concept{i}" for i in range(n_concepts))
    concepts = Concepts(
        words=words,
        kinds=(210, 60, 30),
        counts=counts,
        together=together + together.T,
        forms={word: i for i, word in enumerate(words)},
    )
    word_concepts = np.full(VOCABULARY, -1)
    word_concepts[4 : 4 + n_concepts] = np.arange(n_concepts)
    vectors = rng.standard_normal((n_concepts, 300))
    return Knowledge(categories, concepts, vectors, word_concepts)
