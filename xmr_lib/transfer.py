"""A finished run on another data set: trained here, tested there (SMFEA Table 4).

Nothing is learnt from the other data set: its pictures go through the same network, its captions
are read with the words that the run knows, and no epoch is chosen by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from xmr_lib.data import regions as kinds
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
        features: Its features, made as the run's own were; None for a run that trained its CNN,
            which reads the pictures themselves.
    """

    run: Run
    data: CaptionedImages
    features: Features | Regions | None

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
    def report(self) -> CaptionedImages:
        """The other data set's reported split; it needs no other one."""
        return reported(self.data)

    @cached_property
    def retrieval(self) -> Retrieval:
        """Ranks on the other data set's reported split."""
        return self.evaluate()[0]

    @cached_property
    def unknown_words(self) -> float:
        """Share (0 … 1) of the reported captions' words that the run never learnt."""
        return self.run.vocabulary.share_of_unknown_words(self.report.captions)

    def encode_images(self, data: CaptionedImages) -> Encoded:
        """Every image of a part of the other data set."""
        inputs = None if self.features is None else self.features.inputs
        return encode_images(self.run.model, data, inputs)

    def encode_sentences(self, sentences: Sequence[str]) -> Encoded:
        """Any sentences, by the words that the run knows."""
        return self.run.encode_sentences(sentences)

    def encode_picture(self, path: str | Path) -> Encoded:
        """Any picture, as the run encodes pictures."""
        return self.run.encode_picture(path)

    def score(self, images: Encoded, captions: Encoded) -> Tensor:
        """The model's similarity, `(n_images, n_captions)`."""
        return self.run.score(images, captions)


@dataclass(eq=False)
class TransferredEnsemble(Ensemble):
    """An ensemble whose members were all taken to the same other data set."""

    @cached_property
    def report(self) -> CaptionedImages:
        """The other data set's reported split; it needs no other one."""
        return reported(self.data)

    @property
    def unknown_words(self) -> float:
        """Share (0 … 1) of the reported captions' words that a member never learnt, on average."""
        return sum(member.unknown_words for member in self.members) / len(self.members)


def transfer(
    run: Run | Ensemble,
    data: str | Path | DataSource | CaptionedImages,
    *,
    regions: str | None = None,
) -> Transferred | TransferredEnsemble:
    """Takes a finished run, or an ensemble, to another data set.

    Args:
        run: What was trained.
        data: Where it is tested; its features are computed by the run's own network, transform
            and kind of regions, or found in the cache.
        regions: The other data set's TSV file of bottom-up regions, for a run that was trained on
            such a file (`xmr_lib.sources.features_of`).

    Raises:
        DataError: The other data set has nothing to report on, or its features are not of the kind
            and size that the run was trained on: true boxes are known of toy scenes only.
    """
    source = DataSource(str(data)) if isinstance(data, str | Path) else data
    data = source.load() if isinstance(source, DataSource) else source
    reported(data)  # before any features are computed
    if isinstance(run, Ensemble):
        members = tuple(
            _moved(member, data, source, regions if member.recipe.of_regions else None)
            for member in run.members
        )
        return TransferredEnsemble(run.name, members)
    return _moved(run, data, source, regions)


def reported(data: CaptionedImages) -> CaptionedImages:
    """The split to test on: "test", or all of "val", by which nothing was chosen here.

    Raises:
        DataError: There is neither.
    """
    for name in ("test", "val"):
        if name in data.split_names:
            return data.split(name)
    raise DataError(
        f"{data.name} has no split 'test' or 'val' to report on; it has "
        f"{', '.join(data.split_names)}. Mark the images to test on in its annotations."
    )


def _moved(
    run: Run, data: CaptionedImages, source: DataSource | CaptionedImages, regions: str | None
) -> Transferred:
    if run.model.backbone is not None:
        return Transferred(run, data, None)
    own = run.features
    source = source if isinstance(source, DataSource) else None
    kind = regions or run.regions or getattr(own, "kind", None)
    from_files = isinstance(own, Regions) and own.kind not in kinds.KINDS
    if from_files and regions is None and not (source and source.precomputed):
        raise DataError(
            f"{run.name} was trained on regions read from files ({own.kind}); those of {data.name} "
            "are needed, too: give a folder of precomputed regions, or regions='FILE.tsv'."
        )
    features = features_of(
        data, source, of_regions=run.recipe.of_regions, backbone=own.backbone, kind=kind,
        transform=own.transform,
    )  # fmt: skip
    if _made(features) != _made(own):
        raise DataError(
            f"{run.name} was trained on {_made(own)}, and {data.name} brings {_made(features)}. "
            "Train with a backbone and regions that both data sets have, such as --regions grid-4."
        )
    return Transferred(run, data, features)


def _made(features: Features | Regions) -> str:
    """How features were made, as far as it must agree: "boxes of toy, size 328"."""
    kind = features.kind if isinstance(features, Regions) else "pooled features"
    return f"{kind} of {features.backbone}, size {' + '.join(map(str, features.stage_dims))}"
