"""What the reader writes in lesson 02 is the library's VSE++, step by step."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from xmr_lib import models, recipes
from xmr_lib.data.batches import Pairs, loader
from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.encoders.backbone import stage_columns
from xmr_lib.losses import triplet_loss

LESSON = Path(__file__).parents[1] / "notebooks" / "02_vsepp_and_the_hardest_negative.ipynb"
STAGES = (3, 4, 5, 6)
CAPTIONS = [
    "a red dog under a tree", "the dog sits under a tree", "a cat", "two cats, a dog and a ball",
    "a ball", "a red ball on a red box", "the cat chases a ball", "a dog",
]  # fmt: skip


@pytest.fixture(scope="module")
def build() -> dict:
    """The names that the cells of section 8 define, up to the loop over the toy scenes."""
    cells = nbformat.read(LESSON, 4).cells
    (first,) = (i for i, cell in enumerate(cells) if "Build it once, whole" in cell.source)
    found = {"torch": torch, "np": np}
    for cell in cells[first:]:
        if cell.cell_type == "code":
            if "def my_epoch" in cell.source:
                return found
            exec(cell.source, found)
    raise AssertionError("section 8 has no training loop")


class Data:
    """Eight captions of five images."""

    captions, n_captions = CAPTIONS, len(CAPTIONS)
    image_of_caption = np.array([0, 0, 1, 2, 3, 3, 4, 2])
    rows = np.arange(5)


def test_the_same_seed_gives_the_same_losses_vectors_and_weights(build):
    pooled = torch.rand(5, 2 * sum(STAGES), generator=torch.Generator().manual_seed(1))
    recipe = recipes.get("VSE++", "toy", joint_dim=8, rnn_dim=8, word_dim=4, batch_size=4)

    vocabulary = Vocabulary.build(CAPTIONS, threshold=1)
    mine = build["build_vocabulary"](CAPTIONS, threshold=1)
    assert tuple(mine) == vocabulary.words

    torch.manual_seed(3)
    library = models.build(recipe.model, len(vocabulary), STAGES)
    library.fit_features(pooled)
    torch.manual_seed(3)
    c4 = pooled[:, stage_columns(STAGES, "avg", 4)]
    images = build["MyImageEncoder"](c4, 8)
    captions = build["MyCaptionEncoder"](len(mine), 4, 8)
    weights = [*images.parameters(), *captions.parameters()]

    optimisers = [torch.optim.Adam(p, lr=0.01) for p in (library.parameters(), weights)]
    batches = loader(Pairs(Data, vocabulary.encode(CAPTIONS), pooled.numpy()), 4, seed=0)
    for epoch, hardest in enumerate((False, True, True)):
        batches.batch_sampler.set_epoch(epoch)
        for batch, chosen in zip(batches, batches.batch_sampler, strict=True):
            rows = torch.from_numpy(Data.image_of_caption[chosen])
            tokens, lengths = build["padded"](
                [build["numbers_of"](CAPTIONS[caption], mine) for caption in chosen]
            )
            assert torch.equal(tokens, batch.tokens) and torch.equal(lengths, batch.lengths)
            ours = images(c4[rows]), captions(tokens, lengths)
            theirs = library.encode_images(batch).vectors, library.encode_captions(batch).vectors
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
            loss = build["my_loss"](ours[0] @ ours[1].T, rows, recipe.model.margin, hardest)
            expected = library.loss(batch, "hardest" if hardest else "all")["loss"]
            torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
            for optimiser, value in zip(optimisers, (expected, loss), strict=True):
                optimiser.zero_grad()
                value.backward()
                optimiser.step()
    for ours, theirs in zip(weights, library.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("hardest", [True, False])
def test_the_loss_is_the_library_s_with_a_twin_in_the_batch(build, hardest):
    scores = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    images = torch.tensor([0, 1, 0, 2, 3, 4])
    parts = triplet_loss(
        scores, 0.2, "hardest" if hardest else "all", images[:, None] == images[None, :]
    )
    found = build["my_loss"](scores, images, 0.2, hardest)
    torch.testing.assert_close(found, sum(parts.values()))
