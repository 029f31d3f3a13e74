"""The table of bad input: each kind gets one message that says where and what to do.

A row is a small function under `@bad(...)`. It makes the bad thing in `place.folder` and returns
the call that must fail; the decorator lists what the message must say. The test also checks that
nothing was lost: no file changed or vanished, nothing half-written is left under a final name.
With `rest=n`, loading again with on_problem="skip" must warn and give the other n images.
What looks odd but must simply work is in the second table, under `@fine`.
"""

from __future__ import annotations

import codecs
import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import samples
import torch
from PIL import Image
from xmr_course.tables import paper, reproduce

from xmr_lib import recipes, runs
from xmr_lib.data import captioned
from xmr_lib.data.features import extract
from xmr_lib.encoders import backbone, toy_backbone, weights
from xmr_lib.errors import DataError, MissingDependencyError, UnknownNameError, XMRError


@dataclass
class Place:
    """Where a row makes its bad input."""

    folder: Path
    patch: pytest.MonkeyPatch

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def table(self, count: int = 4, **options) -> Path:
        """A good table with pictures photo0.jpg, … in images/; rows make it bad."""
        return samples.table(self.folder, count, **options)

    def photo(self, number: int) -> Path:
        return self.folder / "images" / f"photo{number}.jpg"

    def write(self, name: str, content: str | bytes | dict) -> Path:
        if isinstance(content, dict):
            content = json.dumps(content)
        if isinstance(content, str):
            content = content.encode()
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def extracted(self, **options):
        """A finished, good cache of the table's pictures."""
        return self.extract(captioned.load(self.table(**options)))

    def extract(self, data, net=None, **options):
        return extract(data, net or samples.tiny(), cache=self.cache, **options)


@dataclass
class Case:
    """A row of the table."""

    kind: str
    prepare: Callable[[Place], Callable]
    says: tuple[str, ...]
    error: type[XMRError]
    rest: int | None


BAD: list[Case] = []
FINE: list[tuple[str, Callable]] = []


def bad(kind: str, *says: str, error: type[XMRError] = DataError, rest: int | None = None):
    """Adds a row: `kind` of bad input, and what the message must say."""

    def add(prepare):
        BAD.append(Case(kind, prepare, says, error, rest))

    return add


def fine(kind: str):
    """Adds a row of input that must work; its function does all the checking."""
    return lambda check: FINE.append((kind, check))


def snapshot(folder: Path) -> dict[Path, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file: file.read_bytes() for file in files if file.parent.name != "contents"}


# Images ------------------------------------------------------------------------------------------


@bad("truncated image", "1 of 4 images", "photo2.jpg", "broken or truncated", "check_images=True")
def _(place):
    data = captioned.load(place.table())
    place.photo(2).write_bytes(place.photo(2).read_bytes()[:-150])
    return lambda: place.extract(data)


@bad("truncated image, looked for while loading", "photo2.jpg", "truncated", "'skip'", rest=3)
def _(place):
    file = place.table()
    place.photo(2).write_bytes(place.photo(2).read_bytes()[:-150])
    return lambda **more: captioned.load(file, check_images=True, **more)


@bad("image of zero bytes", "line 4", "photo1.jpg is empty (0 bytes)", "'skip'", rest=3)
def _(place):
    file = place.table()
    place.photo(1).write_bytes(b"")
    return lambda **more: captioned.load(file, **more)


@bad("text file called .jpg", "photo0.jpg", "not an image", "a web page", "Repair")
def _(place):
    data = captioned.load(place.table())
    place.photo(0).write_text("<html>404 Not Found</html>")
    return lambda: place.extract(data)


@bad("missing image", "captions.csv", "line 8", "no image file photo3.jpg", "'skip'", rest=3)
def _(place):
    file = place.table()
    place.photo(3).unlink()
    return lambda **more: captioned.load(file, **more)


@bad("folder in place of an image", "line 2", "no image file photo0.jpg", rest=3)
def _(place):
    file = place.table()
    place.photo(0).unlink()
    place.photo(0).mkdir()
    return lambda **more: captioned.load(file, **more)


@bad("image that vanishes after loading", "photo1.jpg: cannot be read", "Load it again")
def _(place):
    data = captioned.load(place.table())
    place.photo(1).unlink()
    return lambda: place.extract(data)


@bad("images not there at all", "none of its 4 images", "photo0.jpg", "--images FOLDER")
def _(place):
    file = place.table()
    (place.folder / "images").rename(place.folder.with_name(place.folder.name + "-photos"))
    return lambda: captioned.load(file)


@bad("images still packed", "Unpack images.tar?", "--images FOLDER")
def _(place):
    file = place.table()
    (place.folder / "images").rename(place.folder.with_name(place.folder.name + "-photos"))
    place.write("images.tar", b"...")
    return lambda: captioned.load(file)


@bad("folder of images that does not exist", "fotos", "no such folder of images")
def _(place):
    file = place.table()
    return lambda: captioned.load(file, images=place.folder / "fotos")


@bad("image too large to decode", "photo0.jpg", "too large", "Shrink it")
def _(place):
    data = captioned.load(place.table())
    Image.new("1", (20_000, 20_000)).save(place.photo(0), "png")
    return lambda: place.extract(data)


# Annotation files --------------------------------------------------------------------------------


@bad("no such file", "nowhere.json", "no such file or folder")
def _(place):
    return lambda: captioned.load(place.folder / "nowhere.json")


@bad("empty file", "captions.csv", "the file is empty")
def _(place):
    file = place.write("captions.csv", "\n \n")
    return lambda: captioned.load(file)


@bad("header and nothing else", "captions.csv", "not one image with a caption")
def _(place):
    file = place.write("captions.csv", "image,caption\n")
    return lambda: captioned.load(file)


@bad("broken JSON", "dataset_small.json, line 3, column 1", "broken JSON", "compare its size")
def _(place):
    samples.karpathy(place.folder, ["train"], [1])
    file = place.write("dataset_small.json", '{"images": [\n{"filename": "a", "sentences": [\n')
    return lambda: captioned.load(file)


@bad("JSON without the key", "images[1] has no 'filename'", "the format you meant")
def _(place):
    file = samples.karpathy(place.folder, ["train", "val"], [1, 1])
    content = json.loads(file.read_text("utf-8"))
    del content["images"][1]["filename"]
    place.write(file.name, content)
    return lambda: captioned.load(file)


@bad("JSON with a caption that is no text", "'raw' of images[0].sentences[0] is a int, not a str")
def _(place):
    file = samples.karpathy(place.folder, ["train"], [1])
    place.write(file.name, file.read_text("utf-8").replace('"caption 0 of picture 0"', "7"))
    return lambda: captioned.load(file)


@bad("wrong columns", "line 1: no column named 'image'", "'image,beschreibung'", "image,caption")
def _(place):
    place.table()
    file = place.write("captions.csv", "image,beschreibung\nphoto0.jpg,ein Hund\n")
    return lambda: captioned.load(file, format="table")


@bad("unquoted comma", "line 3: 3 columns where the first line has 2", "in double quotes", rest=3)
def _(place):
    place.table(3, per_image=1)
    rows = "photo0.jpg,a\nphoto1.jpg,a dog, running\nphoto1.jpg,b\nphoto2.jpg,c\n"
    file = place.write("captions.csv", "image,caption\n" + rows)
    return lambda **more: captioned.load(file, **more)


@bad("unclosed quote", "captions.csv, line 3", "doubled")
def _(place):
    place.table(2)
    rows = 'photo0.jpg,"a dog\nphoto1.jpg,a cat\n'
    file = place.write("captions.csv", "image,caption\n" + rows)
    return lambda: captioned.load(file)


@bad("not UTF-8", "captions.csv, line 3", "not UTF-8 text (byte 0xe9)", "Save the file as UTF-8")
def _(place):
    place.table(2)
    rows = "photo0.jpg,a cat\nphoto1.jpg,a café\n"
    file = place.write("captions.csv", ("image,caption\n" + rows).encode("latin-1"))
    return lambda: captioned.load(file, format="table")


@bad("empty caption", "line 3: the caption of photo1.jpg is empty", "'skip'", rest=2)
def _(place):
    place.table(2)
    rows = "photo0.jpg,one\nphoto1.jpg,\u200b \nphoto1.jpg,two\n"
    file = place.write("captions.csv", "image,caption\n" + rows)
    return lambda **more: captioned.load(file, **more)


@bad("image without captions", "images[1]: photo1.jpg has no caption", "'skip'", rest=2)
def _(place):
    file = samples.karpathy(place.folder, ["train"] * 3, [2, 0, 2])
    return lambda **more: captioned.load(file, **more)


@bad(
    "caption without an image (table)",
    "line 3: no image is named ({'image': '', 'caption': 'lost'",
    rest=1,
)
def _(place):
    place.table(1)
    file = place.write("captions.csv", "image,caption\nphoto0.jpg,one\n,lost\n")
    return lambda **more: captioned.load(file, **more)


@bad("caption without an image (COCO)", "annotations[0]", "image 99, which is not among", rest=2)
def _(place):
    file = samples.coco(place.folder, "val", [4, 5])
    content = json.loads(file.read_text("utf-8"))
    content["annotations"].insert(0, {"image_id": 99, "caption": "lost"})
    file.write_text(json.dumps(content), encoding="utf-8")
    return lambda **more: captioned.load(file, **more)


@bad("caption number twice", "line 2: photo0.jpg#0 occurs a second time", rest=1)
def _(place):
    samples.pictures(place.folder, 1)
    file = place.write("x.token", "photo0.jpg#0\ta\nphoto0.jpg#0\tb\nphoto0.jpg#1\tc\n")
    return lambda **more: captioned.load(file, **more)


@bad("line without a tab", "line 2: not of the form image.jpg#0<TAB>caption: 'photo0", rest=1)
def _(place):
    samples.pictures(place.folder, 1)
    file = place.write("x.token", "photo0.jpg#0\ta\nphoto0.jpg#1 b\n")
    return lambda **more: captioned.load(file, **more)


@bad("image in two splits", "line 3: photo0.jpg is in two splits, 'train' and 'test'", rest=1)
def _(place):
    place.table(1)
    rows = "photo0.jpg,a,train\nphoto0.jpg,b,test\n"
    file = place.write("captions.csv", "image,caption,split\n" + rows)
    return lambda **more: captioned.load(file, **more)


@bad("empty split", "line 3: the split of photo1.jpg is empty", rest=1)
def _(place):
    place.table(2)
    rows = "photo0.jpg,a,train\nphoto1.jpg,b,\n"
    file = place.write("captions.csv", "image,caption,split\n" + rows)
    return lambda **more: captioned.load(file, **more)


@bad("many problems", "40 problems", "photo0.jpg", "photo4.jpg", "… and 35 more", rest=1)
def _(place):
    file = place.table(41)
    for number in range(40):
        place.photo(number).unlink()
    return lambda **more: captioned.load(file, **more)


@bad("folder without annotations", "holds no captions", "photo0.jpg", "captions.csv")
def _(place):
    samples.pictures(place.folder, 2)
    return lambda: captioned.load(place.folder)


@bad(
    "file of an unknown format",
    "notes.md",
    "no captions are recognised",
    "# not captions",
    "image,caption",
)
def _(place):
    file = place.write("notes.md", "# not captions\n")
    return lambda: captioned.load(file)


@bad("several annotation files", "several", "Name one of dataset_a.json, dataset_b.json")
def _(place):
    file = samples.karpathy(place.folder, ["train"], [1])
    place.write("dataset_a.json", file.read_bytes())
    file.rename(place.folder / "dataset_b.json")
    return lambda: captioned.load(place.folder)


@bad("unknown split", "has no split 'testing'; it has train, val")
def _(place):
    data = captioned.load(samples.karpathy(place.folder, ["train", "val"], [1, 1]))
    return lambda: data.split("testing")


@bad("unknown format", "no annotation format named 'coc'", "'coco'", error=UnknownNameError)
def _(place):
    return lambda: captioned.load(place.table(), format="coc")


@bad("unknown protocol", "no split protocol named 'karpaty'", "'karpathy'", error=UnknownNameError)
def _(place):
    return lambda: captioned.load(place.table(), protocol="karpaty")


@bad("protocol of another data set", "31,783 images of Flickr30K", "these are 4", "'karpathy'")
def _(place):
    return lambda: captioned.load(place.table(), protocol="rfe")


# Backbones and features --------------------------------------------------------------------------


@bad("unknown backbone", "no backbone named 'resnet-50'", "'resnet50'", error=UnknownNameError)
def _(place):
    data = captioned.load(place.table())
    return lambda: extract(data, "resnet-50", cache=place.cache)


@bad("ResNet's weights, offline", "resnet50-0676ba61.pth into", "checkpoints", "efficientnet-lite0")
def _(place):
    place.patch.setattr(torch.hub, "_hub_dir", str(place.folder / "hub"))
    place.patch.setattr(weights, "_url", lambda *_: "http://127.0.0.1:9/resnet50-0676ba61.pth")
    return lambda: backbone.load_backbone("resnet50")


@bad("backbone's package missing", 'pip install "xmr-lib[offline-', error=MissingDependencyError)
def _(place):
    place.patch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
    return lambda: backbone.load_backbone("efficientnet-lite0")


@bad("NaN from a network", "NaN or infinity", "photo0.jpg", "weights damaged")
def _(place):
    net, data = samples.tiny(), captioned.load(place.table())
    with torch.no_grad():
        net.net.steps[0].bias[0] = torch.nan
    return lambda: place.extract(data, net)


@bad("iPhone's picture", "photo1.jpg", "HEIC", "convert it to JPEG")
def _(place):
    data = captioned.load(place.table())
    place.photo(1).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    return lambda: place.extract(data)


@bad("EPS that is called a JPEG", "photo1.jpg", "PostScript", "convert it to PNG")
def _(place):
    data = captioned.load(place.table())
    place.photo(1).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    return lambda: place.extract(data)


@bad("damaged weights of the toy network", "is damaged", "install that again")
def _(place):
    raw = bytearray(toy_backbone.WEIGHTS.read_bytes())
    raw[-50] ^= 16
    file = place.write("weights.safetensors", bytes(raw))
    return lambda: toy_backbone.load_toy_backbone(file)


@bad("features of another data set", "features of 4 images", "row 5", "whole data set")
def _(place):
    found = place.extracted()
    more = captioned.load(samples.table(place.folder / "more", 6))
    return lambda: found.of(more)


@bad("part of a data set", "part of", "features.of(part)", "part.as_whole()")
def _(place):
    data = captioned.load(samples.karpathy(place.folder, ["train", "val"], [1, 1]))
    return lambda: place.extract(data.split("val"))


def _refuse_writing(place, number: int, reason: str):
    place.extracted()
    more = captioned.load(samples.table(place.folder / "more", 5))

    def refuse(*_, **__):
        raise OSError(number, reason)

    place.patch.setattr(os, "replace", refuse)
    return lambda: place.extract(more)


@bad("disk full in the middle", "cache", "cannot be written: No space left on device", "XMR_CACHE")
def _(place):
    return _refuse_writing(place, errno.ENOSPC, "No space left on device")


@bad("read-only cache", "cache", "cannot be written: Read-only file system", "XMR_CACHE")
def _(place):
    return _refuse_writing(place, errno.EROFS, "Read-only file system")


# Recipes, tables and runs ------------------------------------------------------------------------


@bad("unknown recipe", "no recipe named 'VSE+'", "Did you mean 'VSE++'", error=UnknownNameError)
def _(place):
    return lambda: runs.run("VSE+", captioned.load(place.table()))


@bad("unknown scale", "no scale named 'papers'", "'paper'", error=UnknownNameError)
def _(place):
    return lambda: recipes.get("RFE", "papers")


@bad("unknown field of a recipe", "'marign'", "Did you mean 'margin'", error=UnknownNameError)
def _(place):
    return lambda: recipes.get("RFE", marign=0.3)


@bad("value of a recipe out of range", "epochs must be at least 1, not 0")
def _(place):
    return lambda: recipes.get("RFE", epochs=0)


@bad("value of a recipe of another type", "margin must be a number", "not '0,2'")
def _(place):
    return lambda: recipes.get("RFE", margin="0,2")


@bad("unknown table", "no table named 'rfe-66'", "'rfe-6'", error=UnknownNameError)
def _(place):
    return lambda: paper.table("rfe-66")


@bad("table without recalls", "rfe-5 prints seconds, not recalls", "reproduce_times")
def _(place):
    return lambda: reproduce.reproduce("rfe-5")


@bad("no training images", "has no split 'train'; it has test")
def _(place):
    data = captioned.load(samples.karpathy(place.folder, ["test"], [2]))
    features = place.extract(data)
    return lambda: runs.run("RFE", data, features=features, root=place.folder)


@bad("folder without a run", "holds no finished run", "Give the folder that `train` printed")
def _(place):
    return lambda: runs.load(place.folder)


@bad("broken run.json", "run.json is not valid JSON")
def _(place):
    place.write("run.json", '{"recipe":')
    return lambda: runs.load(place.folder)


@bad("run.json of something else", "run.json is missing or damaged", "Train the run again")
def _(place):
    place.write("run.json", {"name": "some package"})
    return lambda: runs.load(place.folder)


# Odd, but to be taken as it is -------------------------------------------------------------------


@fine("grey, CMYK, palette, transparent and rotated images")
def _(place):
    file = place.table(5)
    source = Image.open(place.photo(0))
    exif = Image.Exif()
    exif[0x0112] = 6
    for number, image in enumerate(
        [source.convert("L"), source.convert("CMYK"), source.quantize(9), source.convert("RGBA")]
    ):
        kind = "png" if image.mode in ("P", "RGBA") else "jpeg"
        image.save(place.photo(number), kind)
    source.save(place.photo(4), exif=exif)
    assert place.extract(captioned.load(file)).array.shape == (5, 28)


@fine("captions of one and of ten thousand words, in any script")
def _(place):
    texts = ("dog", "word " * 9_999 + "end", "собака 🐕‍🦺", "犬が走る", "كلب", "a\u200bb", "𝒟og")
    place.table(1)
    rows = "".join(f"photo0.jpg,{text}\n" for text in texts)
    file = place.write("captions.csv", "image,caption\n" + rows)
    assert captioned.load(file).captions == texts


@fine("byte-order mark and Windows line ends")
def _(place):
    file = place.table(3)
    text = file.read_text("utf-8")
    plain = captioned.load(file)
    place.write("captions.csv", codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode())
    assert captioned.load(file).captions == plain.captions


@fine("other files beside the annotations")
def _(place):
    file = place.table(3)
    for name in ("notes.txt", "package.json", "broken.json", "numbers.csv", "LICENSE"):
        place.write(name, b'{"images\xff')
    assert captioned.load(file.parent).n_images == 3


@fine("a cache that is read-only but complete")
def _(place):
    first = place.extracted()

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    place.patch.setattr(os, "replace", refuse)
    place.patch.setattr(Path, "mkdir", refuse)
    data = captioned.load(place.folder / "captions.csv")
    np.testing.assert_array_equal(place.extract(data).array, first.array)


# The tests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.kind)
def test_bad_input(case, tmp_path, monkeypatch):
    call = case.prepare(Place(tmp_path, monkeypatch))
    before = snapshot(tmp_path)
    with pytest.raises(case.error) as caught:
        call()
    message = str(caught.value)
    for part in case.says:
        assert part in message
    assert len(message.splitlines()) <= 9, "one message, not a report"

    after = snapshot(tmp_path)
    assert {file: after.get(file) for file in before} == before, "a file was changed or lost"
    new = {file.name for file in set(after) - set(before)}
    assert not any(name[0] == "." for name in new - {".lock"}), "a half-written file is left"

    if case.rest is not None:
        with pytest.warns(UserWarning, match="left out because of"):
            assert call(on_problem="skip").n_images == case.rest


@pytest.mark.parametrize("check", [c for _, c in FINE], ids=[kind for kind, _ in FINE])
def test_odd_but_fine_input(check, tmp_path, monkeypatch):
    check(Place(tmp_path, monkeypatch))


def test_the_table_is_long_enough():
    assert len({case.kind for case in BAD}) == len(BAD) >= 25
