import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from made_data import STAGE_DIMS, make
from safetensors.torch import load_file

from xmr_lib import models, recipes, trainer, training
from xmr_lib.data.batches import Batch
from xmr_lib.errors import DataError
from xmr_lib.files import save_tensors

FOLDER = Path(__file__).parent
TINY = {"word_dim": 8, "rnn_dim": 12, "joint_dim": 12, "batch_size": 32, "vocabulary_threshold": 1}


def tiny(name="RFE", **overrides):
    return recipes.get(name, "toy", **{**TINY, "epochs": 3, **overrides})


@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_five_steps_equal_a_plain_vsepp_loop(negatives):
    """VSE++'s training step written out: Adam, sum of hinges, gradient norm clipped at 2."""
    torch.manual_seed(0)
    recipe = tiny("VSE++", negatives=negatives, standardise=False, lr=2e-4)
    model = models.build(recipe.model, 30, STAGE_DIMS)
    images, pooled = torch.arange(16), torch.randn(16, 64)
    lengths = torch.randint(1, 9, (16,))
    tokens = torch.randint(4, 30, (16, 8))
    plain = copy.deepcopy(model)
    optimizer = torch.optim.Adam(plain.parameters(), lr=2e-4)
    expected = []
    for _ in range(5):
        features = pooled[:, 16:32] / pooled[:, 16:32].norm(dim=1, keepdim=True)
        image = plain.image.fc(features)
        image = image / image.norm(dim=1, keepdim=True)
        caption = []
        for words, length in zip(tokens, lengths, strict=True):
            state = plain.text.rnn(plain.text.embed(words[:length])[None])[1][0, 0]
            caption.append(state / state.norm())
        scores = image @ torch.stack(caption).T
        right = scores.diagonal()
        by_image = [[0.2 - right[i] + scores[i, j] for j in range(16) if j != i] for i in range(16)]
        by_text = [[0.2 - right[i] + scores[j, i] for j in range(16) if j != i] for i in range(16)]
        hinges = [torch.stack(row).clamp(min=0) for row in (*by_image, *by_text)]
        loss = sum(row.max() if negatives == "hardest" else row.sum() for row in hinges)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 2.0)
        optimizer.step()
        expected.append(loss.item())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
    batch = Batch(images, tokens, lengths, pooled)
    losses = [
        trainer.train_epoch(model, [batch], optimizer, Accelerator(), 2.0)["loss"] for _ in range(5)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4, msg=name)


def test_training_learns_and_leaves_a_whole_run(tmp_path):
    data, features = make()
    recipe = tiny(epochs=12, rnn_dim=32, joint_dim=32, lr=5e-3)
    result = training.train(recipe, data, features, STAGE_DIMS, tmp_path)
    assert result.retrieval.metrics()["t2i_r5"] > 60  # chance is 25
    assert {p.name for p in tmp_path.iterdir()} == {
        "history.json",
        "model.safetensors",
        "ranks.npz",
        "recipe.json",
        "stage-1",
        "vocabulary.json",
    }
    history = json.loads((tmp_path / "history.json").read_text())
    assert [row["epoch"] for row in history] == list(range(1, 13))
    assert [row["negatives"] for row in history[:2]] == ["all", "hardest"]
    assert history[8]["lr"] == pytest.approx(recipe.training.lr * recipe.training.lr_drop_factor)
    assert all(row["loss"] == pytest.approx(row["L_img"] + row["L_sent"]) for row in history)


def test_the_best_epoch_is_kept_not_the_last(tmp_path):
    data, features = make()
    recipe = tiny(epochs=4, lr=0.3, warmup_epochs=0)  # so large that later epochs get worse
    training.train(recipe, data, features, STAGE_DIMS, tmp_path)
    best = load_file(tmp_path / "stage-1" / "best.safetensors")
    kept = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(best[name], kept[name]) for name in best)


KILLED = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
from made_data import STAGE_DIMS, make
from xmr_lib import recipes, training
torch.set_num_threads(1)
data, features = make()
recipe = recipes.get("RFE", "toy", epochs=8, **{tiny!r})
training.train(recipe, data, features, STAGE_DIMS, Path(sys.argv[1]))
"""


def test_a_run_killed_twice_ends_with_the_same_bits(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(KILLED.format(tests=str(FOLDER), tiny=TINY))

    def start(folder):
        return subprocess.Popen(
            [sys.executable, str(script), str(folder)], stderr=subprocess.DEVNULL
        )

    assert start(tmp_path / "whole").wait(120) == 0
    for until in (2, 5):  # kill as soon as so many epochs are finished
        process = start(tmp_path / "killed")
        deadline = time.monotonic() + 90
        while not list((tmp_path / "killed").glob(f"stage-1/epoch-000[{until}-9]")):
            assert time.monotonic() < deadline and process.poll() is None, "finished too early"
            time.sleep(0.005)
        if os.name == "nt":
            process.kill()
        else:
            process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert not (tmp_path / "killed" / "model.safetensors").exists()
    assert start(tmp_path / "killed").wait(120) == 0
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    seen = [json.loads((tmp_path / n / "history.json").read_text()) for n in ("whole", "killed")]
    for rows in seen:
        for row in rows:
            row.pop("seconds")
    assert seen[0] == seen[1]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.bin", "progress.json"])
def test_a_damaged_checkpoint_is_left_for_the_one_before(tmp_path, file):
    data, features = make()
    for name in ("whole", "damaged"):
        training.train(tiny(), data, features, STAGE_DIMS, tmp_path / name)
    stage = tmp_path / "damaged" / "stage-1"
    assert [folder.name for folder in sorted(stage.glob("epoch-*"))] == ["epoch-0002", "epoch-0003"]
    damaged = stage / "epoch-0003" / file
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 64
    damaged.write_bytes(content)
    (stage / "best.safetensors").unlink()  # epoch 3 is trained again, and is the best one
    with pytest.warns(UserWarning, match=r"epoch-0003 is damaged"):
        training.train(tiny(), data, features, STAGE_DIMS, tmp_path / "damaged")
    weights = [load_file(tmp_path / n / "model.safetensors") for n in ("whole", "damaged")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    damaged.write_bytes(content)
    shutil.rmtree(stage / "epoch-0002")
    with pytest.warns(
        UserWarning, match=r"epoch-0003 is damaged"
    ):  # nothing is left: from the start
        training.train(tiny(), data, features, STAGE_DIMS, tmp_path / "damaged")


def test_a_loss_that_is_not_finite_says_why(tmp_path):
    data, features = make()
    features[:] = np.nan
    with pytest.raises(DataError, match="not finite from the start: the features are not"):
        training.train(tiny(standardise=True), data, features, STAGE_DIMS, tmp_path)


@pytest.mark.parametrize(("omp", "threads"), [(None, 1), ("2", 2)])
def test_small_models_train_on_one_thread(tmp_path, monkeypatch, omp, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = training.train(tiny(epochs=1), *make(), STAGE_DIMS, tmp_path)
        assert found.threads == threads and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_epochs_of_another_recipe_are_not_gone_on_with(tmp_path):
    data, features = make()
    training.train(tiny(epochs=1), data, features, STAGE_DIMS, tmp_path / "run")
    training.train(tiny(epochs=2, lr=1e-4), data, features, STAGE_DIMS, tmp_path / "run")
    training.train(tiny(epochs=2, lr=1e-4), data, features, STAGE_DIMS, tmp_path / "fresh")
    weights = [load_file(tmp_path / n / "model.safetensors") for n in ("run", "fresh")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_seeds_fix_and_change_the_result(tmp_path):
    data, features = make()
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        training.train(tiny(epochs=1), data, features, STAGE_DIMS, tmp_path / name, seed=seed)
        weights.append(load_file(tmp_path / name / "model.safetensors")["image.fc.weight"])
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_standardisation_sees_training_images_only(tmp_path):
    data, features = make()
    features[data.splits != "train"] = 1e6
    training.train(tiny(epochs=1), data, features, STAGE_DIMS, tmp_path)
    mean = load_file(tmp_path / "model.safetensors")["image.feature_mean"]
    np.testing.assert_allclose(mean, features[data.splits == "train"].mean(0), atol=1e-4)


def test_vocabulary_knows_training_captions_only(tmp_path):
    data, features = make()
    captions = list(data.captions)
    captions[-1] = "zebra"
    data = type(data)(
        data.name, data.image_files, tuple(captions), data.image_of_caption, data.splits, data.rows
    )
    training.train(tiny(epochs=1), data, features, STAGE_DIMS, tmp_path)
    assert "zebra" not in (tmp_path / "vocabulary.json").read_text()


def test_collapse_is_reported(tmp_path):
    data, features = make()
    features[:] = 1  # nothing to learn from: hardest negatives pull everything together
    with pytest.warns(UserWarning, match=r"sits on the plateau 2·B·margin .*Warm up longer"):
        training.train(tiny(warmup_epochs=0, lr=0.02), data, features, STAGE_DIMS, tmp_path)


def test_a_healthy_run_is_not_called_collapsed(tmp_path, recwarn):
    data, features = make()
    training.train(tiny(epochs=6, rnn_dim=32, joint_dim=32), data, features, STAGE_DIMS, tmp_path)
    assert not [w for w in recwarn if "plateau" in str(w.message)]


def test_three_parts():
    data, _ = make(60, 10, 20)
    learn, select, report = training.three_parts(data)
    assert [p.n_images for p in (learn, select, report)] == [60, 10, 20]
    no_test = data.subset(np.flatnonzero(data.splits != "test"))
    learn, select, report = training.three_parts(no_test)
    assert [p.n_images for p in (learn, select, report)] == [54, 6, 10]
    assert not set(learn.rows) & set(select.rows)
    assert set(report.rows) == set(np.flatnonzero(data.splits == "val"))
    with pytest.raises(DataError, match="no split 'train'; it has val, test"):
        training.three_parts(data.subset(np.flatnonzero(data.splits != "train")))
    with pytest.raises(DataError, match="a split 'val' or 'test'"):
        training.three_parts(data.split("train"))


def test_weights_of_another_model_are_refused(tmp_path):
    model = models.build(tiny().model, 10, STAGE_DIMS)
    save_tensors(tmp_path / "w.safetensors", model.state_dict())
    other = models.build(tiny(rnn_dim=16).model, 10, STAGE_DIMS)
    with pytest.raises(
        DataError, match=r"w.safetensors holds the weights of another model \(size mi.*--no-resume"
    ):
        trainer.load_weights(other, tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"w.safetensors is damaged.*--no-resume"):
        trainer.load_weights(model, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="the run has not finished"):
        trainer.load_weights(model, tmp_path / "none.safetensors")
