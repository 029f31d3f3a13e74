"""A finished run on another data set: trained here, tested there (SMFEA Table 4).

Nothing is learnt from the other data set: its pictures go through the same frozen network, and its
captions are read with the words that the run knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.regions import Regions
from xmr_lib.encoding import encode_images
from xmr_lib.ensemble import Ensemble
from xmr_lib.errors import DataError
from xmr_lib.evaluation import Retrieval
from xmr_lib.retriever import Retriever
from xmr_lib.runs import DataSource, Run
from xmr_lib.similarity import Encoded
from xmr_lib.sources import features_of


@dataclass(eq=False)
class Transferred(Retriever):
    """A run that is tested, and searches, on data that it was not trained on.

    Attributes:
        run: The run; its weights and words stay as they are.
        data: The other data set, whole.
        features: Its features, made as the run's own were.
    """

    run: Run
    data: CaptionedImages
    features: Features | Regions

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.run.name

    @property
    def runs(self) -> tuple[Run, ...]:
        """The run alone."""
        return (self.run,)

    @property
    def seconds(self) -> float:
        """What the run's training took."""
        return self.run.seconds

    @property
    def compares_vectors(self) -> bool:
        """Whether the model's score is a cosine of two vectors."""
        return self.run.compares_vectors

    @cached_property
    def retrieval(self) -> Retrieval:
        """Ranks on the other data set's reported split."""
        return self.evaluate()[0]

    @cached_property
    def unknown_words(self) -> float:
        """Share of the reported captions' words that the run never learnt."""
        return 1 - self.run.vocabulary.coverage(self.report.captions)

    def encode_images(self, data: CaptionedImages) -> Encoded:
        """Every image of a part of the other data set."""
        return encode_images(self.run.model, data, self.features.inputs)

    def encode_sentences(self, sentences: Sequence[str]) -> Encoded:
        """Any sentences, by the words that the run knows."""
        return self.run.encode_sentences(sentences)

    def encode_picture(self, path: str | Path) -> Encoded:
        """Any picture, as the run encodes pictures."""
        return self.run.encode_picture(path)

    def score(self, images: Encoded, captions: Encoded) -> Tensor:
        """The model's similarity, `(n_images, n_captions)`."""
        return self.run.score(images, captions)


def transfer(
    run: Run | Ensemble, data: str | Path | DataSource | CaptionedImages
) -> Transferred | Ensemble:
    """Takes a finished run, or an ensemble, to another data set.

    Args:
        run: What was trained.
        data: Where it is tested; its features are computed by the run's own network, transform
            and kind of regions, or found in the cache.

    Raises:
        DataError: The run trained its CNN, or the two data sets' features do not fit each other,
            as the true boxes of toy scenes (four stages) and the grid of photographs (one) do not.
    """
    source = DataSource(str(data)) if isinstance(data, str | Path) else data
    data = source.load() if isinstance(source, DataSource) else source
    if isinstance(run, Ensemble):
        return Ensemble(run.name, tuple(transfer(member, data) for member in run.members))
    if run.model.backbone is not None:
        raise DataError(f"{run.name} trained its own CNN; only frozen features can be transferred.")
    features = features_of(
        data, source if isinstance(source, DataSource) else None,
        of_regions=run.recipe.of_regions, backbone=run.features.backbone, kind=run.regions,
        transform=run.features.transform,
    )  # fmt: skip
    if tuple(features.stage_dims) != tuple(run.features.stage_dims):
        raise DataError(
            f"{run.name} was trained on features of size {tuple(run.features.stage_dims)}, and "
            f"{data.name} gives {tuple(features.stage_dims)}. Train with regions that both data "
            "sets have, such as --regions grid-4."
        )
    return Transferred(run, data, features)
