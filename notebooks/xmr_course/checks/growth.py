"""Checks of notebook 16: memory of an index, recall of a search, queries that are enough."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from xmr_course.checks import passed
from xmr_course.checks.mistakes import Case, Mistake, compare, one_number


def index_bytes(function: Callable) -> None:
    """Checks `function(n, dims, links) -> bytes` of a graph (HNSW) in memory.

    Each of `n` vectors has `dims` numbers and `2 * links` links, four bytes each.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "index_bytes"
    cases: list[Case] = [
        ("one vector of 2 numbers, M = 1", (1, 2, 1)),
        ("a million vectors of 1,024 numbers, M = 32", (1_000_000, 1024, 32)),
        ("10,000 vectors of 128 numbers, M = 16", (10_000, 128, 16)),
    ]
    advice = "Four bytes for each number of a vector, four for each link, and that n times."
    compare(name, function, cases, _index_bytes, _BYTES_MISTAKES, one_number(name), advice)
    passed(name, len(cases))


def recall_of_search(function: Callable) -> None:
    """Checks `function(found, exact) -> share`: how many of the exact answers a search has found.

    Both `(n_queries, k)` hold positions; -1 in `found` stands where the search gave up.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "recall_of_search"
    exact = np.array([[3, 1, 4], [5, 9, 2]])
    cases: list[Case] = [
        ("all found, in another order", (np.array([[4, 3, 1], [5, 2, 9]]), exact)),
        ("one of three, then two", (np.array([[3, 7, 8], [0, 9, 5]]), exact)),
        ("places of another query", (np.array([[5, 9, 2], [3, 1, 9]]), exact)),
        ("a search that gave up", (np.array([[1, -1, -1], [-1, -1, -1]]), exact)),
    ]
    rng = np.random.default_rng(16)
    each = [rng.permutation(14)[:8] for _ in range(20)]
    found = np.stack([rng.permutation(14)[:8] for _ in range(20)])
    cases.append(("20 queries, k = 8", (found, np.stack(each))))
    advice = "For one query: how many positions are in both rows? Divide by k, and take the mean."
    compare(name, function, cases, _recall, _RECALL_MISTAKES, one_number(name), advice)
    passed(name, len(cases))


def queries_needed(function: Callable) -> None:
    """Checks `function(recall, margin) -> n`: queries for a 95 % interval of `recall ± margin`.

    Raises:
        CheckFailed: The first case that comes out wrong, and why.
    """
    name = "queries_needed"
    cases: list[Case] = [
        ("a recall of 0.5, ± 0.03", (0.5, 0.03)),
        ("a recall of 0.9, ± 0.02", (0.9, 0.02)),
        ("a recall of 0.25, ± 0.04", (0.25, 0.04)),
    ]
    advice = "Solve 1.96 · sqrt(recall · (1 - recall) / n) ≤ margin for n, and round up."
    compare(name, function, cases, _needed, _NEEDED_MISTAKES, one_number(name), advice)
    passed(name, len(cases))


# --- memory of a graph ----------------------------------------------------------------------------


def _index_bytes(n: int, dims: int, links: int) -> int:
    return n * (4 * dims + 2 * links * 4)


_BYTES_MISTAKES: list[Mistake] = [
    (
        lambda n, dims, links: n * 4 * dims,
        "Those are the vectors alone: the graph's links are missing.",
    ),
    (
        lambda n, dims, links: n * (4 * dims + links * 4),
        "On the lowest level a vector has 2 · M links, not M.",
    ),
    (
        lambda n, dims, links: n * (4 * dims + 2 * links),
        "A link is a number of four bytes, too.",
    ),
    (
        lambda n, dims, links: n * 4 * dims + 2 * links * 4,
        "Every vector has links of its own: multiply both parts by n.",
    ),
    (
        lambda n, dims, links: n * (dims + 2 * links),
        "These are numbers, not bytes: each takes four.",
    ),
    (
        lambda n, dims, links: n * (8 * dims + 2 * links * 8),
        "float32 and int32 take four bytes, not eight.",
    ),
    (
        lambda n, dims, links: _index_bytes(n, dims, links) / 1e9,
        "Bytes are asked for, not gigabytes.",
    ),
]


# --- recall of a search ---------------------------------------------------------------------------


def _recall(found: np.ndarray, exact: np.ndarray) -> float:
    shared = [len(set(f) & set(e)) for f, e in zip(found.tolist(), exact.tolist(), strict=True)]
    return float(np.mean(shared) / exact.shape[1])


def _of_real_answers(found: np.ndarray, exact: np.ndarray) -> float:
    """Divides by what was found, so that a search that gives up is flattered."""
    real = (found >= 0).sum()
    return _recall(found, exact) * found.size / real


def _jaccard(found: np.ndarray, exact: np.ndarray) -> float:
    pairs = zip(found.tolist(), exact.tolist(), strict=True)
    return float(np.mean([len(set(f) & set(e)) / len(set(f) | set(e)) for f, e in pairs]))


def _any(found: np.ndarray, exact: np.ndarray) -> float:
    pairs = zip(found.tolist(), exact.tolist(), strict=True)
    return float(np.mean([bool(set(f) & set(e)) for f, e in pairs]))


_RECALL_MISTAKES: list[Mistake] = [
    (
        lambda found, exact: (found == exact).mean(),
        "That asks for the same answer at the same place. An answer may stand elsewhere in its "
        "row: compare the rows as sets.",
    ),
    (
        lambda found, exact: np.isin(found, exact).mean(),
        "np.isin looks in the whole table: an answer to another query is not found. Go row by row.",
    ),
    (_any, "That counts a query as right when any one is found: recall counts each of the k."),
    (
        lambda found, exact: (found[:, 0] == exact[:, 0]).mean(),
        "Only the first place is compared: all k count.",
    ),
    (_jaccard, "Divide by k, the number of exact answers, and not by the union."),
    (
        _of_real_answers,
        "Divide by the number of exact answers: a search that gives up has not found the rest.",
    ),
    (lambda found, exact: 100 * _recall(found, exact), "A share between 0 and 1, not percent."),
    (
        lambda found, exact: _recall(found, exact) * exact.shape[1],
        "That is the number found for a query: divide by k.",
    ),
]


# --- queries for an interval ----------------------------------------------------------------------


def _needed(recall: float, margin: float, z: float = 1.96) -> int:
    return math.ceil(z**2 * recall * (1 - recall) / margin**2)


_NEEDED_MISTAKES: list[Mistake] = [
    (
        lambda recall, margin: math.floor(1.96**2 * recall * (1 - recall) / margin**2),
        "Round up: with the number rounded down the interval is a little wider than asked for.",
    ),
    (
        lambda recall, margin: math.ceil(1.96 * math.sqrt(recall * (1 - recall)) / margin),
        "The error falls with the square root of n: square both sides before you solve for n.",
    ),
    (
        lambda recall, margin: math.ceil(recall * (1 - recall) / margin**2),
        "The 1.96 of a 95 % interval is missing.",
    ),
    (
        lambda recall, margin: math.ceil(1.96 * recall * (1 - recall) / margin**2),
        "The 1.96 is squared with the rest.",
    ),
    (
        lambda recall, margin: _needed(recall, margin / 2),
        "The margin goes to either side: the whole interval is twice as wide.",
    ),
    (
        lambda recall, margin: _needed(0.5, margin),
        "That is the worst case, a recall of 0.5; use the one that is given.",
    ),
    (
        lambda recall, margin: 1.96**2 * recall * (1 - recall) / margin**2,
        "Queries come whole: round up.",
    ),
]
