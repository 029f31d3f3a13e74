"""Where a run's captions and features come from, in words that fit into its `run.json`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from xmr_lib.errors import DataError, UnknownNameError

if TYPE_CHECKING:  # imported where they are used: the command line's help needs no torch
    from xmr_lib.data.captioned import CaptionedImages
    from xmr_lib.data.features import Features
    from xmr_lib.data.regions import Regions

REGIONS = "boxes", "grid", "detector", "grid-<cells>", "<file>.tsv"


@dataclass(frozen=True)
class DataSource:
    """Where captioned images come from; enough to read them again.

    Attributes:
        data: "toy", "toy:sketch", a folder or annotation file of captioned photographs, or a
            folder of precomputed regions as SCAN's (`train_ims.npy`, `train_caps.txt`, …).
        images: Folder of the photographs, when they do not lie beside the annotations.
        format: Annotation format; by default recognised from what lies there.
        protocol: Named splits, such as "karpathy" or "rfe"; by default as the annotations say.
        on_problem: "skip" leaves out unusable images and captions with a warning.
        check_images: Decode every image first, so that broken ones are found (and skipped) at once.
    """

    data: str = "toy"
    images: str | None = None
    format: str | None = None
    protocol: str | None = None
    on_problem: Literal["raise", "skip"] = "raise"
    check_images: bool = False

    @property
    def precomputed(self) -> bool:
        """Whether this is a folder of precomputed regions, without photographs."""
        from xmr_lib.data import precomputed

        return self.format is None and precomputed.recognise(Path(self.data).expanduser())

    def load(self) -> CaptionedImages:
        """Reads the captioned images."""
        from xmr_lib.data import captioned, precomputed

        if self.precomputed:
            return precomputed.load(Path(self.data).expanduser())[0]
        return captioned.load(
            self.data,
            images=self.images,
            format=self.format,
            protocol=self.protocol,
            on_problem=self.on_problem,
            check_images=self.check_images,
        )

    def absolute(self) -> DataSource:
        """The same with absolute paths, so that a run finds its data from any folder."""
        paths = {
            name: str(Path(value).expanduser().resolve())
            for name, value in (("data", self.data), ("images", self.images))
            if value and Path(value).expanduser().exists()
        }
        return replace(self, **paths)


def named(data: str | Path | DataSource | CaptionedImages) -> DataSource | CaptionedImages:
    """A folder's or file's name as a `DataSource`; others as they are."""
    return DataSource(str(data)) if isinstance(data, str | Path) else data


def source_and_data(
    data: str | Path | DataSource | CaptionedImages,
) -> tuple[DataSource | None, CaptionedImages]:
    """Where data came from, where that is known, and the captioned images."""
    source = named(data)
    return (source, source.load()) if isinstance(source, DataSource) else (None, source)


def is_toy(data: CaptionedImages) -> bool:
    """Whether these are the drawn toy scenes."""
    return data.name == "toy" or data.name.startswith("toy-")


def default_backbone(data: CaptionedImages) -> str:
    """The toy network for toy scenes, EfficientNet-Lite0 (works offline) for photographs."""
    return "toy" if is_toy(data) else "efficientnet-lite0"


def features_of(
    data: CaptionedImages,
    source: DataSource | None = None,
    *,
    of_regions: bool = False,
    backbone: str | None = None,
    kind: str | None = None,
    transform: str | None = None,
) -> Features | Regions:
    """The features that a model learns from: extracted once, or found in the cache.

    Args:
        data: The whole data set.
        source: Where it came from; a folder of precomputed regions brings its features along.
        of_regions: For models that compare regions; else features pooled over the whole image.
        backbone: Network; by default the toy one on toy scenes, else EfficientNet-Lite0.
        kind: Which regions: one of `REGIONS`; by default the true boxes on toy scenes, else the
            cells of the backbone's last map.
        transform: Kind of transform; by default the backbone's own.

    Raises:
        UnknownNameError: No such backbone, transform or kind of regions.
        DataError: The features cannot be computed or read.
    """
    from xmr_lib.data import bottom_up, features, precomputed, regions

    if source is not None and source.precomputed:
        return precomputed.load(Path(source.data).expanduser(), pooled=not of_regions)[1]
    backbone = backbone or default_backbone(data)
    if not of_regions:
        return features.extract(data, backbone, transform=transform)
    if kind is not None and bottom_up.recognise(kind):
        return bottom_up.read(Path(kind).expanduser(), data)
    return regions.extract(data, backbone, **grid_of(kind), transform=transform)


def refuse_unused(source: DataSource | None, regions: str | None, **options: str | None) -> None:
    """Refuses a backbone and the like where the features are read from files.

    Raises:
        DataError: One of the options would have no effect.
    """
    brought = source is not None and source.precomputed
    read = source.data if brought else regions if (regions or "").endswith(".tsv") else None
    asked = options | ({"regions": regions} if brought else {})
    for name, value in asked.items():
        if read and value:
            raise DataError(
                f"{read} holds features: --{name} {value} would have no effect on them."
            )


def grid_of(kind: str | None) -> dict[str, str | int | None]:
    """`"grid-4"` as the kind "grid" with 4 × 4 cells; other kinds as they are.

    >>> grid_of("grid-4")
    {'kind': 'grid', 'cells': 4}
    """
    if kind is None or kind in REGIONS[:3]:
        return {"kind": kind}
    if found := re.fullmatch(r"grid-(\d+)", kind):
        return {"kind": "grid", "cells": int(found[1])}
    raise UnknownNameError("kind of regions", kind, REGIONS)


@dataclass(frozen=True)
class Made:
    """How features were made, as far as those of other data must agree.

    Attributes:
        kind: `Made.POOLED`, or which regions.
        backbone: Network.
        transform: Kind of transform.
        dims: Channels of C1…C4; of regions the one size of their features.
    """

    POOLED: ClassVar[str] = "pooled features"

    kind: str
    backbone: str
    transform: str
    dims: tuple[int, ...]

    @classmethod
    def of(cls, features: Features | Regions) -> Made:
        """How these were made."""
        kind = getattr(features, "kind", cls.POOLED)
        return cls(kind, features.backbone, features.transform, tuple(features.stage_dims))

    def again(
        self, data: CaptionedImages, source: DataSource | None, regions: str | None, name: str
    ) -> Features | Regions:
        """Features of other data, made in the same way for the run called `name`.

        Raises:
            DataError: They cannot be made in the same way.
        """
        from xmr_lib.data.regions import KINDS

        of_regions = self.kind != self.POOLED
        from_file = regions is not None and regions.endswith(".tsv")
        brought = from_file or (source is not None and source.precomputed)
        if of_regions and self.kind not in KINDS and not brought:
            raise DataError(
                f"{name} was trained on regions read from files ({self.kind}); those of "
                f"{data.name} are needed, too: give a folder of precomputed regions, or a TSV "
                "file (regions='FILE.tsv')."
            )
        found = features_of(
            data,
            source,
            of_regions=of_regions,
            backbone=self.backbone,
            kind=regions or self.kind,
            transform=self.transform,
        )
        made = Made.of(found)
        if replace(made, transform=self.transform) == self:
            return found
        raise DataError(
            f"{name} was trained on {self}, and {data.name} brings {made}. Train with a backbone "
            "and regions that both data sets have, such as --regions grid-4."
        )

    def __str__(self) -> str:
        return f"{self.kind} of {self.backbone}, size {' + '.join(map(str, self.dims))}"
