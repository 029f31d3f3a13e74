"""Referral trees: the rules' own examples, hand-written captions, and any text at all."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmr_lib.errors import UnknownNameError
from xmr_lib.language.parsing import Chunk
from xmr_lib.language.referral_tree import (
    FRAGMENTS,
    RELATIONS,
    ReferralTree,
    referral_tree,
    tree_of_chunks,
)
from xmr_lib.language.trees import trees_of


def written_trees() -> dict[str, dict[str, tuple[str | None, ...]]]:
    """Group -> caption -> places, as they stand in `referral_trees.txt`."""
    found: dict[str, dict[str, tuple[str | None, ...]]] = {}
    text = (Path(__file__).parent / "referral_trees.txt").read_text(encoding="utf-8")
    for line in text.replace("\\u0301", "\u0301").replace("\\u0303", "\u0303").splitlines():
        if line.startswith("== "):
            group = found.setdefault(line.removeprefix("== "), {})
        elif " | " in line:
            caption, tree = line.split(" | ")
            group[caption] = tuple(None if node == "–" else node for node in tree.split(" · "))
    return found


TREES = written_trees()
EXACT = {text: tree for name in TREES if name[:5] == "exact" for text, tree in TREES[name].items()}
HARD = [name for name in TREES if name[:4] == "hard"]
WRITTEN = {text: tree for name in TREES if ": " not in name for text, tree in TREES[name].items()}


def share_of_right_nodes(cases, trees) -> float:
    pairs = [
        (one, other)
        for places, tree in zip(cases.values(), trees, strict=True)
        for one, other in zip(places, tree.nodes, strict=True)
    ]
    return sum(one == other for one, other in pairs) / len(pairs)


@pytest.mark.parametrize("caption", EXACT)
def test_what_the_rules_say_comes_out_exactly(caption):
    assert referral_tree(caption).nodes == EXACT[caption]


def test_hand_written_trees():
    assert len(WRITTEN) == 49
    assert share_of_right_nodes(WRITTEN, map(referral_tree, WRITTEN)) >= 0.98


@pytest.mark.parametrize("group", HARD)
def test_captions_that_are_hard(group):
    assert share_of_right_nodes(TREES[group], map(referral_tree, TREES[group])) >= 0.97


@pytest.mark.skipif("NLTK_DATA" not in os.environ, reason="set NLTK_DATA to a folder with the data")
def test_hand_written_trees_by_the_papers_tagger():
    cases = WRITTEN | {
        caption: places for group in HARD for caption, places in TREES[group].items()
    }
    assert share_of_right_nodes(cases, (referral_tree(each, "nltk") for each in cases)) >= 0.9


@pytest.mark.skipif(
    not {"XMR_STANFORD_JAR", "XMR_STANFORD_GRAMMAR"} <= set(os.environ),
    reason="set XMR_STANFORD_JAR and XMR_STANFORD_GRAMMAR to a Stanford parser",
)
def test_hand_written_trees_by_the_papers_parser(tmp_path, monkeypatch):
    monkeypatch.setenv("XMR_CACHE", str(tmp_path))
    assert share_of_right_nodes(WRITTEN, trees_of(list(WRITTEN), parser="stanford")) >= 0.9


CHUNKS = {
    "dog": Chunk("fragment", "dog"),
    "ball": Chunk("fragment", "ball"),
    "cat": Chunk("fragment", "cat"),
    "run": Chunk("verb", "run"),
    "wearing": Chunk("participle", "wear"),
    "in": Chunk("preposition", "in"),
    "on": Chunk("preposition", "on"),
    "and": Chunk("conjunction", "and"),
    "it": Chunk("other"),
}


@pytest.mark.parametrize(
    ("words", "tree"),
    [
        ("dog run ball in cat", "dog · – · – · run · ball · in · cat"),
        ("dog and cat run", "dog · and · cat · run · – · – · –"),
        ("dog wearing ball run", "dog · wear · ball · run · – · – · –"),
        ("dog wearing ball", "dog · – · – · wear · ball · – · –"),  # no finite verb
        ("dog in ball on cat", "dog · – · – · in · ball · on · cat"),  # no verb
        ("dog and cat", "dog · – · – · and · cat · – · –"),  # neither verb nor preposition
        ("dog cat ball run", "dog · – · cat · run · – · – · –"),  # nothing joins them
        ("it run it in ball", "– · – · – · run · – · in · ball"),  # pronouns are never nodes
        ("dog run in it ball", "dog · – · – · run · – · in · –"),  # what is not next does not move
        ("dog", "dog · – · – · – · – · – · –"),
        ("", "– · – · – · – · – · – · –"),
    ],
)
def test_where_chunks_go(words, tree):
    assert str(tree_of_chunks([CHUNKS[word] for word in words.split()])) == tree


def test_places_are_numbered_from_one():
    tree = ReferralTree(tuple("abcdefg"))
    assert (tree[1], tree[4], tree[7]) == ("a", "d", "g")
    assert sorted(FRAGMENTS + RELATIONS) == list(range(1, 8))
    for wrong in (0, 8, -1):
        with pytest.raises(IndexError, match="1 to 7"):
            tree[wrong]
    with pytest.raises(ValueError, match="7 places, not 2"):
        ReferralTree(("a", None))


WORDS = ("a", "dog's", "runs,", "(in)", "and", "!", "3", "it", "while", "to")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80) | st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join))
def test_any_text_has_a_tree(text):
    tree = referral_tree(text)
    assert len(tree.nodes) == 7
    assert all(node is None or node.strip() for node in tree.nodes)
    assert tree == referral_tree(text)


def test_a_long_caption_takes_linear_time():
    words = "a small dog runs over the wet grass and the man in a red hat waves while "

    def seconds(n: int) -> float:
        text = words * n
        started = time.perf_counter()
        referral_tree(text)
        return time.perf_counter() - started

    seconds(5)
    short, long = min(seconds(40) for _ in range(3)), seconds(625)  # 10,000 words
    assert long < 60 * short  # a quadratic parser would take 244 times as long


@pytest.mark.parametrize(
    "text", ["a dog chases a " + "woof" * 250, "the dog runs over a cat " * 22_000]
)
def test_a_long_word_and_a_long_text_take_seconds(text):
    started = time.process_time()  # other programs do not count
    assert referral_tree(text)[1] == "dog"
    assert time.process_time() - started < 30


def test_unknown_parsers_are_told():
    with pytest.raises(UnknownNameError, match="chunk"):
        referral_tree("a dog", parser="chunks")
    with pytest.raises(UnknownNameError, match="stanford"):
        trees_of(["a dog"], parser="standford")
