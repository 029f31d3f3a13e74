import hashlib
import json
import random
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from xmr_lib import toy
from xmr_lib.data import captioned
from xmr_lib.errors import DataError
from xmr_lib.toy.captions import CAPTIONS_PER_SCENE, plural, with_article, write
from xmr_lib.toy.drawing import draw_scene
from xmr_lib.toy.layout import compose
from xmr_lib.toy.pen import FINE, PALETTE
from xmr_lib.toy.scene import (
    BACKGROUNDS,
    CANVAS,
    COLOURS,
    KINDS,
    RELATIONS,
    RULES,
    SIZES,
    Dice,
    Scene,
    Thing,
)
from xmr_lib.toy.things import draw_thing
from xmr_lib.toy.words import table

SCENES = [compose(f"0/train/{i}") for i in range(400)]
# Changes only together with toy.VERSION: scenes and captions are the same on every machine.
CHECKSUM = "a9e7b6a125cf0cd4f8f1a3b2737570f4933fe9af4c8d0b77902e566fb2060fcc"


def test_scenes_and_captions_are_the_same_everywhere():
    digest = hashlib.sha256()
    for i, scene in enumerate(SCENES):
        text = json.dumps([scene.to_json(), write(scene, f"0/train/{i}")], sort_keys=True)
        digest.update(text.encode())
    assert digest.hexdigest() == CHECKSUM, "raise toy.VERSION, then change CHECKSUM"


def test_pictures_depend_on_the_seed_only():
    scene = SCENES[3]
    one, two = draw_scene(scene, "0/train/3"), draw_scene(compose("0/train/3"), "0/train/3")
    assert one.size == (CANVAS, CANVAS) and one.mode == "RGB"
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != draw_scene(scene, "another seed").tobytes()


def test_dice_uses_only_the_part_of_random_that_never_changes():
    source, dice = random.Random("a"), Dice("a")
    assert [dice.between(0, 9) for _ in range(50)] == [int(source.random() * 10) for _ in range(50)]
    counts = Counter(dice.weighted("ab", (1, 3)) for _ in range(4000))
    assert 0.70 < counts["b"] / 4000 < 0.80
    assert sorted(dice.shuffled(range(7))) == list(range(7))


def test_every_scene_is_well_formed():
    for scene in SCENES:
        assert 2 <= len(scene.things) <= 4 and len(scene.relations) >= 1
        for thing in scene.things:
            left, top, right, bottom = thing.box
            assert 0 <= left < right <= CANVAS and 0 <= top < bottom <= CANVAS
            assert all(type(edge) is int for edge in thing.box)
            assert thing.colour in KINDS[thing.kind].colours and thing.size in SIZES
        rules = {
            (name, s, o) for name, subjects, objects, _ in RULES for s in subjects for o in objects
        }
        for subject, name, object_ in scene.relations:
            assert subject != object_
            assert (name, scene.things[subject].kind, scene.things[object_].kind) in rules


def test_the_whole_variety_occurs():
    things = Counter(thing.kind for scene in SCENES for thing in scene.things)
    relations = Counter(r.name for scene in SCENES for r in scene.relations)
    assert set(things) == set(KINDS) and len(KINDS) == 24
    assert set(relations) == set(RELATIONS)
    assert {scene.background for scene in SCENES} == set(BACKGROUNDS)
    assert {len(scene.things) for scene in SCENES} == {2, 3, 4}
    assert set(COLOURS) <= set(PALETTE)


def _middle(thing: Thing) -> float:
    return (thing.box[0] + thing.box[2]) / 2


def test_relations_can_be_seen_in_the_boxes():
    seen = Counter()
    for scene in SCENES:
        for relation in scene.relations:
            a, b = scene.things[relation.subject], scene.things[relation.object]
            apart = max(a.box[0] - b.box[2], b.box[0] - a.box[2])  # horizontal gap, pixels
            seen[relation.name] += 1
            if relation.name == "next to":
                assert 0 <= apart <= 5 and abs(a.box[3] - b.box[3]) <= 3
            elif relation.name == "behind":
                assert a.layer < b.layer and a.box[3] < b.box[3]
            elif relation.name == "in front of":
                assert a.layer > b.layer and a.box[3] > b.box[3] and apart < 0
            elif relation.name == "in":
                assert a.layer < b.layer and b.box[0] <= _middle(a) <= b.box[2]
            elif relation.name in ("on", "riding"):
                assert a.layer > b.layer and b.box[0] < _middle(a) < b.box[2]
                assert b.box[1] <= a.box[3] <= b.box[3] + 4  # shins hang down
                assert a.box[1] + a.box[3] < b.box[1] + b.box[3]
            elif relation.name in ("flying over", "jumping over"):
                assert a.box[3] <= b.box[1] and apart < 0
            elif relation.name == "under":
                assert a.layer > b.layer and a.box[3] > b.box[3] and apart < 0
            elif relation.name in ("chasing", "walking", "kicking"):
                assert 0 <= apart <= 14
                assert (a.facing == "right") == (_middle(a) < _middle(b))
                assert relation.name == "kicking" or a.facing == b.facing
            elif relation.name == "looking at":
                assert (a.facing == "right") == (_middle(a) < _middle(b))
            elif relation.name == "holding":
                x, y = a.hand
                near = 26 if b.kind == "kite" else 1
                assert b.box[0] - near <= x <= b.box[2] + near
                assert b.box[1] - near <= y <= b.box[3] + near
    assert min(seen.values()) >= 5 and len(seen) == len(RELATIONS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("facing", ["left", "right"])
def test_boxes_fit_the_drawn_things(kind, facing):
    look = KINDS[kind]
    box = (5, 7, 5 + look.width, 7 + look.height)
    drawn = draw_thing(Thing(kind, look.colours[0], "large", box, facing, "stand", 0, 0))
    assert drawn.size == (look.width * FINE, look.height * FINE)
    left, top, right, bottom = drawn.getchannel("A").getbbox()
    slack = 0.13  # of the box: a drawing need not touch every edge
    assert left <= slack * drawn.width and right >= (1 - slack) * drawn.width
    assert top <= slack * drawn.height and bottom >= (1 - slack) * drawn.height


def test_a_thing_is_drawn_in_its_colour_and_mirrored_by_its_facing():
    box = (0, 0, 54, 27)
    right = np.array(draw_thing(Thing("car", "red", "large", box, "right", "stand", 0, 0)))
    left = np.array(draw_thing(Thing("car", "red", "large", box, "left", "stand", 0, 0)))
    red = (right == (*PALETTE["red"], 255)).all(2)
    assert red.mean() > 0.2
    assert ((left == (*PALETTE["red"], 255)).all(2)[:, ::-1] == red).mean() > 0.95
    assert (left != right).any()


def test_things_lie_where_the_boxes_say():
    scene = next(s for s in SCENES if len(s.things) == 3)
    without = Scene(scene.background, scene.horizon, (), ())
    changed = np.array(draw_scene(scene, "x")) != np.array(draw_scene(without, "x"))
    inside = np.zeros((CANVAS, CANVAS), dtype=bool)
    for left, top, right, bottom in (thing.box for thing in scene.things):
        inside[top:bottom, left:right] = True
        assert changed[top:bottom, left:right].any(2).mean() > 0.2
    strings = any(r.name in ("holding", "walking") for r in scene.relations)
    assert strings or not changed[~inside].any()


def test_ground_truth_survives_json():
    for scene in SCENES[:50]:
        assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


# -- captions ------------------------------------------------------------------------------------

CAPTIONS = [write(scene, f"0/train/{i}") for i, scene in enumerate(SCENES)]
VAGUE = {"person", "someone", "animal", "vehicle", "toy", "people", "animals", "child"}


def test_five_different_captions_of_one_to_three_clauses():
    for captions in CAPTIONS:
        assert len(set(captions)) == len(captions) == CAPTIONS_PER_SCENE
        for caption in captions:
            assert 3 <= len(caption.split()) <= 45
            assert caption[0].isupper() and "  " not in caption and "None" not in caption
            assert re.fullmatch(r"[A-Za-z ,.-]+", caption), caption


def test_grammar_of_articles_and_plurals():
    for caption in (caption for captions in CAPTIONS for caption in captions):
        assert not re.search(r"\b[Aa] (?=[aeiou])", caption), caption
        assert not re.search(r"\b[Aa]n (?=[^aeiou])", caption), caption
        assert not re.search(r"\b(a|an|the|one) (a|an|the|one|some)\b", caption), caption
        assert not re.search(r"\b(two|three|four|several) \w*[^s] (and|in|on|at)\b", caption) or (
            re.search(r"\b(men|women|people|sheep)\b", caption)
        ), caption
        assert not re.search(r"\b(\w+) \1\b", caption), caption
    assert with_article("umbrella") == "an umbrella"
    assert [plural(n) for n in ("bus", "man", "dog")] == ["buses", "men", "dogs"]


def test_captions_name_only_what_is_there():
    words = table("""
        man: man, guy, gentleman; woman: woman, lady; boy: boy, kid; girl: girl; dog: dog, puppy;
        cat: cat, kitten; bicycle: bicycle, bike; plane: plane, airplane; boat: boat, sailboat;
        house: house, cottage; car: car, automobile
    """)
    for scene, captions in zip(SCENES, CAPTIONS, strict=True):
        there = {thing.kind for thing in scene.things}
        for caption in captions:
            said = set(re.findall("[a-z]+", caption.lower()))
            for kind in KINDS.keys() - there:
                assert not said & {*words.get(kind, (kind,))}, (caption, kind)


def test_captions_are_varied():
    flat = [caption for captions in CAPTIONS for caption in captions]
    assert len(set(flat)) > 0.95 * len(flat)
    said = Counter(word for caption in flat for word in set(re.findall("[a-z]+", caption.lower())))
    assert len(said) > 180
    assert sum(bool(set(c.lower().split()) & VAGUE) for c in flat) > 0.05 * len(flat)
    passive = sum(bool(re.search(r"\b(ridden|held|chased|watched|kicked) by\b", c)) for c in flat)
    assert passive > 0.015 * len(flat)
    starts = Counter(caption.split()[0] for caption in flat)
    assert starts["A"] < 0.75 * len(flat) and len(starts) >= 12


# -- the data set --------------------------------------------------------------------------------


def test_load_draws_once_and_reads_like_any_folder(tmp_path):
    data = captioned.load(toy.draw(6, 2, 3, seed=5, folder=tmp_path / "scenes"))
    assert data.n_images == 11 and data.n_captions == 55
    assert Counter(data.splits.tolist()) == {"train": 6, "val": 2, "test": 3}
    truth = toy.scenes(tmp_path / "scenes")
    assert truth[6] == compose("5/val/0") and data.captions_of(6) == tuple(
        write(truth[6], "5/val/0")
    )
    for file, scene, name in zip(data.image_files[:2], truth[:2], ("0", "1"), strict=True):
        drawn = draw_scene(scene, f"5/train/{name}")
        assert Image.open(file).convert("RGB").tobytes() == drawn.tobytes()
    before = data.image_files[0].stat().st_mtime_ns
    again = captioned.load(toy.draw(6, 2, 3, seed=5, folder=tmp_path / "scenes"))
    assert again.captions == data.captions and again.image_files[0].stat().st_mtime_ns == before
    assert not list(tmp_path.glob(".scenes-*"))  # nothing half-made is left


def test_a_scene_does_not_depend_on_the_numbers_of_scenes(tmp_path):
    small = captioned.load(toy.draw(2, 1, 1, folder=tmp_path / "small"))
    large = captioned.load(toy.draw(5, 3, 2, folder=tmp_path / "large"))
    assert small.split("val").captions == large.split("val").captions[:5]


def test_default_folder_is_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XMR_CACHE", str(tmp_path))
    toy.draw(1, 1, 1, seed=3)
    assert [folder.name for folder in tmp_path.iterdir()] == [f"toy-{toy.VERSION}-1-1-1-3"]


def test_other_folders_are_not_touched(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no toy scenes"):
        toy.draw(1, 1, 1, folder=tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"
    toy.draw(1, 1, 1, folder=tmp_path / "toy")
    with pytest.raises(DataError, match="holds the scenes toy-"):
        toy.draw(2, 1, 1, folder=tmp_path / "toy")
    (tmp_path / "toy" / "scenes.json").write_text("{")
    with pytest.raises(DataError, match="Delete this file"):
        toy.scenes(tmp_path / "toy")


def test_a_killed_drawing_is_drawn_anew_without_litter(tmp_path):
    code = "import sys; from xmr_lib import toy; toy.draw(5000, 1, 1, folder=sys.argv[1])"
    images = tmp_path / "toy" / "images"
    drawing = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "toy")], stderr=subprocess.DEVNULL
    )
    while not list(images.glob("*.png")):
        assert drawing.poll() is None
    drawing.kill()
    drawing.wait()
    assert not (tmp_path / "toy" / "scenes.json").exists()
    toy.draw(1, 1, 1, folder=tmp_path / "toy")
    assert len(list(images.iterdir())) == 3
    assert [each.name for each in tmp_path.iterdir()] == ["toy"]


def test_scenes_drawn_before_boxes_had_a_file_get_one(tmp_path):
    folder = toy.draw(2, 1, 1, folder=tmp_path / "toy")
    boxes = (folder / "boxes.json").read_bytes()
    (folder / "boxes.json").unlink()
    toy.draw(2, 1, 1, folder=folder)
    assert (folder / "boxes.json").read_bytes() == boxes


def test_contact_sheet(tmp_path):
    path = toy.contact_sheet(tmp_path / "new" / "sheet.png", rows=1, columns=2)
    assert Image.open(path).size[0] > 300
