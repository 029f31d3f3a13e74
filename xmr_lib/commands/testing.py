"""The command that tests: `evaluate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xmr_lib.choices import Protocol
from xmr_lib.command_line import OfOwnData, OwnData, Positional, print_metrics, require
from xmr_lib.errors import DataError
from xmr_lib.sources import DataSource

if TYPE_CHECKING:
    from xmr_lib.runs import Run

OWN = OwnData()


def evaluate(
    run: Positional[Path | None] = None,
    test_protocol: Protocol = "all",
    split: str | None = None,
    baseline: Literal["ridge"] | None = None,
    also: tuple[Path, ...] = (),
    rerank: bool = False,
    k1: int | None = None,
    k2: int | None = None,
    lam: float | None = None,
    examples: int = 0,
    words_only: bool = False,
    source: OfOwnData = OWN,
    backbone: str | None = None,
) -> None:
    """Evaluate a run, or a baseline that needs no training, and say how sure the numbers are.

    Args:
        run: Folder of a run. Without one, give --baseline.
        also: Folders of more runs on the same data, which make an ensemble with the first.
        rerank: Also re-rank with the help of the other test items (transductive).
        k1: Of the re-ranking: neighbours that describe an item; 20 by default.
        k2: Of the re-ranking: neighbours that descriptions are averaged over; 6 by default.
        lam: Of the re-ranking: weight of the original distance; 0.3 by default.
        test_protocol: all, 5k, 1k-folds (mean of five thousands) or first-1k.
        split: Split to evaluate on; by default the one the run reports on.
        baseline: A closed-form baseline on the same images, for comparison.
        examples: Draw so many searches of the run, evenly spaced over its captions.
        words_only: Draw images as captions, for photographs that may not be passed on.
        source: Other captioned images to test the run on, or where its own are now; its own by
            default. Without a run: what the baseline is fitted to, the toy scenes by default.
        backbone: Network whose features the baseline uses.
    """
    from xmr_lib import evaluation, training
    from xmr_lib.data.remarks import remarks
    from xmr_lib.ensemble import Ensemble
    from xmr_lib.evaluation import joined
    from xmr_lib.reranking import Settings
    from xmr_lib.sources import features_of
    from xmr_lib.stats import baselines
    from xmr_lib.stats.significance import bootstrap_interval

    if run is None and baseline is None:
        raise DataError("Give the folder of a run, or --baseline ridge.")
    require("the folder of a run", run is not None, also=also, rerank=rerank, examples=examples)
    require("--baseline without a run", run is None, backbone=backbone)
    require("--rerank", rerank, k1=k1, k2=k2, lam=lam)
    require("--examples", examples > 0, words_only=words_only)
    given = {name: value for name, value in (("k1", k1), ("k2", k2), ("lam", lam)) if value}
    rows, results = {}, {}
    if run is not None:
        trained = _opened(run, source)
        for member in also:
            more = _opened(member, source)
            names = " + ".join([trained.name, more.name])
            trained = Ensemble(names, (*trained.runs, more))
        whole = trained.data
        report = whole.split(split) if split else trained.report
        results[trained.name] = trained.evaluate(test_protocol, report)
        if rerank:
            results[f"{trained.name}-rerank (transductive)"] = trained.evaluate(
                test_protocol, report, Settings(**given)
            )
        backbone = trained.runs[0].backbone
        if trained.runs[0].at_home is None:
            print(f"Tested on {whole.name}; {trained.name} was trained on other data.")
    else:
        whole = replace(source, data=source.data or "toy").load()
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
    if run is not None:
        for line in remarks(whole, trained.runs[0].vocabulary, str(report.splits[0])):
            print(line)
    if run is not None and examples:
        from xmr_lib import examples as searches
        from xmr_lib import figures

        picture = searches.text_to_image(trained, examples, words_only=words_only)
        print(f"Picture: {figures.save(picture, run / 'examples.png')}")
    if run is not None and baseline:
        ahead = rows[trained.name]["rsum"] - rows[baseline]["rsum"]
        if ahead <= 0:
            print(f"The trained model does not beat the {baseline} baseline ({ahead:+.1f} rsum).")


def _opened(folder: Path, source: OwnData) -> Run:
    """A run, on its own data, also where that was moved, or on the data that is named."""
    from xmr_lib import runs
    from xmr_lib.run_folders import read_run

    if source == OWN:
        return runs.load(folder)
    recorded, given = read_run(folder)["data"], DataSource(**vars(source))
    if recorded is None:
        return runs.load(folder, data=given, other=True)
    named = {key: value for key, value in vars(given).items() if value != vars(OWN)[key]}
    moved = replace(DataSource(**recorded), **named)  # read as before, from another place
    if moved == given or not given.data:
        return runs.load(folder, data=moved, other=True)
    try:
        return runs.load(folder, data=moved)
    except DataError:
        return runs.load(folder, data=given, other=True)
