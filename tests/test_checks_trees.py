"""Checks of notebook 10 accept right solutions and explain wrong ones."""

from __future__ import annotations

import pytest
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed
from xmr_course.checks import trees as check


@pytest.mark.parametrize(("name", "n"), [("right_half", 9), ("category_of", 7)])
def test_the_notebooks_solution_passes_and_its_stub_does_not(name, n, capsys):
    getattr(check, name)(solution("10", name))
    assert f"✓ {name}: all {n} checks passed." in capsys.readouterr().out
    with pytest.raises(CheckFailed, match="is not written yet"):
        getattr(check, name)(stub("10", name))


def texts(chunks, *kinds):
    return [c.text for c in chunks if c.kind in kinds]


def first(values):
    return values[0] if values else None


def moving_up(chunks):
    fragments = texts(chunks, "fragment")
    relations = texts(chunks, "verb", "participle", "preposition", "conjunction")
    return first(fragments), first(relations), first(fragments[1:])


def scan(chunks, relations=("verb", "participle", "preposition", "conjunction"), skip=()):
    chunks = [c for c in chunks if c.kind in ("fragment", "other", *relations)]
    chunks = [c for c in chunks if c.kind not in skip]
    thing = chunks[0].text if chunks and chunks[0].kind == "fragment" else None
    for i, chunk in enumerate(chunks):
        if chunk.kind in relations:
            last = chunks[i + 1] if i + 1 < len(chunks) else None
            return thing, chunk.text, last.text if last and last.kind == "fragment" else None
    return thing, None, None


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (moving_up, "Nothing moves up"),
        (lambda chunks: scan(chunks, ("preposition",)), "Verbs, participles and conjunctions"),
        (lambda chunks: scan(chunks, skip=("other",)), "keeps its neighbours apart"),
        (lambda chunks: (None, None, None), "one place at a time"),
        (lambda chunks: ("ball", "in"), "object, relation and fragment"),
        (lambda chunks: 3, "three values"),
    ],
)
def test_wrong_halves_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.right_half(wrong)
    check.right_half(scan)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda f, d: d.get(f, -1), "backs off"),
        (lambda f, d: -1 if f is None else d.get(f, d.get(f.split()[0], -1)), "last"),
        (lambda f, d: -1 if f is None else d.get(f.split()[-1], -1), "whole fragment first"),
        (lambda f, d: 7, "one place at a time"),
    ],
)
def test_wrong_categories_are_explained(wrong, hint):
    with pytest.raises(CheckFailed, match=hint):
        check.category_of(wrong)
