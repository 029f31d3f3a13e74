"""Lesson 16: growing. What an index finds and needs, and what half a batch does not see."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Rectangle

from xmr_course.lessons.checking import Case, Check, one_number
from xmr_course.lessons.drawing import draw_lines, legend_outside, panels, styled
from xmr_lib.figures import BLUE, GREY, ORANGE, Picture


@styled
def plot_recall(frame: pd.DataFrame) -> Picture:
    """Recall against exact search, and milliseconds of a query, by how thoroughly it looks.

    Args:
        frame: Columns "effort" (lists looked into), "recall@1", "recall@10" and "milliseconds".
    """
    figure, (recall, time) = panels(9, 3.4, 1, 2)
    draw_lines(recall, frame["effort"], {name: frame[name] for name in ("recall@1", "recall@10")})
    recall.axhline(1, color=GREY, linewidth=1)
    recall.set(ylabel="part of the exact answers", title="What is found")
    draw_lines(time, frame["effort"], {"milliseconds": frame["milliseconds"]}, legend=False)
    time.set(ylabel="milliseconds for a query", title="What it costs", ylim=(0, None))
    for axes in (recall, time):
        axes.set_xscale("log", base=2)
        axes.set_xticks(frame["effort"], [f"{n}" for n in frame["effort"]])
        axes.minorticks_off()
        axes.set_xlabel("lists looked into")
    return figure


@styled
def plot_hardest(scores: np.ndarray, n_processes: int = 2) -> Picture:
    """A batch's scores with the hardest caption of each image, and the blocks of each process.

    `scores`: `(batch, batch)`, right pairs on the diagonal.
    """
    n = len(scores)
    hardest = np.where(np.eye(n, dtype=bool), -np.inf, scores).argmax(axis=1)
    ends = [n * i // n_processes for i in range(n_processes + 1)]
    owner = np.searchsorted(ends, np.arange(n), side="right")
    figure, axes = panels(6, 4.8)
    sns.heatmap(
        scores, cmap="Greys", cbar_kws={"label": "cosine"}, xticklabels=10, yticklabels=10, ax=axes
    )
    for start, end in pairwise(ends):
        side = end - start
        axes.add_patch(Rectangle((start, start), side, side, fill=False, linewidth=1.5))
    for kept, colour, marker, label in (
        (owner == owner[hardest], BLUE, "o", "seen by a process alone"),
        (owner != owner[hardest], ORANGE, "^", "in another's share"),
    ):
        places = hardest[kept] + 0.5, np.flatnonzero(kept) + 0.5
        look = {"markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.5}
        axes.plot(*places, marker, color=colour, label=label, **look)
    axes.set(xlabel="captions of the batch", ylabel="images of the batch")
    axes.set_title("Hardest caption of each image; frames: a process's own share")
    legend_outside(figure, axes)
    return figure


# --- memory of a graph ----------------------------------------------------------------------------


def _index_bytes(n: int, dims: int, links: int) -> int:
    """`function(n, dims, links) -> bytes` of a graph (HNSW) in memory.

    Each of `n` vectors has `dims` numbers and `2 * links` links, four bytes each.
    """
    return n * (4 * dims + 2 * links * 4)


check_index_bytes = Check(
    _index_bytes,
    [
        ("one vector of 2 numbers, M = 1", (1, 2, 1)),
        ("a million vectors of 1,024 numbers, M = 32", (1_000_000, 1024, 32)),
        ("10,000 vectors of 128 numbers, M = 16", (10_000, 128, 16)),
    ],
    [
        lambda n, dims, links: n * 4 * dims,
        "Those are the vectors alone: the graph's links are missing.",
        lambda n, dims, links: n * (4 * dims + links * 4),
        "On the lowest level a vector has 2 · M links, not M.",
        lambda n, dims, links: n * (4 * dims + 2 * links),
        "A link is a number of four bytes, too.",
        lambda n, dims, links: n * 4 * dims + 2 * links * 4,
        "Every vector has links of its own: multiply both parts by n.",
        lambda n, dims, links: n * (dims + 2 * links),
        "These are numbers, not bytes: each takes four.",
        lambda n, dims, links: n * (8 * dims + 2 * links * 8),
        "float32 and int32 take four bytes, not eight.",
        lambda n, dims, links: _index_bytes(n, dims, links) / 1e9,
        "Bytes are asked for, not gigabytes.",
    ],
    "Four bytes for each number of a vector, four for each link, and that n times.",
    one_number,
)

# --- recall of a search ---------------------------------------------------------------------------


def _recall_of_search(found: np.ndarray, exact: np.ndarray) -> float:
    """`function(found, exact) -> share`: how many of the exact answers a search has found.

    Both `(n_queries, k)` hold positions; -1 in `found` stands where the search gave up.
    """
    return _over_rows(lambda f, e: len(f & e) / exact.shape[1])(found, exact)


def _over_rows(share: Callable[[set, set], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    """Mean over the queries of what is made of the two rows as sets."""

    def mean(found: np.ndarray, exact: np.ndarray) -> float:
        rows = zip(found.tolist(), exact.tolist(), strict=True)
        return float(np.mean([share(set(f), set(e)) for f, e in rows]))

    return mean


def _searches() -> list[Case]:
    exact, rng = np.array([[3, 1, 4], [5, 9, 2]]), np.random.default_rng(16)
    random = [np.stack([rng.permutation(14)[:8] for _ in range(20)]) for _ in range(2)]
    return [
        ("all found, in another order", (np.array([[4, 3, 1], [5, 2, 9]]), exact)),
        ("one of three, then two", (np.array([[3, 7, 8], [0, 9, 5]]), exact)),
        ("places of another query", (np.array([[5, 9, 2], [3, 1, 9]]), exact)),
        ("a search that gave up", (np.array([[1, -1, -1], [-1, -1, -1]]), exact)),
        ("20 queries, k = 8", tuple(random)),
    ]


check_recall_of_search = Check(
    _recall_of_search,
    _searches(),
    [
        lambda found, exact: (found == exact).mean(),
        "That asks for the same answer at the same place. An answer may stand elsewhere in its "
        "row: compare the rows as sets.",
        lambda found, exact: np.isin(found, exact).mean(),
        "np.isin looks in the whole table: an answer to another query is not found. Go row by row.",
        _over_rows(lambda f, e: bool(f & e)),
        "That counts a query as right when any one is found: recall counts each of the k.",
        lambda found, exact: (found[:, 0] == exact[:, 0]).mean(),
        "Only the first place is compared: all k count.",
        _over_rows(lambda f, e: len(f & e) / len(f | e)),
        "Divide by k, the number of exact answers, and not by the union.",
        lambda found, exact: _recall_of_search(found, exact) * found.size / (found >= 0).sum(),
        "Divide by the number of exact answers: a search that gives up has not found the rest.",
        lambda found, exact: 100 * _recall_of_search(found, exact),
        "A share between 0 and 1, not percent.",
        _over_rows(lambda f, e: len(f & e)),
        "That is the number found for a query: divide by k.",
    ],
    "For one query: how many positions are in both rows? Divide by k, and take the mean.",
    one_number,
)

# --- queries for an interval ----------------------------------------------------------------------


def _queries_needed(recall: float, margin: float, z: float = 1.96) -> int:
    """`function(recall, margin) -> n`: queries for a 95 % interval of `recall ± margin`."""
    return math.ceil(z**2 * recall * (1 - recall) / margin**2)


check_queries_needed = Check(
    _queries_needed,
    [
        ("a recall of 0.5, ± 0.03", (0.5, 0.03)),
        ("a recall of 0.9, ± 0.02", (0.9, 0.02)),
        ("a recall of 0.25, ± 0.04", (0.25, 0.04)),
    ],
    [
        lambda recall, margin: math.floor(1.96**2 * recall * (1 - recall) / margin**2),
        "Round up: with the number rounded down the interval is a little wider than asked for.",
        lambda recall, margin: math.ceil(1.96 * math.sqrt(recall * (1 - recall)) / margin),
        "The error falls with the square root of n: square both sides before you solve for n.",
        lambda recall, margin: math.ceil(recall * (1 - recall) / margin**2),
        "The 1.96 of a 95 % interval is missing.",
        lambda recall, margin: math.ceil(1.96 * recall * (1 - recall) / margin**2),
        "The 1.96 is squared with the rest.",
        lambda recall, margin: _queries_needed(recall, margin / 2),
        "The margin goes to either side: the whole interval is twice as wide.",
        lambda recall, margin: _queries_needed(0.5, margin),
        "That is the worst case, a recall of 0.5; use the one that is given.",
        lambda recall, margin: 1.96**2 * recall * (1 - recall) / margin**2,
        "Queries come whole: round up.",
    ],
    "Solve 1.96 · sqrt(recall · (1 - recall) / n) ≤ margin for n, and round up.",
    one_number,
)
