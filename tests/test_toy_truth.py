"""Trees of toy captions, judged by the scenes they describe."""

from __future__ import annotations

from xmr_course.toy_truth import toy_truth

from xmr_lib import toy
from xmr_lib.data import captioned
from xmr_lib.language.referral_tree import referral_tree
from xmr_lib.toy.scene import Relation, Scene, Thing


def thing(kind: str) -> Thing:
    return Thing(kind, "red", "large", (0, 0, 10, 10), "left", "standing", 0, 1)


# A dog chases a cat, beside which a man stands.
SCENE = Scene(
    "field",
    60,
    (thing("dog"), thing("cat"), thing("man")),
    (Relation(0, "chasing", 1), Relation(2, "next to", 1)),
)


def judged(*captions: str):
    return toy_truth([referral_tree(caption) for caption in captions], [SCENE] * len(captions))


def test_what_is_there_and_what_holds():
    found = judged("A dog is chasing a cat")
    assert (found.fragments, found.true_fragments) == (2, 2)
    assert (found.relations, found.true_relations, found.unjudged) == (1, 1, 0)


def test_passive_and_synonyms_mean_the_same():
    found = judged("A kitten is being chased by a puppy", "The cat runs away from the dog")
    assert (found.relations, found.true_relations) == (2, 2)


def test_what_is_not_there_and_what_does_not_hold():
    found = judged("A cat is chasing a dog", "A duck is next to a cat", "A man stands behind a cat")
    assert (found.fragments, found.true_fragments) == (6, 5)  # there is no duck
    assert (found.relations, found.true_relations) == (3, 0)


def test_vague_words_and_clothes():
    found = judged("Someone in a red shirt is next to an animal")
    assert (found.fragments, found.true_fragments) == (1, 1)  # the animal; a shirt is no thing
    assert found.relations == 0 and found.unjudged == 3  # red shirt, and what is beside it


def test_real_scenes_are_mostly_told_the_truth(tmp_path):
    data = captioned.load(toy.draw(30, 1, 1, folder=tmp_path / "scenes"))
    scenes = toy.scenes(tmp_path / "scenes")
    of_caption = [scenes[i] for i in data.image_of_caption]
    found = toy_truth([referral_tree(caption) for caption in data.captions], of_caption)
    assert found.true_fragments > 0.95 * found.fragments
    assert found.true_relations > 0.7 * found.relations > 0
    assert "are true" in str(found)
    shuffled = toy_truth(
        [referral_tree(caption) for caption in data.captions], of_caption[7:] + of_caption[:7]
    )
    assert shuffled.true_relations < 0.4 * shuffled.relations
