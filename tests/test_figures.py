"""Pictures: every input they meet is drawn without a warning, and says what it must say."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from xmr_lib import figures
from xmr_lib.retrieval import Hit


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def image_hits(tmp_path):
    hits = []
    for i in range(3):
        file = tmp_path / f"{i}.png"
        Image.new("RGB", (40, 30 + 10 * i), (60 * i, 90, 120)).save(file)
        hits.append(Hit(i, 0.9 - 0.1 * i, file))
    return hits


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def history(n: int = 4) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": np.arange(1, n + 1),
            "stage": 1,
            "negatives": ["all"] + ["hardest"] * (n - 1),
            "loss": np.linspace(900, 20, n),
            "rsum": np.linspace(50, 300, n),
            "lr": 1e-3,
        }
    )


def render(figure, tmp_path) -> Path:
    path = figures.save(figure, tmp_path / "made" / "picture.png")
    with Image.open(path) as image:
        assert image.width > 100 and image.height > 100
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]
    return path


@pytest.mark.parametrize("n", [1, 4])
def test_history(n, tmp_path):
    figure = figures.plot_history(history(n), plateau=51.2, title="VSE++")
    assert "2·B·margin" in texts(figure)
    render(figure, tmp_path)


def test_history_stars_the_best_epoch_and_marks_stage_two(tmp_path):
    two_stages = pd.concat([history(), history().assign(stage=2, rsum=310.0)], ignore_index=True)
    two_stages.loc[2, "rsum"] = 400
    figure = figures.plot_history(two_stages)
    _, recall, _ = figure.axes
    (star,) = [line for line in recall.lines if line.get_marker() == "*"]
    assert star.get_xydata().tolist() == [[3, 400]]
    assert any(list(line.get_xdata()) == [4.5, 4.5] for line in recall.lines)
    render(figure, tmp_path)


def test_retrieved_images_tell_right_from_wrong_without_colour(image_hits, tmp_path):
    figure = figures.plot_retrieved_images("a $5 dog and a $6 cat", image_hits, {1})
    shown = texts(figure)
    assert "1.  0.90 ✗ wrong" in shown
    assert "2.  0.80 ✓ right" in shown
    widths = [axes.spines["top"].get_linewidth() for axes in figure.axes]
    assert widths[1] > widths[0] == widths[2]
    render(figure, tmp_path)


def test_retrieved_images_of_unknown_truth_claim_nothing(image_hits, tmp_path):
    figure = figures.plot_retrieved_images("my own sentence", image_hits)
    assert "right" not in texts(figure) and "wrong" not in texts(figure)
    render(figure, tmp_path)


def test_several_queries_with_different_numbers_of_hits(image_hits, tmp_path):
    figure = figures.plot_retrieved_images(
        ["first", "second"], [image_hits, image_hits[:1]], [{0}, {2}]
    )
    assert texts(figure).count("✓ right") == 1
    render(figure, tmp_path)


LONG = "word " * 500 + "x" * 300


@pytest.mark.parametrize(
    "caption", ["two dogs", LONG, "costs $5 \\frac{1}{2} $", "", "déjà vu – ñ"]
)
def test_retrieved_captions(caption, image_hits, tmp_path):
    hits = [Hit(7, 0.5, Path("a.png"), caption), Hit(3, 0.4, Path("b.png"), "a cat")]
    figure = figures.plot_retrieved_captions(image_hits[0].image_file, hits, {7})
    assert "1.  0.50 ✓ right" in texts(figure)
    render(figure, tmp_path)


def test_caption_cards_hold_no_photograph(tmp_path):
    captions = {0: "two dogs", 1: LONG, 2: "a $5 hat"}
    hits = [
        [Hit(index, score, Path("none.png")) for index, score in row]
        for row in (((1, 0.9), (0, 0.8)), ((2, 0.7), (1, 0.6)))
    ]
    figure = figures.caption_cards(
        ["snow", LONG], hits, [{0}, {1}], captions.__getitem__, title="Top 2"
    )
    assert not any(axes.images for axes in figure.axes)
    assert texts(figure).count("✓ right") == 2
    assert "two dogs" in texts(figure)
    render(figure, tmp_path)


def test_same_picture_is_the_same_file(tmp_path):
    first = figures.save(figures.plot_history(history()), tmp_path / "a.png").read_bytes()
    second = figures.save(figures.plot_history(history()), tmp_path / "b.png").read_bytes()
    assert first == second


def test_notebooks_can_display_a_picture():
    assert figures.plot_history(history())._repr_png_().startswith(b"\x89PNG")


def test_no_pyplot_state_is_touched():
    code = "import sys, xmr_lib.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
