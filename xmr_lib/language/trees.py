"""Referral trees of a whole data set: in parallel, with a progress bar, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from xmr_lib.data.feature_store import write_atomically
from xmr_lib.errors import UnknownNameError
from xmr_lib.files import cache_dir
from xmr_lib.language import stanford
from xmr_lib.language.parsing import PARSERS
from xmr_lib.language.referral_tree import ReferralTree, referral_tree, tree_of_chunks
from xmr_lib.language.tagging import load_tagger

TREES_VERSION = 6  # to be raised whenever a caption's tree changes
CHUNK = 500  # captions that a process takes at once
FEW = 8000  # captions that are faster done here than by starting processes


def trees_of(
    captions: Sequence[str],
    tagger: str = "hanta",
    parser: str = "chunk",
    workers: int | None = None,
) -> list[ReferralTree]:
    """The referral tree of every caption, in their order; computed once, then read from the cache.

    Args:
        captions: Any texts.
        tagger: See `xmr_lib.language.tagging.TAGGERS`.
        parser: See `xmr_lib.language.parsing.PARSERS`.
        workers: Processes; by default all cores, and none beside this one for few captions.

    Raises:
        UnknownNameError: No such tagger or parser.
        DataError: The backend cannot be used here.
    """
    if parser not in PARSERS:
        raise UnknownNameError("parser", parser, PARSERS)
    load_tagger(tagger)  # a missing backend is told here, not by a process
    unique = list(dict.fromkeys(captions))
    file = _file(unique, tagger, parser)
    trees = _read(file, len(unique))
    if trees is None:
        trees = _compute(unique, tagger, parser, workers)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps([tree.nodes for tree in trees]).encode())
    found = dict(zip(unique, trees, strict=True))
    return [found[caption] for caption in captions]


def _file(captions: Sequence[str], tagger: str, parser: str) -> Path:
    content = json.dumps([TREES_VERSION, tagger, parser, captions]).encode()
    return cache_dir() / "trees" / f"{hashlib.sha256(content).hexdigest()[:20]}.json"


def _read(file: Path, n: int) -> list[ReferralTree] | None:
    """The trees in a cache file; None where it is missing or damaged, so that it is made again."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        trees = [ReferralTree(tuple(row)) for row in rows]
    except (OSError, ValueError, TypeError):
        return None
    fits = all(node is None or isinstance(node, str) for tree in trees for node in tree.nodes)
    return trees if fits and len(trees) == n else None


def _compute(
    captions: Sequence[str], tagger: str, parser: str, workers: int | None
) -> list[ReferralTree]:
    if parser == "stanford":
        return _by_stanford(captions, tagger)
    workers = workers or (1 if len(captions) < FEW else os.cpu_count() or 1)
    pieces = [captions[i : i + CHUNK] for i in range(0, len(captions), CHUNK)]
    bar = tqdm(total=len(captions), desc="referral trees", unit="caption")
    trees: list[ReferralTree] = []
    with bar:
        if workers == 1:
            for piece in pieces:
                trees += _some(piece, tagger)
                bar.update(len(piece))
            return trees
        try:
            # Spawned, not forked: this process may hold threads or a GPU.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, mp_context=context) as pool:
                for found in pool.map(_some, pieces, [tagger] * len(pieces)):
                    trees += found
                    bar.update(len(found))
        except (BrokenExecutor, OSError, AssertionError):
            # No processes here (sandbox, daemon, script without main guard): go on alone.
            for piece in pieces[len(trees) // CHUNK :]:
                trees += _some(piece, tagger)
                bar.update(len(piece))
    return trees


def _some(captions: Sequence[str], tagger: str) -> list[ReferralTree]:
    return [referral_tree(caption, tagger) for caption in captions]


def _by_stanford(captions: Sequence[str], tagger: str) -> list[ReferralTree]:
    tag = load_tagger(tagger)
    tagged = [tag(caption) for caption in captions]
    chunks, failed = stanford.parse(tagged, progress=True)
    if failed:
        warnings.warn(
            f"The Stanford parser found no parse for {failed} of {len(captions)} captions; they "
            "went through the parser 'chunk'.",
            stacklevel=3,
        )
    return [tree_of_chunks(each) for each in chunks]
