"""Pictures of lesson 16: what grows how fast."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np

from xmr_lib import growth
from xmr_lib.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, Picture, style


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
        ("exact, float32", [growth.vector_bytes(i, d) for i in n], ORANGE, "--"),
        ("exact, int8", [growth.vector_bytes(i, d, "int8") for i in n], PURPLE, ":"),
        ("DISKANN, beside its disks", [growth.diskann_memory_bytes(i, d) for i in n], GREEN, "-."),
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
        text = f"one machine's memory, {growth.size(ram)}; grey: left free"
        axes.text(0.01, ram / 1e9, text, va="bottom", fontsize=9,
                  transform=axes.get_yaxis_transform())  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="captions", ylabel="GB in memory",
                 title=f"Memory of an index, vectors of {d} numbers – {growth.NOTE}")  # fmt: skip
        axes.legend(fontsize=9, loc="lower right")
        return figure
