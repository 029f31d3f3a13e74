"""Commands that train, and prepare to: `train`, `reproduce`, `learning-curve`, `extract`."""

from __future__ import annotations

from pathlib import Path

from xmr_lib.commands.shared import TOY, OfData, Positional, overrides_of, print_metrics
from xmr_lib.recipes import Scale


def train(
    recipe: Positional[str],
    source: OfData = TOY,
    backbone: str | None = None,
    regions: str | None = None,
    scale: Scale | None = None,
    seed: int = 0,
    finetune: int = 0,
    resume: bool = True,
    set: tuple[str, ...] = (),
) -> None:
    """Train a recipe and report on its test split; finished runs are reused.

    Args:
        recipe: A row of the papers' tables, such as VSE++, RFE, "SCAN t-i AVG"; an ensemble, as
            RFE-ensemble or "A + B"; one of these re-ranked, as RFE-rerank (transductive).
        source: Which captioned images.
        backbone: Network whose features are used: toy, efficientnet-lite0, resnet18/50/101/152.
        regions: For SCAN and SMFEA: boxes (of toy scenes), grid, grid-<cells>, detector, or a TSV
            file of bottom-up attention.
        scale: Sizes and epochs: toy, laptop or paper. Default: toy on toy scenes, else laptop.
        seed: Seed of weights and batches.
        finetune: Epochs of a second stage that trains the CNN too, at 2e-5.
        resume: Go on with a killed run and reuse a finished one; --no-resume starts anew.
        set: Fields of the recipe to change, as margin=0.3 epochs=5.
    """
    from xmr_lib import distributed, ensemble, recipes, rerank

    overrides = overrides_of(set) | ({"finetune_epochs": finetune} if finetune else {})
    result = ensemble.train(
        recipe, source, scale=scale, seed=seed, backbone=backbone, regions=regions, resume=resume,
        **overrides,
    )  # fmt: skip
    if not distributed.is_main():  # of several processes, the first reports
        return
    rows = {run.name: run.metrics for run in result.runs}
    rows[result.name] = result.metrics
    if recipes.compose(recipe).rerank:
        rows[f"{recipe} (transductive)"] = result.evaluate(rerank=rerank.Settings())[0].metrics()
    print_metrics(rows)
    print(f"{result.report.n_images} images, {result.report.n_captions} captions; "
          f"trained in {result.seconds:.0f} s.")  # fmt: skip
    for run in result.runs:
        print(f"Run: {run.folder}")


def reproduce(
    table: Positional[str],
    source: OfData = TOY,
    backbone: str | None = None,
    regions: str | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    scale: Scale | None = None,
    rows: tuple[str, ...] = (),
    extra: tuple[str, ...] = (),
    transfer_to: str | None = None,
) -> None:
    """Train the rows of a printed table and show printed and measured numbers side by side.

    Args:
        table: rfe-1 … rfe-10, smfea-1 … smfea-7.
        source: Which captioned images.
        backbone: Network whose features are used: toy, efficientnet-lite0, resnet18/50/101/152.
        regions: For SCAN and SMFEA: boxes (of toy scenes), grid, grid-<cells>, detector, or a TSV
            file of bottom-up attention.
        seeds: Seeds; several give a standard deviation.
        scale: Sizes and epochs: toy, laptop or paper.
        rows: Train only these rows, by their printed names or recipes; all by default.
        extra: Rows that are not printed, such as "SCAN-RFE t-i AVG-rerank".
        transfer_to: Test on this data set instead of the one trained on, as SMFEA's Table 4 does:
            toy:sketch, or a folder as for --data.
    """
    from xmr_lib import distributed
    from xmr_lib import reproduce as reproduction

    distributed.join()
    reproduction.show(table, source, seeds=seeds, scale=scale, backbone=backbone, regions=regions,
                      rows=rows, extra=extra, transfer_to=transfer_to)  # fmt: skip


def extract(
    source: OfData = TOY,
    backbone: str | None = None,
    transform: str | None = None,
    regions: str | None = None,
) -> None:
    """Compute the backbone's features of all images once; goes on where it was stopped.

    Args:
        source: Which captioned images.
        backbone: Network whose features are used: toy, efficientnet-lite0, resnet18/50/101/152.
        transform: rfe, vsepp or whole; the backbone's own by default.
        regions: Features of regions instead of whole images, for SCAN: boxes, grid, grid-<cells>,
            detector, or a TSV file of bottom-up attention.
    """
    from xmr_lib.sources import features_of

    found = features_of(
        source.load(), source, of_regions=regions is not None, backbone=backbone, kind=regions,
        transform=transform,
    )  # fmt: skip
    shape = " × ".join(map(str, found.array.shape[1:]))
    print(f"{len(found.array)} images × {shape} numbers in {found.folder}")


def learning_curve(
    recipe: Positional[str] = "VSE++",
    source: OfData = TOY,
    backbone: str | None = None,
    regions: str | None = None,
    scale: Scale | None = None,
    sizes: tuple[int, ...] = (),
    seeds: tuple[int, ...] = (0,),
    out: Path | None = None,
    set: tuple[str, ...] = (),
) -> None:
    """Train on more and more of the images: is it enough data, and would more help?

    Args:
        recipe: A row of the papers' tables that is trained (no ensemble).
        source: Which captioned images.
        backbone: Network whose features are used: toy, efficientnet-lite0, resnet18/50/101/152.
        regions: Which regions, for SCAN and SMFEA.
        scale: Sizes and epochs: toy, laptop or paper.
        sizes: Numbers of training images; 50, 100, 200, 500 … and all by default.
        seeds: Seeds of weights, and of which images are kept.
        out: File of the picture, by default figures/learning_curve_<data>.png; a table lies beside
            it.
        set: Fields of the recipe to change, as margin=0.3.
    """
    from xmr_lib import figures
    from xmr_lib import learning_curve as curves
    from xmr_lib.paths import figures_dir

    frame = curves.measure(
        recipe, source, sizes=sizes, seeds=seeds, scale=scale, backbone=backbone, regions=regions,
        **overrides_of(set),
    )  # fmt: skip
    columns = ["method", "n_images", "i2t_r1", "t2i_r1", "rsum", "chance"]
    shown = frame[columns].groupby(["method", "n_images"], sort=False).mean()
    print(shown.round(1).to_string())
    for line in curves.advice(frame):
        print(line)
    picture = curves.plot(frame, frame.attrs["title"])
    path = figures.save(
        picture, out or figures_dir() / f"learning_curve_{frame.attrs['label']}.png"
    )
    frame.round(2).to_csv(path.with_suffix(".csv"), index=False)
    print(f"Picture: {path}, table: {path.with_suffix('.csv').name}")
