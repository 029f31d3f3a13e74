"""The command line: `python -m xmr_lib demo | train | evaluate | search | reproduce | …`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import tyro

from xmr_lib.errors import DataError, UnknownNameError, XMRError
from xmr_lib.evaluation import Protocol
from xmr_lib.recipes import Scale
from xmr_lib.runs import DataSource

Positional = tyro.conf.Positional


OfData = Annotated[DataSource, tyro.conf.arg(name="")]
TOY = DataSource()
PICTURES = (".png", ".jpg", ".svg", ".pdf")


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
    from xmr_lib import ensemble, recipes, rerank

    overrides = _overrides(set) | ({"finetune_epochs": finetune} if finetune else {})
    result = ensemble.train(
        recipe, source, scale=scale, seed=seed, backbone=backbone, regions=regions, resume=resume,
        **overrides,
    )  # fmt: skip
    rows = {run.name: run.metrics for run in result.runs}
    rows[result.name] = result.metrics
    if recipes.compose(recipe).rerank:
        rows[f"{recipe} (transductive)"] = result.evaluate(rerank=rerank.Settings())[0].metrics()
    _print_metrics(rows)
    print(f"{result.report.n_images} images, {result.report.n_captions} captions; "
          f"trained in {result.seconds:.0f} s.")  # fmt: skip
    for run in result.runs:
        print(f"Run: {run.folder}")


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
    from xmr_lib import baselines, evaluation, runs, training
    from xmr_lib.ensemble import Ensemble
    from xmr_lib.reproduce import joined
    from xmr_lib.rerank import Settings
    from xmr_lib.significance import bootstrap_interval
    from xmr_lib.sources import features_of

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
    _print_metrics(rows)
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


def search(
    run: Positional[Path],
    sentence: Positional[str | None] = None,
    image: Path | None = None,
    k: int = 5,
    out: Path | None = None,
) -> None:
    """Print the top k images for a sentence, or captions for a photo, and save a picture of them.

    Args:
        run: Folder of a run.
        sentence: What to look for, in quotes.
        image: Any photo, instead of a sentence.
        k: How many to show.
        out: File of the picture; search.png in the run's folder by default.
    """
    from xmr_lib import figures, runs

    if (sentence is None) == (image is None):
        raise DataError('Give a sentence, as in: search RUN "two dogs in the snow", or --image.')
    if k < 1:
        raise DataError(f"--k must be at least 1, not {k}.")
    if out and out.suffix not in PICTURES:
        raise DataError(f"{out}: a picture's name ends in {', '.join(PICTURES)}.")
    trained = runs.load(run)
    if image is None:
        hits = trained.search_images(sentence, k)
        figure = figures.plot_retrieved_images(sentence, hits)
        lines = [hit.image_file.name for hit in hits]
    else:
        hits = trained.search_captions(image, k)
        figure = figures.plot_retrieved_captions(image, hits)
        lines = [hit.caption for hit in hits]
    for place, (hit, line) in enumerate(zip(hits, lines, strict=True), start=1):
        print(f"{place:3}  {hit.score:6.3f}  {line}")
    print(f"Picture: {figures.save(figure, out or run / 'search.png')}")


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
    from xmr_lib import reproduce as reproduction

    reproduction.show(table, source, seeds=seeds, scale=scale, backbone=backbone, regions=regions,
                      rows=rows, extra=extra, transfer_to=transfer_to)  # fmt: skip


def demo() -> None:
    """Train VSE++, RFE and SMFEA on toy scenes, compare them, draw what they find, and trees."""
    from xmr_lib import demo as demonstration

    demonstration.main()


def doctor() -> None:
    """Say what works here, and for what does not, the command that mends it."""
    from xmr_lib import doctor as checkup

    sys.exit(checkup.main())


def pretrain_toy(out: Path | None = None, scenes: int | None = None, epochs: int | None = None,
                 seed: int = 0) -> None:  # fmt: skip
    """Train the toy backbone anew on scenes of its own (it ships trained).

    Args:
        out: Where the weights go; by default the file that ships with the package.
        scenes: Scenes to learn from.
        epochs: Passes over them.
        seed: Seed of weights and order.
    """
    from xmr_lib.encoders import toy_backbone

    given = {"n_scenes": scenes, "epochs": epochs}
    options = {name: value for name, value in given.items() if value is not None}
    for name, value in toy_backbone.pretrain(out, seed=seed, **options).items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")


def toy(out: Path | None = None) -> None:
    """Draw the toy scenes and a sheet of some of them with their captions.

    Args:
        out: File of the sheet; figures/toy_scenes.png by default.
    """
    from xmr_lib.data import toy as scenes
    from xmr_lib.paths import figures_dir

    out = out or figures_dir() / "toy_scenes.png"
    scenes.load()
    scenes.contact_sheet(out)
    print(f"Picture: {out}")


def _overrides(pairs: tuple[str, ...]) -> dict:
    """`margin=0.3` and the like as recipe fields, each read as its field's type."""
    from xmr_lib.recipes import FIELDS

    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise DataError(f"--set takes field=value, as in margin=0.3, not {pair!r}.")
        if name not in FIELDS:  # scale and seed have options of their own
            raise UnknownNameError("recipe field", name, FIELDS)
        values[name] = _value(text)
    return values


def _value(text: str) -> bool | int | float | str | tuple | None:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    if "," in text:
        return tuple(_value(part) for part in text.split(",") if part)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _print_metrics(rows: dict[str, dict[str, float]]) -> None:
    import pandas as pd

    columns = [*(f"{way}_{m}" for way in ("i2t", "t2i") for m in ("r1", "r5", "r10", "medr")),
               "rsum"]  # fmt: skip
    print(pd.DataFrame(rows).T[columns].round(1).to_string())


COMMANDS = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "search": search,
    "reproduce": reproduce,
    "extract": extract,
    "toy": toy,
    "pretrain-toy": pretrain_toy,
    "doctor": doctor,
}


def main(arguments: list[str] | None = None) -> None:
    """Runs a command; errors that the user can mend are one line, not a traceback."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="xmr", args=arguments)
    except XMRError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last finished epoch", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
