"""The printed tables: complete, and their sums recomputed exactly from the CSV text."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest
from xmr_course.tables import paper

from xmr_lib.errors import UnknownNameError

TABLES = Path(paper.__file__).parent / "printed"


def csv_rows(name: str) -> list[dict[str, str]]:
    source, number = name.split("-")
    (file,) = [
        f for f in TABLES.glob(f"{source}_table_*") if int(f.name.split("_")[2]) == int(number)
    ]
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_names_cover_all_files():
    assert paper.names() == [f"rfe-{i}" for i in range(1, 11)] + [f"smfea-{i}" for i in range(1, 8)]
    assert len(paper.names()) == len(list(TABLES.glob("*.csv")))


@pytest.mark.parametrize("name", paper.names())
def test_every_number_of_the_file_is_in_the_frame(name):
    table = paper.table(name)
    rows = csv_rows(name)
    assert len(table.methods) == len(set(table.methods)) == len(rows)
    for printed, (_, loaded) in zip(rows, table.frame.iterrows(), strict=True):
        first, *columns = printed
        assert loaded["method"] == printed[first]
        for column in columns:
            if printed[column]:
                assert loaded[column] == float(printed[column])
            else:
                assert loaded[column] != loaded[column]  # NaN
    assert table.title in str(table)


@pytest.mark.parametrize("name", paper.names())
def test_sum_footnotes_are_exactly_where_sums_disagree(name):
    """With decimals, from the text of the file: no binary rounding can hide a difference."""
    expected = set()
    for row in csv_rows(name):
        first = next(iter(row))
        cells = [row.get(column) for column in paper.RECALLS]
        if not row.get("rsum") or not all(cells):
            continue
        total = sum(Decimal(cell) for cell in cells)
        if total != Decimal(row["rsum"]):
            expected.add((row[first], str(total)))
    notes = [note for note in paper.table(name).footnotes if note.kind == "sum"]
    assert {note.method for note in notes} == {method for method, _ in expected}
    for method, total in expected:
        (note,) = [note for note in notes if note.method == method]
        assert f"add up to {total} " in note.text


def test_sums_that_rounding_cannot_explain():
    wrong = {
        (name, note.method)
        for name in paper.names()
        for note in paper.table(name).footnotes
        if "(more than rounding" in note.text
    }
    assert wrong == {("rfe-1", "mg=0.6"), ("rfe-2", "m-RNN [ICLR2015] [53]")}


def test_partial_sums_and_missing_cells():
    kinds = {
        (name, note.method): note.kind
        for name in paper.names()
        for note in paper.table(name).footnotes
        if note.kind == "partial-sum"
    }
    assert kinds == {("smfea-2", "VSE++ [7]"): "partial-sum"}
    (missing,) = [n for n in paper.table("smfea-7").footnotes if n.kind == "missing"]
    assert missing.method == "chain-based"
    assert missing.text.endswith("i2t_r1, i2t_r5")


def test_what_the_notes_say_about_equal_rows_is_true():
    def numbers(name, method):
        return paper.table(name).frame.set_index("method").loc[method].tolist()

    assert numbers("rfe-4", "RFE [ours]") == numbers("rfe-10", "avg-4-GRU-emb-avg-rerank")
    assert numbers("rfe-1", "mg=0.2") == numbers("rfe-8", "avg-4-GRU-emb-avg")
    # SMFEA Table 7: the text's average difference of 1.92 over six cells
    frame = paper.table("smfea-7").frame.set_index("method")[list(paper.RECALLS)]
    missing = frame.loc["SMFEA"].sum() - 6 * 1.92 - frame.loc["chain-based"].sum()
    assert missing == pytest.approx(162.1, abs=0.1)
    linear = (frame.loc["SMFEA"] - frame.loc["linear-based"]).mean()  # the same rule, checkable
    assert linear == pytest.approx(1.55, abs=0.01)


def test_rows_map_to_recipes():
    assert paper.table("rfe-1").recipe_of_row["mg=0.3"] == "avg-4-GRU-emb-avg mg=0.3"
    sixth = paper.table("rfe-6")
    assert sixth.recipe_of_row["VSE++ [BMVC2018]"] == "VSE++"
    assert sixth.recipe_of_row["avg-4-BiGRU"] == "avg-4-BiGRU"
    seventh = paper.table("rfe-7")
    assert seventh.protocol == "5k"
    assert seventh.recipe_of_row["avg-4-max-34-BiGRU-emb-avg-5K"] == "avg-4-max-34-BiGRU-emb-avg"
    for name in ("rfe-1", "rfe-6", "rfe-7", "rfe-8"):
        table = paper.table(name)
        without = [m for m in table.methods if table.recipe_of_row[m] is None]
        assert without == []
    second = paper.table("rfe-2").recipe_of_row
    assert second["SCAN t-i LSE + i-t AVG [ECCV2018] [24]"] == "SCAN t-i LSE + i-t AVG"
    assert second["RFE-ensemble [ours]"] == "RFE-ensemble"
    assert paper.table("rfe-4").recipe_of_row["RFE [ours]"] == "avg-4-GRU-emb-avg-rerank"
    for number in (2, 3, 4, 9, 10):  # every row of the paper's own is built
        table = paper.table(f"rfe-{number}")
        assert "not yet built" not in {table.status(method) for method in table.methods}


def test_status_of_rows():
    table = paper.table("rfe-2")
    assert table.status("VSE++ [BMVC2018] [21]") == "recipe"
    assert table.status("DPC [3]") == "context"
    assert table.status("RFE-ensemble [ours]") == "recipe"
    assert table.mark("RFE-ensemble [ours]") == "ensemble"
    assert table.mark("DPC [3]") == ""
    assert paper.table("rfe-5").status("SCAN") == "timed"


def test_unknown_table_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="rfe-6"):
        paper.table("rfe6")


def test_added_rows_keep_their_own_recipes():
    names = ["SMFEA [1.0, 0.0, 0.0]", "VSE++", "CVSE", "SMFEA transductive"]
    for table in ("smfea-5", "smfea-6", "smfea-7", "rfe-6"):
        found = paper.with_rows(paper.table(table), names)
        assert [found.recipe_of_row[name] for name in names] == names
    assert found.mark("SMFEA transductive") == "transductive"
