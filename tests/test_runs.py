"""Runs on disk: trained once, reused, opened again, searched; every damage gets its message."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_data import TINY, never
from PIL import Image
from safetensors.torch import load_file

from xmr_lib import recipes, runs, toy, trainer, training
from xmr_lib.data import captioned
from xmr_lib.data.features import extract
from xmr_lib.encoders.backbone import load_backbone
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.run_folders import fingerprint
from xmr_lib.sources import DataSource, default_backbone, is_toy

pytestmark = pytest.mark.usefixtures("beside_scenes")
OPTIONS = {"backbone": "toy", "scale": "toy", **TINY}


@pytest.fixture(scope="module")
def finished(scenes):
    """A finished run that tests may look at but not change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XMR_CACHE", str(scenes.parent / "cache"))
        return runs.run("RFE", DataSource(str(scenes)), root=scenes.parent / "runs", **OPTIONS)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run's folder, to be damaged."""
    return shutil.copytree(finished.folder, tmp_path / "run")


# Trained once ------------------------------------------------------------------------------------


def test_a_run_is_whole(finished, scenes):
    assert finished.recipe == recipes.get("RFE", "toy", **TINY)
    assert finished.history["epoch"].tolist() == [1, 2]
    assert finished.seed == 0 and finished.seconds > 0
    assert (finished.report.n_images, set(finished.report.splits)) == (10, {"test"})
    data_part, scale, slug, seed = finished.folder.relative_to(scenes.parent / "runs").parts
    assert data_part.startswith("toy-tiny-") and (scale, seed) == ("toy", "seed-0")
    assert slug.startswith("rfe-"), "overrides leave their mark in the name"
    again = trainer.evaluate(
        finished.model,
        finished.report,
        finished.features.array,
        finished.vocabulary.encode(finished.report.captions),
    )
    assert again.metrics() == pytest.approx(finished.metrics)
    said = json.loads((finished.folder / "run.json").read_text())
    assert said["metrics"] == pytest.approx(finished.metrics)


def test_a_finished_run_is_reused(finished, scenes, monkeypatch):
    monkeypatch.setattr(training, "train", never)
    root = finished.folder.parents[3]
    for data in (str(scenes), scenes, DataSource(str(scenes)), captioned.load(scenes)):
        again = runs.run("RFE", data, root=root, **OPTIONS)
        assert again.folder == finished.folder
        assert again.metrics == finished.metrics
        assert again.history.equals(finished.history)
        for name, weight in again.model.state_dict().items():
            assert torch.equal(weight, finished.model.state_dict()[name])


def test_a_default_that_changed_gets_a_place_of_its_own(scenes, tmp_path, monkeypatch):
    """A finished run is kept when the values behind its name change."""
    trained = {}
    for lr in (1e-3, 5e-4, 1e-3, 5e-4):
        monkeypatch.setitem(recipes.SCALES, "toy", recipes.SCALES["toy"] | TINY | {"lr": lr})
        run = runs.run("RFE", scenes, backbone="toy", scale="toy", root=tmp_path)
        assert run.history["lr"][0] == lr
        assert trained.setdefault(lr, run.folder) == run.folder
    assert trained[1e-3].name == "seed-0" and trained[5e-4].parent == trained[1e-3].parent


TWICE = """
import sys, torch
sys.path.insert(0, {tests!r})
import old_data
from pathlib import Path
from xmr_lib import runs
torch.set_num_threads(1)
run = runs.run(
    "VSE++", old_data.make(), scale="toy", features=old_data.features(False), root=Path({root!r}),
    **old_data.SIZES | {{"epochs": 40}},
)
print(run.folder, run.seconds)
"""


def test_two_programs_train_the_same_run_once(tmp_path):
    script = TWICE.format(tests=os.path.dirname(__file__), root=str(tmp_path))
    both = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1], "the second one waits, and finds the run of the first"


def test_training_anew_when_asked(finished, scenes, tmp_path):
    root = shutil.copytree(finished.folder.parents[3], tmp_path / "runs")
    folder = root / finished.folder.relative_to(finished.folder.parents[3])
    before = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    runs.run("RFE", scenes, root=root, resume=False, **OPTIONS)
    after = load_file(folder / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before), "same seed, same run"


def test_training_anew_that_is_stopped_is_not_finished(finished, scenes, tmp_path, monkeypatch):
    root = shutil.copytree(finished.folder.parents[3], tmp_path / "runs")
    monkeypatch.setattr(training, "train", never)
    with pytest.raises(AssertionError, match="trained again"):
        runs.run("RFE", scenes, root=root, resume=False, **OPTIONS)
    with pytest.raises(DataError, match="no finished run"):
        runs.load(root / finished.folder.relative_to(finished.folder.parents[3]))


@pytest.mark.parametrize(
    "change", [{"margin": 0.3}, {"seed": 1}, {"scale": "laptop"}, {"avg_stages": (3, 4)}]
)
def test_overrides_have_folders_of_their_own(finished, scenes, monkeypatch, change):
    trained = []

    def train(recipe, data, features, stage_dims, folder, **_):
        trained.append(folder)
        raise InterruptedError

    monkeypatch.setattr(training, "train", train)
    with pytest.raises(InterruptedError):
        runs.run("RFE", scenes, root=finished.folder.parents[3], **{**OPTIONS, **change})
    assert trained[0] != finished.folder and not (trained[0] / "run.json").exists()


def test_a_recipe_instead_of_its_name(finished, scenes, monkeypatch):
    monkeypatch.setattr(training, "train", never)
    recipe = recipes.get("RFE", "toy", **TINY)
    options = {"root": finished.folder.parents[3], "backbone": "toy"}
    assert runs.run(recipe, scenes, **options).folder == finished.folder
    with pytest.raises(DataError, match=r"margin cannot be changed .*recipe\.replaced\(margin"):
        runs.run(recipe, scenes, margin=0.3, **options)
    with pytest.raises(DataError, match="scale cannot be changed"):
        runs.run(recipe, scenes, scale="paper", **options)
    with pytest.raises(AssertionError, match="trained again"):
        runs.run(recipe.replaced(margin=0.3), scenes, **options)


def test_changed_captions_are_other_data(finished, scenes, tmp_path):
    other = shutil.copytree(scenes, tmp_path / "toy-tiny")
    table = other / "captions.csv"
    lines = table.read_text("utf-8").splitlines()
    lines[1] = lines[1].replace(" ", " very ", 1)
    table.write_text("\n".join(lines) + "\n", "utf-8")
    changed = captioned.load(other)
    features = extract(changed, "toy")
    assert features.key == finished.features.key, "the pictures are the same"
    assert fingerprint(changed, features) != fingerprint(finished.data, features)
    with pytest.raises(DataError, match="another version of toy-tiny: captions, splits, pictures"):
        runs.load(finished.folder, data=changed)
    # so are other splits, and captions handed to another image
    splits = finished.data.splits.copy()
    splits[0] = "val"
    owners = finished.data.image_of_caption.copy()
    owners[5] = 0
    for part in ({"splits": splits}, {"image_of_caption": owners}):
        moved = replace(finished.data, **part)
        assert fingerprint(moved, features) != fingerprint(finished.data, features)


def test_what_is_toy():
    named = {"toy": True, "toy-1-2000": True, "toyota": False, "flickr8k": False}
    for name, expected in named.items():
        data = type("Data", (), {"name": name})()
        assert is_toy(data) is expected
        assert default_backbone(data) == ("toy" if expected else "efficientnet-lite0")


def test_paths_are_kept_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    source = DataSource("photos", images="photos", format="table").absolute()
    assert source == DataSource(
        str(tmp_path / "photos"), images=str(tmp_path / "photos"), format="table"
    )
    assert DataSource("toy").absolute() == DataSource("toy")


# Opened again ------------------------------------------------------------------------------------


def test_a_run_opens_from_any_folder(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = runs.load(finished.folder)
    assert opened.recipe == finished.recipe and opened.metrics == finished.metrics
    assert not opened.model.training
    relative = os.path.relpath(finished.folder, tmp_path)
    assert runs.load(relative).metrics == finished.metrics


def test_a_moved_run_opens(finished, copied):
    assert runs.load(copied).metrics == finished.metrics
    assert runs.load(str(copied), data=str(finished.data.image_files[0].parents[1])).seed == 0


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: (f / "run.json").unlink(), "no finished run.*Give the folder that `train`"),
        (lambda f: shutil.rmtree(f), "no finished run"),
        (lambda f: (f / "run.json").write_text("{"), r"run\.json is not valid JSON"),
        (lambda f: (f / "run.json").write_bytes(b"\xff\xfe\x00"), r"run\.json is not valid JSON"),
        (lambda f: (f / "run.json").write_text("[]"), r"run\.json is missing or damaged"),
        (lambda f: edit(f, recipe={}), r"run\.json is missing or damaged.*Train the run again"),
        (lambda f: edit(f, fingerprint=...), r"run\.json is missing or damaged.*'fingerprint'"),
        (lambda f: edit(f, data={"path": "x"}), r"run\.json is missing or damaged"),
        (lambda f: edit(f, data=None), "does not say where its data came from: pass `data`"),
        (lambda f: edit(f, fingerprint="0" * 8), "trained on another version of toy-tiny"),
        (lambda f: edit(f, data={"data": "/gone"}), r"(?s)/gone: there is no.*--data FOLDER"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"torn"),
            "model.safetensors is damaged.*--no-resume",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "vocabulary.json").write_text("{}"), "vocabulary.json is not a vocab"),
        (lambda f: (f / "vocabulary.json").unlink(), "No vocabulary at"),
        (lambda f: (f / "history.json").write_text("[{"), "history.json or ranks.npz is missing"),
        (lambda f: (f / "history.json").unlink(), "history.json or ranks.npz is missing"),
        (lambda f: (f / "ranks.npz").write_bytes(b"PK"), "history.json or ranks.npz is missing"),
        (lambda f: (f / "ranks.npz").unlink(), "history.json or ranks.npz is missing"),
    ],
)
def test_damaged_runs_say_what_is_wrong(copied, damage, message):
    damage(copied)
    with pytest.raises(DataError, match=message):
        runs.load(copied)


def edit(folder, **changes):
    """Changes values of run.json; `...` takes one out."""
    content = json.loads((folder / "run.json").read_text()) | changes
    content = {name: value for name, value in content.items() if value is not ...}
    (folder / "run.json").write_text(json.dumps(content))


def test_a_file_instead_of_a_folder(copied):
    with pytest.raises(DataError, match="no finished run"):
        runs.load(copied / "run.json")


def test_moved_data_is_found_by_saying_where(scenes, tmp_path):
    here = shutil.copytree(scenes, tmp_path / "toy-here")
    run = runs.run("VSE++", here, **OPTIONS)
    here.rename(tmp_path / "toy-there")
    with pytest.raises(DataError, match=r"(?s)trained on cannot be read: .*toy-here.*moved"):
        runs.load(run.folder)
    again = runs.load(run.folder, data=tmp_path / "toy-there")
    assert again.metrics == run.metrics
    assert again.search_images("a dog", 1)[0].image_file.is_file()


def test_photos_that_changed_are_other_data(finished, scenes, tmp_path):
    other = shutil.copytree(scenes, tmp_path / "toy-tiny")
    first = captioned.load(other).image_files[0]
    Image.new("RGB", (64, 64), "red").save(first)
    with pytest.raises(DataError, match="another version of toy-tiny"):
        runs.load(finished.folder, data=other)


# Searched ----------------------------------------------------------------------------------------


def slow_scores(run, data) -> np.ndarray:
    """All scores, an image and a caption at a time."""
    images, captions = run.encoded(data)
    with torch.inference_mode():
        return np.array(
            [
                [
                    float(run.model.score(images[i : i + 1], captions[c : c + 1]))
                    for c in range(data.n_captions)
                ]
                for i in range(data.n_images)
            ]
        )


def test_search_equals_brute_force(finished):
    data = finished.report
    table = slow_scores(finished, data)
    np.testing.assert_allclose(finished.score_matrix(), table, atol=1e-6)
    for c in (0, 17, 49):
        hits = finished.search_images(data.captions[c], k=4)
        best = np.argsort(-table[:, c], kind="stable")[:4]
        assert [hit.index for hit in hits] == best.tolist()
        np.testing.assert_allclose([hit.score for hit in hits], table[best, c], atol=1e-5)
        assert [hit.image_file for hit in hits] == [data.image_files[i] for i in best]
        assert all(hit.caption is None for hit in hits)
    for i in (0, np.int64(9)):
        hits = finished.search_captions(i, k=6)
        best = np.argsort(-table[i], kind="stable")[:6]
        assert [hit.index for hit in hits] == best.tolist()
        np.testing.assert_allclose([hit.score for hit in hits], table[i, best], atol=1e-5)
        assert [hit.caption for hit in hits] == [data.captions[c] for c in best]
        owners = data.image_of_caption[best]
        assert [hit.image_file for hit in hits] == [data.image_files[o] for o in owners]


def test_search_in_another_split(finished):
    train = finished.data.split("train")
    hits = finished.search_images("a dog", k=40, data=train)
    assert {hit.image_file for hit in hits} == set(train.image_files)
    assert len(finished.search_images("a dog", k=99)) == 10, "no more than there are"


def test_a_photo_is_searched_like_the_image_it_is(finished, tmp_path):
    by_number = finished.search_captions(3, k=5)
    by_file = finished.search_captions(finished.report.image_files[3], k=5)
    assert [hit.index for hit in by_file] == [hit.index for hit in by_number]
    np.testing.assert_allclose(
        [hit.score for hit in by_file], [hit.score for hit in by_number], atol=1e-5
    )
    photo = tmp_path / "photo.jpg"  # any size and kind
    Image.new("L", (300, 91), 90).save(photo)
    assert len(finished.search_captions(str(photo), k=3)) == 3


def test_bad_queries(finished, tmp_path):
    with pytest.raises(DataError, match=r"no words \('  '\)"):
        finished.search_images("  ")
    finished.search_images("zyzzyva")  # unknown words are no error
    with pytest.raises(DataError, match="no image 10: toy-tiny has 10 here"):
        finished.search_captions(10)
    with pytest.raises(DataError, match="no image -1"):
        finished.search_captions(-1)
    with pytest.raises(DataError, match=r"nothing\.jpg"):
        finished.search_captions(tmp_path / "nothing.jpg")
    with pytest.raises(ValueError, match="k must be at least 1"):
        finished.search_images("a dog", k=0)
    with pytest.raises(UnknownNameError, match="no recipe named 'RFEE'"):
        runs.run("RFEE", finished.data)


# The second stage --------------------------------------------------------------------------------


def test_finetuning_trains_the_network_too(tmp_path):
    """Stage 2 goes on from stage 1's best weights, on pixels, and changes the backbone."""
    few = tmp_path / "toy-few"
    toy.draw(n_train=8, n_val=3, n_test=3, folder=few)
    original = load_backbone("toy").state_dict()
    plain = runs.run("RFE", few, **OPTIONS)
    run = runs.run("RFE", few, finetune_epochs=1, finetune_lr=1e-3, **OPTIONS)
    assert run.history["stage"].tolist() == [1, 1, 2]
    assert run.history["negatives"].tolist()[-1] == "hardest", "no warm-up in stage 2"
    assert run.history["lr"].iloc[-1] == pytest.approx(1e-3)

    # What stage 2 ended with; the run itself keeps stage 1's weights unless these are better.
    last = load_file(run.folder / "stage-2" / "epoch-0001" / "model.safetensors")
    tuned = {k.removeprefix("backbone."): v for k, v in last.items() if k.startswith("backbone.")}
    trained = [name for name, _ in run.model.backbone.named_parameters()]
    changed = [name for name in trained if not torch.equal(original[name], tuned[name])]
    assert len(changed) > len(trained) / 2
    statistics = sorted(set(original) - set(trained))
    assert statistics and all(torch.equal(original[name], tuned[name]) for name in statistics)

    stage_1 = load_file(run.folder / "stage-1" / "best.safetensors")
    alone = load_file(plain.folder / "model.safetensors")
    assert all(torch.equal(stage_1[name], alone[name]) for name in alone), "stage 1 is the same"
    assert not torch.equal(stage_1["image.fc.weight"], last["image.fc.weight"])
    reached = run.history.groupby("stage")["rsum"].max()
    kept = run.model.state_dict()["image.fc.weight"]
    better = last if reached[2] > reached[1] else stage_1
    assert torch.equal(kept, better["image.fc.weight"])

    # opened again it encodes with its own network, and searches with it too
    opened = runs.load(run.folder)
    again = trainer.evaluate(
        opened.model,
        opened.report,
        opened.features.array,
        opened.vocabulary.encode(opened.report.captions),
    )
    assert again.metrics() == pytest.approx(run.metrics)
    by_number = opened.search_captions(2, k=5)
    by_file = opened.search_captions(opened.report.image_files[2], k=5)
    assert [hit.index for hit in by_file] == [hit.index for hit in by_number]
    np.testing.assert_allclose(
        [hit.score for hit in by_file], [hit.score for hit in by_number], atol=1e-4
    )
