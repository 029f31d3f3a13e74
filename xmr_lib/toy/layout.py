"""Composes toy scenes: chooses who does what where, and finds boxes that show it.

Places are tried at random until they fit: a relation tells where its subject lies, seen from its
object (`_offset`); a thing must lie in the picture, on its ground and clear of all the others.
"""

from __future__ import annotations

from dataclasses import replace

from xmr_lib.toy.scene import (
    BACKGROUNDS,
    CANVAS,
    KINDS,
    PEOPLE,
    RULES,
    SIZES,
    Dice,
    Relation,
    Scene,
    Thing,
)

# Where (per cent of the height) the supporting surface of a thing lies.
_SURFACE = {"bench": 52, "car": 5, "bus": 3, "house": 6, "horse": 42, "cow": 32}
_LIFTED = ("on", "in", "riding", "jumping over")  # relations that lift their subject off the ground


def compose(seed: str) -> Scene:
    """Compose the scene of a seed: two to four things and one to four relations.

    >>> compose("example") == compose("example")
    True
    """
    dice = Dice(f"scene {seed}")
    wanted = dice.weighted((2, 3, 4), (25, 45, 30))
    scene = None
    while scene is None:  # a rule's kinds may never fit: a duck cannot stand half behind a house
        relation, subjects, objects, _ = dice.weighted(RULES, [rule[3] for rule in RULES])
        target = dice.choice(objects)
        actor = dice.choice([kind for kind in subjects if kind != target])
        for _ in range(40):
            empty = Scene(dice.choice(BACKGROUNDS), dice.between(52, 62), (), ())
            pair = _new(actor, empty, dice), _new(target, empty, dice)
            if (scene := _try(empty, relation, *pair, dice)) is not None:
                break
    for attempt in range(60):
        if len(scene.things) < wanted:  # things in a relation first, else one that is just there
            scene = (_extended(scene, dice) if attempt < 20 else _joined(scene, dice)) or scene
    return scene


def _joined(scene: Scene, dice: Dice) -> Scene | None:
    """The scene with one more thing in a free place, in no relation."""
    things = [*scene.things, _new(dice.choice(tuple(KINDS)), scene, dice)]
    last = len(things) - 1
    return replace(scene, things=tuple(things)) if _has_room(scene, things, (last,)) else None


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
    for _ in range(4):
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
    if not _has_room(scene, things, (subject, object_), relation):
        return None
    relations = (*scene.relations, Relation(subject, relation, object_))
    return replace(scene, things=tuple(things), relations=relations)


def _is_free(scene: Scene, at: int, relation: str, as_subject: bool) -> bool:
    """Whether a thing can enter one more relation: a rider of a horse cannot kick a ball."""
    does = {r.name for r in scene.relations if r.subject == at}
    suffers = {r.name for r in scene.relations if r.object == at}
    if as_subject:
        if relation == "holding":
            return scene.things[at].pose in ("stand", "ride") and "holding" not in does
        if relation in ("next to", "behind", "in front of", "looking at"):
            return not does & {*_LIFTED, "flying over", "chasing", "kicking", relation}
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
    relation: str,
    actor: Thing,
    target: Thing,
    actor_new: bool,
    target_new: bool,
    scene: Scene,
    dice: Dice,
) -> tuple[Thing, Thing] | None:
    """Subject and object put where their relation can be seen; only a new thing is moved."""
    if relation == "in" and scene.background not in ("lake", "beach"):
        return None
    side = dice.choice((-1, 1))  # +1: the subject is to the right of the object
    ahead, back = ("left", "right") if side > 0 else ("right", "left")
    if not actor_new and relation in ("holding", "walking", "kicking"):
        side, ahead = (-1, "right") if actor.facing == "right" else (1, "left")
    poses = {
        "riding": "ride",
        "chasing": "run",
        "holding": "hold",
        "kicking": "kick",
        "jumping over": "run",
    }
    pose = poses.get(relation, actor.pose)
    if relation == "on":
        pose = "sit"
    if actor.pose == "ride" and relation == "holding":
        pose = "ride"
    if relation in ("looking at", "chasing", "walking", "kicking"):
        if not actor_new and actor.facing != ahead:
            return None  # it would turn away from what it does already
        actor = replace(actor, facing=ahead)
    if relation in ("chasing", "walking"):
        if not target_new and target.facing != ahead:
            return None
        target = replace(target, facing=ahead, pose="run" if relation == "chasing" else "stand")
    if relation == "riding":
        actor = replace(actor, facing=target.facing)
    if relation == "next to" and actor_new and dice.chance(70):
        actor = replace(actor, facing=back)  # looking away, or it would look at the other
    actor = replace(actor, pose=pose)
    if pose in ("ride", "sit") and actor.kind in PEOPLE and relation != "holding":
        if not actor_new:
            return None
        left, top, right, bottom = actor.box  # seated people are shorter
        actor = replace(actor, box=(left, top + (bottom - top) * 18 // 100, right, bottom))
    shift = _offset(relation, actor, target, side, dice)
    if shift is None:
        return None
    if actor_new:
        actor = _moved(actor, target.box[0] + shift[0], target.box[1] + shift[1])
    else:
        target = _moved(target, actor.box[0] - shift[0], actor.box[1] - shift[1])
    if relation in (*_LIFTED, "under"):
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
        sunk = ah * (28 if actor.kind in PEOPLE else 4) // 100  # sitting: the shins hang down
        return centred + dice.between(-slack, slack), th * _SURFACE[target.kind] // 100 - ah + sunk
    if relation == "under":
        if target.kind == "umbrella" and actor.kind in PEOPLE:
            return None  # people hold theirs
        if target.kind == "tree" and ah > th * 72 // 100:
            return None
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
        if ah < th * 90 // 100 or th < ah * 45 // 100:
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
    scene: Scene, things: list[Thing], moved: tuple[int, ...], relation: str = ""
) -> bool:
    """Whether moved things lie in the picture, on their ground and clear of all the others."""
    for at in moved:
        thing = things[at]
        left, top, right, bottom = thing.box
        if left < 2 or top < 2 or right > CANVAS - 2 or bottom > CANVAS - 2:
            return False
        lifted = at == moved[0] and relation in (*_LIFTED, "flying over")
        carried = at == moved[-1] and relation == "holding"
        stays = at < len(scene.things)  # it was found a place before
        if not (lifted or carried or stays) and not _grounded(thing, scene):
            return False
        for other_at, other in enumerate(things):
            if other_at not in moved and not stays and _overlap(thing.box, other.box) > 8:
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
