"""How cost grows: SCAN's scores with images × captions, re-ranking with the number of items."""

from __future__ import annotations

import time
from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.ticker
import pandas as pd
import torch

from bench.attention import VARIANTS, random_parts
from bench.reranking import once
from bench.rows import in_own_process
from xmr_lib.cross_attention import CrossAttention, cross_attention_scores
from xmr_lib.figures import BLUE, GREEN, ORANGE, Picture, style

SCAN_IMAGES = (50, 100, 200, 400)
RERANK_IMAGES = (250, 500, 1000, 2000, 4000)


def measure(
    scan_images: Sequence[int] = SCAN_IMAGES, rerank_images: Sequence[int] = RERANK_IMAGES
) -> pd.DataFrame:
    """Seconds and memory for growing numbers of images with five captions each.

    Returns:
        `work`, `n` (pairs of image and caption, or items), `seconds`, and `megabytes` beyond the
        input (re-ranking only), each in a process of its own.
    """
    rows = []
    for n in scan_images:
        for how in VARIANTS:
            found = in_own_process(
                __name__, "scan", n_images=n, direction=how.direction, pooling=how.pooling
            )
            name = f"SCAN {how.direction} {how.pooling}"
            rows.append({"work": name, "n": 5 * n * n, "seconds": found["seconds"]})
    for n in rerank_images:
        found = in_own_process(once.__module__, "once", way="vectors", n_images=n)
        rows.append(
            {
                "work": "re-ranking",
                "n": 6 * n,
                "seconds": found["seconds"],
                "megabytes": (found["peak"] - found["input"]) / 1e6,
            }
        )
    return pd.DataFrame(rows)


@torch.inference_mode()
def scan(n_images: int, direction: str, pooling: str) -> dict[str, float]:
    """Scores `n_images` with five times as many captions."""
    images, captions = random_parts(n_images, 5 * n_images)
    how = CrossAttention(direction, pooling)
    cross_attention_scores(images[:8], captions[:40], how)  # warms up
    started = time.perf_counter()
    cross_attention_scores(images, captions, how)
    return {"seconds": time.perf_counter() - started}


def plot(frame: pd.DataFrame) -> Picture:
    """Both kinds of growth on logarithmic axes, beside thin lines of what a power law would be.

    Args:
        frame: As `measure` returns it.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(11, 3.6), layout="constrained")
        scores, seconds, memory = figure.subplots(1, 3)
        names = [name for name in frame["work"].unique() if name.startswith("SCAN")]
        for name, colour, marker in zip(names, (BLUE, ORANGE), "os", strict=True):
            some = frame[frame["work"] == name]
            scores.plot(some["n"], some["seconds"], marker=marker, color=colour, label=name)
        _guide(scores, some["n"], some["seconds"], 1, "∝ pairs")
        scores.set(title="SCAN scores", xlabel="images × captions", ylabel="seconds")
        items = frame[frame["work"] == "re-ranking"]
        seconds.plot(items["n"], items["seconds"], marker="D", color=GREEN, label="from vectors")
        _guide(seconds, items["n"], items["seconds"], 2, "∝ N²")
        seconds.set(title="Re-ranking: time", xlabel="N = images + captions", ylabel="seconds")
        memory.plot(items["n"], items["megabytes"], marker="D", color=GREEN, label="measured")
        dense = 2 * 4 * items["n"] ** 2 / 1e6  # distances and V, four bytes a number
        memory.plot(items["n"], dense, "--", color=ORANGE, label="two N × N tables (arithmetic)")
        memory.set(
            title="Re-ranking: memory beside the input", xlabel="N = images + captions", ylabel="MB"
        )
        for axes in (scores, seconds, memory):
            axes.set(xscale="log", yscale="log")
            axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())  # they would overlap
            axes.legend(fontsize=8)
        return figure


def _guide(axes, n: pd.Series, cost: pd.Series, power: int, label: str) -> None:
    """A thin line through the last point that grows with a power of n."""
    line = cost.iloc[-1] * (n / n.iloc[-1]) ** power
    axes.plot(n, line, ":", color="#767676", label=label)
