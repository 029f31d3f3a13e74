"""From tagged words to a flat sequence of chunks: fragments, verbs, prepositions, conjunctions.

Both parsers give such a sequence, and one builder makes trees of it (`referral_tree`). `chunk`
(default) reads the tags from left to right, in one pass; `stanford` (the paper's) asks the user's
Stanford parser, see `xmr_lib.language.stanford`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xmr_lib.language.corrections import COLOURS, CONNECTIVES, FINITE, SUBORDINATORS
from xmr_lib.language.words import Token, word_set

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
_COMPOUND = re.compile(
    r"(?:(?:in|on|at|by|to|along) the "
    r"(?:top|side|edge|middle|midst|bottom|corner|end|center|centre)"
    r"|(?:in|on|at) (?:top|front|back|midst)|out|off|because|outside|inside|ahead) of "
    r"|(?:next|close|on) to |away from |in between "
)
# Prepositions that taggers take for adverbs or particles.
_PREPOSITIONS = word_set(
    "in on at with by of from into onto over under near beside behind between through across "
    "along around against above below beneath inside outside off down up towards toward past "
    "among about after before during for as like upon within without underneath alongside atop "
    "amongst"
)
# Say where, and may stand between a verb and its preposition.
_ADVERBS_OF_PLACE = word_set(
    "outside inside nearby together here there outdoors indoors upside-down alone underwater "
    "overhead close high"
)
_QUANTIFIERS = word_set("another one other others some all each both")
_ADJECTIVES = ("JJ", "JJR", "JJS")


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
            found.append(Chunk("fragment", text))
        elif tag.startswith(("V", "MD")) or (tag == "TO" and _verb_at(tokens, i + 1)):
            chunk, i = _verb_group(tokens, i)
            if chunk is not None:
                kind = "participle" if relative and chunk.kind == "verb" else chunk.kind
                found.append(Chunk(kind, chunk.text))
                relative = False
        elif tag in ("IN", "TO", "RP") or token.word in _PREPOSITIONS | CONNECTIVES | SUBORDINATORS:
            if _opens_clause(tokens, i):
                relative = True
                found.append(Chunk("other"))
            elif token.word == "of" and found and found[-1].kind == "other":
                pass  # "one of them"
            elif token.word == "about" and _tag(tokens, i + 1) == "TO":
                pass  # "about to jump"
            elif token.word in _PREPOSITIONS or tag in ("IN", "TO"):
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
        elif (
            token.word in COLOURS
            and found[-1:] == [Chunk("preposition", "in")]
            and not _between_adjectives(tokens, i + 1)
        ):
            if _particle(tokens, i + 1):
                found.pop()  # of "a boy in green with a kite" only "with" joins two fragments
            else:
                found.append(Chunk("other"))
            i += 1
        else:
            i += 1
    # Conjunctions that join anything but two fragments only keep their neighbours apart.
    kinds = ["", *(chunk.kind for chunk in found), ""]
    return [
        chunk if chunk.kind != "conjunction" or before == after == "fragment" else Chunk("other")
        for before, chunk, after in zip(kinds, found, kinds[2:], strict=False)
    ]


def compound(tokens: Sequence[Token], i: int) -> int:
    """How many words from here are one preposition; 0 for none."""
    match = _COMPOUND.match("".join(f"{token.word} " for token in tokens[i : i + 4]))
    return match.group().count(" ") if match else 0


def _tag(tokens: Sequence[Token], i: int) -> str:
    """The tag at `i`; nothing beyond the caption's ends."""
    return tokens[i].tag if 0 <= i < len(tokens) else ""


def _begins_noun(tokens: Sequence[Token], i: int) -> bool:
    """Whether a noun, or adjectives before a noun, begin here."""
    start = i
    while i < len(tokens) and (
        _adjective(tokens, i) or (tokens[i].word == "," and i > start and _adjective(tokens, i - 1))
    ):
        i += 1
    return _tag(tokens, i).startswith("NN")


def _adjective(tokens: Sequence[Token], i: int) -> bool:
    """Adjectives, and participles between an article and a noun ("a spotted dog")."""
    return tokens[i].tag in _ADJECTIVES or (
        tokens[i].tag in ("VBN", "VBG")
        and _tag(tokens, i + 1).startswith("NN")
        and _tag(tokens, i - 1) in ("DT", "PRP$", "JJ", "CD", "IN")
        and tokens[i - 1].word not in CONNECTIVES | SUBORDINATORS
    )


def _between_adjectives(tokens: Sequence[Token], i: int) -> bool:
    """Whether a conjunction lies within one fragment ("a black and white dog")."""
    return (
        _tag(tokens, i - 1) in _ADJECTIVES
        and _tag(tokens, i + 1) in _ADJECTIVES
        and _begins_noun(tokens, i + 1)
    )


def _noun_phrase(tokens: Sequence[Token], i: int) -> tuple[str, int]:
    """A noun with the adjective or noun nearest before it, and where the phrase ends."""
    lemmas: list[str] = []
    while i < len(tokens):
        token = tokens[i]
        if token.tag.startswith("NN") or (_adjective(tokens, i) and _begins_noun(tokens, i)):
            lemmas.append(token.word if token.tag.startswith("V") else token.lemma)
        elif not (token.word == "," and lemmas and _adjective(tokens, i - 1)):
            break
        i += 1
    return " ".join(lemmas[-2:]), i


def _verb_at(tokens: Sequence[Token], i: int) -> bool:
    return _tag(tokens, i).startswith("VB")


def _verb_group(tokens: Sequence[Token], i: int) -> tuple[Chunk | None, int]:
    """Auxiliaries, adverbs and the verb they belong to, with the preposition directly behind it.

    Copulas and auxiliaries without a verb of their own are dropped (None).
    """
    finite, verb = False, None
    while i < len(tokens) and verb is None:
        token = tokens[i]
        if token.tag.startswith("V") or token.tag == "MD":
            finite = finite or token.tag in FINITE
            if token.tag != "MD" and not _auxiliary(tokens, i):
                verb = token.lemma
        elif not (token.tag == "TO" and _verb_at(tokens, i + 1)) and not _adverb(tokens, i):
            break
        i += 1
    if verb is None:
        return None, i
    words = [verb]
    place = i < len(tokens) and tokens[i].word in _ADVERBS_OF_PLACE and not compound(tokens, i)
    if place and not _tag(tokens, i + 1).startswith(("DT", "PRP", "CD", "JJ", "NN")):
        i += 1  # "plays outside with a dog"
    elif _adverb(tokens, i) and _particle(tokens, i + 1):
        i += 1  # "walks slowly along": nothing but an adverb lies between
    if length := _particle(tokens, i):
        words += [token.word for token in tokens[i : i + length]]
        i += length  # of "climbs up on" the second one is the next relation
    return Chunk("verb" if finite else "participle", " ".join(words)), i


def _adverb(tokens: Sequence[Token], i: int) -> bool:
    """Whether an adverb stands here that is no preposition ("next" of "is next to" is none)."""
    return (
        _tag(tokens, i) in ("RB", "RBR")
        and tokens[i].word not in _PREPOSITIONS
        and not compound(tokens, i)
    )


def _auxiliary(tokens: Sequence[Token], i: int) -> bool:
    """Forms of be, and of have, do and get before another verb."""
    lemma = tokens[i].lemma
    if lemma not in ("have", "do", "get"):
        return lemma == "be"
    i += 1
    while _tag(tokens, i) == "RB":
        i += 1
    form = "VBG" if lemma == "get" else "VBD"  # taggers take "jumped" of "have jumped" for VBD
    return _tag(tokens, i) in ("VBN", "VB", "VBP", form)


def _particle(tokens: Sequence[Token], i: int) -> int:
    """How many words from here are a preposition or a particle that joins the verb before it."""
    if i >= len(tokens):
        return 0
    if length := compound(tokens, i):
        return length
    if _tag(tokens, i) == "TO":
        return int(not _verb_at(tokens, i + 1))
    return int(_tag(tokens, i) in ("IN", "RP") and not _opens_clause(tokens, i))


def _opens_clause(tokens: Sequence[Token], i: int) -> bool:
    """Whether the word joins clauses: "while", or "as" and "before" with a verb behind them.

    That verb is a participle directly behind, or comes before the next comma or preposition.
    """
    if tokens[i].word in CONNECTIVES:
        return True
    if tokens[i].word not in SUBORDINATORS:
        return False
    for j, token in enumerate(tokens[i + 1 : i + 9]):
        if token.tag in FINITE or (j == 0 and token.tag == "VBG"):
            return True
        if token.tag in ("IN", "TO", "CC", ".") or token.word == ",":
            return False
    return False
