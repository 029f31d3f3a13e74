"""Where the kit keeps what it computes: a cache that may be deleted, and runs that may not."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Folder of recomputable files (toy scenes, features): `$XMR_CACHE`, else the user's cache."""
    if custom := os.environ.get("XMR_CACHE"):
        return Path(custom).expanduser()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "xmr"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "xmr"


def project_dir() -> Path:
    """The checkout that the current folder lies in, else the current folder itself.

    Notebooks run in `notebooks/`, the command line usually one level up: both must find the
    same runs and figures.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "xmr_lib" / "paths.py").is_file():
            return folder
    return here


def runs_dir() -> Path:
    """Folder of trained runs: `$XMR_RUNS`, else `runs/` of the project."""
    if custom := os.environ.get("XMR_RUNS"):
        return Path(custom).expanduser()
    return project_dir() / "runs"


def figures_dir() -> Path:
    """Folder of pictures: `$XMR_FIGURES`, else `figures/` of the project."""
    if custom := os.environ.get("XMR_FIGURES"):
        return Path(custom).expanduser()
    return project_dir() / "figures"
