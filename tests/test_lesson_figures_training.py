"""Pictures of notebooks 05 and 06 show what they are given, and survive what may be missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from xmr_course.lessons import lesson_05, lesson_06

from xmr_lib import recipes


def drawn(figure) -> int:
    """Bytes of the picture: it can be rendered."""
    return len(figure._repr_png_())


def test_schedules_are_those_of_the_recipes():
    shown = {"a": recipes.get("RFE"), "b": recipes.get("RFE", "toy")}
    figure = lesson_05.plot_schedules(shown)
    for line, recipe in zip(figure.axes[0].lines, shown.values(), strict=True):
        np.testing.assert_allclose(
            line.get_ydata(),
            [recipe.training.lr_at(epoch) for epoch in range(recipe.training.epochs)],
        )
        assert line.get_xdata()[0] == 1
    assert drawn(figure)


def test_gradient_norms_stand_beside_the_limit():
    figure = lesson_05.plot_gradient_norms({"all": [9.0, 8.0], "hardest": [3.0, 1.0]}, clip=2)
    assert figure.axes[0].lines[0].get_ydata().tolist() == [9.0, 8.0]
    assert drawn(figure)


@pytest.mark.parametrize("deviation", [np.nan, 2.0])
def test_margins_have_axes_of_one_height(deviation):
    frame = pd.DataFrame(
        {
            "method": ["mg=0.1", "mg=0.2", "mg=0.6"],
            "printed_rsum": [400.5, 422.8, 400.9],
            "measured_rsum": [300.0, 310.0, 311.0],
            "sd_rsum": deviation,
        }
    )
    figure = lesson_05.plot_margins(frame)
    heights = [np.ptp(axes.get_ylim()) for axes in figure.axes]
    assert heights[0] == pytest.approx(heights[1]) and heights[0] > 22.3
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0.1", "0.2", "0.6"]
    assert drawn(figure)


def test_stage_gradients_keep_their_order():
    figure = lesson_05.plot_stage_gradients({"text": 0.4, "CNN: C1": 1.5})
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["CNN: C1", "text"]
    assert drawn(figure)


def test_differences_say_their_interval():
    values = np.linspace(-1, 3, 1001)
    figure = lesson_06.plot_differences({"paired": values, "apart": 2 * values}, observed=1.0)
    assert "between -0.9 and +2.9" in figure.axes[0].get_title()
    assert drawn(figure)


@pytest.mark.parametrize("spread", [None, 1.5])
def test_ladder_lives_with_rows_not_measured(spread):
    steps = pd.DataFrame({"printed": [3.1, -1.0], "measured": [2.0, np.nan]}, index=["a", "b"])
    assert drawn(lesson_06.plot_ladder(steps, spread))
