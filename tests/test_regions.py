"""Regions: right boxes, right features, once; from grids, toy scenes and detectors."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import samples
import torch
from PIL import Image
from samples import tiny
from torchvision import models

from xmr_lib import toy
from xmr_lib.data import captioned, features, images, regions
from xmr_lib.data.region_boxes import cell_boxes, crop_boxes, window
from xmr_lib.encoders import detector as detectors
from xmr_lib.encoders import weights as files_of_weights
from xmr_lib.encoders.backbone import Backbone, load_backbone
from xmr_lib.errors import DataError, UnknownNameError


@pytest.fixture
def data(tmp_path):
    return captioned.load(samples.table(tmp_path / "photos", 5))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Eight toy scenes and the folder they lie in."""
    folder = tmp_path_factory.mktemp("drawn") / "scenes"
    return captioned.load(toy.draw(n_train=4, n_val=2, n_test=2, folder=folder)), folder


@pytest.fixture
def computed(monkeypatch):
    """Names of the pictures that were decoded."""
    names = []
    original = images.open_image

    def noting(path):
        names.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(images, "open_image", noting)
    return names


class Averages(torch.nn.Module):
    """Maps that are nothing but mean pixels: C1 of 2×2 pixels … C4 of 8×8."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        pools = [torch.nn.functional.avg_pool2d(x, size) for size in (2, 4, 8, 8)]
        return tuple(self.scale * pool for pool in pools)


def averages(size: int = 40) -> Backbone:
    """A backbone whose values are colours (0 … 1) and whose C4 has size / 8 cells a side."""
    return Backbone(
        "averages", Averages(), (3, 3, 3, 3), image_size=size, mean=(0.0,) * 3, std=(1.0,) * 3
    )


def write_table(folder, pictures: dict[str, Image.Image]):
    """A data set of given pictures."""
    (folder / "images").mkdir(parents=True)
    for name, picture in pictures.items():
        picture.save(folder / "images" / name)
    lines = ["image,caption", *(f"{name},a caption" for name in pictures)]
    (folder / "captions.csv").write_text("\n".join(lines), encoding="utf-8")
    return captioned.load(folder)


def square(size, at, side=4, background=0):
    """A dark picture with one bright square whose centre is `at`."""
    pixels = np.full((size[1], size[0], 3), background, np.uint8)
    x, y = at[0] - side // 2, at[1] - side // 2
    pixels[y : y + side, x : x + side] = 255
    return Image.fromarray(pixels)


# ---- where regions lie -----------------------------------------------------------------------


def test_windows_by_hand():
    assert window("whole", 128, 77, 33) == (0, 0, 1, 1)
    assert window("rfe", 224, 77, 33) == (16 / 256, 16 / 256, 240 / 256, 240 / 256)
    # 500×333: the shorter side becomes 256, the longer int(384.38…) = 384, of which the middle 224.
    assert window("vsepp", 224, 500, 333) == (80 / 384, 16 / 256, 304 / 384, 240 / 256)
    assert window("vsepp", 224, 333, 500) == (16 / 256, 80 / 384, 240 / 256, 304 / 384)


@pytest.mark.parametrize("kind", images.KINDS)
@pytest.mark.parametrize("size", [(500, 333), (333, 501), (101, 57), (640, 640)])
def test_windows_are_what_the_transforms_leave(kind, size):
    width, height = size
    x = np.broadcast_to((np.arange(width) + 0.5) / width, (height, width))
    y = np.broadcast_to(((np.arange(height) + 0.5) / height)[:, None], (height, width))
    pixels = np.stack([x, y, x], axis=2)
    image = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))  # a pixel says where it is
    seen = images.to_bytes(images.crop(kind, 224, train=False)(image)) / 255
    left, top, right, bottom = window(kind, 224, width, height)
    middle = (np.arange(224) + 0.5) / 224
    inner = slice(4, -4)  # at the edges of the image, resizing has less to average
    wrong_x = (seen[:, inner, 0] - (left + (right - left) * middle[inner])).mean()
    wrong_y = (seen[inner, :, 1].mean(1) - (top + (bottom - top) * middle[inner])).mean()
    assert abs(wrong_x) < 0.0008 and abs(wrong_y) < 0.0008  # a fifth of a pixel
    shown = (seen[:, -5, 0] - seen[:, 4, 0]).mean()
    assert shown == pytest.approx((right - left) * 215 / 224, abs=0.006)


def test_cells_by_hand():
    boxes = cell_boxes((0.25, 0.0, 0.75, 1.0), (2, 2))
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [
        [0.25, 0.0, 0.5, 0.5],
        [0.5, 0.0, 0.75, 0.5],
        [0.25, 0.5, 0.5, 1.0],
        [0.5, 0.5, 0.75, 1.0],
    ]
    assert cell_boxes((0.25, 0.0, 0.75, 1.0), (7, 7), 1).tolist() == [[0.25, 0.0, 0.75, 1.0]]


@pytest.mark.parametrize(("side", "cells"), [(5, 2), (7, 3), (8, 4), (7, 7)])
def test_joined_cells_cover_what_adaptive_pooling_averages(side, cells):
    boxes = cell_boxes((0, 0, 1, 1), (side, side), cells)
    for row in range(side):
        for column in range(side):
            one = torch.zeros(1, 1, side, side)
            one[0, 0, row, column] = 1
            answers = torch.nn.functional.adaptive_avg_pool2d(one, cells).flatten() > 0
            x, y = (column + 0.5) / side, (row + 0.5) / side
            inside = (boxes[:, 0] < x) & (x < boxes[:, 2]) & (boxes[:, 1] < y) & (y < boxes[:, 3])
            assert inside.tolist() == answers.tolist()


@pytest.mark.parametrize("transform", images.KINDS)
@pytest.mark.parametrize("cells", [None, 3])
@pytest.mark.parametrize("size", [(97, 61), (60, 121)])
def test_a_bright_square_lights_the_cell_whose_box_holds_it(tmp_path, transform, cells, size):
    net = averages()
    left, top, right, bottom = window(transform, 40, *size)
    for number, (u, v) in enumerate([(0.3, 0.1), (0.88, 0.72), (0.5, 0.5), (0.1, 0.9)]):
        at = (
            round((left + (right - left) * u) * size[0]),
            round((top + (bottom - top) * v) * size[1]),
        )
        file = tmp_path / f"{number}.png"
        square(size, at).save(file)
        values, boxes = regions.of_picture(file, net, "grid", transform, cells)
        assert len(values) == len(boxes) == (cells or 5) ** 2
        box = boxes[values.sum(1).argmax()] * np.tile(size, 2)
        assert box[0] - 2 <= at[0] <= box[2] + 2 and box[1] - 2 <= at[1] <= box[3] + 2
        holding = (boxes[:, 0] * size[0] - 8 < at[0]) & (boxes[:, 2] * size[0] + 8 > at[0])
        assert (values[~holding] == 0).all()  # cells elsewhere do not answer


def test_a_change_in_a_picture_changes_the_toy_network_s_cell_there(tmp_path):
    square((128, 128), (64, 64), 0, 90).save(tmp_path / "blank.png")
    blank, boxes = regions.of_picture(tmp_path / "blank.png")
    assert blank.shape == (64, 160)
    for at in ((24, 40), (88, 104), (104, 24)):
        square((128, 128), at, 12, 90).save(tmp_path / "square.png")
        values, _ = regions.of_picture(tmp_path / "square.png")
        box = boxes[np.abs(values - blank).sum(1).argmax()] * 128
        middle = (box[:2] + box[2:]) / 2
        assert np.abs(middle - at).max() <= 16  # one cell


def test_crops_are_what_lies_in_the_box():
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :10, 0] = 255  # a red left third …
    pixels[5:, 10:, 2] = 255  # … and blue but for the top quarter
    image = Image.fromarray(pixels)
    boxes = np.array([[0, 0, 1 / 3, 1], [1 / 3, 0.25, 1, 1], [1 / 3, 0, 1, 0.25]], np.float32)
    crops = crop_boxes(image, boxes, 8)
    assert crops.shape == (3, 8, 8, 3) and crops.dtype == np.uint8
    assert crops.reshape(3, -1, 3).mean(1).tolist() == [[255, 0, 0], [0, 0, 255], [0, 0, 0]]


def test_boxes_outside_or_without_extent_still_give_a_pixel():
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    boxes = np.array([[1, 1, 1, 1], [-0.5, -0.5, 0, 0], [0.5, 0.25, 0.5, 0.25]], np.float32)
    crops = crop_boxes(image, boxes, 2)
    for crop, (x, y) in zip(crops, [(3, 3), (0, 0), (2, 1)], strict=True):
        assert (crop == np.asarray(image)[y, x]).all()


# ---- grids -----------------------------------------------------------------------------------


def test_grids_are_the_cells_of_c4(data, tmp_path):
    net = tiny()
    found = regions.extract(data, net, cache=tmp_path)
    look = images.eval_transform("rfe", net.image_size, net.mean, net.std)
    with torch.inference_mode():
        c4 = torch.cat([net(look(images.open_image(f))[None])[3] for f in data.image_files])
    assert c4.shape == (5, 5, 1, 1) and found.array.shape == (5, 1, 5)  # one region per image
    np.testing.assert_allclose(found.array[:, 0], c4[:, :, 0, 0], atol=1e-5)
    assert (found.kind, found.backbone, found.transform) == ("grid", "tiny", "rfe")
    assert found.counts.dtype == np.int64 and found.counts.tolist() == [1] * 5
    np.testing.assert_allclose(found.boxes[:, 0], [[3 / 46, 3 / 46, 43 / 46, 43 / 46]] * 5)


def test_grids_know_each_image_s_own_boxes(tmp_path):
    wide, tall = square((90, 30), (45, 15)), square((30, 90), (15, 45))
    data = write_table(tmp_path / "photos", {"wide.png": wide, "tall.png": tall})
    found = regions.extract(data, averages(), transform="vsepp", cache=tmp_path)
    assert found.array.shape == (2, 25, 3)
    # 46 pixels a third of the way: 138 wide, of which 49 … 89 are seen, in cells of 8.
    np.testing.assert_allclose(found.boxes[0, 0], [49 / 138, 3 / 46, 57 / 138, 11 / 46], rtol=1e-6)
    np.testing.assert_allclose(found.boxes[1, 1], [11 / 46, 49 / 138, 19 / 46, 57 / 138], rtol=1e-6)
    assert found.array[:].sum(2).argmax(1).tolist() == [12, 12]


def test_joined_cells_are_averages(data, tmp_path):
    net = averages(32)
    every = regions.extract(data, net, cache=tmp_path)
    joined = regions.extract(data, net, cells=2, cache=tmp_path)
    assert every.array.shape == (5, 16, 3) and joined.array.shape == (5, 4, 3)
    corner = every.array[:, [0, 1, 4, 5]].mean(1)
    np.testing.assert_allclose(joined.array[:, 0], corner, atol=1e-6)
    np.testing.assert_allclose(joined.boxes[:, 3, 2:], every.boxes[:, 15, 2:], atol=1e-6)
    for cells in (0, 5):
        with pytest.raises(DataError, match=f"cells={cells}.*4×4 cells. Choose from 1 to 4"):
            regions.extract(data, net, cells=cells, cache=tmp_path)


def test_efficientnet_has_49_cells(tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    file = samples.picture(tmp_path / "photo.jpg", size=(120, 80))
    values, boxes = regions.of_picture(file, "efficientnet-lite0")
    assert values.shape == (49, 320) and boxes.shape == (49, 4)
    np.testing.assert_allclose(boxes[8], np.array([48, 48, 80, 80]) / 256, atol=1e-6)


def test_a_single_picture_gives_the_same_grid(data, tmp_path):
    net = tiny()
    for transform in images.KINDS:
        found = regions.extract(data, net, transform=transform, cache=tmp_path)
        for row in (0, 4):
            values, boxes = regions.of_picture(
                data.image_files[row], net, "grid", transform=transform
            )
            np.testing.assert_allclose(values, found.array[row], atol=1e-5)
            np.testing.assert_allclose(boxes, found.boxes[row], atol=1e-6)


# ---- toy scenes ------------------------------------------------------------------------------


def test_toy_scenes_have_a_region_per_thing_and_the_whole_picture(drawn, tmp_path):
    data, folder = drawn
    net = load_backbone("toy")
    found = regions.extract(data, net, cache=tmp_path)
    scenes = toy.scenes(folder)
    assert (found.kind, found.transform) == ("boxes", "whole")
    assert found.counts.tolist() == [len(scene.things) + 1 for scene in scenes]
    assert len(set(found.counts.tolist())) > 1  # there is padding to look at
    assert found.array.shape == (8, found.counts.max(), sum(net.stage_dims))
    for row, (scene, count) in enumerate(zip(scenes, found.counts, strict=True)):
        pixels = images.open_image(data.image_files[row])
        for place, thing in enumerate(scene.things):
            assert (found.boxes[row, place] * 128).tolist() == list(thing.box)
            crop = pixels.crop(thing.box).resize((128, 128), Image.Resampling.BILINEAR)
            look = images.eval_transform("whole", 128, net.mean, net.std)
            with torch.inference_mode():
                expected = torch.cat([m.mean((2, 3)) for m in net(look(crop)[None])], dim=1)[0]
            np.testing.assert_allclose(found.array[row, place], expected, atol=1e-4)
        assert found.boxes[row, count - 1].tolist() == [0, 0, 1, 1]
        assert (found.array[row, count:] == 0).all() and (found.boxes[row, count:] == 0).all()
        assert (np.abs(found.array[row, :count]).sum(1) > 0).all()
    whole = features.extract(data, net, transform="whole", cache=tmp_path).array
    last = found.array[np.arange(8), found.counts - 1]
    np.testing.assert_allclose(last, whole[:, : sum(net.stage_dims)], atol=1e-4)


def test_a_thing_s_region_is_its_pixels_exactly(drawn, tmp_path):
    data, folder = drawn
    found = regions.extract(data, averages(128), cache=tmp_path)
    for row, scene in enumerate(toy.scenes(folder)):
        pixels = np.asarray(images.open_image(data.image_files[row]), np.float64) / 255
        for place, thing in enumerate(scene.things):
            left, top, right, bottom = thing.box
            colour = pixels[top:bottom, left:right].mean((0, 1))
            for stage in range(4):
                values = found.array[row, place, 3 * stage : 3 * stage + 3]
                np.testing.assert_allclose(values, colour, atol=0.012)


def test_parts_of_toy_scenes_find_their_boxes_by_name(drawn, tmp_path):
    data, folder = drawn
    found = regions.extract(data, averages(), cache=tmp_path)
    test = data.split("test")
    alone = regions.extract(test.as_whole(), averages(), cache=tmp_path)
    width = alone.array.shape[1]
    np.testing.assert_allclose(alone.array, found.of(test)[:, :width], atol=1e-6)
    np.testing.assert_array_equal(alone.boxes, found.boxes_of(test)[:, :width])
    assert alone.counts.tolist() == found.counts_of(test).tolist()
    assert alone.counts.tolist() == [len(s.things) + 1 for s in toy.scenes(folder)[6:]]
    with pytest.raises(DataError, match=r"part of .*as_whole"):
        regions.extract(test, averages(), cache=tmp_path)
    with pytest.raises(DataError, match=r"regions of 2 images, but .* asks for row 7"):
        alone.of(data)


def test_toy_scenes_as_grid(drawn, tmp_path):
    found = regions.extract(drawn[0], kind="grid", cells=4, cache=tmp_path)
    assert found.array.shape == (8, 16, 160)
    assert found.boxes[3, 5].tolist() == [0.25, 0.25, 0.5, 0.5]


def test_without_a_boxes_file(data, drawn, tmp_path):
    with pytest.raises(DataError, match=r"photos: there is no file boxes\.json .*kind='grid'"):
        regions.extract(data, tiny(), "boxes", cache=tmp_path)
    with pytest.raises(DataError, match="a picture alone has no boxes"):
        regions.of_picture(drawn[0].image_files[0], tiny(), "boxes")


# ---- the cache -------------------------------------------------------------------------------


def test_nothing_is_computed_twice(data, tmp_path, computed):
    first = regions.extract(data, averages(), cache=tmp_path)
    assert len(computed) == 5
    again = regions.extract(data, averages(), cache=tmp_path)
    assert len(computed) == 5 and (again.key, again.folder) == (first.key, first.folder)
    np.testing.assert_array_equal(again.array, first.array)
    assert first.folder.parent == tmp_path / "regions"
    assert first.folder.name.startswith("averages-grid-rfe-")


def test_everything_that_matters_changes_the_key(data, tmp_path, computed):
    def key(net, **options):
        return regions.extract(data, net, cache=tmp_path, **options).key

    other = averages()
    with torch.no_grad():
        other.net.scale += 1
    other = Backbone("averages", other.net, (3,) * 4, image_size=40, mean=(0,) * 3, std=(1,) * 3)
    keys = {
        key(averages()),
        key(averages(), cells=2),
        key(averages(), cells=5),
        key(averages(), transform="whole"),
        key(other),
    }
    assert len(keys) == 5 and len(computed) == 25  # none took rows of another


def test_only_what_is_missing_or_new_is_computed(data, tmp_path, computed):
    good = data.image_files[2].read_bytes()
    data.image_files[2].write_bytes(good[:100])
    with pytest.raises(DataError, match=r"1 of 5 images cannot be used:\n.*photo2\.jpg"):
        regions.extract(data, averages(), cache=tmp_path)
    data.image_files[2].write_bytes(good)
    computed.clear()
    found = regions.extract(data, averages(), cache=tmp_path)
    assert computed == ["photo2.jpg"]
    fresh = regions.extract(data, averages(), cache=tmp_path / "fresh")
    np.testing.assert_allclose(found.array, fresh.array, atol=1e-6)


def test_a_moved_box_is_described_anew(tmp_path, computed):
    data = captioned.load(toy.draw(n_train=2, n_val=1, n_test=1, folder=tmp_path / "scenes"))
    before = regions.extract(data, averages(), cache=tmp_path)
    computed.clear()
    file = tmp_path / "scenes" / "boxes.json"
    truth = json.loads(file.read_text("utf-8"))
    truth[data.image_files[1].name][0] = [0, 0, 32, 64]
    file.write_text(json.dumps(truth), encoding="utf-8")
    after = regions.extract(data, averages(), cache=tmp_path)
    assert computed == [data.image_files[1].name] and after.key != before.key
    assert after.boxes[1, 0].tolist() == [0, 0, 0.25, 0.5]
    np.testing.assert_array_equal(after.array[[0, 2, 3]], before.array[[0, 2, 3]])


def test_broken_regions_are_not_kept(data, tmp_path):
    net = averages()
    with torch.no_grad():
        net.net.scale.fill_(torch.nan)
    with pytest.raises(DataError, match=r"NaN or infinity for .*photo0\.jpg"):
        regions.extract(data, net, cache=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_names_and_options_that_do_not_exist(data, tmp_path):
    with pytest.raises(UnknownNameError, match=r"no kind of regions named 'box'.*'boxes'"):
        regions.extract(data, tiny(), "box", cache=tmp_path)
    with pytest.raises(UnknownNameError, match="backbone"):
        regions.extract(data, "vgg19", cache=tmp_path)
    with pytest.raises(UnknownNameError, match="image transform"):
        regions.extract(data, tiny(), transform="scan", cache=tmp_path)
    with pytest.raises(DataError, match="leave them out for 'boxes'"):
        regions.extract(data, tiny(), "boxes", cells=2, cache=tmp_path)
    with pytest.raises(DataError, match="leave them out for 'detector'"):
        regions.of_picture(data.image_files[0], tiny(), "detector", "rfe")
    with pytest.raises(DataError, match="there is no such image file"):
        regions.of_picture(tmp_path / "none.jpg", tiny())


# ---- detectors -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A hub cache with the weights of a detector that has learned nothing."""
    torch.manual_seed(0)
    net = models.get_model(detectors.NAME, weights=None, weights_backbone=None)
    with torch.no_grad():  # otherwise all scores are about equal
        net.roi_heads.box_predictor.cls_score.weight *= 30
        net.roi_heads.box_predictor.bbox_pred.weight *= 30
    folder = tmp_path_factory.mktemp("hub") / "checkpoints"
    folder.mkdir()
    torch.save(net.state_dict(), folder / "weights")
    checksum = hashlib.sha256((folder / "weights").read_bytes()).hexdigest()[:8]
    return (folder / "weights").rename(folder / f"detector-{checksum}.pth")


@pytest.fixture
def hub(weights, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(weights.parent.parent))
    monkeypatch.setattr(files_of_weights, "_url", lambda *_: f"http://127.0.0.1:9/{weights.name}")


def test_detected_boxes_are_described_like_known_ones(tmp_path, hub, monkeypatch):
    data = captioned.load(samples.table(tmp_path / "photos", 3))
    looked = []
    original = detectors.Detector._best
    monkeypatch.setattr(
        detectors.Detector, "_best", lambda *args: looked.append(1) or original(*args)
    )
    monkeypatch.setattr(detectors, "N_BOXES", 4)
    found = regions.extract(data, averages(), "detector", cache=tmp_path)
    assert len(looked) == 3
    assert found.array.shape == (3, 4, 12) and found.boxes.shape == (3, 4, 4)
    assert (found.counts >= 1).all() and found.counts.max() > 1
    finder = detectors.load_detector()
    for row, file in enumerate(data.image_files):
        image = images.open_image(file)
        boxes = finder([images.to_bytes(image)])[0].numpy()
        count = found.counts[row]
        assert count == len(boxes)
        np.testing.assert_allclose(found.boxes[row, :count], boxes, atol=1e-6)
        assert (found.boxes[row, :count] >= 0).all() and (found.boxes[row, :count] <= 1).all()
        assert (found.array[row, count:] == 0).all() and (found.boxes[row, count:] == 0).all()
        colours = crop_boxes(image, boxes, 40).mean((1, 2)) / 255
        np.testing.assert_allclose(found.array[row, :count, -3:], colours, atol=1e-5)
        values, places = regions.of_picture(file, averages(), "detector")
        np.testing.assert_allclose(values, found.array[row, :count], atol=1e-5)
        np.testing.assert_allclose(places, found.boxes[row, :count], atol=1e-6)

    looked.clear()
    # The same boxes, another network:
    other = regions.extract(data, tiny(), "detector", cache=tmp_path)
    np.testing.assert_array_equal(other.boxes, found.boxes)
    assert looked == [] and other.stage_dims == (2 + 3 + 4 + 5,)


class Found(torch.nn.Module):
    """Says that it has found what it was told."""

    def __init__(self, boxes, scores) -> None:
        super().__init__()
        self.answer = {"boxes": torch.tensor(boxes).reshape(-1, 4), "scores": torch.tensor(scores)}

    def forward(self, images):
        assert images[0].shape == (3, 50, 100) and images[0].max() == 1.0
        return [self.answer]


def test_a_thing_found_as_two_classes_is_one_box():
    pixels = np.full((50, 100, 3), 255, np.uint8)
    boxes = [[0.0, 0.0, 50.0, 50.0], [0.0, 0.0, 50.0, 48.0], [50.0, 0.0, 100.0, 25.0]]
    finder = detectors.Detector("x", Found(boxes, [0.3, 0.9, 0.5]), 36)
    np.testing.assert_allclose(finder([pixels])[0], [[0, 0, 0.5, 0.96], [0.5, 0, 1, 0.5]])
    finder.n_boxes = 1
    np.testing.assert_allclose(finder([pixels])[0], [[0, 0, 0.5, 0.96]])


def test_where_nothing_is_found_the_picture_is_the_region():
    pixels = np.full((50, 100, 3), 255, np.uint8)
    finder = detectors.Detector("x", Found([], []), 36)
    assert finder([pixels, pixels])[1].tolist() == [[0, 0, 1, 1]]


def test_a_detector_without_weights_says_which_file_to_put_where(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    url = "http://127.0.0.1:9/detector-907ea3f9.pth"  # no server there
    monkeypatch.setattr(files_of_weights, "_url", lambda *_: url)
    with pytest.raises(DataError) as caught:
        regions.extract(data, tiny(), "detector", cache=tmp_path)
    for part in ("detector-907ea3f9.pth into", str(tmp_path / "hub"), url, "kind='grid'"):
        assert part in str(caught.value)


def test_weights_are_torchvision_s():
    assert files_of_weights._url(detectors.NAME, detectors.WEIGHTS).endswith("320_fpn-907ea3f9.pth")
