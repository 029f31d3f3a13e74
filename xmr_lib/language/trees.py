"""Referral trees of a whole data set: computed in parallel, and kept in the cache."""

from __future__ import annotations

import json
import multiprocessing
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from tqdm.auto import tqdm

from xmr_lib.errors import UnknownNameError
from xmr_lib.language import stanford
from xmr_lib.language.cache import cached
from xmr_lib.language.parsing import PARSERS
from xmr_lib.language.referral_tree import ReferralTree, referral_tree, tree_of_chunks
from xmr_lib.language.tagging import load_tagger

TREES_VERSION = 6  # to be raised whenever a caption's tree changes
CHUNK = 500  # captions that a process takes at once
FEW = 8000  # fewer captions are done sooner here than by starting processes


def trees_of(
    captions: Sequence[str], tagger: str = "hanta", parser: str = "chunk"
) -> list[ReferralTree]:
    """The referral tree of every caption, in their order; computed once, then read from the cache.

    Options and errors are those of `referral_tree`.
    """
    if parser not in PARSERS:
        raise UnknownNameError("parser", parser, PARSERS)
    load_tagger(tagger)  # a missing backend is reported here, not by a process
    unique = list(dict.fromkeys(captions))

    def make() -> list[ReferralTree]:
        if parser == "stanford":
            return _by_stanford(unique, tagger)
        return _in_processes(unique, tagger)

    def load(file: Path) -> list[ReferralTree]:
        trees = [ReferralTree(tuple(row)) for row in json.loads(file.read_text(encoding="utf-8"))]
        nodes = {type(node) for tree in trees for node in tree.nodes}
        if len(trees) != len(unique) or not nodes <= {str, type(None)}:
            raise ValueError("not the trees of these captions")
        return trees

    def save(trees: list[ReferralTree], file: Path) -> None:
        file.write_text(json.dumps([tree.nodes for tree in trees]), encoding="utf-8")

    trees = cached("trees.json", [TREES_VERSION, tagger, parser, unique], make, load, save)
    found = dict(zip(unique, trees, strict=True))
    return [found[caption] for caption in captions]


def _in_processes(captions: Sequence[str], tagger: str) -> list[ReferralTree]:
    workers = 1 if len(captions) < FEW else os.cpu_count() or 1
    pieces = [captions[i : i + CHUNK] for i in range(0, len(captions), CHUNK)]
    trees: list[ReferralTree] = []
    with tqdm(total=len(captions), desc="referral trees", unit="caption") as bar:

        def collect(results: Iterable[list[ReferralTree]]) -> None:
            for found in results:
                trees.extend(found)
                bar.update(len(found))

        if workers > 1:
            try:
                # Spawned, not forked: this process may hold threads or a GPU.
                context = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(workers, mp_context=context) as pool:
                    collect(pool.map(_some, pieces, repeat(tagger)))
            except (BrokenExecutor, OSError, AssertionError):
                pass  # no processes here (sandbox, daemon, script without main guard)
        collect(map(_some, pieces[-(-len(trees) // CHUNK) :], repeat(tagger)))
    return trees


def _some(captions: Sequence[str], tagger: str) -> list[ReferralTree]:
    return [referral_tree(caption, tagger) for caption in captions]


def _by_stanford(captions: Sequence[str], tagger: str) -> list[ReferralTree]:
    chunks, failed = stanford.parse(list(map(load_tagger(tagger), captions)), progress=True)
    if failed:
        warnings.warn(
            f"The Stanford parser found no parse for {failed} of {len(captions)} captions; the "
            "parser 'chunk' was used for them.",
            stacklevel=5,
        )
    return [tree_of_chunks(each) for each in chunks]
