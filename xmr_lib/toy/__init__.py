"""The toy scenes as a data set: drawn once from a seed, cached, then read like any other folder.

>>> data = load(n_train=8, n_val=2, n_test=2)  # doctest: +SKIP
>>> data.captions_of(0)[0]  # doctest: +SKIP
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import shutil
import tempfile
import textwrap
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from xmr_lib.data import captioned
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.files import cache_dir
from xmr_lib.toy.captions import write
from xmr_lib.toy.drawing import draw_scene
from xmr_lib.toy.layout import compose
from xmr_lib.toy.scene import Scene
from xmr_lib.toy.styles import STYLES, redraw, rewrite

VERSION = 3  # to be raised whenever scenes, captions or drawings change


def load(
    n_train: int = 2000,
    n_val: int = 500,
    n_test: int = 1000,
    seed: int = 0,
    folder: Path | str | None = None,
    style: str = "plain",
) -> captioned.CaptionedImages:
    """The toy scenes, drawn into `folder` unless they lie there already.

    Args:
        n_train: training scenes, five captions each.
        n_val: validation scenes.
        n_test: test scenes.
        seed: scene i of a split depends on this, the split and i only, not on the numbers above.
        folder: where they are kept; by default in the cache, by version, sizes and seed.
        style: one of `toy_styles.STYLES`: how they are drawn and described.

    Raises:
        UnknownNameError: no such style.
        DataError: `folder` exists and holds something else.
    """
    if style not in STYLES:
        raise UnknownNameError("style of toy scenes", style, STYLES)
    sizes = {"train": n_train, "val": n_val, "test": n_test}
    kind = "toy" if style == "plain" else f"toy-{style}"
    name = f"{kind}-{VERSION}-{n_train}-{n_val}-{n_test}-{seed}"
    folder = Path(folder) if folder is not None else cache_dir() / name
    if not (folder / "scenes.json").is_file():
        _make(folder, name, sizes, seed, style)
    elif (made := _read_json(folder)["name"]) != name:
        raise DataError(f"{folder} holds the scenes {made}, not {name}: give another folder.")
    return captioned.load(folder)


def scenes(folder: Path | str) -> list[Scene]:
    """Ground truth of a folder of toy scenes, in the order of its images."""
    return [Scene.from_json(scene) for scene in _read_json(Path(folder))["scenes"]]


def _read_json(folder: Path) -> dict:
    file = folder / "scenes.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read ({error}): delete {folder}.") from error


def _make(folder: Path, name: str, sizes: dict[str, int], seed: int, style: str) -> None:
    """Draw and write everything beside `folder`, then move it there in one step."""
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and holds no toy scenes: give another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (part / "images").mkdir()
        seeds = {f"{split}_{i:05d}.png": (split, f"{seed}/{split}/{i}")
                 for split, n in sizes.items() for i in range(n)}  # fmt: skip
        jobs = [(seed, str(part / "images" / file)) for file, (_, seed) in seeds.items()]
        made = _draw_all(jobs, style)
        with (part / "captions.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("image", "caption", "split"))
            for (image, (split, _)), (captions, _) in zip(seeds.items(), made, strict=True):
                rows.writerows((image, caption, split) for caption in captions)
        truth = {"name": name, "scenes": [scene for _, scene in made]}
        (part / "scenes.json").write_text(json.dumps(truth), encoding="utf-8")
        if folder.exists():
            folder.rmdir()  # empty, or another process was faster
        part.rename(folder)
    except OSError:
        if not (folder / "scenes.json").is_file():  # else: another process was faster
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _draw_one(style: str, job: tuple[str, str]) -> tuple[list[str], dict]:
    seed, file = job
    scene = compose(seed)
    redraw(draw_scene(scene, seed), style, seed).save(file, compress_level=3)
    return rewrite(write(scene, seed), style), scene.to_json()


def _draw_all(jobs: list[tuple[str, str]], style: str = "plain") -> list[tuple[list[str], dict]]:
    """Captions and ground truth of all scenes, in order; two processes draw where they can."""

    def shown(results: Iterable) -> list:
        return list(tqdm(results, total=len(jobs), desc="drawing toy scenes", unit="scene"))

    draw = partial(_draw_one, style)
    if len(jobs) > 400:  # else starting processes takes longer than drawing
        try:
            # spawn: the same everywhere, and no fork of a process in which torch has threads
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(2, mp_context=context) as pool:
                return shown(pool.map(draw, jobs, chunksize=50))
        except (BrokenExecutor, OSError, AssertionError):
            pass  # no processes here (sandbox, daemon, script without main guard): draw on
    return shown(map(draw, jobs))


def contact_sheet(path: Path | str, *, seed: int = 0, columns: int = 4, rows: int = 3) -> Path:
    """Save a picture of `columns` x `rows` scenes with their captions under them.

    Returns:
        The path of the picture.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=(3.2 * columns, 4.9 * rows))
    for i, axis in enumerate(axes.flat):
        name = f"{seed}/train/{i}"
        scene = compose(name)
        axis.imshow(draw_scene(scene, name))
        axis.set_axis_off()
        captions = [textwrap.fill(c, 48, subsequent_indent="   ") for c in write(scene, name)]
        axis.text(0, -0.03, "\n".join(captions), transform=axis.transAxes, fontsize=8, va="top")
    figure.subplots_adjust(0.01, 0.11, 0.99, 0.99, wspace=0.06, hspace=0.5)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
