"""`python -m xmr_lib demo`: train VSE++ and RFE on toy scenes, compare, search."""

from __future__ import annotations

import time

import pandas as pd

from xmr_lib import examples, figures, runs
from xmr_lib.evaluation import RECALLS
from xmr_lib.losses import plateau
from xmr_lib.paths import figures_dir, project_dir
from xmr_lib.runs import Run
from xmr_lib.significance import bootstrap_interval, paired_bootstrap

RECIPES = ("VSE++", "RFE")
N_QUERIES, TOP_K = 4, 5


def main() -> None:
    """Trains (or finds) both runs, prints their table and draws curve and retrievals."""
    started = time.perf_counter()
    print("Training VSE++ and RFE on 2,000 drawn scenes (toy numbers, not those of the papers) …")
    both = {name: runs.run(name, "toy") for name in RECIPES}
    print(table(both))
    vsepp, rfe = (both[name].retrieval for name in RECIPES)
    print(f"\nRFE − VSE++: {paired_bootstrap([rfe], [vsepp])}")
    print("\nPictures:")
    for name, picture in draw(both).items():
        path = figures.save(picture, figures_dir() / f"demo_{name}.png")
        print(f"  {path.relative_to(project_dir()) if project_dir() in path.parents else path}")
    rfe_folder = both["RFE"].folder
    if project_dir() in rfe_folder.parents:
        rfe_folder = rfe_folder.relative_to(project_dir())
    print(
        f"\nDone in {time.perf_counter() - started:.0f} s. Search yourself:\n"
        f'  python -m xmr_lib search {rfe_folder} "a red car in front of a house"'
    )


def table(both: dict[str, Run]) -> str:
    """Recalls of both directions and rsum with its 95 % interval over images."""
    rows = {}
    for name, run in both.items():
        low, high = bootstrap_interval(run.retrieval)
        numbers = {metric: f"{run.metrics[metric]:.1f}" for metric in RECALLS}
        rows[name] = {
            **numbers,
            "rsum [95 %]": f"{run.metrics['rsum']:.1f} [{low:.1f}, {high:.1f}]",
        }
    return pd.DataFrame(rows).T.to_string()


def draw(both: dict[str, Run]) -> dict[str, figures.Figure]:
    """A training curve, and the top answers of RFE in both directions."""
    rfe = both["RFE"]
    bound = plateau(rfe.recipe.batch_size, rfe.recipe.margin)
    return {
        "history": figures.plot_history(rfe.history, bound, "RFE on toy scenes"),
        "text_to_image": examples.text_to_image(rfe, N_QUERIES, TOP_K),
        "image_to_text": examples.image_to_text(rfe, rfe.report.n_images // 3, TOP_K),
    }
