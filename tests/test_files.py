import errno
import os

import pytest
import torch

from xmr_lib.errors import DamagedFileError, DataError
from xmr_lib.files import atomic, load_tensors, locked, save_tensors


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("old")
    with pytest.raises(KeyError), atomic(file) as temporary:
        temporary.write_text("half of the ne")
        raise KeyError
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with atomic(tmp_path / "a.txt") as one, atomic(tmp_path / "a.txt") as two:
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "a.txt").read_text() == "one"  # the outer block ends last


def test_a_full_disk_is_one_line_that_names_the_folder(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}.*XMR_CACHE"), atomic(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_files_can_be_read_by_others_of_a_course(tmp_path):
    save_tensors(tmp_path / "a.safetensors", {"x": torch.ones(2)})
    with locked(tmp_path, "a test"):
        pass
    plain = tmp_path / "plain"
    plain.write_text("")
    for name in ("a.safetensors", ".lock"):
        assert (tmp_path / name).stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0).view(2, 3),
        torch.ones(3, dtype=torch.half),
        torch.zeros(0, 4),
        torch.tensor(5),
    ],
)
def test_tensors_come_back_with_their_texts(tmp_path, tensor):
    save_tensors(tmp_path / "a.safetensors", {"x": tensor}, settings="rfe")
    tensors, about = load_tensors(tmp_path / "a.safetensors")
    assert torch.equal(tensors["x"], tensor) and tensors["x"].dtype == tensor.dtype
    assert about == {"settings": "rfe"}


def test_flipped_bits_are_noticed_where_they_change_a_number(tmp_path):
    file = tmp_path / "a.safetensors"
    saved = torch.arange(8.0)
    save_tensors(file, {"x": saved}, settings="rfe")
    good = file.read_bytes()
    noticed = 0
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 4
        file.write_bytes(bad)
        try:
            tensors, _ = load_tensors(file)
        except DamagedFileError as error:
            assert str(file) in str(error)
            noticed += 1
        else:
            assert torch.equal(tensors["x"], saved)  # padding, or the name of the checksum
    assert noticed > 0.8 * len(good)
    file.write_bytes(good[:-3])
    with pytest.raises(DamagedFileError, match="damaged"):
        load_tensors(file)


def test_a_busy_folder_is_said_to_be_busy(tmp_path):
    with (
        locked(tmp_path, "this run"),
        pytest.raises(DataError, match="Another process is changing this run"),
        locked(tmp_path, "this run", wait=False),
    ):
        pass
