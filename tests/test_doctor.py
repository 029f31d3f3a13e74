"""The doctor tells what is missing, mends nothing itself, and never falls ill."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import util
from pathlib import Path

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
    assert doctor.main(deep=True) == 0
    printed = capsys.readouterr().out
    assert "All required parts work" in printed
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
    assert doctor.main(deep=True) == 1
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
    check = by_name(doctor.examine(deep=True))["toy backbone"]
    assert check.state == doctor.FAILED and "pretrain-toy" in check.mend


@pytest.mark.slow
def test_a_python_without_any_package_is_told_what_to_install(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin") / "python"
    project = Path(doctor.__file__).parents[1]
    told = subprocess.run(
        [python, "-m", "xmr_lib", "doctor"], cwd=project, capture_output=True, text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert told.returncode == 1 and not told.stderr
    for package in doctor.REQUIRED.values():
        assert f"pip install {package}\n" in told.stdout
    assert doctor.INSTALL.split(maxsplit=1)[1] in told.stdout


def test_folder_that_cannot_be_written_fails(healthy, monkeypatch):
    def refuse(dir):
        raise PermissionError(f"[Errno 13] Permission denied: '{dir}'")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    checks = by_name(doctor.examine())
    assert checks["runs folder"].state == doctor.FAILED
    assert "XMR_RUNS" in checks["runs folder"].mend


def test_little_disk_space_is_said(healthy, monkeypatch):
    usage = shutil.disk_usage(healthy)._replace(free=doctor.GIGABYTE // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    check = by_name(doctor.examine())["disk space"]
    assert check.state == doctor.MISSING and check.found.startswith("0.5 GB")


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
