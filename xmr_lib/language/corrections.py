"""What taggers of newspaper text get wrong in captions, mended by rules.

Captions leave out articles and whole verbs, and begin with participles; so taggers take "pet" in
"Two boys pet a dog" for an adjective, and "runs" in "a boy in blue runs" for a plural.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from xmr_lib.language.words import Token, verb_lemma, verb_over_noun, word_set

FINITE = ("VBZ", "VBP", "VBD", "MD")
# Words that open a clause with a verb of its own; some of them are prepositions elsewhere.
CONNECTIVES = word_set("while whilst because that whether if although")
SUBORDINATORS = word_set("as though when where after before since until")

COLOURS = word_set(
    "black blue brown gold gray green grey orange pink purple red silver tan white yellow"
)
_INDEFINITE = frozenset(
    f"{which}{what}"
    for which in ("any", "every", "no", "some")
    for what in ("body", "one", "thing")
)
# Nouns on -ing that are verbs in captions only with an object ("a man building a wall").
_THINGS = word_set(
    "awning building clearing clothing crossing opening outcropping paneling piercing pudding "
    "railing setting string"
)
_NOTHING = Token("", "", ".")


def corrected(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """Mends tags clause by clause.

    - "Everyone" and "something" are pronouns; "half" before a participle ("half hidden") and
      "outdoors" are adverbs; "near" is a preposition.
    - A colour that is worn ("a girl in white") is no noun, an adjective without one ("in the
      dark") is.
    - A participle between an adverb or a noun and a noun is an adjective ("a snow covered slope").
    - An -ing form with no noun behind it, directly after a noun, a colour that is worn, or a
      conjunction, or at the beginning, is a verb ("a boy in red jumping").
    - A noun may be the verb that a clause lacks, see `_is_third_person` and `_is_bare_verb`.
    - A verb directly after an article is a noun ("a walk").
    """
    found: list[Token] = []
    for clause in _clauses(tokens):
        for i in range(len(clause)):
            clause[i] = _participle_or_adverb(clause, i)
        finite = any(token.tag in FINITE for token in clause)
        for i, token in enumerate(clause):
            if _is_third_person(clause, i, finite):
                clause[i] = replace(token, lemma=verb_lemma(token.word, "VBZ"), tag="VBZ")
            elif _is_bare_verb(clause, i, finite):
                clause[i] = replace(token, lemma=verb_lemma(token.word, "VBP"), tag="VBP")
            elif _is_a_noun_after_all(clause, i):
                clause[i] = replace(token, tag="NNS" if token.tag == "VBZ" else "NN")
            finite = finite or clause[i].tag in FINITE
        found += clause
    return tuple(found)


def _clauses(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Cuts before every conjunction that may open a clause."""
    clause: list[Token] = []
    for token in tokens:
        if token.word in SUBORDINATORS or token.word in CONNECTIVES - {"that"}:
            yield clause
            clause = []
        clause.append(token)
    yield clause


def _near(tokens: Sequence[Token], i: int) -> Token:
    """The token at `i`, or an empty one beyond the clause's ends."""
    return tokens[i] if 0 <= i < len(tokens) else _NOTHING


def _participle_or_adverb(tokens: Sequence[Token], i: int) -> Token:
    token, before, after = tokens[i], _near(tokens, i - 1), _near(tokens, i + 1)
    noun_follows = after.tag.startswith("NN")
    if token.word in _INDEFINITE:
        return replace(token, lemma=token.word, tag="PRP")
    if token.word in ("upside-down", "outdoors", "indoors") and not noun_follows:
        return replace(token, tag="RB")
    if token.word == "half" and after.tag == "VBN":
        return replace(token, tag="RB")
    if token.word == "near" and token.tag == "JJ":
        return replace(token, tag="IN")
    if token.tag == "NN" and _worn_colour(tokens, i + 1) and not noun_follows:
        return replace(token, tag="JJ")
    if token.tag == "JJ" and _stands_for_a_noun(tokens, i):
        return replace(token, tag="NN")
    if token.tag == "VBN" and noun_follows and _describes(tokens, i):
        return replace(token, lemma=token.word, tag="JJ")
    if (
        token.tag in ("NN", "NNP", "JJ", "UH")
        and token.word.endswith("ing")
        and len(token.word) > 5
        and (token.word not in _THINGS or after.tag in ("DT", "PRP$"))
    ):
        worn = _worn_colour(tokens, i) and verb_over_noun(token.word) > -1
        opens = not before.word or before.word in CONNECTIVES | SUBORDINATORS
        if before.tag in ("VBZ", "VBP", "VBD") or (
            (opens or before.tag.startswith("NN") or worn) and not noun_follows
        ):
            return replace(token, lemma=verb_lemma(token.word, "VBG"), tag="VBG")
    return token


def _stands_for_a_noun(tokens: Sequence[Token], i: int) -> bool:
    """Whether the adjective at `i` is all that follows an article ("in the dark")."""
    after = _near(tokens, i + 1)
    if tokens[i].word.endswith("ed"):
        return False  # "a fenced in yard"
    while i > 0 and tokens[i - 1].tag == "JJ":
        i -= 1
    return _near(tokens, i - 1).word in ("a", "an", "the") and not (
        after.word == ","
        or after.tag.startswith(("NN", "JJ", "CC", "CD", "VBD", "VBG", "VBN", "VBP", "RB"))
    )


def _describes(tokens: Sequence[Token], i: int) -> bool:
    """Whether the participle at `i` belongs to the noun behind it ("a snow covered slope").

    With a noun before it, it might also be the verb of a clause ("a crowd watched dancers"): not
    where a preposition or a verb comes before that noun, nor where another verb follows.
    """
    before = _near(tokens, i - 1)
    if before.tag == "RB":
        return _near(tokens, i - 2).tag in ("DT", "IN", "JJ", "PRP$", "CD", ".")
    if before.tag != "NN":
        return False
    start = _phrase_start(tokens, i)
    if _near(tokens, start - 1).tag in ("DT", "PRP$", "CD"):
        start -= 1
    opener = _near(tokens, start - 1)
    if opener is not _NOTHING and opener.tag != ".":
        return opener.tag.startswith(("IN", "TO", "RP", "V"))
    return any(token.tag in FINITE for token in tokens[i + 1 :])


def _phrase_start(tokens: Sequence[Token], i: int) -> int:
    """Where the nouns and adjectives that end before `i` begin."""
    while i > 0 and tokens[i - 1].tag.startswith(("NN", "JJ")):
        i -= 1
    return i


def _after_a(tokens: Sequence[Token], i: int) -> bool:
    """Whether "a" or "an" opens the noun phrase before `i`, which then has no plural for a head."""
    start = _phrase_start(tokens, i)
    numeral = _near(tokens, start).word in ("dozen", "couple", "few", "pair", "hundred")
    return 0 < start < i and not numeral and tokens[start - 1].word in ("a", "an")


def _worn_colour(tokens: Sequence[Token], i: int) -> bool:
    """Whether "in black" or "in black and white" ends before `i`."""
    words = [token.word for token in tokens[max(0, i - 4) : i]]
    if words[-1:] and words[-1] in COLOURS:
        return words[-2:-1] == ["in"] or (
            words[:1] == ["in"] and words[2:3] == ["and"] and words[1] in COLOURS
        )
    return False


def _article_follows(tokens: Sequence[Token], i: int) -> bool:
    """Whether an article opens the next phrase: no noun stands directly before one."""
    after = _near(tokens, i + 1)
    return after.tag == "PRP$" or after.word in ("a", "an", "the", "another")


def _is_third_person(tokens: Sequence[Token], i: int, finite: bool) -> bool:
    """Whether a word that was taken for a plural is the clause's verb ("a truck parks").

    `finite` says whether the clause has another finite verb.
    """
    token, before, after = tokens[i], _near(tokens, i - 1), _near(tokens, i + 1)
    worn = _worn_colour(tokens, i)
    if token.tag != "NNS" or not token.word.endswith("s"):
        return False
    likely = verb_over_noun(token.word)
    article = _article_follows(tokens, i)
    if before.tag == "CC":  # "opens a box and smiles at him"
        joins = article or after.tag in ("PRP", "IN", "TO", "RP", "RB")
        return joins and likely > -1.5 and any(other.tag == "VBZ" for other in tokens[:i])
    if before.word in ("another", "one"):
        return likely > -math.inf and not after.tag.startswith("NN")
    if article and before.tag in ("NN", "NNP", "JJ"):
        return True
    if finite and not worn:
        return False
    if _after_a(tokens, i) and not after.tag.startswith("NN"):
        return True
    if before.tag in ("NN", "NNP"):
        verbless = not any(other.tag.startswith("V") for other in tokens)
        return likely > (-math.inf if verbless else -1)
    return (before.tag == "NNS" or worn) and (article or likely > -0.5)


def _is_bare_verb(tokens: Sequence[Token], i: int, finite: bool) -> bool:
    """Whether a word that was taken for a noun or an adjective is the verb of a plural subject.

    `finite` says whether the clause has another finite verb.
    """
    token, before, after = tokens[i], _near(tokens, i - 1), _near(tokens, i + 1)
    if token.tag not in ("NN", "JJ") or token.word.endswith("ing") or token.word in COLOURS:
        return False
    likely = verb_over_noun(token.word)
    article = _article_follows(tokens, i)
    if before.tag == "CC":  # "hold cups and drink coffee"
        verbs = {other.tag for other in tokens[:i]}
        return likely > -1.5 and "VBP" in verbs and "VBZ" not in verbs
    plural = before.tag == "NNS" or before.word in ("couple", "crowd", "family", "group", "team")
    pair = i > 2 and any(other.tag == "CC" for other in tokens[max(0, i - 4) : i])
    if article and (before.tag.startswith("NN") or _worn_colour(tokens, i)):
        return plural or pair or not finite
    if finite or not before.tag.startswith("NN") or (plural and _after_a(tokens, i)):
        return False
    verbless = not any(other.tag.startswith("V") for other in tokens)
    if after.tag.startswith(("NN", "JJ")):  # "teenagers surf big waves"
        return plural and verbless and (likely > -4 or after.tag == "JJ")
    if plural or pair:
        subject = _near(tokens, _phrase_start(tokens, i) - 1)
        whole = subject.tag in (".", "CD", "CC") or subject.word in ("some", "of", "the")
        return likely > -math.inf or (plural and verbless and whole)
    first = next(other for other in tokens if other.tag.startswith("NN"))
    many = first.tag == "NNS" or any(other.tag == "CC" for other in tokens[: i - 2])
    # "two men in a boat row on a river"
    return many and verbless and likely > -4 and after.tag in ("IN", "TO", "RP")


def _is_a_noun_after_all(tokens: Sequence[Token], i: int) -> bool:
    token, before = tokens[i], _near(tokens, i - 1)
    return (
        token.tag in ("VBP", "VB", "VBZ")
        and before.tag in ("DT", "PRP$", "JJ")
        and before.word not in ("another", "each")
        and not _worn_colour(tokens, i)
        and token.lemma not in ("be", "have", "do")
    )
