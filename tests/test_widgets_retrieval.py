"""The explorer of retrieval, driven by its controls as a hand would."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from xmr_course.explorers.found import find_captions, find_images, plot_found
from xmr_course.explorers.retrieval import CAPTIONS, IMAGES, RetrievalExplorer, retrieval_explorer

from xmr_lib.ensemble import Ensemble
from xmr_lib.errors import DataError

PNG = b"\x89PNG"


@pytest.fixture(scope="module", params=["RFE", "SCAN t-i AVG", "RFE + VSE++"])
def run(request, tiny_run):
    members = tuple(tiny_run(name) for name in request.param.split(" + "))
    return members[0] if len(members) == 1 else Ensemble(request.param, members)


@pytest.fixture
def rfe(tiny_run):
    return tiny_run("RFE")


def wrong_first(run, direction):
    """Queries whose first answer is wrong, from the whole score matrix."""
    scores, owner = run.score_matrix(), run.report.image_of_caption
    if direction == IMAGES:
        return np.flatnonzero(scores.argmax(0) != owner).tolist()
    return np.flatnonzero(owner[scores.argmax(1)] != np.arange(len(scores))).tolist()


@pytest.mark.parametrize("k", [1, 3, 99])
def test_a_sentence_finds_what_the_scores_say(run, k):
    report = run.report
    for caption in (0, 17, 39):
        found = find_images(run, report.captions[caption], report, k, caption)
        order = run.score_matrix()[:, caption].argsort(kind="stable")[::-1]
        own = report.image_of_caption[caption]
        place = 1 + order.tolist().index(own)
        shown = order[:k].tolist() + ([own] if place > k else [])
        assert [hit.index for hit in found.hits] == shown
        assert [hit.place for hit in found.hits][: min(k, 8)] == list(range(1, min(k, 8) + 1))
        assert found.hits[-1].place == max(min(k, 8), place)
        assert (found.place, found.right, found.n_searched) == (place, {own}, 8)
        assert found.success == (place == 1) and ("✓" in found.verdict) == (place == 1)


@pytest.mark.parametrize("k", [1, 4, 99])
def test_a_picture_finds_what_the_scores_say(run, k):
    report = run.report
    for image in (0, 7):
        found = find_captions(run, image, report, k)
        order = run.score_matrix()[image].argsort(kind="stable")[::-1]
        right = report.image_of_caption[order] == image
        assert found.place == 1 + right.argmax()
        assert [h.index for h in found.hits[:k]] == order[:k].tolist()
        assert len(found.hits) == min(k, 40) + (found.place > k)
        assert len(found.right) == 5 and found.hits[-1].caption


def test_a_sentence_of_two_pictures_is_right_with_both(rfe):
    report = rfe.report
    twin = replace(report, captions=(*report.captions[:39], report.captions[0]))
    assert find_images(rfe, twin.captions[0], twin).right == {0, 7}
    assert find_images(rfe, twin.captions[0], twin, caption=39).right == {7}


def test_any_picture_may_ask(run):
    file = run.report.image_files[2]
    if run.name.startswith("SCAN"):  # its regions are the true boxes, which only scenes have
        with pytest.raises(DataError, match="a picture alone"):
            find_captions(run, file, run.report)
        return
    found = find_captions(run, file, run.report, 3)
    own = find_captions(run, 2, run.report, 3)
    assert found.query == file and found.right is found.place is found.success is None
    assert [hit.index for hit in found.hits] == [hit.index for hit in own.hits[:3]]
    assert "is unknown" in found.verdict


def test_unknown_words_are_named_once(run):
    found = find_images(run, "a zorg, another ZORG and a quux", run.report)
    assert {"zorg", "quux"} <= set(found.unknown) and found.unknown.count("zorg") == 1
    assert "a" not in found.unknown


def test_next_failure_walks_through_all_of_them_and_starts_again(run, monkeypatch):
    monkeypatch.setattr(RetrievalExplorer, "draw", lambda self: None)  # pictures: other tests
    explorer = retrieval_explorer(run)
    for direction in (IMAGES, CAPTIONS):
        explorer.direction.value = direction
        expected = wrong_first(run, direction)
        start = explorer._last[direction]
        seen = []
        for _ in range(len(expected) + 1):
            explorer.next_failure.click()
            assert explorer.found.success is False
            seen.append(explorer.caption if direction == IMAGES else explorer.image)
        after = [q for q in expected if q > start] + [q for q in expected if q <= start]
        assert seen == [*after, after[0]] and len(expected) > 1
    explorer.direction.value = IMAGES
    assert explorer.sentence.value == run.report.captions[explorer.caption]


def test_without_failures_it_says_so_and_keeps_the_picture(rfe, monkeypatch):
    explorer = retrieval_explorer(rfe)
    before = bytes(explorer.picture_box.value)
    ranks = rfe.retrieval.t2i
    calm = replace(ranks, greater=0 * ranks.greater, tied=0 * ranks.tied)
    monkeypatch.setattr(rfe, "retrieval", replace(rfe.retrieval, t2i=calm, i2t=calm))
    explorer.next_failure.click()
    assert (
        explorer.message.value == "No failures: RFE puts a right answer first for every sentence."
    )
    assert bytes(explorer.picture_box.value) == before
    explorer.direction.value = CAPTIONS
    explorer.next_failure.click()
    assert explorer.message.value.endswith("for every picture.")


def test_ties_are_settled_by_the_search_itself(rfe, monkeypatch):
    explorer = retrieval_explorer(rfe)
    ranks = rfe.retrieval.t2i
    tied = replace(ranks, greater=0 * ranks.greater, tied=0 * ranks.tied + 1)
    monkeypatch.setattr(rfe, "retrieval", replace(rfe.retrieval, t2i=tied))
    explorer.next_failure.click()
    assert explorer.caption == next(q for q in wrong_first(rfe, IMAGES) if q > 0)


def test_typing_a_sentence_changes_the_picture(rfe):
    explorer = retrieval_explorer(rfe)
    pictures = [bytes(explorer.picture_box.value)]
    explorer.sentence.value = "two <b>dogs</b> by a quux"
    pictures.append(bytes(explorer.picture_box.value))
    assert explorer.caption is None and explorer.found.query == "two <b>dogs</b> by a quux"
    assert "never learnt" in explorer.message.value and "quux" in explorer.message.value
    assert "<b>" not in explorer.message.value
    explorer.answers.value = 3
    pictures.append(bytes(explorer.picture_box.value))
    assert len(explorer.found.hits) == 3
    explorer.sentence.value = rfe.report.captions[9]  # a caption of the test set, typed
    pictures.append(bytes(explorer.picture_box.value))
    assert explorer.found.place and explorer.caption is None
    assert len(set(pictures)) == 4 and all(each.startswith(PNG) for each in pictures)


def test_errors_are_said_and_the_picture_stays(rfe, tmp_path):
    explorer = retrieval_explorer(rfe)
    before, found = bytes(explorer.picture_box.value), explorer.found
    explorer.sentence.value = "   "
    assert "There are no words to search for" in explorer.message.value
    assert explorer.found is found and bytes(explorer.picture_box.value) == before
    explorer.sentence.value = "a dog"
    assert "no words" not in explorer.message.value
    explorer.direction.value = CAPTIONS
    explorer.file.value = str(tmp_path / "nothing.png")
    assert "there is no such image file" in explorer.message.value
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    explorer.file.value = str(tmp_path / "red.png")
    assert explorer.message.value == "" and explorer.found.query == tmp_path / "red.png"
    explorer.number.value = 4  # takes the file's place
    assert explorer.file.value == "" and explorer.found.right is not None


def test_a_picture_of_the_test_set_is_known_by_its_name(rfe):
    explorer = retrieval_explorer(rfe)
    explorer.direction.value = CAPTIONS
    for chosen, text in ((5, rfe.report.image_files[5].name), (2, str(rfe.report.image_files[2]))):
        explorer.file.value = text
        assert (explorer.image, explorer.file.value) == (chosen, "")
        assert explorer.found.query == rfe.report.image_files[chosen]
        assert explorer.message.value == f"Picture {chosen + 1} of 8: {explorer.found.query.name}"
        assert explorer.found.right is not None


def test_only_the_controls_of_the_asking_side_are_shown(rfe):
    explorer = retrieval_explorer(rfe)
    asking = (explorer.sentence, explorer.number, explorer.file)
    assert [control.layout.display for control in asking] == [None, "none", "none"]
    explorer.direction.value = CAPTIONS
    assert [control.layout.display for control in asking] == ["none", None, None]
    assert explorer.found.query == rfe.report.image_files[0]


def test_another_model_answers_the_same_question(tiny_run):
    both = Ensemble("both", (tiny_run("RFE"), tiny_run("SCAN t-i AVG")))
    explorer = retrieval_explorer([tiny_run("RFE"), tiny_run("RFE", seed=1), both, both])
    assert explorer.model.options == ("RFE, seed 0", "RFE, seed 1", "both (3)", "both (4)")
    explorer.sentence.value = "a dog"
    for name, run in explorer.models.items():
        explorer.model.value = name
        assert explorer.found.query == "a dog"
        assert [hit.index for hit in explorer.found.hits] == [
            hit.index for hit in run.search_images("a dog", 5)
        ]
    explorer.next_failure.click()
    assert explorer.caption in wrong_first(both, IMAGES)


def test_random_asks_queries_of_the_test_set(rfe):
    explorer = retrieval_explorer(rfe)
    seen = set()
    for _ in range(6):
        explorer.random.click()
        assert explorer.sentence.value == rfe.report.captions[explorer.caption]
        seen.add(explorer.caption)
    assert len(seen) > 3
    explorer.direction.value = CAPTIONS
    explorer.random.click()
    assert explorer.found.query == rfe.report.image_files[explorer.image]


def test_one_picture_is_a_gallery_too(rfe):
    explorer = retrieval_explorer(rfe, data=rfe.report.subset([4]), k=5)
    assert [hit.place for hit in explorer.found.hits] == [1] and explorer.found.success
    explorer.next_failure.click()  # a picture alone is always found
    assert "No failures" in explorer.message.value
    explorer.direction.value = CAPTIONS
    assert len(explorer.found.hits) == 5 and explorer.found.success


def test_other_data_have_their_own_ranks(rfe):
    val = rfe.data.split("val")
    explorer = retrieval_explorer(rfe, data=val)
    assert explorer.found.n_searched == 6
    explorer.next_failure.click()
    assert explorer.found.success is False and explorer.sentence.value in val.captions


def test_pictures_that_are_not_there_are_told_in_words(rfe):
    nowhere = replace(
        rfe.report, image_files=tuple(Path(f"/nowhere/{n}") for n in range(rfe.report.n_images))
    )
    for found in (
        find_images(rfe, nowhere.captions[0], nowhere, 3, 0),
        find_images(rfe, "a dog", nowhere, 3),
        find_captions(rfe, 2, nowhere, 3),
    ):
        axes = plot_found(found, nowhere).axes[0]
        assert len(axes.patches) == len(found.hits)
        first = nowhere.captions_of(found.hits[0].index)[0]
        told = first if isinstance(found.query, str) else found.hits[0].caption
        assert any(told[:15] in text.get_text().replace("\n", " ") for text in axes.texts)


def test_wrong_arguments_are_told(tiny_run, tmp_path, monkeypatch):
    rfe = tiny_run("RFE")
    with pytest.raises(DataError, match="at least one answer"):
        retrieval_explorer(rfe, k=0)
    with pytest.raises(DataError, match="nothing to explore"):
        retrieval_explorer([])
    with pytest.raises(DataError, match="no words"):
        retrieval_explorer(rfe, sentence=" ")
    other = replace(rfe, data=rfe.data.subset(np.arange(30)))
    with pytest.raises(DataError, match="report on different data"):
        retrieval_explorer([rfe, other])
