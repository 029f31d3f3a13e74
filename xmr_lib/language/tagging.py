"""Words of a caption with their lemma and their part of speech (SMFEA §3.2.1).

Two backends give the same tokens: `hanta` (default; its English model lies in the package, so it
works offline) and `nltk` (perceptron tagger and WordNet lemmatiser, the paper's; their data must
be there). Tags are those of the Penn Treebank.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from xmr_lib.data.vocabulary import tokenize
from xmr_lib.errors import DataError, UnknownNameError

TAGGERS = ("hanta", "nltk")


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a caption.

    Attributes:
        word: Lower-cased, as `xmr_lib.data.vocabulary.tokenize` cuts it.
        lemma: Its dictionary form.
        tag: Its part of speech, such as "NN" or "VBZ".
    """

    word: str
    lemma: str
    tag: str


Tagger = Callable[[str], tuple[Token, ...]]


def load_tagger(name: str = "hanta") -> Tagger:
    """A function from a caption to its tokens; loaded once in a process.

    Args:
        name: One of `TAGGERS`.

    Raises:
        UnknownNameError: There is no such tagger.
        DataError: NLTK's data are not there; the message says how to get them.

    >>> [f"{token.lemma}/{token.tag}" for token in load_tagger()("Two dogs are running")]
    ['two/CD', 'dog/NNS', 'be/VBP', 'run/VBG']
    """
    if name not in TAGGERS:
        raise UnknownNameError("tagger", name, TAGGERS)
    return _loaded(name)


@cache
def _loaded(name: str) -> Tagger:
    tag = _hanta() if name == "hanta" else _nltk()
    return lambda caption: _corrected(tag(tokenize(caption)))


# --- HanTa ----------------------------------------------------------------------------------------

# HanTa's tags are those of the British National Corpus (C5).
_PENN = {
    "AJ0": "JJ", "AJC": "JJR", "AJS": "JJS", "AT0": "DT", "AV0": "RB", "AVP": "RP", "AVQ": "WRB",
    "CJC": "CC", "CJS": "IN", "CJT": "IN", "CRD": "CD", "DPS": "PRP$", "DT0": "DT", "DTQ": "WDT",
    "EX0": "EX", "ITJ": "UH", "NN0": "NN", "NN1": "NN", "NN2": "NNS", "NP0": "NNP", "ORD": "JJ",
    "PNI": "PRP", "PNP": "PRP", "PNQ": "WP", "PNX": "PRP", "POS": "POS", "PRF": "IN", "PRP": "IN",
    "TO0": "TO", "UNC": "NN", "VM0": "MD", "XX0": "RB", "ZZ0": "SYM",
    **{f"V{kind}{form}": tag for kind in "VBDH" for form, tag in {
        "B": "VBP", "D": "VBD", "G": "VBG", "I": "VB", "N": "VBN", "Z": "VBZ"}.items()},
}  # fmt: skip

# Nouns that have no singular, or whose plural is another thing.
_PLURAL_ONLY = frozenset(
    ("binoculars", "clothes", "glasses", "goggles", "gymnastics", "headphones", "jeans",
     "overalls", "pajamas", "pants", "pyjamas", "scissors", "shorts", "sports", "sunglasses",
     "sweatpants", "tights", "tongs", "trousers")
)  # fmt: skip
# Hardly ever a preposition or a noun in captions.
_PARTICIPLES = {"following": "follow", "being": "be"}
# HanTa says "leave" and "sky".
_LEMMAS = {"leaves": "leaf", "ski": "ski", "skis": "ski"}


# Verbs in whose -ing form an e is lost: dribbl-, fenc-, rollerskat-, parachut-, wad-.
_LOST_E = re.compile(
    r"(?:[bcdfgkpstz]l|c|v|[^z]z|[^aeiou](?:at|ad|id|ut)|^[^aeiou]+[aeiou][bdgkmnprt])$"
)


def _stem(word: str) -> str:
    """A verb from its -ing form, by spelling alone: biking, skateboarding, petting."""
    bare = word[:-3]
    if len(bare) > 2 and bare[-1] == bare[-2] and bare[-1] not in "aeioufslz":
        return bare[:-1]
    return f"{bare}e" if _LOST_E.search(bare) else bare


def _infinitive(word: str, lemma: str) -> str:
    """The lemma of an -ing form, mended where the ending was only cut off (HanTa's "wad")."""
    return _stem(word) if lemma == word[:-3] else lemma


@lru_cache(maxsize=1)
def _model():
    from HanTa import HanoverTagger

    return HanoverTagger.HanoverTagger("morphmodel_en.pgz")


def _hanta() -> Callable[[list[str]], list[Token]]:
    tagger = _model()

    def tag(words: list[str]) -> list[Token]:
        if not words:
            return []
        return [_token(*found) for found in tagger.tag_sent(words)]

    return tag


@lru_cache(maxsize=100_000)
def _token(word: str, lemma: str, c5: str) -> Token:
    tag = _not_a_word(word) or _PENN.get(c5, "." if c5.startswith("PU") else "NN")
    if word.endswith(("'s", "’s")) and tag.startswith("N"):
        return Token(word, word[:-2], "NN")
    if word in _PARTICIPLES:
        return Token(word, _PARTICIPLES[word], "VBG")
    if tag == "NNS" and word.endswith(("er", "ss")):
        tag = "NN"  # HanTa takes a surfer and motocross for plurals
    if tag == "NNS" and word in _LEMMAS:
        lemma = _LEMMAS[word]
    elif word in _PLURAL_ONLY or tag in ("NN", "NNP", "FW"):
        lemma = word  # HanTa makes "surf" of a surfer
    elif tag == "NNS" and (lemma == word or (word.endswith("ers") and not lemma.endswith("er"))):
        lemma = _singular(word)
    elif tag == "VBG":
        lemma = _infinitive(word, lemma)
    return Token(word, lemma.lower(), tag)


def _not_a_word(word: str) -> str | None:
    """The tag of numbers, of marks, and of words in another alphabet than English's."""
    letters = [letter for letter in word if letter.isalpha()]
    if not letters:
        return "CD" if word[0].isdigit() else "."
    return None if unicodedata.name(letters[0], "").startswith("LATIN") else "FW"


def _singular(word: str) -> str:
    """The singular of a regular plural that the tagger does not know: stairs, bikes, bushes."""
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


# --- NLTK -----------------------------------------------------------------------------------------


def _nltk() -> Callable[[list[str]], list[Token]]:
    import nltk
    from nltk.corpus import wordnet
    from nltk.stem import WordNetLemmatizer

    try:
        nltk.pos_tag(["a", "dog"])
        wordnet.synsets("dog")
    except LookupError:
        raise DataError(
            "The tagger 'nltk' needs data that is not here: `python -m nltk.downloader "
            "averaged_perceptron_tagger_eng wordnet`, or set NLTK_DATA to the folder that has it. "
            "The tagger 'hanta' needs none."
        ) from None
    lemmatize = lru_cache(maxsize=100_000)(WordNetLemmatizer().lemmatize)
    kinds = {"N": "n", "V": "v", "J": "a", "R": "r"}

    def tag(words: list[str]) -> list[Token]:
        found = []
        for word, penn in nltk.pos_tag(words):
            penn = _not_a_word(word) or penn
            if word.endswith(("'s", "’s")) and penn.startswith("N"):
                found.append(Token(word, word[:-2], "NN"))
                continue
            keep = word in _PLURAL_ONLY or penn[0] not in kinds
            lemma = word if keep else lemmatize(word, kinds[penn[0]])
            if penn == "VBG":
                lemma = _infinitive(word, lemma)  # WordNet makes "rid" of riding
            found.append(Token(word, "man" if word == "men" else lemma, penn))
        return found

    return tag


# --- what both get wrong in captions --------------------------------------------------------------

_COLOURS = frozenset(
    ("black", "blue", "brown", "gold", "gray", "green", "grey", "orange", "pink", "purple", "red",
     "silver", "tan", "white", "yellow")
)  # fmt: skip
_INDEFINITE = frozenset(
    f"{which}{what}"
    for which in ("any", "every", "no", "some")
    for what in ("body", "one", "thing")
)
# Nouns on -ing that are verbs in captions only with an object ("a man building a wall").
_THINGS = frozenset(
    ("awning", "building", "clearing", "clothing", "crossing", "opening",
     "outcropping", "paneling", "piercing", "pudding", "railing", "setting", "string")
)  # fmt: skip


@lru_cache(maxsize=50_000)
def _verb(word: str, c5: str) -> str | None:
    """The lemma of the verb that a word tagged as a noun may also be, else None.

    Args:
        word: The word.
        c5: Which form of a verb: "VVG" (-ing), "VVB" (bare) or "VVZ" (-s).
    """
    likely = dict(_model().tag_word(word, cutoff=8))  # tag -> log-probability
    if c5 == "VVG":
        if c5 not in likely:
            return _stem(word)
        return _infinitive(word, _model().analyze(word, pos=c5)[0])
    if c5 == "VVB":
        return word if {"VVB", "VVI"} & set(likely) else None
    return _model().analyze(word, pos=c5)[0] if c5 in likely else None


@lru_cache(maxsize=50_000)
def _rather_a_verb(word: str, margin: float = 1) -> bool:
    """Whether a word on -s or -ing is a verb about as often as a noun.

    Args:
        word: The word.
        margin: How much less likely the verb may be, in log-probability.
    """
    likely = dict(_model().tag_word(word, cutoff=8))
    verb, noun = ("VVG", "NN1") if word.endswith("ing") else ("VVZ", "NN2")
    return likely.get(verb, -99) > likely.get(noun, -99) - margin


def _corrected(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """Mends what taggers of newspaper text get wrong in captions, where articles are left out.

    - "Everyone" and "something" are pronouns; "half" before a participle ("half hidden") is an
      adverb.
    - An -ing form directly after a noun or a colour that is worn, or at the beginning, with no noun
      behind it, is a verb ("man jumping", "a boy in red jumping").
    - If there is no finite verb, a bare word after a plural or a pair of nouns is one where it can
      be ("a man and a woman walk in the park"). So is a word on -s after a singular noun that "a"
      introduces ("a truck parks"), that is a verb about as often as a plural, or that can be one
      where there is no verb at all; and after a plural or a colour that is worn, where it is a verb
      about as often or an article follows ("a man in black rides a bike").
    - A verb directly after an article is a noun ("a walk").
    """
    found = list(tokens)
    finite = any(token.tag in ("VBZ", "VBP", "VBD", "MD") for token in found)
    verbless = not any(token.tag.startswith("V") for token in found)
    for i, token in enumerate(found):
        before = found[i - 1].tag if i else ""
        after = found[i + 1].tag if i + 1 < len(found) else "."
        colour = i > 1 and found[i - 1].word in _COLOURS and found[i - 2].word == "in"
        if token.word in _INDEFINITE:
            found[i] = replace(token, lemma=token.word, tag="PRP")
        elif token.word == "half" and after == "VBN":
            found[i] = replace(token, tag="RB")
        elif _may_be_a_participle(token, after):
            follows = not i or before.startswith("NN") or (colour and _rather_a_verb(token.word))
            alone = follows and not after.startswith("NN")
            if (alone or before in ("VBZ", "VBP", "VBD")) and (verb := _verb(token.word, "VVG")):
                found[i] = replace(token, lemma=verb, tag="VBG")
        elif (
            token.tag in ("NN", "NNS")
            and (colour or before.startswith("NN"))
            and (not finite or (colour and token.tag == "NNS"))
        ):
            verb = _bare_or_third_person(found, i, after, verbless)
            if verb:
                found[i] = replace(token, lemma=verb, tag="VBP" if token.tag == "NN" else "VBZ")
                finite = True
        elif (
            token.tag in ("VBP", "VB", "VBZ")
            and before in ("DT", "PRP$", "JJ")
            and token.lemma not in ("be", "have", "do")
        ):
            found[i] = replace(token, tag="NNS" if token.tag == "VBZ" else "NN")
    return tuple(found)


def _may_be_a_participle(token: Token, after: str) -> bool:
    """Whether a word that is not tagged as a verb may be an -ing form of one."""
    return (
        token.tag in ("NN", "NNP", "JJ", "UH")
        and token.word.endswith("ing")
        and len(token.word) > 5
        and (token.word not in _THINGS or after in ("DT", "PRP$"))
    )


def _bare_or_third_person(
    tokens: Sequence[Token], i: int, after: str, verbless: bool
) -> str | None:
    """The verb's lemma, where the noun at `i` may be the verb of the nouns before it."""
    token, before = tokens[i], tokens[i - 1].tag
    if token.tag == "NNS":
        if before not in ("NN", "NNP"):  # a plural, or a colour that is worn
            likely = after in ("DT", "PRP$") or _rather_a_verb(token.word, margin=0.5)
            return _verb(token.word, "VVZ") if likely else None
        if _after_a_singular_article(tokens, i) and not after.startswith("NN"):
            return _verb(token.word, "VVZ") or _singular(token.word)
        likely = verbless or _rather_a_verb(token.word)
        return _verb(token.word, "VVZ") if likely else None
    if before == "NNS" and i > 1 and tokens[i - 2].word in ("a", "an"):
        return None  # "a farmers market"
    pair = i > 2 and any(other.tag == "CC" for other in tokens[max(0, i - 4) : i])
    if after.startswith(("NN", "JJ")) or not (before == "NNS" or pair):
        return None
    return _verb(token.word, "VVB")


def _after_a_singular_article(tokens: Sequence[Token], i: int) -> bool:
    """Whether "a" or "an" opens the noun phrase before `i`, which then has no plural for a head."""
    i -= 1
    while i >= 0 and tokens[i].tag.startswith(("NN", "JJ")):
        i -= 1
    return i >= 0 and tokens[i].word in ("a", "an")
