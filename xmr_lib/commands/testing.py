"""The command that tests: `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from xmr_lib.choices import Protocol
from xmr_lib.command_line import TOY, OfData, Positional, print_metrics
from xmr_lib.errors import DataError


def evaluate(
    run: Positional[Path | None] = None,
    test_protocol: Protocol = "all",
    split: str | None = None,
    baseline: Literal["ridge"] | None = None,
    also: tuple[Path, ...] = (),
    rerank: bool = False,
    k1: int = 20,
    k2: int = 6,
    lam: float = 0.3,
    examples: int = 0,
    words_only: bool = False,
    source: OfData = TOY,
    backbone: str | None = None,
) -> None:
    """Evaluate a run, or a baseline that needs no training, and say how sure the numbers are.

    Args:
        run: Folder of a run. Without one, give --baseline.
        also: Folders of more runs on the same data, which make an ensemble with the first.
        rerank: Also re-rank with the help of the other test items (transductive).
        k1: Of the re-ranking: neighbours that describe an item.
        k2: Of the re-ranking: neighbours that descriptions are averaged over.
        lam: Of the re-ranking: weight of the original distance.
        test_protocol: all, 5k, 1k-folds (mean of five thousands) or first-1k.
        split: Split to evaluate on; by default the one the run reports on.
        baseline: A closed-form baseline on the same images, for comparison.
        examples: Draw so many searches of the run, evenly spaced over its captions.
        words_only: Draw images as captions, for photographs that may not be passed on.
        source: Which captioned images, for a baseline without a run.
        backbone: Network whose features the baseline uses.
    """
    from xmr_lib import evaluation, runs, training
    from xmr_lib.ensemble import Ensemble
    from xmr_lib.evaluation import joined
    from xmr_lib.reranking import Settings
    from xmr_lib.sources import features_of
    from xmr_lib.stats import baselines
    from xmr_lib.stats.significance import bootstrap_interval

    if run is None and baseline is None:
        raise DataError("Give the folder of a run, or --baseline ridge.")
    rows, results = {}, {}
    if run is not None:
        trained = runs.load(run)
        for member in also:
            more = runs.load(member, data=trained.data)
            names = " + ".join([trained.name, more.name])
            trained = Ensemble(names, (*trained.runs, more))
        whole = trained.data
        report = whole.split(split) if split else trained.report
        results[trained.name] = trained.evaluate(test_protocol, report)
        if rerank:
            results[f"{trained.name}-rerank (transductive)"] = trained.evaluate(
                test_protocol, report, Settings(k1, k2, lam)
            )
        backbone = trained.runs[0].features.backbone
    else:
        whole = source.load()
        report = whole.split(split) if split else training.three_parts(whole)[2]
    if baseline:
        learn = training.three_parts(whole)[0]
        features = features_of(whole, backbone=backbone)
        images, captions = baselines.ridge(learn, report, features)
        results[baseline] = evaluation.evaluate_protocol(
            baselines.score, images, captions, report.image_of_caption, test_protocol
        )
    for name, parts in results.items():
        rows[name] = evaluation.mean_metrics(parts)
    print_metrics(rows)
    for name, parts in results.items():
        low, high = bootstrap_interval(joined(parts))
        print(f"{name}: rsum between {low:.1f} and {high:.1f} (95 %, bootstrap over images)")
    if run is not None and examples:
        from xmr_lib import examples as searches
        from xmr_lib import figures

        picture = searches.text_to_image(trained, examples, words_only=words_only)
        print(f"Picture: {figures.save(picture, run / 'examples.png')}")
    if run is not None and baseline:
        ahead = rows[trained.name]["rsum"] - rows[baseline]["rsum"]
        if ahead <= 0:
            print(f"The trained model does not beat the {baseline} baseline ({ahead:+.1f} rsum).")
