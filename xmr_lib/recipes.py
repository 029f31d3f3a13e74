"""Every row of the papers' tables as a recipe, under its printed name.

RFE's names are parsed by their own grammar, so that combinations which the paper never printed
work too: `avg-<stages>[-max-<stages>]-<GRU|BiGRU>[-emb-<avg|max>][ mg=<margin>]`, and
`SCAN[-RFE] <t-i|i-t> <AVG|LSE|MAX|SUM>` for models that compare regions with words. SMFEA's rows
are named, and `SMFEA [<beta_d>, <beta_t>, <beta_c>]` takes any weights.

Some rows are not trained but put together from trained ones: ensembles (`RFE-ensemble`, `A + B`)
and re-ranked results (`…-rerank`). `compose` takes such names apart.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, get_args

from xmr_lib.choices import Scale
from xmr_lib.configs import field_names
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.models import DualConfig, ModelConfig, ScanConfig, SmfeaConfig
from xmr_lib.models.base import SCALES
from xmr_lib.models.cross import SCALES as SCAN_SCALES
from xmr_lib.models.structured import SCALES as SMFEA_SCALES
from xmr_lib.models.structured import TREE_WEIGHTS
from xmr_lib.trainer import SCHEDULES, TrainingConfig

RERANK = "-rerank"
TRANSDUCTIVE = "transductive"

_SCALES_OF = {DualConfig: SCALES, ScanConfig: SCAN_SCALES, SmfeaConfig: SMFEA_SCALES}
FIELDS = tuple(dict.fromkeys(f for c in (*_SCALES_OF, TrainingConfig) for f in field_names(c)))

# A recipe's JSON is flat and also lists the fields of the other families: the hash in a folder's
# name is made of it, and must stay the same. Values of those fields where they are no defaults:
_OF_OTHERS: dict[str, Any] = {
    "attention": None,
    "structure": None,
    "betas": (1.0, 0.0, 0.0),
    "ce_weight": 0.0,
    "kl_weight": 0.0,
    "attention_scale": "sqrt",
    "rank_weights": (1.0, 0.0, 0.0),
}
# Fields that runs of earlier versions do not name, and what those runs did. A new field, or a new
# meaning, must stand here, or old runs are read with today's default.
_BEFORE: dict[str, Any] = {
    "unit_parts": False,
    "learned_attention": False,
    "attention_dropout": 0.0,
    "word_dropout": 0.0,
    "shared_trees": False,
    "tree_rank_weight": 0.0,
    "concept_negatives": "hardest",
    "centred_concepts": False,
}


@dataclass(frozen=True)
class Recipe:
    """What is trained and how; `get` builds it from a name and a scale."""

    name: str  # as printed in the paper's tables
    model: ModelConfig  # what the model is made of; its class is the family
    training: TrainingConfig
    scale: Scale = "paper"  # "toy" and "laptop" shrink sizes and epochs

    def __post_init__(self) -> None:
        if self.model.of_regions and self.training.finetune_epochs:
            raise DataError(
                f"{self.name} looks at regions, whose CNN stays frozen: no fine-tuning "
                "(finetune_epochs)."
            )

    @property
    def of_regions(self) -> bool:
        """Whether the model looks at regions, and not at features pooled over the image."""
        return self.model.of_regions

    def replaced(self, **changes: Any) -> Recipe:
        """The recipe with other values of the model's or the training's fields.

        >>> get("RFE").replaced(margin=0.3, epochs=2).training.epochs
        2
        """
        known = (*field_names(type(self.model)), *field_names(TrainingConfig))
        if unknown := [name for name in changes if name not in known]:
            raise UnknownNameError(f"field of {self.name}", unknown[0], known)
        model, training = (
            replace(config, **_own(type(config), changes)) for config in (self.model, self.training)
        )
        return replace(self, model=model, training=training)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `run.json`, all fields on one level."""
        others = {
            name: _OF_OTHERS.get(name, getattr(config, name))
            for config in _SCALES_OF
            for name in field_names(config)
            if name not in _BEFORE
        }
        own = asdict(self.model) | asdict(self.training)
        kind = {"self_attention": isinstance(self.model, SmfeaConfig)}
        return {"name": self.name, "scale": self.scale} | others | kind | own

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """Reads what `to_json` wrote, now or in an earlier version.

        Raises:
            DataError: A value is not allowed, or a field is unknown.
        """
        unknown = values.keys() - {*FIELDS, "name", "scale", "self_attention"}
        if unknown:
            raise DataError(
                f"The recipe has fields that this version of the kit does not know: "
                f"{', '.join(sorted(unknown))}. A newer version wrote it: update the kit."
            )
        if not isinstance(values["name"], str) or values.get("scale") not in get_args(Scale):
            raise DataError("The recipe's name or scale is not valid.")
        values = _BEFORE | values
        family = ScanConfig if values.get("attention") else DualConfig
        family = SmfeaConfig if values.get("self_attention") else family
        model, training = (config(**_own(config, values)) for config in (family, TrainingConfig))
        return cls(values["name"], model, training, values["scale"])

    @cached_property
    def digest(self) -> str:
        """Eight hexadecimal digits that stand for all values."""
        values = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()[:8]

    @cached_property
    def slug(self) -> str:
        """Folder name: the recipe's name, and a short hash when any value was changed."""
        plain = self.name.replace("++", "pp").replace("=", "")
        slug = re.sub(r"[^a-z0-9.]+", "-", plain.lower()).strip("-")
        return slug if self == get(self.name, self.scale) else f"{slug}-{self.digest}"


def _own(config: type, values: dict[str, Any]) -> dict[str, Any]:
    """Of some values those of a configuration's own fields."""
    return {name: value for name, value in values.items() if name in field_names(config)}


_RFE = "avg-4-max-1234-BiGRU-emb-avg"  # eq. 2 with eq. 6
_VSEPP = {"project_text": False}
_DUAL: dict[str, dict[str, Any]] = {
    "VSE++": _VSEPP,
    "VSE0": _VSEPP | {"negatives": "all"},
    "Order++": _VSEPP | {"similarity": "order", "margin": 0.05},
    "Order0": _VSEPP | {"similarity": "order", "margin": 0.05, "negatives": "all"},
}
_NO_TREES = {"structure": None, "betas": (0.6, 0.0, 0.4)} | dict.fromkeys(TREE_WEIGHTS, 0.0)
_SMFEA: dict[str, dict[str, Any]] = {
    "SMFEA": {},
    "SMFEA w/o trees": _NO_TREES,
    "SMFEA w/o D_KL": {"kl_weight": 0.0},
    "SMFEA w/o L_CE": {"ce_weight": 0.0},
    "SMFEA chain-based": {"structure": "chain"},
    "SMFEA linear-based": {"structure": "linear"},
    f"SMFEA {TRANSDUCTIVE}": {"transductive_labels": True},
    # After CVSE's code: three ranking losses with hardest negatives, and the divergence of the
    # sentence's concepts from the image's; fused .85 : .15.
    "CVSE": _NO_TREES
    | {"betas": (0.85, 0.0, 0.15), "rank_weights": (3.0, 5.0, 1.0), "concept_kl_weight": 2.0}
    | {"concept_negatives": "hardest"},
}
_RFE_GRAMMAR = re.compile(
    r"avg-(?P<avg>[1-4]+)(?:-max-(?P<max>[1-4]+))?-(?P<rnn>BiGRU|GRU)(?:-emb-(?P<emb>avg|max))?"
    r"(?: mg=(?P<margin>\d*\.?\d+))?"
)
_SCAN_GRAMMAR = re.compile(
    r"SCAN(?P<rich>-RFE)? (?P<direction>t-i|i-t) (?P<pooling>AVG|LSE|MAX|SUM)"
)
_NUMBER = r"(?:\d*\.)?\d+"
_SMFEA_GRAMMAR = re.compile(rf"SMFEA \[({_NUMBER}), ({_NUMBER}), ({_NUMBER})\]")
_RFE_ENSEMBLE = tuple(f"avg-4-max-{stages}-BiGRU-emb-avg" for stages in (4, 123, 34, 1234))
_PRINTED = (
    *(f"avg-4-GRU-emb-avg mg={margin}" for margin in (0.1, 0.2, 0.3, 0.6)),
    "avg-4-GRU-emb-avg",
    "avg-4-BiGRU",
    "avg-4-BiGRU-emb-max",
    "avg-4-BiGRU-emb-avg",
    "avg-1234-BiGRU-emb-avg",
    "avg-1234-max-1234-BiGRU-emb-avg",
    *_RFE_ENSEMBLE,
    *(
        f"{model} {direction} {pooling}"
        for model in ("SCAN", "SCAN-RFE")
        for direction in ("t-i", "i-t")
        for pooling in ("LSE", "AVG")
    ),
    *_SMFEA,
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
    return (*_DUAL, "RFE", *_PRINTED)


def _parse(name: str) -> tuple[type[ModelConfig], dict[str, Any], str]:
    """What a name says: the family, its values on top of a scale's, the schedule on Flickr30K."""
    if name in _DUAL:
        return DualConfig, _DUAL[name], "vsepp"
    if found := _SCAN_GRAMMAR.fullmatch(name):
        words_look = found["direction"] == "t-i"
        values = {
            "attention": found["direction"],
            "pooling": found["pooling"],
            "smooth": 9.0 if words_look else 4.0,
            "lse": 6.0 if words_look else 5.0,
            "rich_words": "project" if found["rich"] else None,
        }
        return ScanConfig, values, "scan-f30k"
    if name in _SMFEA:
        return SmfeaConfig, _SMFEA[name], "smfea"
    if found := _SMFEA_GRAMMAR.fullmatch(name):
        return SmfeaConfig, {"betas": tuple(float(beta) for beta in found.groups())}, "smfea"
    found = _RFE_GRAMMAR.fullmatch(_RFE if name == "RFE" else name)
    if found is None:
        raise UnknownNameError("recipe", name, (*names(), *COMPOSED))
    stages = {way: tuple(int(stage) for stage in found[way] or "") for way in ("avg", "max")}
    values = {
        "avg_stages": stages["avg"],
        "max_stages": stages["max"],
        "bidirectional": found["rnn"] == "BiGRU",
        "word_pooling": found["emb"],
    }
    if found["margin"]:
        values["margin"] = float(found["margin"])
    return DualConfig, values, "rfe-f30k"


def get(name: str, scale: Scale = "paper", *, schedule: str | None = None, **overrides) -> Recipe:
    """The recipe of that name.

    Args:
        name: One of `names()`, or any name of the grammars above.
        scale: "toy", "laptop" or "paper".
        schedule: One of `trainer.SCHEDULES`; None keeps the scale's own. At paper scale VSE++ and
            its kin take "vsepp", SCAN and SCAN-RFE "scan-f30k", SMFEA and CVSE "smfea", all others
            "rfe-f30k".
        overrides: Fields of the model's config or of `TrainingConfig`.

    Raises:
        UnknownNameError: No such recipe, scale, schedule or field; the message suggests near ones.
        DataError: The name is that of an ensemble or a re-ranked row, or a value is not allowed.

    >>> recipe = get("avg-4-max-34-BiGRU-emb-avg", scale="toy", epochs=3)
    >>> recipe.model.max_stages, recipe.model.word_pooling, recipe.training.epochs
    ((3, 4), 'avg', 3)
    """
    if name == "RFE-ensemble" or " + " in name or name.endswith(RERANK):
        members = " and ".join(compose(name).members)
        raise DataError(
            f"{name} is not trained but put together from {members}: xmr_lib.ensemble.train does "
            "it, and `python -m xmr_lib train`."
        )
    family, said, usual = _parse(name)
    if scale not in SCALES:
        raise UnknownNameError("scale", scale, SCALES)
    if schedule is None and scale == "paper":
        schedule = usual
    if schedule is not None and schedule not in SCHEDULES:
        raise UnknownNameError("schedule", schedule, SCHEDULES)
    if schedule == "scan-coco" and name.endswith("i-t LSE"):
        said = said | {"lse": 20.0}
    values = _SCALES_OF[family][scale] | SCHEDULES.get(schedule, {}) | said
    model, training = (config(**_own(config, values)) for config in (family, TrainingConfig))
    return Recipe(name, model, training, scale).replaced(**overrides)


def fields_of(name: str) -> tuple[str, ...]:
    """Fields that recipes of this name have."""
    return (*field_names(_parse(name)[0]), *field_names(TrainingConfig))


def overrides_for(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Of values given for several recipes, those whose fields this one has.

    Raises:
        UnknownNameError: No recipe has such a field.

    >>> overrides_for("RFE", {"epochs": 2, "smooth": 4.0})
    {'epochs': 2}
    """
    if unknown := [key for key in overrides if key not in FIELDS]:
        raise UnknownNameError("recipe field", unknown[0], FIELDS)
    return {key: value for key, value in overrides.items() if key in fields_of(name)}


@dataclass(frozen=True)
class Composition:
    """A name taken apart: what is trained, and what is done with it."""

    name: str
    members: tuple[str, ...]  # recipes whose scores are averaged; one for a plain recipe
    rerank: bool = False  # with the help of the other test items (transductive)

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
