"""Names of the papers' rows and what they mean, ensembles and re-ranked rows among them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.recipes.recipe import Recipe, Scale
from xmr_lib.recipes.values import FIELDS, check, typed

RERANK = "-rerank"
TRANSDUCTIVE = "transductive"

# Sizes, epochs and what goes with them. Standardising is not in the paper: off at its scale.
SCALES: dict[str, dict[str, Any]] = {
    "toy": {
        "word_dim": 64, "rnn_dim": 128, "joint_dim": 128, "epochs": 12, "lr": 2e-3,
        "lr_drop_every": 8, "lr_drop_factor": 0.2, "warmup_epochs": 1, "standardise": True,
        "vocabulary_threshold": 2,
    },
    "laptop": {
        "rnn_dim": 384, "joint_dim": 384, "epochs": 9, "lr": 5e-4, "lr_drop_every": 7,
        "lr_drop_factor": 0.2, "warmup_epochs": 1, "standardise": True,
    },
    "paper": {},
}  # fmt: skip

# What models of regions take instead: they learn faster, and every step costs more.
SCAN_SCALES: dict[str, dict[str, Any]] = {
    "toy": {"epochs": 8, "lr_drop_every": 6},
    "laptop": {"rnn_dim": 256, "joint_dim": 256, "epochs": 7, "lr_drop_every": 5},
    "paper": {},
}

# SMFEA and CVSE: their steps cost more, and their vectors learn as fast as SCAN's.
SMFEA_SCALES: dict[str, dict[str, Any]] = {
    "toy": {"epochs": 8, "lr_drop_every": 6, "node_dim": 64, "concept_hidden": 128},
    "laptop": {
        "rnn_dim": 256, "joint_dim": 256, "epochs": 6, "lr_drop_every": 4, "concept_hidden": 256,
    },
    "paper": {},
}  # fmt: skip

# Learning rate schedules of the papers: epochs, epochs between drops, factor.
SCHEDULES: dict[str, dict[str, Any]] = {
    "rfe-f30k": {"epochs": 36, "lr_drop_every": 15, "lr_drop_factor": 0.1},
    "rfe-coco": {"epochs": 36, "lr_drop_every": 15, "lr_drop_factor": 1 / 1.2},
    "vsepp": {"epochs": 30, "lr_drop_every": 15, "lr_drop_factor": 0.1},
    "scan-f30k": {"epochs": 30, "lr_drop_every": 15, "lr_drop_factor": 0.1},
    "smfea": {"epochs": 50, "lr_drop_every": 25, "lr_drop_factor": 0.1},
    "cvse-coco": {"epochs": 30, "lr_drop_every": 15, "lr_drop_factor": 0.1},
    "scan-coco": {"epochs": 20, "lr": 5e-4, "lr_drop_every": 10, "lr_drop_factor": 0.1},
}

_RFE = "avg-4-max-1234-BiGRU-emb-avg"  # eq. 2 with eq. 6
_VSEPP = {"project_text": False}
_NAMED: dict[str, dict[str, Any]] = {
    "VSE++": _VSEPP,
    "VSE0": {**_VSEPP, "negatives": "all"},
    "Order++": {**_VSEPP, "similarity": "order", "margin": 0.05},
    "Order0": {**_VSEPP, "similarity": "order", "margin": 0.05, "negatives": "all"},
}
_GRAMMAR = re.compile(
    r"avg-(?P<avg>[1-4]+)(?:-max-(?P<max>[1-4]+))?-(?P<rnn>BiGRU|GRU)(?:-emb-(?P<emb>avg|max))?"
    r"(?: mg=(?P<margin>\d*\.?\d+))?"
)
_SCAN = re.compile(r"SCAN(?P<rich>-RFE)? (?P<direction>t-i|i-t) (?P<pooling>AVG|LSE|MAX|SUM)")
_SMFEA = {
    "self_attention": True,
    "bidirectional": True,
    "structure": "tree",
    "betas": (0.6, 0.2, 0.2),
    "ce_weight": 1.0,
    "kl_weight": 1.0,
}
_NO_TREES = {"structure": None, "betas": (0.6, 0.0, 0.4), "ce_weight": 0.0, "kl_weight": 0.0}
_SMFEA_NAMED: dict[str, dict[str, Any]] = {
    "SMFEA": _SMFEA,
    "SMFEA w/o trees": _SMFEA | _NO_TREES,
    "SMFEA w/o D_KL": _SMFEA | {"kl_weight": 0.0},
    "SMFEA w/o L_CE": _SMFEA | {"ce_weight": 0.0},
    "SMFEA chain-based": _SMFEA | {"structure": "chain"},
    "SMFEA linear-based": _SMFEA | {"structure": "linear"},
    f"SMFEA {TRANSDUCTIVE}": _SMFEA | {"transductive_labels": True},
    # After CVSE's code: three triplet losses and the concepts' divergence, fused .85 : .15.
    "CVSE": _SMFEA | _NO_TREES | {
        "betas": (0.85, 0.0, 0.15), "rank_weights": (3.0, 5.0, 1.0), "concept_kl_weight": 2.0,
    },
}  # fmt: skip
_NUMBER = r"(?:\d*\.)?\d+"
_BETAS = re.compile(rf"SMFEA \[({_NUMBER}), ({_NUMBER}), ({_NUMBER})\]")
_RFE_ENSEMBLE = tuple(f"avg-4-max-{stages}-BiGRU-emb-avg" for stages in (4, 123, 34, 1234))
_PRINTED = (
    *(f"avg-4-GRU-emb-avg mg={margin}" for margin in (0.1, 0.2, 0.3, 0.6)),
    "avg-4-GRU-emb-avg",
    "avg-4-BiGRU",
    "avg-4-BiGRU-emb-max",
    "avg-4-BiGRU-emb-avg",
    "avg-1234-BiGRU-emb-avg",
    "avg-1234-max-1234-BiGRU-emb-avg",
    "avg-4-max-4-BiGRU-emb-avg",
    "avg-4-max-123-BiGRU-emb-avg",
    "avg-4-max-34-BiGRU-emb-avg",
    _RFE,
    *(
        f"{model} {direction} {pooling}"
        for model in ("SCAN", "SCAN-RFE")
        for direction in ("t-i", "i-t")
        for pooling in ("LSE", "AVG")
    ),
    *_SMFEA_NAMED,
    *(f"SMFEA [{betas}]" for betas in ("1.0, 0.0, 0.0", "0.6, 0.0, 0.4", "0.6, 0.4, 0.0")),
)
COMPOSED = (
    "RFE-ensemble",
    "SCAN t-i LSE + i-t AVG",
    "SCAN t-i AVG + i-t LSE",
    "SCAN-RFE t-i AVG + i-t LSE",
    "SCAN-RFE t-i AVG + t-i LSE",
    "avg-4-GRU-emb-avg-rerank",
    "avg-4-max-1234-BiGRU-emb-avg-rerank",
)


def names() -> tuple[str, ...]:
    """Names that the papers print; `get` understands more (see the module's text)."""
    return (*_NAMED, "RFE", *_PRINTED)


def _parse(name: str) -> dict[str, Any]:
    """What a name says about the model, on top of a scale's defaults."""
    if name in _NAMED:
        return _NAMED[name]
    if found := _SCAN.fullmatch(name):
        return {
            "attention": found["direction"],
            "pooling": found["pooling"],
            "smooth": 9.0 if found["direction"] == "t-i" else 4.0,
            "lse": 6.0 if found["direction"] == "t-i" else 5.0,
            "bidirectional": True,
            "rich_words": "project" if found["rich"] else None,
        }
    if name in _SMFEA_NAMED:
        return _SMFEA_NAMED[name]
    if found := _BETAS.fullmatch(name):
        return _SMFEA | {"betas": typed("betas", tuple(float(beta) for beta in found.groups()))}
    found = _GRAMMAR.fullmatch(_RFE if name == "RFE" else name)
    if found is None:
        raise UnknownNameError("recipe", name, (*names(), *COMPOSED))
    stages = {way: tuple(sorted({int(s) for s in found[way] or ""})) for way in ("avg", "max")}
    parsed: dict[str, Any] = {
        "avg_stages": stages["avg"],
        "max_stages": stages["max"],
        "bidirectional": found["rnn"] == "BiGRU",
        "word_pooling": found["emb"],
    }
    if found["margin"]:
        parsed["margin"] = float(found["margin"])
    return parsed


def get(name: str, scale: Scale = "paper", *, schedule: str | None = None, **overrides) -> Recipe:
    """The recipe of that name.

    Args:
        name: One of `names()`, or any name of RFE's grammar.
        scale: "toy", "laptop" or "paper".
        schedule: One of `SCHEDULES`; None keeps the scale's own. At paper scale VSE++ and its
            kin take "vsepp", SCAN and SCAN-RFE "scan-f30k", SMFEA and CVSE "smfea", all others
            "rfe-f30k".
        overrides: Any field of `Recipe`.

    Raises:
        UnknownNameError: No such recipe, scale, schedule or field; the message suggests near ones.
        DataError: The name is that of an ensemble or a re-ranked row, or a value makes no sense.

    >>> recipe = get("avg-4-max-34-BiGRU-emb-avg", scale="toy", epochs=3)
    >>> recipe.max_stages, recipe.bidirectional, recipe.word_pooling, recipe.epochs
    ((3, 4), True, 'avg', 3)
    """
    if name == "RFE-ensemble" or " + " in name or name.endswith(RERANK):
        members = " and ".join(compose(name).members)
        raise DataError(
            f"{name} is not trained but put together from {members}: xmr_lib.ensemble.train does "
            "it, and `python -m xmr_lib train`."
        )
    if scale not in SCALES:
        raise UnknownNameError("scale", scale, SCALES)
    if schedule is None and scale == "paper":
        schedule = _usual_schedule(name)
    if schedule is not None and schedule not in SCHEDULES:
        raise UnknownNameError("schedule", schedule, SCHEDULES)
    if unknown := [key for key in overrides if key not in FIELDS]:
        raise UnknownNameError("recipe field", unknown[0], FIELDS)
    overrides = {key: typed(key, value) for key, value in overrides.items()}
    said = _parse(name)
    if schedule == "scan-coco" and name.endswith("i-t LSE"):
        said = {**said, "lse": 20.0}
    sizes = dict(SCALES[scale])
    if said.get("attention"):
        sizes |= SCAN_SCALES[scale]
    if said.get("self_attention"):
        sizes |= SMFEA_SCALES[scale]
    values = {**sizes, **SCHEDULES.get(schedule, {}), **said, **overrides}
    recipe = replace(Recipe(name), scale=scale, **values)
    check(recipe)
    return recipe


@dataclass(frozen=True)
class Composition:
    """A name taken apart: what is trained, and what is done with it.

    Attributes:
        name: The whole name.
        members: Recipes whose scores are averaged; one for a plain recipe.
        rerank: The result is re-ranked with the help of the other test items (transductive).
    """

    name: str
    members: tuple[str, ...]
    rerank: bool = False

    @property
    def mark(self) -> str:
        """What a reader of a table must know: "ensemble", "transductive", both, or ""."""
        peeks = self.rerank or any(member.endswith(TRANSDUCTIVE) for member in self.members)
        marks = ["ensemble"] * (len(self.members) > 1) + ["transductive"] * peeks
        return ", ".join(marks)


def compose(name: str) -> Composition:
    """Takes the name of an ensemble or a re-ranked row apart; a plain recipe is its only member.

    In `A + B` the second name may leave out what it shares with the first, as the paper does.

    Raises:
        UnknownNameError: A member is no recipe.

    >>> compose("SCAN-RFE t-i AVG + i-t LSE").members
    ('SCAN-RFE t-i AVG', 'SCAN-RFE i-t LSE')
    >>> compose("RFE-rerank").mark
    'transductive'
    """
    bare = name.removesuffix(RERANK)
    if bare == "RFE-ensemble":
        members = _RFE_ENSEMBLE
    else:
        first, *others = (part.strip() for part in bare.split(" + "))
        model = first.split(" ")[0]  # SCAN or SCAN-RFE
        shared = [f"{model} {part}" if re.match(r"(t-i|i-t) ", part) else part for part in others]
        members = (first, *shared)
    for member in members:
        _parse(member)
    return Composition(name, members, bare != name)


def _usual_schedule(name: str) -> str:
    """The schedule of a name at paper scale, on Flickr30K."""
    if name in _NAMED:
        return "vsepp"
    if _SCAN.fullmatch(name):
        return "scan-f30k"
    return "smfea" if name.startswith(("SMFEA", "CVSE")) else "rfe-f30k"
