"""The words that captions of toy scenes are made of; each list in the order of its frequency."""

from __future__ import annotations

from typing import NamedTuple


def table(text: str) -> dict[str, tuple[str, ...]]:
    """Reads `key: one, two; key: …`.

    >>> table("dog: dog, puppy; cow: cow")
    {'dog': ('dog', 'puppy'), 'cow': ('cow',)}
    """
    return {key: _list(words) for key, words in _entries(text)}


def _entries(text: str) -> list[tuple[str, str]]:
    entries = (entry.split(":") for entry in " ".join(text.split()).split(";"))
    return [(key.strip(), words.strip()) for key, words in entries]


def _list(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",")) if words.strip() else ()


# Nouns of each kind, the plain one first, and vaguer ones of its group or of the kind itself.
NOUNS = table("""
    man: man, man, guy, gentleman; woman: woman, woman, lady; boy: boy, boy, little boy, kid;
    girl: girl, girl, little girl; dog: dog, dog, puppy; cat: cat, cat, kitten; horse: horse;
    cow: cow; sheep: sheep; duck: duck; bird: bird; car: car, car, automobile; bus: bus;
    bicycle: bicycle, bike; boat: boat, sailboat; plane: plane, airplane; kite: kite; balloon:
    balloon; ball: ball, ball, beach ball; umbrella: umbrella; flower: flower; bench: bench;
    tree: tree; house: house, house, cottage
""")
VAGUE = table("""
    people: person, someone; animals: animal, some animal; vehicles: vehicle; toys: toy
""")
VAGUE_PERSON = table("boy: child, young child; girl: child, young child")
PRONOUNS = {"man": "he", "boy": "he", "woman": "she", "girl": "she"}
PLURALS = table("""
    sheep: sheep; man: men; woman: women; person: people; bus: buses; bench: benches; child:
    children
""")
COUNTS = ("", "one", "two", "three", "four")
# Adjectives by kind and colour, where the colour's own name is not the only one.
COLOUR_WORDS = table("""
    tree orange: autumn, orange; tree pink: blossoming, pink; tree green: green, leafy; cat
    orange: orange, ginger; cow black: black and white, spotted; cow brown: brown and white,
    spotted; duck brown: brown, green-headed
""")
SIZE_WORDS = table("small: small, little, tiny; large: big, large")
CLOTHES = table("man: shirt, sweater; boy: shirt, cap, t-shirt; woman: dress; girl: dress")
PLACES = table("""
    field: in a field, on the grass, in the park, in a meadow, on a green lawn;
    beach: on the beach, at the beach, on the sand by the sea, by the ocean;
    snow: in the snow, on a snowy day, in a snowy field, on snow-covered ground;
    street: on the street, in the city, on a city street, in town;
    lake: by a lake, near the water, at the lake, beside a lake;
    night: at night, under the moon, in the dark, on a starry night;
    desert: in the desert, in a sandy desert, on dry ground, near a cactus;
    mountains: in the mountains, near some mountains, in a valley, with mountains in the background
""")


class Words(NamedTuple):
    """How a relation is put: about its subject and, in the passive, about its object."""

    finite: tuple[str, ...]  # "{subject} … {object}"
    participle: tuple[str, ...]
    passive: tuple[str, ...] = ()  # "{object} … {subject}"
    passive_participle: tuple[str, ...] = ()
    fronted: tuple[str, ...] = ()  # "… {object} {verb} {subject}"


# Of each relation the five lists of `Words`; those at the end may be missing.
_RELATIONS = """
    holding: is holding, holds, has, is carrying | holding, with, carrying | is being held by,
        is in the hand of | held by, carried by;
    riding: is riding, rides, is on, is sitting on | riding, on, riding on | is being ridden by,
        is carrying | ridden by, carrying;
    walking: is walking, walks, is out with | walking, out walking, leading | is being walked
        by, is on a leash held by | walked by, led by;
    kicking: is kicking, kicks, is playing with | kicking, playing with | is being kicked by, is
        kicked by | kicked by;
    in: is in, is sailing in, sits in | in, sailing in, sitting in | is carrying | carrying,
        with | In;
    on: is on, is sitting on, sits on, is resting on | on, sitting on, sitting on top of,
        perched on | has on it |  | On, On top of;
    under: is under, stands under, is beneath | under, underneath, in the shade of | is above,
        gives shade to | above, shading | Under, Beneath;
    next to: is next to, stands beside, is near | next to, beside, near, standing next to | is
        next to, is beside | next to, by | Next to, Beside;
    behind: is behind, stands behind, is partly hidden by | behind, standing behind, half hidden
        by | is in front of | in front of | Behind;
    in front of: is in front of, stands in front of | in front of, standing in front of | is
        behind | behind | In front of;
    chasing: is chasing, chases, runs after, is running after | chasing, running after,
        following | is being chased by, runs away from, is followed by | chased by, running
        from, being chased by;
    looking at: is looking at, looks at, watches, is watching | looking at, watching, staring
        at, facing | is being watched by, is watched by | watched by;
    flying over: is flying over, flies over, flies above | flying over, flying above, in the air
        over | is below, is under | below, beneath | Over, Above;
    jumping over: is jumping over, jumps over, leaps over | jumping over, leaping over, in the
        air above | is being jumped over by | jumped over by
"""
RELATIONS = {name: Words(*map(_list, lists.split("|"))) for name, lists in _entries(_RELATIONS)}
