"""The explorer of printed and measured tables, driven by its controls as a hand would."""

import numpy as np
import pandas as pd
import pytest
from xmr_course.explorers import bars
from xmr_course.explorers.ablation import AblationExplorer, ablation_explorer
from xmr_course.tables import paper, reproduce
from xmr_course.tables.reproduce import METRICS

from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.files import figures_dir


def save(table, label, measured, extra=()):
    """Writes what `reproduce` would have measured: method -> (rsum, s.d., difference or None)."""
    printed = paper.with_rows(paper.table(table), extra)
    rows = []
    for method in printed.methods:
        value, sd, difference = measured.get(method, (np.nan, np.nan, None))
        row = {"method": method, "recipe": "", "status": ""}
        row |= {f"printed_{m}": printed.frame.set_index("method").loc[method, m] for m in METRICS}
        row |= {f"measured_{m}": value / (1 if m == "rsum" else 6) for m in METRICS}
        row |= {f"sd_{m}": sd for m in METRICS}
        row |= {"against": "", "difference": np.nan, "low": np.nan, "high": np.nan, "verdict": ""}
        if method in measured and difference is None:
            row["verdict"] = "baseline"
        elif difference is not None:
            row |= {
                "against": next(iter(measured)),
                "difference": difference,
                "low": difference - 4,
                "high": difference + 4,
                "verdict": "real" if abs(difference) > 4 else "noise",
            }
        row |= {"seeds": 3 if method in measured else 0, "seconds": np.nan}
        rows.append(row)
    folder = figures_dir() / "reproduce"
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / f"{table}-{label}.csv", index=False)


@pytest.fixture(autouse=True)
def no_shipped_tables(tmp_path, monkeypatch):
    """Only the tables that a test saves are found, not those that come with the kit."""
    monkeypatch.setattr(reproduce, "SHIPPED", tmp_path)


@pytest.fixture
def saved():
    """Table X of RFE twice, and Table VIII with a row that is not printed."""
    plain = "avg-4-GRU-emb-avg"
    save("rfe-10", "toy", {plain: (370, 2.5, None), f"{plain}-rerank": (340, np.nan, -30)})
    save("rfe-10", "flickr8k", {plain: (250, 1, None)})
    save(
        "rfe-8",
        "mine",
        {"VSE++ [BMVC2018] [21]": (200, 1, None), "SCAN t-i AVG": (203, 2, 3)},
        extra=["SCAN t-i AVG"],
    )


def widths(axes):
    return [round(bar.get_width(), 3) for bar in axes.patches]


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_bars_have_the_lengths_of_the_tables(saved):
    figure = ablation_explorer("rfe-10").picture()
    printed, measured, differences = figure.axes
    assert widths(printed) == [422.8, 423.9] and widths(measured) == [370, 340]
    assert words(printed) == ["422.8", "423.9"] and words(measured) == ["370.0 ± 2.5", "340.0"]
    assert [label.get_text() for label in printed.get_yticklabels()] == [
        "avg-4-GRU-emb-avg",
        "avg-4-GRU-emb-avg-rerank †",
    ]
    assert measured.get_title() == "MEASURED\nTOY NUMBERS from drawn scenes, 3 seeds"
    assert printed.get_title() == "PRINTED\nflickr30k, all"
    assert words(differences) == ["baseline", "-30.0 real"]
    ends = [x for line in differences.lines for x in line.get_xdata()]
    assert (min(ends), max(x for x in ends if x < 0)) == (-34, -26)
    hollow = [line for line in differences.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(hollow[0].get_xdata(), [np.nan, 423.9 - 422.8])
    assert "transductive" in figure.get_suptitle()


def test_rows_are_drawn_in_the_tables_order_whatever_was_clicked_first(saved):
    printed = paper.table("rfe-10")
    found = bars.measured("rfe-10", "toy")
    lines = bars.chosen_rows(printed, found, printed.methods[::-1], "i2t_r1")
    assert lines["method"].tolist() == printed.methods
    assert lines["printed"].tolist() == [55.7, 56.1]
    np.testing.assert_allclose(lines["measured"], [370 / 6, 340 / 6])


def test_choosing_changes_the_picture(saved):
    explorer = ablation_explorer("rfe-10")
    pictures = [bytes(explorer.picture_box.value)]
    assert explorer.measured.options == (("toy", "toy"), ("flickr8k", "flickr8k"))
    explorer.metric.value = "t2i_r1"
    pictures.append(bytes(explorer.picture_box.value))
    assert "t2i_r1" in explorer.choice.metric
    explorer.rows.value = ("avg-4-GRU-emb-avg-rerank",)
    pictures.append(bytes(explorer.picture_box.value))
    assert len(explorer.picture().axes[0].patches) == 1
    explorer.measured.value = "flickr8k"
    pictures.append(bytes(explorer.picture_box.value))
    shown = explorer.picture().axes
    assert len(shown) == 2 and "flickr8k, 3 seeds" in shown[1].get_title()
    assert words(shown[1])[1] == " not measured" and "TOY" not in shown[1].get_title()
    assert len(set(pictures)) == 4 and all(each.startswith(b"\x89PNG") for each in pictures)


def test_no_row_is_said_and_the_picture_stays(saved):
    explorer = ablation_explorer("rfe-10")
    before = bytes(explorer.picture_box.value)
    explorer.rows.value = ()
    assert explorer.message.value == "Choose at least one row of the table."
    assert bytes(explorer.picture_box.value) == before
    explorer.rows.value = explorer.rows.options[:1]
    assert "Choose" not in explorer.message.value
    assert bytes(explorer.picture_box.value) != before


def test_a_table_that_nobody_measured_is_shown_as_printed(saved):
    explorer = ablation_explorer("rfe-10")
    explorer.table.value = "rfe-1"
    assert explorer.measured.options == (("nothing yet", None),)
    assert "python -m xmr_course reproduce rfe-1" in explorer.message.value
    assert "its cells add up to 400.4" in explorer.message.value
    figure = explorer.picture()
    assert len(figure.axes) == 1 and "not measured yet" in figure.get_suptitle()
    assert words(figure.axes[0]) == ["400.5", "422.8", "414.3", "400.9*"]
    explorer.table.value = "rfe-10"  # and back
    assert explorer.measured.value == "toy" and len(explorer.picture().axes) == 3


def test_rows_that_were_measured_only_can_be_chosen(saved):
    explorer = ablation_explorer("rfe-8")
    assert explorer.rows.options[-1] == "SCAN t-i AVG" == explorer.rows.value[-1]
    printed, measured, differences = explorer.picture().axes
    assert words(printed)[-1] == " not printed" and words(measured)[-1] == "203.0 ± 2.0"
    assert words(differences)[-1] == "+3.0 noise"


def test_rows_quoted_for_context_wait_to_be_chosen():
    explorer = ablation_explorer("smfea-1")
    assert "PFAN [33]" in explorer.rows.options and "PFAN [33]" not in explorer.rows.value
    explorer.rows.value = explorer.rows.options
    assert len(explorer.picture().axes[0].patches) == 7


def test_a_sum_of_fewer_cells_is_marked_and_never_compared(saved):
    save("smfea-2", "toy", {"VSE++ [7]": (300, 1, None), "SMFEA (ours)": (340, 1, 40)})
    printed, found = paper.table("smfea-2"), bars.measured("smfea-2", "toy")
    lines = bars.chosen_rows(printed, found, printed.methods, "rsum").set_index("method")
    assert lines.loc["VSE++ [7]", "odd"] and not lines.loc["SMFEA (ours)", "odd"]
    assert np.isnan(lines.loc["SMFEA (ours)", "printed_difference"])
    assert words(bars.plot_bars(printed, found, printed.methods, "rsum").axes[0])[0] == "304.6*"
    assert not bars.chosen_rows(printed, found, printed.methods, "i2t_r1")["odd"].any()


def test_seconds_have_their_own_columns():
    explorer = ablation_explorer("rfe-5")
    assert [name for _, name in explorer.metric.options] == ["train", "test"]
    assert words(explorer.picture().axes[0])[0] == "0.847 ± 0.055"
    frame = pd.DataFrame(
        {
            "method": ["VSE++"],
            "measured_train_s": [0.5],
            "sd_train_s": [0.01],
            "measured_test_s": [2.0],
            "sd_test_s": [np.nan],
        }
    )
    (figures_dir() / "reproduce").mkdir(parents=True, exist_ok=True)
    frame.to_csv(figures_dir() / "reproduce" / "rfe-5-toy.csv", index=False)
    explorer = ablation_explorer("rfe-5")
    explorer.metric.value = "test"
    printed, measured = explorer.picture().axes
    assert words(measured) == ["2", " not measured", " not measured", " not measured"]
    assert widths(printed)[0] == 63.69


def test_the_first_bars_are_of_a_metric_that_is_printed():
    assert bars.usual_metric(paper.table("rfe-6")) == "rsum"
    assert bars.usual_metric(paper.table("smfea-4")) == "i2t_r1"
    assert bars.usual_metric(paper.table("smfea-7")) == "i2t_r10"
    assert bars.usual_metric(paper.table("rfe-5")) == "train"


def test_every_table_of_both_papers_can_be_drawn(monkeypatch):
    explorer = ablation_explorer("rfe-1")
    drawn = []
    monkeypatch.setattr(AblationExplorer, "draw", lambda self: drawn.append(self.picture()))
    for _, name in explorer.table.options:
        explorer.table.value = name
    assert len(drawn) == len(paper.names()) - 1  # the first one was there already
    assert all(figure.axes[0].patches for figure in drawn)


def test_a_frame_needs_no_file(saved):
    from xmr_course.tables.reproduce import saved as read

    frame = read("rfe-10", "toy")
    explorer = ablation_explorer(frame=frame)
    assert explorer.choice.table == "rfe-10"
    assert [label for label, _ in explorer.measured.options] == ["as given", "toy", "flickr8k"]
    assert "TOY NUMBERS" in explorer.picture().axes[1].get_title()
    explorer.table.value = "rfe-8"
    assert [label for label, _ in explorer.measured.options] == ["mine"]
    frame.attrs.clear()
    with pytest.raises(DataError, match="does not say of which table"):
        ablation_explorer(frame=frame)
    assert "as given" in ablation_explorer("rfe-10", frame).picture().axes[1].get_title()


def test_wrong_names_are_told_and_missing_files_too(saved):
    with pytest.raises(UnknownNameError, match="rfe-1"):
        ablation_explorer("rfe-11")
    for table in ("rfe-10", "rfe-5"):
        with pytest.raises(DataError, match=f"reproduce {table}"):
            bars.measured(table, "nothing")
