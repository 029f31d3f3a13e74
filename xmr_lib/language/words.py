"""Words of captions: what their spelling and HanTa's lexicon say about a single one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

# Verbs in whose -ing form an e is lost: dribbl-, fenc-, rollerskat-, parachut-, wad-.
_LOST_E = re.compile(
    r"(?:[bcdfgkpstz]l|c|v|[^z]z|[^aeiou](?:at|ad|id|ut)|^[^aeiou]+[aeiou][bdgkmnprt])$"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a caption.

    Attributes:
        word: Lower-cased, as `xmr_lib.data.vocabulary.tokenize` cuts it; a possessive or an "is"
            that was written apart ("father 's") belongs to the word before it.
        lemma: Its dictionary form.
        tag: Its part of speech in the Penn Treebank's tags, such as "NN" or "VBZ".
    """

    word: str
    lemma: str
    tag: str


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


@cache
def lexicon() -> Any:
    """HanTa's model of English; its tags are those of the British National Corpus (C5)."""
    from HanTa import HanoverTagger

    return HanoverTagger.HanoverTagger("morphmodel_en.pgz")


@lru_cache(maxsize=50_000)
def verb_over_noun(word: str) -> float:
    """How much more likely a word is a verb than a noun or an adjective, in log-probability.

    The form counts: -ing, -s (a plural or a third person), or bare. Minus infinity where the
    lexicon knows no such verb.

    >>> verb_over_noun("swim") > 0 > verb_over_noun("box"), verb_over_noun("cat")
    (True, -inf)
    """
    likely = dict(lexicon().tag_word(word, cutoff=8))
    verbs, others = ("VVB", "VVI"), ("NN1", "NN0", "AJ0")
    if word.endswith("ing"):
        verbs, others = ("VVG",), ("NN1",)
    elif word.endswith("s") and not word.endswith("ss"):
        verbs, others = ("VVZ",), ("NN2",)
    verb = max(likely.get(tag, -math.inf) for tag in verbs)
    return verb - max(likely.get(tag, -99) for tag in others)


@lru_cache(maxsize=50_000)
def verb_lemma(word: str, tag: str) -> str:
    """The lemma of a "VBG", "VBZ" or bare "VBP", by the lexicon, else by its spelling."""
    if tag == "VBP":
        return word
    known = verb_over_noun(word) > -math.inf
    if tag == "VBZ":
        return lexicon().analyze(word, pos="VVZ")[0] if known else singular(word)
    return infinitive(word, lexicon().analyze(word, pos="VVG")[0] if known else word[:-3])


def infinitive(word: str, lemma: str) -> str:
    """The lemma of an -ing form; its spelling decides where a tagger only cut off the ending.

    >>> infinitive("wading", "wad"), infinitive("petting", "pett"), infinitive("lying", "lie")
    ('wade', 'pet', 'lie')
    """
    bare = word[:-3]
    if lemma != bare:
        return lemma
    if len(bare) > 2 and bare[-1] == bare[-2] and bare[-1] not in "aeioufslz":
        return bare[:-1]
    return f"{bare}e" if _LOST_E.search(bare) else bare


def singular(word: str) -> str:
    """The singular of a regular plural.

    >>> [singular(word) for word in ("stairs", "bushes", "puppies", "glass")]
    ['stair', 'bush', 'puppy', 'glass']
    """
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
