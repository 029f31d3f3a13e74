"""Lesson 10: referral trees. The right half of a tree, and categories with back-off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xmr_course.lessons.checking import Check, fail, one_number
from xmr_course.lessons.drawing import panels, styled
from xmr_course.lessons.tree_drawing import plot_tree as plot_tree
from xmr_course.lessons.tree_drawing import plot_trees as plot_trees
from xmr_lib.errors import DataError
from xmr_lib.figures import BLACK, BLUE, ORANGE, Picture
from xmr_lib.language.categories import Categories
from xmr_lib.language.parsing import Chunk
from xmr_lib.language.referral_tree import tree_of_chunks


def cumulative_coverage(counts: ArrayLike) -> np.ndarray:
    """Share of all occurrences that the 1, 2, … most frequent categories make up, `(n,)`.

    >>> cumulative_coverage([1, 6, 3]).tolist()
    [0.6, 0.9, 1.0]
    """
    ordered = np.sort(np.asarray(counts, dtype=float))[::-1]
    return ordered.cumsum() / ordered.sum()


@styled
def plot_coverage(counts: Mapping[str, ArrayLike], sizes: Mapping[str, int]) -> Picture:
    """How many nodes a dictionary knows, against how many categories it keeps.

    Args:
        counts: Kind ("fragments", "relations") -> how often each category occurs, in any order.
        sizes: Kind -> how many categories are kept (SMFEA §4.2: 1,440 and 247).

    Raises:
        DataError: A kind has no category at all.
    """
    figure, grid = panels(4.6 * len(counts), 3.3, 1, len(counts), squeeze=False, sharey=True)
    for axes, (kind, each), colour in zip(grid[0], counts.items(), (BLUE, ORANGE), strict=False):
        if not np.sum(each):
            raise DataError(f"There are no {kind} to draw: give how often each category occurs.")
        share = 100 * cumulative_coverage(each)
        kept = min(sizes[kind], len(share))
        axes.plot(np.arange(1, len(share) + 1), share, color=colour)
        axes.axvline(sizes[kind], color=BLACK, linewidth=1.2, linestyle="--")
        axes.plot(kept, share[kept - 1], "o", color=BLACK, markersize=6)
        size = f"{kept:,} kept" if kept == sizes[kind] else f"there are only {kept:,}"
        axes.set_title(f"{kind}: {size}, {share[kept - 1]:.1f} %", fontsize=10)
        axes.set(xscale="log", xlabel="categories, most frequent first", ylim=(0, 104))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    grid[0, 0].set_ylabel("nodes that have a category, %")
    return figure


# --- the right half of a tree ---------------------------------------------------------------------

_Half = tuple[str | None, str | None, str | None]


def _right_half(chunks: Sequence[Chunk]) -> _Half:
    """`function(chunks) -> (object, relation, fragment)`: places 5, 6 and 7 of a tree.

    `chunks` are what follows the root, as `xmr_lib.language.parsing.Chunk`.
    """
    return tree_of_chunks([Chunk("verb", "see"), *chunks]).nodes[4:]


def _moving_up(chunks: Sequence[Chunk]) -> _Half:
    """The first two fragments and the first relation, wherever they stand."""
    fragments = [c.text for c in chunks if c.kind == "fragment"]
    relations = [c.text for c in chunks if c.kind not in ("fragment", "other")]
    fragments, relations = [*fragments, None, None], [*relations, None]
    return fragments[0], relations[0], fragments[1]


_KINDS = {
    "dog": "fragment",
    "ball": "fragment",
    "red hat": "fragment",
    "park": "fragment",
    "run": "verb",
    "jump over": "verb",
    "wear": "participle",
    "in": "preposition",
    "on": "preposition",
    "and": "conjunction",
    "it": "other",
}
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


def _chunks(words: str) -> list[Chunk]:
    """Texts of two words are written as one: "jump over"."""
    found, rest = [], words
    while rest:
        text = max((text for text in _KINDS if f"{rest} ".startswith(f"{text} ")), key=len)
        found.append(Chunk(_KINDS[text], "" if text == "it" else text))
        rest = rest[len(text) :].strip()
    return found


def _three_values(result: Any, *_: Any) -> tuple:
    try:
        values = tuple(result)
    except TypeError:
        fail(f"returned {type(result).__name__}.", "Return three values.")
    if len(values) != 3:
        fail(f"returned {len(values)} values.", "Return object, relation and fragment.")
    return values


_RULES = "Go through the rules again, one place at a time."
check_right_half = Check(
    _right_half,
    [(f"{words or 'no chunk'} ({what})", (_chunks(words),)) for words, what in _AFTER_ROOT],
    [
        _moving_up,
        "Nothing moves up: a place without its own word stays None.",
        lambda chunks: _right_half(
            [c for c in chunks if c.kind in ("fragment", "other", "preposition")]
        ),
        "Verbs, participles and conjunctions are relations, too.",
        lambda chunks: _right_half([c for c in chunks if c.kind != "other"]),
        "A pronoun is no node, but it keeps its neighbours apart.",
    ],
    _RULES,
    _three_values,
)

# --- categories -----------------------------------------------------------------------------------


def _category_of(fragment: str | None, dictionary: Mapping[str, int]) -> int:
    """`function(fragment, dictionary) -> number`: a fragment's category, with back-off.

    `dictionary` maps texts to numbers; -1 stands for Null.
    """
    return Categories(tuple(dictionary), ("on",)).label(1, fragment)


_WORDS = {"dog": 0, "ball": 1, "red ball": 2, "fire": 3, "truck": 4}
_ASKED = ("dog", "red ball", "blue ball", "fire truck", "zebra", "wooden playhouse", None)
check_category_of = Check(
    _category_of,
    [(repr(fragment), (fragment, _WORDS)) for fragment in _ASKED],
    [
        lambda fragment, words: words.get(fragment, -1),
        "A fragment outside the dictionary backs off to its head noun, the last word.",
        lambda fragment, words: (
            -1 if fragment is None else words.get(fragment, words.get(fragment.split(" ")[0], -1))
        ),
        "The head noun is the *last* word: a fire truck is a truck.",
        lambda fragment, words: -1 if fragment is None else words.get(fragment.split(" ")[-1], -1),
        "Look for the whole fragment first: a red ball has a category of its own.",
    ],
    _RULES,
    one_number,
)
