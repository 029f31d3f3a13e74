"""Checks of notebook 10: the right half of a referral tree, and categories with back-off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xmr_course.checks import call, fail, passed
from xmr_lib.language.categories import Categories
from xmr_lib.language.parsing import Chunk
from xmr_lib.language.referral_tree import tree_of_chunks

_KINDS = {
    "dog": "fragment", "ball": "fragment", "red hat": "fragment", "park": "fragment",
    "run": "verb", "jump over": "verb", "wear": "participle", "in": "preposition",
    "on": "preposition", "and": "conjunction", "it": "other",
}  # fmt: skip
# What follows the root, and why it is asked.
_AFTER_ROOT = (
    ("ball in park", "an object, a relation, a fragment"),
    ("ball", "nothing but an object"),
    ("in park", "no object: the relation comes at once"),
    ("it in park", "a pronoun is no object"),
    ("ball it in it park", "what follows the relation is a pronoun"),
    ("ball park in", "the second fragment belongs to nothing"),
    ("jump over ball", "a second verb is a relation, too"),
    ("ball and dog in park", "the conjunction is the next relation"),
    ("", "nothing at all"),
)
_Half = tuple[str | None, str | None, str | None]


def right_half(function: Callable) -> None:
    """Checks `function(chunks) -> (object, relation, fragment)`: places 5, 6 and 7 of a tree.

    `chunks` are what follows the root, as `xmr_lib.language.parsing.Chunk`.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "right_half"
    results: list[_Half] = []
    for words, what in _AFTER_ROOT:
        chunks = _chunks(words)
        found = call(name, function, list(chunks))
        try:
            got = tuple(found)
        except TypeError:
            fail(name, f"returned {type(found).__name__}.", "Return three values.")
        if len(got) != 3:
            fail(name, f"returned {len(got)} values.", "Return object, relation and fragment.")
        results.append(got)
        if got != _right(chunks):
            shown = ", ".join(map(str, got))
            right = ", ".join(map(str, _right(chunks)))
            hint = _why(results, _HALF_MISTAKES, [_chunks(w) for w, _ in _AFTER_ROOT])
            fail(name, f"{words or 'no chunk'} ({what}): got {shown}, right is {right}.", hint)
    passed(name, len(_AFTER_ROOT))


def category_of(function: Callable) -> None:
    """Checks `function(fragment, dictionary) -> number`: its category, with back-off.

    `dictionary` maps texts to numbers; -1 stands for Null.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "category_of"
    words = {"dog": 0, "ball": 1, "red ball": 2, "fire": 3, "truck": 4}
    asked = ["dog", "red ball", "blue ball", "fire truck", "zebra", "wooden playhouse", None]
    categories = Categories(tuple(words), ("on",))
    results: list[Any] = []
    for fragment in asked:
        found = call(name, function, fragment, dict(words))
        results.append(found)
        right = categories.label(1, fragment)
        if found != right or isinstance(found, bool):
            hint = _why(results, _CATEGORY_MISTAKES, [(f, words) for f in asked])
            fail(name, f"{fragment!r}: got {found!r}, right is {right}.", hint)
    passed(name, len(asked))


def _chunks(words: str) -> list[Chunk]:
    """Texts of two words are written as one: "jump over"."""
    found, rest = [], words
    while rest:
        text = max((text for text in _KINDS if f"{rest} ".startswith(f"{text} ")), key=len)
        found.append(Chunk(_KINDS[text], "" if text == "it" else text))
        rest = rest[len(text) :].strip()
    return found


def _right(chunks: Sequence[Chunk]) -> _Half:
    return tree_of_chunks([Chunk("verb", "see"), *chunks]).nodes[4:]


def _why(results: Sequence[Any], mistakes: Sequence[tuple[Callable, str]], cases: Sequence) -> str:
    for wrong, hint in mistakes:
        pairs = zip(results, cases, strict=False)
        if all(
            result == (wrong(*case) if isinstance(case, tuple) else wrong(case))
            for result, case in pairs
        ):
            return hint
    return "Go through the rules again, one place at a time."


def _moving_up(chunks: Sequence[Chunk]) -> _Half:
    """The first two fragments and the first relation, wherever they stand."""
    fragments = [c.text for c in chunks if c.kind == "fragment"]
    relations = [c.text for c in chunks if c.kind not in ("fragment", "other")]
    fragments, relations = [*fragments, None, None], [*relations, None]
    return fragments[0], relations[0], fragments[1]


def _only_prepositions(chunks: Sequence[Chunk]) -> _Half:
    kept = [c for c in chunks if c.kind in ("fragment", "other", "preposition")]
    return _right(kept)


def _pronouns_vanish(chunks: Sequence[Chunk]) -> _Half:
    return _right([c for c in chunks if c.kind != "other"])


_HALF_MISTAKES = (
    (_moving_up, "Nothing moves up: a place without its own word stays None."),
    (_only_prepositions, "Verbs, participles and conjunctions are relations, too."),
    (_pronouns_vanish, "A pronoun is no node, but it keeps its neighbours apart."),
)
_CATEGORY_MISTAKES = (
    (
        lambda fragment, words: words.get(fragment, -1),
        "A fragment outside the dictionary backs off to its head noun, the last word.",
    ),
    (
        lambda fragment, words: -1 if fragment is None else words.get(
            fragment, words.get(fragment.split(" ")[0], -1)
        ),
        "The head noun is the *last* word: a fire truck is a truck.",
    ),
    (
        lambda fragment, words: -1 if fragment is None else words.get(fragment.split(" ")[-1], -1),
        "Look for the whole fragment first: a red ball has a category of its own.",
    ),
)  # fmt: skip
