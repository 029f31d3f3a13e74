"""The doctor tells what is missing, mends nothing itself, and never falls ill."""

from __future__ import annotations

import importlib
import shutil
from importlib import util

import pytest

from xmr_lib import doctor
from xmr_lib.encoders import backbone


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """A machine on which everything required works."""
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XMR_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("XMR_FIGURES", str(tmp_path / "figures"))
    return tmp_path


def by_name(checks) -> dict[str, doctor.Check]:
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def test_everything_required_works_here(healthy, capsys):
    assert doctor.main() == 0
    printed = capsys.readouterr().out
    assert "Everything required works" in printed
    assert "torch " in printed and "device" in printed
    assert not any(healthy.iterdir())  # looked, and left nothing behind


def test_what_is_wrong_comes_with_a_command(healthy):
    for check in doctor.examine():
        assert check.state in (doctor.OK, doctor.MISSING, doctor.FAILED)
        assert bool(check.mend) == (check.state != doctor.OK), check


@pytest.mark.parametrize("module", list(doctor.OPTIONAL))
def test_missing_optional_part_does_not_fail(module, healthy, monkeypatch):
    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == module else found(name))
    checks = doctor.examine()
    package, adds, requirement = doctor.OPTIONAL[module]
    check = by_name(checks)[package]
    assert (check.state, check.found) == (doctor.MISSING, adds)
    assert check.mend == f"pip install {requirement}"
    assert f"-> pip install {requirement}" in doctor.report(checks)
    assert not [c for c in checks if c.state == doctor.FAILED]


def test_broken_required_package_fails(healthy, monkeypatch, capsys):
    real = importlib.import_module

    def broken(name, *args):
        if name == "accelerate":
            raise OSError("libfoo.so: cannot open shared object file\nand a long trace")
        return real(name, *args)

    monkeypatch.setattr(importlib, "import_module", broken)
    assert doctor.main() == 1
    printed = capsys.readouterr().out
    assert "FAILED   accelerate" in printed
    assert "OSError: libfoo.so: cannot open shared object file" in printed
    assert "long trace" not in printed
    assert "pip install accelerate" in printed
    assert "Required, but not working: accelerate." in printed


def test_broken_toy_weights_fail(healthy, monkeypatch):
    def load(name):
        raise FileNotFoundError("toy_backbone.safetensors")

    monkeypatch.setattr(backbone, "load_backbone", load)
    check = by_name(doctor.examine())["toy backbone"]
    assert check.state == doctor.FAILED and "pretrain-toy" in check.mend


def test_folder_that_cannot_be_written_fails(healthy, monkeypatch):
    def refuse(dir):
        raise PermissionError(f"[Errno 13] Permission denied: '{dir}'")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    checks = by_name(doctor.examine())
    assert checks["runs folder"].state == doctor.FAILED
    assert "XMR_RUNS" in checks["runs folder"].mend


def test_little_disk_space_is_said(healthy, monkeypatch):
    usage = shutil.disk_usage(healthy)._replace(free=doctor.GIGABYTE // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    check = by_name(doctor.examine())["disk space"]
    assert check.state == doctor.MISSING and check.found.startswith("0.5 GB")


def test_toy_scenes_in_the_cache_are_named(healthy):
    assert "not drawn yet" in by_name(doctor.examine())["toy scenes"].found
    (healthy / "cache" / "toy-1-20-5-5-0").mkdir(parents=True)
    assert "toy-1-20-5-5-0" in by_name(doctor.examine())["toy scenes"].found


def test_resnet_weights_in_the_hub_cache(healthy, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(healthy))
    assert by_name(doctor.examine())["resnet weights"].state == doctor.MISSING
    (healthy / "hub" / "checkpoints").mkdir(parents=True)
    (healthy / "hub" / "checkpoints" / "resnet152-f82ba261.pth").touch()
    check = by_name(doctor.examine())["resnet weights"]
    assert (check.state, check.found) == (doctor.OK, "resnet152-f82ba261.pth")


def test_no_java(healthy, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert by_name(doctor.examine())["java"].state == doctor.MISSING
