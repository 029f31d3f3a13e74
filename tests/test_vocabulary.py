import json

import numpy as np
import pytest

from xmr_lib.data.vocabulary import SPECIAL, Vocabulary, tokenize
from xmr_lib.errors import DataError


def test_tokens_of_awkward_text():
    words = ["two", "dogs", "'", "t-shirt", "isn't", "3.5", "m", "high", ".", ".", "."]
    assert tokenize("Two dogs' T-shirt isn't 3.5 m high...") == words
    words = ["ein", "hündchen", "läuft", "–", "собака", "☕️", "🐕\u200d🦺"]
    assert tokenize("Ein Hündchen läuft – собака ☕️ 🐕\u200d🦺\u200b") == words
    assert tokenize(" \t\n") == []


def test_threshold_order_and_unknown_words():
    vocabulary = Vocabulary.build(["b b a", "a b c"], threshold=2)
    assert vocabulary.words == (*SPECIAL, "b", "a")
    encoded = vocabulary.encode(["a c b", "c"])
    assert encoded.flat.tolist() == [1, 5, 3, 4, 2, 1, 3, 2]
    assert encoded.lengths.tolist() == [5, 3]
    assert vocabulary.share_of_unknown_words(["a c b d"]) == 0.5


def test_padding_equals_a_plain_loop():
    rng = np.random.default_rng(0)
    words = [f"w{chr(97 + i)}" for i in range(20)]
    captions = [" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(50)]
    encoded = Vocabulary.build(captions, threshold=1).encode(captions)
    chosen = rng.integers(0, 50, 17)
    tokens, lengths = encoded.padded(chosen)
    pieces = [encoded.flat[encoded.starts[c] : encoded.starts[c + 1]].tolist() for c in chosen]
    longest = max(map(len, pieces))
    assert lengths.tolist() == [len(p) for p in pieces]
    assert tokens.tolist() == [p + [0] * (longest - len(p)) for p in pieces]
    assert tokens.dtype == np.int64


def test_peers_json_there_and_back(tmp_path):
    vocabulary = Vocabulary.build(["a dög's here"], threshold=1)
    vocabulary.save(tmp_path / "v.json")
    content = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    assert content["idx2word"]["5"] == "dög's" and content["idx"] == len(vocabulary)
    assert Vocabulary.load(tmp_path / "v.json").words == vocabulary.words


def test_a_caption_of_ten_thousand_words():
    vocabulary = Vocabulary.build(["dog"], threshold=1)
    assert vocabulary.encode(["dog " * 10_000]).lengths.tolist() == [10_002]


def test_empty_caption_is_named():
    with pytest.raises(DataError, match="Caption 1 has no words"):
        Vocabulary.build(["dog"], threshold=1).encode(["dog", "  "])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a vocabulary"),
        ("[]", "is not a vocabulary"),
        ('{"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 4}}', "without gaps"),
        ('{"word2idx": {"dog": 0}}', "must begin with <pad>"),
    ],
)
def test_broken_files_are_named(tmp_path, content, message):
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        Vocabulary.load(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"No vocabulary at .*nowhere"):
        Vocabulary.load(tmp_path / "nowhere.json")
