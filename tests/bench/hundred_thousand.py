"""Evaluation and re-ranking of 20,000 images with 100,000 captions: time, and memory as they grow.

Nothing here is compared with plain code: whole tables of this size do not fit (re-ranking's would
take 58 GB each). Each row runs once, in a process of its own, beside a quarter of the same set:
memory that grows with the items, and not with their square, shows in the pair. CPU seconds are kept
beside those on the clock, because other programs may have been running.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm
from xmr_course.growth_page import DIMS, LIMIT, RANKS, RERANKING

from bench.attention import VARIANTS
from bench.rows import in_own_process, peak_bytes
from xmr_lib import evaluation, models, recipes
from xmr_lib.data.vocabulary import TokenizedCaptions
from xmr_lib.encoding import encode_captions
from xmr_lib.reranking import evaluate as evaluate_reranked
from xmr_lib.retrieval import top_k
from xmr_lib.similarity import Encoded, cosine_similarity, l2norm

N_IMAGES = (5_000, 20_000)
CAPTIONS = 5  # an image's
VOCABULARY = 8_000  # words, about as many as Flickr30K's captions repeat
STAGES = (256, 512, 1024, 2048)  # ResNet-152's

ONE_QUERY = "exact search, one query"
HUNDRED_QUERIES = "exact search, 100 queries at once"
ENCODING = "encoding captions, RFE of the paper's size"


def measure(
    n_images: Sequence[int] = N_IMAGES,
    dims: Sequence[int] = DIMS,
    tiles: int = 4,
    n_encoded: int = 2_048,
) -> pd.DataFrame:
    """Runs everything once, each in a process of its own.

    Args:
        n_images: Growing numbers of images, each with five captions.
        dims: Lengths of the vectors.
        tiles: SCAN's time is extrapolated from this many tiles of the largest set; 0 leaves SCAN
            out.
        n_encoded: Captions that are encoded.

    Returns:
        `work`, `images`, `captions`, `dims`; `seconds` and `cpu_seconds` (of one query, or of all);
        `megabytes` of the whole process and `input_megabytes`, what it held before the work began;
        `limit_megabytes` and `met`, where one was set; `how`, "measured" or from what it was
        extrapolated; `threads`, `machine`, `load` (programs that wanted a core) and `date`.
    """
    asked: list[tuple[str, str, dict[str, int | str]]] = [
        *((RANKS, "ranks", {"n_images": n, "dim": d}) for d in dims for n in n_images),
        *((RERANKING, "reranking", {"n_images": n, "dim": d}) for d in dims for n in n_images),
        *(
            (ONE_QUERY, "search", {"n": CAPTIONS * max(n_images), "dim": d, "queries": 1})
            for d in dims
        ),
        *(
            (HUNDRED_QUERIES, "search", {"n": CAPTIONS * max(n_images), "dim": d, "queries": 100})
            for d in dims
        ),
        (ENCODING, "encoding", {"n": n_encoded}),
    ]
    rows = []
    for work, function, arguments in tqdm(asked, desc="100,000 captions"):
        found = in_own_process(__name__, function, **arguments)
        limit = LIMIT if function in ("ranks", "reranking") else float("nan")
        images = arguments.get("n_images", 0)
        rows.append(
            _row(
                work,
                images,
                CAPTIONS * images or arguments["n"],
                arguments.get("dim", 1024),
                found,
                "measured",
                limit,
            )
        )
    for how in VARIANTS if tiles else ():
        rows.append(_scan_row(how.direction, how.pooling, max(n_images), tiles))
    return pd.DataFrame(rows)


def _row(
    work: str, images: int, captions: int, dim: int, found: dict[str, float], how: str, limit: float
) -> dict[str, object]:
    return {
        "work": work,
        "images": images,
        "captions": captions,
        "dims": dim,
        "seconds": found["seconds"],
        "cpu_seconds": found.get("cpu_seconds", float("nan")),
        "megabytes": found["peak"] / 1e6,
        "input_megabytes": found.get("input", float("nan")) / 1e6,
        "limit_megabytes": limit / 1e6,
        "met": found["peak"] < limit if limit == limit else None,
        "how": how,
        "threads": torch.get_num_threads(),
        "machine": machine(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else float("nan"),
        "date": datetime.date.today().isoformat(),
    }


def _scan_row(direction: str, pooling: str, n_images: int, tiles: int) -> dict[str, object]:
    """SCAN's time from some tiles, and the memory of a whole evaluation with all its features."""
    found = in_own_process(
        "bench.attention",
        "evaluate_some_tiles",
        n_images=n_images,
        n_captions=CAPTIONS * n_images,
        direction=direction,
        pooling=pooling,
        tiles=tiles,
    )
    how = f"time extrapolated from {tiles} of {found['all_tiles']:,.0f} tiles"
    work = f"ranks by SCAN {direction} {pooling}, float16 features"
    return _row(work, n_images, CAPTIONS * n_images, 1024, found, how, float("nan"))


def machine() -> str:
    """Name of the processor and the number of its cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    return f"{name.strip()}, {os.cpu_count()} cores"


# --- works, each for a process of its own ---------------------------------------------------------


def made_vectors(n_images: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images in topics of ten and five captions around each, in no more memory than they take."""
    generator = torch.Generator().manual_seed(seed)
    topics = torch.randn(max(n_images // 10, 1), dim, generator=generator)
    images = topics[torch.randint(len(topics), (n_images,), generator=generator)]
    captions = torch.empty(CAPTIONS * n_images, dim)
    for some, theirs in zip(images.split(500), captions.split(500 * CAPTIONS), strict=True):
        some.add_(torch.randn(some.shape, generator=generator))
        theirs.copy_(some.repeat_interleave(CAPTIONS, dim=0))
        # Long vectors bear more noise before the nearest image is another one.
        theirs.add_(torch.randn(theirs.shape, generator=generator), alpha=0.2 * dim**0.5)
    for some in (*images.split(500), *captions.split(2_500)):
        some.copy_(l2norm(some))
    return images, captions


def ranks(n_images: int, dim: int) -> dict[str, float]:
    """Ranks both ways by cosine."""
    images, captions = made_vectors(n_images, dim)
    owner = np.repeat(np.arange(n_images), CAPTIONS)
    return _timed(
        lambda: evaluation.evaluate(_cosine, Encoded(images), Encoded(captions), owner).metrics()
    )


def reranking(n_images: int, dim: int) -> dict[str, float]:
    """Re-ranking from vectors, and the ranks after it."""
    images, captions = made_vectors(n_images, dim)
    owner = np.repeat(np.arange(n_images), CAPTIONS)
    return _timed(lambda: evaluate_reranked(images, captions, owner).metrics())


@torch.inference_mode()
def search(n: int, dim: int, queries: int, repeats: int = 5) -> dict[str, float]:
    """The ten best of `n` vectors for a number of queries; median seconds of one query."""
    gallery, vectors = Encoded(_unit(n, dim)), Encoded(_unit(queries, dim, seed=1))
    each = [_timed(lambda: top_k(_cosine, vectors, gallery, k=10)) for _ in range(repeats + 1)][1:]
    median = {key: statistics.median(found[key] for found in each) for key in each[0]}
    return {**median, **{key: median[key] / queries for key in ("seconds", "cpu_seconds")}}


def encoding(n: int) -> dict[str, float]:
    """Captions of Flickr30K's lengths through an untrained RFE of the paper's size."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = models.build(recipes.get("RFE", "paper").model, VOCABULARY, STAGES)
    lengths = np.clip(rng.gamma(6, 2.05, n).astype(int), 2, 60) + 2
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = TokenizedCaptions(rng.integers(4, VOCABULARY, starts[-1]).astype(np.int32), starts)
    encode_captions(model, tokens)  # warms up
    return _timed(lambda: encode_captions(model, tokens))


def _unit(n: int, dim: int, seed: int = 0) -> Tensor:
    vectors = torch.empty(n, dim)
    generator = torch.Generator().manual_seed(seed)
    for some in vectors.split(2_500):
        some.copy_(l2norm(torch.randn(some.shape, generator=generator)))
    return vectors


def _cosine(images: Encoded, captions: Encoded) -> Tensor:
    return cosine_similarity(images.vectors, captions.vectors)


def _timed(work: Callable[[], object]) -> dict[str, float]:
    before, started, cpu = peak_bytes(), time.perf_counter(), time.process_time()
    found = work()
    taken = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "input": before,
    }
    return {**taken, "rsum": found["rsum"]} if isinstance(found, dict) else taken


# --- picture --------------------------------------------------------------------------------------
