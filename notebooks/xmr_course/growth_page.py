"""From 100,000 captions to 100 million on a page: a table and a picture, both arithmetic."""

from __future__ import annotations

from dataclasses import asdict

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import pandas as pd

from xmr_course import growth
from xmr_lib.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, Picture, style

# What `make bench` measures at 100,000 captions: works, sizes of vectors, bytes of a process.
RANKS = "ranks and recalls, both ways"
RERANKING = "re-ranking, both ways, and ranks"
DIMS = (256, 1024)
LIMIT = 4e9


def table(
    rates: growth.Rates, sizes: tuple[int, ...] = growth.SIZES, ram: float = 64e9, workers: int = 1
) -> pd.DataFrame:
    """The page: what each size takes, in words; one column a size, and all of it arithmetic.

    Args:
        rates: See `measured`.
        sizes: Numbers of captions.
        ram: Bytes of one machine's memory.
        workers: Cores or GPUs that encode.
    """
    gigabytes = {
        "vectors, float32": "vectors_float32",
        "vectors, float16": "vectors_float16",
        "vectors, int8": "vectors_int8",
        "codes of 64 bytes": "pq_codes",
        "features of the images": "features",
        "regions of the images, float16": "regions",
        "IVF, in memory": "ivf",
        "HNSW, in memory": "hnsw",
        "IVF-PQ, in memory": "ivf_pq",
        "DISKANN, in memory": "diskann",
        "DISKANN, on disk": "diskann_disk",
        "evaluation, memory": "evaluation_memory",
        "re-ranking, memory": "reranking_memory",
    }
    who = f"{workers} worker{'s' * (workers > 1)}"
    times = {
        "an exact search for one query": "exact_seconds",
        f"encoding the captions, {who}": "caption_seconds",
        f"extracting the photos, {who}": "photo_seconds",
        "evaluation, one core": "evaluation_seconds",
        "re-ranking, one core": "reranking_seconds",
    }
    columns = {}
    for n in sizes:
        each = asdict(growth.plan(n, rates, ram=ram, workers=workers))
        columns[f"{n:,} captions"] = {
            "images": f"{each['images']:,}",
            **{name: size(each[key]) for name, key in gigabytes.items()},
            "multiply-adds of one query": f"{each['exact_products']:.1e}",
            "pairs of an evaluation": f"{each['evaluation_pairs']:.1e}",
            **{name: duration(each[key]) for name, key in times.items()},
            "index": each["index"],
            f"machines of {size(ram)}": str(each["machines"]),
        }
    frame = pd.DataFrame(columns)
    frame.index.name = growth.NOTE
    return frame


def size(n_bytes: float) -> str:
    """Bytes in words.

    >>> size(409.6e6), size(43.52e9), size(64e9), size(2.95e12)
    ('410 MB', '43.5 GB', '64 GB', '2.95 TB')
    """
    unit, name = next(((u, n) for u, n in ((1e12, "TB"), (1e9, "GB")) if n_bytes >= u), (1e6, "MB"))
    value = n_bytes / unit
    return f"{value:.3g} {name}" if value < 999.5 else f"{value:,.0f} {name}"


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(0.0213), duration(400), duration(2e5), duration(1e9)
    ('21 ms', '6.7 min', '2.3 days', '31.7 years')
    """
    units = (("years", 365.25 * 86400), ("days", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for name, unit in units:
        if seconds >= unit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{1000 * seconds:.0f} ms"


def plot_memory(
    rates: growth.Rates, ram: float = 64e9, sizes: tuple[int, ...] = growth.SIZES
) -> Picture:
    """Memory of each kind of index against the number of captions, and one machine's.

    Args:
        rates: They say how long a vector is.
        ram: Bytes of one machine's memory.
        sizes: Numbers of captions, of which the least and the largest count.
    """
    n = np.unique(np.geomspace(min(sizes), max(sizes), 25).round().astype(int))
    d = rates.dims
    lines = (
        ("HNSW (M = 32)", [growth.hnsw_bytes(i, d) for i in n], BLUE, "-"),
        ("exact or IVF, float32", [growth.ivf_bytes(i, d) for i in n], ORANGE, "--"),
        ("exact, int8", [growth.vector_bytes(i, d, "int8") for i in n], PURPLE, ":"),
        ("DISKANN, vectors on disk", [growth.diskann_memory_bytes(i, d) for i in n], GREEN, "-."),
        (
            "IVF-PQ (64 bytes)",
            [growth.ivf_pq_bytes(i, d) for i in n],
            VERMILION,
            (0, (5, 1, 1, 1, 1, 1)),
        ),
    )
    with mpl.rc_context(style()):
        figure = Picture(figsize=(8, 4.6), layout="constrained")
        axes = figure.subplots()
        for name, n_bytes, colour, line in lines:
            axes.plot(n, np.array(n_bytes) / 1e9, color=colour, linestyle=line, label=name)
        axes.axhline(ram / 1e9, color=BLACK, linewidth=1)
        axes.axhspan(growth.USABLE * ram / 1e9, ram / 1e9, color=GREY, alpha=0.25, linewidth=0)
        text = f"one machine's memory, {size(ram)}; grey: left free"
        axes.text(
            0.01, ram / 1e9, text, va="bottom", fontsize=9, transform=axes.get_yaxis_transform()
        )
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="captions",
            ylabel="GB in memory",
            title=f"Memory of an index, vectors of {d} numbers – {growth.NOTE}",
        )
        axes.legend(fontsize=9, loc="lower right")
        return figure


def plot_measured(frame: pd.DataFrame) -> Picture:
    """Memory of the whole process against the number of items, and CPU seconds.

    Args:
        frame: Rows of `bench_100k.csv`.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(10, 3.8), layout="constrained")
        memory, seconds = figure.subplots(1, 2)
        for work, colour in ((RANKS, BLUE), (RERANKING, ORANGE)):
            for dim, marker, line in zip(DIMS, "os", ("--", "-"), strict=True):
                some = frame[(frame["work"] == work) & (frame["dims"] == dim)]
                items = some["images"] + some["captions"]
                look = {"marker": marker, "linestyle": line, "color": colour}
                name = f"{work.split(',')[0].replace(' and recalls', '')}, {dim} numbers"
                memory.plot(items, some["megabytes"] / 1e3, label=name, **look)
                seconds.plot(items, some["cpu_seconds"], **look)
        memory.axhline(LIMIT / 1e9, color=GREY, linewidth=1)
        memory.text(
            0.02,
            LIMIT / 1e9,
            "limit",
            color=GREY,
            va="bottom",
            transform=memory.get_yaxis_transform(),
        )
        last = frame[frame["work"] == RERANKING]
        most = last["images"] + last["captions"]
        n = np.array([most.min(), most.max()])
        top = last["cpu_seconds"].max()
        seconds.plot(n, top * (n / n[-1]) ** 2, ":", color=GREEN, label="∝ items²")
        memory.set(title="Memory of the whole process, input included", ylabel="GB", ylim=(0, None))
        seconds.set(title="CPU time", ylabel="CPU seconds", xscale="log", yscale="log")
        seconds.set_xticks(n, [f"{each:,}" for each in n])
        seconds.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        memory.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
        for axes in (memory, seconds):
            axes.set_xlabel("images + captions")
        memory.legend(fontsize=8, loc="center left", bbox_to_anchor=(0.0, 0.72))
        seconds.legend(fontsize=8)
        return figure
