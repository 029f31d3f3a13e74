"""Runs and recipes of earlier versions: they load, are reused, and keep their names.

`old_runs/` was written by the first version of the kit. Its files must never be made again: they
stand for the runs that people have. `scores.npy` holds the scores that the version gave.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import old_data
import pytest

from xmr_lib import recipes, runs

CHANGED = ("SMFEA", "CVSE")  # their defaults are not those of the first version
OLD = Path(__file__).parent / "old_runs"
PINNED = json.loads((OLD / "recipes.json").read_text(encoding="utf-8"))
FOLDERS = {
    json.loads((folder / "recipe.json").read_text())["name"]: folder
    for folder in OLD.glob("*/*/*/seed-0")
}


@pytest.mark.parametrize("name", old_data.RUNS)
def test_an_old_run_loads_and_gives_its_numbers(name):
    of_regions = not name.startswith("avg")
    run = runs.load(FOLDERS[name], old_data.make(), old_data.features(of_regions))
    recorded = json.loads((FOLDERS[name] / "run.json").read_text())["metrics"]
    assert run.metrics == pytest.approx(recorded)
    assert run.evaluate()[0].metrics() == pytest.approx(recorded)
    scores = np.load(FOLDERS[name] / "scores.npy")
    np.testing.assert_allclose(run.score_matrix(), scores, atol=1e-5)


@pytest.mark.parametrize("name", old_data.RUNS)
def test_an_old_run_is_found_by_the_command_that_made_it(name, tmp_path):
    shutil.copytree(OLD, tmp_path / "runs")
    folder = tmp_path / "runs" / FOLDERS[name].relative_to(OLD)
    recorded = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(recorded | {"seconds": 1234.5}))
    run = runs.run(
        name, old_data.make(), scale="toy", root=tmp_path / "runs",
        features=old_data.features(not name.startswith("avg")), **old_data.RUNS[name],
    )  # fmt: skip
    if name in CHANGED:  # trained anew beside the old run, which is kept
        kept = json.loads((folder / "run.json").read_text())
        assert run.folder != folder and kept["seconds"] == 1234.5
    else:
        assert (run.folder, run.seconds) == (folder, 1234.5)


@pytest.mark.parametrize("key", PINNED)
def test_recipes_keep_their_values_and_folder_names(key):
    """Folder names of the recipe and of the recipe with five epochs, and its values."""
    name, scale = key.split(" | ")
    recipe, changed = recipes.get(name, scale), recipes.get(name, scale, epochs=5)
    flat = json.dumps(recipe.to_json(), sort_keys=True)
    digest = hashlib.sha256(flat.encode()).hexdigest()[:16]
    pinned = PINNED[key]
    if name.startswith(CHANGED):  # the same name, and another hash wherever it is written
        assert recipe.slug == pinned[0] and changed.slug != pinned[1] and digest != pinned[2]
    else:
        assert [recipe.slug, changed.slug, digest] == pinned
