"""Measures everything, prints a table and saves it with a picture of how cost grows."""

from __future__ import annotations

import sys

import pandas as pd
import torch
from tqdm.auto import tqdm
from xmr_course import growth_page

from bench import PARTS, growth, hundred_thousand
from xmr_lib import figures
from xmr_lib.errors import UnknownNameError
from xmr_lib.files import figures_dir


def main(names: list[str]) -> None:
    """Measures the named parts, or all; only a full run writes `figures/bench.csv`.

    Args:
        names: Some of `PARTS`, "growth" and "100k".
    """
    known = (*PARTS, "growth", "100k")
    for name in names:
        if name not in known:
            raise UnknownNameError("part of the benchmark", name, known)
    chosen = names or known
    folder = figures_dir()
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame()
    for name in tqdm(chosen, desc="bench"):
        if name not in PARTS:
            continue
        rows = pd.DataFrame([vars(row) for row in PARTS[name]()])
        frame = pd.concat([frame, rows], ignore_index=True)
        if not names:  # part by part: what was measured is kept, whatever comes after
            frame.round(4).to_csv(folder / "bench.csv", index=False)
    if len(frame):
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians, in turns")
        print(shown(frame).to_string(index=False))
    if "growth" in chosen:
        frame = growth.measure()
        print(frame.round(3).to_string(index=False))
        frame.round(4).to_csv(folder / "bench_growth.csv", index=False)
        print(figures.save(growth.plot(frame), folder / "bench_growth.png"))
    if "100k" in chosen:
        frame = hundred_thousand.measure()
        print(frame.round(3).to_string(index=False))
        frame.round(5).to_csv(folder / "bench_100k.csv", index=False)
        print(figures.save(growth_page.plot_measured(frame), folder / "bench_100k.png"))


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with their units, to be printed."""
    costs = {
        side: [_cost(v, u) for v, u in zip(frame[side], frame["unit"], strict=True)]
        for side in ("plain", "ours")
    }
    return frame.assign(
        **costs,
        ratio=frame["ratio"].map("{:.2f}×".format).replace("nan×", "–"),
        met=frame["met"].map({True: "yes", False: "NO"}).fillna("–"),
    ).drop(columns="unit")


def _cost(value: float, unit: str) -> str:
    if pd.isna(value):
        return "–"
    if unit == "MB":
        return f"{value:,.0f} MB"
    return f"{value:,.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"


if __name__ == "__main__":
    main(sys.argv[1:])
