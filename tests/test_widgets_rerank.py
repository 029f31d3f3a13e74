"""The explorer of re-ranking, driven by its controls as a hand would."""

import base64
import sys

import numpy as np
import pytest
import torch
import xmr_course.explorers
from xmr_course.explorers.rerank import Reranking, rerank_explorer

from xmr_lib import runs, toy
from xmr_lib.data import captioned
from xmr_lib.ensemble import Ensemble
from xmr_lib.errors import DataError
from xmr_lib.reranking import Settings

SMALL = {"epochs": 1, "word_dim": 8, "rnn_dim": 16, "joint_dim": 16, "batch_size": 16}
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rerank")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XMR_CACHE", str(folder / "cache"))
        data = captioned.load(toy.draw(n_train=24, n_val=6, n_test=8))
        yield data, folder / "runs"


def trained(places, name):
    data, root = places
    return runs.run(name, data, scale="toy", root=root, **SMALL)


@pytest.fixture(scope="module", params=["RFE", "SCAN t-i AVG"])
def run(request, places):
    return trained(places, request.param)


@pytest.mark.parametrize("settings", [Settings(5, 2, 0.3), Settings(3, 1, 1.0), Settings()])
def test_numbers_are_those_of_the_library(run, settings):
    again = Reranking(run)
    assert again.before.metrics() == pytest.approx(run.metrics)
    expected = run.evaluate(rerank=settings)[0]
    assert again.retrieval(settings).metrics() == pytest.approx(expected.metrics())
    on_val = Reranking(run, run.data.split("val")).retrieval(settings)
    assert len(on_val.i2t.greater) == 6


def test_another_weight_needs_no_new_fit(places, monkeypatch):
    again = Reranking(trained(places, "RFE"))
    first = again.distances(Settings(4, 2, 0.2))
    monkeypatch.setattr("xmr_course.explorers.rerank.rerank", None)  # a call would fail
    other = again.distances(Settings(4, 2, 0.9))
    jaccard, original = again.distances(Settings(4, 2, 0)), again.distances(Settings(4, 2, 1))
    torch.testing.assert_close(first, 0.8 * jaccard + 0.2 * original)
    torch.testing.assert_close(other, 0.1 * jaccard + 0.9 * original)


def test_an_ensemble_can_be_explored(places):
    both = Ensemble("VSE++ + RFE", (trained(places, "VSE++"), trained(places, "RFE")))
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
def test_a_query_that_is_not_there_is_told(places, query, queries):
    run = trained(places, "RFE")
    with pytest.raises(DataError, match=f"There is no query {query}: .* has .* {queries} here"):
        rerank_explorer(run, query=query, queries=queries)


def test_turning_the_controls_changes_the_picture(places):
    explorer = rerank_explorer(trained(places, "RFE"), Settings(10, 6, 0.3), query=7)
    pictures = [bytes(explorer.picture_box.value)]
    for control, value in ((explorer.k1, 3), (explorer.lam, 1.0), (explorer.number, 2)):
        control.value = value
        pictures.append(bytes(explorer.picture_box.value))
    assert explorer.settings == Settings(3, 4, 1.0)  # k2 had to follow k1
    assert explorer.query == 2
    explorer.k2.value = 1
    assert explorer.settings.k2 == 1
    assert len(set(pictures)) == 4 and all(each.startswith(PNG) for each in pictures)


def test_the_other_side_has_other_queries(places):
    explorer = rerank_explorer(trained(places, "RFE"))
    explorer.side.value = "captions"
    explorer.number.value = 39
    assert (explorer.queries, explorer.query) == ("captions", 39)
    explorer.side.value = "images"
    assert (explorer.number.max, explorer.query) == (7, 7)


def test_readers_without_widgets_see_the_picture(places):
    explorer = rerank_explorer(trained(places, "RFE"))
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert base64.b64decode(bundle["image/png"]).startswith(PNG)
    assert bundle["text/plain"] == "re-ranking explorer of RFE"


def test_without_ipywidgets_it_is_a_picture(places, monkeypatch, capsys):
    run = trained(places, "RFE")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    still = rerank_explorer(run, Settings(3, 1))
    assert "pip install ipywidgets" in capsys.readouterr().out
    assert still.picture().subfigs and repr(still).startswith("re-ranking of RFE. No controls")
    with pytest.raises(DataError, match="There is no query 8"):
        rerank_explorer(run, query=8)


def test_it_is_offered_by_the_package():
    assert xmr_course.explorers.rerank_explorer is rerank_explorer
