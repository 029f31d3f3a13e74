"""`python -m xmr_course demo`: train VSE++, RFE and SMFEA on toy scenes, search, draw."""

from __future__ import annotations

import time

import pandas as pd

from xmr_course import inside
from xmr_course.lessons.tree_drawing import plot_predicted
from xmr_lib import examples, figures, runs
from xmr_lib.data.images import open_image
from xmr_lib.evaluation import RECALLS
from xmr_lib.files import figures_dir, project_dir
from xmr_lib.losses import plateau
from xmr_lib.runs import Run
from xmr_lib.stats.significance import bootstrap_interval, paired_bootstrap

RECIPES = ("VSE++", "RFE", "SMFEA")
N_QUERIES, TOP_K = 4, 5


def main() -> None:
    """Trains (or finds) all runs, prints their table, draws curve, retrievals and trees."""
    started = time.perf_counter()
    print(
        "Training VSE++, RFE and SMFEA on 2,000 drawn scenes (toy numbers, not those of the "
        "papers; SMFEA sees the true boxes of the objects) …"
    )
    trained = {name: runs.run(name, "toy") for name in RECIPES}
    print(table(trained))
    vsepp, rfe, smfea = (trained[name].retrieval for name in RECIPES)
    print(f"\nRFE − VSE++: {paired_bootstrap([rfe], [vsepp])}")
    print(f"SMFEA − VSE++: {paired_bootstrap([smfea], [vsepp])}")
    print("\nPictures:")
    for name, picture in draw(trained).items():
        path = figures.save(picture, figures_dir() / f"demo_{name}.png")
        print(f"  {path.relative_to(project_dir()) if project_dir() in path.parents else path}")
    rfe_folder = trained["RFE"].folder
    if project_dir() in rfe_folder.parents:
        rfe_folder = rfe_folder.relative_to(project_dir())
    print(
        f"\nDone in {time.perf_counter() - started:.0f} s. Search yourself:\n"
        f'  python -m xmr_lib search {rfe_folder} "a red car in front of a house"'
    )


def table(trained: dict[str, Run]) -> str:
    """Recalls of both directions and rsum with its 95 % interval over images."""
    rows = {}
    for name, run in trained.items():
        low, high = bootstrap_interval(run.retrieval)
        numbers = {metric: f"{run.metrics[metric]:.1f}" for metric in RECALLS}
        rows[name] = {
            **numbers,
            "rsum [95 %]": f"{run.metrics['rsum']:.1f} [{low:.1f}, {high:.1f}]",
        }
    return pd.DataFrame(rows).T.to_string()


def draw(trained: dict[str, Run]) -> dict[str, figures.Figure]:
    """A training curve, the top answers of RFE in both directions, and trees of SMFEA."""
    rfe = trained["RFE"]
    bound = plateau(rfe.recipe.training.batch_size, rfe.recipe.model.margin)
    return {
        "history": figures.plot_history(rfe.history, bound, "RFE on toy scenes"),
        "text_to_image": examples.text_to_image(rfe, N_QUERIES, TOP_K),
        "image_to_text": examples.image_to_text(rfe, rfe.report.n_images // 3, TOP_K),
        "trees": trees(trained["SMFEA"]),
    }


def trees(smfea: Run) -> figures.Figure:
    """Predicted trees of a test scene and of its caption beside the referral tree."""
    report = smfea.report
    caption = report.n_captions // 3  # not hand-picked
    few = report.subset(report.image_of_caption[[caption]])
    nodes = inside.predict_nodes(smfea, few)
    item = few.captions.index(report.captions[caption])
    return plot_predicted(
        open_image(few.image_files[0]),
        few.captions[item],
        nodes.referral[item],
        nodes.names("image", item),
        nodes.names("caption", item),
        nodes.right("image")[item],
        nodes.right("caption")[item],
        nodes.known[item],
    )
