"""Recall and seconds of the kinds of indexes, at several efforts: `python -m bench.index`.

Two sets of vectors are searched: the captions of the toy scenes by pictures, encoded by a trained
RFE, and 100,000 synthetic unit vectors around random centres. Recall is against exact search.
Times are those of the processor, all threads together, so that a busy machine does not change them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch

from xmr_lib import figures, runs
from xmr_lib.figures import BLUE, GREY, ORANGE, Picture, style
from xmr_lib.files import figures_dir
from xmr_lib.index import KINDS, Kind
from xmr_lib.index.faiss_index import FaissIndex
from xmr_lib.index.milvus_index import MilvusIndex
from xmr_lib.index.recall import measure
from xmr_lib.index.vectors import ExactIndex

EFFORTS = (1, 2, 4, 8, 16, 32)
CLOCK = time.process_time
_LOOKS = {"exact": (GREY, "D"), "faiss": (BLUE, "o"), "milvus": (ORANGE, "s")}
_LABELS = {"exact": "exact", "faiss": "faiss", "milvus": "Milvus Lite"}


def toy_captions(n_queries: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """All captions of the toy scenes, and pictures that look for them, encoded by RFE."""
    run = runs.run("RFE", "toy")
    captions = run.encode_sentences(run.data.captions).vectors
    some = np.unique(np.linspace(0, run.data.n_images - 1, n_queries).astype(np.int64))
    return captions.cpu().numpy(), run.encode_images(run.data.subset(some)).vectors.cpu().numpy()


def clusters(
    n: int = 100_000, dim: int = 256, centres: int = 2000, n_queries: int = 200, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic unit vectors around random centres, and queries made the same way."""
    rng = np.random.default_rng(0)
    middle = rng.standard_normal((centres, dim)).astype(np.float32)

    def some(count: int) -> np.ndarray:
        noise = rng.standard_normal((count, dim)).astype(np.float32)
        found = middle[rng.integers(0, centres, count)] + spread * noise
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    return some(n), some(n_queries)


def compare(
    name: str,
    vectors: np.ndarray,
    queries: np.ndarray,
    kinds: Sequence[Kind] = KINDS,
    efforts: Sequence[int] = EFFORTS,
    repeats: int = 3,
) -> pd.DataFrame:
    """Each kind filled with the same vectors and asked the same.

    Args:
        name: Of the vectors, for the table.
        vectors: Unit vectors `(n, dim)`.
        queries: Unit vectors `(n_queries, dim)`.
        kinds: Which kinds.
        efforts: Lists looked into; the exact index has none.
        repeats: Rounds over all efforts, of ten timed queries each; times are medians.

    Returns:
        A row for each kind and effort: `vectors`, `items`, `dim`, `kind`, `lists`, `effort`,
        `recall@1`, `recall@10`, `milliseconds` (a query alone), and `load_seconds` from the exact
        index to one that can be searched (of the exact one: writing it).
    """
    rows = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        exact = ExactIndex(Path(folder) / "exact", vectors.shape[1])
        ids = [f"item {i}" for i in range(len(vectors))]
        started = CLOCK()
        for start in range(0, len(ids), 2048):
            exact.add(ids[start : start + 2048], vectors[start : start + 2048])
        written = CLOCK() - started
        truth = exact.search(queries, 10)
        for kind in kinds:
            index, seconds = exact, written
            if kind != "exact":
                started = CLOCK()
                if kind == "faiss":
                    index = FaissIndex(exact, Path(folder) / "faiss.safetensors")
                else:
                    uri = str(Path(folder) / "milvus.db")
                    index = MilvusIndex(exact, uri, Path(folder) / "milvus.json")
                seconds = CLOCK() - started
            lists = index.lists
            found: dict[int, list[dict]] = {e: [] for e in (efforts if lists else (0,))}
            for _ in range(repeats):
                for effort, each in found.items():
                    index.effort = effort or None
                    each.append(measure(index.search, truth, queries, timed=10, clock=CLOCK))
            index.close()
            for effort, each in found.items():
                middle = float(np.median([one.pop("milliseconds") for one in each]))
                rows.append(
                    {
                        "vectors": name,
                        "items": len(exact),
                        "dim": exact.dim,
                        "kind": kind,
                        "lists": lists,
                        "effort": effort,
                        **each[0],
                        "milliseconds": middle,
                        "load_seconds": seconds,
                    }
                )
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame) -> Picture:
    """Recall@10 over milliseconds a query, a panel for each set of vectors.

    Args:
        frame: As `compare` returns it, of one set of vectors or several.
    """
    names = list(frame["vectors"].unique())
    with mpl.rc_context(style()):
        figure = Picture(figsize=(5.2 * len(names), 3.8), layout="constrained")
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            part = frame[frame["vectors"] == name]
            for kind, some in part.groupby("kind", sort=False):
                colour, marker = _LOOKS[kind]
                axes.plot(
                    some["milliseconds"],
                    some["recall@10"],
                    marker=marker,
                    color=colour,
                    label=_LABELS[kind],
                )
            faiss = part[(part["kind"] == "faiss") & (part["effort"] > 0)]
            for effort, x, y in zip(
                faiss["effort"], faiss["milliseconds"], faiss["recall@10"], strict=True
            ):
                axes.annotate(
                    str(effort),
                    (x, y),
                    (0, -13),
                    textcoords="offset points",
                    fontsize=7,
                    ha="center",
                    color=BLUE,
                )
            lists = int(part["lists"].max())
            items, dim = part["items"].iloc[0], part["dim"].iloc[0]
            axes.set(
                title=f"{name}\n{items:,} × {dim}, {lists} lists",
                xscale="log",
                xlabel="processor milliseconds a query, asked alone",
            )
        lowest = frame["recall@10"].min()
        panels[0].set(ylabel="recall@10 against exact search", ylim=(0.9 * lowest - 0.02, 1.03))
        panels[0].legend(
            loc="lower right", title="numbers: lists looked into", fontsize=8, title_fontsize=8
        )
        return figure


def main() -> None:
    """Measures both sets and writes `figures/index_recall.csv` and its picture."""
    frame = pd.concat(
        [
            compare("captions of the toy scenes", *toy_captions()),
            compare("synthetic clusters", *clusters()),
        ],
        ignore_index=True,
    )
    folder = figures_dir()
    folder.mkdir(parents=True, exist_ok=True)
    frame.round(4).to_csv(folder / "index_recall.csv", index=False)
    print(f"{torch.get_num_threads()} threads; processor time, medians of three rounds")
    print(frame.round(3).to_string(index=False))
    print(figures.save(plot(frame), folder / "index_recall.png"))


if __name__ == "__main__":
    main()
