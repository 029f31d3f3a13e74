"""A run: one recipe trained on one data set with one seed, as a folder on disk.

`run` trains it, or finds it finished and loads it; `load` opens a folder. A run's folder is
`runs/<data set>-<fingerprint>/<scale>/<recipe>/seed-<n>/`; the fingerprint stands for the features,
captions and splits, so that results never mix between versions of a data set.
"""

from __future__ import annotations

import json
import time
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path

import pandas as pd
import torch
from accelerate import PartialState
from torch import Tensor

from xmr_lib import distributed, models, recipes, trainer, training
from xmr_lib.data.batches import Batch
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.features import Features
from xmr_lib.data.images import eval_transform, open_image
from xmr_lib.data.regions import Regions, of_picture
from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.encoders.backbone import load_backbone, pool_stages
from xmr_lib.encoding import encode_captions, encode_images
from xmr_lib.errors import DataError
from xmr_lib.evaluation import Retrieval
from xmr_lib.files import runs_dir
from xmr_lib.language.knowledge import Knowledge
from xmr_lib.recipes import Recipe, Scale
from xmr_lib.retriever import Retriever
from xmr_lib.run_folders import (
    alone,
    damaged,
    data_of,
    fingerprint,
    folder_name,
    place_of,
    read_run,
    reports_on,
    versions_of,
)
from xmr_lib.similarity import Encoded
from xmr_lib.sources import (
    DataSource,
    Made,
    features_of,
    grid_of,
    is_toy,
    refuse_unused,
    source_and_data,
)


@dataclass(eq=False)
class Run(Retriever):
    """A finished run in its folder, on the data that it was trained on or on other data (`on`).

    Attributes:
        data: The whole data set.
        features: Pooled, or of regions; None on other data where the run's own CNN sees pictures.
        regions: Which regions, as `xmr_lib.sources.features_of` names them; None: its default.
        model: With the weights that were best on the selection split.
        history: One row per epoch.
        at_home: Ranks on the reported split of its own data; None on other data.
        seconds: Of the training.
        knowledge: SMFEA's and CVSE's categories and concepts.
    """

    folder: Path
    recipe: Recipe
    seed: int
    data: CaptionedImages
    features: Features | Regions | None
    regions: str | None
    vocabulary: Vocabulary
    model: models.RetrievalModel
    history: pd.DataFrame
    at_home: Retrieval | None
    seconds: float
    knowledge: Knowledge = field(default_factory=Knowledge)

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def runs(self) -> tuple[Run, ...]:
        """This run alone; of an ensemble, its members."""
        return (self,)

    @property
    def compares_vectors(self) -> bool:
        """Whether the model's score is a cosine of two vectors."""
        return self.model.compares_vectors

    @property
    def backbone(self) -> str:
        """The network whose features it was trained on."""
        features = self.features
        return read_run(self.folder)["backbone"] if features is None else features.backbone

    @cached_property
    def retrieval(self) -> Retrieval:
        """Ranks on the reported split."""
        return self.at_home or self.evaluate()[0]

    @cached_property
    def report(self) -> CaptionedImages:
        """The images that are reported on; of other data "test", or all of "val"."""
        return training.three_parts(self.data)[2] if self.at_home else training.reported(self.data)

    def on(
        self, data: str | Path | DataSource | CaptionedImages, *, regions: str | None = None
    ) -> Run:
        """The run on another data set: trained here, tested there (SMFEA Table 4).

        Nothing is learnt from the other data: its pictures go through the same network, its
        captions are read with the words that the run knows, and no epoch is chosen by it.

        Args:
            data: Where it is tested; its features are computed by the run's own network, transform
                and kind of regions, or found in the cache.
            regions: The other data set's TSV file of bottom-up regions, for a run that was trained
                on such a file.

        Raises:
            DataError: The other data set has nothing to report on, or its features are not of the
                kind and size that the run was trained on.
        """
        source, data = source_and_data(data)
        training.reported(data)  # before any features are computed
        features = None
        if self.model.backbone is None:
            made = Made.of(self.features)
            features = made.again(data, source, regions or self.regions, self.name)
        return replace(self, data=data, features=features, at_home=None)

    def score(self, images: Encoded, captions: Encoded) -> Tensor:
        """The model's similarity, `(n_images, n_captions)`."""
        return self.model.score(images, captions)

    def encode_images(self, data: CaptionedImages) -> Encoded:
        """Every image of a part of the data set, in its order."""
        inputs = None if self.features is None else self.features.inputs
        return encode_images(self.model, data, inputs)

    def encode_sentences(self, sentences: Sequence[str]) -> Encoded:
        """Any sentences, in their order."""
        return encode_captions(self.model, self.vocabulary.encode(sentences))

    @torch.inference_mode()
    def encode_picture(self, path: str | Path) -> Encoded:
        """Any picture, encoded the way the run's own images were."""
        device = next(self.model.parameters()).device
        self.model.eval()
        batch = Batch(torch.zeros(1, dtype=torch.long), **self._seen(path, device))
        return self.model.encode_images(batch.to(device))

    def _seen(self, path: str | Path, device: torch.device) -> dict[str, Tensor]:
        """Features of one picture, as fields of a `Batch`."""
        if isinstance(self.features, Regions):
            which = grid_of(self.regions) if self.regions else {"kind": self.features.kind}
            transform = self.features.transform
            found, _ = of_picture(path, self.features.backbone, transform=transform, **which)
            return {
                "regions": torch.from_numpy(found)[None],
                "region_counts": torch.tensor([len(found)]),
            }
        net = self.model.backbone or load_backbone(self.features.backbone)
        transform = net.transform if self.model.backbone else self.features.transform
        look = eval_transform(transform, net.image_size, net.mean, net.std)
        pixels = look(open_image(path))[None].to(device)  # (1, 3, size, size)
        return {"pooled": pool_stages(net.to(device)(pixels))}


def run(
    recipe: str | Recipe,
    data: str | DataSource | CaptionedImages = "toy",
    *,
    scale: Scale | None = None,
    seed: int = 0,
    backbone: str | None = None,
    regions: str | None = None,
    features: Features | Regions | None = None,
    root: Path | None = None,
    resume: bool = True,
    **overrides,
) -> Run:
    """Trains a recipe, or loads it when it was trained before.

    Of several processes (see `xmr_lib.distributed`) all must call it; each gets the finished run.
    While another program trains the same run, this one waits.

    Args:
        recipe: A recipe or its name.
        data: "toy", a folder or annotation file, a `DataSource`, or captioned images.
        scale: By default "toy" on toy scenes, else "laptop".
        seed: Seed of weights and batches.
        backbone: Network whose features are used; by default the toy one on toy scenes, else
            EfficientNet-Lite0.
        regions: Which regions, for models that compare them (see `sources.features_of`).
        features: Features extracted before, instead of `backbone` and `regions`.
        root: Folder of all runs; `files.runs_dir()` by default.
        resume: Reuse a finished run and continue a killed one; False trains from the start.
        overrides: Fields of the recipe, such as `margin=0.3`.

    Raises:
        UnknownNameError: No such recipe, scale, backbone or field.
        DataError: The data cannot be used, or a value of the recipe is not allowed.
    """
    if not isinstance(recipe, str) and (scale or overrides):
        changed = next(iter(overrides), "scale")
        raise DataError(
            f"{changed} cannot be changed of a recipe that is already made: give its name "
            f"({recipe.name!r}), or change it with recipe.replaced({changed}=…)."
        )
    if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise DataError(f"The seed must be a whole number from 0 to {2**32 - 1}, not {seed!r}.")
    distributed.join()
    with distributed.main_first():  # toy scenes are drawn by one process
        source, data = source_and_data(data)
    if isinstance(recipe, str):
        scale = scale or ("toy" if is_toy(data) else "laptop")
        recipe = recipes.get(recipe, scale, **overrides)
    if regions and not recipe.of_regions:
        raise DataError(f"{recipe.name} takes whole images: leave regions={regions!r} out.")
    if features is None:
        refuse_unused(source, regions, backbone=backbone)
        with distributed.main_first():  # features are extracted by one process
            features = features_of(
                data, source, of_regions=recipe.of_regions, backbone=backbone, kind=regions
            )
    elif isinstance(features, Regions) != recipe.of_regions:
        raise DataError(
            f"{recipe.name} needs {'regions' if recipe.of_regions else 'pooled features'}: see "
            "xmr_lib.sources.features_of."
        )
    place = (root or runs_dir()) / f"{folder_name(data.name)}-{fingerprint(data, features)}"
    versions = versions_of(recipe)
    folder = place_of(recipe, versions, place / recipe.scale / recipe.slug, seed)
    if resume and (folder / "run.json").is_file():
        return load(folder, data=data, features=features)
    with alone(folder):
        if resume and (folder / "run.json").is_file():  # another program has trained it meanwhile
            return load(folder, data=data, features=features)
        distributed.wait()  # until all have looked whether it is finished
        (folder / "run.json").unlink(missing_ok=True)  # what is trained anew is not finished
        started = time.perf_counter()
        trained = training.train(
            recipe,
            data,
            features.inputs,
            features.stage_dims,
            folder,
            backbone=features.backbone,
            transform=features.transform,
            seed=seed,
            resume=resume,
        )
        seconds = round(time.perf_counter() - started, 2)
        if distributed.is_main():
            content = {
                "recipe": recipe.to_json(),
                "seed": int(seed),
                "data": asdict(source.absolute()) if source else None,
                "data_name": data.name,
                "fingerprint": fingerprint(data, features),
                "backbone": features.backbone,
                "regions": regions,
                "kind": Made.of(features).kind,
                "transform": features.transform,
                "stage_dims": list(features.stage_dims),
                "seconds": seconds,
                "threads": trained.threads,
                "versions": versions,
                "torch": torch.__version__,
                "metrics": trained.retrieval.metrics(),
            }
            training.write_json(folder / "run.json", content)
        distributed.wait()
    return Run(
        folder,
        recipe,
        int(seed),
        data,
        features,
        regions,
        trained.vocabulary,
        trained.model.to(PartialState().device),
        pd.DataFrame(trained.history),
        trained.retrieval,
        seconds,
        trained.knowledge,
    )


def load(
    folder: str | Path,
    data: str | Path | DataSource | CaptionedImages | None = None,
    features: Features | Regions | None = None,
    *,
    other: bool = False,
) -> Run:
    """Opens a finished run.

    Args:
        folder: The run's folder (it holds `run.json`).
        data: Its data set; read again from where it was by default.
        features: Its features; extracted again, or found in the cache, by default.
        other: `data` may also be another data set: the run comes back on that (see `Run.on`).

    Raises:
        DataError: The folder holds no finished run, a file of it is damaged, or the data set is
            not where it was or has changed.
    """
    folder = Path(folder)
    content = read_run(folder)
    recipe = content["recipe"]
    source, data = data_of(folder, content, data)
    if features is None:
        features = features_of(
            data,
            source,
            of_regions=recipe.of_regions,
            backbone=content["backbone"],
            kind=content["regions"],
            transform=content["transform"],
        )
    own = fingerprint(data, features) == content["fingerprint"]
    if not own and content["first_version_of"] == data.name and reports_on(folder, data):
        own = True
        warnings.warn(
            f"{folder} is of the first version: its data cannot be compared.", stacklevel=2
        )
    if not own and not other:
        raise DataError(
            f"{folder} was trained on another version of {data.name}: captions, splits, pictures "
            "or backbone differ. Train it again, or pass the data it was trained on."
        )
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    tuned = load_backbone(features.backbone) if recipe.training.finetune_epochs else None
    if tuned is not None:
        tuned.transform = features.transform
    known = Knowledge()
    if isinstance(recipe.model, models.SmfeaConfig):
        known = Knowledge.load(folder, recipe.model, vocabulary)
    model = models.build(recipe.model, len(vocabulary), content["stage_dims"], tuned, known)
    trainer.load_weights(model, folder / "model.safetensors")
    try:
        history = pd.DataFrame(json.loads((folder / "history.json").read_text(encoding="utf-8")))
        ranks = Retrieval.load(folder / "ranks.npz")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise damaged(folder, error, "history.json or ranks.npz") from None
    found = Run(
        folder,
        recipe,
        content["seed"],
        data,
        features,
        content["regions"],
        vocabulary,
        model.eval().to(PartialState().device),
        history,
        ranks,
        content["seconds"],
        known,
    )
    if own:
        return found
    made = Made(content["kind"], content["backbone"], content["transform"], content["stage_dims"])
    features = made.again(data, source, content["regions"], recipe.name) if tuned is None else None
    return replace(found, features=features, at_home=None)
