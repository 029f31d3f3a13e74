"""Words of a caption with their lemma and their part of speech (SMFEA §3.2.1).

Two backends give the same tokens: `hanta` (default; its English model lies in the package, so it
works offline) and `nltk` (perceptron tagger and WordNet lemmatiser, the paper's; their data must
be there). Tags are those of the Penn Treebank.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache

from xmr_lib.data.vocabulary import tokenize
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.language.corrections import corrected
from xmr_lib.language.words import Token, infinitive, lexicon, singular, word_set

TAGGERS = ("hanta", "nltk")

Tagger = Callable[[str], tuple[Token, ...]]

# Both would take a tagger very long, or make it fail: HanTa's time grows with the square of a
# word's letters, and its log-probabilities leave their range after 100,000 words.
_LONGEST_WORD, _MOST_WORDS = 40, 1000

# "father 's", "dog s": what belongs to the word before it; and the mark behind a plural.
_APART = re.compile(r"(?<=[^\W\d_]) (?:['’´`] )?s\b")
_PLURAL_POSSESSIVE = re.compile(r"(?<=s) ['’](?= \w)(?!.*['’](?!\w))")


@cache
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
    backend = _hanta() if name == "hanta" else _nltk()

    def tag(caption: str) -> tuple[Token, ...]:
        words = _words(caption)
        bare = [re.sub("['’]s$", "", word)[:_LONGEST_WORD] for word in words]
        tokens: list[Token] = []
        for start in range(0, len(words), _MOST_WORDS):
            tokens += backend(bare[start : start + _MOST_WORDS])
        return corrected([_owner(*pair) for pair in zip(words, tokens, strict=True)])

    return tag


def _words(caption: str) -> list[str]:
    """Words as `tokenize` cuts them, with a possessive or an "is" joined to the word before it."""
    text = " ".join(tokenize(caption)).replace("upside down", "upside-down")
    return _APART.sub("'s", _PLURAL_POSSESSIVE.sub("", text)).split()


def _owner(word: str, token: Token) -> Token:
    """The token of a word that may have lost a possessive or an "is" ("it's": "it") for tagging."""
    if not word.endswith(("'s", "’s")):
        return token
    if token.tag == "PRP":
        return Token(word, token.lemma, "PRP$")
    return Token(word, token.lemma, "NN") if token.tag.startswith("N") else token


def _not_a_word(word: str) -> str | None:
    """The tag of numbers, of marks, and of words in another alphabet than English's."""
    letters = [letter for letter in word if letter.isalpha()]
    if not letters:
        return "CD" if word[0].isdigit() else "."
    return None if unicodedata.name(letters[0], "").startswith("LATIN") else "FW"


# --- HanTa ----------------------------------------------------------------------------------------

# HanTa's tags are those of the British National Corpus (C5).
_PENN: dict[str, str] = {}
for _tag, _codes in {
    "JJ": "AJ0 ORD",
    "NN": "NN0 NN1 UNC",
    "DT": "AT0 DT0",
    "IN": "CJS CJT PRF PRP",
    "PRP": "PNI PNP PNX",
    "JJR": "AJC",
    "JJS": "AJS",
    "RB": "AV0 XX0",
    "RP": "AVP",
    "WRB": "AVQ",
    "CC": "CJC",
    "CD": "CRD",
    "PRP$": "DPS",
    "WDT": "DTQ",
    "EX": "EX0",
    "UH": "ITJ",
    "NNS": "NN2",
    "NNP": "NP0",
    "WP": "PNQ",
    "POS": "POS",
    "TO": "TO0",
    "MD": "VM0",
    "SYM": "ZZ0",
}.items():
    _PENN |= dict.fromkeys(_codes.split(), _tag)
for _form, _tag in zip("BDGINZ", ("VBP", "VBD", "VBG", "VB", "VBN", "VBZ"), strict=True):
    _PENN |= {f"V{kind}{_form}": _tag for kind in "VBDH"}

# Nouns that have no singular, or whose plural is another thing.
_PLURAL_ONLY = word_set(
    "binoculars clothes glasses goggles gymnastics headphones jeans overalls pajamas pants "
    "pyjamas scissors shorts sports sunglasses sweatpants tights tongs trousers"
)
_LEMMAS = {"leaves": "leaf", "ski": "ski", "skis": "ski"}  # HanTa says "leave" and "sky"
_PARTICIPLES = {"following": "follow", "being": "be"}  # hardly ever anything else in captions
_PLURALS = ("people", "cattle", "police")


def _hanta() -> Callable[[list[str]], list[Token]]:
    tagger = lexicon()
    return lambda words: [_token(*found) for found in tagger.tag_sent(words)]


@lru_cache(maxsize=100_000)
def _token(word: str, lemma: str, c5: str) -> Token:
    tag = _not_a_word(word) or _PENN.get(c5, "." if c5.startswith("PU") else "NN")
    if word in _PARTICIPLES:
        return Token(word, _PARTICIPLES[word], "VBG")
    if word in _PLURALS:
        return Token(word, word, "NNS")
    if tag == "NNS" and word.endswith(("er", "ss")):
        tag = "NN"  # HanTa takes a surfer and motocross for plurals
    if tag == "NNS" and word in _LEMMAS:
        lemma = _LEMMAS[word]
    elif word in _PLURAL_ONLY or tag in ("NN", "NNP", "FW"):
        lemma = word  # HanTa makes "surf" of a surfer
    elif tag == "NNS" and (lemma == word or (word.endswith("ers") and not lemma.endswith("er"))):
        lemma = singular(word)
    elif tag == "VBG":
        lemma = infinitive(word, lemma)
    return Token(word, lemma.lower(), tag)


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

    def token(word: str, tag: str) -> Token:
        tag = _not_a_word(word) or tag
        if word == "men":
            return Token(word, "man", tag)
        if word in _PLURAL_ONLY or tag[0] not in kinds:
            return Token(word, word, tag)
        lemma = lemmatize(word, kinds[tag[0]])
        # WordNet makes "rid" of riding.
        return Token(word, infinitive(word, lemma) if tag == "VBG" else lemma, tag)

    return lambda words: [token(*found) for found in nltk.pos_tag(words)]
