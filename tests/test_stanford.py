"""The Stanford parser: its trees become chunks, and what is missing is told (no Java needed)."""

from __future__ import annotations

import stat

import pytest

from xmr_lib.errors import DataError
from xmr_lib.language import stanford
from xmr_lib.language.parsing import chunks_of
from xmr_lib.language.referral_tree import tree_of_chunks
from xmr_lib.language.tagging import load_tagger
from xmr_lib.language.words import Token

# A parse as the parser prints it, and the tree that it should lead to.
PARSED = {
    "a little girl in a pink dress climbs up the stairs": (
        "(ROOT (S (NP (NP (DT a) (JJ little) (NN girl)) (PP (IN in) (NP (DT a) (JJ pink) "
        "(NN dress)))) (VP (VBZ climbs) (PRT (RP up)) (NP (DT the) (NNS stairs)))))",
        "little girl · in · pink dress · climb up · stair · – · –",
    ),
    "the dog waits while the man throws a ball": (
        "(ROOT (S (NP (DT the) (NN dog)) (VP (VBZ waits) (SBAR (IN while) (S (NP (DT the) "
        "(NN man)) (VP (VBZ throws) (NP (DT a) (NN ball))))))))",
        "dog · – · – · wait · – · throw · ball",
    ),
    "the dog waits as the man throws a ball": (
        "(ROOT (S (NP (DT the) (NN dog)) (VP (VBZ waits) (SBAR (IN as) (S (NP (DT the) (NN man)) "
        "(VP (VBZ throws) (NP (DT a) (NN ball))))))))",
        "dog · – · – · wait · – · throw · ball",
    ),
    "a girl dressed in a costume stands": (
        "(ROOT (S (NP (NP (DT a) (NN girl) (VBN dressed)) (PP (IN in) (NP (DT a) (NN costume)))) "
        "(VP (VBZ stands))))",
        "girl · dress in · costume · stand · – · – · –",
    ),
    "a dog is in front of a house": (
        "(ROOT (S (NP (DT a) (NN dog)) (VP (VBZ is) (PP (IN in) (NP (NP (NN front)) (PP (IN of) "
        "(NP (DT a) (NN house))))))))",
        "dog · – · – · in front of · house · – · –",
    ),
}


@pytest.fixture
def java(tmp_path, monkeypatch):
    """A `java` that prints what the test wants."""

    def make(output: str, code: int = 0, error: str = "", keep: bool = False):
        (tmp_path / "output.txt").write_text(output, encoding="utf-8")
        script = tmp_path / "bin" / "java"
        script.parent.mkdir(exist_ok=True)
        copy = f'for last; do :; done; cp "$last" {tmp_path}' if keep else ""
        script.write_text(
            f"#!/bin/sh\n{copy}\ncat {tmp_path}/output.txt\necho '{error}' >&2\nexit {code}\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")

    for name in ("parser.jar", "grammar.ser.gz"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setenv("XMR_STANFORD_JAR", str(tmp_path / "parser.jar"))
    monkeypatch.setenv("XMR_STANFORD_GRAMMAR", str(tmp_path / "grammar.ser.gz"))
    return make


def test_parses_become_trees(java):
    tag = load_tagger()
    java("\n".join(parse for parse, _ in PARSED.values()) + "\n")
    found, failed = stanford.parse([tag(caption) for caption in PARSED])
    assert failed == 0
    for chunks, (_, tree) in zip(found, PARSED.values(), strict=True):
        assert str(tree_of_chunks(chunks)) == tree


def test_verbs_of_subordinate_clauses_are_not_finite(java):
    """No word but the parse says that "walks" stands in a clause of its own."""
    words = ("the/DT", "dog/NN", "the/DT", "man/NN", "walks/VBZ", "sleeps/VBZ")
    tokens = [
        Token(word, word.removesuffix("s"), tag) for word, tag in (w.split("/") for w in words)
    ]
    java(
        "(ROOT (S (NP (NP (DT the) (NN dog)) (SBAR (S (NP (DT the) (NN man)) (VP (VBZ walks))))) "
        "(VP (VBZ sleeps))))\n"
    )
    (chunks,), _ = stanford.parse([tokens])
    assert [(c.kind, c.text) for c in chunks if c.kind != "fragment"] == [
        ("participle", "walk"),
        ("verb", "sleep"),
    ]


def test_captions_without_a_parse_go_the_other_way(java):
    tag = load_tagger()
    tagged = [tag("a dog runs"), tag(""), tag("a cat sleeps"), tag("a man " * 80)]
    java("(())\n(ROOT (FRAG (NN x)))\n")  # no parse, and one of other words
    found, failed = stanford.parse(tagged)
    assert failed == 3  # the third was too long to be asked
    assert found == [chunks_of(tokens) for tokens in tagged]
    assert found[1] == []


def test_what_goes_wrong_is_told(java, monkeypatch, tmp_path):
    tagged = [load_tagger()("a dog runs (fast)")]
    java("one\ntwo\n")
    with pytest.raises(DataError, match="2 parses for 1 sentences"):
        stanford.parse(tagged)
    java("", code=1, error="OutOfMemoryError")
    with pytest.raises(DataError, match=r"exit code 1.*OutOfMemoryError"):
        stanford.parse(tagged)
    java("one\n", code=3)  # as many as wanted, and yet it failed
    with pytest.raises(DataError, match="exit code 3"):
        stanford.parse(tagged)
    with monkeypatch.context() as patch:
        patch.setenv("XMR_STANFORD_JAR", str(tmp_path / "nowhere.jar"))
        with pytest.raises(DataError, match="No jar at"):
            stanford.parse(tagged)
    monkeypatch.delenv("XMR_STANFORD_GRAMMAR")
    with pytest.raises(DataError, match="set XMR_STANFORD_GRAMMAR"):
        stanford.parse(tagged)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="needs Java"):
        stanford.parse(tagged)


def test_words_are_written_as_the_parser_reads_them(java, tmp_path):
    java("(ROOT x)\n", keep=True)
    stanford.parse([load_tagger()("a dog , (3 cats) !")])
    said = (tmp_path / "sentences.txt").read_text()
    assert said == "a_DT dog_NN ,_, -LRB-_-LRB- 3_CD cats_NNS -RRB-_-RRB- !_.\n"
