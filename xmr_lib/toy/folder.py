"""Draws toy scenes into a folder that is then read like anybody's: captions, boxes, pictures."""

from __future__ import annotations

import csv
import json
import shutil
import textwrap
from contextlib import suppress
from pathlib import Path

from tqdm.auto import tqdm

from xmr_lib import files
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.toy.captions import write
from xmr_lib.toy.drawing import draw_scene
from xmr_lib.toy.layout import compose
from xmr_lib.toy.scene import Scene
from xmr_lib.toy.styles import STYLES, redraw, rewrite

VERSION = 3  # to be raised whenever scenes, captions or drawings change
_UNFINISHED = {"images", "captions.csv", "boxes.json"}  # what a drawing that was killed leaves


def draw(
    n_train: int = 2000,
    n_val: int = 500,
    n_test: int = 1000,
    seed: int = 0,
    folder: Path | str | None = None,
    style: str = "plain",
) -> Path:
    """Draws the toy scenes into a folder, unless they lie there already.

    The folder holds `images/`, `captions.csv` (image, caption, split), `boxes.json` and, with the
    whole ground truth, `scenes.json`. That file is written last: without it, drawing begins anew.

    Args:
        n_train: Training scenes, five captions each.
        n_val: Validation scenes.
        n_test: Test scenes.
        seed: Scene i of a split depends on this, the split and i only, not on the numbers above.
        folder: By default in the cache, named by version, sizes and seed.
        style: One of `styles.STYLES`: how they are drawn and described.

    Returns:
        The folder.

    Raises:
        UnknownNameError: There is no such style.
        DataError: `folder` exists and holds something else.

    >>> from xmr_lib.data import captioned
    >>> data = captioned.load(draw(n_train=8, n_val=2, n_test=2))  # doctest: +SKIP
    """
    if style not in STYLES:
        raise UnknownNameError("style of toy scenes", style, STYLES)
    sizes = {"train": n_train, "val": n_val, "test": n_test}
    kind = "toy" if style == "plain" else f"toy-{style}"
    name = f"{kind}-{VERSION}-{n_train}-{n_val}-{n_test}-{seed}"
    named = folder is not None
    folder = Path(folder) if named else files.cache_dir() / name
    if not (folder / "scenes.json").is_file():
        inside = {each.name for each in folder.glob("[!.]*")}
        if inside - _UNFINISHED:
            raise DataError(f"{folder} holds no toy scenes, but other files. Name another folder.")
        with files.locked(folder, "the toy scenes"):
            if not (folder / "scenes.json").is_file():  # else another process was faster
                _draw(folder, name, sizes, seed, style)
    elif named and (made := _read_json(folder)["name"]) != name:
        raise DataError(f"{folder} holds the scenes {made}, not {name}. Name another folder.")
    elif not (folder / "boxes.json").is_file():  # drawn before boxes had a file of their own
        with suppress(DataError):  # somebody else's folder; only `--regions boxes` needs the file
            _write_boxes(folder, scenes(folder))
    return folder


def scenes(folder: Path | str) -> list[Scene]:
    """Ground truth of a folder of toy scenes, in the order of its images."""
    return [Scene.from_json(scene) for scene in _read_json(Path(folder))["scenes"]]


def _read_json(folder: Path) -> dict:
    file = folder / "scenes.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{file} cannot be read ({error}). Delete this file to have the scenes redrawn."
        raise DataError(message) from error


def _draw(folder: Path, name: str, sizes: dict[str, int], seed: int, style: str) -> None:
    with files.writable(folder):
        shutil.rmtree(folder / "images", ignore_errors=True)
        (folder / "images").mkdir()
        made = []
        with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as table:
            rows = csv.writer(table, lineterminator="\n")
            rows.writerow(("image", "caption", "split"))
            places = [(split, i) for split, count in sizes.items() for i in range(count)]
            for split, i in tqdm(places, desc="drawing toy scenes", unit="scene"):
                scene_seed, image = f"{seed}/{split}/{i}", f"{split}_{i:05d}.png"
                scene = compose(scene_seed)
                picture = redraw(draw_scene(scene, scene_seed), style, scene_seed)
                picture.save(folder / "images" / image, compress_level=3)
                captions = rewrite(write(scene, scene_seed), style)
                rows.writerows((image, caption, split) for caption in captions)
                made.append(scene)
        _write_boxes(folder, made)
        truth = {"name": name, "scenes": [scene.to_json() for scene in made]}
        with files.atomic(folder / "scenes.json") as temporary:
            temporary.write_text(json.dumps(truth), encoding="utf-8")


def _write_boxes(folder: Path, made: list[Scene]) -> None:
    """`boxes.json`: the boxes of each picture's things, in pixels (see `xmr_lib.data.boxes`)."""
    with (folder / "captions.csv").open(encoding="utf-8", newline="") as table:
        images = dict.fromkeys(row["image"] for row in csv.DictReader(table))
    boxes = {
        image: [thing.box for thing in scene.things]
        for image, scene in zip(images, made, strict=True)
    }
    with files.atomic(folder / "boxes.json") as temporary:
        temporary.write_text(json.dumps(boxes), encoding="utf-8")


def contact_sheet(path: Path | str, *, seed: int = 0, columns: int = 4, rows: int = 3) -> Path:
    """Saves a picture of `columns` x `rows` scenes with their captions under them.

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
