"""Trees of a data set: order, cache, processes."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor

import pytest

from xmr_lib.language import trees as module
from xmr_lib.language.referral_tree import referral_tree
from xmr_lib.language.trees import trees_of

CAPTIONS = ["A dog runs", "Two cats on a chair", "A dog runs", "", "A man rides a horse"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_trees_in_the_order_of_the_captions():
    assert trees_of(CAPTIONS) == [referral_tree(caption) for caption in CAPTIONS]
    assert trees_of([]) == []


def test_computed_once_then_read(cache):
    trees_of(CAPTIONS)
    (file,) = (cache / "trees").iterdir()
    file.write_text(file.read_text().replace("horse", "pony"))
    assert trees_of(tuple(CAPTIONS))[-1][5] == "pony"


@pytest.mark.parametrize(
    "content", [b"", b"[", b"[[1,2,3,4,5,6,7]]", b'[["a"]]', b"{}", b"[]", b"\xff\xfe"]
)
def test_damaged_cache_files_are_made_again(cache, content):
    first = trees_of(CAPTIONS)
    (file,) = (cache / "trees").iterdir()
    file.write_bytes(content)
    assert trees_of(CAPTIONS) == first
    assert trees_of(CAPTIONS) == first and len(file.read_bytes()) > len(content)


def test_other_backends_and_other_captions_have_files_of_their_own(cache):
    trees_of(CAPTIONS)
    trees_of(CAPTIONS[:2])
    assert len(list((cache / "trees").iterdir())) == 2


def test_processes_give_the_same(monkeypatch):
    """Many captions go to processes by default, and none of them is done here."""
    many = [f"{n} {caption}" for n in range(3) for caption in CAPTIONS]
    right = [referral_tree(caption) for caption in many]
    monkeypatch.setattr(module, "FEW", 1)
    monkeypatch.setattr(module, "CHUNK", 2)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(module, "referral_tree", lambda *_: pytest.fail("no process did it"))
    assert trees_of(many) == right


def test_processes_that_die_are_stood_in_for(monkeypatch):
    class DiesAfterOne:
        def __init__(self, *_, **__): ...

        def __enter__(self):
            return self

        def __exit__(self, *_): ...

        def map(self, function, pieces, taggers):
            yield function(pieces[0], next(iter(taggers)))
            raise BrokenExecutor("killed")

    monkeypatch.setattr(module, "FEW", 1)
    monkeypatch.setattr(module, "CHUNK", 2)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(module, "ProcessPoolExecutor", DiesAfterOne)
    assert trees_of(CAPTIONS) == [referral_tree(caption) for caption in CAPTIONS]
