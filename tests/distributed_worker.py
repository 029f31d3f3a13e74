"""What two processes compute together in the tests, and one process alone for comparison.

`torchrun … distributed_worker.py FOLDER` leaves `results-<process>.pt` in the folder.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from made_data import STAGE_DIMS, make

from xmr_lib import distributed, models, recipes, trainer
from xmr_lib.data.batches import Batch, Pairs, loader
from xmr_lib.data.regions import Regions
from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.language.categories import Categories
from xmr_lib.language.concepts import Concepts
from xmr_lib.language.knowledge import Knowledge
from xmr_lib.losses import triplet_loss
from xmr_lib.similarity import Encoded, Parts

SIZES = {"word_dim": 8, "rnn_dim": 12, "joint_dim": 12, "vocabulary_threshold": 1}
TREES = {"node_dim": 4, "concept_hidden": 7, "attention_dropout": 0.0, "word_dropout": 0.0}
# What is trained, by the names of the tests; the batch is odd, so that shares differ in size.
CASES = {
    "VSE++": ("VSE++", {}),
    "VSE++ order": ("VSE++", {"similarity": "order"}),
    "VSE++ all negatives": ("VSE++", {"negatives": "all", "mask_same_image": False}),
    "RFE": ("RFE", {}),
    "SCAN t-i AVG": ("SCAN t-i AVG", {}),
    "SCAN i-t LSE": ("SCAN i-t LSE", {}),
    "SCAN-RFE t-i AVG": ("SCAN-RFE t-i AVG", {}),
    "SMFEA": ("SMFEA", TREES),
    "SMFEA sum": ("SMFEA", {**TREES, "node_reduction": "sum", "null": "class"}),
    "SMFEA [1.0, 0.0, 0.0]": ("SMFEA [1.0, 0.0, 0.0]", TREES),  # idle parameters
    "CVSE": ("CVSE", TREES),  # batch normalisation, three ranking losses
}
BATCH, STEPS, REGION_DIM = 31, 10, 5


def pairs_of(of_regions: bool, process: int, n_processes: int) -> tuple[Pairs, Vocabulary]:
    """280 pairs: nine batches of 31, and one of a single pair, which cannot be shared."""
    data, features = make(n_train=200)
    data = data.split("train")
    chosen, left = [], BATCH * (STEPS - 1) + 1
    for image, n_captions in enumerate(np.bincount(data.image_of_caption)):
        if n_captions <= left:
            chosen.append(image)
            left -= n_captions
    assert left == 0
    data = data.subset(np.array(chosen))
    vocabulary = Vocabulary.build(data.captions, 1)
    rng = np.random.default_rng(0)
    nodes = None
    if of_regions:
        counts = rng.integers(1, 7, len(features))
        regions = rng.standard_normal((len(features), 6, REGION_DIM)).astype(np.float32)
        features = Regions(regions, counts, None, "made", "none", "none", "key", Path("none"))
        nodes = rng.integers(-1, 3, (data.n_captions, 7))
        nodes[:, 1::2] = rng.integers(-1, 2, (data.n_captions, 3))
    tokens = vocabulary.encode(data.captions)
    pairs = Pairs(data, tokens, features, None, nodes, process, n_processes)
    return pairs, vocabulary


def knowledge(n_words: int, n: int = 4) -> Knowledge:
    """Three fragments, two relations, four concepts."""
    words = tuple(f"concept{i}" for i in range(n))
    together = 5 * (np.ones((n, n), dtype=int) - np.eye(n, dtype=int))
    concepts = Concepts(
        words=words,
        kinds=(2, 1, 1),
        counts=np.full(n, 9),
        together=together,
        forms={word: i for i, word in enumerate(words)},
    )
    word_concepts = np.full(n_words, -1)
    word_concepts[8 : 8 + n] = range(n)
    vectors = np.random.default_rng(0).standard_normal((n, 3))
    categories = Categories(("dog", "ball", "red car"), ("play with", "on"))
    return Knowledge(categories, concepts, vectors, word_concepts)


def steps(case: str, process: int = 0, n_processes: int = 1) -> dict:
    """Ten steps in float64 through the kit's own training loop.

    Returns:
        Every step's named losses, the weights and buffers at the end, and the gradients of the
        last step.
    """
    name, overrides = CASES[case]
    recipe = recipes.get(name, "toy", **{**SIZES, **overrides, "batch_size": BATCH, "lr": 1e-3})
    pairs, vocabulary = pairs_of(recipe.of_regions, process, n_processes)
    torch.manual_seed(0)
    dims = (REGION_DIM,) if recipe.of_regions else STAGE_DIMS
    model = models.build(recipe.model, len(vocabulary), dims, knowledge=knowledge(len(vocabulary)))
    model.double()
    accelerator = trainer.accelerator_for(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.training.lr)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    losses, sizes = [], []
    for batch in loader(pairs, recipe.training.batch_size, seed=0):
        losses.append(trainer.train_epoch(wrapped, [precise(batch)], optimizer, accelerator, 2.0))
        sizes.append((len(batch), batch.n_pairs))
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {"losses": losses, "weights": model.state_dict(), "grads": grads, "sizes": sizes}


def precise(batch: Batch) -> Batch:
    """Features in float64, so that rounding cannot hide a mistake."""
    seen = {name: getattr(batch, name) for name in ("pooled", "regions")}
    return replace(batch, **{k: v.double() for k, v in seen.items() if v is not None})


def toy_loss(rows: torch.Tensor) -> torch.Tensor:
    """A loss of each row `(n,)` that depends on all the others."""
    return (rows @ rows.T).cos() @ torch.arange(1.0, len(rows) + 1, dtype=rows.dtype)


ROWS = torch.arange(15, dtype=torch.float64).view(5, 3) / 7  # 2 of process 0, 3 of process 1


def gathering(process: int) -> dict:
    """Rows of two processes, gathered; gradients with the gather, and with a detached one."""
    own = ROWS[:2] if process == 0 else ROWS[2:]
    found = {}
    for kind, gather in (("whole", distributed.gather_with_gradient), ("detached", detached)):
        rows = own.clone().requires_grad_()
        gathered = gather(rows, [2, 3])
        toy_loss(gathered).split([2, 3])[process].sum().backward()  # the own rows' losses only
        found |= {kind: gathered.detach(), f"{kind} gradient": rows.grad}
    numbers = distributed.gather_with_gradient(torch.arange(2 + process), [2, 3])
    share = distributed.Share((2, 3), process)
    lengths = torch.tensor([1, 3]) if process == 0 else torch.tensor([2, 1, 4])
    padded = own[:, None].expand(-1, 4, -1) * torch.arange(1, 5)[:, None]
    items = share.gather_encoded(Encoded.of_parts(Parts.from_padded(padded, lengths)))
    return found | {
        "numbers": numbers,
        "flat": items.parts.flat,
        "starts": items.parts.starts,
        "vectors": items.vectors,
    }


def detached(rows: torch.Tensor, sizes) -> torch.Tensor:
    """The usual mistake: others' rows without gradient, the own rows with it."""
    gathered = distributed.gather_with_gradient(rows.detach(), sizes).split(list(sizes))
    process = dist.get_rank()
    return torch.cat([rows if i == process else piece for i, piece in enumerate(gathered)])


def hardest(process: int) -> dict:
    """Four pairs whose hardest negatives are all with the other process."""
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.6, 0.8]], dtype=torch.float64)
    share = distributed.Share((2, 2), process)
    own = Encoded(vectors[share.rows])
    recipe = recipes.get("VSE++", "toy", **SIZES)
    model = models.build(recipe.model, 9, STAGE_DIMS)
    found = {}
    for name, some in (("shared", share), ("alone", None)):
        images = torch.arange(4)[share.rows]
        batch = Batch(images, share=some)
        scores = model.batch_scores(own, own, batch)
        parts = model.ranking_loss(scores, batch)
        found[name] = parts["L_img"] + parts["L_sent"]
    right = triplet_loss(vectors @ vectors.T, recipe.model.margin)
    return found | {"expected": right["L_img"] + right["L_sent"]}


def negative_controls(process: int) -> dict:
    """Ten steps as they would be with two usual mistakes; they must not equal one process's."""
    right = distributed.Share.gather, distributed.Share.gather_encoded
    found = {}
    distributed.Share.gather = lambda self, rows: (
        detached(rows, self.sizes) if rows.is_floating_point() else right[0](self, rows)
    )
    found["detached"] = steps("VSE++", process, 2)
    distributed.Share.gather = right[0]
    pairs = Pairs.__getitems__
    Pairs.__getitems__ = lambda self, captions: replace(pairs(self, captions), share=None)
    found["negatives of its own only"] = steps("VSE++", process, 2)
    Pairs.__getitems__ = pairs
    return found


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.join()
    process, n = dist.get_rank(), dist.get_world_size()
    found = {case: steps(case, process, n) for case in CASES}
    if n == 2:
        found |= {"gathering": gathering(process), "hardest": hardest(process)}
        found |= negative_controls(process)
    torch.save(found, folder / f"results-{process}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
