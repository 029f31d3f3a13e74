"""Pictures of lesson 16: what an index finds, and what half a batch does not see."""

from __future__ import annotations

from itertools import pairwise

import matplotlib as mpl
import matplotlib.patches
import numpy as np
import pandas as pd

from xmr_lib.figures import BLUE, GREY, ORANGE, Picture, style


def plot_recall(frame: pd.DataFrame) -> Picture:
    """Recall against exact search, and milliseconds of a query, by how thoroughly it looks.

    Args:
        frame: Columns "effort" (lists looked into), "recall@1", "recall@10" and "milliseconds".
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(9, 3.4), layout="constrained")
        recall, time = figure.subplots(1, 2)
        for name, colour, marker, line in (
            ("recall@1", BLUE, "o", "-"), ("recall@10", ORANGE, "s", "--"),
        ):  # fmt: skip
            recall.plot(frame["effort"], frame[name], marker=marker, linestyle=line, color=colour,
                        label=name)  # fmt: skip
        recall.axhline(1, color=GREY, linewidth=1)
        recall.set(ylabel="part of the exact answers", title="What is found")
        recall.legend(loc="lower right")
        time.plot(frame["effort"], frame["milliseconds"], marker="D", color=BLUE)
        time.set(ylabel="milliseconds a query", title="What it costs", ylim=(0, None))
        for axes in (recall, time):
            axes.set_xscale("log", base=2)
            axes.set_xticks(frame["effort"], [f"{n}" for n in frame["effort"]])
            axes.minorticks_off()
            axes.set_xlabel("lists looked into")
        return figure


def plot_hardest(scores: np.ndarray, n_processes: int = 2) -> Picture:
    """A batch's scores with the hardest caption of each image, and the blocks of each process.

    Args:
        scores: `(batch, batch)`, right pairs on the diagonal.
        n_processes: Processes that share the batch.
    """
    wrong = np.where(np.eye(len(scores), dtype=bool), -np.inf, scores)
    rows, columns = np.arange(len(scores)), wrong.argmax(axis=1)
    ends = [len(scores) * i // n_processes for i in range(n_processes + 1)]
    owner = np.searchsorted(ends, rows, side="right")
    own = owner == owner[columns]
    with mpl.rc_context(style()):
        figure = Picture(figsize=(6, 4.8), layout="constrained")
        axes = figure.subplots()
        axes.grid(False)
        image = axes.imshow(scores, cmap="Greys")
        for start, end in pairwise(ends):
            corner, side = (start - 0.5, start - 0.5), end - start
            axes.add_patch(mpl.patches.Rectangle(corner, side, side, fill=False, linewidth=1.5))
        for kept, colour, marker, label in (
            (own, BLUE, "o", "seen by a process alone"), (~own, ORANGE, "^", "in another's share"),
        ):  # fmt: skip
            axes.plot(columns[kept], rows[kept], marker, color=colour, markersize=5, label=label,
                      markeredgecolor="white", markeredgewidth=0.5, linestyle="none")  # fmt: skip
        axes.set(xlabel="captions of the batch", ylabel="images of the batch")
        axes.set_title("Hardest caption of each image; frames: a process's own share")
        figure.colorbar(image, ax=axes, label="cosine")
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
        return figure
