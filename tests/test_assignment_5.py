"""Assignment 5, referral trees and the tree cell: solutions get the marks they deserve."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("nbgrader", reason='needs nbgrader: pip install -e ".[teaching]"')

from assignments import harness, wrong_5
from xmr_course.grading.course import assignments_dir, read, source_of

from xmr_lib.encoders.tree import TernaryTree
from xmr_lib.language.referral_tree import referral_tree
from xmr_lib.language.tagging import load_tagger
from xmr_lib.losses import node_cross_entropy

NAME = "5_referral_trees"
SOURCE = read(source_of(assignments_dir(), NAME))
RELEASE = read(assignments_dir() / "release" / NAME / f"{NAME}.ipynb")


@pytest.fixture(scope="module")
def solved():
    names, failed = harness.run(SOURCE)
    assert not failed
    return names


@pytest.mark.slow
def test_marks(tmp_path):
    harness.check(NAME, wrong_5.WRONG, tmp_path)


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")  # one of them overflows
@pytest.mark.parametrize("wrong", wrong_5.MORE, ids=lambda wrong: wrong.name)
def test_more_mistakes_lose_their_points(wrong):
    harness.check_without_kernel(SOURCE, RELEASE, wrong)


def test_the_captions_are_tagged_and_read_as_the_kit_does(solved):
    for caption in map(solved["tagged"], solved["CAPTIONS"]):
        sentence = " ".join(token.word for token in caption)
        by_the_kit = [(t.word, t.lemma, t.tag) for t in load_tagger()(sentence)]
        assert [tuple(token) for token in caption] == by_the_kit
        chunks = solved["chunks_of"](caption)
        tree = solved["places"](chunks, solved["root_of"](chunks))
        assert tree == referral_tree(sentence).nodes, sentence


def test_the_tree_of_the_solution_is_the_tree_of_the_kit(solved):
    torch.manual_seed(0)
    tree = TernaryTree(5, 3).double()
    torch.nn.init.zeros_(tree.from_input.bias)  # the equations have none
    weights = tree.from_input.weight.detach(), tree.from_children.weight.detach()
    W, U = ({g: w.numpy() for g, w in zip("ifou", m.chunk(4), strict=True)} for m in weights)
    inputs = torch.randn(7, 5, dtype=torch.float64)

    def cell(x, children):
        return solved["node"](x, children, W, U)

    found = solved["whole_tree"](inputs.numpy(), cell)
    with torch.no_grad():
        states = tree(inputs[None])
    kit = states.hidden[0], states.memory[0], states.forget_gate[0]
    for ours, theirs in zip(zip(*found, strict=True), kit, strict=True):
        np.testing.assert_allclose(np.stack(ours), theirs.numpy(), atol=1e-12)


def test_the_cross_entropy_of_the_solution_is_that_of_the_kit(solved):
    generator = torch.Generator().manual_seed(1)
    leaves, others = (torch.randn(6, n, 4, generator=generator) for n in (4, 3))
    labels = torch.randint(-1, 4, (6, 7), generator=generator)
    right = node_cross_entropy(leaves.log_softmax(2), others.log_softmax(2), labels)
    ours = solved["node_cross_entropy"](leaves.numpy(), labels[:, ::2].numpy())
    ours = ours + solved["node_cross_entropy"](others.numpy(), labels[:, 1::2].numpy())
    np.testing.assert_allclose(ours, right.numpy(), rtol=1e-5)
