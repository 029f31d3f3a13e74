"""The first answer of `search` from the shell, and SCAN searched by a shortlist."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.rows import Row, at_most, in_turns
from xmr_lib import runs
from xmr_lib.index import Index
from xmr_lib.index.run_index import SHORTLIST

SENTENCE = "a dog under a tree"


def bench_search(repeats: int = 3) -> list[Row]:
    """The first answer of an encoded run beside a bare `import torch`; a shortlist beside all."""
    rfe, scan = runs.run("RFE", "toy"), runs.run("SCAN t-i AVG", "toy")
    bare = [sys.executable, "-c", "import torch; print()"]
    search = [sys.executable, "-m", "xmr_lib", "search", str(rfe.folder), SENTENCE]
    first_line(bare), first_line(search)  # the second encodes
    both = [(first_line(bare), first_line(search)) for _ in range(repeats)]
    torch_alone, ours = (statistics.median(seconds) for seconds in zip(*both, strict=True))
    work = "first answer of search, from the shell; plain: import torch alone"
    rows = [at_most(work, torch_alone, ours, 2)]
    with tempfile.TemporaryDirectory() as folder, Index(scan, folder=Path(folder)) as index:
        found = index.recall()
        everything, shortlist = in_turns(
            lambda: scan.search_images(SENTENCE), lambda: index.search_images(SENTENCE)
        )
        work = (
            f"SCAN among {len(index):,} images, shortlist of {SHORTLIST} (recall@1 "
            f"{found['recall@1']:.3f}, recall@10 {found['recall@10']:.3f}); plain: all scored"
        )
        rows.append(Row(work, everything, shortlist, "reported", everything / shortlist, None))
    return rows


def first_line(command: list[str]) -> float:
    """Seconds until a command prints its first line."""
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        process.stdout.readline()
        seconds = time.perf_counter() - started
        process.stdout.read()
    return seconds
