"""Folders in SCAN's format: both forms, nothing read before it is needed, clear complaints."""

import numpy as np
import pytest

from xmr_lib.data import precomputed
from xmr_lib.errors import DataError

SHAPE = (3, 4)  # regions, numbers of each


def values(split: str, n: int, shape=SHAPE) -> np.ndarray:
    """Features that differ everywhere."""
    seed = ("train", "dev", "test", "testall").index(split)
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def write(folder, split: str, n: int, *, fivefold=False, ids=None, shape=SHAPE) -> np.ndarray:
    """Writes one split of `n` images; returns the features, each image once."""
    folder.mkdir(parents=True, exist_ok=True)
    array = values(split, n, shape)
    np.save(folder / f"{split}_ims.npy", np.repeat(array, 5, axis=0) if fivefold else array)
    lines = [f"caption {number} of {split} {image}" for image in range(n) for number in range(5)]
    (folder / f"{split}_caps.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if ids is not None:
        (folder / f"{split}_ids.txt").write_text("\n".join(map(str, ids)) + "\n", encoding="utf-8")
    return array


@pytest.mark.parametrize("fivefold", [False, True])
def test_both_forms_give_the_same(tmp_path, fivefold):
    folder = tmp_path / "f30k_precomp"
    expected = [write(folder, split, n, fivefold=fivefold)
                for split, n in (("train", 4), ("dev", 2), ("test", 3))]  # fmt: skip
    data, regions = precomputed.load(folder)
    assert data.name == "f30k_precomp" and data.n_images == 9 and data.n_captions == 45
    assert data.split_names == ("train", "val", "test")
    assert data.captions_of(4) == tuple(f"caption {n} of dev 0" for n in range(5))
    assert data.captions_of(8)[4] == "caption 4 of test 2"
    assert data.image_files[5] == folder / "dev-1"
    assert (
        regions.array.shape == (9, *SHAPE)
        and len(regions.array) == 9
        and regions.stage_dims == (4,)
    )
    assert regions.counts.dtype == np.int64 and regions.counts.tolist() == [3] * 9
    assert regions.boxes is None and regions.boxes_of(data) is None
    for split, each in zip(("train", "val", "test"), expected, strict=True):
        np.testing.assert_array_equal(regions.of(data.split(split)), each)
    some = data.subset(np.array([8, 0, 5, 0]))
    np.testing.assert_array_equal(regions.of(some), np.concatenate(expected)[[8, 0, 5, 0]])


def test_ids_name_the_images(tmp_path):
    write(tmp_path / "a", "train", 2, ids=[17, 4])
    write(tmp_path / "b", "train", 2, ids=[17] * 5 + [4] * 5, fivefold=True)  # one per row
    write(tmp_path / "c", "train", 2, ids=[17, 4], fivefold=True)  # one per image
    for name in "abc":
        data, _ = precomputed.load(tmp_path / name)
        assert data.image_files == (tmp_path / name / "17", tmp_path / name / "4")
    write(tmp_path / "d", "train", 2, ids=[17, 4, 3])
    with pytest.raises(DataError, match=r"train_ids\.txt: 3 ids for 2 rows .* or remove it"):
        precomputed.load(tmp_path / "d")


def test_testall_comes_before_its_first_thousand(tmp_path):
    write(tmp_path, "train", 1)
    write(tmp_path, "test", 2)
    data, regions = precomputed.load(tmp_path)
    np.testing.assert_array_equal(regions.of(data.split("test")), values("test", 2))
    every = write(tmp_path, "testall", 4)
    data, regions = precomputed.load(tmp_path)
    assert data.split_names == ("train", "test") and data.split("test").n_images == 4
    np.testing.assert_array_equal(regions.of(data.split("test")), every)


def test_one_vector_per_image_is_one_region_or_pooled_features(tmp_path):
    array = write(tmp_path, "test", 3, shape=(6,), fivefold=True)
    data, regions = precomputed.load(tmp_path)
    assert regions.array.shape == (3, 1, 6) and regions.counts.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(regions.of(data)[:, 0], array)
    _, features = precomputed.load(tmp_path, pooled=True)
    for pool in ("avg", "max"):
        np.testing.assert_array_equal(features.of(data)[:, features.columns(pool, 4)], array)
    assert features.array.shape == (3, 2 * sum(features.stage_dims))


def test_models_of_whole_images_are_told_which_models_fit_regions(tmp_path):
    write(tmp_path, "test", 2)
    with pytest.raises(DataError, match=r"holds 3 regions an image.*SCAN, SCAN-RFE and SMFEA"):
        precomputed.load(tmp_path, pooled=True)


def test_nothing_is_read_before_it_is_needed(tmp_path):
    write(tmp_path, "train", 4)
    array = np.load(tmp_path / "train_ims.npy")
    array[2, 1, 0] = np.nan
    np.save(tmp_path / "train_ims.npy", array)
    data, regions = precomputed.load(tmp_path)  # a NaN that nobody asks for is not noticed
    np.testing.assert_array_equal(regions.array[[3, 0, 1]], array[[3, 0, 1]])
    with pytest.raises(DataError, match=r"train_ims\.npy: row 2 .*NaN.*Fetch the file again"):
        regions.of(data)


def test_captions_keep_odd_characters_and_windows_line_ends(tmp_path):
    write(tmp_path, "test", 1)
    lines = ["a\u2028b", "zwei Männer", "c", "d", " e "]
    (tmp_path / "test_caps.txt").write_bytes("\r\n".join(lines).encode())
    data, _ = precomputed.load(tmp_path)
    assert data.captions == ("a\u2028b", "zwei Männer", "c", "d", "e")


def test_recognition(tmp_path):
    assert not precomputed.recognise(tmp_path)
    (tmp_path / "train_ims.npy").write_bytes(b"")
    assert not precomputed.recognise(tmp_path)
    write(tmp_path / "all", "testall", 1)
    assert precomputed.recognise(tmp_path / "all") and precomputed.recognise(str(tmp_path / "all"))
    assert not precomputed.recognise(tmp_path / "missing")
    with pytest.raises(DataError, match=r"holds no files like train_ims\.npy"):
        precomputed.load(tmp_path)


def test_keys_tell_folders_apart(tmp_path):
    write(tmp_path / "a", "test", 2)
    write(tmp_path / "b", "test", 2)
    write(tmp_path / "c", "test", 3)
    keys = [precomputed.load(tmp_path / name)[1].key for name in "abc"]
    assert keys[0] == keys[1] != keys[2]


def complaint(folder) -> str:
    with pytest.raises(DataError) as caught:
        precomputed.load(folder)
    return str(caught.value)


def test_truncated_and_unfit_features(tmp_path):
    write(tmp_path, "test", 4)
    file = tmp_path / "test_ims.npy"
    raw = file.read_bytes()
    for cut in (raw[:-7], raw[:20], b""):
        file.write_bytes(cut)
        found = complaint(tmp_path)
        assert f"{file}: truncated" in found
        assert f"{len(cut):,} bytes; fetch it again" in found
    for array in (np.zeros((4, 3), int), np.zeros(4), np.zeros((4, 2, 2, 2)), np.zeros((0, 3, 4))):
        np.save(file, array)
        assert f"of shape {array.shape}. Expected are floating-point" in complaint(tmp_path)
    objects = np.empty(4, object)
    objects[:] = list(values("test", 4))
    np.save(file, objects, allow_pickle=True)
    assert "holds Python objects instead of numbers" in complaint(tmp_path)
    file.unlink()
    write(tmp_path, "train", 1)
    assert "test_ims.npy: is missing, though its captions are there" in complaint(tmp_path)
    (tmp_path / "train_caps.txt").unlink()
    write(tmp_path, "test", 1)
    assert "train_caps.txt: cannot be read" in complaint(tmp_path)


def test_splits_of_different_networks(tmp_path):
    write(tmp_path, "train", 2)
    write(tmp_path, "dev", 2, shape=(3, 5))
    assert "dev_ims.npy: regions are (3, 5) there, but (3, 4) in train_ims.npy" in complaint(
        tmp_path
    )


def test_captions_that_fit_neither_form(tmp_path):
    write(tmp_path, "test", 4)
    file = tmp_path / "test_caps.txt"
    lines = file.read_text("utf-8").split("\n")
    file.write_text("\n".join(lines[:19]), encoding="utf-8")
    found = complaint(tmp_path)
    assert "19 captions do not fit the 4 rows" in found and "per row (20)" in found
    file.write_text("\n".join(lines[:4]), encoding="utf-8")  # one per row, but four rows
    assert "4 captions do not fit the 4 rows" in complaint(tmp_path)


def test_rows_that_are_no_copies_although_they_should_be(tmp_path):
    write(tmp_path, "test", 60, fivefold=True)
    file = tmp_path / "test_ims.npy"
    array = np.load(file)
    array[299, 2, 3] += 1  # the last copy of the last image
    np.save(file, array)
    found = complaint(tmp_path)
    assert "rows 295 to 299 (counted from 0) differ" in found
    assert "as many rows as captions (300)" in found
    array[299] = np.nan
    array[295:299] = np.nan
    np.save(file, array)  # copies of a broken row are copies: told about when it is read
    data, regions = precomputed.load(tmp_path)
    with pytest.raises(DataError, match="row 295"):
        regions.of(data)


def test_empty_captions(tmp_path):
    write(tmp_path, "test", 2)
    file = tmp_path / "test_caps.txt"
    lines = file.read_text("utf-8").split("\n")
    lines[2], lines[7] = "", "  "
    file.write_text("\n".join(lines), encoding="utf-8")
    assert "test_caps.txt: 2 captions are empty (line 3, 8)" in complaint(tmp_path)
