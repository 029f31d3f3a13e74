"""What is printed around the tables: captions, data set, protocol, and what a reader must know.

The numbers themselves are in `printed/*.csv`; sums that do not add up and cells that are not
printed are found by computing (see `paper.py`), so only what takes reading is written here.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class About:
    """Caption, data set, protocol and notes of one printed table.

    Attributes:
        caption: What the table shows, in our words.
        dataset: "flickr30k", "coco" or "not stated".
        protocol: One of `xmr_lib.evaluation.PROTOCOLS` ("all" for the 1,000 images of Flickr30K).
        notes: Row -> what a reader must know about it; the row "" stands for the whole table.
    """

    caption: str
    dataset: str
    protocol: str
    notes: dict[str, str] = field(default_factory=dict)


_TRANSDUCTIVE = (
    "re-ranked with the help of the other test queries (transductive): not comparable with rows "
    "that see one query at a time"
)

ABOUT: dict[str, About] = {
    "rfe-1": About(
        "margin of the triplet loss",
        "flickr30k",
        "all",
        {
            "": "the model is not named; the row mg=0.2 equals the row avg-4-GRU-emb-avg of "
            "Table VIII, so that is the model"
        },
    ),
    "rfe-2": About("comparison with the state of the art", "coco", "1k-folds"),
    "rfe-3": About("comparison with the state of the art", "coco", "5k"),
    "rfe-4": About(
        "comparison with the state of the art",
        "flickr30k",
        "all",
        {"RFE [ours]": f"the same numbers as avg-4-GRU-emb-avg-rerank in Table X: {_TRANSDUCTIVE}"},
    ),
    "rfe-5": About(
        "seconds of a training iteration and of the test on 1,000 images",
        "not stated",
        "all",
        {"": "times of the authors' GPU; `python -m xmr_course reproduce rfe-5` measures ours"},
    ),
    "rfe-6": About(
        "ablation of the image and text representation",
        "coco",
        "1k-folds",
        {
            "": "the full model, avg-4-max-1234-BiGRU-emb-avg, is printed in Table IX only",
            "avg-1234-BiGRU-emb-avg": "the text (§IV-D) describes this row as max-pooling; the "
            "kit follows the name and averages",
        },
    ),
    "rfe-7": About("ablation of the image representation", "coco", "5k"),
    "rfe-8": About(
        "ablation of the text representation",
        "flickr30k",
        "all",
        {
            "": "the BiGRU rows, which the text (§IV-D) says do not help on Flickr30K, are not "
            "printed"
        },
    ),
    "rfe-9": About(
        "re-ranking", "coco", "1k-folds", {"avg-4-max-1234-BiGRU-emb-avg-rerank": _TRANSDUCTIVE}
    ),
    "rfe-10": About("re-ranking", "flickr30k", "all", {"avg-4-GRU-emb-avg-rerank": _TRANSDUCTIVE}),
    "smfea-1": About(
        "comparison with the state of the art",
        "flickr30k",
        "all",
        {"": "* marks ensembles of two models"},
    ),
    "smfea-2": About(
        "comparison with the state of the art",
        "coco",
        "1k-folds",
        {"": "* marks ensembles of two models"},
    ),
    "smfea-3": About(
        "comparison with the state of the art",
        "coco",
        "5k",
        {"": "sums of six recalls are printed, the R@5 among them are not: no sum can be checked"},
    ),
    "smfea-4": About(
        "trained on COCO, tested on Flickr30K",
        "flickr30k",
        "all",
        {"SCAN [14]": "which of SCAN's models is not said; the kit measures SCAN t-i AVG"},
    ),
    "smfea-5": About(
        "ablation of the tree encoders and their losses",
        "flickr30k",
        "all",
        {
            "w/o trees": "the paper trains CVSE's code; the kit trains its own model without "
            "trees, weights [0.6, 0.0, 0.4] (CVSE's own losses: SMFEA Table 1)"
        },
    ),
    "smfea-6": About(
        "weights [beta_d, beta_t, beta_c] of the representations",
        "flickr30k",
        "all",
        {"": "only the weights change: both losses of the trees stay, also where beta_t is 0"},
    ),
    "smfea-7": About(
        "ablation of the tree's structure",
        "flickr30k",
        "all",
        {
            "chain-based": "the text (§4.4.2) says 1.92 less than SMFEA on average over the six "
            "recalls, so the two cells that are not printed add up to about 162.1"
        },
    ),
}
