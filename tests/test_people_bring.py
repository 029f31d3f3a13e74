"""What people bring: a row for each kind of input, with the right outcome.

A row under `@brings` makes a folder as people have it and says what must come out of it. Kinds that
belong to captions are read with `captioned.load`; other parts of the kit have rows of their own
with `@works`, whose functions do all the checking.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from samples import picture

from xmr_lib.data import captioned
from xmr_lib.data.remarks import remarks
from xmr_lib.data.vocabulary import Vocabulary, tokenize
from xmr_lib.errors import DataError, MissingDependencyError

# Twelve pictures with two captions each, unless a row says otherwise.
EXPECTED = {f"p{i:02d}": (f"a first thing {i}", f"a second thing {i}") for i in range(12)}
PAIRS = [(f"{name}.jpg", caption) for name, both in EXPECTED.items() for caption in both]


@dataclass
class Brought:
    """A row: what is made, and what must come of it."""

    kind: str
    make: Callable[[Path], Path | None]
    captions: dict[str, tuple[str, ...]]
    splits: str | None
    error: str | None


ROWS: list[Brought] = []
WORKS: list[tuple[str, Callable]] = []


def brings(kind: str, captions=EXPECTED, splits: str | None = None, error: str | None = None):
    """Adds a row.

    Args:
        kind: What people bring.
        captions: What must be read, by the pictures' names without endings.
        splits: "8/2/2": how many images train, val and test must have.
        error: A message that must come instead, as a regular expression.
    """
    return lambda make: ROWS.append(Brought(kind, make, captions, splits, error))


def works(kind: str):
    """Adds a row whose function takes a fresh folder and pytest's monkeypatch, and checks all."""
    return lambda check: WORKS.append((kind, check))


def photos(folder: Path, ending: str = ".jpg", place: str = "images") -> None:
    for i, name in enumerate(EXPECTED):
        picture(folder / place / f"{name}.jpg", seed=i, size=(8, 6))
        (folder / place / f"{name}.jpg").rename(folder / place / f"{name}{ending}")


def write(folder: Path, name: str, rows, delimiter: str = ",", encoding="utf-8", end="\n") -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    (folder / name).write_bytes(text.getvalue().encode(encoding))


def dump(folder: Path, name: str, content) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


# Several captions in one row ----------------------------------------------------------------------


@brings("a JSON list of captions in a cell")
def _(folder):
    photos(folder, place="Images")
    rows = [(f"{name}.jpg", json.dumps(both)) for name, both in EXPECTED.items()]
    write(folder, "captions.txt", [("image", "caption"), *rows])


@brings("a Python list in a cell, as pandas writes it")
def _(folder):
    photos(folder)
    rows = [(f"{name}.jpg", str(list(both))) for name, both in EXPECTED.items()]
    write(folder, "captions.csv", [("image", "captions"), *rows])


@brings("a NumPy array in a cell")
def _(folder):
    photos(folder)
    rows = [(f"{name}.jpg", str(np.array(both, object))) for name, both in EXPECTED.items()]
    write(folder, "captions.csv", [("image", "captions"), *rows])


@brings("numbered columns, some cells empty", EXPECTED | {"p03": ("a first thing 3",)})
def _(folder):
    photos(folder)
    rows = [
        (f"{name}.jpg", one, two if name != "p03" else "") for name, (one, two) in EXPECTED.items()
    ]
    write(folder, "captions.csv", [("image", "caption_0", "caption_1"), *rows])


@brings("columns caption and caption2")
def _(folder):
    photos(folder)
    rows = [(f"{name}.jpg", *both) for name, both in EXPECTED.items()]
    write(folder, "captions.csv", [("image", "caption", "caption2"), *rows])


@brings("nlphuji's Flickr30k: lists in a cell, other columns beside", splits="8/2/2")
def _(folder):
    photos(folder)
    words = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    rows = [
        (json.dumps(both), "[0, 1]", word, f"{name}.jpg", i)
        for i, ((name, both), word) in enumerate(zip(EXPECTED.items(), words, strict=True))
    ]
    write(folder, "annotations.csv", [("raw", "sentids", "split", "filename", "img_id"), *rows])


@brings("BLIP's lists, a file for each split", splits="8/2/2")
def _(folder):
    photos(folder, place="flickr30k-images")
    names = list(EXPECTED)
    for split, part in (("train", names[:8]), ("val", names[8:10]), ("test", names[10:])):
        records = [{"image": f"flickr30k-images/{n}.jpg", "caption": EXPECTED[n]} for n in part]
        dump(folder, f"flickr30k_{split}.json", records)


@brings("columns of one name")
def _(folder):
    photos(folder)
    rows = [(f"{name}.jpg", *both) for name, both in EXPECTED.items()]
    write(folder, "captions.csv", [("image", "caption", "caption"), *rows])


@brings("a caption in square brackets is no list", {"p00": ("[blurred]", "[a] and [b]")})
def _(folder):
    photos(folder)
    write(
        folder,
        "c.csv",
        [("image", "caption"), ("p00.jpg", "[blurred]"), ("p00.jpg", "[a] and [b]")],
    )


# One data set, one behaviour ----------------------------------------------------------------------


TWICE = EXPECTED | {"p00": (*EXPECTED["p00"], EXPECTED["p00"][0])}


@brings("Kaggle's captions.txt with a caption given twice", TWICE)
def _(folder):
    photos(folder, place="Images")
    write(folder, "captions.txt", [("image", "caption"), *PAIRS, PAIRS[0]])


@brings("a token file with a caption given twice", TWICE)
def _(folder):
    photos(folder)
    lines = [f"{image}#{i}\t{caption}" for i, (image, caption) in enumerate([*PAIRS, PAIRS[0]])]
    (folder / "results.token").write_text("\n".join(lines), encoding="utf-8")


def lists(folder: Path, pattern: str, ending: str) -> None:
    names = list(EXPECTED)
    for words, part in (("train", names[:8]), ("dev", names[8:10]), ("test", names[10:])):
        text = "".join(f"{name}{ending}\n" for name in part)
        (folder / pattern.format(words)).write_text(text, encoding="utf-8")


@brings("Kaggle's captions.txt beside Flickr8k's lists", splits="8/2/2")
def _(folder):
    photos(folder, place="Images")
    write(folder, "captions.txt", [("image", "caption"), *PAIRS])
    lists(folder, "Flickr_8k.{}Images.txt", ".jpg")


@brings("lists of names without endings beside a JSON list", splits="8/2/2")
def _(folder):
    photos(folder)
    dump(folder, "all.json", [{"image": image, "caption": text} for image, text in PAIRS])
    lists(folder, "{}.txt", "")


@brings("a column `set` with other words for the splits", splits="8/2/2")
def _(folder):
    photos(folder)
    words = ["training"] * 8 + ["validation", "eval"] + ["testing", "Test"]
    rows = [
        (f"{name}.jpg", text, word)
        for (name, both), word in zip(EXPECTED.items(), words, strict=True)
        for text in both
    ]
    write(folder, "captions.csv", [("image", "caption", "set"), *rows])


@brings("a table for each split", splits="8/2/2")
def _(folder):
    photos(folder)
    for name, part in (("train", PAIRS[:16]), ("valid", PAIRS[16:20]), ("test", PAIRS[20:])):
        write(folder, f"{name}.csv", [("filepath", "title"), *part], delimiter="\t")


@brings("metadata.jsonl in a folder for each split", splits="8/2/2")
def _(folder):
    names = list(EXPECTED)
    for split, part in (("train", names[:8]), ("validation", names[8:10]), ("test", names[10:])):
        for name in part:
            picture(folder / split / f"{name}.jpg", seed=int(name[1:]), size=(8, 6))
        lines = [json.dumps({"file_name": f"{n}.jpg", "text": EXPECTED[n]}) for n in part]
        (folder / split / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


def coco(folder: Path, name: str, number=int) -> None:
    images = [{"id": i, "file_name": f"{image}.jpg"} for i, image in enumerate(EXPECTED)]
    annotations = [
        {"image_id": number(i // 2), "caption": text} for i, (_, text) in enumerate(PAIRS)
    ]
    dump(folder, name, {"images": images, "annotations": annotations})


@brings("captions_latest.json is no test split", splits="9/1/2")
def _(folder):
    photos(folder)
    coco(folder, "captions_latest.json")


@brings("ids as number here and as text there")
def _(folder):
    photos(folder)
    coco(folder, "annotations/captions_evaluation.json", str)


@brings("one picture under two spellings is one image")
def _(folder):
    photos(folder)
    rows = [
        (image.upper() if i % 2 else f"images/{image}", text)
        for i, (image, text) in enumerate(PAIRS)
    ]
    write(folder, "captions.csv", [("image", "caption"), *rows])


# Names that any person would match ----------------------------------------------------------------


@brings("Windows paths")
def _(folder):
    photos(folder)
    rows = [(f"images\\{image}", text) for image, text in PAIRS]
    write(folder, "captions.csv", [("image", "caption"), *rows])


@brings("paths of another computer")
def _(folder):
    photos(folder)
    rows = [(f"C:\\Users\\me\\photos\\{image}", text) for image, text in PAIRS]
    write(folder, "captions.csv", [("image_path", "caption"), *rows])


@brings(".JPG on disk and .jpg in the file")
def _(folder):
    photos(folder, ".JPG")
    write(folder, "captions.csv", [("image", "caption"), *PAIRS])


@brings("names without endings")
def _(folder):
    photos(folder, ".png")
    write(folder, "captions.csv", [("image_id", "caption"), *((i[:-4], text) for i, text in PAIRS)])


@brings("numbers without their zeros", {"0012": ("a", "b")})
def _(folder):
    picture(folder / "images" / "0012.jpg")
    dump(folder, "c.json", [{"id": 12, "caption": ["a", "b"]}])


@brings("Flickr8k-CN's #zhb#0")
def _(folder):
    photos(folder)
    lines = [f"{image}#zhb#{i % 2}\t{text}" for i, (image, text) in enumerate(PAIRS)]
    (folder / "flickr8kzhb.caption.txt").write_text("\n".join(lines), encoding="utf-8")


@brings("NFC in the file, NFD on disk", {unicodedata.normalize("NFD", "café"): ("one", "two")})
def _(folder):
    picture(folder / f"{unicodedata.normalize('NFD', 'café')}.jpg")
    write(folder, "captions.csv", [("image", "caption"), ("café.jpg", "one"), ("café.jpg", "two")])


@brings("another ending is a hint, not a match", error=r"p01\.jpg \(there is images/p01\.png\)")
def _(folder):
    photos(folder)
    (folder / "images" / "p01.jpg").rename(folder / "images" / "p01.png")
    write(folder, "captions.csv", [("image", "caption"), *PAIRS])


@brings("another ending throughout", error=r"none of its 12 images .*There is images/p00\.png")
def _(folder):
    photos(folder, ".png")
    write(folder, "captions.csv", [("image", "caption"), *PAIRS])


@brings("a picture of another folder is no match", error=r"no image file val/1\.jpg \(there is tr")
def _(folder):
    picture(folder / "train" / "1.jpg")
    rows = [("image", "caption"), ("train/1.jpg", "a"), ("val/1.jpg", "b")]
    write(folder, "captions.csv", rows)


# Nearly a data set --------------------------------------------------------------------------------


@brings("OpenCLIP's filepath<TAB>title")
def _(folder):
    photos(folder)
    rows = [("filepath", "title"), *((f"images/{image}", text) for image, text in PAIRS)]
    write(folder, "train.csv", rows, delimiter="\t")


@brings("Excel's sep=; in UTF-16")
def _(folder):
    photos(folder)
    write(folder, "captions.csv", [("Image Name", "Description"), *PAIRS], ";")
    text = (folder / "captions.csv").read_text("utf-8")
    (folder / "captions.csv").write_text(f"sep=;\n{text}", "utf-16")


@brings("Mac line ends")
def _(folder):
    photos(folder)
    write(folder, "captions.csv", [("image", "caption"), *PAIRS], end="\r")


@brings("no header")
def _(folder):
    photos(folder)
    write(folder, "captions.csv", PAIRS)


@brings("a blank behind a quote", {"p00": ("a dog, running", 'a "big" , dog'), "p01": ("a cat",)})
def _(folder):
    photos(folder)
    text = 'image,caption\np00.jpg, "a dog, running" \np00.jpg,"a ""big"" , dog"\np01.jpg,a cat\n'
    (folder / "captions.csv").write_text(text, encoding="utf-8")


@brings("a JSON list of image and caption")
def _(folder):
    photos(folder)
    dump(folder, "data.json", [{"image": image, "caption": text} for image, text in PAIRS])


@brings("JSON: captions by name")
def _(folder):
    photos(folder)
    dump(folder, "captions.json", {f"{name}.jpg": both for name, both in EXPECTED.items()})


@brings("img2dataset's 000.jpg and 000.txt in shards", {"p00": ("a first thing 0",)})
def _(folder):
    picture(folder / "00000" / "p00.jpg")
    (folder / "00000" / "p00.txt").write_text("a first thing 0\n", encoding="utf-8")
    dump(folder, "00000/p00.json", {"url": "u", "key": "p00"})


@brings("JSON lines in a file called .json")
def _(folder):
    photos(folder)
    lines = [json.dumps({"url": f"https://a.org/{i}", "alt": text}) for i, text in PAIRS]
    (folder / "all.json").write_text("\n".join(lines), encoding="utf-8")


@brings("JSON: an object by name", splits="8/2/2")
def _(folder):
    photos(folder)
    words = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    pairs = zip(EXPECTED.items(), words, strict=True)
    content = {name: {"split": word, "captions": both} for (name, both), word in pairs}
    dump(folder, "captions.json", content)


@brings("JSON: pictures with captions inside of an object")
def _(folder):
    photos(folder)
    images = [{"file_name": f"{name}.jpg", "captions": both} for name, both in EXPECTED.items()]
    dump(folder, "all.json", {"info": {"year": 2024}, "images": images})


@brings("texts in one folder, pictures in another")
def _(folder):
    photos(folder)
    (folder / "texts").mkdir()
    for name, both in EXPECTED.items():
        (folder / "texts" / f"{name}.txt").write_text("\n".join(both) + "\n\n", encoding="utf-8")


@brings("image<TAB>caption with more commas than tabs", {"p00": ("a dog, a cat, a cow",)})
def _(folder):
    photos(folder)
    (folder / "c.txt").write_text("p00.jpg\ta dog, a cat, a cow\n", encoding="utf-8")


@brings("Flickr8k's texts and pictures in folders of their own", splits="8/2/2")
def _(folder):
    photos(folder, place="Flicker8k_Dataset")
    (folder / "Flickr8k_text").mkdir()
    lines = [f"{image}#{i % 2}\t{text}\n" for i, (image, text) in enumerate(PAIRS)]
    (folder / "Flickr8k_text" / "Flickr8k.token.txt").write_text("".join(lines), encoding="utf-8")
    lists(folder / "Flickr8k_text", "Flickr_8k.{}Images.txt", ".jpg")


@brings("captions a folder deeper")
def _(folder):
    photos(folder / "archive")
    write(folder / "archive", "captions.csv", [("image", "caption"), *PAIRS])


@brings("a table with other columns", error=r"captions\.csv.*'bild,beschreibung'.*image,caption")
def _(folder):
    photos(folder)
    write(folder, "captions.csv", [("bild", "beschreibung"), *PAIRS])


@brings("an Excel file", error=r"captions\.xlsx: save the table as CSV, with the columns image,")
def _(folder):
    photos(folder)
    (folder / "captions.xlsx").write_bytes(b"PK")


# Saved data sets ----------------------------------------------------------------------------------


@works("a saved data set with a row per caption")
def _(folder, monkeypatch):
    datasets = pytest.importorskip("datasets")
    photos(folder)
    files = [folder / "images" / image for image, _ in PAIRS]
    column = [{"bytes": file.read_bytes(), "path": None} for file in files]
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    rows = {"image": column, "text": [text for _, text in PAIRS]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(folder / "saved")
    splits = []
    for cache in ("one", "another"):
        monkeypatch.setenv("XMR_CACHE", str(folder / cache))
        data = captioned.load(folder / "saved")
        assert (data.n_images, data.n_captions) == (12, 24)
        splits.append(data.splits.tolist())
    assert splits[0] == splits[1]


# Captions -----------------------------------------------------------------------------------------


@works("words with combining marks")
def _(folder, monkeypatch):
    del folder, monkeypatch
    for words in ("कुत्ता घास पर दौड़ रहा है", "একটি কুকুর দৌড়াচ্ছে", "كَلْبٌ يَجْرِي", "ein café"):
        assert tokenize(words) == words.split()
        assert tokenize(unicodedata.normalize("NFD", words)) == [
            unicodedata.normalize("NFC", word) for word in words.split()
        ]


@works("Chinese, Japanese and Thai with BudouX")
def _(folder, monkeypatch):
    pytest.importorskip("budoux")
    assert tokenize("สุนัขกำลังวิ่ง") == ["สุนัข", "กำลัง", "วิ่ง"]
    assert len(tokenize("犬が走る")) == 2 and "绿色" in tokenize("这里出现一个普通的绿色三角形")
    Vocabulary.build(["绿色的"], 1).save(folder / "v.json")
    monkeypatch.setattr("xmr_lib.data.vocabulary.word_cutters", dict)
    with pytest.raises(MissingDependencyError, match=r"xmr-lib\[languages\]"):
        Vocabulary.load(folder / "v.json")


@works("Chinese without BudouX: a remark says that nothing is learnt")
def _(folder, monkeypatch):
    monkeypatch.setattr("xmr_lib.data.vocabulary.word_cutters", dict)
    photos(folder)
    write(
        folder,
        "c.csv",
        [
            ("image", "caption"),
            *((image, f"这里有一个绿色的三角形{i}") for i, (image, _) in enumerate(PAIRS)),
        ],
    )
    data = captioned.load(folder)
    said = " ".join(remarks(data, Vocabulary.build(data.split("train").captions)))
    assert "no blanks between words" in said and "mean nothing" in said


@works("a dozen pictures: the chance level is told")
def _(folder, monkeypatch):
    photos(folder)
    write(folder, "c.csv", [("image", "caption"), *PAIRS])
    data = captioned.load(folder)
    vocabulary = Vocabulary.build(data.captions, 1)
    assert remarks(data, vocabulary)[0] == (
        "The test split has 2 images: guessing gives rsum 500 of 600."
    )
    assert "mean nothing" in remarks(data, vocabulary)[-1]
    many = np.repeat(np.arange(200), 5)
    whole = captioned.CaptionedImages(
        "many",
        data.image_files[:1] * 200,
        ("a first thing",) * 1000,
        many,
        np.full(200, "test"),
        np.arange(200),
    )
    assert remarks(whole, vocabulary) == []


@brings("terminal escapes and control characters", {"p00": ("a red dog", "left to right")})
def _(folder):
    photos(folder)
    rows = [("p00.jpg", "a \x1b[31mred\x1b[0m\x07dog"), ("p00.jpg", "\u202eleft to right\x9b")]
    write(folder, "c.csv", [("image", "caption"), *rows])


@works("a data set's name that leads out of the folder")
def _(folder, monkeypatch):
    photos(folder)
    images = [{"filename": f"{name}.jpg", "sentences": [{"raw": "a"}]} for name in EXPECTED]
    dump(folder, "dataset_x.json", {"dataset": "../../../x", "images": images})
    data = captioned.load(folder)
    assert data.name == "x" and replace(data, name="a/b").name == "a-b"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_captions_that_people_bring(row, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    row.make(folder)
    if row.error:
        with pytest.raises(DataError, match=f"(?s){row.error}"):
            captioned.load(folder)
        return
    data = captioned.load(folder)
    found = {file.stem: data.captions_of(i) for i, file in enumerate(data.image_files)}
    assert found == row.captions
    if row.splits:
        counts = [int((data.splits == name).sum()) for name in ("train", "val", "test")]
        assert "/".join(map(str, counts)) == row.splits


@pytest.mark.parametrize("check", [c for _, c in WORKS], ids=[kind for kind, _ in WORKS])
def test_other_things_that_people_bring(check, tmp_path, monkeypatch):
    check(tmp_path, monkeypatch)
