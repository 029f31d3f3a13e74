"""Commands that train, and prepare to: `train`, `extract`."""

from __future__ import annotations

from xmr_lib.choices import Scale
from xmr_lib.command_line import TOY, OfData, Positional, overrides_of, print_metrics


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
        resume: Continue a killed run and reuse a finished one; --no-resume starts anew.
        set: Fields of the recipe to change, as margin=0.3 epochs=5.
    """
    from xmr_lib import distributed, ensemble, recipes, reranking
    from xmr_lib.data.remarks import remarks

    overrides = overrides_of(set) | ({"finetune_epochs": finetune} if finetune else {})
    options = {"scale": scale, "backbone": backbone, "regions": regions} | overrides
    result = ensemble.train(recipe, source, seed=seed, resume=resume, **options)
    if not distributed.is_main():  # of several processes, the first reports
        return
    rows = {run.name: run.metrics for run in result.runs}
    rows[result.name] = result.metrics
    if recipes.compose(recipe).rerank:
        rows[f"{recipe} (transductive)"] = result.evaluate(rerank=reranking.Settings())[0].metrics()
    print_metrics(rows)
    report = result.report
    counts = f"{report.n_images} images, {report.n_captions} captions"
    print(f"{counts}; trained in {result.seconds:.0f} s.")
    for line in remarks(result.data, result.runs[0].vocabulary, str(report.splits[0])):
        print(line)
    for run in result.runs:
        print(f"Run: {run.folder}")


def extract(
    source: OfData = TOY,
    backbone: str | None = None,
    transform: str | None = None,
    regions: str | None = None,
) -> None:
    """Compute the backbone's features of all images once; continues where it was stopped.

    Args:
        source: Which captioned images.
        backbone: Network whose features are used: toy, efficientnet-lite0, resnet18/50/101/152.
        transform: rfe, vsepp or whole; the backbone's own by default.
        regions: Features of regions instead of whole images, for SCAN: boxes, grid, grid-<cells>,
            detector, or a TSV file of bottom-up attention.
    """
    from xmr_lib.sources import features_of, refuse_unused

    refuse_unused(source, regions, backbone=backbone, transform=transform)
    made = {"backbone": backbone, "kind": regions, "transform": transform}
    found = features_of(source.load(), source, of_regions=regions is not None, **made)
    shape = " × ".join(map(str, found.array.shape[1:]))
    print(f"{len(found.array)} images × {shape} numbers in {found.folder}")
