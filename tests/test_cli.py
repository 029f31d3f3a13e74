"""The commands of the library and of the course, in this process, on sixty toy scenes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_data import TINY
from PIL import Image
from xmr_course.__main__ import main as course
from xmr_course.tables import timing

from xmr_lib import recipes, runs, toy
from xmr_lib.__main__ import main
from xmr_lib.command_line import overrides_of
from xmr_lib.errors import DataError, UnknownNameError

pytestmark = pytest.mark.usefixtures("beside_scenes")
SETTINGS = [f"{name}={value}" for name, value in TINY.items()]


@pytest.fixture(scope="module")
def trained(scenes):
    """The folder of a finished run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XMR_CACHE", str(scenes.parent / "cache"))
        patch.setenv("XMR_RUNS", str(scenes.parent / "runs"))
        main(["train", "RFE", "--data", str(scenes), "--set", *SETTINGS])
    (found,) = (scenes.parent / "runs").glob("toy-tiny-*/toy/rfe-*/seed-0/run.json")
    return found.parent


def refused(capsys, *arguments, command=main) -> str:
    """Runs a command that must end with exit code 2 and one clear message; returns that."""
    with pytest.raises(SystemExit) as stopped:
        command([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    return said.err + said.out


def test_train_prints_metrics_and_where_the_run_is(trained, scenes, capsys):
    main(["train", "RFE", "--data", str(scenes), "--set", *SETTINGS])  # finished: reused
    said = capsys.readouterr().out
    assert "i2t_r1" in said and "rsum" in said and "RFE" in said
    assert "10 images, 50 captions" in said and f"Run: {trained}" in said
    run = runs.load(trained)
    assert f"{run.metrics['rsum']:.1f}" in said
    assert run.recipe == recipes.get("RFE", "toy", **TINY)


def test_train_with_finetuning(tmp_path, capsys):
    toy.draw(n_train=6, n_val=2, n_test=2, folder=tmp_path / "toy-few")
    few = str(tmp_path / "toy-few")
    main(["train", "VSE++", "--data", few, "--finetune", "1", "--set", *SETTINGS, "epochs=1"])
    said = capsys.readouterr().out
    run = runs.load(said.split("Run: ")[1].strip())
    assert run.recipe.training.finetune_epochs == 1 and run.history["stage"].tolist() == [1, 2]


def test_train_refuses(scenes, capsys):
    said = refused(capsys, "train", "RFEE", "--data", scenes)
    assert said.startswith("error: There is no recipe named 'RFEE'. Did you mean 'RFE'")
    assert "no folder" in refused(capsys, "train", "RFE", "--data", "no folder")
    assert "'toy'" in refused(capsys, "train", "RFE", "--data", scenes, "--backbone", "toi")
    assert "laptop" in refused(capsys, "train", "RFE", "--data", scenes, "--scale", "huge")
    for setting, message in {
        "epochs=0": "epochs must be at least 1",
        "epochs=many": "epochs must be a whole number",
        "marign=0.3": "no recipe field named 'marign'. Did you mean 'margin'",
        "margin": "--set takes field=value",
        "avg_stages=1,x": "avg_stages takes stages from 1 to 4",
        "name=VSE++": "no recipe field named 'name'",
        "seed=3": "no recipe field named 'seed'",
        "negatives=hard": "Did you mean 'hardest'",
    }.items():
        assert message in refused(capsys, "train", "RFE", "--data", scenes, "--set", setting)


def test_settings_take_their_types():
    assert overrides_of(("margin=0.3", "epochs=5", "standardise=false", "word_pooling=none")) == {
        "margin": 0.3,
        "epochs": 5,
        "standardise": False,
        "word_pooling": None,
    }
    recipe = recipes.get("RFE", **overrides_of(("avg_stages=4", "max_stages=1,2", "lr=1e-3")))
    assert (recipe.model.avg_stages, recipe.model.max_stages, recipe.training.lr) == (
        (4,),
        (1, 2),
        1e-3,
    )
    with pytest.raises(UnknownNameError):
        overrides_of(("scale=toy",))
    with pytest.raises(DataError):
        overrides_of(("margin 0.3",))


def test_evaluate_a_run(trained, capsys):
    main(["evaluate", str(trained)])
    said = capsys.readouterr().out
    assert f"{runs.load(trained).metrics['rsum']:.1f}" in said.splitlines()[1]
    assert "RFE: rsum between" in said and "bootstrap over images" in said


def test_evaluate_another_split_and_the_baseline(trained, capsys):
    main(["evaluate", str(trained), "--split", "train", "--baseline", "ridge"])
    rows = capsys.readouterr().out.splitlines()
    assert rows[1].startswith("RFE") and rows[2].startswith("ridge")
    assert sum("rsum between" in row for row in rows) == 2
    # two epochs of training do not beat a closed form that has seen these very images
    assert any("does not beat the ridge baseline" in row for row in rows)


def test_evaluate_the_baseline_alone(scenes, capsys):
    main(["evaluate", "--baseline", "ridge", "--data", str(scenes)])
    assert capsys.readouterr().out.splitlines()[1].startswith("ridge")


def test_evaluate_on_other_data(scenes, trained, capsys, tmp_path):
    other = tmp_path / "toy-other"
    toy.draw(n_train=4, n_val=2, n_test=7, folder=other, style="sketch")
    main(["evaluate", str(trained), "--data", str(other)])
    said = capsys.readouterr().out
    expected = runs.load(trained).on(other).metrics["rsum"]
    assert "Tested on toy-other; RFE was trained on other data." in said
    assert f"{expected:.1f}" in said and "The test split has 7 images" in said
    assert "/nonexistent" in refused(capsys, "evaluate", trained, "--data", "/nonexistent")


def test_evaluate_where_the_photographs_are_now(scenes, trained, capsys, tmp_path):
    moved = shutil.copytree(scenes, tmp_path / "toy-tiny")
    main(["evaluate", str(trained), "--data", str(moved)])
    said = capsys.readouterr().out
    assert f"{runs.load(trained).metrics['rsum']:.1f}" in said and "other data" not in said


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        (["--k1", "4"], "--k1 needs --rerank"),
        (["--words-only"], "--words-only needs --examples"),
        (["--backbone", "toy"], "--backbone needs --baseline without a run"),
    ],
)
def test_evaluate_refuses_options_without_effect(trained, capsys, options, needs):
    assert needs in refused(capsys, "evaluate", trained, *options)


def test_train_refuses_options_without_effect(scenes, capsys):
    train = ("train", "RFE", "--data", scenes)
    assert "takes whole images" in refused(capsys, *train, "--regions", "grid")
    assert "seed must be" in refused(capsys, *train, "--seed", "-1")
    assert "seed must be" in refused(capsys, *train, "--seed", str(2**32))
    assert "no field of RFE named 'smooth'" in refused(capsys, *train, "--set", "smooth=2")


def test_evaluate_protocols(trained, capsys, monkeypatch):
    said = refused(capsys, "evaluate", trained, "--test-protocol", "1k-folds")
    assert "needs 5000 images; there are 10" in said and "'all'" in said
    assert "first-1k" in refused(capsys, "evaluate", trained, "--test-protocol", "1k")
    from xmr_lib import evaluation

    real = evaluation.evaluate_protocol
    monkeypatch.setattr(
        evaluation, "evaluate_protocol", lambda *given: real(*given, fold_size=2)
    )  # ten images are five folds of two
    main(["evaluate", str(trained), "--test-protocol", "1k-folds"])
    folds = capsys.readouterr().out
    main(["evaluate", str(trained), "--test-protocol", "5k"])
    whole = capsys.readouterr().out
    # two images of five captions each: nothing stands behind place 10, so R@10 is 100
    assert float(folds.splitlines()[1].split()[3]) == 100
    assert folds != whole


def test_evaluate_refuses(trained, capsys):
    assert "--baseline ridge" in refused(capsys, "evaluate")
    assert "no finished run" in refused(capsys, "evaluate", trained.parent)
    said = refused(capsys, "evaluate", trained, "--split", "dev")
    assert "no split 'dev'; it has train, val, test" in said


def test_search_for_a_sentence(trained, capsys, tmp_path):
    picture = tmp_path / "made" / "hits.png"
    main(["search", str(trained), "a dog under a tree", "--k", "3", "--out", str(picture)])
    lines = capsys.readouterr().out.splitlines()
    hits = runs.load(trained).search_images("a dog under a tree", 3)
    assert [line.split()[2] for line in lines[:3]] == [hit.image_file.name for hit in hits]
    assert lines[3].startswith("Searched 10 images: the reported split of")
    assert lines[4] == f"Picture: {picture}"
    assert Image.open(picture).width > 300


def test_search_with_a_photo(trained, capsys):
    photo = runs.load(trained).report.image_files[0]
    main(["search", str(trained), "--image", str(photo), "--k", "2"])
    lines = capsys.readouterr().out.splitlines()
    hits = runs.load(trained).search_captions(photo, 2)
    assert [line.split(maxsplit=2)[2] for line in lines[:2]] == [hit.caption for hit in hits]
    assert Path(lines[-1].removeprefix("Picture: ")).parent == trained


def test_search_refuses(trained, capsys, tmp_path):
    assert "Give a sentence" in refused(capsys, "search", trained)
    assert "Give a sentence" in refused(capsys, "search", trained, "a dog", "--image", "x")
    assert "--k must be at least 1" in refused(capsys, "search", trained, "a dog", "--k", 0)
    assert "sentence is empty" in refused(capsys, "search", trained, " ")
    assert "none.jpg" in refused(capsys, "search", trained, "--image", tmp_path / "none.jpg")
    assert "no finished run" in refused(capsys, "search", tmp_path, "a dog")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert "broken.jpg" in refused(capsys, "search", trained, "--image", tmp_path / "broken.jpg")
    said = refused(capsys, "search", trained, "a dog", "--out", tmp_path / "hits.movie")
    assert "hits.movie" in said and "png" in said


def test_extract(scenes, capsys):
    main(["extract", "--data", str(scenes)])
    said = capsys.readouterr().out
    assert said.startswith("60 images ×") and str(scenes.parent / "cache") in said
    assert "no image transform named 'rfee'" in refused(
        capsys, "extract", "--data", scenes, "--transform", "rfee"
    )


def make_scale_tiny(monkeypatch):
    """Lets the course train the small models, for one epoch."""
    tiny = recipes.SCALES["toy"] | TINY | {"epochs": 1}
    monkeypatch.setitem(recipes.SCALES, "toy", tiny)


def test_reproduce(scenes, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XMR_FIGURES", str(tmp_path))
    make_scale_tiny(monkeypatch)
    course(["reproduce", "rfe-8", "--data", str(scenes), "--seeds", "0", "1"])
    said = capsys.readouterr().out
    assert "TOY NUMBERS" in said and "avg-4-GRU-emb-avg" in said and "422.8" in said
    assert "baseline" in said and "±" in said
    (table,) = tmp_path.glob("reproduce/*.csv")
    frame = pd.read_csv(table)
    assert frame["seeds"].tolist() == [2, 2] and frame["measured_rsum"].notna().all()
    assert table.with_suffix(".png").is_file()


def test_reproduce_by_transfer(scenes, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XMR_FIGURES", str(tmp_path))
    make_scale_tiny(monkeypatch)
    rows = ["--rows", "VSE++", "--seeds", "0"]
    course(["reproduce", "smfea-4", "--data", str(scenes), "--transfer-to", str(scenes), *rows])
    said = capsys.readouterr().out
    assert "SMFEA Table 4" in said and "→" in said and "data they were trained on" in said


def test_unknown_tables_are_refused(capsys):
    said = refused(capsys, "reproduce", "rfe-60", command=course)
    assert said.startswith("error: There is no table named 'rfe-60'. Did you mean 'rfe-6'")


def test_reproduce_the_table_of_times(scenes, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XMR_FIGURES", str(tmp_path))
    make_scale_tiny(monkeypatch)
    real = timing.measure
    monkeypatch.setattr(timing, "measure", lambda *given, **_: real(*given, runs=2, iterations=2))
    course(["reproduce", "rfe-5", "--data", str(scenes)])
    said = capsys.readouterr().out
    assert "RFE Table V" in said and "SCAN-RFE" in said
    assert "1.38× → " in said, "402.39 s of SCAN-RFE's test by 292.23 s of SCAN's"
    frame = pd.read_csv(tmp_path / "reproduce" / "rfe-5-toy-tiny.csv").set_index("method")
    assert frame["measured_train_s"].gt(0).all() and frame["sd_test_s"].notna().all()
    assert frame["extends"].fillna("").to_dict() == {
        "VSE++": "",
        "VSE++-RFE": "VSE++",
        "SCAN": "",
        "SCAN-RFE": "SCAN",
    }
    assert frame.loc["SCAN", "measured_train_s"] > frame.loc["VSE++", "measured_train_s"]
    assert (tmp_path / "reproduce" / "rfe-5-toy-tiny.png").is_file()


def test_unknown_commands_and_options(capsys):
    assert "reproduce" in refused(capsys, "reprodcue", "rfe-6", command=course)
    assert "--seed" in refused(capsys, "train", "RFE", "--sed", "1")


def test_stopping_says_how_to_go_on(scenes, capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run", stopped)
    with pytest.raises(SystemExit) as end:
        main(["train", "RFE", "--data", str(scenes)])
    assert end.value.code == 130 and "continues" in capsys.readouterr().err


# --- SCAN, ensembles, re-ranking ------------------------------------------------------------------


def test_train_an_ensemble_and_a_reranked_name(scenes, capsys):
    sizes = ["--data", str(scenes), "--set", *SETTINGS]
    main(["train", "VSE++ + SCAN t-i AVG", *sizes])
    said = capsys.readouterr().out
    assert [line.split("  ")[0] for line in said.splitlines()[1:4]] == [
        "VSE++",
        "SCAN t-i AVG",
        "VSE++ + SCAN t-i AVG",
    ]
    assert said.count("Run: ") == 2
    main(["train", "RFE-rerank", *sizes])
    said = capsys.readouterr().out
    assert "RFE-rerank (transductive)" in said and said.count("Run: ") == 1


def test_evaluate_an_ensemble_of_folders_reranked(scenes, trained, capsys):
    main(["train", "VSE++", "--data", str(scenes), "--set", *SETTINGS])
    other = capsys.readouterr().out.rsplit("Run: ", 1)[1].strip()
    main(["evaluate", str(trained), "--also", other, "--rerank", "--k1", "4", "--k2", "2"])
    said = capsys.readouterr().out
    assert "RFE + VSE++" in said and "RFE + VSE++-rerank (transductive)" in said
    assert "k2 must be" in refused(capsys, "evaluate", trained, "--rerank", "--k2", "99")


def test_extract_regions(scenes, capsys):
    main(["extract", "--data", str(scenes), "--regions", "grid-4"])
    assert "60 images × 16 × 160 numbers" in capsys.readouterr().out
    said = refused(capsys, "extract", "--data", scenes, "--regions", "grids")
    assert "kind of regions" in said and "grid" in said


def test_scan_folders_are_data_like_any_other(tmp_path, capsys):
    """A folder as SCAN's: features and captions, no photographs."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("dev", 4), ("test", 4)):
        np.save(tmp_path / f"{split}_ims.npy", rng.standard_normal((n, 3, 8)).astype("f4"))
        lines = [f"a caption {i % 7} of picture {i // 5}" for i in range(5 * n)]
        (tmp_path / f"{split}_caps.txt").write_text("\n".join(lines) + "\n")
    main(["train", "SCAN t-i AVG", "--data", str(tmp_path), "--scale", "toy", "--set", *SETTINGS])
    said = capsys.readouterr().out
    assert "4 images, 20 captions" in said
    run = runs.load(said.rsplit("Run: ", 1)[1].strip())
    assert run.features.array.shape == (20, 3, 8)
    assert len(run.search_images("a caption", k=2)) == 2
