"""Dictionaries of fragments and relations: order, back-off, coverage, files."""

from __future__ import annotations

import numpy as np
import pytest

from xmr_lib.errors import DataError
from xmr_lib.language.categories import NULL, Categories
from xmr_lib.language.referral_tree import ReferralTree


def tree(text: str) -> ReferralTree:
    return ReferralTree(tuple(None if node == "–" else node for node in text.split(" · ")))


TREES = [
    tree("dog · – · – · run on · grass · – · –"),
    tree("dog · with · red ball · run on · grass · in · park"),
    tree("cat · – · – · sit on · red ball · – · –"),
    tree("– · – · – · in · park · – · –"),
]


def test_most_frequent_first_and_ties_by_letter():
    found = Categories.build(TREES)
    assert found.fragments == ("dog", "grass", "park", "red ball", "cat")
    assert found.relations == ("in", "run on", "sit on", "with")
    small = Categories.build(TREES, 2, 1)
    assert (small.fragments, small.relations) == (("dog", "grass"), ("in",))


def test_labels_back_off_to_the_head_noun():
    found = Categories(("dog", "ball", "red ball"), ("on", "dog"))
    asked = tree("brown dog · on · red ball · under · blue ball · – · cat")
    labels = found.labels([asked, tree("– · dog · – · – · – · – · –")])
    assert labels.dtype == np.int64
    assert labels.tolist() == [[0, 0, 2, NULL, 1, NULL, NULL], [NULL, 1] + [NULL] * 5]
    assert [found.name(place, int(label)) for place, label in enumerate(labels[0], 1)] == [
        "dog",
        "on",
        "red ball",
        None,
        "ball",
        None,
        None,
    ]
    assert found.labels([]).shape == (0, 7)
    assert found.coverage([]).nodes.sum() == 0


def test_coverage_by_hand():
    found = Categories(("dog", "ball"), ("run on",))
    report = found.coverage(TREES)
    # fragments: dog, grass | dog, red ball, grass, park | cat, red ball | park
    assert report.nodes.tolist() == [[2, 2, 5], [2, 0, 4]]
    assert report.null.tolist() == [0.25, 0.75, 0.75, 0, 0, 0.75, 0.75]
    assert "22.2 % by their head noun" in str(report)


def test_saved_dictionaries_come_back(tmp_path):
    found = Categories.build(TREES)
    found.save(tmp_path / "categories.json")
    assert Categories.load(tmp_path / "categories.json") == found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "holds no categories"),
        ("{}", "holds no categories"),
        ("[]", "holds no categories"),
        ('{"fragments": "dog", "relations": []}', "lists of texts"),
        ('{"fragments": ["a", "a"], "relations": []}', "twice"),
    ],
)
def test_damaged_dictionaries_are_told(tmp_path, content, said):
    file = tmp_path / "categories.json"
    with pytest.raises(DataError, match="No categories"):
        Categories.load(file)
    file.write_text(content)
    with pytest.raises(DataError, match=said):
        Categories.load(file)


def test_captions_without_fragments_or_relations_are_told():
    with pytest.raises(DataError, match="no fragment"):
        Categories.build([tree("– · – · – · in · – · – · –")])
    with pytest.raises(DataError, match="no relation"):
        Categories.build([tree("dog · – · – · – · – · – · –")])
