"""Toy scenes as ground truth: which things stand where, in which colour and relation.

A scene is composed before it is drawn (`toy_drawing`) and written about (`toy_captions`). All
three use integers and `Dice` only, so that boxes, relations and captions are the same on every
machine and every version of Python.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
    "man": Kind(25, 56, _PAINT, "people"),
    "woman": Kind(25, 54, _PAINT, "people"),
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
    "boat": Kind(54, 56, ("red", "blue", "white", "yellow", "green", "orange"), "vehicles", "water"),
    "plane": Kind(54, 24, ("white", "red", "blue", "yellow"), "vehicles", "sky"),
    "kite": Kind(26, 44, _GAY, "toys", "sky"),
    "balloon": Kind(18, 40, _GAY, "toys", "sky"),
    "ball": Kind(16, 16, _GAY, "toys"),
    "umbrella": Kind(44, 46, (*_GAY, "black"), "toys"),
    "flower": Kind(18, 30, ("red", "yellow", "pink", "white", "purple", "orange"), "places"),
    "bench": Kind(52, 28, ("brown", "green", "red", "white", "blue"), "places"),
    "tree": Kind(52, 72, ("green", "orange", "pink"), "places"),
    "house": Kind(58, 56, ("red", "yellow", "blue", "white", "green", "pink"), "places"),
}
BACKGROUNDS = ("field", "beach", "snow", "street", "lake", "night", "desert", "mountains")
COLOURS = tuple(dict.fromkeys(colour for kind in KINDS.values() for colour in kind.colours))
SIZES = {"small": 82, "large": 116}  # per cent of the kind's size

_PEOPLE = tuple(kind for kind in KINDS if KINDS[kind].group == "people")
_BEASTS = ("dog", "cat", "horse", "cow", "sheep", "duck")
_WHEELS = ("car", "bus", "bicycle")
_BIG = (*_WHEELS, "boat", "bench", "tree", "house")
_STANDING = (*_PEOPLE, *_BEASTS, *_WHEELS, "bench", "tree", "house", "flower", "umbrella", "ball")
# (relation, subjects, objects, how often)
RULES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], int], ...] = (
    ("holding", _PEOPLE, ("balloon", "kite", "umbrella", "flower", "ball"), 18),
    ("riding", _PEOPLE, ("horse", "bicycle", "cow"), 10),
    ("walking", _PEOPLE, ("dog",), 5),
    ("kicking", _PEOPLE, ("ball",), 5),
    ("in", (*_PEOPLE, "dog", "cat"), ("boat",), 8),
    ("on", ("cat", "bird", "dog", "duck"), ("bench", "car", "bus", "house", "horse", "cow"), 9),
    ("on", _PEOPLE, ("bench",), 5),
    ("under", (*_PEOPLE, "dog", "cat", "sheep", "duck", "ball"), ("tree", "umbrella"), 9),
    ("next to", _STANDING, _STANDING, 13),
    ("behind", (*_PEOPLE, *_BEASTS, "tree", "house", "bus"), _STANDING, 8),
    ("in front of", _STANDING, ("house", "tree", "bus", "car", "horse", "cow"), 8),
    ("chasing", (*_PEOPLE, "dog", "cat", "cow"), ("dog", "cat", "duck", "sheep", "boy", "girl"), 10),
    ("looking at", (*_PEOPLE, *_BEASTS), (*_STANDING, "boat", "bird", "plane", "kite"), 10),
    ("flying over", ("bird", "plane"), (*_PEOPLE, *_BEASTS, *_BIG), 8),
    ("jumping over", ("dog", "cat", "horse", "boy", "girl"), ("bench", "ball", "flower"), 5),
)
RELATIONS = tuple(dict.fromkeys(rule[0] for rule in RULES))
# Where (per cent of the height) the supporting surface of a thing lies.
_SURFACE = {"bench": 52, "car": 5, "bus": 3, "house": 6, "horse": 42, "cow": 32}
_UPHELD = ("on", "in", "riding", "jumping over")  # relations that lift their subject off the ground


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


def compose(seed: str) -> Scene:
    """Compose the scene of a seed: two to four things and one to four relations.

    >>> compose("example") == compose("example")
    True
    """
    dice = Dice(f"scene {seed}")
    scene = None
    while scene is None:  # what happens is chosen once, then places are tried until it fits
        relation, subjects, objects, _ = dice.weighted(RULES, [rule[3] for rule in RULES])
        target = dice.choice(objects)
        actor = dice.choice([kind for kind in subjects if kind != target])
        for _ in range(80):
            empty = Scene(dice.choice(BACKGROUNDS), dice.between(52, 62), (), ())
            scene = _try(empty, relation, _new(actor, empty, dice), _new(target, empty, dice), dice)
            if scene is not None:
                break
    wanted = dice.weighted((2, 3, 4), (25, 45, 30))
    for _ in range(40):
        if len(scene.things) < wanted:
            scene = _extended(scene, dice) or scene
    return scene


def _extended(scene: Scene, dice: Dice) -> Scene | None:
    """The scene with one more thing, related to one that is there, or None if nothing fits."""
    at = dice.between(0, len(scene.things) - 1)
    old = scene.things[at].kind
    options = [
        (rule, as_subject)
        for rule in RULES
        for as_subject in (True, False)
        if old in rule[1 if as_subject else 2] and _is_free(scene, at, rule[0], as_subject)
    ]
    if not options:
        return None
    (relation, subjects, objects, _), as_subject = dice.weighted(
        options, [rule[3] for rule, _ in options]
    )
    kind = dice.choice([kind for kind in (objects if as_subject else subjects) if kind != old])
    for _ in range(8):
        new = _new(kind, scene, dice)
        pair = (at, new) if as_subject else (new, at)
        if (bigger := _try(scene, relation, *pair, dice)) is not None:
            return bigger
    return None


def _try(
    scene: Scene, relation: str, actor: Thing | int, target: Thing | int, dice: Dice
) -> Scene | None:
    """The scene with a relation added between new things or old ones (given by their number)."""
    things = list(scene.things)
    at = []
    for thing in (actor, target):
        at.append(thing if isinstance(thing, int) else len(things))
        if isinstance(thing, Thing):
            things.append(thing)
    subject, object_ = at
    moves = isinstance(actor, Thing), isinstance(target, Thing)
    placed = _placed(relation, things[subject], things[object_], *moves, scene, dice)
    if placed is None:
        return None
    things[subject], things[object_] = placed
    if not _has_room(scene, things, subject, object_, relation):
        return None
    relations = (*scene.relations, Relation(subject, relation, object_))
    return replace(scene, things=tuple(things), relations=relations)


def _is_free(scene: Scene, at: int, relation: str, as_subject: bool) -> bool:
    """Whether a thing can still enter a relation: nobody rides a horse and kicks a ball."""
    does = {r.name for r in scene.relations if r.subject == at}
    suffers = {r.name for r in scene.relations if r.object == at}
    if as_subject:
        if relation == "holding":
            return scene.things[at].pose in ("stand", "ride") and "holding" not in does
        if relation in ("next to", "behind", "in front of", "looking at"):
            return not does & {*_UPHELD, "flying over", "chasing", "kicking", relation}
        return not does and not suffers
    if relation in ("holding", "riding", "in", "on", "under", "walking", "kicking", "chasing"):
        return not suffers and not does
    return relation not in suffers and scene.things[at].pose != "fly"


def _new(kind: str, scene: Scene, dice: Dice) -> Thing:
    """A thing of a kind, on its ground, in its water or its sky; the box may still move."""
    look = KINDS[kind]
    size = dice.choice(tuple(SIZES))
    width, height = (edge * SIZES[size] // 100 for edge in (look.width, look.height))
    left = dice.between(3, max(3, CANVAS - 3 - width))
    if look.home == "sky":
        bottom = dice.between(height + 3, max(height + 3, scene.horizon - 4))
    elif scene.background == "lake" and (look.home == "water" or kind == "duck"):
        bottom = dice.between(84, 96)
    elif look.home == "water":
        bottom = scene.horizon + dice.between(14, 20)
    else:
        far = kind in ("house", "tree") and dice.chance(60)
        bottom = dice.between(84, 96) if far else dice.between(100, 123)
        if scene.background == "lake":
            bottom = dice.between(106, 123)
    return Thing(
        kind=kind,
        colour=dice.choice(look.colours),
        size=size,
        box=(left, bottom - height, left + width, bottom),
        facing=dice.choice(("left", "right")),
        pose="fly" if look.home == "sky" and look.group != "toys" else "stand",
        look=dice.between(0, 11),
        layer=bottom * 10,
    )


def _placed(
    relation: str, actor: Thing, target: Thing, actor_new: bool, target_new: bool, scene: Scene,
    dice: Dice,
) -> tuple[Thing, Thing] | None:  # fmt: skip
    """Subject and object put where their relation can be seen; only a new thing is moved."""
    if relation == "in" and scene.background not in ("lake", "beach"):
        return None
    side = dice.choice((-1, 1))  # +1: the subject is to the right of the object
    ahead, back = ("left", "right") if side > 0 else ("right", "left")
    if not actor_new and relation in ("holding", "walking", "kicking"):
        side, ahead = (-1, "right") if actor.facing == "right" else (1, "left")
    poses = {"riding": "ride", "chasing": "run", "holding": "hold", "kicking": "kick",
             "jumping over": "run"}  # fmt: skip
    pose = poses.get(relation, actor.pose)
    if relation == "on":
        pose = "sit"
    if actor.pose == "ride" and relation == "holding":
        pose = "ride"
    if relation in ("looking at", "chasing", "walking", "kicking"):
        if not actor_new and actor.facing != ahead and relation != "looking at":
            return None
        actor = replace(actor, facing=ahead) if actor.pose in ("stand", "hold") else actor
    if relation in ("chasing", "walking"):
        target = replace(target, facing=ahead, pose="run" if relation == "chasing" else "stand")
    if relation == "riding":
        actor = replace(actor, facing=target.facing)
    if relation == "next to" and actor_new and dice.chance(70):
        actor = replace(actor, facing=back)  # looking away, or it would look at the other
    actor = replace(actor, pose=pose)
    if pose in ("ride", "sit") and actor.kind in _PEOPLE and actor_new:  # without the legs' length
        left, top, right, bottom = actor.box
        actor = replace(actor, box=(left, top + (bottom - top) * 18 // 100, right, bottom))
    shift = _offset(relation, actor, target, side, dice)
    if shift is None:
        return None
    if actor_new:
        actor = _moved(actor, target.box[0] + shift[0], target.box[1] + shift[1])
    else:
        target = _moved(target, actor.box[0] - shift[0], actor.box[1] - shift[1])
    if relation in (*_UPHELD, "under"):
        actor = replace(actor, layer=target.layer + (-1 if relation == "in" else 1))
    elif relation == "holding":
        target = replace(target, layer=actor.layer + (-2 if target.kind == "umbrella" else 1))
    return actor, target


def _moved(thing: Thing, left: int, top: int) -> Thing:
    width, height = thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]
    layer = thing.layer + (top - thing.box[1]) * 10
    return replace(thing, box=(left, top, left + width, top + height), layer=layer)


def _offset(
    relation: str, actor: Thing, target: Thing, side: int, dice: Dice
) -> tuple[int, int] | None:
    """Where the subject's box starts, seen from where the object's starts, pixels."""
    aw, ah = actor.box[2] - actor.box[0], actor.box[3] - actor.box[1]
    tw, th = target.box[2] - target.box[0], target.box[3] - target.box[1]
    centred, level = (tw - aw) // 2, th - ah  # same middle; same bottom

    def beside(gap: int) -> int:
        return tw + gap if side > 0 else -aw - gap

    if relation == "holding":
        hand_x, hand_y = actor.hand[0] - actor.box[0], actor.hand[1] - actor.box[1]
        grip = {"balloon": (50, 99), "umbrella": (50, 92), "flower": (16, 74), "ball": (30, 50)}
        if target.kind == "kite":
            away = dice.between(6, 22)
            x = tw // 2 + away if actor.facing == "left" else tw // 2 - away
            return x - hand_x, th + dice.between(2, 14) - hand_y
        gx, gy = grip[target.kind]
        gx = gx if actor.facing == "right" else 100 - gx
        return tw * gx // 100 - hand_x, th * gy // 100 - hand_y
    if relation == "riding":
        seat = {"horse": 70, "cow": 64, "bicycle": 62}[target.kind]
        middle = {"horse": 45, "cow": 45, "bicycle": 38}[target.kind]
        middle = middle if target.facing == "right" else 100 - middle
        return tw * middle // 100 - aw // 2, th * seat // 100 - ah
    if relation == "in":
        middle = 27 if target.facing == "right" else 73
        return tw * middle // 100 - aw // 2, th * 84 // 100 - ah
    if relation == "on":
        slack = 0 if target.kind == "house" else tw // 6
        sunk = ah * (28 if actor.kind in _PEOPLE else 4) // 100  # sitting: the shins hang down
        return centred + dice.between(-slack, slack), th * _SURFACE[target.kind] // 100 - ah + sunk
    if relation == "under":
        if target.kind == "umbrella" and actor.kind in _PEOPLE:
            return None  # people hold theirs
        slack = side * (aw // 2 + 3) if target.kind == "tree" else side * aw // 2
        return centred + slack, level + dice.between(1, 5)
    if relation == "next to":
        return beside(dice.between(1, 5)), level + dice.between(-3, 3)
    if relation in ("chasing", "walking"):
        return beside(dice.between(6, 14)), level + dice.between(-2, 2)
    if relation == "kicking":
        return beside(dice.between(0, 3)), level
    if relation == "looking at":
        if KINDS[target.kind].home == "sky":
            return beside(dice.between(-tw // 2, 8)), th + dice.between(10, 50)
        return beside(dice.between(9, 22)), level + dice.between(-2, 2)
    if relation == "behind":
        if ah < th * 90 // 100:
            return None
        return centred + side * (aw + tw) * dice.between(24, 34) // 100, level - dice.between(6, 10)
    if relation == "in front of":
        if ah > th * 80 // 100 or aw > tw * 80 // 100:
            return None
        return centred + side * tw * dice.between(5, 25) // 100, level + dice.between(5, 9)
    if relation == "flying over":
        return centred + side * tw * dice.between(0, 20) // 100, -ah - dice.between(4, 20)
    return centred, -ah - dice.between(0, 3)  # jumping over


def _has_room(
    scene: Scene, things: list[Thing], subject: int, object_: int, relation: str
) -> bool:
    """Whether both things lie in the picture, on their ground and clear of all the others."""
    for at in (subject, object_):
        thing = things[at]
        left, top, right, bottom = thing.box
        if left < 2 or top < 2 or right > CANVAS - 2 or bottom > CANVAS - 2:
            return False
        lifted = at == subject and relation in (*_UPHELD, "flying over")
        carried = at == object_ and relation == "holding"
        stays = any(
            (r.subject == at and r.name in _UPHELD) or (r.object == at and r.name == "holding")
            for r in scene.relations
        )
        if not (lifted or carried or stays) and not _grounded(thing, scene):
            return False
        for other_at, other in enumerate(things):
            if other_at not in (subject, object_) and _overlap(thing.box, other.box) > 6:
                return False
    return True


def _grounded(thing: Thing, scene: Scene) -> bool:
    bottom, home = thing.box[3], KINDS[thing.kind].home
    if home == "sky":
        return bottom <= scene.horizon + 4
    if scene.background == "lake":
        if home == "water" or thing.kind == "duck":
            return 80 <= bottom <= 97
        return bottom >= 104
    if home == "water":
        return scene.background == "beach" and bottom <= scene.horizon + 22
    return bottom >= scene.horizon + 26


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> int:
    """Common area in per cent of the smaller box."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return 100 * width * height // smaller
