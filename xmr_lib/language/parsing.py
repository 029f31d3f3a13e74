"""From tagged words to a flat sequence of chunks: fragments, verbs, prepositions, conjunctions.

Both parsers give such a sequence, and one builder makes trees of it (`referral_tree`). `chunk`
(default) reads the tags from left to right, in one pass; `stanford` (the paper's) asks the user's
Stanford parser, see `xmr_lib.language.stanford`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from xmr_lib.language.tagging import Token

PARSERS = ("chunk", "stanford")

Kind = Literal["fragment", "verb", "participle", "preposition", "conjunction", "other"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a caption that may become a node of its tree.

    Attributes:
        kind: "fragment" (noun with its modifier), "verb" (finite), "participle" (a verb that is
            not finite, or stands in a relative clause), "preposition", "conjunction", or "other":
            a pronoun or a clause's end, which is never a node but keeps its neighbours apart.
        text: What the node says.
    """

    kind: Kind
    text: str = ""


# Prepositions of several words, as one relation.
_COMPOUND = {
    ("in", "front", "of"), ("on", "top", "of"), ("in", "back", "of"), ("next", "to"),
    ("close", "to"), ("out", "of"), ("away", "from"), ("in", "between"), ("because", "of"),
    ("on", "to"), ("in", "the", "middle", "of"), ("on", "the", "side", "of"),
    ("at", "the", "edge", "of"), ("outside", "of"), ("inside", "of"), ("ahead", "of"),
}  # fmt: skip
_FIRST_OF_COMPOUND = {words[0] for words in _COMPOUND}
_LONGEST = max(len(words) for words in _COMPOUND)
# Prepositions that taggers take for adverbs or particles.
_PREPOSITIONS = frozenset(
    ("in", "on", "at", "with", "by", "of", "from", "into", "onto", "over", "under", "near",
     "beside", "behind", "between", "through", "across", "along", "around", "against", "above",
     "below", "beneath", "inside", "outside", "off", "down", "up", "towards", "toward", "past",
     "among", "about", "after", "before", "during", "for", "as", "like", "upon", "within",
     "without", "underneath", "alongside", "atop", "amongst")
)  # fmt: skip
_SUBORDINATORS = frozenset(["as", "though", "when", "where", "after", "before", "since", "until"])
_CONNECTIVES = frozenset(["while", "whilst", "because", "that", "whether", "if", "although"])
_QUANTIFIERS = ("another", "one", "other", "others", "some", "all", "each", "both")
_AUXILIARIES = ("be", "have", "do", "get")


def chunks_of(tokens: Sequence[Token]) -> list[Chunk]:
    """The chunks of a tagged caption, in order, in one pass over its words.

    >>> from xmr_lib.language.tagging import load_tagger
    >>> for chunk in chunks_of(load_tagger()("A little girl climbs up the stairs")):
    ...     print(chunk.kind, "=", chunk.text)
    fragment = little girl
    verb = climb up
    fragment = stair
    """
    found: list[Chunk] = []
    relative = False
    i, n = 0, len(tokens)
    while i < n:
        token = tokens[i]
        tag = token.tag
        if length := compound(tokens, i):
            found.append(Chunk("preposition", " ".join(t.word for t in tokens[i : i + length])))
            i += length
        elif _begins_noun(tokens, i):
            text, i = _noun_phrase(tokens, i)
            if text:
                found.append(Chunk("fragment", text))
        elif tag.startswith(("V", "MD")) or (tag == "TO" and _verb_at(tokens, i + 1)):
            chunk, i = _verb_group(tokens, i)
            if chunk is not None:
                kind = "participle" if relative and chunk.kind == "verb" else chunk.kind
                found.append(Chunk(kind, chunk.text))
                relative = False
        elif tag in ("IN", "TO", "RP") or token.word in _PREPOSITIONS:
            clause = token.word in _SUBORDINATORS and _clause_follows(tokens, i + 1)
            if clause or token.word in _CONNECTIVES:
                relative = True
                found.append(Chunk("other"))
            elif tag != "RP" or token.word in _PREPOSITIONS:
                found.append(Chunk("preposition", token.word))
            i += 1
        elif tag == "CC":
            if not _between_adjectives(tokens, i):
                found.append(Chunk("conjunction", token.word))
            i += 1
        elif tag in ("WDT", "WP", "WRB"):
            relative = bool(found)  # a question's own word opens the main clause
            i += 1
        elif (
            tag == "PRP"
            or (token.word in _QUANTIFIERS and not _begins_noun(tokens, i + 1))
            or token.word in (".", ";", ":", "!", "?")
        ):
            found.append(Chunk("other"))
            i += 1
        else:
            i += 1
    return _conjunctions_between_fragments(found)


def compound(tokens: Sequence[Token], i: int) -> int:
    """How many words from here are one preposition; 0 for none."""
    if tokens[i].word not in _FIRST_OF_COMPOUND:
        return 0
    for length in range(min(_LONGEST, len(tokens) - i), 1, -1):
        if tuple(token.word for token in tokens[i : i + length]) in _COMPOUND:
            return length
    return 0


def _begins_noun(tokens: Sequence[Token], i: int) -> bool:
    """Whether a noun, or adjectives before a noun, begin here."""
    while i < len(tokens) and (_adjective(tokens, i) or tokens[i].word == ","):
        if tokens[i].word == "," and not (i and _adjective(tokens, i - 1)):
            return False
        i += 1
    return i < len(tokens) and tokens[i].tag.startswith("NN")


def _adjective(tokens: Sequence[Token], i: int) -> bool:
    """Adjectives, and participles between an article and a noun ("a spotted dog")."""
    token = tokens[i]
    if token.tag in ("JJ", "JJR", "JJS"):
        return True
    before = tokens[i - 1].tag if i else ""
    after = tokens[i + 1].tag if i + 1 < len(tokens) else ""
    return (
        token.tag in ("VBN", "VBG")
        and before in ("DT", "PRP$", "JJ", "CD", "IN")
        and after.startswith("NN")
    )


def _between_adjectives(tokens: Sequence[Token], i: int) -> bool:
    """Whether a conjunction lies within one fragment ("a black and white dog")."""
    adjectives = ("JJ", "JJR", "JJS")
    return (
        0 < i < len(tokens) - 1
        and tokens[i - 1].tag in adjectives
        and tokens[i + 1].tag in adjectives
        and _begins_noun(tokens, i + 1)
    )


def _noun_phrase(tokens: Sequence[Token], i: int) -> tuple[str, int]:
    """A noun with the adjective or noun nearest before it, and where the phrase ends."""
    lemmas: list[str] = []
    while i < len(tokens):
        token = tokens[i]
        if token.tag.startswith("NN") or _adjective(tokens, i):
            if not token.tag.startswith("NN") and not _begins_noun(tokens, i):
                break  # an adjective behind the noun
            lemmas.append(token.word if token.tag.startswith("V") else token.lemma)
        elif not (token.word == "," and lemmas and _adjective(tokens, i - 1)):
            break
        i += 1
    return " ".join(lemmas[-2:]), i


def _verb_at(tokens: Sequence[Token], i: int) -> bool:
    return i < len(tokens) and tokens[i].tag.startswith("VB")


def _verb_group(tokens: Sequence[Token], i: int) -> tuple[Chunk | None, int]:
    """Auxiliaries, adverbs and the verb they belong to, with the preposition directly behind it.

    Copulas and auxiliaries without a verb of their own are dropped (None).
    """
    finite, verb = False, None
    while i < len(tokens):
        token = tokens[i]
        if token.tag.startswith("V") or token.tag == "MD":
            if verb is not None:
                break  # a second verb: "tries to catch", "starts running"
            finite = finite or token.tag in ("VBZ", "VBP", "VBD", "MD")
            if token.tag != "MD" and not _auxiliary(tokens, i):
                verb = token.lemma
        elif token.tag == "TO" and verb is None and _verb_at(tokens, i + 1):
            pass
        elif token.tag not in ("RB", "RBR") or token.word in _PREPOSITIONS or compound(tokens, i):
            break  # "next" of "is next to" is no adverb
        elif verb is not None:
            break  # an adverb behind the verb is dropped by the caller
        i += 1
    if verb is None:
        return None, i
    words = [verb]
    if (
        i < len(tokens)
        and tokens[i].tag in ("RB", "RBR")
        and tokens[i].word not in _PREPOSITIONS
        and not compound(tokens, i)
        and _particle(tokens, i + 1)
    ):
        i += 1  # "walks slowly along": nothing but an adverb lies between
    if _particle(tokens, i) or (i < len(tokens) and compound(tokens, i)):
        length = compound(tokens, i) or 1
        words += [token.word for token in tokens[i : i + length]]
        i += length  # of "climbs up on" the second one is the next relation
    return Chunk("verb" if finite else "participle", " ".join(words)), i


def _auxiliary(tokens: Sequence[Token], i: int) -> bool:
    """Forms of be, and of have, do and get before another verb."""
    token = tokens[i]
    if token.lemma == "be" or token.word in ("'s", "’s", "'re", "’re"):
        return True
    if token.lemma not in _AUXILIARIES:
        return False
    j = i + 1
    while j < len(tokens) and tokens[j].tag == "RB":
        j += 1
    return j < len(tokens) and tokens[j].tag in ("VBN", "VB", "VBP") + ("VBG",) * (
        token.lemma == "get"
    )


def _particle(tokens: Sequence[Token], i: int) -> bool:
    """Whether a preposition or particle stands here that joins the verb before it."""
    if i >= len(tokens):
        return False
    token = tokens[i]
    if token.word in _CONNECTIVES:
        return False
    if token.word in _SUBORDINATORS and _clause_follows(tokens, i + 1):
        return False
    if token.tag == "TO":
        return not _verb_at(tokens, i + 1)
    return token.tag in ("IN", "RP")


def _clause_follows(tokens: Sequence[Token], i: int) -> bool:
    """Whether a finite verb comes before the next comma or preposition."""
    for token in tokens[i : i + 8]:
        if token.tag in ("VBZ", "VBP", "VBD", "MD"):
            return True
        if token.tag in ("IN", "TO", "CC", ".") or token.word == ",":
            return False
    return False


def _conjunctions_between_fragments(found: Iterable[Chunk]) -> list[Chunk]:
    """Conjunctions that join anything but two fragments only keep their neighbours apart."""
    found = list(found)
    kinds = ["", *(chunk.kind for chunk in found), ""]
    return [
        chunk if chunk.kind != "conjunction" or before == after == "fragment" else Chunk("other")
        for before, chunk, after in zip(kinds, found, kinds[2:], strict=False)
    ]
