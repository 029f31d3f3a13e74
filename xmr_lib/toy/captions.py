"""Writes captions of toy scenes the way people write them.

Each caption tells a part of the scene: one relation, two, a list of things, or one thing and the
place. Words come from the tables in `words`, sentences from patterns (active, passive, fronted,
"there is", headlines without a finite verb). Now and then the writer is vague or miscounts.
"""

from __future__ import annotations

import re

from xmr_lib.toy.pen import hair_of
from xmr_lib.toy.scene import KINDS, Dice, Relation, Scene, Thing
from xmr_lib.toy.words import (
    CLOTHES,
    COLOUR_WORDS,
    COUNTS,
    NOUNS,
    PLACES,
    PLURALS,
    PRONOUNS,
    RELATIONS,
    SIZE_WORDS,
    VAGUE,
    VAGUE_PERSON,
)

CAPTIONS_PER_SCENE = 5
# Clauses that begin like this cannot follow the place.
_FRONTED = re.compile("(In|On|Under|Beneath|Next|Beside|Behind|Over|Above|There|This|A) ")


def write(scene: Scene, seed: str) -> list[str]:
    """Five different captions of a scene; the same seed writes the same ones."""
    dice = Dice(f"captions {seed}")
    captions: list[str] = []
    while len(captions) < CAPTIONS_PER_SCENE:
        caption = _Writer(scene, dice).caption()
        if caption not in captions:
            captions.append(caption)
    return captions


def plural(noun: str) -> str:
    """Plural of a noun of the toy vocabulary.

    >>> plural("bench"), plural("little boy"), plural("sheep")
    ('benches', 'little boys', 'sheep')
    """
    head, _, last = noun.rpartition(" ")
    many = PLURALS.get(last, (last + "s",))[0]
    return f"{head} {many}".strip()


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an".

    >>> with_article("orange cat"), with_article("small dog")
    ('an orange cat', 'a small dog')
    """
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


class _Writer:
    """One caption; remembers what it has named, to speak of it as "the dog" or "she" later."""

    def __init__(self, scene: Scene, dice: Dice) -> None:
        self.scene, self.dice = scene, dice
        self.named: dict[int, str] = {}
        self.plain = dice.chance(9)  # a writer in a hurry mentions no colours or sizes

    def caption(self) -> str:
        patterns = (self.one_relation, self.two_relations, self.thing_list, self.one_thing)
        several = len(self.scene.relations) > 1
        text = self.dice.weighted(patterns, (50, 36 if several else 0, 10, 4))()
        text = text[0].upper() + text[1:]
        return text + self.dice.weighted((".", " .", ""), (70, 8, 22))

    # -- what is named ---------------------------------------------------------------------------

    def name(self, at: int, *, subject: bool = False) -> str:
        """Noun phrase of thing `at`: "a small brown dog", later "the dog" or "she"."""
        thing = self.scene.things[at]
        if at in self.named:
            pronoun = PRONOUNS.get(thing.kind)
            if subject and pronoun and self.dice.chance(35):
                return pronoun
            return f"the {self.named[at]}"
        noun = self._noun(thing)
        self.named[at] = noun.removeprefix("some ")
        if noun == "someone":
            self.named[at] = "person"
            return noun + self._after(thing)
        if noun.startswith("some "):
            return noun
        before = self._before(thing, noun)
        phrase = " ".join([*before, noun])
        after = self._after(thing)
        article = self.dice.weighted(("a", "the", "one"), (86, 11, 3))
        return (with_article(phrase) if article == "a" else f"{article} {phrase}") + after

    def _noun(self, thing: Thing) -> str:
        group = KINDS[thing.kind].group
        if group in VAGUE and self.dice.chance(7):
            return self.dice.choice(VAGUE_PERSON.get(thing.kind, VAGUE[group]))
        return self.dice.choice(NOUNS[thing.kind])

    def _before(self, thing: Thing, noun: str) -> list[str]:
        """Adjectives: size, colour, hair."""
        words: list[str] = []
        if self.plain:
            return words
        person = KINDS[thing.kind].group == "people"
        if self.dice.chance(10 if person else 24) and " " not in noun:
            words.append(self._size(thing, person))
        if person:
            if thing.look % 3 == 2 and self.dice.chance(20):
                words.append("blond")
        elif self.dice.chance(70):
            if thing.colour == "grey" and self.dice.chance(30):
                words.append("gray")
            else:
                options = COLOUR_WORDS.get(f"{thing.kind} {thing.colour}", (thing.colour,))
                words.append(self.dice.choice(options))
        return words

    def _size(self, thing: Thing, person: bool) -> str:
        if person:
            young = thing.kind in VAGUE_PERSON
            return "young" if young else "tall" if thing.size == "large" else "short"
        if thing.kind == "tree" and thing.size == "large" and self.dice.chance(50):
            return "tall"
        return self.dice.choice(SIZE_WORDS[thing.size])

    def _after(self, thing: Thing) -> str:
        """What a person wears, and whose hair is dark."""
        if KINDS[thing.kind].group != "people" or self.plain:
            return ""
        if self.dice.chance(58):
            cloth = self.dice.choice(CLOTHES[thing.kind])
            joint = self.dice.weighted(("in", "wearing"), (70, 30))
            if self.dice.chance(12):
                return f" in {thing.colour}"
            return f" {joint} {with_article(f'{thing.colour} {cloth}')}"
        if hair_of(thing.look) != "blond" and self.dice.chance(6):
            return f" with {hair_of(thing.look)} hair"
        return ""

    def place(self) -> str:
        return self.dice.choice(PLACES[self.scene.background])

    # -- sentences -------------------------------------------------------------------------------

    def one_relation(self) -> str:
        relation = self.dice.choice(self.scene.relations)
        clause = self._clause(relation)
        at = self.dice.between(0, len(self.scene.things) - 1)
        related = {i for r in self.scene.relations for i in (r.subject, r.object)}
        if at not in related and self.dice.chance(60):  # mention what else is there
            far = self.scene.things[at].box[3] < self.scene.things[relation.subject].box[3] - 6
            where = self.dice.choice(("in the background", "behind them") if far else ("nearby",))
            return f"{clause} with {self.name(at)} {where}"
        return self._set_in_place(clause, 36)

    def _set_in_place(self, clause: str, percent: int) -> str:
        """The clause with the place, at its end or its beginning, or as it is."""
        if not self.dice.chance(percent):
            return clause
        place = self.place()
        fronted = not place.startswith("with") and not _FRONTED.match(clause)
        if fronted and self.dice.chance(22):
            return f"{place}, {clause[0].lower()}{clause[1:]}"
        return f"{clause} {place}"

    def _clause(self, relation: Relation, *, finite: bool = False) -> str:
        """One relation as a clause; `finite` asks for one with a verb and its subject first."""
        words = RELATIONS[relation.name]
        subject, object_ = relation.subject, relation.object
        passive = words.passive and self.dice.chance(18)
        if not finite and words.fronted and self.dice.chance(9):
            first = self.name(object_)
            verb = self.dice.choice(("is", "there is"))
            return f"{self.dice.choice(words.fronted)} {first} {verb} {self.name(subject)}"
        if passive and relation.name == "on":
            first = self.name(object_, subject=True)
            return f"{first} has {self.name(subject)} on it"
        if passive:
            subject, object_ = object_, subject
        verbs = words.passive if passive else words.finite
        participles = words.passive_participle if passive else words.participle
        if self.scene.things[subject].kind == "ball":  # a ball does not stand
            verbs = [words for words in verbs if "stand" not in words]
            participles = [words for words in participles if "stand" not in words]
        first = self.name(subject, subject=True)
        if finite or self.dice.chance(48):
            return f"{first} {self.dice.choice(verbs)} {self.name(object_)}"
        headline = f"{first} {self.dice.choice(participles)} {self.name(object_)}"
        known = first.split()[0] in ("the", "he", "she", "some", "someone")
        if self.dice.chance(22) and not known:
            return f"{self.dice.choice(('There is', 'This is', 'A picture of'))} {headline}"
        return headline

    def two_relations(self) -> str:
        first, second = self.dice.shuffled(self.scene.relations)[:2]
        shared = {first.subject, first.object} & {second.subject, second.object}
        if first.subject == second.subject and self.dice.chance(55):
            one, two = RELATIONS[first.name], RELATIONS[second.name]
            who = self.name(first.subject)
            text = f"{who} {self.dice.choice(one.participle)} {self.name(first.object)}"
            if self.dice.chance(50):
                return f"{text} {self.dice.choice(two.finite)} {self.name(second.object)}"
            acts = [words for words in two.participle if words.split()[0].endswith("ing")]
            if acts:
                return f"{text} and {self.dice.choice(acts)} {self.name(second.object)}"
            return f"{text}, {two.participle[0]} {self.name(second.object)}"
        if first.object == second.subject and self.dice.chance(40):
            clause = self._clause(first, finite=True) if first.name != "on" else ""
            if clause.endswith(self.named.get(first.object, "?")):
                verb = self.dice.choice(RELATIONS[second.name].finite)
                return f"{clause} that {verb} {self.name(second.object)}"
            self.named.clear()
        joint = self.dice.choice((" while ", " and ", ", and ", " as "))
        clause = self._clause(first, finite=True)
        text = clause + joint + self._clause(second, finite=True)
        return self._set_in_place(text, 12 if shared else 20)

    def thing_list(self) -> str:
        """Two or three things of the scene; equal ones are counted, now and then wrongly."""
        groups: dict[str, list[int]] = {}
        for at, thing in enumerate(self.scene.things):
            groups.setdefault(thing.kind, []).append(at)
        if max(map(len, groups.values())) == 1 and self.dice.chance(35):
            groups = {}
            for at, thing in enumerate(self.scene.things):
                groups.setdefault(KINDS[thing.kind].group, []).append(at)
            groups = {group: ats for group, ats in groups.items() if group in ("people", "animals")}
        phrases = []
        for label, ats in self.dice.shuffled(list(groups.items()))[:3]:
            if len(ats) == 1:
                phrases.append(self.name(ats[0]))
            else:
                count = len(ats) + (1 if self.dice.chance(12) else 0)
                noun = {"people": "people", "animals": "animals"}.get(label) or plural(label)
                some = self.dice.weighted((COUNTS[min(count, 4)], "some", "several"), (80, 12, 8))
                phrases.append(f"{some} {noun}")
        if len(phrases) < 2:
            return self._set_in_place(phrases[0], 100) if phrases else self.one_thing()
        text = ", ".join(phrases[:-1]) + " and " + phrases[-1]
        return self._set_in_place(text, 70)

    def one_thing(self) -> str:
        at = self.dice.between(0, len(self.scene.things) - 1)
        thing = self.scene.things[at]
        name, place = self.name(at), self.place()
        if thing.pose in ("stand", "hold") and KINDS[thing.kind].group in ("people", "animals"):
            verb = self.dice.choice((" standing", " is standing", " stands", ""))
        elif thing.pose == "run":
            verb = self.dice.choice((" running", " runs", " is running"))
        elif thing.kind in ("bird", "plane") and thing.pose == "fly":
            verb = self.dice.choice((" flying", " flies in the sky", " is flying"))
        else:
            verb = ""
        return f"{name}{verb} {place}"
