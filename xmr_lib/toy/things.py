"""Draws the things of toy scenes with PIL's primitives.

Every thing has a function that draws it facing right into a square of 100 x 100 units, which the
`Pen` stretches to the thing's box and mirrors when it faces left. A dark rim around the whole
thing (not around each part) keeps it apart from any background.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageFilter

from xmr_lib.toy.pen import (
    GLASS,
    HAIR,
    INK,
    PALETTE,
    RGB,
    RIM,
    SKIN,
    WOOD,
    Pen,
    hair_of,
    shade,
)
from xmr_lib.toy.scene import PEOPLE, Thing


def _legs(p: Pen, near: RGB, running: bool, top: int, xs: tuple[int, int], width: int) -> None:
    """Four legs of an animal: two far ones, darker, and two near ones."""
    back, front = xs
    far = shade(near, 72)
    foot = 97 if not running else 93
    step = 16 if running else 0
    p.line(far, width, (back + 9, top), (back + 9 + step, foot))
    p.line(far, width, (front - 9, top), (front - 9 - step, foot))
    p.line(near, width, (back, top), (back - step, foot))
    p.line(near, width, (front, top), (front + step, foot))


def _dog(p: Pen, c: RGB, t: Thing) -> None:
    dark = shade(c, 62) if t.colour != "black" else (92, 90, 96)
    if t.pose == "sit":
        p.line(c, 11, (22, 92), (4, 78))
        p.poly(c, (24, 97), (26, 62), (48, 34), (72, 42), (74, 97))
        p.oval(c, 18, 58, 62, 99)
        p.line(shade(c, 80), 11, (66, 60), (68, 95))
    else:
        _legs(p, c, t.pose == "run", 66, (20, 62), 13)
        p.line(c, 11, (14, 48), (4, 18))
        p.rect(c, 10, 40, 74, 74, 24)
        p.poly(c, (54, 44), (62, 20), (80, 30), (74, 66))
    p.oval(c, 52, 4, 84, 46)
    p.rect(c, 70, 22, 99, 43, 14)
    p.poly(dark, (54, 6), (66, 6), (64, 42), (56, 48), (48, 38))
    p.dot(INK, 97, 27, 13)
    p.dot(INK, 76, 18, 9)
    p.line((222, 70, 80), 7, (84, 42), (84, 50))


def _cat(p: Pen, c: RGB, t: Thing) -> None:
    dark = shade(c, 70) if t.colour != "black" else (96, 94, 102)
    if t.pose == "sit":
        p.line(c, 9, (26, 93), (6, 90), (5, 66))
        p.oval(c, 16, 38, 66, 99)
        p.rect(c, 46, 46, 68, 98, 12)
    else:
        _legs(p, c, t.pose == "run", 66, (22, 60), 10)
        p.line(c, 9, (14, 52), (5, 34), (12, 6))
        p.rect(c, 10, 44, 70, 74, 22)
        for x in (24, 34, 44):
            p.line(dark, 5, (x, 45), (x, 58))
    p.poly(c, (52, 30), (54, 1), (70, 14))
    p.poly(c, (80, 14), (96, 1), (98, 30))
    p.oval(c, 50, 10, 100, 58)
    p.poly((240, 150, 160), (56, 18), (57, 8), (64, 14))
    p.poly((240, 150, 160), (87, 14), (93, 8), (94, 18))
    for x in (66, 86):
        p.dot((190, 230, 90), x, 31, 13)
        p.dot(INK, x + 1, 31, 8)
    p.poly((240, 120, 140), (73, 40), (81, 40), (77, 45))
    for y0, y1 in ((42, 38), (46, 47)):
        p.line(dark, 3, (66, y0), (52, y1))
        p.line(dark, 3, (87, y0), (100, y1))


def _horse(p: Pen, c: RGB, t: Thing) -> None:
    mane = shade(c, 50) if t.colour != "black" else (110, 100, 96)
    mane = (190, 170, 140) if t.colour == "white" else mane
    _legs(p, c, t.pose == "run", 60, (18, 62), 10)
    p.line(mane, 10, (10, 46), (3, 58), (4, 78))
    p.rect(c, 8, 40, 72, 68, 17)
    p.poly(c, (54, 48), (68, 8), (84, 10), (74, 60))
    p.poly(c, (70, 4), (84, 6), (100, 28), (96, 36), (88, 36), (74, 28))
    p.poly(c, (72, 8), (73, 0), (79, 7))
    p.poly(mane, (72, 3), (66, 8), (50, 44), (58, 46), (74, 14))
    p.dot(INK, 83, 15, 6)
    p.dot(INK, 97, 30, 4)


def _cow(p: Pen, c: RGB, t: Thing) -> None:
    white = PALETTE["white"]
    _legs(p, white, t.pose == "run", 66, (18, 62), 11)
    p.line(c, 6, (9, 38), (3, 66))
    p.oval((245, 160, 170), 44, 64, 58, 82)
    p.rect(white, 8, 28, 76, 74, 22)
    p.oval(c, 14, 30, 36, 54)
    p.oval(c, 44, 28, 66, 56)
    p.oval(c, 30, 58, 46, 74)
    p.line((226, 206, 160), 8, (72, 14), (68, 2))
    p.line((226, 206, 160), 8, (90, 14), (94, 2))
    p.oval(c, 60, 14, 74, 28)
    p.oval(c, 88, 14, 100, 28)
    p.rect(c, 68, 10, 93, 48, 16)
    p.rect(white, 77, 10, 84, 40)
    p.rect((247, 178, 184), 67, 38, 95, 58, 16)
    p.dot(INK, 75, 48, 7)
    p.dot(INK, 87, 48, 7)
    p.dot(INK, 74, 24, 8)
    p.dot(INK, 87, 24, 8)


def _sheep(p: Pen, c: RGB, t: Thing) -> None:
    face = (70, 64, 66) if t.colour != "black" else (206, 190, 170)
    _legs(p, face, t.pose == "run", 70, (24, 60), 9)
    wool = c if t.colour != "black" else (72, 70, 78)
    for x, y in ((4, 30), (18, 14), (36, 8), (54, 14), (58, 34), (50, 50), (30, 54), (12, 48)):
        p.oval(wool, x, y, x + 26, y + 34)
    p.oval(wool, 12, 20, 74, 76)
    for x, y in ((24, 30), (42, 26), (34, 48), (54, 46)):
        p.ring(shade(wool, 84 if t.colour != "black" else 125), 3, x, y, x + 12, y + 14)
    p.oval(face, 58, 30, 76, 44)
    p.oval(face, 70, 18, 99, 60)
    p.oval(wool, 70, 10, 92, 34)
    p.dot((255, 255, 255), 86, 38, 10)
    p.dot(INK, 88, 38, 6)


def _duck(p: Pen, c: RGB, t: Thing) -> None:
    beak = (246, 150, 30) if t.colour != "yellow" else (236, 110, 30)
    p.line(beak, 9, (42, 84), (42, 95), (52, 96))
    p.poly(c, (2, 40), (20, 56), (16, 70))
    p.oval(c, 8, 46, 78, 90)
    p.poly(c, (52, 60), (58, 26), (76, 30), (78, 66))
    p.oval((52, 120, 80) if t.colour == "brown" else c, 50, 4, 82, 42)
    p.poly(beak, (79, 16), (100, 24), (98, 32), (79, 34))
    p.poly(shade(c, 82), (18, 58), (52, 56), (46, 74), (30, 78))
    p.dot(INK, 70, 18, 9)


def _bird(p: Pen, c: RGB, t: Thing) -> None:
    wing = shade(c, 74) if t.colour != "black" else (100, 100, 110)
    p.poly(c, (0, 52), (4, 72), (30, 66))
    p.oval(c, 18, 44, 76, 86)
    p.oval(c, 58, 30, 90, 66)
    p.oval(shade(c, 155), 34, 64, 70, 84)
    if t.pose == "sit":
        p.poly(wing, (24, 54), (58, 56), (50, 78), (16, 74))
        p.line((230, 140, 40), 7, (46, 84), (46, 96))
        p.line((230, 140, 40), 7, (56, 84), (56, 96))
    else:
        p.poly(shade(wing, 80), (52, 56), (58, 10), (68, 50))
        p.poly(wing, (28, 58), (20, 0), (40, 12), (58, 56))
    p.poly((246, 160, 40), (87, 42), (100, 50), (87, 57))
    p.dot(INK, 78, 44, 11)


def _person(p: Pen, c: RGB, t: Thing) -> None:
    """Man, woman, boy and girl; standing, or (pose "ride" and "sit") without the shins' length."""
    grown, female = t.kind in ("man", "woman"), t.kind in ("woman", "girl")
    skin, hair = SKIN[t.look % len(SKIN)], HAIR[hair_of(t.look)]
    short = t.pose in ("ride", "sit")
    head, waist, hip = (24, 54, 60) if grown else (32, 60, 66)
    if short:
        head, waist, hip = head * 12 // 10, waist * 12 // 10, 71
    trousers = (60, 74, 116) if t.kind == "man" else (126, 96, 60)
    if female:  # long hair behind the body
        if grown:
            p.rect(hair, 29, 4, 71, head + 14, 18)
        else:
            p.oval(hair, 14, 10, 34, head + 4)
            p.oval(hair, 66, 10, 86, head + 4)
    legs = skin if t.kind in ("boy", "girl", "woman") else trousers
    if short:
        p.line(legs, 17, (46, hip), (74, hip + 3), (72, 94))
        p.dot(INK, 76, 96, 17)
    else:
        spread = {"run": 20, "kick": 6}.get(t.pose, 3)
        p.line(legs, 15, (42, hip), (40 - spread, 95))
        knee = (88, 84) if t.pose == "kick" else (60 + spread, 95)
        p.line(legs, 15, (58, hip), knee)
        p.dot(INK, 41 - spread, 96, 17)
        p.dot(INK, knee[0] + 2, knee[1] + 1, 17)
        if t.kind == "boy":
            p.line(trousers, 20, (42, hip), (41 - spread // 2, hip + 13))
            p.line(trousers, 20, (58, hip), (60 if t.pose != "kick" else 70, hip + 11))
    shoulder = head + 5
    p.line(shade(c, 84), 15, (34, shoulder), (20, (shoulder + waist) // 2 + 2))
    p.line(skin, 12, (20, (shoulder + waist) // 2 + 2), (16, waist))
    if female:
        hem = hip + (16 if not short else 2)
        p.poly(c, (34, head), (66, head), (68, waist - 8), (84, hem), (16, hem), (32, waist - 8))
    else:
        p.rect(c, 28, head - 1, 72, hip, 16)
        if not short:
            p.rect(trousers, 30, hip - 4, 70, hip + 5)
    _arm(p, c, skin, t, shoulder, waist)
    p.oval(hair, 27, 0, 73, head - 4)
    p.oval(skin, 29, 4, 73, head)
    if t.kind == "boy":
        p.pie(c, 26, 0, 74, 24)
        p.line(shade(c, 75), 8, (62, 12), (86, 13))
    else:
        p.pie(hair, 27, 0, 74, 18 if not short else 22)
    eye = head * 58 // 100
    p.dot(INK, 52, eye, 8)
    p.dot(INK, 65, eye, 8)
    smile = head * 78 // 100
    p.line((190, 70, 70), 5, (52, smile), (58, smile + 2), (65, smile))
    if t.kind == "man" and t.look % 2:
        p.rect(hair, 44, head * 84 // 100, 72, head + 1, 8)
        p.line((220, 110, 100), 5, (53, head - 3), (64, head - 3))


def _arm(p: Pen, c: RGB, skin: RGB, t: Thing, shoulder: int, waist: int) -> None:
    """The near arm: raised to hold or to run, on the reins when riding, else hanging."""
    if t.pose == "hold":
        p.line(skin, 12, (66, shoulder + 2), (84, shoulder + 16), (93, 46))
        p.line(shade(c, 84), 15, (66, shoulder + 2), (83, shoulder + 14))
    else:
        elbow = (80, (shoulder + waist) // 2 + 2)
        hand = (94, 56) if t.pose in ("ride", "run", "sit") else (84, waist)
        p.line(skin, 12, elbow, hand)
        p.line(shade(c, 84), 15, (66, shoulder), elbow)


def _car(p: Pen, c: RGB, t: Thing) -> None:
    p.poly(c, (18, 46), (32, 2), (66, 2), (84, 46))
    p.poly(GLASS, (27, 42), (36, 10), (48, 10), (48, 42))
    p.poly(GLASS, (53, 42), (53, 10), (63, 10), (75, 42))
    p.rect(c, 0, 40, 100, 82, 22)
    p.line(shade(c, 70), 4, (50, 44), (50, 78))
    p.rect((255, 240, 150), 93, 48, 100, 60)
    p.rect((200, 40, 40), 0, 48, 5, 60)
    for x in (24, 77):
        p.dot(INK, x, 80, 40)
        p.dot((196, 196, 200), x, 80, 18)


def _bus(p: Pen, c: RGB, t: Thing) -> None:
    p.rect(c, 0, 0, 100, 86, 12)
    for x in (6, 22, 38, 54):
        p.rect(GLASS, x, 14, x + 12, 42)
    p.rect(shade(GLASS, 80), 71, 14, 82, 82)
    p.rect(GLASS, 87, 14, 100, 46)
    p.rect(shade(c, 72), 0, 56, 68, 64)
    p.rect((255, 240, 150), 95, 64, 100, 74)
    for x in (20, 60):
        p.dot(INK, x, 86, 28)
        p.dot((196, 196, 200), x, 86, 12)


def _bicycle(p: Pen, c: RGB, t: Thing) -> None:
    for x in (0, 58):
        p.ring(INK, 6, x, 36, x + 42, 99)
        p.dot((120, 120, 126), x + 21, 68, 10)
    p.line(c, 8, (21, 68), (36, 26), (68, 26), (46, 70), (21, 68))
    p.line(c, 8, (36, 24), (46, 70))
    p.line(c, 8, (79, 68), (66, 8))
    p.line(INK, 8, (66, 8), (78, 6))
    p.line(INK, 11, (28, 16), (42, 16))
    p.dot((120, 120, 126), 46, 70, 16)


def _boat(p: Pen, c: RGB, t: Thing) -> None:
    p.line(WOOD, 5, (52, 2), (52, 76))
    p.poly(shade(c, 130) if t.colour != "white" else (226, 232, 240), (55, 4), (96, 62), (55, 62))
    p.poly(c, (55, 30), (76, 34), (89, 52), (55, 52))
    p.poly(c, (1, 72), (99, 72), (84, 99), (14, 99))
    p.line(shade(c, 68), 6, (4, 76), (96, 76))


def _plane(p: Pen, c: RGB, t: Thing) -> None:
    p.poly(shade(c, 72), (46, 44), (36, 12), (46, 12), (64, 46))
    p.poly(c, (2, 8), (14, 8), (28, 44), (8, 50))
    p.rect(c, 4, 36, 96, 72, 34)
    p.poly(c, (70, 37), (88, 38), (100, 56), (90, 70))
    for x in (30, 40, 50, 60, 70):
        p.dot((70, 120, 190), x, 48, 12)
    p.poly(GLASS, (80, 40), (87, 41), (93, 50), (80, 50))
    p.poly(shade(c, 72), (56, 58), (36, 98), (46, 98), (72, 60))
    p.poly(shade(c, 72), (10, 52), (2, 66), (8, 66), (22, 54))


def _kite(p: Pen, c: RGB, t: Thing) -> None:
    p.line(INK, 4, (50, 56), (38, 72), (60, 84), (46, 98))
    p.poly(c, (50, 0), (100, 28), (50, 62), (0, 28))
    p.poly(shade(c, 145), (50, 0), (100, 28), (50, 28))
    p.poly(shade(c, 145), (0, 28), (50, 28), (50, 62))
    for x, y in ((40, 72), (58, 85)):
        p.rect(c, x - 13, y - 3, x + 13, y + 3)


def _balloon(p: Pen, c: RGB, t: Thing) -> None:
    p.line(INK, 4, (50, 58), (46, 76), (50, 99))
    p.oval(c, 0, 0, 100, 54)
    p.poly(c, (42, 52), (58, 52), (66, 60), (34, 60))
    p.oval(shade(c, 165), 22, 10, 40, 24)


def _ball(p: Pen, c: RGB, t: Thing) -> None:
    p.oval(c, 0, 0, 100, 100)
    p.poly((250, 250, 246), (38, 2), (62, 2), (58, 50), (62, 98), (38, 98), (42, 50))
    p.line((250, 250, 246), 16, (8, 50), (92, 50))
    p.dot(c, 50, 50, 30)


def _umbrella(p: Pen, c: RGB, t: Thing) -> None:
    p.line(WOOD, 5, (50, 4), (50, 97))
    p.pie(c, 0, 4, 100, 86)
    p.pie(shade(c, 135), 24, 4, 76, 86)
    p.pie(c, 40, 4, 60, 86)


def _flower(p: Pen, c: RGB, t: Thing) -> None:
    p.line((56, 140, 60), 10, (50, 40), (50, 97))
    p.poly((70, 160, 70), (50, 90), (84, 64), (92, 74))
    p.poly((70, 160, 70), (50, 94), (14, 70), (10, 80))
    for x, y in ((32, 0), (60, 8), (62, 28), (32, 38), (4, 28), (4, 8)):
        p.oval(c, x, y, x + 36, y + 22)
    middle = (250, 206, 50) if t.colour not in ("yellow", "orange") else (120, 70, 30)
    p.oval(middle, 32, 18, 68, 42)


def _bench(p: Pen, c: RGB, t: Thing) -> None:
    for x in (10, 84):
        p.rect((70, 70, 76), x, 10, x + 6, 98)
    for y in (4, 22):
        p.rect(c, 2, y, 98, y + 13, 4)
    p.poly(c, (4, 52), (96, 52), (100, 66), (0, 66))
    p.rect(shade(c, 70), 0, 66, 100, 72)


def _tree(p: Pen, c: RGB, t: Thing) -> None:
    p.poly(WOOD, (42, 99), (46, 50), (54, 50), (58, 99))
    p.line(WOOD, 6, (50, 66), (66, 52))
    for x, y in ((0, 22), (14, 4), (34, 0), (54, 8), (58, 24), (30, 32), (14, 30)):
        p.oval(c, x, y, x + 42, y + 32)
    for x, y in ((20, 14), (52, 18), (36, 36)):
        p.oval(shade(c, 120), x, y, x + 16, y + 10)


def _house(p: Pen, c: RGB, t: Thing) -> None:
    roof = (160, 66, 52) if t.colour not in ("red", "pink") else (92, 82, 92)
    p.rect(shade(roof, 70), 70, 8, 82, 36)
    p.rect(c, 10, 44, 90, 99)
    p.poly(roof, (0, 46), (50, 2), (100, 46))
    p.rect(WOOD, 40, 66, 58, 99)
    p.dot((240, 210, 90), 55, 84, 4)
    for x in (17, 67):
        p.rect((255, 255, 255), x, 56, x + 17, 76)
        p.rect(GLASS if t.look % 2 else (255, 232, 130), x + 2, 58, x + 15, 74)


_DRAW: dict[str, Callable[[Pen, RGB, Thing], None]] = {
    **dict.fromkeys(PEOPLE, _person),
    **{"dog": _dog, "cat": _cat, "horse": _horse, "cow": _cow, "sheep": _sheep, "duck": _duck},
    **{"bird": _bird, "car": _car, "bus": _bus, "bicycle": _bicycle, "boat": _boat},
    **{"plane": _plane, "kite": _kite, "balloon": _balloon, "ball": _ball, "tree": _tree},
    **{"umbrella": _umbrella, "flower": _flower, "bench": _bench, "house": _house},
}


def draw_thing(thing: Thing) -> Image.Image:
    """One thing alone on a transparent layer, `FINE` times as large as its box, with its rim."""
    pen = Pen(thing)
    _DRAW[thing.kind](pen, PALETTE[thing.colour], thing)
    grown = pen.layer.getchannel("A").filter(ImageFilter.MaxFilter(2 * RIM + 1))
    rimmed = Image.new("RGBA", pen.layer.size, (*INK, 0))
    rimmed.putalpha(grown)
    rimmed.paste(pen.layer, (0, 0), pen.layer)
    return rimmed
