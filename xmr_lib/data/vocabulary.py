"""Words to numbers: tokenising, and a vocabulary in the file format of VSE++ and SCAN."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from xmr_lib.errors import DataError, MissingDependencyError

PAD, START, END, UNKNOWN = "<pad>", "<start>", "<end>", "<unk>"
SPECIAL = (PAD, START, END, UNKNOWN)

# Letters with inner apostrophes, hyphens or joiners ("don't", "t-shirt"), numbers, or one symbol.
_TOKEN = re.compile(
    r"[^\W\d_]+(?:['’-][^\W\d_]+|[\u200c\u200d]+[^\W\d_]*)*"
    r"|\d+(?:[.,]\d+)*|[^\w\s]\ufe0f?(?:\u200d[^\w\s]\ufe0f?)*"
)
# Thai, Lao, Burmese, Khmer, kana and Chinese characters: scripts without blanks between words.
_WITHOUT_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_PHRASE = re.compile(f"{_WITHOUT_BLANKS.pattern}{{8}}")  # longer than most words
_KANA, _THAI = re.compile("[\u3040-\u30ff]"), re.compile("[\u0e00-\u0e7f]")


def tokenize(caption: str) -> list[str]:
    """Lower-cased words, numbers and punctuation marks of a caption in any alphabet.

    The text is brought to NFC; combining marks belong to the word that they are in. Chinese,
    Japanese and Thai words are found by BudouX where it is installed (`xmr-lib[languages]`); else
    what stands between two blanks is one word.

    >>> tokenize("A man's T-shirt, 2 dogs!")
    ['a', "man's", 't-shirt', ',', '2', 'dogs', '!']
    """
    text = caption.lower()
    if text.isascii():
        return _TOKEN.findall(text)
    text = unicodedata.normalize("NFC", text)
    shape = "".join(map(_as_letter, text))
    words = [text[each.start() : each.end()] for each in _TOKEN.finditer(shape)]
    if not (_WITHOUT_BLANKS.search(text) and word_cutters()):
        return words
    japanese = _KANA.search(text)
    return [part for word in words for part in _cut(word, "ja" if japanese else "zh")]


@cache
def _as_letter(character: str) -> str:
    """A letter for a combining mark, a blank for an invisible character, else the character."""
    kind = unicodedata.category(character)
    if kind[0] == "M" and character != "\ufe0f":
        return "x"
    return " " if kind == "Cf" and character not in "\u200c\u200d" else character


def _cut(word: str, language: str) -> list[str]:
    if not _WITHOUT_BLANKS.search(word):
        return [word]
    return word_cutters()["th" if _THAI.search(word) else language].parse(word)


@cache
def word_cutters() -> dict[str, Any]:
    """BudouX's parsers by language; empty without BudouX."""
    try:
        import budoux
    except ImportError:
        return {}
    return {
        "ja": budoux.load_default_japanese_parser(),
        "th": budoux.load_default_thai_parser(),
        "zh": budoux.load_default_simplified_chinese_parser(),
    }


def is_uncut(caption: str) -> bool:
    """Whether a caption has many characters without a blank that nothing here cuts into words."""
    return bool(_PHRASE.search(caption)) and not word_cutters()


@dataclass(frozen=True)
class TokenizedCaptions:
    """Captions as one flat array of word numbers: caption `i` is `flat[starts[i]:starts[i + 1]]`.

    Flat arrays make a batch a few NumPy operations instead of Python work per word.
    """

    flat: np.ndarray  # (n_words_in_all,) int32
    starts: np.ndarray  # (n_captions + 1,) int64

    @property
    def lengths(self) -> np.ndarray:
        """Words of each caption with its start and end marks, `(n_captions,)`."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def padded(self, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The chosen captions `(n,)` padded with 0, `(n, longest)` int64, and lengths `(n,)`."""
        lengths = self.lengths[captions]
        columns = np.arange(lengths.max(initial=0))
        inside = columns < lengths[:, None]  # (n, longest)
        tokens = np.zeros(inside.shape, dtype=np.int64)
        tokens[inside] = self.flat[(self.starts[captions][:, None] + columns)[inside]]
        return tokens, lengths


class Vocabulary:
    """A list of known words; its first four are `<pad> <start> <end> <unk>`.

    Args:
        words: All words in the order of their numbers, with the four special ones first.

    >>> vocabulary = Vocabulary.build(["a dog", "a cat"], threshold=1)
    >>> len(vocabulary), vocabulary.words[4:]
    (7, ('a', 'dog', 'cat'))
    >>> vocabulary.encode(["a bird"]).flat.tolist()  # <start> a <unk> <end>
    [1, 4, 3, 2]
    """

    def __init__(self, words: Sequence[str]) -> None:
        if tuple(words[: len(SPECIAL)]) != SPECIAL:
            raise DataError(f"A vocabulary must begin with {' '.join(SPECIAL)}.")
        if len(set(words)) != len(words):
            twice = [word for word, n in Counter(words).items() if n > 1]
            raise DataError(f"A vocabulary holds these words twice: {', '.join(twice[:5])}.")
        self.words = tuple(words)
        self.index = {word: i for i, word in enumerate(self.words)}

    @classmethod
    def build(cls, captions: Iterable[str], threshold: int = 4) -> Vocabulary:
        """All words that occur at least `threshold` times, most frequent first (ties: first seen).

        Pass training captions only. The peers counted validation or even test captions too;
        passing those as well is the way to compare with them.
        """
        counts = Counter(word for caption in captions for word in tokenize(caption))
        return cls([*SPECIAL, *(w for w, n in counts.most_common() if n >= threshold)])

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, captions: Sequence[str]) -> TokenizedCaptions:
        """Word numbers of captions, each between `<start>` and `<end>`.

        Raises:
            DataError: A caption has no word at all; the message names its position.
        """
        unknown, start, end = self.index[UNKNOWN], self.index[START], self.index[END]
        flat: list[int] = []
        starts = [0]
        for position, caption in enumerate(captions):
            words = tokenize(caption)
            if not words:
                raise DataError(
                    f"Caption {position} has no words ({caption!r}). Remove it or write one."
                )
            flat.append(start)
            flat.extend(self.index.get(word, unknown) for word in words)
            flat.append(end)
            starts.append(len(flat))
        return TokenizedCaptions(np.array(flat, dtype=np.int32), np.array(starts, dtype=np.int64))

    def share_of_unknown_words(self, captions: Iterable[str]) -> float:
        """Share (0 … 1) of the captions' words that are not in the vocabulary."""
        words = [word for caption in captions for word in tokenize(caption)]
        return sum(word not in self.index for word in words) / max(1, len(words))

    def save(self, path: str | Path) -> None:
        """Writes the JSON of VSE++ and SCAN: `word2idx`, `idx2word` (keys are strings), `idx`."""
        content = {
            "word2idx": self.index,
            "idx2word": {str(i): word for i, word in enumerate(self.words)},
            "idx": len(self.words),
        }
        if word_cutters() and any(map(_WITHOUT_BLANKS.search, self.words)):
            content["words_cut_by"] = "budoux"
        Path(path).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Reads a vocabulary that this class or the code of VSE++ or SCAN wrote.

        Raises:
            DataError: The file is missing, not JSON, or its numbers have gaps.
            MissingDependencyError: BudouX cut the words and is not installed here.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            word2idx = content["word2idx"]
            words = sorted(word2idx, key=word2idx.__getitem__)
        except FileNotFoundError:
            raise DataError(f"No vocabulary at {path}. Is this the folder of a run?") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is not a vocabulary ({error!r}); it needs a JSON object with word2idx."
            ) from None
        if content.get("words_cut_by") and not word_cutters():
            raise MissingDependencyError(
                f"{path}: its words were cut out of sentences by the package budoux. Install it "
                'with:  pip install "xmr-lib[languages]"'
            )
        if [word2idx[word] for word in words] != list(range(len(words))):
            raise DataError(f"{path}: the numbers in word2idx must be 0, 1, 2, … without gaps.")
        return cls(words)
