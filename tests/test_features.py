"""Extracting features: right values, once, through kills, changes, races and full disks."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import samples
import torch
from samples import tiny

from xmr_lib.data import captioned, features, images
from xmr_lib.data.features import extract
from xmr_lib.encoders.backbone import load_backbone, pool_stages
from xmr_lib.errors import DataError, UnknownNameError


@pytest.fixture
def data(tmp_path):
    return captioned.load(samples.table(tmp_path / "photos", 12))


@pytest.fixture
def computed(monkeypatch):
    """Rows that went through a network, in order."""
    rows = []
    original = features._Crops.__getitem__

    def noting(self, item):
        rows.append(int(self.rows[item]))
        return original(self, item)

    monkeypatch.setattr(features._Crops, "__getitem__", noting)
    return rows


def slow(data, net, transform="rfe"):
    """One image at a time, as eq. 2 reads."""
    look = images.eval_transform(transform, net.image_size, net.mean, net.std)
    with torch.inference_mode():
        rows = [pool_stages(net(look(images.open_image(f))[None])) for f in data.image_files]
    return torch.cat(rows).numpy()


def test_values_are_those_of_one_image_at_a_time(data, tmp_path):
    net = tiny()
    for transform in images.KINDS:
        found = extract(data, net, transform=transform, batch_size=5, workers=0, cache=tmp_path)
        np.testing.assert_allclose(found.array, slow(data, net, transform), atol=1e-5)
    assert isinstance(found.array, np.memmap)
    assert (found.backbone, found.transform, found.stage_dims) == ("tiny", "whole", (2, 3, 4, 5))
    assert found.array[:, found.columns("max", 1)].shape == (12, 2)
    half = extract(data, net, dtype="float16", workers=0, cache=tmp_path)
    assert half.array.dtype == np.float16
    np.testing.assert_allclose(half.array, slow(data, net), rtol=2e-3, atol=1e-3)


def test_workers_change_nothing(data, tmp_path):
    one = extract(data, tiny(), batch_size=4, workers=0, cache=tmp_path / "a")
    two = extract(data, tiny(), batch_size=4, workers=2, cache=tmp_path / "b")
    np.testing.assert_array_equal(one.array, two.array)
    crops = features._Crops(["x"], np.arange(1), images.crop("rfe", 40, train=False))
    pickle.dumps(crops)  # what workers get where processes are spawned


def test_splits_find_their_rows(tmp_path):
    file = samples.table(tmp_path, 6, ["train", "val", "train", "test", "val", "train"])
    data = captioned.load(file)
    found = extract(data, tiny(), workers=0, cache=tmp_path)
    val = data.split("val")
    np.testing.assert_array_equal(found.of(val), found.array[[1, 4]])
    with pytest.raises(DataError, match=r"part of photos|part of .*as_whole\(\)"):
        extract(val, tiny(), cache=tmp_path)
    alone = extract(val.as_whole(), tiny(), workers=0, cache=tmp_path)
    np.testing.assert_array_equal(alone.array, found.of(val))
    with pytest.raises(DataError, match=r"holds features of 2 images, but .* asks for row 5"):
        alone.of(data)


def test_nothing_is_computed_twice(data, tmp_path, computed):
    first = extract(data, tiny(), workers=0, cache=tmp_path)
    assert sorted(computed) == list(range(12))
    again = extract(data, tiny(), workers=0, cache=tmp_path)
    assert len(computed) == 12
    assert (again.key, again.folder) == (first.key, first.folder)
    left = {file.name for file in first.folder.iterdir()} - {".lock"}
    assert left == {"features.npy", "files.txt", "about.json"}


def test_the_key_holds_for_a_copy_of_the_photos_elsewhere(data, tmp_path):
    found = extract(data, tiny(), workers=0, cache=tmp_path)
    copy = captioned.load(samples.table(tmp_path / "elsewhere" / "photos", 12))
    for file in copy.image_files:
        os.utime(file, (0, 0))
    assert extract(copy, tiny(), workers=0, cache=tmp_path).key == found.key


def test_everything_that_matters_changes_the_key(data, tmp_path, computed):
    def key(*args, **options):
        return extract(data, *args, workers=0, cache=tmp_path, **options).key

    keys = {
        key(tiny()),
        key(tiny(seed=1)),
        key(tiny(), transform="vsepp"),
        key(tiny(), dtype="float16"),
    }
    assert len(keys) == 4 and len(computed) == 48  # none took rows of another


def test_only_new_and_changed_photos_are_computed(data, tmp_path, computed):
    extract(data, tiny(), workers=0, cache=tmp_path)
    computed.clear()
    changed = data.image_files[3]
    size = changed.stat().st_size
    changed.write_bytes(changed.read_bytes()[:-9] + b"\x00" * 7 + b"\xff\xd9")  # same size
    assert changed.stat().st_size == size
    samples.picture(data.image_files[0].with_name("photo99.jpg"), seed=99)
    table = changed.parent.parent / "captions.csv"
    table.write_text(table.read_text("utf-8") + "photo99.jpg,new\n", encoding="utf-8")
    more = captioned.load(table)
    found = extract(more, tiny(), workers=0, cache=tmp_path)
    assert computed == [3, 12]
    np.testing.assert_allclose(found.array, slow(more, tiny()), atol=1e-5)


def test_broken_photos_are_all_named_and_the_others_kept(data, tmp_path, computed):
    whole = data.image_files[4].read_bytes()
    for row in (4, 7, 8):
        data.image_files[row].write_bytes(data.image_files[row].read_bytes()[:200])
    with pytest.raises(DataError) as caught:
        extract(data, tiny(), batch_size=4, workers=0, cache=tmp_path)
    message = str(caught.value)
    for part in ("3 of 12 images", "photo4.jpg", "photo7.jpg", "photo8.jpg", "check_images=True"):
        assert part in message
    assert not list(tmp_path.rglob("features.npy"))
    computed.clear()
    data.image_files[4].write_bytes(whole)
    with pytest.raises(DataError, match="2 of 12 images"):
        extract(data, tiny(), workers=0, cache=tmp_path)
    assert computed == [4, 7, 8]
    with pytest.warns(UserWarning, match="2 problems"):
        rest = captioned.load(
            data.image_files[0].parent.parent, on_problem="skip", check_images=True
        )
    computed.clear()
    found = extract(rest, tiny(), workers=0, cache=tmp_path)
    assert found.array.shape == (10, 28) and computed == []


def child(code: str, *args) -> subprocess.Popen:
    """A Python process of its own that knows the tiny network."""
    here = (Path(__file__).parent, Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, here))},
    )


EXTRACT_SLOWLY = """
    import sys, time
    from samples import tiny
    from xmr_lib.data import captioned, features
    features._SECONDS_BETWEEN_RECORDS = 0
    original, calls = features.pooled_features, []
    def slow(*args):
        time.sleep(float(sys.argv[3]))
        calls.append(1)
        return original(*args)
    features.pooled_features = slow
    data = captioned.load(sys.argv[1])
    features.extract(data, tiny(), batch_size=2, workers=0, cache=sys.argv[2])
    print(len(calls))
"""


def test_a_killed_run_goes_on_where_it_was(data, tmp_path, computed):
    source = data.image_files[0].parent.parent
    process = child(EXTRACT_SLOWLY, source, tmp_path / "cache", 0.3)
    done_file, deadline = None, time.monotonic() + 300
    while time.monotonic() < deadline:
        done_file = done_file or next((tmp_path / "cache").rglob("done.npy"), None)
        if done_file is not None and np.load(done_file).sum() >= 4:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    process.communicate()
    assert process.returncode not in (0, None)
    survived = int(np.load(done_file).sum())
    assert 4 <= survived < 12
    assert not list(tmp_path.rglob("features.npy"))

    found = extract(data, tiny(), batch_size=2, workers=0, cache=tmp_path / "cache")
    assert computed == list(range(survived, 12))
    never_killed = extract(data, tiny(), batch_size=2, workers=0, cache=tmp_path / "other")
    np.testing.assert_array_equal(found.array, never_killed.array)


def test_two_processes_share_the_work(data, tmp_path):
    source = data.image_files[0].parent.parent
    both = [child(EXTRACT_SLOWLY, source, tmp_path / "cache", 0.1) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum(int(out) for out, _ in outputs) == 6  # six batches in all: one of them waited
    found = extract(data, tiny(), workers=0, cache=tmp_path / "cache")
    np.testing.assert_allclose(found.array, slow(data, tiny()), atol=1e-5)


def test_a_disk_that_fills_up_loses_nothing(data, tmp_path, monkeypatch, computed):
    real_open, writes = Path.open, []

    def opening(self, mode="r", *args, **options):
        if self.name == "features.part.npy" and computed:
            writes.append(1)
            if len(writes) > 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real_open(self, mode, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opening)
        with pytest.raises(DataError, match=r"disk is full.*XMR_CACHE.*is kept"):
            extract(data, tiny(), batch_size=3, workers=0, cache=tmp_path)
    computed.clear()
    found = extract(data, tiny(), batch_size=3, workers=0, cache=tmp_path)
    np.testing.assert_allclose(found.array, slow(data, tiny()), atol=1e-5)


def test_a_disk_too_small_is_noticed_before_any_work(data, tmp_path, monkeypatch, computed):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("xmr_lib.data.feature_store.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="the disk is full; the features need 0 MB"):
        extract(data, tiny(), workers=0, cache=tmp_path)
    assert computed == []


def test_a_cache_that_cannot_be_written(data, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot be written .* Set XMR_CACHE"):
        extract(data, tiny(), workers=0, cache=tmp_path / "cache")


def test_damaged_caches_say_what_to_delete(data, tmp_path):
    found = extract(data, tiny(), workers=0, cache=tmp_path)
    file, good = found.folder / "features.npy", np.array(found.array)
    raw = file.read_bytes()

    def complaint():
        with pytest.raises(DataError) as caught:
            extract(data, tiny(), workers=0, cache=tmp_path)
        assert f"Delete {found.folder} and extract again" in str(caught.value)
        return str(caught.value)

    file.write_bytes(raw[:-4])
    assert "truncated" in complaint()
    file.write_bytes(b"")
    assert "truncated or not a .npy" in complaint()
    np.save(file, good[:, :5])
    assert "features are (12, 5), expected (12, 28)" in complaint()
    good[7, 3] = np.nan
    np.save(file, good)
    assert "row 7 holds NaN" in complaint()
    np.save(file, np.array([{"code": 1}]), allow_pickle=True)
    assert "not a .npy" in complaint()


def test_a_damaged_half_finished_cache_is_started_anew(data, tmp_path, computed):
    data.image_files[5].write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 12"):
        extract(data, tiny(), workers=0, cache=tmp_path)
    part = next(tmp_path.rglob("features.part.npy"))
    part.write_bytes(part.read_bytes()[:-8])
    computed.clear()
    with pytest.raises(DataError, match="1 of 12"):
        extract(data, tiny(), workers=0, cache=tmp_path)
    assert len(computed) == 12


def test_networks_that_give_nan_or_too_much_for_half_precision(data, tmp_path):
    net = tiny()
    with torch.no_grad():
        net.net.steps[0].bias += 1e6
    with pytest.raises(DataError, match=r"photo0\.jpg\. Use dtype='float32'"):
        extract(data, net, dtype="float16", workers=0, cache=tmp_path)
    with torch.no_grad():
        net.net.steps[3].bias[0] = torch.nan
    net.weights_id = "other"
    with pytest.raises(DataError, match=r"NaN or infinity for 12 images.*weights broken"):
        extract(data, net, workers=0, cache=tmp_path)
    assert not list(tmp_path.rglob("features.npy"))


def test_names_that_do_not_exist(data, tmp_path):
    with pytest.raises(UnknownNameError, match="no feature type named 'float64'"):
        extract(data, tiny(), dtype="float64", cache=tmp_path)
    with pytest.raises(UnknownNameError, match="image transform"):
        extract(data, tiny(), transform="scan", cache=tmp_path)
    with pytest.raises(UnknownNameError, match="backbone"):
        extract(data, "vgg19", cache=tmp_path)


def test_what_a_folder_holds_can_be_read_by_a_person(data, tmp_path):
    found = extract(data, tiny(), workers=0, cache=tmp_path)
    about = json.loads((found.folder / "about.json").read_text("utf-8"))
    assert (about["backbone"], about["transform"], about["image_size"]) == ("tiny", "rfe", 40)
    lines = (found.folder / "files.txt").read_text("utf-8").split("\n")
    assert [line.split("\t")[0] for line in lines] == [file.name for file in data.image_files]
    assert found.folder.name.startswith("photos-tiny-rfe-")


def test_bare_forward_pass_can_be_timed():
    assert 0 < features.forward_seconds(tiny(), 5, batch_size=2, device="cpu") < 10


def test_backbones_by_name(data, tmp_path):
    found = extract(data, "toy", workers=0, cache=tmp_path)
    net = load_backbone("toy")
    assert (found.backbone, found.transform) == ("toy", "whole")
    np.testing.assert_allclose(found.array, slow(data, net, "whole"), atol=1e-5)
