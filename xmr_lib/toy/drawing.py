"""Draws toy scenes: backgrounds, things from far to near, strings and leashes."""

from __future__ import annotations

from PIL import Image, ImageDraw

from xmr_lib.toy.pen import FINE, INK, RGB, shade
from xmr_lib.toy.scene import CANVAS, Dice, Scene
from xmr_lib.toy.things import draw_thing


def draw_scene(scene: Scene, seed: str) -> Image.Image:
    """The picture of a scene, (128, 128) RGB; `seed` scatters stars, flakes, tufts and clouds."""
    picture = _background(scene.background, scene.horizon * FINE, Dice(f"background {seed}"))
    strings = ImageDraw.Draw(picture)
    for thing in sorted(scene.things, key=lambda thing: thing.layer):
        layer = draw_thing(thing)
        picture.paste(layer, (thing.box[0] * FINE, thing.box[1] * FINE), layer)
    for relation in scene.relations:  # a kite's string, a dog's leash
        person, other = scene.things[relation.subject], scene.things[relation.object]
        left, top, right, bottom = other.box
        if relation.name == "holding" and other.kind == "kite":
            end = ((left + right) // 2, top + (bottom - top) * 64 // 100)
        elif relation.name == "walking":
            neck = (right - left) * (60 if other.facing == "right" else 40) // 100
            end = (left + neck, top + (bottom - top) * 52 // 100)
        else:
            continue
        ends = [(x * FINE, y * FINE) for x, y in (person.hand, end)]
        strings.line(ends, fill=INK, width=FINE)
    return picture.reduce(FINE)


def _background(name: str, horizon: int, dice: Dice) -> Image.Image:
    size = CANVAS * FINE
    sky = {"night": (24, 30, 72), "snow": (206, 222, 236), "desert": (250, 214, 150)}
    ground = {
        "field": (126, 194, 92),
        "beach": (240, 216, 158),
        "snow": (240, 246, 252),
        "street": (176, 172, 168),
        "lake": (138, 196, 100),
        "night": (52, 98, 80),
        "desert": (226, 176, 104),
        "mountains": (150, 200, 110),
    }
    picture = Image.new("RGB", (size, size), sky.get(name, (158, 210, 246)))
    draw = ImageDraw.Draw(picture)

    def blob(colour: RGB, x: int, y: int, w: int, h: int) -> None:
        draw.ellipse((x, y, x + w, y + h), fill=colour)

    if name in ("field", "lake", "beach", "street"):
        for _ in range(dice.between(1, 3)):
            x, y = dice.between(-10, size - 40), dice.between(4, horizon // 2)
            for dx, dy, w in ((0, 6, 30), (14, 0, 34), (34, 6, 30)):
                blob((246, 250, 254), x + dx, y + dy, w, 18)
    if name in ("beach", "desert"):
        blob((255, 224, 96), dice.between(10, size - 60), 8, 36, 36)
    if name == "night":
        for _ in range(26):
            blob((250, 246, 200), dice.between(0, size), dice.between(0, horizon), 3, 3)
        x = dice.between(20, size - 60)
        blob((250, 244, 190), x, 12, 38, 38)
        blob(sky["night"], x + 12, 6, 36, 36)
    if name == "mountains":
        for x in (-70, 30, 130, 190):
            x, peak = x + dice.between(-20, 20), dice.between(10, 36)
            draw.polygon(((x, horizon), (x + 80, peak), (x + 160, horizon)), fill=(128, 134, 150))
            snow = ((x + 58, peak + 24), (x + 80, peak), (x + 102, peak + 24), (x + 80, peak + 18))
            draw.polygon(snow, fill=(248, 250, 252))
    if name == "street":
        for x in range(-20, size, 44):
            x, top = x + dice.between(0, 10), dice.between(horizon - 70, horizon - 30)
            wall = dice.choice(((196, 170, 150), (170, 176, 190), (206, 196, 170)))
            draw.rectangle((x, top, x + 38, horizon), fill=wall)
            for wx in (x + 6, x + 22):
                for wy in range(top + 8, horizon - 12, 18):
                    draw.rectangle((wx, wy, wx + 9, wy + 9), fill=shade(wall, 72))
    draw.rectangle((0, horizon, size, size), fill=ground[name])
    if name == "beach":
        draw.rectangle((0, horizon, size, horizon + 44), fill=(72, 150, 208))
        draw.rectangle((0, horizon + 40, size, horizon + 46), fill=(232, 244, 250))
    if name == "lake":
        draw.rectangle((0, horizon, size, 200), fill=(84, 160, 214))
        draw.rectangle((0, horizon - 6, size, horizon), fill=(84, 140, 84))
        for _ in range(9):
            x, y = dice.between(0, size), dice.between(horizon + 8, 190)
            draw.line((x, y, x + 24, y), fill=(164, 208, 238), width=3)
    if name == "street":
        draw.rectangle((0, horizon + 44, size, size), fill=(98, 100, 106))
        for x in range(dice.between(-40, 0), size, 64):
            draw.rectangle((x, 206, x + 34, 212), fill=(240, 238, 226))
    if name in ("field", "night", "mountains", "lake"):
        tuft = shade(ground[name], 80)
        for _ in range(16):
            low = 210 if name == "lake" else horizon + 10
            x, y = dice.between(0, size), dice.between(low, size - 4)
            draw.line((x - 4, y - 7, x, y, x + 4, y - 7), fill=tuft, width=2)
    if name in ("desert", "beach"):
        for _ in range(10):
            x, y = dice.between(0, size), dice.between(horizon + 56, size - 4)
            draw.line((x, y, x + 18, y), fill=shade(ground[name], 88), width=3)
    if name == "desert":
        x = dice.choice((14, size - 40))
        for box in (
            (10, -34, 20, 16),
            (0, -20, 6, -4),
            (0, -6, 14, 2),
            (24, -26, 30, -8),
            (16, -10, 30, -2),
        ):
            cactus = (x + box[0], horizon + box[1], x + box[2], horizon + box[3])
            draw.rectangle(cactus, fill=(72, 140, 80))
    if name == "snow":
        for x in (dice.between(0, 60), dice.between(150, 220)):
            fir = ((x, horizon), (x + 14, horizon - 44), (x + 28, horizon))
            draw.polygon(fir, fill=(84, 124, 104))
        blob((228, 238, 248), -40, horizon + 20, 160, 40)
        for _ in range(40):
            blob((255, 255, 255), dice.between(0, size), dice.between(0, horizon), 5, 5)
    return picture
