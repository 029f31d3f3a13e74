"""The demo and the examples, on a handful of toy scenes."""

import subprocess
from pathlib import Path

import pytest
from PIL import Image
from xmr_course import demo
from xmr_course.tables import reproduce

from xmr_lib import examples, runs, toy
from xmr_lib.data import captioned

PROJECT = Path(__file__).parents[1]
SIZES = {"word_dim": 12, "rnn_dim": 16, "joint_dim": 16, "batch_size": 32, "epochs": 2}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return captioned.load(toy.draw(40, 10, 12, folder=tmp_path_factory.mktemp("data") / "toy-tiny"))


@pytest.fixture
def small(scenes, monkeypatch, tmp_path):
    """`runs.run` on few scenes with a small network."""
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "cache"))
    whole = runs.run
    monkeypatch.setattr(runs, "run", lambda name, data, **_: whole(name, scenes, **SIZES))
    return lambda name: runs.run(name, "toy")


def test_demo_prints_a_table_and_leaves_three_pictures(small, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XMR_FIGURES", str(tmp_path / "figures"))
    demo.main()
    said = capsys.readouterr().out
    assert "toy numbers" in said and "RFE − VSE++" in said and "search" in said
    for name, run in (("VSE++", small("VSE++")), ("RFE", small("RFE"))):
        (line,) = [line for line in said.splitlines() if line.startswith(name) and "−" not in line]
        assert f"{run.metrics['i2t_r1']:.1f}" in line and f"{run.metrics['rsum']:.1f}" in line
    for name in ("history", "text_to_image", "image_to_text"):
        with Image.open(tmp_path / "figures" / f"demo_{name}.png") as picture:
            assert picture.width > 400


def words(figure) -> str:
    return " ".join(t.get_text().replace("\n", " ") for ax in figure.axes for t in ax.texts)


def test_examples_without_photographs_draw_none(small):
    run = small("RFE")
    figure = examples.text_to_image(run, n=3, k=2, words_only=True)
    assert not any(ax.images for ax in figure.axes)
    said = words(figure)
    n = run.report.n_captions
    for c in (n // 6, n // 2, 5 * n // 6):
        assert run.report.captions[c][:20] in said
        for hit in run.search_images(run.report.captions[c], 2):
            assert run.report.captions_of(hit.index)[0][:12] in said
    with_photographs = examples.text_to_image(run, n=3, k=2)
    assert sum(len(ax.images) for ax in with_photographs.axes) == 6


def status() -> str:
    """What git says of the checkout."""
    done = subprocess.run(
        ["git", "status", "--porcelain"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout


@pytest.mark.slow
def test_using_the_kit_leaves_the_checkout_clean(small, scenes, monkeypatch, tmp_path):
    """The demo, and a small part of a table that comes with the kit."""
    monkeypatch.delenv("XMR_FIGURES")
    monkeypatch.chdir(PROJECT)
    before = status()
    demo.main()
    monkeypatch.undo()  # the fixture's `runs.run`, and folders of the tests
    monkeypatch.setenv("XMR_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(PROJECT)
    frame = reproduce.reproduce("rfe-8", scenes, seeds=(0,), rows=["VSE++"], **SIZES)
    assert Path(frame.attrs["csv"]).parent == PROJECT / "build" / "figures" / "reproduce"
    assert status() == before
