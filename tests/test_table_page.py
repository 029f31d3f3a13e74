"""Tables on a page: as narrow as it, with signs besides colours, the same at every run."""

import numpy as np
import pandas as pd
import pytest
from xmr_course.tables import paper, reproduce
from xmr_course.tables.page import printed_beside_measured, table
from xmr_course.tables.paper import WIDTH


@pytest.mark.parametrize("name", ["rfe-4", "rfe-6", "smfea-5"])
def test_shipped_tables_fit_their_page(name):
    frame = reproduce.saved(name, label="toy")
    shown = printed_beside_measured(frame)
    lines = str(shown).splitlines()
    assert max(map(len, lines)) <= WIDTH
    for row in frame.to_dict("records"):
        assert any(row["method"] in line for line in lines)
    html = shown._repr_html_()
    assert html == printed_beside_measured(frame)._repr_html_()
    real = frame[frame["verdict"] == "real"]
    assert html.count("▲ real") == (real["difference"] > 0).sum()
    assert html.count("▼ real") == (real["difference"] < 0).sum()


def test_printed_numbers_and_measured_ones_stand_in_one_row():
    frame = reproduce.saved("rfe-6", label="toy")
    cells = printed_beside_measured(frame).cells
    row = cells[cells["", "row"] == "avg-4-GRU-emb-avg"].iloc[0]
    assert row["rsum", "printed"] == "497.0"
    assert row["rsum", "measured"].startswith(f"{frame['measured_rsum'].iloc[1]:.1f}")


def test_any_frame_has_dashes_and_no_markup():
    frame = pd.DataFrame({"model": ["<b>RFE</b>", "SCAN"], "rsum": [410.25, np.nan], "n": [3, 4]})
    shown = table(frame, {"rsum": "{:.2f}"}, title="a < b", notes=["word " * 40])
    assert "410.25" in str(shown) and "–" in str(shown)
    assert max(map(len, str(shown).splitlines())) <= WIDTH
    assert "<b>" not in shown._repr_html_() and "a &lt; b" in shown._repr_html_()
    printed = paper.table("rfe-6").frame
    assert max(map(len, str(table(printed)).splitlines())) <= WIDTH
