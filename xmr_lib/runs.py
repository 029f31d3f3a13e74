"""A run: one recipe trained on one data set with one seed, as a folder on disk.

`run` trains it, or finds it finished and loads it; `load` opens a folder. A run's folder is
`runs/<data set>-<fingerprint>/<scale>/<recipe>/seed-<n>/`; the fingerprint stands for the features,
captions and splits, so that results never mix between versions of a data set.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState
from torch import Tensor

from xmr_lib import distributed, models, recipes, training
from xmr_lib.data.batches import Batch
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.feature_store import write_atomically
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
from xmr_lib.similarity import Encoded
from xmr_lib.sources import DataSource, default_backbone, features_of, grid_of, is_toy

__all__ = ["DataSource", "Run", "default_backbone", "is_toy", "load", "run"]


@dataclass(eq=False)
class Run(Retriever):
    """A finished run.

    Attributes:
        folder: Where it lies.
        recipe: What was trained.
        seed: Its seed.
        data: The whole data set.
        features: Its features, pooled or of regions.
        regions: Which regions, as `xmr_lib.sources.features_of` names them; None: its default.
        vocabulary: Words it knows.
        model: With the weights that were best on the selection split.
        history: One row an epoch.
        retrieval: Ranks on the reported split.
        seconds: What the training took.
        knowledge: SMFEA's and CVSE's categories and concepts.
    """

    folder: Path
    recipe: Recipe
    seed: int
    data: CaptionedImages
    features: Features | Regions
    regions: str | None
    vocabulary: Vocabulary
    model: models.RetrievalModel
    history: pd.DataFrame
    retrieval: Retrieval
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

    def score(self, images: Encoded, captions: Encoded) -> Tensor:
        """The model's similarity, `(n_images, n_captions)`."""
        return self.model.score(images, captions)

    def encode_images(self, data: CaptionedImages) -> Encoded:
        """Every image of a part of the data set, in its order."""
        return encode_images(self.model, data, self.features.inputs)

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
        backbone = self.model.backbone or load_backbone(self.features.backbone)
        look = eval_transform(
            self.features.transform, backbone.image_size, backbone.mean, backbone.std
        )
        pixels = look(open_image(path))[None].to(device)  # (1, 3, size, size)
        return {"pooled": pool_stages(backbone.to(device)(pixels))}


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

    Args:
        recipe: A recipe or its name.
        data: "toy", a folder or annotation file, a `DataSource`, or captioned images.
        scale: "toy", "laptop" or "paper"; by default "toy" on toy scenes, else "laptop".
        seed: Seed of weights and batches.
        backbone: Network whose features are used; by default the toy one on toy scenes, else
            EfficientNet-Lite0.
        regions: Which regions, for models that compare them (see `sources.features_of`).
        features: Features extracted before, instead of `backbone` and `regions`.
        root: Folder of all runs; `files.runs_dir()` by default.
        resume: Reuse a finished run and go on with a killed one; False trains from the start.
        overrides: Fields of the recipe, such as `margin=0.3`.

    Raises:
        UnknownNameError: No such recipe, scale, backbone or field.
        DataError: The data cannot be used, or a value of the recipe makes no sense.
    """
    if not isinstance(recipe, str) and (scale or overrides):
        changed = ", ".join(overrides or ["scale"])
        raise DataError(
            f"{changed} cannot be changed of a recipe that is already made: give its name "
            f"({recipe.name!r}), or change it with recipe.replaced({changed}=…)."
        )
    distributed.join()
    source = DataSource(str(data)) if isinstance(data, str | Path) else data
    with distributed.main_first():  # toy scenes are drawn by one process
        data = source.load() if isinstance(source, DataSource) else source
    if isinstance(recipe, str):
        scale = scale or ("toy" if is_toy(data) else "laptop")
        recipe = recipes.get(recipe, scale, **overrides)
    of_regions = recipe.of_regions
    if features is None:
        with distributed.main_first():  # and seen by one
            features = features_of(
                data, source if isinstance(source, DataSource) else None,
                of_regions=of_regions, backbone=backbone, kind=regions,
            )  # fmt: skip
    elif isinstance(features, Regions) != of_regions:
        raise DataError(
            f"{recipe.name} needs {'regions' if of_regions else 'pooled features'}: see "
            "xmr_lib.sources.features_of."
        )
    folder = (
        (root or runs_dir())
        / f"{data.name}-{_fingerprint(data, features)}"
        / recipe.scale / recipe.slug / f"seed-{seed}"
    )  # fmt: skip
    if resume and (folder / "run.json").is_file():
        found = load(folder, data=data, features=features)
        if found.recipe == recipe:
            return found
        warnings.warn(f"{folder} was trained with other settings: trained anew.", stacklevel=2)
    distributed.wait()  # until all have looked whether it is finished
    (folder / "run.json").unlink(missing_ok=True)  # what is trained anew is not finished
    started = time.perf_counter()
    training.train(
        recipe, data, features.inputs, features.stage_dims, folder,
        backbone=features.backbone, transform=features.transform, seed=seed, resume=resume,
    )  # fmt: skip
    if distributed.is_main():
        content = {
            "recipe": recipe.to_json(),
            "seed": seed,
            "data": asdict(source.absolute()) if isinstance(source, DataSource) else None,
            "data_name": data.name,
            "fingerprint": _fingerprint(data, features),
            "backbone": features.backbone,
            "regions": regions,
            "transform": features.transform,
            "stage_dims": list(features.stage_dims),
            "seconds": round(time.perf_counter() - started, 2),
            "torch": torch.__version__,
            "metrics": Retrieval.load(folder / "ranks.npz").metrics(),
        }
        write_atomically(folder / "run.json", json.dumps(content, indent=1).encode())
    distributed.wait()
    return load(folder, data=data, features=features)


def _fingerprint(data: CaptionedImages, features: Features) -> str:
    digest = hashlib.sha256(features.key.encode())
    for part in ("\n".join(data.captions), "\n".join(data.splits)):
        digest.update(part.encode())
    digest.update(data.image_of_caption.astype("<i8").tobytes())
    return digest.hexdigest()[:8]


def load(
    folder: str | Path,
    data: str | Path | DataSource | CaptionedImages | None = None,
    features: Features | Regions | None = None,
) -> Run:
    """Opens a finished run.

    Args:
        folder: The run's folder (it holds `run.json`).
        data: Its data set; read again from where it was by default.
        features: Its features; extracted again, or found in the cache, by default.

    Raises:
        DataError: The folder holds no finished run, a file of it is damaged, or the data set is
            not where it was or has changed.
    """
    folder = Path(folder)
    content = _read_run(folder)
    data = _data_of(folder, content, data)
    recipe, source = content["recipe"], content["data"]
    if features is None:
        features = features_of(
            data, DataSource(**source) if source else None,
            of_regions=recipe.of_regions, backbone=content["backbone"],
            kind=content["regions"], transform=content["transform"],
        )  # fmt: skip
    if _fingerprint(data, features) != content["fingerprint"]:
        raise DataError(
            f"{folder} was trained on another version of {data.name}: captions, splits, pictures "
            "or backbone differ. Train it again, or pass the data it was trained on."
        )
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    tuned = load_backbone(features.backbone) if recipe.training.finetune_epochs else None
    if tuned is not None:
        tuned.transform = features.transform
    knowledge = Knowledge()
    if isinstance(recipe.model, models.SmfeaConfig):
        knowledge = Knowledge.load(folder, recipe.model, vocabulary)
    model = models.build(recipe.model, len(vocabulary), features.stage_dims, tuned, knowledge)
    training.load_weights(model, folder / "model.safetensors")
    try:
        history = pd.read_json(folder / "history.json")
        retrieval = Retrieval.load(folder / "ranks.npz")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(folder, error) from None
    return Run(
        folder, recipe, content["seed"], data, features, content["regions"], vocabulary,
        model.eval().to(PartialState().device), history, retrieval, content["seconds"],
        knowledge,
    )  # fmt: skip


def _read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` says, its recipe as a `Recipe`."""
    try:
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{folder} holds no finished run (no run.json). Give the folder that `train` printed; "
            "a run that was stopped goes on when the same `train` command is given again."
        ) from None
    except ValueError as error:
        raise DataError(f"{folder / 'run.json'} is not valid JSON ({error}).") from None
    needed = ("recipe", "seed", "data", "fingerprint", "backbone", "transform", "seconds")
    try:
        return {name: content[name] for name in needed} | {
            "recipe": Recipe.from_json(content["recipe"]),
            "regions": content.get("regions"),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, error, "run.json") from None


def _data_of(
    folder: Path, content: dict, data: str | Path | DataSource | CaptionedImages | None
) -> CaptionedImages:
    """The data set of a run: as given, else read from where it was when the run was trained."""
    if data is not None:
        data = DataSource(str(data)) if isinstance(data, str | Path) else data
        return data.load() if isinstance(data, DataSource) else data
    if content["data"] is None:
        raise DataError(f"{folder} does not say where its data came from: pass `data`.")
    try:
        return DataSource(**content["data"]).load()
    except TypeError as error:
        raise _damaged(folder, error, "run.json") from None
    except DataError as error:
        raise DataError(
            f"The data that {folder} was trained on cannot be read: {error}\nIf it was moved, put "
            "it back, or say where it is: xmr_lib.runs.load(folder, data=…)."
        ) from None


def _damaged(folder: Path, error: Exception, file: str = "history.json or ranks.npz") -> DataError:
    return DataError(
        f"{folder}: {file} is missing or damaged ({error!r}). Delete the folder and train again."
    )
