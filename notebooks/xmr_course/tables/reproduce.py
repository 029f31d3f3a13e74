"""A printed table beside what the kit measures: `reproduce("rfe-6")`.

Every row that has a recipe is trained with several seeds (finished runs are reused, killed ones
continue) and compared with the table's baseline on the same test images. Rows without a recipe are
shown as printed.

Measured tables are written to `reproduce/` in the folder of pictures. Those that come with the kit
lie in `figures/reproduce/` of the checkout and are never replaced by a run of a command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from xmr_course.tables import paper
from xmr_course.tables.paper import PaperTable
from xmr_course.tables.pictures import plot_comparison
from xmr_course.tables.rows import KnownFeatures, TrainedRows, label_of
from xmr_lib import distributed, figures, recipes, reranking
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.evaluation import RECALLS, Protocol, Retrieval, joined
from xmr_lib.files import atomic, figures_dir
from xmr_lib.recipes import Composition, Scale
from xmr_lib.retriever import Retriever
from xmr_lib.sources import DataSource, is_toy, named, source_and_data
from xmr_lib.stats import significance

SHIPPED = Path(__file__).parents[3] / "figures" / "reproduce"  # of the checkout
METRICS = (*RECALLS, "rsum")
SIGNS = {
    "ensemble": ("⊕", "⊕ several models together"),
    "transductive": ("†", "† re-ranked with the help of the other test items (transductive)"),
}


def reproduce(
    table: str,
    data: str | Path | DataSource | CaptionedImages = "toy",
    seeds: Sequence[int] = (0, 1, 2),
    scale: Scale | None = None,
    *,
    backbone: str | None = None,
    regions: str | None = None,
    features: Features | None = None,
    protocol: Protocol | None = None,
    rows: Sequence[str] = (),
    extra: Sequence[str] = (),
    transfer_to: str | Path | DataSource | CaptionedImages | None = None,
    root: Path | None = None,
    out: Path | None = None,
    **overrides: Any,
) -> pd.DataFrame:
    """Trains the rows of a printed table and puts measured numbers beside the printed ones.

    Args:
        table: Such as "rfe-6" (see `xmr_course.tables.paper.names`).
        data: What to train and test on, as for `xmr_lib.runs.run`.
        seeds: One run each.
        scale: "toy", "laptop" or "paper"; by default "toy" on toy scenes, else "laptop".
        backbone: As for `runs.run`.
        regions: As for `runs.run`.
        features: Pooled features extracted before.
        protocol: Test protocol; by default the table's own where the data has enough test images,
            else all of them at once.
        rows: Train only these rows, named by method or recipe; the others are shown as printed.
        extra: Rows that are not printed, by the names of recipes, ensembles or re-ranked ones.
        transfer_to: Test on this data set, which is not used in training (SMFEA Table 4); the
            column `at_home_rsum` holds the rsum of the same runs on the data they were trained on.
        root: Folder of the runs; `files.runs_dir()` by default.
        out: Folder of the CSV and the picture; `reproduce/` of `files.figures_dir()` by default.
        overrides: Fields of every recipe, such as `epochs=3`.

    Returns:
        One row per printed row: `method`, `recipe`, `mark` ("ensemble", "transductive" or ""),
        `status`, `seeds`, `printed_*`, `measured_*` (mean over seeds), `sd_*` (NaN for a single
        seed), `seconds` (of training, mean), `against` (the row compared with), `difference` of
        rsum with `low` and `high` (95 % paired bootstrap), and `verdict`: "baseline", "real",
        "noise" or "". `attrs["title"]` says what was measured.

    Raises:
        UnknownNameError: No such table.
        DataError: No row of the table can be trained (yet).
    """
    for name in extra:
        recipes.compose(name)  # before anything is trained
    printed = paper.with_rows(paper.table(table), extra)
    _require_recipes(printed)
    if not seeds:
        raise DataError("Give at least one seed.")
    source = named(data)
    data = source_and_data(source)[1]
    label = label_of(source, data)
    toy = is_toy(data)
    scale = scale or ("toy" if toy else "laptop")
    chosen = {
        method: recipes.compose(name)
        for method, name in printed.recipe_of_row.items()
        if name and (not rows or {method, name} & {*rows, *extra})
    }
    if unknown := set(rows) - set(chosen) - {each.name for each in chosen.values()}:
        trainable = [method for method, name in printed.recipe_of_row.items() if name]
        raise UnknownNameError(f"trainable row of {table}", unknown.pop(), trainable)
    known = KnownFeatures(source, data, backbone, regions, features)
    trained = TrainedRows(printed, source, known, scale, overrides, root)
    target = named(transfer_to)
    goal = target and source_and_data(target)[1]
    measured: dict[str, list[Retrieval]] = {method: [] for method in chosen}
    at_home: dict[str, list[float]] = {method: [] for method in chosen}
    seconds: dict[str, list[float]] = {method: [] for method in chosen}
    jobs = [(method, seed) for seed in seeds for method in chosen]
    for method, seed in tqdm(jobs, desc=f"reproduce {table}"):
        found = trained.get(chosen[method], seed)
        if target is not None:
            at_home[method].append(found.metrics["rsum"])
            found = found.on(target)  # with its source: it may bring its own regions
        protocol = protocol or _protocol(printed, found.report.n_images)
        measured[method].append(_retrieval(found, chosen[method], protocol))
        seconds[method].append(found.seconds)
    frame = _compare(printed, chosen, measured)
    frame["seeds"] = [len(measured.get(method, ())) for method in printed.methods]
    frame["seconds"] = [np.mean(seconds.get(method) or np.nan) for method in printed.methods]
    where = data.name
    if target is not None:
        frame["at_home_rsum"] = [np.mean(at_home.get(m) or np.nan) for m in printed.methods]
        where = f"{label} → {label_of(target, goal)}"  # short enough for a title
        label = f"{label}-to-{label_of(target, goal)}"
        toy = toy or is_toy(goal)
    frame.attrs["title"] = _title(printed, where, toy, scale, protocol, seeds)
    frame.attrs["notes"] = [str(note) for note in printed.footnotes]
    if distributed.is_main():  # of several processes, one writes
        _save(frame, out or figures_dir() / "reproduce", f"{table}-{label}", scale, toy)
    return frame


def folders() -> list[Path]:
    """Folders of measured tables: those that come with the kit first, then those of this user."""
    return [SHIPPED, figures_dir() / "reproduce"]


def file_of(table: str, label: str, folder: Path | None = None) -> Path:
    """The CSV of a measured table; one that comes with the kit is preferred.

    Args:
        table: Such as "rfe-6".
        label: "toy", or the data set's name; the CSV is called after it.
        folder: Where to look; `folders()` by default.

    Raises:
        DataError: It has not been measured yet; the message holds the command.
    """
    files = [each / f"{table}-{label}.csv" for each in ([folder] if folder else folders())]
    for file in files:
        if file.is_file():
            return file
    raise DataError(
        f"{files[-1]} is missing: measure it with `python -m xmr_course reproduce {table}"
        f"{'' if label == 'toy' else ' --data …'}` (finished runs are reused)."
    )


def saved(table: str, label: str = "toy", folder: Path | None = None) -> pd.DataFrame:
    """What an earlier `reproduce` of a table measured, read from its CSV: nothing is trained.

    Args:
        table: Such as "rfe-6".
        label: As for `file_of`.
        folder: As for `file_of`.

    Raises:
        UnknownNameError: No such table.
        DataError: That has not been measured yet; the message holds the command.
    """
    printed = paper.table(table)
    file = file_of(table, label, folder)
    frame = pd.read_csv(file)
    printed = paper.with_rows(printed, frame["method"].tolist())
    frame["mark"] = [printed.mark(method) for method in printed.methods]
    frame["status"] = [printed.status(method) for method in printed.methods]  # as of today
    for column in ("recipe", "against", "verdict"):
        frame[column] = frame[column].astype(object).fillna("")  # all empty: read as numbers
    frame.attrs["title"] = f"{printed.title}\nprinted: {printed.dataset} · measured: " + (
        "TOY NUMBERS from drawn scenes" if label.startswith("toy") else label
    )
    shown = file.relative_to(SHIPPED.parents[1]) if SHIPPED in file.parents else file
    frame.attrs["notes"] = [*map(str, printed.footnotes), f"Measured numbers: {shown.as_posix()}"]
    return frame


def to_text(frame: pd.DataFrame) -> str:
    """The result of `reproduce` as a table to print: printed | measured ± s.d. | difference."""
    lines = []
    against = [name for name in frame["against"].unique() if name]
    for row in frame.to_dict("records"):
        line = {"": marked(row)}
        for metric in ("i2t_r1", "t2i_r1", "rsum"):
            line[f"{metric} printed"] = _number(row[f"printed_{metric}"])
        for metric in ("i2t_r1", "t2i_r1", "rsum"):
            spread = "" if pd.isna(row[f"sd_{metric}"]) else f" ± {row[f'sd_{metric}']:.1f}"
            line[f"{metric} measured"] = _number(row[f"measured_{metric}"]) + spread
        line["rsum difference [95 %]"] = (
            f"{row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
            if row["verdict"] in ("real", "noise")
            else ""
        )
        if len(against) > 1:
            line["against"] = row["against"]
        unmeasured = "not measured" if row["status"] == "recipe" else row["status"]
        line["verdict"] = row["verdict"] or unmeasured
        lines.append(line)
    body = pd.DataFrame(lines).to_string(index=False)
    reading = [f"Differences are against {name}." for name in against if len(against) == 1]
    reading += [text for sign, text in SIGNS.values() if body.count(sign)]
    if "at_home_rsum" in frame:
        at_home = frame.set_index("method")["at_home_rsum"].dropna()
        each = ", ".join(f"{method} {rsum:.1f}" for method, rsum in at_home.items())
        reading.append(f"rsum of the same runs on the data they were trained on: {each}.")
    return "\n".join([frame.attrs["title"], body, *reading, *frame.attrs["notes"]])


def marked(row: Mapping[str, Any]) -> str:
    """A row's name with the signs of ensembles (⊕) and transductive re-ranking (†)."""
    signs = [sign for name, (sign, _) in SIGNS.items() if name in row["mark"]]
    return " ".join([row["method"], *signs])


def _require_recipes(printed: PaperTable) -> None:
    if not printed.has_recalls:
        raise DataError(
            f"{printed.name} prints seconds, not recalls: `timing.reproduce_times` measures them."
        )
    if not any(printed.recipe_of_row.values()):
        raise DataError(
            f"No row of {printed.name} ({printed.caption}) can be trained yet. "
            f'`paper.table("{printed.name}")` shows it as printed.'
        )


def _protocol(printed: PaperTable, n_images: int) -> Protocol:
    """The table's own protocol where the test split is large enough for it."""
    return printed.protocol if printed.dataset == "coco" and n_images == 5000 else "all"


def _retrieval(found: Retriever, row: Composition, protocol: Protocol) -> Retrieval:
    if protocol == "all" and not row.rerank:
        return found.retrieval
    return joined(found.evaluate(protocol, rerank=reranking.Settings() if row.rerank else None))


def _compare(
    printed: PaperTable, chosen: dict[str, Composition], measured: dict[str, list[Retrieval]]
) -> pd.DataFrame:
    frame = printed.frame[["method"]].assign(
        recipe=[chosen[m].name if m in chosen else "" for m in printed.methods],
        mark=[printed.mark(method) for method in printed.methods],
        status=[printed.status(method) for method in printed.methods],
        **{f"printed_{metric}": printed.frame[metric] for metric in METRICS},
    )
    rows = []
    for method in printed.methods:
        each = pd.DataFrame([r.metrics() for r in measured.get(method, [])], columns=list(METRICS))
        row = {f"measured_{metric}": each[metric].mean() for metric in METRICS}
        row |= {f"sd_{metric}": each[metric].std() for metric in METRICS}  # NaN for one seed
        row |= {"against": "", "difference": np.nan, "low": np.nan, "high": np.nan, "verdict": ""}
        other = _compared_with(method, chosen)
        if other == method:
            row["verdict"] = "baseline"
        elif method in measured:
            found = significance.paired_bootstrap(measured[method], measured[other])
            row |= {
                "against": other,
                "difference": found.difference,
                "low": found.low,
                "high": found.high,
                "verdict": "noise" if found.noise else "real",
            }
        rows.append(row)
    return pd.concat([frame, pd.DataFrame(rows)], axis=1)


def _compared_with(method: str, chosen: dict[str, Composition]) -> str | None:
    """The row that a row is compared with; a row that is compared with itself is a baseline.

    A re-ranked row is compared with the same model before re-ranking, SCAN-RFE with the same SCAN,
    an ensemble with its first member, everything else with VSE++. If that row is missing, the
    paper's margin (RFE Table I), SMFEA (its Tables 5 to 7) or the first row takes its place.
    """
    if method not in chosen:
        return None
    row, row_of = chosen[method], {each.name: other for other, each in chosen.items()}
    near = [
        row.name.removesuffix(recipes.RERANK) if row.rerank else None,
        row.name.replace("SCAN-RFE", "SCAN") if row.name.startswith("SCAN-RFE") else None,
        row.members[0] if len(row.members) > 1 else None,
        "VSE++",
        "avg-4-GRU-emb-avg mg=0.2",
        "SMFEA",
    ]
    for name in near:
        if row_of.get(name) == method:
            return method
        if name in row_of:
            return row_of[name]
    return next(iter(row_of.values())) if not set(near[3:]) & set(row_of) else method


def _title(
    printed: PaperTable, name: str, toy: bool, scale: Scale, protocol: str, seeds: Sequence[int]
) -> str:
    what = "TOY NUMBERS from drawn scenes" if toy else name
    what += f" ({name})" if toy and "→" in name else ""
    n = f"{len(seeds)} seed" + ("s" if len(seeds) > 1 else "")
    return (
        f"{printed.title}\n"
        f"printed: {printed.dataset}, {printed.protocol} · "
        f"measured: {what}, {protocol}, scale {scale}, {n}"
    )


def _save(frame: pd.DataFrame, folder: Path, name: str, scale: Scale, toy: bool) -> None:
    """Writes table and picture; one of fewer runs never replaces one of more."""
    usual = scale == ("toy" if toy else "laptop")
    file = folder / (f"{name}.csv" if usual else f"{name}-{scale}.csv")
    if file.is_file() and pd.read_csv(file)["seeds"].sum() > frame["seeds"].sum():
        file = file.with_stem(f"{file.stem}-partial")
    with atomic(file) as temporary:
        frame.round(3).to_csv(temporary, index=False)
    shown = frame.assign(method=[marked(row) for row in frame.to_dict("records")])
    signs = [text for sign, text in SIGNS.values() if shown["method"].str.contains(sign).any()]
    if len(set(frame["against"]) - {""}) > 1:
        signs.append("differences of rsum: each row against the one that it builds on, else VSE++")
    picture = plot_comparison(shown, "\n".join([frame.attrs["title"], *signs]))
    frame.attrs["csv"] = str(file)
    frame.attrs["picture"] = str(figures.save(picture, file.with_suffix(".png")))


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.1f}"
