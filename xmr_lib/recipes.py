"""Every row of the papers' tables as a recipe, under its printed name.

RFE's names are parsed by their own grammar, so that combinations which the paper never printed
work too: `avg-<stages>[-max-<stages>]-<GRU|BiGRU>[-emb-<avg|max>][ mg=<margin>]`, and
`SCAN[-RFE] <t-i|i-t> <AVG|LSE|MAX|SUM>` for models that compare regions with words.

Some rows are not trained but put together from trained ones: ensembles (`RFE-ensemble`, `A + B`)
and re-ranked results (`…-rerank`). `compose` takes such names apart.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal, get_args

from xmr_lib.cross_attention import Direction, Pooling, ScoreNorm
from xmr_lib.encoders.text import WordPooling
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.losses import Negatives

Scale = Literal["toy", "laptop", "paper"]


@dataclass(frozen=True)
class Recipe:
    """What is trained and how; `get` builds it from a name and a scale.

    Attributes:
        name: As printed in the paper's tables.
        scale: "toy" and "laptop" shrink sizes and epochs; "paper" is the paper's own setting.
        avg_stages: Stages C1…C4 taken by average pooling.
        max_stages: Stages taken by max pooling.
        standardise: Features are standardised by the training set before they are joined.
        bidirectional: biGRU with summed final states, else a GRU's last state.
        word_pooling: How word embeddings join the GRU's context; None leaves them out.
        norm: "parts" as RFE eq. 6 prints it, "after" as the text beside it says.
        project_text: A fully connected layer follows the text features (VSE++ has none).
        word_dim: Size of a word embedding.
        rnn_dim: Size of a GRU state.
        joint_dim: Size of the joint space.
        attention: None compares one vector an image with one a caption; "t-i" lets words look at
            regions, "i-t" regions at words (SCAN; see `xmr_lib.cross_attention`).
        pooling: How SCAN's cosines become one score: "AVG", "LSE", "MAX" or "SUM".
        smooth: SCAN's λ1, inverse temperature of its attention.
        lse: SCAN's λ2, sharpness of "LSE".
        attention_norm: What happens to SCAN's products before the softmax.
        rich_words: SCAN-RFE joins word embeddings to the GRU's states: "project" maps both to the
            joint space by a layer, "regions" maps the regions to the size of both instead.
        similarity: "cosine", or "order" for VSE++'s order embeddings.
        margin: `mg` of RFE eqs. 7 and 8.
        negatives: "hardest" in the batch, or "all".
        warmup_epochs: First epochs trained on all negatives, which keeps a run off the plateau.
        mask_same_image: An image's other captions in the batch are no negatives (the peers take
            them for negatives: False).
        epochs: Passes over the training captions.
        batch_size: Pairs in a batch.
        lr: Adam's learning rate at the start.
        lr_drop_every: The rate is multiplied by `lr_drop_factor` each time so many epochs end.
        lr_drop_factor: See `lr_drop_every`.
        grad_clip: Largest norm of the gradient of all parameters.
        vocabulary_threshold: Words rarer than this in the training captions become `<unk>`.
        finetune_epochs: Epochs of a second stage that trains the CNN too.
        finetune_lr: Learning rate of the second stage.
    """

    name: str
    scale: Scale = "paper"
    avg_stages: tuple[int, ...] = (4,)
    max_stages: tuple[int, ...] = ()
    standardise: bool = False
    bidirectional: bool = False
    word_pooling: WordPooling | None = None
    norm: Literal["parts", "after"] = "parts"
    project_text: bool = True
    word_dim: int = 300
    rnn_dim: int = 1024
    joint_dim: int = 1024
    attention: Direction | None = None
    pooling: Pooling = "AVG"
    smooth: float = 9.0
    lse: float = 6.0
    attention_norm: ScoreNorm = "clipped_l2norm"
    rich_words: Literal["project", "regions"] | None = None
    similarity: Literal["cosine", "order"] = "cosine"
    margin: float = 0.2
    negatives: Negatives = "hardest"
    warmup_epochs: int = 0
    mask_same_image: bool = True
    epochs: int = 36
    batch_size: int = 128
    lr: float = 2e-4
    lr_drop_every: int = 15
    lr_drop_factor: float = 0.1
    grad_clip: float = 2.0
    vocabulary_threshold: int = 4
    finetune_epochs: int = 0
    finetune_lr: float = 2e-5

    def to_json(self) -> dict[str, Any]:
        """Plain values for `run.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """Reads what `to_json` wrote; fields added since then take their defaults."""
        known = {field.name for field in fields(cls)}
        tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**{k: v for k, v in tuples.items() if k in known})

    def lr_at(self, epoch: int, start: float | None = None) -> float:
        """Learning rate of an epoch, the first being 0; `start` takes the place of `lr`.

        >>> [get("RFE", schedule="rfe-f30k").lr_at(epoch) for epoch in (0, 14, 15)]
        [0.0002, 0.0002, 2e-05]
        """
        drops = epoch // self.lr_drop_every
        return (self.lr if start is None else start) * self.lr_drop_factor**drops

    @property
    def slug(self) -> str:
        """Folder name: the recipe's name, and a short hash when any value was overridden."""
        plain = self.name.replace("++", "pp").replace("=", "")
        slug = re.sub(r"[^a-z0-9.]+", "-", plain.lower()).strip("-")
        if self == get(self.name, self.scale):
            return slug
        changed = json.dumps(self.to_json(), sort_keys=True).encode()
        return f"{slug}-{hashlib.sha256(changed).hexdigest()[:8]}"


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

# Learning rate schedules of the papers: epochs, epochs between drops, factor.
SCHEDULES: dict[str, dict[str, Any]] = {
    "rfe-f30k": {"epochs": 36, "lr_drop_every": 15, "lr_drop_factor": 0.1},
    "rfe-coco": {"epochs": 36, "lr_drop_every": 15, "lr_drop_factor": 1 / 1.2},
    "vsepp": {"epochs": 30, "lr_drop_every": 15, "lr_drop_factor": 0.1},
    "scan-f30k": {"epochs": 30, "lr_drop_every": 15, "lr_drop_factor": 0.1},
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
_RFE_ENSEMBLE = tuple(f"avg-4-max-{stages}-BiGRU-emb-avg" for stages in (4, 123, 34, 1234))
RERANK = "-rerank"
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
            kin take "vsepp", SCAN and SCAN-RFE "scan-f30k", all others "rfe-f30k".
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
        scan = "scan-f30k" if _SCAN.fullmatch(name) else "rfe-f30k"
        schedule = "vsepp" if name in _NAMED else scan
    if schedule is not None and schedule not in SCHEDULES:
        raise UnknownNameError("schedule", schedule, SCHEDULES)
    if unknown := [key for key in overrides if key not in FIELDS]:
        raise UnknownNameError("recipe field", unknown[0], FIELDS)
    overrides = {key: _typed(key, value) for key, value in overrides.items()}
    said = _parse(name)
    if schedule == "scan-coco" and name.endswith("i-t LSE"):
        said = {**said, "lse": 20.0}
    sizes = SCALES[scale] | (SCAN_SCALES[scale] if said.get("attention") else {})
    values = {**sizes, **SCHEDULES.get(schedule, {}), **said, **overrides}
    recipe = replace(Recipe(name), scale=scale, **values)
    _check(recipe)
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
        marks = ["ensemble"] * (len(self.members) > 1) + ["transductive"] * self.rerank
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


def _typed(name: str, value: Any) -> Any:
    """An override as its field's type; a single stage does for a tuple of stages."""
    usual = getattr(_USUAL, name)
    if name in _CHOICES:
        return value  # `_check` knows what is allowed
    if isinstance(usual, tuple):
        stages = (value,) if isinstance(value, Integral) else value
        if isinstance(stages, tuple | list) and all(stage in (1, 2, 3, 4) for stage in stages):
            return tuple(sorted({int(stage) for stage in stages}))
        raise DataError(f"{name} takes stages from 1 to 4, as in (1, 2), not {value!r}.")
    if isinstance(usual, bool):
        if isinstance(value, bool):
            return value
        raise DataError(f"{name} is True or False, not {value!r}.")
    wanted, kind = (Real, float) if isinstance(usual, float) else (Integral, int)
    if not isinstance(value, wanted) or isinstance(value, bool):
        what = "a number" if kind is float else "a whole number"
        raise DataError(f"{name} must be {what}, as in {name}={usual}, not {value!r}.")
    return kind(value)


def _check(recipe: Recipe) -> None:
    """Refuses values that could only fail later, deep in the training."""
    for field in fields(Recipe):
        value, choices = getattr(recipe, field.name), _CHOICES.get(field.name)
        if choices and value not in choices:
            raise UnknownNameError(field.name, str(value), map(str, choices))
    for name, least in _LEAST.items():
        if getattr(recipe, name) < least:
            raise DataError(f"{name} must be at least {least}, not {getattr(recipe, name)}.")
    for name in _POSITIVE:
        if not 0 < getattr(recipe, name) < math.inf:
            raise DataError(f"{name} must be above 0 and finite, not {getattr(recipe, name)}.")
    if not recipe.avg_stages and not recipe.max_stages:
        raise DataError("avg_stages and max_stages are both empty: nothing is left of the image.")
    if recipe.attention is not None and recipe.finetune_epochs:
        raise DataError(f"{recipe.name} compares regions, whose CNN stays frozen: no fine-tuning.")
    gru_is_joint = not recipe.project_text or (recipe.attention and not recipe.rich_words)
    if gru_is_joint and recipe.rnn_dim != recipe.joint_dim:
        raise DataError(
            f"{recipe.name} takes its GRU state as embedding: rnn_dim ({recipe.rnn_dim}) and "
            f"joint_dim ({recipe.joint_dim}) must be equal."
        )


_USUAL = Recipe("")
# What `get` may override: name and scale are its own arguments.
FIELDS = tuple(field.name for field in fields(Recipe) if field.name not in ("name", "scale"))
_CHOICES: dict[str, tuple] = {
    "similarity": ("cosine", "order"),
    "attention": (None, *get_args(Direction)),
    "pooling": get_args(Pooling),
    "attention_norm": get_args(ScoreNorm),
    "rich_words": (None, "project", "regions"),
    "negatives": get_args(Negatives),
    "norm": ("parts", "after"),
    "word_pooling": (None, *get_args(WordPooling)),
}
_POSITIVE = ("lr", "finetune_lr", "grad_clip", "lr_drop_factor", "margin", "smooth", "lse")
_LEAST = {
    "epochs": 1, "batch_size": 2, "word_dim": 1, "rnn_dim": 1, "joint_dim": 1, "lr_drop_every": 1,
    "warmup_epochs": 0, "finetune_epochs": 0, "vocabulary_threshold": 1,
}  # fmt: skip
