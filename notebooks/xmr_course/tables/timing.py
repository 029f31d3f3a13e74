"""RFE's Table V measured: seconds of a training iteration, and of the test on 1,000 images.

The paper runs ten times ten iterations and ten tests on its GPU, and takes the mean of four
variants for SCAN and SCAN-RFE. Seconds of another machine say little; what can be compared is each
row's ratio to the model that it extends, so ratios are put beside the printed ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from xmr_course.tables import paper, pictures
from xmr_lib import figures, models, recipes, training
from xmr_lib.data.batches import Pairs, loader
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.regions import Regions
from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.recipes import Recipe, Scale

# Printed row -> recipes whose mean it is, and the row that it extends.
ROWS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "VSE++": (("VSE++",), None),
    "VSE++-RFE": (("RFE",), "VSE++"),
    **{
        model: (tuple(f"{model} {way} {pool}" for way in ("t-i", "i-t") for pool in ("LSE", "AVG")),
                base)
        for model, base in (("SCAN", None), ("SCAN-RFE", "SCAN"))
    },
}  # fmt: skip
MEASURES = {"train": "a training iteration", "test": "the test on 1,000 images"}


def measure(
    data: CaptionedImages,
    features_for: Callable[[Recipe], Features | Regions],
    scale: Scale = "toy",
    runs: int = 10,
    iterations: int = 10,
    n_test: int = 1000,
) -> pd.DataFrame:
    """Times all rows in turns on real batches, with untrained weights.

    Args:
        data: Captioned images with their splits.
        features_for: Gives the features that a recipe learns from.
        scale: Sizes of the models.
        runs: Runs of each row; one more at the start does not count.
        iterations: Training iterations in a run.
        n_test: Images of the reported split that the test encodes, scores and ranks with their
            captions.

    Returns:
        One row per printed row: `method`, for "train" and "test" the seconds printed, measured and
        their s.d. over runs, and `printed_*_ratio` and `measured_*_ratio` to the row that it
        extends (`extends`; NaN where there is none).
    """
    learn, _, report = training.three_parts(data)
    report = report.subset(np.arange(min(n_test, report.n_images)))
    works = {
        method: [_Work(name, learn, report, features_for, scale) for name in names]
        for method, (names, _) in ROWS.items()
    }
    seconds: dict[tuple[str, str], list[float]] = {(m, k): [] for m in ROWS for k in MEASURES}
    for run in tqdm(range(runs + 1), desc="runs of Table V"):
        for method, each in works.items():
            for measure in MEASURES:
                taken = [getattr(work, measure)(iterations) for work in each]
                if run:
                    seconds[method, measure].append(float(np.mean(taken)))
    return _beside_printed(seconds)


class _Work:
    """One recipe, ready to be trained and tested."""

    def __init__(
        self,
        name: str,
        learn: CaptionedImages,
        report: CaptionedImages,
        features_for: Callable[[Recipe], Features | Regions],
        scale: Scale,
    ) -> None:
        self.recipe = recipes.get(name, scale)
        self.features, self.report = features_for(self.recipe), report
        self.vocabulary = Vocabulary.build(learn.captions, self.recipe.vocabulary_threshold)
        torch.manual_seed(0)
        model = models.build(self.recipe, len(self.vocabulary), self.features.stage_dims)
        pairs = Pairs(learn, self.vocabulary.encode(learn.captions), self.features.inputs)
        self.accelerator = Accelerator(mixed_precision=training.precision())
        optimizer = torch.optim.Adam(model.parameters(), lr=self.recipe.lr)
        batches = loader(pairs, self.recipe.batch_size, seed=0)
        self.model, self.optimizer, self.batches = self.accelerator.prepare(
            model, optimizer, batches
        )

    def train(self, iterations: int) -> float:
        """Seconds of one training iteration, the reading of its batch included."""
        some = (batch for batch, _ in zip(self.batches, range(iterations), strict=False))
        started = time.perf_counter()
        training.train_epoch(self.model, some, self.optimizer, self.accelerator, self.recipe)
        return (time.perf_counter() - started) / iterations

    def test(self, iterations: int) -> float:
        """Seconds to encode, score and rank the test images with their captions, both ways."""
        model = self.accelerator.unwrap_model(self.model)
        started = time.perf_counter()
        training.test(model, self.report, self.features.inputs, self.vocabulary).metrics()
        return time.perf_counter() - started


def _beside_printed(seconds: dict[tuple[str, str], list[float]]) -> pd.DataFrame:
    printed = paper.table("rfe-5").frame.set_index("method")
    rows = []
    for method, (_, base) in ROWS.items():
        row: dict[str, object] = {"method": method, "extends": base or ""}
        for measure in MEASURES:
            own = seconds[method, measure]
            row |= {
                f"printed_{measure}_s": printed.loc[method, f"{measure}_avg_s"],
                f"measured_{measure}_s": np.mean(own),
                f"sd_{measure}_s": np.std(own, ddof=1) if len(own) > 1 else np.nan,
                f"printed_{measure}_ratio": np.nan,
                f"measured_{measure}_ratio": np.nan,
            }
            if base:
                row[f"printed_{measure}_ratio"] = (
                    printed.loc[method, f"{measure}_avg_s"] / printed.loc[base, f"{measure}_avg_s"]
                )
                row[f"measured_{measure}_ratio"] = np.median(np.divide(own, seconds[base, measure]))
        rows.append(row)
    return pd.DataFrame(rows)


def to_text(frame: pd.DataFrame) -> str:
    """The result of `measure` as a table to print."""
    lines = []
    for row in frame.to_dict("records"):
        line = {"": row["method"]}
        for measure in MEASURES:
            line[f"{measure} printed"] = f"{row[f'printed_{measure}_s']:.3g} s"
            spread = row[f"sd_{measure}_s"]
            spread = "" if pd.isna(spread) else f" ± {spread:.2g}"
            line[f"{measure} measured"] = f"{row[f'measured_{measure}_s']:.3g}{spread} s"
            if row["extends"]:
                line[f"{measure} ratio, printed → measured"] = (
                    f"{row[f'printed_{measure}_ratio']:.2f}× → "
                    f"{row[f'measured_{measure}_ratio']:.2f}× {row['extends']}"
                )
            else:
                line[f"{measure} ratio, printed → measured"] = ""
        lines.append(line)
    return "\n".join([frame.attrs.get("title", ""), pd.DataFrame(lines).to_string(index=False)])


def reproduce_times(
    data: CaptionedImages,
    features_for: Callable[[Recipe], Features | Regions],
    scale: Scale,
    label: str,
    out: Path,
    **options: int,
) -> pd.DataFrame:
    """Measures Table V and saves `rfe-5-<label>.csv` and its picture in `out`.

    Args:
        data: As for `measure`.
        features_for: As for `measure`.
        scale: As for `measure`.
        label: "toy" or the data set's name.
        out: Folder of the CSV and the picture.
        options: `runs`, `iterations` and `n_test` of `measure`.
    """
    frame = measure(data, features_for, scale, **options)
    what = "toy scenes" if label == "toy" else label
    frame.attrs["title"] = (
        f"{paper.table('rfe-5').title}\nprinted: one GPU · measured: {_device()}, {what}, "
        f"scale {scale}"
    )
    out.mkdir(parents=True, exist_ok=True)
    frame.round(5).to_csv(out / f"rfe-5-{label}.csv", index=False)
    frame.attrs["csv"] = str(out / f"rfe-5-{label}.csv")
    picture = pictures.plot_times(frame, MEASURES, frame.attrs["title"])
    frame.attrs["picture"] = str(figures.save(picture, out / f"rfe-5-{label}.png"))
    return frame


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU threads"
