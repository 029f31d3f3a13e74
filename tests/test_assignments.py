"""All assignments: right and wrong solutions get the marks they deserve, and agree with the kit."""

from __future__ import annotations

import functools
import re
from importlib import import_module

import numpy as np
import pytest
import torch

pytest.importorskip("nbgrader", reason='needs nbgrader: pip install -e ".[teaching]"')

from assignments import harness
from xmr_course.grading.course import assignment_ids, course_dir, id_of, read, source_of, unmarked
from xmr_course.grading.grading import grade_one
from xmr_course.grading.submissions import Submission

from xmr_lib import evaluation, losses, reranking
from xmr_lib.cross_attention import CrossAttention, cross_attention_scores
from xmr_lib.encoders.backbone import pool_stages
from xmr_lib.encoders.image import rich_image_features
from xmr_lib.encoders.text import TextEncoder, pool_words, rich_text_features, word_mask
from xmr_lib.encoders.tree import TernaryTree
from xmr_lib.language.referral_tree import referral_tree
from xmr_lib.language.tagging import load_tagger
from xmr_lib.models.dual import DualConfig
from xmr_lib.similarity import Parts, l2norm

NAMES = assignment_ids(course_dir())
SOURCES = {name: read(source_of(course_dir(), name)) for name in NAMES}
RELEASES = {name: read(course_dir() / "release" / name / f"{name}.ipynb") for name in NAMES}
WRONG = {name: import_module(f"assignments.wrong_{name[0]}").WRONG for name in NAMES}
MISTAKES = [(name, wrong) for name in NAMES for wrong in WRONG[name]]


@functools.cache
def solved(number: int) -> dict:
    """Names of the solved notebook of an assignment."""
    names, failed = harness.run(SOURCES[NAMES[number - 1]])
    assert not failed
    return names


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_solved_and_untouched_notebooks_are_graded(name):
    """Through a kernel, as submissions are."""
    graded = {
        kind: grade_one(
            Submission("ada", name, "", notebook=notebook),
            SOURCES[name],
            RELEASES[name],
            {"timeout": 60},
        )
        for kind, notebook in (("solved", SOURCES[name]), ("untouched", RELEASES[name]))
    }
    points = {kind: each.automatic for kind, each in graded.items()}
    assert points == {"solved": graded["solved"].automatic_of, "untouched": 0}
    assert graded["solved"].remarks == ()
    assert graded["untouched"].remarks[0].startswith("left blank: Task 1 · ")


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")  # one of them overflows
@pytest.mark.parametrize(("name", "wrong"), MISTAKES, ids=[f"{n[0]} {w.name}" for n, w in MISTAKES])
def test_a_mistake_loses_the_points_that_it_should(name, wrong):
    harness.check(SOURCES[name], RELEASES[name], wrong)


@pytest.mark.parametrize("name", NAMES)
def test_mistakes_are_enough(name):
    assert len(WRONG[name]) >= 5 and len({wrong.name for wrong in WRONG[name]}) == len(WRONG[name])
    assert any(wrong.hidden_only for wrong in WRONG[name]), "hidden tests must catch something"


# --- solutions say what the kit says --------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
def test_ranks_and_recalls(ties):
    rng = np.random.default_rng(0)
    owner = rng.permutation(np.repeat(np.arange(30), rng.integers(1, 8, 30)))
    scores = rng.integers(0, 9, (30, len(owner))) if ties else rng.random((30, len(owner)))
    kit = evaluation.evaluate_scores(scores.astype(float), owner)
    i2t, t2i = solved(1)["ranks_both_ways"](scores, owner, solved(1)["rank"])
    np.testing.assert_allclose(i2t, kit.i2t.expected() + 1)
    np.testing.assert_allclose(t2i, kit.t2i.expected() + 1)
    if not ties:  # under ties the kit counts probabilities, and the median is a place
        ours, theirs = solved(1)["metrics"](i2t, t2i), kit.metrics()
        assert {name: ours[name] for name in ours if "medr" not in name} == pytest.approx(
            {name: theirs[name] for name in ours if "medr" not in name}
        )


def test_triplet_losses():
    generator = torch.Generator().manual_seed(0)
    images = torch.tensor([3, 1, 3, 7, 9, 1])
    scores = torch.rand(6, 6, generator=generator) * 2 - 1
    same = images[:, None] == images[None, :]
    for ours, options in (
        (solved(2)["all_negatives"](scores, 0.3), {"negatives": "all"}),
        (solved(2)["hardest_negative"](scores, 0.3), {}),
        (solved(2)["hardest_of_other_images"](scores, images, 0.3), {"same_image": same}),
    ):
        torch.testing.assert_close(
            ours, tuple(losses.triplet_loss(scores, 0.3, **options).values())
        )
    assert solved(2)["plateau"](128, 0.2, "hardest") == losses.plateau(128, 0.2)


def test_rich_features():
    answers = solved(3)
    torch.manual_seed(0)
    maps = [torch.randn(3, c, 4, 4) for c in (2, 3, 4, 5)]
    ours = answers["rich_image"](maps, (1, 2, 3, 4), (4,), answers["pool"], answers["unit"])
    torch.testing.assert_close(ours, rich_image_features(pool_stages(tuple(maps)), (2, 3, 4, 5)))

    encoder = TextEncoder(9, DualConfig(word_dim=4, rnn_dim=3, joint_dim=5, bidirectional=True))
    words, lengths = torch.randn(4, 6, 4), torch.tensor([6, 1, 3, 2])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        words, lengths, batch_first=True, enforce_sorted=False
    )
    states = torch.nn.utils.rnn.pad_packed_sequence(encoder.rnn(packed)[0], batch_first=True)[0]
    context = answers["context"](states, lengths)
    torch.testing.assert_close(context, encoder.context(words, lengths))
    for how in ("avg", "max"):
        pooled = answers["pool_words"](words, lengths, how)
        torch.testing.assert_close(pooled, pool_words(words, word_mask(lengths, 6), how))
        ours = answers["rich_text"](context, pooled, answers["unit"])
        torch.testing.assert_close(ours, rich_text_features(context, pooled))
    tiny = torch.tensor([[0.0, 0.0], [1e-30, 0.0], [3.0, 4.0]])
    torch.testing.assert_close(answers["unit"](tiny), l2norm(tiny))


@pytest.mark.parametrize("direction", ["t-i", "i-t"])
@pytest.mark.parametrize("how", ["AVG", "LSE"])
def test_cross_attention_scores(direction, how):
    answers = solved(4)
    k, l = torch.tensor([7, 1, 4, 36]), torch.tensor([12, 3, 1, 5, 20])  # noqa: E741
    regions, region_mask = answers["made"](0, k.tolist(), 16)
    words, word_mask = answers["made"](1, l.tolist(), 16, unit=False)
    found = answers["scan_scores"](regions, region_mask, words, word_mask, direction, how, 4.0, 5.0)
    right = cross_attention_scores(
        Parts.from_padded(regions, k),
        Parts.from_padded(words, l),
        CrossAttention(direction, how, 4.0, 5.0),
    )
    torch.testing.assert_close(found, right, atol=1e-7, rtol=0)


def test_the_captions_are_tagged_and_read_as_the_kit_does():
    for caption in map(solved(5)["tagged"], solved(5)["CAPTIONS"]):
        sentence = " ".join(token.word for token in caption)
        by_the_kit = [(t.word, t.lemma, t.tag) for t in load_tagger()(sentence)]
        assert [tuple(token) for token in caption] == by_the_kit
        chunks = solved(5)["chunks_of"](caption)
        tree = solved(5)["places"](chunks, solved(5)["root_of"](chunks))
        assert tree == referral_tree(sentence).nodes, sentence


def test_the_tree_of_the_solution_is_the_tree_of_the_kit():
    torch.manual_seed(0)
    tree = TernaryTree(5, 3).double()
    torch.nn.init.zeros_(tree.from_input.bias)  # the equations have none
    weights = tree.from_input.weight.detach(), tree.from_children.weight.detach()
    W, U = ({g: w.numpy() for g, w in zip("ifou", m.chunk(4), strict=True)} for m in weights)
    inputs = torch.randn(7, 5, dtype=torch.float64)

    def cell(x, children):
        return solved(5)["node"](x, children, W, U)

    found = solved(5)["whole_tree"](inputs.numpy(), cell)
    with torch.no_grad():
        states = tree(inputs[None])
    kit = states.hidden[0], states.memory[0], states.forget_gate[0]
    for ours, theirs in zip(zip(*found, strict=True), kit, strict=True):
        np.testing.assert_allclose(np.stack(ours), theirs.numpy(), atol=1e-12)


def test_the_cross_entropy_of_the_solution_is_that_of_the_kit():
    generator = torch.Generator().manual_seed(1)
    leaves, others = (torch.randn(6, n, 4, generator=generator) for n in (4, 3))
    labels = torch.randint(-1, 4, (6, 7), generator=generator)
    right = losses.node_cross_entropy(leaves.log_softmax(2), others.log_softmax(2), labels)
    ours = solved(5)["node_cross_entropy"](leaves.numpy(), labels[:, ::2].numpy())
    ours = ours + solved(5)["node_cross_entropy"](others.numpy(), labels[:, 1::2].numpy())
    np.testing.assert_allclose(ours, right.numpy(), rtol=1e-5)


def test_six_points_are_for_a_person_to_give():
    marks = unmarked(SOURCES[NAMES[5]])
    assert {name for name, mark in marks.items() if mark.by_hand} == {"report", "verdict", "plan"}
    assert sum(mark.of for mark in marks.values() if mark.by_hand) == 6
    assert sum(mark.of for mark in marks.values()) == 20


@pytest.mark.parametrize("settings", [(20, 6, 0.3), (5, 2, 0.8), (1, 1, 0.0), (150, 9, 0.3)])
def test_re_ranked_distances(settings):
    images, captions = solved(6)["images"], solved(6)["captions"]
    ours = solved(6)["rerank"](images, captions, *settings)
    kit = reranking.rerank(*map(torch.tensor, (images, captions)), reranking.Settings(*settings))
    right = kit.distances("captions").numpy()
    if settings[0] > 1:  # bags of few words tie, and rounding breaks ties in its own way
        changed = ~np.isclose(ours, right, atol=1e-6)
        assert changed.mean() < 0.02, changed.mean()
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 8)), rng.normal(size=(70, 8))  # no ties here
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    kit = reranking.rerank(torch.tensor(a), torch.tensor(b), reranking.Settings(*settings))
    ours = solved(6)["rerank"](a, b, *settings)
    np.testing.assert_allclose(ours, kit.distances("captions").numpy(), atol=1e-8)


def test_plain_search_is_the_kits():
    images, captions, owner = solved(6)["images"], solved(6)["captions"], solved(6)["owner"]
    distances = solved(6)["squared_distances"](captions, images)
    kit = evaluation.evaluate_scores(torch.tensor(-distances.T), owner).t2i
    np.testing.assert_array_equal(solved(6)["hits"](distances, owner), kit.expected() == 0)


def test_the_model_report_says_what_the_model_experiment_printed(capsys):
    harness.run(SOURCES[NAMES[5]])
    printed = capsys.readouterr().out
    cells = {id_of(cell): cell["source"] for cell in SOURCES[NAMES[5]]["cells"]}
    rows = re.findall(
        r"^(\d+ / \d+ / [\d.]+) +(small|large)† +([\d.]+) +(\d+) +(\d+)$", printed, re.M
    )
    plain = re.search(r"plain R@1 ([\d.]+)$", printed, re.M)[1]
    changed = re.findall(r"another first answer in large company: (\d+)$", printed, re.M)
    assert len(rows) == 6 and len(changed) == 3
    for small, large, moved in zip(rows[::2], rows[1::2], changed, strict=True):
        line = f"| {small[0]} | {plain} | {small[2]} | {large[2]} | {small[3]} / {small[4]} "
        assert f"{line}| {large[3]} / {large[4]} | {moved} |" in cells["report"]
