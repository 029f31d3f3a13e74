"""What the rows of a table are measured with: every member trained once, features shared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from xmr_course.tables.paper import PaperTable
from xmr_lib import recipes, runs
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.regions import Regions
from xmr_lib.ensemble import Ensemble
from xmr_lib.recipes import Composition, Recipe, Scale
from xmr_lib.retriever import Retriever
from xmr_lib.sources import DataSource, features_of


def label_of(source: DataSource | CaptionedImages, data: CaptionedImages) -> str:
    """What files about a data set are called after: "toy", "toy-sketch", or the data's name."""
    name = source.data if isinstance(source, DataSource) else ""
    return name.replace(":", "-") if name.partition(":")[0] == "toy" else data.name


class KnownFeatures:
    """Pooled features and regions of a data set, each computed when it is first asked for."""

    def __init__(
        self,
        source: DataSource | CaptionedImages,
        data: CaptionedImages,
        backbone: str | None,
        regions: str | None,
        pooled: Features | None = None,
    ) -> None:
        self.source = source if isinstance(source, DataSource) else None
        self.data, self.backbone, self.regions = data, backbone, regions
        self.found: dict[bool, Features | Regions] = {} if pooled is None else {False: pooled}

    def get(self, of_regions: bool) -> Features | Regions:
        """Regions, or pooled features."""
        if of_regions not in self.found:
            self.found[of_regions] = features_of(
                self.data,
                self.source,
                of_regions=of_regions,
                backbone=self.backbone,
                kind=self.regions,
            )
        return self.found[of_regions]


class TrainedRows:
    """Trains what rows need, each member once: ensembles share them with other rows."""

    def __init__(
        self,
        printed: PaperTable,
        source: DataSource | CaptionedImages,
        features: KnownFeatures,
        scale: Scale,
        overrides: dict[str, Any],
        root: Path | None,
    ) -> None:
        self.printed, self.source, self.features = printed, source, features
        self.scale, self.overrides, self.root = scale, overrides, root
        self.runs: dict[tuple[str, int], runs.Run] = {}

    def get(self, row: Composition, seed: int) -> Retriever:
        """The run, or the ensemble of runs, that a row is measured with."""
        members = tuple(self._run(name, seed) for name in row.members)
        return members[0] if len(members) == 1 else Ensemble(row.name, members)

    def _run(self, name: str, seed: int) -> runs.Run:
        if (name, seed) not in self.runs:
            recipe = self._recipe(name)
            self.runs[name, seed] = runs.run(
                recipe,
                self.source,
                seed=seed,
                root=self.root,
                regions=self.features.regions,
                features=self.features.get(recipe.of_regions),
            )
        return self.runs[name, seed]

    def _recipe(self, name: str) -> Recipe:
        schedule = None
        if self.scale == "paper" and self.printed.dataset == "coco":
            # On COCO the paper lets RFE's learning rate fall more slowly, and SCAN has numbers of
            # its own; VSE++ keeps its schedule.
            schedule = {"avg": "rfe-coco", "SCAN": "scan-coco", "CVSE": "cvse-coco"}.get(
                re.split("[- ]", name)[0]
            )
        own = recipes.overrides_for(name, self.overrides)
        return recipes.get(name, self.scale, schedule=schedule, **own)
