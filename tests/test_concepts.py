"""Consensus concepts: what captions agree on, their graph, and their word vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.errors import DataError
from xmr_lib.language import concepts
from xmr_lib.language.concepts import (
    Concepts,
    adjacency,
    correlation,
    normalised_adjacency,
    rescale,
)
from xmr_lib.language.word_vectors import caption_vectors, load_glove
from xmr_lib.language.words import Token

GOLDEN = np.load(Path(__file__).parent / "golden" / "cvse_adjacency.npz")


def tokens(text: str) -> tuple[Token, ...]:
    """`dog/NN runs/run/VBZ`: word, lemma where it differs, tag."""
    found = []
    for piece in text.split():
        word, *lemma, tag = piece.split("/")
        found.append(Token(word, lemma[0] if lemma else word, tag))
    return tuple(found)


TAGGED = [
    tokens("a/DT dog/NN runs/run/VBZ"),
    tokens("two/CD dogs/dog/NNS play/VBP"),
    tokens("a/DT red/JJ ball/NN is/be/VBZ red/JJ"),
    tokens("dog/NN with/IN a/DT ball/NN running/run/VBG"),
    tokens("a/DT play/NN"),
]


@pytest.mark.parametrize("which", ["adj_all", "adj_O_P", "adj_O_M"])
@pytest.mark.parametrize("kind", ["Complex", "ML_GCN", "My_rescale"])
def test_golden_graph(kind, which):
    """CVSE uses "Complex" with "adj_all". In its code's other graphs neighbours weigh 1."""
    p = correlation(GOLDEN["nums"], GOLDEN[which])
    weight = 0.25 if which == "adj_all" else 1.0
    stretched = rescale(p)
    if which != "adj_all":
        stretched = stretched / (stretched.sum(0) + 1e-6)
    for threshold in (0.3, 0.4):
        if kind == "My_rescale" and threshold == 0.4:
            continue  # it has no threshold
        a = {
            "Complex": lambda t=threshold: adjacency(rescale(p), t, weight),
            "ML_GCN": lambda t=threshold: adjacency(p, t, weight),
            "My_rescale": lambda: stretched + np.eye(len(p)),
        }[kind]()
        name = f"{kind}_t{threshold}_{which}"
        tolerance = 1e-12 if which == "adj_all" else 1e-6  # their small constants differ there
        np.testing.assert_allclose(a, GOLDEN[name], atol=tolerance)
        np.testing.assert_allclose(
            normalised_adjacency(a), GOLDEN[f"{name}_laplacian_f32"], atol=1e-6
        )


def test_golden_correlation_and_rescaling():
    p = correlation(GOLDEN["nums"], GOLDEN["adj_all"])
    np.testing.assert_allclose(p, GOLDEN["P_all"], rtol=1e-12)
    np.testing.assert_allclose(rescale(p), GOLDEN["rescaled_s5_u0.02"], rtol=1e-12)
    np.testing.assert_allclose(rescale(p, 10, 0.1), GOLDEN["rescaled_s10_u0.1"], rtol=1e-12)


def test_a_concept_that_never_occurs_divides_by_nothing():
    p = correlation(np.array([0, 2]), np.zeros((2, 2)))
    assert p.tolist() == [[0, 0], [0, 0]]
    assert normalised_adjacency(adjacency(rescale(p))).tolist() == [[1, 0], [0, 1]]


def test_counts_and_co_occurrence_by_hand():
    said = r"3 of 7 nouns, 1 of 2 adjectives\): 5 concepts instead of 10"
    with pytest.warns(UserWarning, match=said):
        found = Concepts.build(TAGGED, 10)
    # nouns dog 3, ball 2, play 1; adjective red 1 (once a caption); verbs run 2 (10 // 10 = 1 kept)
    assert found.words == ("dog", "ball", "play", "red", "run")
    assert found.kinds == (3, 1, 1)
    assert found.counts.tolist() == [3, 2, 1, 1, 2]
    expected = np.zeros((5, 5), dtype=int)
    for one, other, n in ((0, 4, 2), (0, 1, 1), (1, 3, 1), (1, 4, 1)):
        expected[one, other] = expected[other, one] = n
    assert found.together.tolist() == expected.tolist()


def test_too_few_words_of_every_kind_are_all_taken_but_auxiliaries():
    auxiliaries = tokens("is/be/VBZ has/have/VBZ does/do/VBZ")
    with pytest.warns(UserWarning, match="6 concepts instead of 30"):
        found = Concepts.build([*TAGGED, auxiliaries], 30)
    assert found.words == ("dog", "ball", "play", "red", "run", "play")
    assert not {"is", "has", "does"} & set(found.forms)


def test_a_form_stands_for_what_it_mostly_was(monkeypatch):
    said = [tokens("walk/VBP walks/walk/VBZ"), tokens("walk/VBP"), tokens("walk/NN red/JJ")]
    monkeypatch.setattr(concepts, "_SHARES", {"noun": 1, "adjective": 1, "verb": 1})
    assert Concepts.build(said, 3).forms == {"walk": 2, "walks": 2, "red": 1}
    monkeypatch.setattr(concepts, "_SHARES", {"noun": 1, "adjective": 1, "verb": 0})
    nouns = Concepts.build(said, 2)
    assert nouns.words == ("walk", "red")
    assert nouns.forms == {"red": 1}  # "walk" mostly was the verb, which is no concept here


def test_labels_are_read_off_the_words(recwarn):
    found = Concepts.build(TAGGED, 10)
    labels = found.labels(["Dogs running!", "nothing here", "the red, red ball"])
    assert [np.flatnonzero(row).tolist() for row in labels] == [[0, 4], [], [1, 3]]
    words = Vocabulary.build(["dogs running with a ball"], 1)
    numbers = dict(zip(words.words, found.word_concepts(words).tolist(), strict=True))
    assert numbers["dogs"] == 0 and numbers["running"] == 4 and numbers["ball"] == 1
    assert numbers["with"] == numbers["<pad>"] == numbers["<unk>"] == -1


def test_shares_and_ties():
    tagged = [tokens(f"noun{i}/NN adj{i}/JJ verb{i}/VBZ") for i in reversed(range(9))]
    found = Concepts.build(tagged, 10)
    assert found.kinds == (7, 2, 1)
    assert found.words == (*(f"noun{i}" for i in range(7)), "adj0", "adj1", "verb0")
    assert Concepts.build(tagged, 9).kinds == (8, 1, 0)  # what rounding leaves are nouns


def test_no_words_at_all():
    with pytest.raises(DataError, match="no concepts"):
        Concepts.build([tokens("a/DT the/DT")], 10)


def test_saved_concepts_come_back(tmp_path, recwarn):
    found = Concepts.build(TAGGED, 10)
    found.save(tmp_path / "concepts.npz")
    again = Concepts.load(tmp_path / "concepts.npz")
    assert (again.words, again.kinds, again.forms) == (found.words, found.kinds, found.forms)
    assert (again.together == found.together).all() and (again.counts == found.counts).all()
    (tmp_path / "broken.npz").write_bytes(b"PK nonsense")
    np.savez(tmp_path / "other.npz", a=1)
    replace(found, forms={"dog": 99}).save(tmp_path / "form.npz")
    replace(found, kinds=(3, 1, 9)).save(tmp_path / "kinds.npz")
    replace(found, counts=found.counts[1:]).save(tmp_path / "counts.npz")
    for name in ("missing", "broken", "other", "form", "kinds", "counts"):
        with pytest.raises(DataError, match=name):
            Concepts.load(tmp_path / f"{name}.npz")


# --- word vectors ---------------------------------------------------------------------------------


def test_words_in_the_same_contexts_get_similar_vectors():
    captions = [
        "a dog runs in grass",
        "a cat runs in grass",
        "the red car on a road",
        "the red bus on a road",
    ] * 3
    forms = {"dog": 0, "dogs": 0, "cat": 1, "car": 2, "bus": 3, "never": 4}
    vectors = caption_vectors(captions, forms, 5, dim=8)
    assert vectors.shape == (5, 8) and vectors.dtype == np.float32
    similar = vectors @ vectors.T
    assert similar[0, 1] > 0.9 and similar[2, 3] > 0.9
    assert max(similar[0, 2], similar[1, 3]) < 0.5
    assert (vectors[4] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(vectors[:4], axis=1), 1, rtol=1e-5)
    assert (caption_vectors(captions, forms, 5, dim=8) == vectors).all()


def test_one_word_with_one_context_by_hand():
    """Of three pairs, dog and bark are two: log(2 · 3 / (2 · 2)); cat and mew are one: log(3)."""
    vectors = caption_vectors(["dog bark", "dog bark", "cat mew"], {"dog": 0, "cat": 1}, 2, dim=3)
    # Each has a direction of its own, the stronger one first.
    assert vectors.tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    "captions, share",
    [
        (["same dog", "same cat"], True),
        (["dog same", "cat same"], True),
        (["dog xa xb xc same", "cat ya yb yc same"], True),
        (["dog xa xb xc xd same", "cat ya yb yc yd same"], False),
    ],
)
def test_contexts_are_on_both_sides_and_four_words_away(captions, share):
    forms = {"dog": 0, "cat": 1, "car": 2}
    vectors = caption_vectors([*captions, "other car"], forms, 3, dim=3)
    assert (vectors[0] @ vectors[1] > 1e-4) == share


def test_glove_text_and_npz(tmp_path):
    text = tmp_path / "glove.txt"
    text.write_text("4 2\nthe 0 0\ndog 1 2\nfire 2 0\ntruck 0 4\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 of 3 words"):
        vectors = load_glove(text, ["dog", "fire truck", "zebra"])
    assert vectors.tolist() == [[1, 2], [1, 2], [0, 0]]
    np.savez(tmp_path / "v.npz", words=np.array(["dog"]), vectors=np.array([[5.0, 6.0]]))
    assert load_glove(tmp_path / "v.npz", ["dog"]).tolist() == [[5, 6]]


def test_spaces_at_the_end_of_lines_and_inside_names(tmp_path):
    text = tmp_path / "glove.txt"
    text.write_text("dog 1 2 \ncontact name@domain.com 7 7 \ncontact 3 4 \n", encoding="utf-8")
    assert load_glove(text, ["dog", "contact"]).tolist() == [[1, 2], [3, 4]]


def test_damaged_word_vectors_are_told(tmp_path):
    text = tmp_path / "glove.txt"
    for damaged in ("cat 1 x", "cat 1", "cat", "cat 1 2 3", "cat nan 1"):
        text.write_text(f"dog 1 2\n{damaged}\n", encoding="utf-8")
        with pytest.raises(DataError, match=r"glove\.txt, line 2"):
            load_glove(text, ["dog", "cat"])
    with pytest.raises(DataError, match="none of the 1 words"):
        load_glove(text, ["zebra"])
    with pytest.raises(DataError, match="No word vectors"):
        load_glove(tmp_path / "nowhere.txt", ["dog"])
    (tmp_path / "bad.npz").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"bad\.npz"):
        load_glove(tmp_path / "bad.npz", ["dog"])
    for vectors in (np.ones((2, 3)), np.ones(1), np.array([["a", "b"]]), np.array([[np.inf, 1]])):
        np.savez(tmp_path / "bad.npz", words=np.array(["dog"]), vectors=vectors)
        with pytest.raises(DataError, match=r"bad\.npz"):
            load_glove(tmp_path / "bad.npz", ["dog"])
