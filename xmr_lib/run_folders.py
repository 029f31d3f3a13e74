"""The folder of a run: its name, its place beside others, and what its `run.json` says."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from xmr_lib import distributed
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.regions import Regions
from xmr_lib.errors import DataError
from xmr_lib.evaluation import Retrieval
from xmr_lib.files import locked
from xmr_lib.language import knowledge, trees
from xmr_lib.models import SmfeaConfig
from xmr_lib.recipes import Recipe
from xmr_lib.sources import DataSource, Made, grid_of, source_and_data
from xmr_lib.training import three_parts

# Runs of earlier versions do not say by which version of the trees and concepts they were trained.
_FIRST_VERSIONS = {"trees": 4, "concepts": 2}


def folder_name(name: str) -> str:
    """A data set's name without what would lead out of the runs' folder."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).lstrip(".")[:100] or "data"


def versions_of(recipe: Recipe) -> dict[str, int]:
    """Versions of what the recipe takes from the captions besides words."""
    if not isinstance(recipe.model, SmfeaConfig):
        return {}
    versions = {"trees": trees.TREES_VERSION} if recipe.model.structure else {}
    return versions | (
        {"concepts": knowledge.CONCEPTS_VERSION} if recipe.model.uses_concepts else {}
    )


def place_of(recipe: Recipe, versions: dict[str, int], folder: Path, seed: int) -> Path:
    """The folder of a run; where an earlier version's finished run has it, one beside that.

    A finished run is never overwritten because a default, or the trees, changed since.
    """
    usual = folder / f"seed-{seed}"
    try:
        content = json.loads((usual / "run.json").read_text(encoding="utf-8"))
        found = Recipe.from_json(content["recipe"])
        of_then = content.get("versions", {name: _FIRST_VERSIONS[name] for name in versions})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return usual  # nothing finished there, or nothing that can be read
    if (found, of_then) == (recipe, versions):
        return usual
    digest = hashlib.sha256(json.dumps([recipe.digest, versions]).encode()).hexdigest()[:8]
    return folder / f"seed-{seed}-{digest}"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lets one program at a time train a run; of several processes, the first takes the lock."""
    with locked(folder, "this run") if distributed.is_main() else nullcontext():
        distributed.wait()
        yield


def fingerprint(data: CaptionedImages, features: Features | Regions) -> str:
    """Eight hexadecimal digits that stand for features, captions and splits."""
    digest = hashlib.sha256(features.key.encode())
    for part in ("\n".join(data.captions), "\n".join(data.splits)):
        digest.update(part.encode())
    digest.update(data.image_of_caption.astype("<i8").tobytes())
    return digest.hexdigest()[:8]


def read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` says, its recipe as a `Recipe`."""
    try:
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{folder} holds no finished run (no run.json). Give the folder that `train` printed; "
            "a run that was stopped continues when the same `train` command is given again."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{folder / 'run.json'} is not valid JSON ({error}).") from None
    needed = ("recipe", "seed", "data", "fingerprint", "backbone", "transform", "seconds")
    try:
        values = {name: content[name] for name in (*needed, "stage_dims")}
        recipe = Recipe.from_json(content["recipe"])
        values |= {"recipe": recipe, "stage_dims": tuple(values["stage_dims"])}
        values["regions"] = content.get("regions")
        # The first version described features differently, so that fingerprints cannot be compared.
        values["first_version_of"] = None if "threads" in content else content.get("data_name")
        values["kind"] = content.get("kind") or _kind_of(content, recipe)
        return values
    except DataError as error:
        raise DataError(f"{folder / 'run.json'}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(folder, error, "run.json") from None


def _kind_of(content: dict[str, Any], recipe: Recipe) -> str:
    """Kind of the features of a run of an earlier version, which does not name it."""
    regions = content.get("regions")
    if not recipe.of_regions:
        return Made.POOLED
    if regions is None:
        return "boxes" if str(content.get("data_name", "")).startswith("toy") else "grid"
    return "bottom-up" if regions.endswith(".tsv") else grid_of(regions)["kind"]


def reports_on(folder: Path, data: CaptionedImages) -> bool:
    """Whether a run's ranks are of as many captions, image by image, as `data` reports on."""
    try:
        ranked = Retrieval.load(folder / "ranks.npz").image_of_caption
    except (OSError, ValueError, KeyError, BadZipFile):
        return False
    return np.array_equal(ranked, three_parts(data)[2].image_of_caption)


def data_of(
    folder: Path, content: dict, data: str | Path | DataSource | CaptionedImages | None
) -> tuple[DataSource | None, CaptionedImages]:
    """The data set of a run: as given, else read from where it was when the run was trained."""
    recorded = content["data"]
    try:
        source = DataSource(**recorded) if recorded else None
    except TypeError as error:
        raise damaged(folder, error, "run.json") from None
    if data is not None:
        given, data = source_and_data(data)
        return given or source, data
    if source is None:
        raise DataError(f"{folder} does not say where its data came from: pass `data`.")
    try:
        return source, source.load()
    except DataError as error:
        raise DataError(
            f"The data that {folder} was trained on cannot be read: {error}\nIf it was moved, put "
            "it back, or say where it is: --data FOLDER, or xmr_lib.load_run(folder, data=…)."
        ) from None


def damaged(folder: Path, error: Exception, file: str) -> DataError:
    """The error for a file of a run that cannot be read."""
    return DataError(
        f"{folder}: {file} is missing or damaged ({error!r}). Train the run again (train … "
        "--no-resume); the other files of the folder are not needed for that."
    )
