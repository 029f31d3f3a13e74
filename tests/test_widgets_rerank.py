"""The explorer of re-ranking, driven by its controls as a hand would."""

import numpy as np
import pytest
import torch
from xmr_course.explorers.rerank import Reranking, rerank_explorer

from xmr_lib.ensemble import Ensemble
from xmr_lib.errors import DataError
from xmr_lib.reranking import Settings

PNG = b"\x89PNG"


@pytest.fixture(scope="module", params=["RFE", "SCAN t-i AVG"])
def run(request, tiny_run):
    return tiny_run(request.param)


@pytest.mark.parametrize("settings", [Settings(5, 2, 0.3), Settings(3, 1, 1.0), Settings()])
def test_numbers_are_those_of_the_library(run, settings):
    again = Reranking(run)
    assert again.before.metrics() == pytest.approx(run.metrics)
    expected = run.evaluate(rerank=settings)[0]
    assert again.retrieval(settings).metrics() == pytest.approx(expected.metrics())
    on_val = Reranking(run, run.data.split("val")).retrieval(settings)
    assert len(on_val.i2t.greater) == 6


def test_another_weight_needs_no_new_fit(tiny_run, monkeypatch):
    again = Reranking(tiny_run("RFE"))
    first = again.distances(Settings(4, 2, 0.2))
    monkeypatch.setattr("xmr_course.explorers.rerank.rerank", None)  # a call would fail
    other = again.distances(Settings(4, 2, 0.9))
    jaccard, original = again.distances(Settings(4, 2, 0)), again.distances(Settings(4, 2, 1))
    torch.testing.assert_close(first, 0.8 * jaccard + 0.2 * original)
    torch.testing.assert_close(other, 0.1 * jaccard + 0.9 * original)


def test_an_ensemble_can_be_explored(tiny_run):
    both = Ensemble("VSE++ + RFE", (tiny_run("VSE++"), tiny_run("RFE")))
    expected = both.evaluate(rerank=Settings(5, 2))[0].metrics()
    assert Reranking(both).retrieval(Settings(5, 2)).metrics() == pytest.approx(expected)


@pytest.mark.parametrize("queries", ["images", "captions"])
def test_answers_are_ordered_and_know_where_they_were(run, queries):
    again = Reranking(run)
    found = again.answers(Settings(5, 2, 0.5), 7, queries, k=4)
    assert [answer.was for answer in found.before] == [1, 2, 3, 4]
    scores = run.score_matrix()[7] if queries == "images" else run.score_matrix()[:, 7]
    assert scores[found.before[0].index] == scores.max()
    final = again.distances(Settings(5, 2, 0.5), queries)[7].numpy()
    assert np.all(np.diff(final[[answer.index for answer in found.after]]) >= 0)
    owner = run.report.image_of_caption
    for answer in (*found.before, *found.after):
        right = owner[answer.index] == 7 if queries == "images" else answer.index == owner[7]
        assert answer.right == right
    ranks = again.before.i2t if queries == "images" else again.before.t2i
    if not ranks.tied[7]:
        assert found.places[0] == ranks.expected()[7] + 1


@pytest.mark.parametrize(("query", "queries"), [(8, "images"), (-1, "images"), (40, "captions")])
def test_a_query_that_is_not_there_is_told(tiny_run, query, queries):
    run = tiny_run("RFE")
    with pytest.raises(DataError, match=f"There is no query {query}: .* has .* {queries} here"):
        rerank_explorer(run, query=query, queries=queries)


def test_turning_the_controls_changes_the_picture(tiny_run):
    explorer = rerank_explorer(tiny_run("RFE"), Settings(10, 6, 0.3), query=7)
    pictures = [bytes(explorer.picture_box.value)]
    for control, value in ((explorer.k1, 3), (explorer.lam, 1.0), (explorer.number, 3)):
        control.value = value
        pictures.append(bytes(explorer.picture_box.value))
    assert explorer.settings == Settings(3, 4, 1.0)  # k2 had to follow k1
    assert explorer.query == 2
    explorer.k2.value = 1
    assert explorer.settings.k2 == 1
    assert len(set(pictures)) == 4 and all(each.startswith(PNG) for each in pictures)


def test_the_other_side_has_other_queries(tiny_run):
    explorer = rerank_explorer(tiny_run("RFE"))
    explorer.side.value = "captions"
    explorer.number.value = 40
    assert (explorer.queries, explorer.query) == ("captions", 39)
    explorer.side.value = "images"
    assert (explorer.number.max, explorer.query) == (8, 7)
