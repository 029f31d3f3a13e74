"""Words, lemmas and tags of captions; what taggers of newspaper text get wrong is mended."""

from __future__ import annotations

import os

import pytest

from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.language.tagging import load_tagger
from xmr_lib.language.words import infinitive

# caption -> some of its words as word/lemma/tag; written by hand
EXPECTED = {
    "Two young men are running through the wet leaves": (
        "two/two/CD young/young/JJ men/man/NNS are/be/VBP running/run/VBG through/through/IN "
        "the/the/DT leaves/leaf/NNS"
    ),
    "She gave her children a book": (
        "she/she/PRP gave/give/VBD her/her/PRP$ children/child/NNS book/book/NN"
    ),
    "A man jumping over stairs": "jumping/jump/VBG stairs/stair/NNS",
    "A man and a woman walk in the park": "walk/walk/VBP park/park/NN",
    "They go for a walk": "walk/walk/NN",
    "A surfer in jeans and sunglasses": (
        "surfer/surfer/NN jeans/jeans/NNS sunglasses/sunglasses/NNS"
    ),
    "The boy's hat": "boy's/boy/NN hat/hat/NN",
    "A truck parks near a farmers market": "parks/park/VBZ farmers/farmer/NNS market/market/NN",
    "Women at a farmers market": "farmers/farmer/NNS market/market/NN",
    "A man in black rides a bike": "black/black/JJ rides/ride/VBZ",
    "A boy in red jumping while a girl in green watches": "jumping/jump/VBG watches/watch/VBZ",
    "A man in black shirts": "shirts/shirt/NNS",
    "Two women in winter clothing near a brick building": (
        "clothing/clothing/NN building/building/NN"
    ),
    "A child building a castle": "building/build/VBG",
    "A horse prancing": "prancing/prance/VBG",
    "Dogs wading": "wading/wade/VBG",
    "A person kayaking on skis": "kayaking/kayak/VBG skis/ski/NNS",
    "A lady with sunglasses smiles": "smiles/smile/VBZ",
    "A cat half hidden by a horse following a motocross bike": (
        "half/half/RB following/follow/VBG motocross/motocross/NN"
    ),
    "собака и кошка 42 !": "собака/собака/FW 42/42/CD !/!/.",
}


@pytest.mark.parametrize("caption", EXPECTED)
def test_words_lemmas_and_tags_by_hand(caption):
    found = {f"{token.word}/{token.lemma}/{token.tag}" for token in load_tagger()(caption)}
    assert set(EXPECTED[caption].split()) <= found


def test_a_clause_keeps_its_own_finite_verb():
    """Nouns that could be verbs stay nouns where a verb is there already."""
    found = {token.word: token.tag for token in load_tagger()("A man with runs watches two plays")}
    assert found["plays"] == "NNS"


def test_nothing_and_marks_only():
    assert load_tagger()("") == ()
    assert [token.tag for token in load_tagger()("... !")] == ["."] * 4


def test_an_unknown_tagger_is_told():
    with pytest.raises(UnknownNameError, match="hanta"):
        load_tagger("hunta")


def test_missing_nltk_data_says_how_to_get_it(monkeypatch):
    import nltk

    load_tagger.cache_clear()
    monkeypatch.setattr(nltk.data, "path", ["/nowhere"])
    with pytest.raises(DataError, match=r"nltk\.downloader .*wordnet.*NLTK_DATA"):
        load_tagger("nltk")


@pytest.mark.skipif("NLTK_DATA" not in os.environ, reason="set NLTK_DATA to a folder with the data")
def test_nltk_gives_the_same_kind_of_tokens():
    caption = "Two dogs are running fast and men are riding while everyone sings"
    found = {t.word: (t.lemma, t.tag) for t in load_tagger("nltk")(caption)}
    assert found["dogs"] == ("dog", "NNS") and found["men"] == ("man", "NNS")
    assert found["running"] == ("run", "VBG") and found["two"][1] == "CD"
    assert found["riding"] == ("ride", "VBG") and found["everyone"][1] == "PRP"


STEMS = (
    "biking/bike wading/wade fencing/fence dribbling/dribble rollerskating/rollerskate "
    "socializing/socialize buzzing/buzz petting/pet sniffing/sniff kayaking/kayak "
    "crawling/crawl galloping/gallop floating/float skiing/ski fleeing/flee"
)


@pytest.mark.parametrize("pair", STEMS.split())
def test_stems_by_spelling(pair):
    word, verb = pair.split("/")
    assert infinitive(word, word[:-3]) == verb
