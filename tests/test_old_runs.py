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
from xmr_lib.language import knowledge, trees

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


@pytest.fixture
def copied(tmp_path):
    return Path(shutil.copytree(OLD, tmp_path / "runs"))


def rerun(name: str, root: Path) -> runs.Run:
    """The call that made an old run, made again."""
    features = old_data.features(not name.startswith("avg"))
    options = {"scale": "toy", "root": root, "features": features}
    return runs.run(name, old_data.make(), **options, **old_data.RUNS[name])


@pytest.mark.parametrize("name", [name for name in old_data.RUNS if name not in CHANGED])
def test_an_old_run_is_found_by_the_call_that_made_it(name, copied):
    folder = copied / FOLDERS[name].relative_to(OLD)
    recorded = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(recorded | {"seconds": 1234.5}))
    run = rerun(name, copied)
    assert (run.folder, run.seconds) == (folder, 1234.5)


def test_after_a_change_of_defaults_or_trees_a_run_is_trained_beside_the_old_one(
    copied, monkeypatch
):
    old = copied / FOLDERS["SMFEA"].relative_to(OLD)
    first = rerun("SMFEA", copied)
    assert first.folder.parents[1] == old.parents[1] and first.folder != old
    before = {file: file.read_bytes() for file in (*old.iterdir(), *first.folder.glob("*.*"))}
    monkeypatch.setattr(trees, "TREES_VERSION", trees.TREES_VERSION + 1)
    second = rerun("SMFEA", copied)
    assert second.folder.parent == first.folder.parent
    assert second.folder.name.startswith("seed-0-")
    assert rerun("SMFEA", copied).folder == second.folder
    assert all(file.read_bytes() == content for file, content in before.items())
    versions = json.loads((second.folder / "run.json").read_text())["versions"]
    expected = {"trees": trees.TREES_VERSION, "concepts": knowledge.CONCEPTS_VERSION}
    assert versions == expected


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
