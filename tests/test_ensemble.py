"""SCAN runs, ensembles and re-ranked results, on sixty toy scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_data import TINY, never

from xmr_lib import ensemble, evaluation, recipes, reranking, runs, toy
from xmr_lib.data import captioned
from xmr_lib.ensemble import Ensemble, Several, joined_vectors, mean_scores
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.similarity import Encoded, l2norm
from xmr_lib.sources import DataSource, features_of, grid_of

pytestmark = pytest.mark.usefixtures("beside_scenes")
OPTIONS = {"scale": "toy", **TINY}


def trained(name, scenes, **more):
    return ensemble.train(name, DataSource(str(scenes)), **{**OPTIONS, **more})


# --- runs of regions ------------------------------------------------------------------------------


def test_a_scan_run_is_trained_kept_opened_and_searched(scenes):
    run = trained("SCAN t-i AVG", scenes)
    assert run.features.kind == "boxes" and run.features.array.shape[1] == 5
    opened = runs.load(run.folder)
    np.testing.assert_allclose(opened.score_matrix(), run.score_matrix(), atol=1e-6)
    hits = opened.search_images("a dog under a tree", k=3)
    assert len(hits) == 3 and hits[0].image_file.is_file()
    own = opened.search_captions(4, k=2)
    assert own[0].score == pytest.approx(run.score_matrix()[4].max(), abs=1e-5)
    with pytest.raises(DataError, match="kind='grid'"):  # nobody knows the boxes of a photo
        opened.search_captions(scenes / "images" / "test_00000.png")


def test_a_scan_run_on_a_grid_searches_with_any_picture(scenes):
    run = trained("SCAN i-t LSE", scenes, regions="grid-4")
    assert run.features.array.shape[1] == 16
    opened = runs.load(run.folder)
    assert opened.regions == "grid-4" and opened.features.array.shape == run.features.array.shape
    by_file = opened.search_captions(opened.report.image_files[3], k=4)
    by_number = opened.search_captions(3, k=4)
    assert [hit.index for hit in by_file] == [hit.index for hit in by_number]
    np.testing.assert_allclose(
        [hit.score for hit in by_file], [hit.score for hit in by_number], atol=1e-4
    )


def test_the_whole_evaluation_equals_the_score_matrix(scenes):
    run = trained("SCAN t-i AVG", scenes)
    whole = evaluation.evaluate_scores(run.score_matrix(), run.report.image_of_caption)
    np.testing.assert_array_equal(run.retrieval.i2t.greater, whole.i2t.greater)
    np.testing.assert_array_equal(run.evaluate()[0].t2i.greater, whole.t2i.greater)


def test_kinds_of_features_are_not_mixed_up(scenes):
    data = DataSource(str(scenes)).load()
    with pytest.raises(DataError, match="SCAN t-i AVG needs regions"):
        runs.run("SCAN t-i AVG", data, features=features_of(data), **OPTIONS)
    with pytest.raises(DataError, match="RFE needs pooled features"):
        runs.run("RFE", data, features=features_of(data, of_regions=True), **OPTIONS)


@pytest.mark.parametrize("kind", ["grids", "grid-", "grid-x", "region.csv"])
def test_unknown_kinds_of_regions(kind):
    with pytest.raises(UnknownNameError, match="kind of regions"):
        grid_of(kind)


# --- ensembles ------------------------------------------------------------------------------------


def test_joined_vectors_have_the_mean_cosine_as_their_product():
    torch.manual_seed(0)
    images, captions = ([l2norm(torch.randn(n, d)) for d in (4, 7, 5)] for n in (3, 6))
    cosines = mean_scores([i @ c.T for i, c in zip(images, captions, strict=True)])
    joined = joined_vectors(images)
    torch.testing.assert_close(joined @ joined_vectors(captions).T, cosines)
    torch.testing.assert_close(joined.norm(dim=1), torch.ones(3))


def test_mean_of_scores_by_hand():
    assert mean_scores([torch.tensor([[0.2]]), torch.tensor([[0.6]])]).item() == pytest.approx(0.4)


def test_an_ensemble_scores_the_mean_of_its_members_and_searches_with_it(scenes):
    both = trained("VSE++ + SCAN t-i AVG", scenes)
    assert isinstance(both, Ensemble) and both.name == "VSE++ + SCAN t-i AVG"
    assert [run.name for run in both.runs] == ["VSE++", "SCAN t-i AVG"]
    mean = (both.runs[0].score_matrix() + both.runs[1].score_matrix()) / 2
    np.testing.assert_allclose(both.score_matrix(), mean, atol=1e-6)
    assert not both.compares_vectors
    ranks = evaluation.evaluate_scores(mean, both.report.image_of_caption)
    assert both.metrics == pytest.approx(ranks.metrics())
    hit = both.search_images(both.report.captions[7], k=1)[0]
    assert hit.index == mean[:, 7].argmax() and hit.score == pytest.approx(
        mean[:, 7].max(), abs=1e-5
    )
    assert both.seconds == sum(run.seconds for run in both.runs)


def test_an_ensemble_of_cosines_is_one_of_joined_vectors(scenes):
    both = trained("VSE++ + RFE", scenes)
    assert both.compares_vectors
    images, captions = both.encoded()
    assert isinstance(images, Several) and images.vectors.shape == (10, 32)
    np.testing.assert_allclose(
        both.score_matrix(), (images.vectors @ captions.vectors.T).numpy(), atol=1e-6
    )
    photo = both.encode_picture(both.report.image_files[2])
    torch.testing.assert_close(photo.vectors, images.vectors[2:3], atol=1e-4, rtol=0)


def test_members_are_reused(scenes, monkeypatch):
    trained("VSE++ + RFE", scenes)
    monkeypatch.setattr(runs.training, "train", never)
    assert trained("VSE++ + RFE", scenes).runs[0].name == "VSE++"
    assert trained("RFE-rerank", scenes).name == "RFE"


def test_members_of_different_data_are_refused(scenes, tmp_path):
    other = captioned.load(toy.draw(n_train=20, n_val=5, n_test=5, folder=tmp_path / "toy-other"))
    first, second = trained("VSE++", scenes), runs.run("VSE++", other, **OPTIONS)
    with pytest.raises(DataError, match="different data"):
        Ensemble("both", (first, second))


# --- re-ranking -----------------------------------------------------------------------------------


SMALL = reranking.Settings(k1=20, k2=2)  # untrained: images are nearest to images, so reach far


def test_reranking_of_cosines_takes_the_vectors(scenes):
    both = trained("VSE++ + RFE", scenes)
    images, captions = both.encoded()
    by_hand = reranking.evaluate(
        images.vectors, captions.vectors, both.report.image_of_caption, SMALL
    )
    assert both.evaluate(rerank=SMALL)[0].metrics() == by_hand.metrics()
    assert both.evaluate(rerank=SMALL)[0].metrics() != both.evaluate()[0].metrics()


@pytest.mark.parametrize("name", ["SCAN t-i AVG", "SCAN i-t LSE"])
def test_with_lambda_one_reranking_changes_no_order_of_scans_scores(scenes, name):
    """Not even where a log-sum-exp is above 1."""
    run = trained(name, scenes, lse=0.5)
    assert (run.score_matrix().max() > 1) == ("LSE" in name)
    same = run.evaluate(rerank=reranking.Settings(k1=20, k2=2, lam=1.0))[0].metrics()
    assert same["rsum"] == pytest.approx(run.metrics["rsum"], abs=1e-6)
    assert run.evaluate(rerank=SMALL)[0].metrics() != same


def test_reranking_within_the_folds_of_a_protocol(scenes, monkeypatch):
    run = trained("RFE", scenes)
    real = evaluation.protocol_parts
    monkeypatch.setattr(
        evaluation, "protocol_parts", lambda owner, protocol: real(owner, protocol, fold_size=2)
    )
    folds = run.evaluate("1k-folds", rerank=SMALL)
    assert [len(fold.i2t.greater) for fold in folds] == [2] * 5
    images, captions = run.encoded()
    alone = reranking.evaluate(
        images.vectors[2:4], captions.vectors[10:20], np.repeat([0, 1], 5), SMALL
    )
    np.testing.assert_array_equal(folds[1].t2i.greater, alone.t2i.greater)


def test_several_are_chosen_together():
    several = Several((Encoded(torch.eye(4)), Encoded(2 * torch.eye(4)[:, :2])))
    chosen = several[torch.tensor([3, 1])]
    assert len(several) == 4 and len(chosen) == 2
    assert [m.vectors.shape for m in chosen.members] == [(2, 4), (2, 2)]
    assert chosen.members[1].vectors[1].tolist() == [0, 2]


def test_every_printed_composition_can_be_taken_apart():
    for name in recipes.COMPOSED:
        assert recipes.compose(name).mark
