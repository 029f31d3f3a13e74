"""Reading photographs with captions: every format, any number of captions, splits, subsets."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import samples

from xmr_lib.data import captioned
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.splits import assign_splits, split_by_name
from xmr_lib.errors import DataError, MissingDependencyError, UnknownNameError


def check(data: CaptionedImages) -> CaptionedImages:
    """What must hold of any data set, checked the slow way; captions must be of their picture."""
    assert len(data.image_files) == len(data.splits) == len(data.rows) == data.n_images
    assert all(file.is_absolute() and file.is_file() for file in data.image_files)
    assert data.image_of_caption.dtype == np.int64
    for image in range(data.n_images):
        expected = [
            text
            for owner, text in zip(data.image_of_caption, data.captions, strict=True)
            if owner == image
        ]
        assert list(data.captions_of(image)) == expected
        assert expected
        picture = data.image_files[image].stem.removeprefix("photo")
        assert all(text.endswith(f" of picture {picture}") for text in expected)
    return data


def test_karpathy_with_restval_and_any_number_of_captions(tmp_path):
    samples.karpathy(tmp_path, ["train", "restval", "val", "test"], [1, 2, 5, 7])
    data = check(captioned.load(tmp_path))
    assert data.name == "small"
    assert data.splits.tolist() == ["train", "train", "val", "test"]
    assert np.bincount(data.image_of_caption).tolist() == [1, 2, 5, 7]

    apart = captioned.load(tmp_path / "dataset_small.json", restval=False)
    assert apart.split_names == ("train", "restval", "val", "test")


def test_karpathy_of_coco_has_folders(tmp_path):
    file = samples.karpathy(tmp_path, ["train", "val"], [2, 2], filepath="val2014")
    (tmp_path / "images").rename(tmp_path / "val2014")
    data = check(captioned.load(file))
    assert data.image_files[1] == (tmp_path / "val2014" / "photo1.jpg").resolve()


def test_split_and_subset_are_numbered_anew_and_keep_their_rows(tmp_path):
    samples.karpathy(tmp_path, ["train", "val", "train", "val"], [1, 2, 3, 4])
    data = captioned.load(tmp_path)
    val = check(data.split("val"))
    assert val.n_captions == 6
    assert val.rows.tolist() == [1, 3]
    assert val.image_of_caption.tolist() == [0, 0, 1, 1, 1, 1]

    picked = check(val.subset([1, 0]))  # in the order asked for, rows of the first data set
    assert picked.rows.tolist() == [3, 1]
    assert picked.captions_of(0) == data.captions_of(3)
    assert picked.as_whole().rows.tolist() == [0, 1]

    with pytest.raises(DataError, match="small has no split 'test'; it has train, val"):
        data.split("test")


def test_inconsistent_data_are_refused(tmp_path):
    good = captioned.load(samples.table(tmp_path, 2))
    with pytest.raises(DataError, match="Every image needs at least one caption"):
        CaptionedImages("x", good.image_files, good.captions, np.zeros(4, int), *[np.arange(2)] * 2)
    with pytest.raises(DataError, match="in the order of their images"):
        CaptionedImages(
            "x", good.image_files, good.captions, np.array([1, 1, 0, 0]), *[np.arange(2)] * 2
        )


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_tables_of_all_kinds(tmp_path, delimiter):
    file = samples.table(tmp_path, 3, ["training", "Dev", "test"])
    text = file.read_text("utf-8").replace(",", delimiter)
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())  # as Excel writes
    data = check(captioned.load(tmp_path))
    assert data.splits.tolist() == ["train", "val", "test"]
    assert data.n_captions == 6


def test_table_with_quotes_commas_line_ends_and_rows_in_any_order(tmp_path):
    samples.pictures(tmp_path, 2)
    (tmp_path / "captions.csv").write_text(
        'image,caption\nphoto1.jpg,"a dog, a ""big"" one"\nphoto0.jpg,two\n\n'
        'photo1.jpg,"first line\nsecond"\n',
        encoding="utf-8",
    )
    data = captioned.load(tmp_path)
    assert data.captions == ('a dog, a "big" one', "first line second", "two")
    assert [file.name for file in data.image_files] == ["photo1.jpg", "photo0.jpg"]


def test_tab_separated_captions_may_hold_loose_quotes(tmp_path):
    samples.pictures(tmp_path, 2)
    text = 'image\tcaption\nphoto0.jpg\t"Stop" says a sign\nphoto1.jpg\ta 5" pipe\n'
    (tmp_path / "captions.tsv").write_text(text, encoding="utf-8")
    assert captioned.load(tmp_path).captions == ('"Stop" says a sign', 'a 5" pipe')


def test_flickr30k_results_csv(tmp_path):
    samples.pictures(tmp_path / "flickr30k_images", 2)
    (tmp_path / "results.csv").write_text(
        "image_name| comment_number| comment\n"
        'photo0.jpg| 0| "Shaggy" men , outside .\n'
        "photo0.jpg| 1| Two men .\nphoto1.jpg| 0| A bus .\n",
        encoding="utf-8",
    )
    data = captioned.load(tmp_path)
    assert data.captions == ('"Shaggy" men , outside .', "Two men .", "A bus .")


def test_flickr_token_files_and_flickr8k_lists(tmp_path):
    names = samples.pictures(tmp_path / "Flicker8k_Dataset", 4)
    lines = [
        f"{name}#{n}\t{text}"
        for i, name in enumerate(names)
        for n, text in enumerate(samples.captions(i))
    ]
    (tmp_path / "Flickr8k.token.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "Flickr8k.lemma.token.txt").write_text(lines[0].upper(), encoding="utf-8")
    data = check(captioned.load(tmp_path))
    assert data.n_captions == 8

    for part, name in (("train", names[2]), ("dev", names[0]), ("test", names[1])):
        (tmp_path / f"Flickr_8k.{part}Images.txt").write_text(name + "\n", encoding="utf-8")
    data = check(captioned.load(tmp_path))
    assert data.splits.tolist() == ["val", "test", "train"]  # the fourth is in no list


def test_unicode_line_separators_do_not_end_a_token_line(tmp_path):
    samples.pictures(tmp_path, 1)
    text = "a\u2028b c"
    (tmp_path / "all.token").write_text(f"photo0.jpg#0\t{text}\n", encoding="utf-8", newline="")
    assert captioned.load(tmp_path).captions == (text,)


def test_coco_captions_files_are_joined_and_name_the_split(tmp_path):
    samples.coco(tmp_path, "train", [9, 3, 7])
    samples.coco(tmp_path, "val", [5, 1])
    (tmp_path / "annotations" / "instances_val2014.json").write_text(
        '{"images": [{"file_name": "x.jpg", "id": 1}]}', encoding="utf-8"
    )  # MS-COCO's other annotations lie in the same folder
    for source in (tmp_path, tmp_path / "annotations"):
        data = captioned.load(source)
        assert data.splits.tolist() == ["train"] * 3 + ["val"] * 2
        assert np.bincount(data.image_of_caption).tolist() == [1, 2, 3, 1, 2]
        assert sorted(data.captions_of(2)) == samples.captions(7, 3)
        assert data.name == tmp_path.name
    assert captioned.load(tmp_path / "annotations" / "captions_val2014.json").n_images == 2


def test_coco_of_two_years_is_not_mixed(tmp_path):
    file = samples.coco(tmp_path, "val", [5])
    file.with_name("captions_val2017.json").write_bytes(file.read_bytes())
    with pytest.raises(DataError, match=r"Name one of .*_val2014\.json, .*_val2017"):
        captioned.load(tmp_path)


def test_images_may_lie_elsewhere(tmp_path):
    file = samples.table(tmp_path / "texts", 3)
    shutil.move(tmp_path / "texts" / "images", tmp_path / "photos")
    with pytest.raises(DataError, match=r"none of its 3 images .*--images FOLDER"):
        captioned.load(file)
    data = check(captioned.load(file, images=tmp_path / "photos"))
    assert data.n_images == 3


def test_format_can_be_named(tmp_path):
    samples.karpathy(tmp_path, ["train", "val"], [1, 1])
    samples.table(tmp_path, 2, per_image=3)
    assert captioned.load(tmp_path).n_captions == 2  # Karpathy's file tells more
    assert captioned.load(tmp_path, format="table").n_captions == 6
    with pytest.raises(UnknownNameError, match="Did you mean 'karpathy'"):
        captioned.load(tmp_path, format="karpaty")


def test_skip_leaves_out_only_what_is_unusable(tmp_path):
    file = samples.table(tmp_path, 5)
    (tmp_path / "images" / "photo1.jpg").unlink()
    (tmp_path / "images" / "photo3.jpg").write_bytes(b"GIF89a")
    with file.open("a", encoding="utf-8") as stream:
        stream.write("photo4.jpg,  \n")
    with pytest.warns(UserWarning, match="left out because of 2 problems") as caught:
        data = check(captioned.load(tmp_path, on_problem="skip"))
    assert [f.stem for f in data.image_files] == ["photo0", "photo2", "photo3", "photo4"]
    for part in ("photo1.jpg", "line 12: the caption of photo4.jpg is empty"):
        assert part in str(caught[0].message)
    with pytest.warns(UserWarning, match=r"photo3\.jpg: cannot be decoded"):
        data = check(captioned.load(tmp_path, on_problem="skip", check_images=True))
    assert data.n_images == 3
    assert data.rows.tolist() == [0, 1, 2]


def test_file_names_in_any_script(tmp_path):
    samples.picture(tmp_path / "Фото 1, ü#0.png")
    text = 'image,caption\n"Фото 1, ü#0.png",a picture\n'
    (tmp_path / "c.csv").write_text(text, encoding="utf-8")
    assert captioned.load(tmp_path).image_files[0].name == "Фото 1, ü#0.png"


# Splits ------------------------------------------------------------------------------------------


def test_files_without_splits_are_divided_by_the_hash_of_the_name():
    names = [f"{i}.jpg" for i in range(2000)]
    splits = split_by_name(names)
    for name, split in list(zip(names, splits, strict=True))[::97]:
        place = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32
        assert split == ("train" if place < 0.8 else "val" if place < 0.9 else "test")
    shares = {name: np.mean(splits == name) for name in ("train", "val", "test")}
    assert shares["train"] == pytest.approx(0.8, abs=0.03)
    assert shares["val"] == pytest.approx(0.1, abs=0.02)
    more = split_by_name([*names, "another.jpg"])
    np.testing.assert_array_equal(more[:-1], splits)


@pytest.mark.parametrize("count", range(3, 12))
def test_no_split_is_empty_however_few_images(count):
    for start in range(20):
        splits = split_by_name([f"{start + i}" for i in range(count)])
        assert set(splits) == {"train", "val", "test"}


def test_rfe_protocol_draws_the_papers_sizes():
    names = [f"{i:05d}.jpg" for i in range(31_783)]
    splits = assign_splits(names, [None] * len(names), "rfe")
    assert [np.sum(splits == s) for s in ("train", "val", "test")] == [29_783, 1_000, 1_000]
    again = assign_splits(names[::-1], [None] * len(names), "rfe")[::-1]
    np.testing.assert_array_equal(splits, again)  # whatever the order of lines
    with pytest.raises(DataError, match=r"31,783 images.*these are 3.*protocol='karpathy'"):
        assign_splits(["a", "b", "c"], [None] * 3, "rfe")


def test_karpathy_protocol_needs_splits():
    with pytest.raises(DataError, match="2 of 2 images have no split"):
        assign_splits(["a", "b"], [None, None], "karpathy")
    with pytest.raises(UnknownNameError, match="no split protocol named 'rfi'"):
        assign_splits(["a"], ["train"], "rfi")


# Saved Hugging Face data sets ---------------------------------------------------------------------


def test_saved_dataset_needs_the_package(tmp_path, monkeypatch):
    (tmp_path / "state.json").write_text("{}", encoding="utf-8")
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "xmr-lib\[hub\]"'):
        captioned.load(tmp_path)


def test_saved_dataset(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "cache"))
    names = samples.pictures(tmp_path / "photos", 4)
    files = [tmp_path / "photos" / name for name in names]
    features = datasets.Features(
        {"image": datasets.Image(), "captions": datasets.Sequence(datasets.Value("string"))}
    )

    def part(rows):
        return datasets.Dataset.from_dict(
            {
                "image": [{"bytes": files[i].read_bytes(), "path": names[i]} for i in rows],
                "captions": [samples.captions(i, i + 1) for i in rows],
            },
            features=features,
        )

    folder = tmp_path / "saved"
    datasets.DatasetDict({"train": part([0, 1]), "validation": part([2, 3])}).save_to_disk(folder)
    for _ in range(2):  # the second time the pictures lie in the cache already
        data = captioned.load(folder)
        assert data.splits.tolist() == ["train", "train", "val", "val"]
        assert [len(data.captions_of(i)) for i in range(4)] == [1, 2, 3, 4]
        assert data.image_files[3].read_bytes() == files[3].read_bytes()

    by_path = datasets.Dataset.from_dict(
        {"image": [str(file) for file in files], "text": [f"c{i}" for i in range(4)]}
    )
    by_path.save_to_disk(tmp_path / "paths")
    data = captioned.load(tmp_path / "paths")
    assert list(data.image_files) == files

    with pytest.raises(DataError, match="no columns named image and caption"):
        by_path.remove_columns("text").save_to_disk(tmp_path / "no-captions")
        captioned.load(tmp_path / "no-captions")


def test_json_of_another_kind(tmp_path):
    file = tmp_path / "captions_x.json"
    for content, message in (
        ([1, 2], r"begins with '\[1, 2\]'"),
        (
            {"images": [{"id": 1, "file_name": 3}]},
            r"'file_name' of images\[0\] is a int, not a str",
        ),
        ([{"image": "a.jpg", "label": 3}], r"begins with .*label.*such keys"),
    ):
        file.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(DataError, match=message):
            captioned.load(file)
