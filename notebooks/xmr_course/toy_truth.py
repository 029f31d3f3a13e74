"""Checks referral trees against the ground truth of the toy scenes.

The scenes say which things they show and how these relate. A tree is right where its fragment
names a thing of the scene, and where its relation holds between the two things beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from xmr_lib.language.referral_tree import FRAGMENTS, ReferralTree, referral_tree
from xmr_lib.toy.scene import KINDS, Scene
from xmr_lib.toy.words import NOUNS, RELATIONS, VAGUE, VAGUE_PERSON

# Places of a fragment, a relation and a fragment that a tree puts beside each other.
TRIPLES = ((1, 2, 3), (1, 4, 5), (5, 6, 7))


@dataclass(frozen=True)
class ToyTruth:
    """Counts of nodes of trees, checked against the scenes that their captions describe.

    Attributes:
        trees: Trees looked at.
        fragments: Fragments that name a kind of thing (others, such as "grass", are not judged).
        true_fragments: Those whose thing is in the scene.
        relations: Relations between two such fragments whose words the scenes' writer uses.
        true_relations: Those that hold between two such things of the scene, in that direction.
        unjudged: Nodes that are neither.
    """

    trees: int
    fragments: int
    true_fragments: int
    relations: int
    true_relations: int
    unjudged: int

    def __str__(self) -> str:
        def line(what: str, true: int, all_of_them: int) -> str:
            share = 100 * true / max(1, all_of_them)
            return f"{what}: {true:,} of {all_of_them:,} judged are true ({share:.1f} %)"

        return "\n".join([
            line("fragments", self.true_fragments, self.fragments),
            line("relations", self.true_relations, self.relations),
            f"not judged: {self.unjudged:,} nodes of {self.trees:,} trees",
        ])  # fmt: skip


def toy_truth(trees: Sequence[ReferralTree], scenes: Sequence[Scene]) -> ToyTruth:
    """Judges trees by the scenes of their captions.

    Args:
        trees: One a caption.
        scenes: The caption's scene, in the same order; the same scene comes as often as it has
            captions.
    """
    fragments = true_fragments = relations = true_relations = nodes = 0
    for tree, scene in zip(trees, scenes, strict=True):
        nodes += sum(node is not None for node in tree.nodes)
        there = {thing.kind for thing in scene.things}
        for place in FRAGMENTS:
            named = _kinds(tree[place])
            fragments += bool(named)
            true_fragments += bool(named & there)
        for left, middle, right in TRIPLES:
            held = _held(tree[left], tree[middle], tree[right], scene)
            relations += held is not None
            true_relations += held is True
    judged = fragments + relations
    return ToyTruth(
        len(trees), fragments, true_fragments, relations, true_relations, nodes - judged
    )


def _kinds(fragment: str | None) -> frozenset[str]:
    """Kinds of thing that a fragment may name, by its head noun."""
    if fragment is None:
        return frozenset()
    return _kinds_of_noun().get(fragment.rsplit(" ", 1)[-1], frozenset())


@lru_cache(maxsize=1)
def _kinds_of_noun() -> dict[str, frozenset[str]]:
    """Head noun -> kinds, from the words that the captions' writer uses."""
    found: dict[str, set[str]] = defaultdict(set)
    for kind, nouns in NOUNS.items():
        vague = (*VAGUE.get(KINDS[kind].group, ()), *VAGUE_PERSON.get(kind, ()))
        for noun in (*nouns, *vague):
            found[noun.rsplit(" ", 1)[-1]].add(kind)
    return {noun: frozenset(kinds) for noun, kinds in found.items()}


def _held(left: str | None, relation: str | None, right: str | None, scene: Scene) -> bool | None:
    """Whether the scene holds what three nodes say; None where that cannot be judged."""
    subjects, objects = _kinds(left), _kinds(right)
    meant = _relations_of_node().get(relation or "", frozenset())
    if not (subjects and objects and meant):
        return None
    for name, turned in meant:
        for held in scene.relations:
            one, other = scene.things[held.subject].kind, scene.things[held.object].kind
            if turned:
                one, other = other, one
            if held.name == name and one in subjects and other in objects:
                return True
    return False


@lru_cache(maxsize=1)
def _relations_of_node() -> dict[str, frozenset[tuple[str, bool]]]:
    """A relation node's text -> relations it may mean, and whether subject and object are turned.

    The writer's own phrases go through the parser, so that both speak the same language. Hence a
    phrase that the parser garbles always in the same way is still understood, and is no error here.
    """
    found: dict[str, set[tuple[str, bool]]] = defaultdict(set)
    for name, words in RELATIONS.items():
        phrases = [(text, False) for text in (*words.finite, *words.participle)]
        phrases += [(text, True) for text in (*words.passive, *words.passive_participle)]
        for text, turned in phrases:
            tree = referral_tree(f"a dog {text} a cat")
            if tree[4] is not None and (tree[1], tree[5]) == ("dog", "cat"):
                found[tree[4]].add((name, turned))
    return {node: frozenset(meanings) for node, meanings in found.items()}
