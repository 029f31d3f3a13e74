"""RFE's Table V measured: seconds of a training iteration, and of the test on 1,000 images.

The paper runs ten times ten iterations and ten tests on its GPU, and takes the mean of four
variants for SCAN and SCAN-RFE. Seconds on another machine cannot be compared directly; the ratio of
each row to the model that it extends can, so these ratios are shown beside the printed ones.
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
from xmr_course.tables.rows import KnownFeatures, label_of
from xmr_lib import figures, models, recipes, trainer, training
from xmr_lib.data.batches import Pairs, loader
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.regions import Regions
from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.files import atomic, figures_dir
from xmr_lib.recipes import Recipe, Scale
from xmr_lib.sources import DataSource, is_toy, named, source_and_data

_VARIANTS = [f"{way} {pool}" for way in ("t-i", "i-t") for pool in ("LSE", "AVG")]
# Printed row -> recipes whose mean it is, and the row that it extends.
ROWS: dict[str, tuple[list[str], str | None]] = {
    "VSE++": (["VSE++"], None),
    "VSE++-RFE": (["RFE"], "VSE++"),
    "SCAN": ([f"SCAN {variant}" for variant in _VARIANTS], None),
    "SCAN-RFE": ([f"SCAN-RFE {variant}" for variant in _VARIANTS], "SCAN"),
}
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
        features_for: Gives the features of a recipe.
        scale: Sizes of the models.
        runs: Runs of each row, after one that is not counted.
        iterations: Training iterations in a run.
        n_test: Images of the reported split in the test, with their captions.

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
        threshold = self.recipe.training.vocabulary_threshold
        self.vocabulary = Vocabulary.build(learn.captions, threshold)
        torch.manual_seed(0)
        model = models.build(self.recipe.model, len(self.vocabulary), self.features.stage_dims)
        pairs = Pairs(learn, self.vocabulary.encode(learn.captions), self.features.inputs)
        self.accelerator = Accelerator(mixed_precision=trainer.precision())
        optimizer = torch.optim.Adam(model.parameters(), lr=self.recipe.training.lr)
        batches = loader(pairs, self.recipe.training.batch_size, seed=0)
        self.model, self.optimizer, self.batches = self.accelerator.prepare(
            model, optimizer, batches
        )

    def train(self, iterations: int) -> float:
        """Seconds of one training iteration, the reading of its batch included."""
        some = (batch for batch, _ in zip(self.batches, range(iterations), strict=False))
        started = time.perf_counter()
        clip = self.recipe.training.grad_clip
        trainer.train_epoch(self.model, some, self.optimizer, self.accelerator, clip)
        return (time.perf_counter() - started) / iterations

    def test(self, iterations: int) -> float:
        """Seconds to encode, score and rank the test images with their captions, both ways."""
        model = self.accelerator.unwrap_model(self.model)
        started = time.perf_counter()
        tokens = self.vocabulary.encode(self.report.captions)
        trainer.evaluate(model, self.report, self.features.inputs, tokens).metrics()
        return time.perf_counter() - started


def _beside_printed(seconds: dict[tuple[str, str], list[float]]) -> pd.DataFrame:
    printed = paper.table("rfe-5").frame.set_index("method")
    rows = []
    for method, (_, base) in ROWS.items():
        row: dict[str, object] = {"method": method, "extends": base or ""}
        for measure in MEASURES:
            own, printed_s = seconds[method, measure], printed[f"{measure}_avg_s"]
            row |= {
                f"printed_{measure}_s": printed_s[method],
                f"measured_{measure}_s": np.mean(own),
                f"sd_{measure}_s": np.std(own, ddof=1) if len(own) > 1 else np.nan,
                f"printed_{measure}_ratio": printed_s[method] / printed_s[base] if base else np.nan,
                f"measured_{measure}_ratio": (
                    np.median(np.divide(own, seconds[base, measure])) if base else np.nan
                ),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def to_text(frame: pd.DataFrame) -> str:
    """The result of `measure` as a table to print."""
    lines = []
    for row in frame.to_dict("records"):
        line = {"": row["method"]}
        for measure in MEASURES:
            spread, ratio = row[f"sd_{measure}_s"], ""
            spread = "" if pd.isna(spread) else f" ± {spread:.2g}"
            if row["extends"]:
                ratio = f"{row[f'printed_{measure}_ratio']:.2f}× → "
                ratio += f"{row[f'measured_{measure}_ratio']:.2f}× {row['extends']}"
            line[f"{measure} printed"] = f"{row[f'printed_{measure}_s']:.3g} s"
            line[f"{measure} measured"] = f"{row[f'measured_{measure}_s']:.3g}{spread} s"
            line[f"{measure} ratio, printed → measured"] = ratio
        lines.append(line)
    return "\n".join([frame.attrs.get("title", ""), pd.DataFrame(lines).to_string(index=False)])


def reproduce_times(
    data: str | Path | DataSource | CaptionedImages = "toy",
    scale: Scale | None = None,
    *,
    backbone: str | None = None,
    regions: str | None = None,
    out: Path | None = None,
) -> pd.DataFrame:
    """Measures Table V and saves it with its picture; nothing is trained.

    Args:
        data: As for `reproduce.reproduce`, like the next ones.
        scale: Sizes of the models.
        backbone: Network whose features are used.
        regions: Which regions.
        out: Folder of the CSV and the picture; `reproduce/` of `files.figures_dir()` by default.

    Returns:
        As `measure`, with the files' names in `attrs`.
    """
    source = named(data)
    data = source_and_data(source)[1]
    label = label_of(source, data)
    scale = scale or ("toy" if is_toy(data) else "laptop")
    known = KnownFeatures(source, data, backbone, regions)
    frame = measure(data, lambda recipe: known.get(recipe.of_regions), scale)
    what = "toy scenes" if is_toy(data) else label
    frame.attrs["title"] = (
        f"{paper.table('rfe-5').title}\nprinted: one GPU · measured: {_device()}, {what}, "
        f"scale {scale}"
    )
    file = (out or figures_dir() / "reproduce") / f"rfe-5-{label}.csv"
    with atomic(file) as temporary:
        frame.round(5).to_csv(temporary, index=False)
    picture = pictures.plot_times(frame, MEASURES, frame.attrs["title"])
    frame.attrs["csv"] = str(file)
    frame.attrs["picture"] = str(figures.save(picture, file.with_suffix(".png")))
    return frame


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU threads"
