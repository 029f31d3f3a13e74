"""Trees of a data set: order, cache, processes; and the dictionaries made of them."""

from __future__ import annotations

import numpy as np
import pytest

from xmr_lib.errors import DataError
from xmr_lib.language import trees as module
from xmr_lib.language.categories import NULL, Categories
from xmr_lib.language.referral_tree import ReferralTree, referral_tree
from xmr_lib.language.trees import trees_of

CAPTIONS = ["A dog runs", "Two cats on a chair", "A dog runs", "", "A man rides a horse"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_trees_in_the_order_of_the_captions():
    assert trees_of(CAPTIONS) == [referral_tree(caption) for caption in CAPTIONS]
    assert trees_of([]) == []


def test_computed_once_then_read(monkeypatch, cache):
    first = trees_of(CAPTIONS)
    monkeypatch.setattr(module, "_compute", lambda *_: pytest.fail("the cache was not used"))
    assert trees_of(CAPTIONS) == first
    assert trees_of(tuple(CAPTIONS)) == first
    (file,) = (cache / "trees").iterdir()
    assert file.suffix == ".json"


@pytest.mark.parametrize(
    "content", [b"", b"[", b"[[1,2,3,4,5,6,7]]", b'[["a"]]', b"{}", b"[]", b"\xff\xfe"]
)
def test_damaged_cache_files_are_made_again(cache, content):
    first = trees_of(CAPTIONS)
    (file,) = (cache / "trees").iterdir()
    file.write_bytes(content)
    assert trees_of(CAPTIONS) == first
    assert trees_of(CAPTIONS) == first and len(file.read_bytes()) > len(content)


def test_other_backends_and_other_captions_have_files_of_their_own(cache):
    trees_of(CAPTIONS)
    trees_of(CAPTIONS[:2])
    assert len(list((cache / "trees").iterdir())) == 2


def test_processes_give_the_same(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    many = [f"{n} {caption}" for n in range(3) for caption in CAPTIONS]
    assert trees_of(many, workers=2) == [referral_tree(caption) for caption in many]


# --- dictionaries ---------------------------------------------------------------------------------


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
        "dog", "on", "red ball", None, "ball", None, None,
    ]  # fmt: skip
    assert found.labels([]).shape == (0, 7)


def test_coverage_by_hand():
    found = Categories(("dog", "ball"), ("run on",))
    report = found.coverage(TREES)
    # fragments: dog, grass | dog, red ball, grass, park | cat, red ball | park
    assert report.direct == {"fragments": 2, "relations": 2}
    assert report.backed_off == {"fragments": 2, "relations": 0}
    assert report.lost == {"fragments": 5, "relations": 4}
    assert report.share("fragments") == pytest.approx(4 / 9)
    assert report.null.tolist() == [0.25, 0.75, 0.75, 0, 0, 0.75, 0.75]
    assert "22.2 % by their head noun" in str(report)


def test_saved_dictionaries_come_back(tmp_path):
    found = Categories.build(TREES)
    found.save(tmp_path / "categories.json")
    assert Categories.load(tmp_path / "categories.json") == found


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "holds no categories"), ("{}", "holds no categories"), ("[]", "holds no categories"),
     ('{"fragments": "dog", "relations": []}', "lists of texts"),
     ('{"fragments": ["a", "a"], "relations": []}', "twice")],
)  # fmt: skip
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
