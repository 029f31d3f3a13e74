"""A run's index and the command `search`: complete after kills, changed without training."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import picture, table

from xmr_lib import runs, toy
from xmr_lib.__main__ import main
from xmr_lib.data import captioned
from xmr_lib.ensemble import Ensemble
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.index import Index, run_index
from xmr_lib.retriever import score_table
from xmr_lib.sources import DataSource

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
def trained(folders, data):
    """Trains a recipe on the scenes, or finds it."""
    source = DataSource(str(folders / "toy-tiny"))

    def of(recipe: str, **more):
        return runs.run(recipe, source, root=folders / "runs", **SIZES, **more)

    return of


@pytest.fixture(scope="module")
def run(trained):
    return trained("RFE")


@pytest.fixture
def found(run, tmp_path):
    with Index(run, folder=tmp_path / "index") as opened:
        yield opened


@pytest.fixture(scope="module")
def photos(folders):
    """Twelve captioned photographs in three splits, and a run that was trained on them."""
    splits = ["train"] * 9 + ["val", "val", "test"]
    file = table(folders / "photos", 12, splits)
    return runs.run("VSE++", str(file.parent), backbone="toy", root=folders / "runs", **SIZES)


def names(hits) -> list[str]:
    return [hit.image_file.name for hit in hits]


def said(capsys, *words: object) -> str:
    """What a search prints."""
    capsys.readouterr()
    main(["search", *map(str, words)])
    return capsys.readouterr().out


# --- search ---------------------------------------------------------------------------------------


def test_finds_what_the_run_finds(run, found):
    for sentence in ("a dog under a tree", "two red balls", run.report.captions[7]):
        mine, its = found.search_images(sentence, 5), run.search_images(sentence, 5)
        assert [(h.index, h.image_file) for h in mine] == [(h.index, h.image_file) for h in its]
        np.testing.assert_allclose([h.score for h in mine], [h.score for h in its], atol=1e-6)
    photo = run.report.image_files[3]
    mine, its = found.search_captions(photo, 7), run.search_captions(photo, 7)
    assert [(h.index, h.caption, h.image_file) for h in mine] == [
        (h.index, h.caption, h.image_file) for h in its
    ]


def test_the_second_search_encodes_nothing(run, tmp_path, monkeypatch):
    with Index(run, folder=tmp_path) as first:
        before = names(first.search_images("a dog", 4))
    monkeypatch.setattr(run, "encode_images", None)  # a call would fail
    with Index(run, folder=tmp_path) as second:
        assert names(second.search_images("a dog", 4)) == before


def test_photographs_are_searched_all_and_toy_scenes_where_they_are_tested(run, photos, tmp_path):
    assert len(Index(run, folder=tmp_path / "a")) == 12
    assert len(Index(run, split="all", folder=tmp_path / "a")) == 52
    with pytest.raises(DataError, match="no split 'dev'"):
        Index(run, split="dev", folder=tmp_path)
    found = Index(photos, folder=tmp_path / "b")
    assert len(found) == 12 == len(photos.search_images("caption", 20))
    assert "Searched 12 images: photos in " in found.report()
    one = Index(photos, split="test", folder=tmp_path / "b")
    assert len(one) == 1 == photos.report.n_images
    assert "Searched 1 image: the split 'test' of photos in" in one.report()


def test_loading_continues_after_a_kill(run, tmp_path, monkeypatch):
    monkeypatch.setattr(run_index, "_BATCH", 5)
    encode, batches = run.encode_images, []

    def killed_in_the_third(data):
        batches.append(data.n_images)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return encode(data)

    monkeypatch.setattr(run, "encode_images", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        len(Index(run, folder=tmp_path))
    with Index(run, folder=tmp_path) as again:
        assert names(again.search_images("a dog", 12)) == names(run.search_images("a dog", 12))
    assert batches == [5, 5, 2, 2], "two batches were kept, the third came again"


def test_damaged_vectors_are_computed_again(run, tmp_path):
    with Index(run, folder=tmp_path) as found:
        before = found.search_images("a dog", 12)
    (file,) = tmp_path.rglob("vectors-*.safetensors")
    content = bytearray(file.read_bytes())
    content[-20] ^= 64
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"), Index(run, folder=tmp_path) as again:
        assert again.search_images("a dog", 12) == before


def test_other_weights_build_it_anew_and_keep_what_was_added(run, tmp_path, monkeypatch):
    new = run.data.split("train").image_files[4]
    with Index(run, folder=tmp_path) as found:
        found.add_pictures([new])
    monkeypatch.setattr(run_index, "_fingerprint", lambda *_, **__: "other")
    with Index(run, folder=tmp_path) as found:
        assert len(found) == 13
    assert len(list(tmp_path.rglob("vectors-*"))) == 1


# --- change ---------------------------------------------------------------------------------------


def test_added_pictures_are_found_and_gone_when_removed(run, found):
    new = run.data.split("train").image_files[4]
    changes = found.add_pictures([new])
    assert (changes.added, changes.updated, changes.broken) == ([new.name], [], [])
    caption = run.data.split("train").captions_of(4)[0]
    (query,) = run.encode_sentences([caption]).vectors.numpy()
    (hit,) = [h for h in found.search_images(caption, 13) if h.image_file == new]
    expected = float(run.encode_picture(new).vectors.numpy()[0] @ query)
    assert hit.score == pytest.approx(expected, abs=1e-5) and hit.index == 12
    assert found.add_pictures([new]).unchanged == [new.name]
    for _ in range(2):  # a command that was killed may be given again
        found.remove_pictures([new.name])
        assert new not in [h.image_file for h in found.search_images(caption, 13)]
    with pytest.raises(UnknownNameError, match="no picture named"):
        found.remove_pictures([run.report.image_files[0].name, "nobody.jpg"])
    assert len(found) == 12, "none is removed when one is unknown"


def test_a_picture_of_the_data_set_leaves_with_its_captions_and_comes_back(run, tmp_path):
    file = run.report.image_files[2]
    with Index(run, folder=tmp_path) as found:
        assert len(found.search_captions(file, 60)) == 60
        found.remove_pictures([file.name])
        assert len(found) == 11
        assert file not in [h.image_file for h in found.search_captions(file, 60)]
    with Index(run, folder=tmp_path) as again:
        assert len(again) == 11 and len(again.search_captions(file, 60)) == 55
        assert again.add_pictures([file]).added == [file.name]
        assert names(again.search_images("a dog", 12)) == names(run.search_images("a dog", 12))
        assert len(again.search_captions(file, 60)) == 60


def test_a_changed_picture_is_noticed_and_a_vanished_one_left_out(run, found, tmp_path):
    one, other = run.data.split("train").image_files[:2]
    mine = tmp_path / "mine.png"
    mine.write_bytes(one.read_bytes())
    found.add_pictures([mine])
    before = {h.image_file.name: h.score for h in found.search_images("a dog", 13)}
    mine.write_bytes(other.read_bytes())
    found.close()  # a later search
    after = {h.image_file.name: h.score for h in found.search_images("a dog", 13)}
    assert [n for n in before if abs(before[n] - after[n]) > 1e-5] == ["mine.png"]
    assert found.add_pictures([mine]).unchanged == ["mine.png"]
    mine.unlink()
    found.close()
    with pytest.warns(UserWarning, match=r"Left out: .*mine\.png: there is no such"):
        assert len(found.search_images("a dog", 13)) == 12


def test_every_file_of_a_folder_is_added_or_named(run, found, tmp_path):
    folder = tmp_path / "new"
    for name in ("a.jpg", "deep/b.PNG", "c.jp2", "d.avif"):
        picture(folder / name, seed=len(name))
    (folder / "a.jpg").rename(folder / "no_ending.jpg")
    (folder / "broken.jpg").write_bytes((folder / "no_ending.jpg").read_bytes()[:300])
    (folder / "IMG.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "captions.csv").write_text("image,caption\n")
    (folder / ".DS_Store").write_bytes(b"x")
    changes = found.add_pictures([folder])
    assert changes.added == ["c.jp2", "d.avif", "deep/b.PNG", "no_ending.jpg"]
    assert len(changes.broken) == 3
    assert all(n in "".join(changes.broken) for n in ("broken.jpg", "IMG.HEIC", "captions.csv"))
    assert len(found) == 16
    found.remove_pictures(["b.PNG"])  # a file name that is there once
    assert len(found) == 15


def test_a_refused_addition_leaves_no_trace(run, trained, found, tmp_path):
    good = picture(tmp_path / "good.jpg")
    with pytest.raises(DataError, match="no such picture"):
        found.add_pictures([good, tmp_path / "nothing.jpg"])
    picture(tmp_path / "other" / "good.jpg")
    with pytest.raises(DataError, match="would both be called"):
        found.add_pictures([good, tmp_path / "other"])
    assert len(found) == 12
    boxes = trained("CVSE", node_dim=8)  # true boxes are known of the scenes alone
    with Index(boxes, folder=tmp_path / "boxes") as index:
        before = index.search_images("a dog", 12)
        with pytest.raises(DataError, match="boxes"):
            index.add_pictures([good])
        assert index.search_images("a dog", 13) == before


# --- other runs, other data -----------------------------------------------------------------------


def test_ensembles(run, trained, tmp_path):
    both = Ensemble("RFE + VSE++", (run, trained("VSE++")))
    with Index(both, folder=tmp_path) as found:
        mine, its = found.search_images("a dog", 12), both.search_images("a dog", 12)
        assert names(mine) == names(its)
        np.testing.assert_allclose([h.score for h in mine], [h.score for h in its], atol=1e-6)
        new = run.data.image_files[0]
        assert found.add_pictures([new]).added == [new.name]


@pytest.mark.parametrize("kind", ["exact", "faiss"])
def test_models_of_parts_score_a_shortlist(trained, tmp_path, monkeypatch, kind):
    scan = trained("SCAN t-i AVG", regions="grid-4")
    with Index(scan, kind, folder=tmp_path) as found:  # all are on the shortlist
        mine, its = found.search_images("a dog", 12), scan.search_images("a dog", 12)
        assert names(mine) == names(its)
        np.testing.assert_allclose([h.score for h in mine], [h.score for h in its], atol=1e-5)
        new = scan.data.image_files[0]
        found.add_pictures([new])
        assert new in [h.image_file for h in found.search_images("a dog", 13)]
        found.remove_pictures([new.name])
    monkeypatch.setattr(run_index, "SHORTLIST", 10)
    with Index(scan, kind, split="all", folder=tmp_path) as found:
        images, captions = scan.encoded(scan.data)
        some = np.unique(np.linspace(0, len(captions) - 1, 200).astype(int))
        captions = captions[torch.from_numpy(some)]
        pair = found._vectors(images, "images"), found._vectors(captions, "captions")
        near = torch.from_numpy(pair[0] @ pair[1].T).topk(10, dim=0).indices
        best = score_table(scan.score, images, captions).argmax(0)
        expected = float((near == best).any(0).double().mean())
        assert 0 < expected < 1
        assert found.recall()["recall@1"] == pytest.approx(expected)
        assert "the model's score of the 10 nearest; recall@1 0." in found.report()


def test_other_pictures_with_and_without_captions(run, tmp_path):
    file = table(tmp_path / "mine", 6)
    (tmp_path / "mine" / "images" / "note.txt").write_text("no picture")
    with Index(run, data=str(file.parent), folder=tmp_path / "index") as found:
        first = found.search_images("a dog", 9)
        assert len(first) == 6
        assert "6 images: mine in " in found.report()
        assert found.search_captions(first[0].image_file, 20)[0].caption.startswith("caption")
    bare = Index(run, data=str(file.parent / "images"), folder=tmp_path / "index")
    with pytest.warns(UserWarning, match=r"Left out: .*note\.txt"):
        second = bare.search_images("a dog", 9)
    assert [(h.image_file, round(h.score, 5)) for h in first] == [
        (h.image_file, round(h.score, 5)) for h in second
    ]
    with pytest.raises(DataError, match="no captions to search"):
        bare.search_captions(first[0].image_file)
    picture(tmp_path / "mine" / "images" / "new.jpg", seed=9)
    with pytest.warns(UserWarning):
        again = Index(run, data=str(file.parent / "images"), folder=tmp_path / "index")
        assert len(again.search_images("a dog", 9)) == 7


def test_refuses(run, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'faiss'"):
        Index(run, "fais", folder=tmp_path)
    with pytest.raises(DataError, match="goes with the kind milvus"):
        Index(run, uri="http://localhost:19530", folder=tmp_path)
    with pytest.raises(DataError, match="at least 1"):
        Index(run, effort=0, folder=tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "pictures.json").write_text("{")
    with pytest.raises(DataError, match=r"pictures\.json"):
        len(Index(run, folder=tmp_path))
    empty = Index(run, folder=tmp_path / "empty")
    empty.remove_pictures([file.name for file in run.report.image_files])
    with pytest.raises(DataError, match="no images to search"):
        empty.search_images("a dog")


# --- faiss and Milvus -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["faiss", "milvus"])
def test_other_kinds_find_the_same_and_follow_every_change(run, kind, tmp_path):
    pytest.importorskip({"faiss": "faiss", "milvus": "milvus_lite"}[kind])
    new, photo = run.data.split("train").image_files[4], run.report.image_files[3]
    with Index(run, kind, folder=tmp_path) as found:
        assert names(found.search_images("a dog", 12)) == names(run.search_images("a dog", 12))
        assert {h.caption for h in found.search_captions(photo, 60)} == set(run.report.captions)
        assert found.add_pictures([new]).added == [new.name]
        found.remove_pictures([photo.name])
        files = [h.image_file for h in found.search_images("a dog", 13)]
        assert new in files and photo not in files
        assert len(found.search_captions(photo, 60)) == 55
    with Index(run, folder=tmp_path) as exact:  # the exact vectors are shared
        assert [h.image_file for h in exact.search_images("a dog", 13)] == files
        exact.remove_pictures([new.name])
    with Index(run, kind, folder=tmp_path) as again:
        assert new not in [h.image_file for h in again.search_images("a dog", 13)]


def test_recall_is_measured_when_the_content_changed(run, tmp_path, monkeypatch):
    calls = []
    real = run_index.measure
    monkeypatch.setattr(run_index, "measure", lambda *given: calls.append(1) or real(*given))
    with Index(run, "faiss", folder=tmp_path) as found:
        first = found.recall()
        assert (first["recall@1"], first["recall@10"], first["queries"]) == (1, 1, 60)
        assert found.recall() == first and len(calls) == 1
        assert found.recall("captions")["queries"] == 12 and len(calls) == 2
        found.add_pictures([run.data.image_files[0]])
        assert "Searched 13 images" in found.report() and len(calls) == 3
        assert "recall@1 1.000, recall@10 1.000 against scoring" in found.report()
        assert "(60 captions)" in found.report() and len(calls) == 3


# --- the command ----------------------------------------------------------------------------------


def test_the_command_adds_searches_and_removes(run, capsys, tmp_path):
    new = picture(tmp_path / "mine.jpg")
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    text = said(capsys, run.folder, "--add", new, tmp_path / "no.jpg")
    assert "1 added, 0 updated, 0 unchanged" in text and "Left out: " in text
    text = said(capsys, run.folder, "a dog", "--k", "13")
    assert "mine.jpg" in text and "and 1 that were added" in text
    for _ in range(2):
        text = said(capsys, run.folder, "a dog", "--k", "13", "--remove", "mine.jpg")
        assert text.startswith("Removed: mine.jpg") and text.count("mine.jpg") == 1


@pytest.mark.parametrize("kind", ["faiss", "milvus"])
def test_the_command_reports_recall(run, kind, capsys, tmp_path):
    pytest.importorskip({"faiss": "faiss", "milvus": "milvus_lite"}[kind])
    more = ["--uri", tmp_path / "elsewhere.db"] if kind == "milvus" else []
    text = said(capsys, run.folder, "a dog", "--k", "3", "--index", kind, *more)
    assert [line.split()[2] for line in text.splitlines()[:3]] == names(
        run.search_images("a dog", 3)
    )
    assert "recall@10 1.000 against scoring everything" in text and "ms a query" in text


def test_unknown_words_are_named(run, capsys):
    text = said(capsys, run.folder, "a dog and a zebra")
    assert "RFE never learnt: zebra." in text and "mean nothing" not in text
    text = said(capsys, run.folder, "zebra quagga xylophone")
    assert "never learnt: zebra, quagga, xylophone." in text and "answers mean nothing" in text


def test_answers_come_first_and_anything_can_be_drawn(photos, capsys, tmp_path, monkeypatch):
    odd = picture(tmp_path / "it costs $5 or $x^$.jpg")
    text = said(capsys, photos.folder, "caption $\\frac$ \x1b[31m", "--k", "13", "--add", odd)
    assert odd.name in text and "\x1b" not in text
    assert Path(text.splitlines()[-1].removeprefix("Picture: ")).is_file()

    def unreadable(path):
        raise DataError(f"{path}: cannot be decoded")

    monkeypatch.setattr("xmr_lib.figures.open_image", unreadable)
    text = said(capsys, photos.folder, "caption", "--remove", odd.name)
    assert "Searched 12 images" in text and "Picture: " in text

    def full(*_):
        raise DataError("No space left")

    monkeypatch.setattr("xmr_lib.figures.save", full)
    with pytest.raises(SystemExit):
        said(capsys, photos.folder, "caption")
    assert "Searched 12 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["   "], "sentence is empty"),
        (["a dog", "--k", "0"], "--k must be at least 1"),
        (["a dog", "--out", "x.txt"], "a picture's name ends in"),
        (["--image", "nothing.jpg"], "there is no such picture"),
        ([], "Give a sentence"),
    ],
)
def test_the_command_says_what_is_wrong(run, words, message, capsys):
    with pytest.raises(SystemExit):
        main(["search", str(run.folder), *words])
    assert message in capsys.readouterr().err


def test_a_run_of_somebody_else_is_searched_without_an_index(run, capsys, tmp_path, monkeypatch):
    def refused(folder, _):
        raise DataError(f"{folder} cannot be written.") from OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(run_index, "locked", refused)
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="Searched without an index"):
        lines = said(capsys, run.folder, "a dog", "--k", "2").splitlines()
    assert [line.split()[2] for line in lines[:2]] == names(run.search_images("a dog", 2))
    with pytest.raises(SystemExit):
        said(capsys, run.folder, "a dog", "--split", "all")


def test_searches_at_once(run, folders):
    """Each prints its answers and saves a picture of its own query."""
    command = [sys.executable, "-m", "xmr_lib", "search", str(run.folder)]

    def search(word: str) -> str:
        done = subprocess.run([*command, f"a {word}", "--split", "val"], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return re.search(r"Picture: (.*)", done.stdout.decode())[1].strip()

    with ThreadPoolExecutor(2) as threads:
        files = list(threads.map(search, ("dog", "cat", "dog")))
    assert len(set(files)) == 2 and all(Path(file).is_file() for file in files)
