"""Files of bottom-up attention: right numbers for the right images, line by line, once."""

import base64

import numpy as np
import pytest
import samples

from xmr_lib.data import bottom_up, captioned
from xmr_lib.errors import DataError


def line(name, boxes, features, size=(200, 100)) -> str:
    """One line of a file."""
    arrays = (np.asarray(each, "<f4") for each in (boxes, features))
    texts = [base64.b64encode(array.tobytes()).decode() for array in arrays]
    return "\t".join([str(name), *map(str, size), str(len(boxes)), *texts])


def made(seed: int, count: int, dim: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Boxes in a picture of 200 × 100 pixels, and features."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 50, (count, 2))], axis=1)
    return boxes.astype(np.float32), rng.normal(size=(count, dim)).astype(np.float32)


@pytest.fixture
def data(tmp_path):
    return captioned.load(samples.table(tmp_path / "photos", 3))  # photo0.jpg, …


@pytest.fixture
def three(tmp_path):
    """A file that describes 2, 1 and 3 regions of photo2, photo0 and photo1."""
    file = tmp_path / "some.tsv"
    parts = {"photo2": made(2, 2), "photo0": made(0, 1), "photo1": made(1, 3)}
    file.write_text("\n".join(line(k, *v) for k, v in parts.items()) + "\n", encoding="utf-8")
    return file, parts


def pictures(folder, *names):
    """A data set of pictures `NAME.jpg`."""
    for name in names:
        samples.picture(folder / "images" / f"{name}.jpg")
    lines = ["image,caption", *(f"{name}.jpg,a" for name in names)]
    (folder / "captions.csv").write_text("\n".join(lines), encoding="utf-8")
    return captioned.load(folder)


def test_values_by_hand(tmp_path):
    file = tmp_path / "one.tsv"
    boxes = [[0, 0, 200, 100], [50, 25, 100, 75], [-8, 90, 300, 100]]
    file.write_text(line("7", boxes, [[1, 2], [3, 4], [5, 6]]), encoding="utf-8")
    found = bottom_up.read(file, pictures(tmp_path / "photos", "7"), cache=tmp_path)
    assert found.array[:].tolist() == [[[1, 2], [3, 4], [5, 6]]] and found.stage_dims == (2,)
    shares = [[[0, 0, 1, 1], [0.25, 0.25, 0.5, 0.75], [0, 0.9, 1, 1]]]  # the last was cut off
    np.testing.assert_allclose(found.boxes, shares, atol=1e-7)
    assert found.counts.dtype == np.int64 and found.counts.tolist() == [3]
    assert found.kind == "bottom-up"


def test_images_find_their_lines_and_are_padded(data, three, tmp_path):
    file, parts = three
    found = bottom_up.read(file, data, cache=tmp_path)
    assert found.array.shape == (3, 3, 4) and found.counts.tolist() == [1, 3, 2]
    for row in range(3):
        boxes, features = parts[f"photo{row}"]
        count = len(boxes)
        np.testing.assert_array_equal(found.array[row, :count], features)
        np.testing.assert_allclose(
            found.boxes[row, :count], boxes / [200, 100, 200, 100], rtol=1e-6
        )
        assert (found.array[row, count:] == 0).all() and (found.boxes[row, count:] == 0).all()
    part = data.subset(np.array([2, 1]))
    np.testing.assert_array_equal(found.of(part), found.array[[2, 1]])
    np.testing.assert_array_equal(found.boxes_of(part), found.boxes[[2, 1]])
    assert found.counts_of(part).tolist() == [2, 3]


def test_mscoco_s_images_go_by_the_number_at_the_end(tmp_path):
    data = captioned.load(samples.coco(tmp_path / "coco", "val", [391895, 42]).parent)
    assert data.image_files[0].name == "COCO_val2014_000000391895.jpg"
    file = tmp_path / "coco.tsv"
    parts = {42: made(1, 2), 391895: made(2, 2), 7: made(3, 9)}
    file.write_text("\n".join(line(k, *v) for k, v in parts.items()), encoding="utf-8")
    found = bottom_up.read(file, data, cache=tmp_path)
    assert found.array.shape == (2, 2, 4)  # the nine regions are of an image that is not wanted
    np.testing.assert_array_equal(found.array, [parts[391895][1], parts[42][1]])


def test_several_files_are_one(data, three, tmp_path):
    file, _ = three
    lines = file.read_text("utf-8").split("\n")
    first, second = tmp_path / "part.tsv.0", tmp_path / "part.tsv.1"
    first.write_text(lines[0] + "\r\n", encoding="utf-8", newline="")
    again = line("photo2", *made(99, 2))  # a second time: the first counts
    second.write_text("\n".join([lines[1], again, lines[2]]), encoding="utf-8")
    one = bottom_up.read(file, data, cache=tmp_path)
    two = bottom_up.read(tmp_path / "part.tsv", data, cache=tmp_path)  # stands for its pieces
    np.testing.assert_array_equal(one.array, two.array)
    np.testing.assert_array_equal(one.boxes, two.boxes)


def test_lines_longer_than_any_limit_of_csv(tmp_path):
    boxes, features = made(0, 36, 2048)
    file = tmp_path / "long.tsv"
    file.write_text(line("1", boxes, features), encoding="utf-8")
    assert len(file.read_text("utf-8")) > 131072  # csv's own limit of a field
    found = bottom_up.read(file, pictures(tmp_path / "photos", "1"), cache=tmp_path)
    np.testing.assert_array_equal(found.array[0], features)


def test_pieces_in_a_folder_whatever_their_case(data, three, tmp_path):
    lines = three[0].read_text("utf-8").split("\n")
    folder = tmp_path / "pieces"
    folder.mkdir()
    (folder / "TRAIN.TSV").write_text(lines[0], encoding="utf-8")
    (folder / "test.tsv.0").write_text(lines[1], encoding="utf-8")
    (folder / "test.tsv.1").write_text(lines[2], encoding="utf-8")
    (folder / "readme.txt").write_text("no regions here", encoding="utf-8")
    whole = bottom_up.read(three[0], data, cache=tmp_path)
    np.testing.assert_array_equal(bottom_up.read(folder, data, cache=tmp_path).array, whole.array)
    assert bottom_up.recognise(folder) and not bottom_up.recognise(tmp_path / "photos")
    with pytest.raises(DataError, match=r"images: holds no file \*\.tsv"):
        bottom_up.read(tmp_path / "photos" / "images", data, cache=tmp_path)


def test_a_broken_line_matters_only_for_a_wanted_image_without_another(data, three, tmp_path):
    file, parts = three
    good = file.read_text("utf-8")
    cells = good.split("\n")[0].split("\t")
    undecodable = "\t".join([*cells[:5], "!" + cells[5][1:]])
    file.write_text("\n".join(["photo2\tcut", undecodable, "other\t1", good]), encoding="utf-8")
    found = bottom_up.read(file, data, cache=tmp_path)
    np.testing.assert_array_equal(found.array[2, :2], parts["photo2"][1])
    with pytest.raises(DataError, match=r"some\.tsv, line 3: 2 columns instead of 6"):
        bottom_up.read(file, pictures(tmp_path / "wanted", "other"), cache=tmp_path)


def test_files_are_read_once(data, three, tmp_path):
    file, _ = three
    first = bottom_up.read(file, data, cache=tmp_path)
    kept = {each: each.stat().st_mtime_ns for each in (tmp_path / "regions").rglob("*.*")}
    again = bottom_up.read(file, data, cache=tmp_path)
    assert {each: each.stat().st_mtime_ns for each in (tmp_path / "regions").rglob("*.*")} == kept
    assert (again.key, again.folder) == (first.key, first.folder)
    np.testing.assert_array_equal(again.array, first.array)
    assert again.counts.tolist() == first.counts.tolist()


def test_a_changed_file_is_read_anew(data, three, tmp_path):
    file, parts = three
    first = bottom_up.read(file, data, cache=tmp_path)
    parts["photo1"] = made(50, 3)
    file.write_text("\n".join(line(k, *v) for k, v in parts.items()) + "\n", encoding="utf-8")
    second = bottom_up.read(file, data, cache=tmp_path)
    assert second.key != first.key
    np.testing.assert_array_equal(second.array[1], parts["photo1"][1])


def complaint(tmp_path, *lines: str, data=None) -> str:
    file = tmp_path / "bad.tsv"
    file.write_text("\n".join(lines), encoding="utf-8")
    data = data or pictures(tmp_path / "wanted", "1", "2")
    with pytest.raises(DataError) as caught:
        bottom_up.read(file, data, cache=tmp_path / "cache")
    return str(caught.value)


def test_malformed_lines_are_named(tmp_path):
    good = line("1", *made(1, 2))
    cells = line("2", *made(2, 2)).split("\t")
    where = f"{tmp_path / 'bad.tsv'}, line 2: "

    def with_cell(number, text):
        return "\t".join([*cells[:number], text, *cells[number + 1 :]])

    assert f"{where}5 columns instead of 6" in complaint(tmp_path, good, "\t".join(cells[:5]))
    assert f"{where}image_w, image_h and num_boxes must be numbers" in complaint(
        tmp_path, good, with_cell(3, "two")
    )
    assert f"{where}image_w 0, image_h 100" in complaint(tmp_path, good, with_cell(1, "0"))
    assert f"{where}32 bytes of boxes, not 3 × 16" in complaint(tmp_path, good, with_cell(3, "3"))
    short = complaint(tmp_path, good, with_cell(5, cells[5][:-8]))
    assert f"{where}27 bytes of features cannot be divided among 2 regions" in short
    wrong = complaint(tmp_path, good, with_cell(5, "!" + cells[5][1:]))
    assert f"{where}not base64" in wrong
    assert f"{where}features have 5 numbers, but 4 in bad.tsv, line 1" in complaint(
        tmp_path, good, line("2", *made(2, 2, 5))
    )
    boxes, features = made(2, 2)
    features[1, 1] = np.nan
    assert f"{where}holds NaN or infinity." in complaint(tmp_path, good, line("2", boxes, features))


def test_files_that_are_empty_or_not_there(data, tmp_path):
    assert "the file is empty" in complaint(tmp_path, "", "")
    with pytest.raises(DataError, match=r"none\.tsv: there is no such file"):
        bottom_up.read(tmp_path / "none.tsv", data, cache=tmp_path)


def test_images_without_regions_are_named_and_counted(tmp_path):
    data = captioned.load(samples.table(tmp_path / "photos", 8))
    found = complaint(tmp_path, line("photo3", *made(0, 1)), data=data)
    assert "no regions for 7 of 8 images" in found
    assert "(photo0.jpg, photo1.jpg, photo2.jpg, photo4.jpg, photo5.jpg, …)" in found
    found = complaint(tmp_path, *(line(f"photo{i}", *made(0, 1)) for i in range(7)), data=data)
    assert "no regions for 1 of 8 images (photo7.jpg)" in found


def test_no_two_images_share_a_line(tmp_path):
    folder = tmp_path / "photos"
    for name in ("a_1.jpg", "b_1.jpg"):
        samples.picture(folder / "images" / name)
    table = folder / "captions.csv"
    table.write_text("image,caption\na_1.jpg,a\nb_1.jpg,b\n", encoding="utf-8")
    found = complaint(tmp_path, line("1", *made(0, 1)), data=captioned.load(table))
    assert "b_1.jpg and a_1.jpg would both be image 1 of bad.tsv" in found


def test_a_part_of_a_data_set(data, three, tmp_path):
    with pytest.raises(DataError, match=r"part of photos.*as_whole"):
        bottom_up.read(three[0], data.subset(np.array([1])), cache=tmp_path)
    alone = bottom_up.read(three[0], data.subset(np.array([1])).as_whole(), cache=tmp_path)
    np.testing.assert_array_equal(alone.array[0], three[1]["photo1"][1])


def test_a_damaged_index_is_made_again(data, three, tmp_path):
    bottom_up.read(three[0], data, cache=tmp_path)
    kept = next((tmp_path / "regions").glob("*.json"))
    for damage in ("", "{", '{"photo0": 1}', '{"photo0": [0, 1]}', "[]", "{}"):
        kept.write_text(damage, encoding="utf-8")
        assert bottom_up.read(three[0], data, cache=tmp_path).counts.tolist() == [1, 3, 2]


def test_a_cache_that_cannot_be_written(data, three, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(DataError, match=r"cache.* cannot be written: .*XMR_CACHE"):
        bottom_up.read(three[0], data, cache=tmp_path / "cache")
