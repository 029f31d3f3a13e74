"""A run's index: kept in its folder, complete after kills, changed without training."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest
from samples import picture

from xmr_lib import index, runs, toy
from xmr_lib.__main__ import main
from xmr_lib.data import captioned
from xmr_lib.ensemble import Ensemble
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.index import of_run, opening, pictures

SIZES = {"word_dim": 12, "rnn_dim": 16, "joint_dim": 16, "epochs": 1, "batch_size": 32}
SIZES["vocabulary_threshold"] = 1


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("index")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XMR_CACHE", str(place / "cache"))
        yield place


@pytest.fixture(scope="module")
def data(folders):
    return captioned.load(toy.draw(n_train=30, n_val=10, n_test=12, folder=folders / "toy-tiny"))


@pytest.fixture(scope="module")
def run(folders, data):
    source = runs.DataSource(str(folders / "toy-tiny"))
    return runs.run("RFE", source, root=folders / "runs", **SIZES)


@pytest.fixture
def found(run, tmp_path):
    with index.of(run, folder=tmp_path / "index") as opened:
        yield opened


def names(hits) -> list[str]:
    return [hit.image_file.name for hit in hits]


def test_finds_what_the_run_finds(run, found):
    for sentence in ("a dog under a tree", "two red balls", run.report.captions[7]):
        mine, its = found.search_images(sentence, 5), run.search_images(sentence, 5)
        assert names(mine) == names(its)
        np.testing.assert_allclose([h.score for h in mine], [h.score for h in its], atol=1e-6)
        assert [h.index for h in mine] == [h.index for h in its]
    photo = run.report.image_files[3]
    mine, its = found.search_captions(photo, 7), run.search_captions(photo, 7)
    assert [(h.index, h.caption, h.image_file) for h in mine] == [
        (h.index, h.caption, h.image_file) for h in its
    ]


def test_the_second_search_encodes_nothing(run, tmp_path, monkeypatch):
    with index.of(run, folder=tmp_path) as first:
        before = names(first.search_images("a dog", 4))

    def encodes(*_):
        raise AssertionError("encoded again")

    monkeypatch.setattr(run, "encode_images", encodes)
    with index.of(run, folder=tmp_path) as second:
        assert names(second.search_images("a dog", 4)) == before


def test_parts_of_the_data_set(run, tmp_path):
    assert len(index.of(run, split="all", folder=tmp_path)) == 52
    assert len(index.of(run, split="val", folder=tmp_path)) == 10
    with pytest.raises(DataError, match="no split 'dev'"):
        index.of(run, split="dev", folder=tmp_path)


def test_loading_goes_on_after_a_kill(run, tmp_path, monkeypatch):
    monkeypatch.setattr(of_run, "_BATCH", 5)
    encode, batches = run.encode_images, []

    def killed_in_the_third(data):
        batches.append(data.n_images)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return encode(data)

    monkeypatch.setattr(run, "encode_images", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        len(index.of(run, folder=tmp_path))
    with index.of(run, folder=tmp_path) as again:
        assert len(again) == 12
        assert names(again.search_images("a dog", 12)) == names(run.search_images("a dog", 12))
    assert batches == [5, 5, 2, 2], "two batches were kept, the third came again"


def test_added_pictures_are_found_and_gone_when_removed(run, found, tmp_path):
    new = run.data.split("train").image_files[4]
    changes = found.add_pictures([new])
    assert (changes.added, changes.updated, changes.broken) == ([new.name], [], [])
    assert len(found) == 13
    caption = run.data.split("train").captions_of(4)[0]
    (query,) = run.encode_sentences([caption]).vectors.numpy()
    (hit,) = [h for h in found.search_images(caption, 13) if h.image_file == new]
    expected = float(run.encode_picture(new).vectors.numpy()[0] @ query)
    assert hit.score == pytest.approx(expected, abs=1e-5) and hit.index == 12
    assert found.add_pictures([new]).unchanged == [new.name]
    found.remove_pictures([new.name])
    assert new not in [h.image_file for h in found.search_images(caption, 13)]
    with pytest.raises(UnknownNameError, match="no picture named"):
        found.remove_pictures([new.name])


def test_a_picture_of_the_data_set_leaves_with_its_captions_and_comes_back(run, tmp_path):
    file = run.report.image_files[2]
    with index.of(run, folder=tmp_path) as found:
        assert len(found.search_captions(file, 60)) == 60
        found.remove_pictures([file.name])
        assert len(found) == 11
        assert file not in [h.image_file for h in found.search_captions(file, 60)]
    with index.of(run, folder=tmp_path) as again:  # it does not come back by itself
        assert len(again) == 11 and file not in again.files.values()
        assert len(again.search_captions(file, 60)) == 55
        assert again.add_pictures([file]).added == [file.name]
        assert names(again.search_images("a dog", 12)) == names(run.search_images("a dog", 12))


def test_a_changed_picture_changes_the_answer(run, found, tmp_path):
    one, other = run.data.split("train").image_files[:2]
    mine = tmp_path / "mine.png"
    mine.write_bytes(one.read_bytes())
    found.add_pictures([mine])
    before = {h.image_file.name: h.score for h in found.search_images("a dog", 13)}
    mine.write_bytes(other.read_bytes())
    assert found.add_pictures([mine]).updated == ["mine.png"]
    after = {h.image_file.name: h.score for h in found.search_images("a dog", 13)}
    assert len(after) == len(before) == 13
    expected = run.encode_picture(other).vectors @ run.encode_sentences(["a dog"]).vectors.T
    assert after["mine.png"] == pytest.approx(float(expected), abs=1e-5)
    assert after["mine.png"] != before["mine.png"]


def test_a_folder_with_a_broken_file(run, found, tmp_path):
    for seed in range(3):
        picture(tmp_path / "more" / "deep" / f"{seed}.jpg", seed)
    (tmp_path / "more" / "no.jpg").write_bytes(b"no picture")
    (tmp_path / "more" / "notes.txt").write_text("not meant")
    changes = found.add_pictures([tmp_path / "more"])
    assert changes.added == ["deep/0.jpg", "deep/1.jpg", "deep/2.jpg"]
    (complaint,) = changes.broken
    assert "no.jpg" in complaint
    assert len(found) == 15
    found.remove_pictures(["1.jpg"])  # its file name alone is enough
    assert "deep/1.jpg" not in found.files


def test_adding_goes_on_after_a_kill(run, tmp_path, monkeypatch):
    monkeypatch.setattr(of_run, "_PICTURES", 2)
    for seed in range(5):
        picture(tmp_path / "more" / f"{seed}.jpg", seed)
    encode, calls = pictures.encode, []

    def killed_in_the_second(run, files):
        calls.append(len(files))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(run, files)

    monkeypatch.setattr(pictures, "encode", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        index.of(run, folder=tmp_path / "i").add_pictures([tmp_path / "more"])
    with index.of(run, folder=tmp_path / "i") as again:  # any later use finishes the load
        assert len(again) == 17
    assert calls == [2, 2, 2, 1]


def test_names_that_clash_are_refused(tmp_path):
    for part in "ab":
        picture(tmp_path / part / "x.jpg")
    with pytest.raises(DataError, match=r"would both be called x\.jpg"):
        pictures.find([tmp_path / "a", tmp_path / "b"])
    assert list(pictures.find([tmp_path])) == ["a/x.jpg", "b/x.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        pictures.find([tmp_path / "empty"])
    with pytest.raises(DataError, match="no such picture"):
        pictures.find([tmp_path / "none.jpg"])


def test_batches_of_pictures_are_as_single_ones(run):
    files = run.data.image_files[:3]
    single = np.concatenate([run.encode_picture(file).vectors.numpy() for file in files])
    np.testing.assert_allclose(pictures.encode(run, files), single, atol=1e-5)


def test_other_weights_build_it_anew(run, tmp_path):
    with index.of(run, folder=tmp_path) as found:
        found.add_pictures([run.data.image_files[0]])
    about = tmp_path / "report" / "images" / "about.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"fingerprint": "other"}))
    with pytest.warns(UserWarning, match="built anew"), index.of(run, folder=tmp_path) as found:
        assert len(found) == 13, "added pictures are encoded again, too"


def test_ensembles_and_models_of_parts(run, data, folders, tmp_path):
    source = runs.DataSource(str(folders / "toy-tiny"))
    other = runs.run("VSE++", source, root=folders / "runs", **SIZES)
    both = Ensemble("RFE + VSE++", (run, other))
    with index.of(both, folder=tmp_path) as found:
        mine, its = found.search_images("a dog", 12), both.search_images("a dog", 12)
        assert names(mine) == names(its)
        np.testing.assert_allclose([h.score for h in mine], [h.score for h in its], atol=1e-6)
        new = run.data.image_files[0]
        assert found.add_pictures([new]).added == [new.name]
    scan = runs.run("SCAN t-i AVG", source, root=folders / "runs", **SIZES)
    with pytest.raises(DataError, match="no index can hold it"):
        index.of(scan, folder=tmp_path)


def test_regions_of_a_grid_can_be_added_and_boxes_not(run, data, folders, tmp_path):
    source = runs.DataSource(str(folders / "toy-tiny"))
    new = data.image_files[0]
    sizes = SIZES | {"node_dim": 8}
    grid = runs.run("CVSE", source, root=folders / "runs", regions="grid-4", **sizes)
    single = grid.encode_picture(new).vectors.numpy()
    np.testing.assert_allclose(pictures.encode(grid, [new]), single, atol=1e-5)
    boxes = runs.run("CVSE", source, root=folders / "runs", **sizes)
    with index.of(boxes, folder=tmp_path) as found:
        assert names(found.search_images("a dog", 3)) == names(boxes.search_images("a dog", 3))
        with pytest.raises(DataError, match="--regions grid"):
            found.add_pictures([new])


def test_refuses(run, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'faiss'"):
        index.of(run, "fais", folder=tmp_path)
    with pytest.raises(DataError, match="goes with the kind milvus"):
        index.of(run, uri="http://localhost:19530", folder=tmp_path)
    with pytest.raises(DataError, match="at least 1"):
        index.of(run, effort=0, folder=tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "pictures.json").write_text("{")
    with pytest.raises(DataError, match=r"pictures\.json"):
        len(index.of(run, folder=tmp_path))


def test_the_command_line_adds_searches_and_removes(run, capsys, tmp_path):
    new = picture(tmp_path / "mine.jpg")
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    main(["search", str(run.folder), "--add", str(new), str(tmp_path / "no.jpg")])
    said = capsys.readouterr().out
    assert "1 added, 0 updated, 0 unchanged" in said and "Left out: " in said
    main(["search", str(run.folder), "a dog", "--k", "13"])
    said = capsys.readouterr().out
    assert "mine.jpg" in said and f"Picture: {run.folder / 'search.png'}" in said
    main(["search", str(run.folder), "a dog", "--k", "13", "--remove", "mine.jpg"])
    said = capsys.readouterr().out
    assert said.startswith("Removed: mine.jpg") and said.count("mine.jpg") == 1


def test_a_run_of_somebody_else_is_searched_without_an_index(run, capsys, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EROFS, "read-only file system")

    monkeypatch.setattr(of_run, "write_state", refused)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(opening, "home", lambda run: tmp_path / "index")
    with pytest.warns(UserWarning, match="searched without an index"):
        main(["search", str(run.folder), "a dog", "--k", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[:2]] == names(run.search_images("a dog", 2))
    with pytest.raises(SystemExit):
        main(["search", str(run.folder), "a dog", "--split", "all"])
    assert "the index cannot be written" in capsys.readouterr().err


# --- faiss and milvus -----------------------------------------------------------------------------


@pytest.fixture(params=["faiss", "milvus"])
def other(request):
    pytest.importorskip({"faiss": "faiss", "milvus": "milvus_lite"}[request.param])
    return request.param


def test_other_kinds_find_the_same_and_follow_every_change(run, other, tmp_path):
    new = run.data.split("train").image_files[4]
    with index.of(run, other, folder=tmp_path) as found:
        mine, its = found.search_images("a dog", 12), run.search_images("a dog", 12)
        assert names(mine) == names(its)
        np.testing.assert_allclose([h.score for h in mine], [h.score for h in its], atol=1e-5)
        photo = run.report.image_files[3]
        assert {h.caption for h in found.search_captions(photo, 60)} == set(run.report.captions)
        assert found.add_pictures([new]).added == [new.name]
        assert new in [h.image_file for h in found.search_images("a dog", 13)]
        found.remove_pictures([photo.name])
        assert photo not in [h.image_file for h in found.search_images("a dog", 13)]
        assert len(found.search_captions(photo, 60)) == 55
    with index.of(run, folder=tmp_path) as exact:  # what is exact is shared
        files = [h.image_file for h in exact.search_images("a dog", 13)]
        assert new in files and photo not in files
        exact.remove_pictures([new.name])
    with index.of(run, other, folder=tmp_path) as again:
        assert new not in [h.image_file for h in again.search_images("a dog", 13)]


def test_recall_is_measured_when_the_content_changed(run, other, tmp_path, monkeypatch):
    calls = []
    real = of_run.measure
    monkeypatch.setattr(of_run, "measure", lambda *given: calls.append(1) or real(*given))
    with index.of(run, other, folder=tmp_path) as found:
        first = found.recall()
        assert (first["recall@1"], first["recall@10"], first["queries"]) == (1, 1, 60)
        assert found.recall() == first and len(calls) == 1
        assert found.recall("captions")["queries"] == 12 and len(calls) == 2
        found.add_pictures([run.data.image_files[0]])
        found.recall()
        assert len(calls) == 3
    with index.of(run, other, folder=tmp_path) as again:
        assert "13 images: recall@1 1.000, recall@10 1.000 against exact" in again.report()
        assert "(60 captions)" in again.report() and len(calls) == 3


def test_the_command_line_reports_recall(run, other, capsys, tmp_path):
    words = ["search", str(run.folder), "a dog", "--k", "3", "--index", other]
    main(words)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[:3]] == names(run.search_images("a dog", 3))
    assert "recall@10 1.000 against exact search" in lines[-1] and "ms a query" in lines[-1]
    if other == "milvus":
        main([*words, "--uri", str(tmp_path / "elsewhere.db")])
        assert (tmp_path / "elsewhere.db").is_dir()
        assert "Milvus Lite, all vectors compared" in capsys.readouterr().out


def test_other_weights_drop_the_old_collection(run, tmp_path):
    pytest.importorskip("milvus_lite")
    from pymilvus import MilvusClient

    uri = str(tmp_path / "all.db")
    with index.of(run, "milvus", uri=uri, folder=tmp_path / "i") as found:
        assert len(found.search_images("a dog", 12)) == 12
    about = tmp_path / "i" / "report" / "images" / "about.json"
    content = json.loads(about.read_text())
    about.write_text(json.dumps(content | {"fingerprint": "other"}))
    (state,) = about.parent.glob("milvus-*.json")
    old = json.loads(state.read_text())
    state.write_text(json.dumps(old | {"collection": "xmr_images_other"}))
    client = MilvusClient(uri)
    client.rename_collection(old["collection"], "xmr_images_other")
    with pytest.warns(UserWarning, match="built anew"):
        found = index.of(run, "milvus", uri=uri, folder=tmp_path / "i")
        assert len(found.search_images("a dog", 12)) == 12
    assert client.list_collections() == [old["collection"]]
    client.close()
    found.close()
