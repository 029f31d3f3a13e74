"""Dictionaries of fragments and relations: the categories that a tree's nodes are sorted into.

Built from the trees of the training captions by frequency (SMFEA §4.2: 1,440 fragments and 247
relations).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from xmr_lib.errors import DataError
from xmr_lib.files import atomic
from xmr_lib.language.referral_tree import FRAGMENTS, N_NODES, RELATIONS, ReferralTree

NULL = -1


@dataclass(frozen=True)
class Categories:
    """What nodes can be, most frequent first.

    Attributes:
        fragments: Categories of the leaves.
        relations: Categories of the other nodes.
    """

    fragments: tuple[str, ...]
    relations: tuple[str, ...]

    @classmethod
    def build(
        cls, trees: Iterable[ReferralTree], n_fragments: int = 1440, n_relations: int = 247
    ) -> Categories:
        """The most frequent fragments and relations of the trees (ties: alphabetically).

        Raises:
            DataError: There is not one fragment, or not one relation.
        """
        trees = list(trees)
        found = []
        for places, n, what in (
            (FRAGMENTS, n_fragments, "fragment"),
            (RELATIONS, n_relations, "relation"),
        ):
            counts = Counter(tree[place] for tree in trees for place in places if tree[place])
            if not counts:
                raise DataError(f"The captions' trees hold no {what}: are these English sentences?")
            ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            found.append(tuple(text for text, _ in ordered[:n]))
        return cls(*found)

    @cached_property
    def _numbers(self) -> tuple[dict[str, int], dict[str, int]]:
        return tuple(
            {text: i for i, text in enumerate(texts)} for texts in (self.fragments, self.relations)
        )

    def label(self, place: int, node: str | None) -> int:
        """The category of what stands at a place; `NULL` for nothing and for what is unknown.

        A fragment outside the dictionary backs off to its head noun ("wooden playhouse" to
        "playhouse").

        >>> Categories(("dog",), ("on",)).label(1, "brown dog")
        0
        """
        if node is None:
            return NULL
        fragments, relations = self._numbers
        if place not in FRAGMENTS:
            return relations.get(node, NULL)
        found = fragments.get(node)
        return fragments.get(node.rsplit(" ", 1)[-1], NULL) if found is None else found

    def labels(self, trees: Sequence[ReferralTree]) -> np.ndarray:
        """Categories of all places, `(n, 7)` int64, `NULL` where there is none."""
        found = [
            self.label(place, node) for tree in trees for place, node in enumerate(tree.nodes, 1)
        ]
        return np.array(found, dtype=np.int64).reshape(len(trees), N_NODES)

    def name(self, place: int, label: int) -> str | None:
        """The text of a category at a place; None for `NULL`."""
        if label == NULL:
            return None
        return (self.fragments if place in FRAGMENTS else self.relations)[label]

    def coverage(self, trees: Sequence[ReferralTree]) -> Coverage:
        """How much of what the trees say is in the dictionaries."""
        known = self.labels(trees) != NULL
        counts = []
        for places, numbers in zip((FRAGMENTS, RELATIONS), self._numbers, strict=True):
            nodes = [tree[place] for tree in trees for place in places if tree[place]]
            direct = sum(node in numbers for node in nodes)
            found = int(known[:, np.array(places) - 1].sum())
            counts.append((direct, found - direct, len(nodes) - found))
        null = [[node is None for node in tree.nodes] for tree in trees]
        return Coverage(np.array(counts), np.mean(null or np.zeros((1, N_NODES)), axis=0))

    def save(self, path: str | Path) -> None:
        """Writes a JSON object with the lists `fragments` and `relations`."""
        content = {"fragments": self.fragments, "relations": self.relations}
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False, indent=0), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Categories:
        """Reads what `save` wrote.

        Raises:
            DataError: The file is missing or damaged.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            lists = [content["fragments"], content["relations"]]
        except FileNotFoundError:
            raise DataError(f"No categories at {path}. Is this the folder of a run?") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} holds no categories ({error!r}); it needs a JSON object with the lists "
                "fragments and relations."
            ) from None
        for texts in lists:
            if not isinstance(texts, list) or {type(text) for text in texts} - {str}:
                raise DataError(f"{path}: fragments and relations must be lists of texts.")
            if len(set(texts)) != len(texts):
                raise DataError(f"{path} holds a category twice.")
        return cls(*map(tuple, lists))


@dataclass(frozen=True, eq=False)
class Coverage:
    """How many nodes that are not Null the dictionaries know.

    Attributes:
        nodes: Fragments and relations that are in the dictionary, whose head noun is, and that are
            lost (they become Null), `(2, 3)`.
        null: Share of trees whose place says nothing, `(7,)`.
    """

    nodes: np.ndarray
    null: np.ndarray

    def __str__(self) -> str:
        lines = []
        for kind, counts in zip(("fragments", "relations"), self.nodes, strict=True):
            direct, by_head, lost = 100 * counts / max(1, counts.sum())
            lines.append(
                f"{kind}: {counts.sum():,} nodes, {direct:.1f} % known, "
                f"{by_head:.1f} % by their head noun, {lost:.1f} % lost"
            )
        null = ", ".join(f"{place} {100 * share:.0f} %" for place, share in enumerate(self.null, 1))
        return "\n".join([*lines, f"Null: {null}"])
