"""Extracting features: right values, once, through kills, changes, races and full disks."""

import errno
import os
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
    """Names of the pictures that were decoded."""
    names = []
    original = images.open_image

    def noting(path):
        names.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(images, "open_image", noting)
    return names


def slow(data, net, transform="rfe"):
    """One image at a time, as eq. 2 reads."""
    look = images.eval_transform(transform, net.image_size, net.mean, net.std)
    with torch.inference_mode():
        rows = [pool_stages(net(look(images.open_image(f))[None])) for f in data.image_files]
    return torch.cat(rows).numpy()


def test_values_are_those_of_one_image_at_a_time(data, tmp_path):
    net = tiny()
    for transform in images.KINDS:
        found = extract(data, net, transform=transform, cache=tmp_path)
        np.testing.assert_allclose(found.array, slow(data, net, transform), atol=1e-5)
    assert (found.backbone, found.transform, found.stage_dims) == ("tiny", "whole", (2, 3, 4, 5))
    assert found.array[:, found.columns("max", 1)].shape == (12, 2)


def test_the_number_of_threads_changes_nothing(data, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "SHARD", 4)
    before, found = torch.get_num_threads(), {}
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found[threads] = extract(data, tiny(), cache=tmp_path / str(threads)).array[:]
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found[1], found[3])


def test_splits_find_their_rows(tmp_path):
    file = samples.table(tmp_path, 6, ["train", "val", "train", "test", "val", "train"])
    data = captioned.load(file)
    found = extract(data, tiny(), cache=tmp_path)
    val = data.split("val")
    np.testing.assert_array_equal(found.of(val), found.array[[1, 4]])
    with pytest.raises(DataError, match=r"part of photos|part of .*as_whole\(\)"):
        extract(val, tiny(), cache=tmp_path)
    alone = extract(val.as_whole(), tiny(), cache=tmp_path)
    np.testing.assert_array_equal(alone.array, found.of(val))
    with pytest.raises(DataError, match=r"holds features of 2 images, but .* asks for row 5"):
        alone.of(data)


def test_nothing_is_computed_twice(data, tmp_path, computed):
    first = extract(data, tiny(), cache=tmp_path)
    assert sorted(computed) == sorted(file.name for file in data.image_files)
    again = extract(data, tiny(), cache=tmp_path)
    assert len(computed) == 12
    assert (again.key, again.folder) == (first.key, first.folder)
    assert again.folder.name.startswith("tiny-rfe-")


def test_copies_of_photos_elsewhere_need_no_work(data, tmp_path, computed):
    found = extract(data, tiny(), cache=tmp_path)
    computed.clear()
    copy = captioned.load(samples.table(tmp_path / "elsewhere" / "photos", 12))
    for file in copy.image_files:
        os.utime(file, (0, 0))
    assert extract(copy, tiny(), cache=tmp_path).key == found.key
    few = captioned.load(samples.table(tmp_path / "few" / "photos", 3))
    again = extract(few, tiny(), cache=tmp_path)
    np.testing.assert_array_equal(again.array, found.array[:3])
    assert computed == []


def test_everything_that_matters_changes_the_key(data, tmp_path, computed):
    def key(*args, **options):
        return extract(data, *args, cache=tmp_path, **options).key

    keys = {
        key(tiny()),
        key(tiny(seed=1)),
        key(tiny(), transform="vsepp"),
    }
    assert len(keys) == 3 and len(computed) == 36  # none took rows of another


def test_only_new_and_changed_photos_are_computed(data, tmp_path, computed):
    extract(data, tiny(), cache=tmp_path)
    computed.clear()
    changed = data.image_files[3]
    size = changed.stat().st_size
    changed.write_bytes(changed.read_bytes()[:-9] + b"\x00" * 7 + b"\xff\xd9")  # same size
    assert changed.stat().st_size == size
    samples.picture(data.image_files[0].with_name("photo99.jpg"), seed=99)
    table = changed.parent.parent / "captions.csv"
    table.write_text(table.read_text("utf-8") + "photo99.jpg,new\n", encoding="utf-8")
    more = captioned.load(table)
    found = extract(more, tiny(), cache=tmp_path)
    assert computed == ["photo3.jpg", "photo99.jpg"]
    np.testing.assert_allclose(found.array, slow(more, tiny()), atol=1e-5)


def test_a_photo_given_twice_is_computed_once(data, tmp_path, computed):
    twin = data.image_files[1]
    twin.write_bytes(data.image_files[0].read_bytes())
    found = extract(data, tiny(), cache=tmp_path)
    assert len(computed) == 11
    np.testing.assert_array_equal(found.array[0], found.array[1])


def test_broken_photos_are_all_named_and_the_others_kept(data, tmp_path, computed):
    whole = data.image_files[4].read_bytes()
    for row in (4, 7, 8):
        broken = data.image_files[row].read_bytes()[: 200 + row]
        data.image_files[row].write_bytes(broken)
    with pytest.raises(DataError) as caught:
        extract(data, tiny(), cache=tmp_path)
    message = str(caught.value)
    for part in ("3 of 12 images", "photo4.jpg", "photo7.jpg", "photo8.jpg", "check_images=True"):
        assert part in message
    computed.clear()
    data.image_files[4].write_bytes(whole)
    with pytest.raises(DataError, match="2 of 12 images"):
        extract(data, tiny(), cache=tmp_path)
    assert computed == ["photo4.jpg", "photo7.jpg", "photo8.jpg"]
    with pytest.warns(UserWarning, match="2 problems"):
        rest = captioned.load(
            data.image_files[0].parent.parent, on_problem="skip", check_images=True
        )
    computed.clear()
    found = extract(rest, tiny(), cache=tmp_path)
    assert found.array.shape == (10, 28) and computed == []


def child(*command) -> subprocess.Popen:
    """A Python process of its own that knows the tiny network."""
    here = (Path(__file__).parent, Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, here))},
    )


EXTRACT_SLOWLY = textwrap.dedent("""
    import sys, time
    from samples import tiny
    from xmr_lib.data import captioned, features, images
    features.SHARD = 4
    original, calls = images.open_image, []
    def slow(path):
        time.sleep(float(sys.argv[3]))
        calls.append(path)
        return original(path)
    images.open_image = slow
    data = captioned.load(sys.argv[1])
    features.extract(data, tiny(), cache=sys.argv[2])
    print(len(calls))
""")


def shards(cache: Path) -> list[Path]:
    return sorted((cache / "features").rglob("[!.]*.safetensors"))


def test_a_killed_run_goes_on_where_it_was(data, tmp_path, computed, monkeypatch):
    source, cache = data.image_files[0].parent.parent, tmp_path / "cache"
    process = child("-c", EXTRACT_SLOWLY, source, cache, 0.2)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not shards(cache):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    process.communicate()
    assert process.returncode not in (0, None)
    survived = 4 * len(shards(cache))
    assert 4 <= survived < 12

    monkeypatch.setattr(features, "SHARD", 4)
    found = extract(data, tiny(), cache=cache)
    assert len(computed) == 12 - survived
    never_killed = extract(data, tiny(), cache=tmp_path / "other")
    np.testing.assert_array_equal(found.array, never_killed.array)


def test_two_processes_share_the_work(data, tmp_path):
    source = data.image_files[0].parent.parent
    both = [child("-c", EXTRACT_SLOWLY, source, tmp_path / "cache", 0.05) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum(int(out) for out, _ in outputs) == 12  # one of them waited
    found = extract(data, tiny(), cache=tmp_path / "cache")
    np.testing.assert_allclose(found.array, slow(data, tiny()), atol=1e-5)


def test_a_plain_script_works_where_processes_are_spawned(data, tmp_path):
    """A script without `if __name__ == "__main__"`, as README's snippet becomes on macOS."""
    script = tmp_path / "script.py"
    code = """
        import multiprocessing, sys
        multiprocessing.set_start_method("spawn")
        from samples import tiny
        from xmr_lib.data import captioned, features
        data = captioned.load(sys.argv[1])
        found = features.extract(data, tiny(), cache=sys.argv[2])
        print(found.array.shape)
    """
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    process = child(script, data.image_files[0].parent.parent, tmp_path / "cache")
    out, errors = process.communicate(timeout=120)
    assert out.strip() == "(12, 28)", errors


def test_a_disk_that_fills_up_loses_nothing(data, tmp_path, monkeypatch, computed):
    monkeypatch.setattr(features, "SHARD", 4)
    real, calls = os.replace, []

    def full(source, target):
        if str(target).endswith(".safetensors"):
            calls.append(target)
            if len(calls) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(DataError, match=r"cannot be written: No space left.*XMR_CACHE"):
            extract(data, tiny(), cache=tmp_path)
    computed.clear()
    found = extract(data, tiny(), cache=tmp_path)
    assert len(computed) == 8  # the first shard was kept
    np.testing.assert_allclose(found.array, slow(data, tiny()), atol=1e-5)
    assert not list(tmp_path.rglob(".*.safetensors"))


def test_a_cache_that_cannot_be_written(data, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(DataError, match=r"cache.* cannot be written: .*XMR_CACHE"):
        extract(data, tiny(), cache=tmp_path / "cache")


@pytest.mark.parametrize("damage", ["flipped bits", "zeroed rows", "cut", "empty", "keys", "text"])
def test_a_damaged_shard_is_made_anew(data, tmp_path, monkeypatch, computed, damage):
    monkeypatch.setattr(features, "SHARD", 4)
    found = np.asarray(extract(data, tiny(), cache=tmp_path).array)
    file = shards(tmp_path)[0]
    raw = bytearray(file.read_bytes())
    if damage == "flipped bits":
        raw[-20] ^= 8
    elif damage == "zeroed rows":
        raw[-200:] = bytes(200)
    elif damage == "keys":  # of images; the name no longer fits
        raw[raw.index(b'"keys":"') + 10] ^= 1
    else:
        raw = {"cut": raw[:-4], "empty": b"", "text": b"not a shard"}[damage]
    file.write_bytes(raw)
    computed.clear()
    with pytest.warns(UserWarning, match=rf"{file.name} is damaged.*computed again"):
        again = extract(data, tiny(), cache=tmp_path)
    assert len(computed) == 4
    np.testing.assert_array_equal(again.array, found)
    computed.clear()
    extract(data, tiny(), cache=tmp_path)
    assert computed == []


def test_a_damaged_record_of_contents_does_no_harm(data, tmp_path, computed):
    for file in data.image_files:
        os.utime(file, (0, 0))
    found = extract(data, tiny(), cache=tmp_path)
    for damage in ("", "[1, 2]", '{"a": 3}', "no JSON"):
        for kept in (tmp_path / "contents").rglob("*.json"):
            kept.write_text(damage, encoding="utf-8")
        assert extract(data, tiny(), cache=tmp_path).key == found.key


def test_networks_that_give_nan(data, tmp_path):
    net = tiny()
    with torch.no_grad():
        net.net.steps[3].bias[0] = torch.nan
    with pytest.raises(DataError, match=r"NaN or infinity for .*photo0\.jpg.*weights damaged"):
        extract(data, net, cache=tmp_path)
    assert not shards(tmp_path)


def test_names_that_do_not_exist(data, tmp_path):
    with pytest.raises(UnknownNameError, match="image transform"):
        extract(data, tiny(), transform="scan", cache=tmp_path)
    with pytest.raises(UnknownNameError, match="backbone"):
        extract(data, "vgg19", cache=tmp_path)


def test_backbones_by_name(data, tmp_path):
    found = extract(data, "toy", cache=tmp_path)
    net = load_backbone("toy")
    assert (found.backbone, found.transform) == ("toy", "whole")
    np.testing.assert_allclose(found.array, slow(data, net, "whole"), atol=1e-5)
