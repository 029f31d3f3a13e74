"""How much data is enough: the same recipe on more and more of the training images.

Every size is tested on the same images, and smaller sets are subsets of the larger ones, so that
a curve shows the effect of more photographs and not of other ones. Small sets get more epochs: with
the usual number they would stop after a few updates, with hardest negatives even before they have
left the plateau, and the curve would show too little training instead of too little data.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from tqdm.auto import tqdm

from xmr_course.tables.rows import label_of
from xmr_lib import evaluation, recipes, runs, trainer, training
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.regions import Regions
from xmr_lib.errors import DataError
from xmr_lib.evaluation import RECALLS, Retrieval
from xmr_lib.figures import GREY, PALETTE, Picture, style
from xmr_lib.files import runs_dir
from xmr_lib.recipes import Scale
from xmr_lib.sources import DataSource, features_of, is_toy, named, source_and_data
from xmr_lib.stats import baselines

RIDGE = "ridge"  # the baseline's row, in the place of a recipe's name
MOST_EPOCHS = 150
N_SELECT = 100  # images that choose the epoch: looked at after every one of many short epochs


def sizes_for(n_train: int) -> list[int]:
    """Sizes to try: 1, 2, 5, 10, … images from 25 on, and all of them.

    >>> sizes_for(1300)
    [50, 100, 200, 500, 1000, 1300]
    >>> sizes_for(40)
    [40]
    """
    steps = [k * 10**power for power in range(1, 9) for k in (1, 2, 5)]
    return [size for size in steps if 25 <= size < n_train / 1.2] + [n_train]


def with_fewer(data: CaptionedImages, n_train: int, seed: int = 0) -> CaptionedImages:
    """The data set with only `n_train` of its training images.

    The images that choose the epoch (`N_SELECT` of them at most) and those that are reported on are
    the same whatever the size; the training images of a smaller size are among those of a larger
    one with the same seed.

    Args:
        data: The whole data set.
        n_train: Training images to keep.
        seed: Which ones.

    Raises:
        DataError: There are fewer than two, or fewer than `n_train`.
    """
    learn, select, report = training.three_parts(data)
    if not 2 <= n_train <= learn.n_images:
        raise DataError(
            f"{n_train} training images: {data.name} has {learn.n_images}, and two are needed."
        )
    order = np.random.default_rng(seed).permutation(learn.n_images)
    kept = learn.subset(np.sort(order[:n_train]))
    select = select.subset(np.arange(min(N_SELECT, select.n_images)))
    place = {int(row): i for i, row in enumerate(data.rows)}
    splits, images = [], []
    for name, part in (("train", kept), ("val", select), ("test", report)):
        images += [place[int(row)] for row in part.rows]
        splits += [name] * part.n_images
    return replace(data.subset(np.array(images)), splits=np.array(splits))


def epochs_for(recipe: recipes.Recipe, n_captions: int, updates: int) -> int:
    """Epochs that make so many updates; never less than the recipe's own, 150 at most.

    >>> epochs_for(recipes.get("VSE++", "laptop"), 5_000, updates=1500)  # 40 batches an epoch
    38
    >>> epochs_for(recipes.get("VSE++", "laptop"), 27_500, updates=1500)
    9
    """
    steps = -(-n_captions // recipe.training.batch_size)
    return max(recipe.training.epochs, min(MOST_EPOCHS, -(-updates // steps)))


def measure(
    recipe: str,
    source: str | Path | DataSource | CaptionedImages = "toy",
    *,
    sizes: Sequence[int] = (),
    seeds: Sequence[int] = (0,),
    scale: Scale | None = None,
    backbone: str | None = None,
    regions: str | None = None,
    features: Features | Regions | None = None,
    baseline: bool = True,
    updates: int = 1500,
    **overrides,
) -> pd.DataFrame:
    """Trains a recipe on several numbers of images; finished runs are reused.

    Args:
        recipe: Its name.
        source: The captioned images.
        sizes: Numbers of training images; `sizes_for` all of them by default.
        seeds: Seeds of weights, and of which images are kept.
        scale: "toy", "laptop" or "paper", as for `runs.run`.
        backbone: Network whose features are used.
        regions: Which regions, for models that compare them.
        features: Features extracted before.
        baseline: Also fit ridge regression, which needs no training, on the same images.
        updates: Steps of the optimizer that each size is trained for at least, see `epochs_for`.
        overrides: Fields of the recipe. Given `epochs` are used as they are, for every size.

    Returns:
        A row for each recipe, size and seed: "method", "n_images", "n_captions", "seed",
        "epochs", the six recalls, "rsum", and "chance", the rsum of a blind guess. Its
        `attrs` hold a "label" for files and a "title" for pictures.

    Raises:
        DataError: A size is impossible, or the data cannot be used.
    """
    source = named(source)
    data = source_and_data(source)[1]
    scale = scale or ("toy" if is_toy(data) else "laptop")
    plain = recipes.get(recipe, scale, **overrides)
    if features is None:
        features = features_of(
            data,
            source if isinstance(source, DataSource) else None,
            of_regions=plain.of_regions,
            backbone=backbone,
            kind=regions,
        )
    pooled = _pooled(data, features, backbone) if baseline else None
    n_train = training.three_parts(data)[0].n_images
    rows = []
    todo = [(seed, size) for seed in seeds for size in sizes or sizes_for(n_train)]
    for seed, size in tqdm(todo, desc=f"learning curve of {recipe}", unit="size"):
        some = with_fewer(data, size, seed)
        learn, _, report = training.three_parts(some)
        epochs = overrides.get("epochs", epochs_for(plain, learn.n_captions, updates))
        drop = -(-plain.training.lr_drop_every * epochs // plain.training.epochs)
        with trainer.hidden_epoch_bars(), warnings.catch_warnings():
            # small sets sit on the plateau for many short epochs: the curve shows what it costs
            warnings.filterwarnings("ignore", message="Epoch .* sits on the plateau")
            found = runs.run(
                recipe,
                some,
                scale=scale,
                seed=seed,
                features=features,
                root=runs_dir() / "learning-curves",
                **{"lr_drop_every": drop, **overrides, "epochs": epochs},
            )
        shared = {
            "n_images": size,
            "n_captions": learn.n_captions,
            "seed": seed,
            "chance": chance(report),
        }
        rows.append({"method": recipe, "epochs": epochs, **shared, **_recalls(found.retrieval)})
        if pooled is not None and (judged := _ridge(learn, report, pooled)):
            rows.append({"method": RIDGE, "epochs": 0, **shared, **_recalls(judged)})
    order = ["method", "n_images", "n_captions", "seed", "epochs", *RECALLS, "rsum", "chance"]
    frame = pd.DataFrame(rows)[order]
    label = label_of(source, data)
    frame.attrs = {"label": label, "title": f"{label} (toy numbers)" if is_toy(data) else label}
    return frame


def chance(report: CaptionedImages) -> float:
    """Expected rsum of a blind guess: the six recalls of random scores, added up.

    An image has several right captions: it is missed at K when all of them rank below K.
    """
    n_captions, right = report.n_captions, np.bincount(report.image_of_caption)
    total = 0.0
    for k in (1, 5, 10):
        missed = np.ones(report.n_images)
        for place in range(min(k, n_captions)):
            missed *= np.clip(n_captions - right - place, 0, None) / (n_captions - place)
        total += 100 * float((1 - missed).mean()) + 100 * min(k / report.n_images, 1.0)
    return total


def _recalls(retrieval: Retrieval) -> dict[str, float]:
    metrics = retrieval.metrics()
    return {name: metrics[name] for name in (*RECALLS, "rsum")}


def _pooled(
    data: CaptionedImages, features: Features | Regions, backbone: str | None
) -> Features | None:
    """Features that the baseline takes; None where regions came without pictures."""
    if not isinstance(features, Regions):
        return features
    try:
        return features_of(data, backbone=backbone)
    except DataError:
        return None


def _ridge(learn: CaptionedImages, report: CaptionedImages, features: Features) -> Retrieval | None:
    """The baseline on the same images; None where there is too little data even for that."""
    try:
        images, captions = baselines.ridge(learn, report, features)
    except DataError:
        return None
    return evaluation.evaluate(baselines.score, images, captions, report.image_of_caption)


def advice(frame: pd.DataFrame, method: str | None = None) -> list[str]:
    """What a curve says about collecting more photographs.

    Args:
        frame: As `measure` returns it.
        method: Which recipe; the first that is no baseline by default.

    Returns:
        Sentences: whether more data helps, whether training beats the baseline, and how far from
        chance the result is.
    """
    method = method or next(m for m in frame["method"] if m != RIDGE)
    curve = frame[frame["method"] == method].groupby("n_images")["rsum"].mean()
    last, best = int(curve.index[-1]), float(curve.iloc[-1])
    blind = float(frame["chance"].iloc[0])
    said = [f"{method} on {last:,} training images: rsum {best:.0f}; a blind guess {blind:.0f}."]
    if len(curve) > 1:
        before = int(curve.index[-2])
        gain = float(curve.iloc[-1] - curve.iloc[-2]) / np.log2(last / before)
        said.append(
            f"The last step, from {before:,} to {last:,} images, brought {gain:+.0f} rsum for each "
            "doubling: "
            + ("more photographs will help most." if gain > 5 else "the curve has become flat.")
        )
    floor = frame[frame["method"] == RIDGE].groupby("n_images")["rsum"].mean()
    both = curve.index.intersection(floor.index)
    lost = [size for size in both if curve[size] <= floor[size]]
    if lost:
        said.append(
            f"Ridge regression, without training, is at least as good on "
            f"{', '.join(f'{size:,}' for size in lost)} images: with so little data take it, "
            "or a model that was trained on more."
        )
    if best < 3 * blind:
        said.append("That is less than three times chance: too little data for any use.")
    return said


def plot(frame: pd.DataFrame, title: str | None = None) -> Picture:
    """Rsum against the number of training images, log scale, every seed as a dot.

    Args:
        frame: As `measure` returns it, or several of them below each other.
        title: Such as the data set's name; say "toy" there where it is toy data.
    """
    with mpl.rc_context(style()):
        figure = Picture(figsize=(7.5, 4.4), layout="constrained")
        axes = figure.subplots()
        look = {"x": "n_images", "y": "rsum", "hue": "method", "style": "method", "ax": axes}
        look |= {"palette": PALETTE[: frame["method"].nunique()]}
        sns.lineplot(frame, markers=True, errorbar=None, **look)
        sns.scatterplot(frame, s=18, alpha=0.6, legend=False, **look)
        blind = frame.sort_values("n_images")
        axes.plot(blind["n_images"], blind["chance"], ":", color=GREY, label="blind guess")
        sizes = sorted(set(frame["n_images"]))
        axes.set(
            xscale="log", xlabel="training images (log scale)", ylabel="rsum on the test images"
        )
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.legend(title=None)
        if title:
            axes.set_title(title, parse_math=False)
        return figure
