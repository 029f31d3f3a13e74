"""Rows that are not trained but put together from trained runs: ensembles and re-ranked results.

An ensemble's score is the mean of its members' scores. For models of one vector an item this is
what RFE §IV-D calls combining the features: unit vectors side by side, divided by the root of
their number, have the mean of the members' cosines as their product. For SCAN, whose scores come
from many parts, it is the mean of the score matrices, as its authors do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xmr_lib import recipes, runs
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.evaluation import Retrieval
from xmr_lib.retriever import Retriever
from xmr_lib.runs import Run
from xmr_lib.similarity import Encoded
from xmr_lib.sources import DataSource


@dataclass(frozen=True)
class Several:
    """The same items encoded by every member of an ensemble."""

    members: tuple[Encoded, ...]

    @property
    def vectors(self) -> Tensor:
        """All members' vectors as one of length one, `(n, sum of their sizes)`.

        Its product with another such vector is the mean of the members' cosines.
        """
        return joined_vectors([member.vectors for member in self.members])

    def __len__(self) -> int:
        return len(self.members[0])

    def __getitem__(self, index: slice | Tensor) -> Several:
        return Several(tuple(member[index] for member in self.members))


def joined_vectors(vectors: Sequence[Tensor]) -> Tensor:
    """Embeddings of several models side by side (RFE §IV-D, "combine features").

    Args:
        vectors: Unit vectors of the same items, each `(n, d)`; `d` may differ.

    Returns:
        Unit vectors `(n, sum of d)`.

    >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> joined_vectors([one, other])
    tensor([[0.7071, 0.0000, 0.0000, 0.7071]])
    """
    return torch.cat(list(vectors), dim=1) / len(vectors) ** 0.5


def mean_scores(scores: Sequence[Tensor]) -> Tensor:
    """Mean of the members' score matrices, each `(n_images, n_captions)`."""
    return reduce(torch.add, scores) / len(scores)


@dataclass(eq=False)
class Ensemble(Retriever):
    """Several runs on the same data that vote with their scores.

    Attributes:
        name: Such as "RFE-ensemble".
        members: The runs, in the order of the name.
    """

    name: str
    members: tuple[Run, ...]

    def __post_init__(self) -> None:
        first, *others = (member.data for member in self.members)
        for other in others:
            if other.captions != first.captions or other.image_files != first.image_files:
                raise DataError(
                    f"{self.name}: the members were trained on different data "
                    f"({first.name}, {other.name}), so that their scores cannot be averaged."
                )
        self.data = first

    @property
    def runs(self) -> tuple[Run, ...]:
        """The members."""
        return self.members

    @property
    def compares_vectors(self) -> bool:
        """Whether all members' scores are cosines, so that theirs is the joined vectors' cosine."""
        return all(member.compares_vectors for member in self.members)

    @property
    def seconds(self) -> float:
        """Of the training of all members."""
        return sum(member.seconds for member in self.members)

    def encode_images(self, data: CaptionedImages) -> Several:
        """Every image, by every member."""
        return Several(tuple(member.encoded(data)[0] for member in self.members))

    def encode_sentences(self, sentences: Sequence[str]) -> Several:
        """Any sentences, by every member."""
        return Several(tuple(member.encode_sentences(sentences) for member in self.members))

    def encode_picture(self, path: str | Path) -> Several:
        """Any picture, by every member."""
        return Several(tuple(member.encode_picture(path) for member in self.members))

    def score(self, images: Several, captions: Several) -> Tensor:
        """Mean of the members' scores, `(n_images, n_captions)`."""
        each = zip(self.members, images.members, captions.members, strict=True)
        return mean_scores([member.score(*items) for member, *items in each])

    @cached_property
    def report(self) -> CaptionedImages:
        """The images that the members report on."""
        return self.members[0].report

    def on(
        self, data: str | Path | DataSource | CaptionedImages, *, regions: str | None = None
    ) -> Ensemble:
        """The ensemble on another data set, see `Run.on`."""
        moved = (
            member.on(data, regions=regions if member.recipe.of_regions else None)
            for member in self.members
        )
        return Ensemble(self.name, tuple(moved))

    @cached_property
    def retrieval(self) -> Retrieval:
        """Ranks on the reported split."""
        return self.evaluate()[0]


_OF_RUN = ("scale", "seed", "backbone", "regions", "root", "resume")  # arguments of `runs.run`


def train(
    name: str, data: str | Path | DataSource | CaptionedImages = "toy", **options: Any
) -> Run | Ensemble:
    """Trains all that a name stands for; members that were trained before are reused.

    Args:
        name: A recipe, `RFE-ensemble`, `A + B`, or one of these with `-rerank` (which changes
            nothing about the training: pass `reranking.Settings()` to `evaluate`).
        data: As for `runs.run`.
        options: Further arguments of `runs.run`, such as `seed`, or fields of the recipes.

    Raises:
        UnknownNameError: A member is no recipe.
    """
    members = recipes.compose(name).members
    fields = {key: value for key, value in options.items() if key not in _OF_RUN}
    own = {member: recipes.overrides_for(member, fields) for member in members}
    if unused := [key for key in fields if not any(key in each for each in own.values())]:
        known = {key for member in members for key in recipes.fields_of(member)}
        raise UnknownNameError(f"field of {name}", unused[0], sorted(known))
    trained = []
    for member in members:
        given = {key: options[key] for key in _OF_RUN if key in options}
        if len(members) > 1 and not recipes.get(member).of_regions:
            given.pop("regions", None)  # for the other members
        trained.append(runs.run(member, data, **given, **own[member]))
    if len(trained) == 1:
        return trained[0]
    return Ensemble(name.removesuffix(recipes.RERANK), tuple(trained))
