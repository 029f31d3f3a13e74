"""Toy scenes as ground truth: which things stand where, in which colour and relation.

A scene is composed (`layout`), then drawn (`drawing`) and described (`captions`).
All of them use integers and `Dice` only, so that boxes, relations and captions are the same on
every machine and every version of Python.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, TypeVar

T = TypeVar("T")
CANVAS = 128  # width and height of a scene, pixels


class Dice:
    """Random choices that depend on nothing but the seed.

    Python promises to keep the sequence of `random.Random.random` for ever, but not those of
    `choice`, `shuffle` and the like; so everything is made from `random()`.

    >>> Dice("a seed").between(1, 6) == Dice("a seed").between(1, 6)
    True
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def between(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[self.between(0, len(items) - 1)]

    def chance(self, percent: int) -> bool:
        """True `percent` times out of a hundred."""
        return self._random.random() * 100 < percent

    def weighted(self, items: Sequence[T], weights: Sequence[int]) -> T:
        """One of `items`, as often as its weight says."""
        at = self.between(1, sum(weights))
        for item, weight in zip(items, weights, strict=True):
            at -= weight
            if at <= 0:
                return item
        raise AssertionError("weights are positive integers")

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All `items` in random order."""
        left = list(items)
        return [left.pop(self.between(0, len(left) - 1)) for _ in range(len(left))]


class Kind(NamedTuple):
    """What all things of a kind share: size in pixels, colours they come in, where they belong."""

    width: int
    height: int
    colours: tuple[str, ...]
    group: str  # "people" | "animals" | "vehicles" | "toys" | "places"
    home: str = "ground"  # "ground" | "sky" | "water"


_PAINT = ("red", "blue", "green", "yellow", "purple", "orange", "white", "black", "pink")
_GAY = ("red", "blue", "green", "yellow", "purple", "orange", "pink")
KINDS: dict[str, Kind] = {
    "man": Kind(25, 53, _PAINT, "people"),
    "woman": Kind(25, 51, _PAINT, "people"),
    "boy": Kind(20, 41, _PAINT, "people"),
    "girl": Kind(21, 41, _PAINT, "people"),
    "dog": Kind(37, 29, ("brown", "black", "white", "grey"), "animals"),
    "cat": Kind(32, 28, ("black", "orange", "grey", "white"), "animals"),
    "horse": Kind(56, 48, ("brown", "black", "white"), "animals"),
    "cow": Kind(54, 38, ("black", "brown"), "animals"),
    "sheep": Kind(40, 31, ("white", "black", "grey"), "animals"),
    "duck": Kind(26, 22, ("white", "yellow", "brown"), "animals"),
    "bird": Kind(26, 20, ("red", "blue", "yellow", "black"), "animals", "sky"),
    "car": Kind(54, 27, _PAINT, "vehicles"),
    "bus": Kind(68, 38, ("red", "yellow", "blue", "green", "white", "orange"), "vehicles"),
    "bicycle": Kind(46, 30, ("red", "blue", "green", "black", "yellow"), "vehicles"),
    "boat": Kind(62, 62, ("red", "blue", "white", "yellow", "green"), "vehicles", "water"),
    "plane": Kind(54, 24, ("white", "red", "blue", "yellow"), "vehicles", "sky"),
    "kite": Kind(26, 44, _GAY, "toys", "sky"),
    "balloon": Kind(18, 40, _GAY, "toys", "sky"),
    "ball": Kind(16, 16, _GAY, "toys"),
    "umbrella": Kind(44, 46, (*_GAY, "black"), "toys"),
    "flower": Kind(18, 30, ("red", "yellow", "pink", "white", "purple", "orange"), "places"),
    "bench": Kind(52, 28, ("brown", "green", "red", "white", "blue"), "places"),
    "tree": Kind(52, 72, ("green", "orange", "pink"), "places"),
    "house": Kind(64, 62, ("red", "yellow", "blue", "white", "green", "pink"), "places"),
}
BACKGROUNDS = ("field", "beach", "snow", "street", "lake", "night", "desert", "mountains")
COLOURS = tuple(dict.fromkeys(colour for kind in KINDS.values() for colour in kind.colours))
SIZES = {"small": 74, "large": 106}  # per cent of the kind's size

PEOPLE = tuple(kind for kind in KINDS if KINDS[kind].group == "people")
_BEASTS = ("dog", "cat", "horse", "cow", "sheep", "duck")
_WHEELS = ("car", "bus", "bicycle")
_PREY = ("dog", "cat", "duck", "sheep")
_BIG = (*_WHEELS, "boat", "bench", "tree", "house")
_STANDING = (*PEOPLE, *_BEASTS, *_WHEELS, "bench", "tree", "house", "flower", "umbrella", "ball")
# (relation, subjects, objects, how often)
RULES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], int], ...] = (
    ("holding", PEOPLE, ("balloon", "balloon", "kite", "umbrella", "flower", "ball"), 18),
    ("riding", PEOPLE, ("horse", "bicycle", "cow"), 10),
    ("walking", PEOPLE, ("dog",), 5),
    ("kicking", PEOPLE, ("ball",), 5),
    ("in", (*PEOPLE, "dog", "cat"), ("boat",), 8),
    ("on", ("cat", "bird", "dog", "duck"), ("bench", "car", "bus", "house", "horse", "cow"), 9),
    ("on", PEOPLE, ("bench",), 5),
    ("under", (*PEOPLE, "dog", "cat", "sheep", "duck", "ball"), ("tree", "umbrella"), 9),
    ("next to", _STANDING, _STANDING, 13),
    ("behind", (*PEOPLE, *_BEASTS, "tree", "house", "bus"), _STANDING, 8),
    ("in front of", _STANDING, ("house", "tree", "bus", "car", "horse", "cow"), 8),
    ("chasing", (*PEOPLE, "dog", "cat", "cow"), (*_PREY, "boy", "girl"), 10),
    ("looking at", (*PEOPLE, *_BEASTS), (*_STANDING, "boat", "bird", "plane", "kite"), 10),
    ("flying over", ("bird", "plane"), (*PEOPLE, *_BEASTS, *_BIG), 8),
    ("jumping over", ("dog", "cat", "horse", "boy", "girl"), ("bench", "ball", "flower"), 5),
)
RELATIONS = tuple(dict.fromkeys(rule[0] for rule in RULES))


@dataclass(frozen=True)
class Thing:
    """One drawn thing.

    Attributes:
        kind: a key of `KINDS`.
        colour: a colour name; of a person, that of the clothes.
        size: "small" or "large".
        box: left, top, right, bottom in pixels, right and bottom not included.
        facing: "left" or "right".
        pose: "stand" | "run" | "ride" | "sit" | "hold" | "kick" | "fly".
        look: 0…11, a person's skin and hair.
        layer: things are drawn in the order of their layers, the farthest first.
    """

    kind: str
    colour: str
    size: str
    box: tuple[int, int, int, int]
    facing: str
    pose: str
    look: int
    layer: int

    @property
    def hand(self) -> tuple[int, int]:
        """Where a person who holds something has the hand, pixels."""
        left, top, right, bottom = self.box
        forward = (right - left) * 94 // 100
        x = left + forward if self.facing == "right" else right - forward
        return x, top + (bottom - top) * (46 if self.pose == "hold" else 56) // 100


class Relation(NamedTuple):
    """Thing number `subject` stands in relation `name` to thing number `object`."""

    subject: int
    name: str
    object: int


@dataclass(frozen=True)
class Scene:
    """Ground truth of one picture: its background, its things and how they relate."""

    background: str
    horizon: int  # pixels from the top
    things: tuple[Thing, ...]
    relations: tuple[Relation, ...]

    def to_json(self) -> dict:
        """As plain lists and dictionaries, for `scenes.json`."""
        return asdict(self) | {"relations": [list(relation) for relation in self.relations]}

    @classmethod
    def from_json(cls, data: dict) -> Scene:
        """Inverse of `to_json`."""
        things = tuple(Thing(**thing | {"box": tuple(thing["box"])}) for thing in data["things"])
        relations = tuple(Relation(*relation) for relation in data["relations"])
        return cls(data["background"], data["horizon"], things, relations)
