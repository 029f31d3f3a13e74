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
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState

from xmr_lib import models, recipes, training
from xmr_lib.data import captioned
from xmr_lib.data.batches import Batch
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.feature_store import write_atomically
from xmr_lib.data.features import Features, extract
from xmr_lib.data.images import eval_transform, open_image
from xmr_lib.data.vocabulary import Vocabulary
from xmr_lib.encoders.backbone import load_backbone, pool_stages
from xmr_lib.encoding import encode_captions, encode_images
from xmr_lib.errors import DataError
from xmr_lib.evaluation import Retrieval
from xmr_lib.paths import runs_dir
from xmr_lib.recipes import Recipe, Scale
from xmr_lib.retrieval import Hit, top_k
from xmr_lib.similarity import Encoded


@dataclass(frozen=True)
class DataSource:
    """Where captioned images come from; enough to read them again.

    Attributes:
        data: "toy", or a folder or annotation file of captioned photographs.
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

    def load(self) -> CaptionedImages:
        """Reads the captioned images."""
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


@dataclass
class Run:
    """A finished run.

    Attributes:
        folder: Where it lies.
        recipe: What was trained.
        seed: Its seed.
        data: The whole data set.
        features: Its pooled features.
        vocabulary: Words it knows.
        model: With the weights that were best on the selection split.
        history: One row an epoch.
        retrieval: Ranks on the reported split.
        seconds: What the training took.
    """

    folder: Path
    recipe: Recipe
    seed: int
    data: CaptionedImages
    features: Features
    vocabulary: Vocabulary
    model: models.RetrievalModel
    history: pd.DataFrame
    retrieval: Retrieval
    seconds: float
    _encoded: dict[str, tuple[Encoded, Encoded]] = field(default_factory=dict, repr=False)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Recalls, ranks and rsum on the reported split."""
        return self.retrieval.metrics()

    @cached_property
    def report(self) -> CaptionedImages:
        """The images that the run reports on, and searches by default."""
        return training.three_parts(self.data)[2]

    def encoded(self, data: CaptionedImages | None = None) -> tuple[Encoded, Encoded]:
        """All images and captions of a data set (default: the reported split), encoded once."""
        data = self.report if data is None else data
        key = hashlib.sha256(data.rows.tobytes()).hexdigest()
        if key not in self._encoded:
            self._encoded[key] = (
                encode_images(self.model, data, self.features.array),
                encode_captions(self.model, self.vocabulary.encode(data.captions)),
            )
        return self._encoded[key]

    def score_matrix(self, data: CaptionedImages | None = None) -> np.ndarray:
        """All scores `(n_images, n_captions)`; for pictures and small sets."""
        images, captions = self.encoded(data)
        with torch.inference_mode():
            return self.model.score(images, captions).cpu().numpy()

    @torch.inference_mode()
    def search_images(
        self, sentence: str, k: int = 5, data: CaptionedImages | None = None
    ) -> list[Hit]:
        """The `k` images that fit a sentence best.

        Raises:
            DataError: The sentence has no words.
        """
        data = self.report if data is None else data
        images, _ = self.encoded(data)
        query = encode_captions(self.model, self.vocabulary.encode([sentence]))
        scores, places = top_k(lambda q, g: self.model.score(g, q).T, query, images, k)
        return [
            Hit(place, value, data.image_files[place])
            for value, place in zip(scores[0].tolist(), places[0].tolist(), strict=True)
        ]

    @torch.inference_mode()
    def search_captions(
        self, image: str | Path | int, k: int = 5, data: CaptionedImages | None = None
    ) -> list[Hit]:
        """The `k` captions that fit an image best.

        Args:
            image: Any picture file, or the position of an image of `data`.
            k: How many.
            data: What to search; the reported split by default.

        Raises:
            DataError: The picture cannot be read, or there is no such position.
        """
        data = self.report if data is None else data
        images, captions = self.encoded(data)
        if isinstance(image, Integral):
            if not 0 <= image < data.n_images:
                raise DataError(f"There is no image {image}: {data.name} has {data.n_images} here.")
            query = images[image : image + 1]
        else:
            query = self.encode_picture(image)
        scores, places = top_k(self.model.score, query, captions, k)
        return [
            Hit(c, value, data.image_files[data.image_of_caption[c]], data.captions[c])
            for value, c in zip(scores[0].tolist(), places[0].tolist(), strict=True)
        ]

    @torch.inference_mode()
    def encode_picture(self, path: str | Path) -> Encoded:
        """Any picture, encoded the way the run's own images were."""
        backbone = self.model.backbone or load_backbone(self.features.backbone)
        look = eval_transform(
            self.features.transform, backbone.image_size, backbone.mean, backbone.std
        )
        device = next(self.model.parameters()).device
        pixels = look(open_image(path))[None].to(device)  # (1, 3, size, size)
        pooled = pool_stages(backbone.to(device)(pixels))
        self.model.eval()
        return self.model.encode_images(Batch(torch.zeros(1, dtype=torch.long), pooled=pooled))


def run(
    recipe: str | Recipe,
    data: str | DataSource | CaptionedImages = "toy",
    *,
    scale: Scale | None = None,
    seed: int = 0,
    backbone: str | None = None,
    features: Features | None = None,
    root: Path | None = None,
    resume: bool = True,
    **overrides,
) -> Run:
    """Trains a recipe, or loads it when it was trained before.

    Args:
        recipe: A recipe or its name.
        data: "toy", a folder or annotation file, a `DataSource`, or captioned images.
        scale: "toy", "laptop" or "paper"; by default "toy" on toy scenes, else "laptop".
        seed: Seed of weights and batches.
        backbone: Network whose features are used; by default the toy one on toy scenes, else
            EfficientNet-Lite0.
        features: Features extracted before, instead of `backbone`.
        root: Folder of all runs; `paths.runs_dir()` by default.
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
            f"({recipe.name!r}), or change it with dataclasses.replace."
        )
    source = DataSource(str(data)) if isinstance(data, str | Path) else data
    data = source.load() if isinstance(source, DataSource) else source
    if isinstance(recipe, str):
        scale = scale or ("toy" if is_toy(data) else "laptop")
        recipe = recipes.get(recipe, scale, **overrides)
    features = features or extract(data, backbone or default_backbone(data))
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
    (folder / "run.json").unlink(missing_ok=True)  # what is trained anew is not finished
    started = time.perf_counter()
    training.train(
        recipe, data, features.array, features.stage_dims, folder,
        backbone=features.backbone, transform=features.transform, seed=seed, resume=resume,
    )  # fmt: skip
    content = {
        "recipe": recipe.to_json(),
        "seed": seed,
        "data": asdict(source.absolute()) if isinstance(source, DataSource) else None,
        "data_name": data.name,
        "fingerprint": _fingerprint(data, features),
        "backbone": features.backbone,
        "transform": features.transform,
        "stage_dims": list(features.stage_dims),
        "seconds": round(time.perf_counter() - started, 2),
        "torch": torch.__version__,
        "metrics": Retrieval.load(folder / "ranks.npz").metrics(),
    }
    write_atomically(folder / "run.json", json.dumps(content, indent=1).encode())
    return load(folder, data=data, features=features)


def is_toy(data: CaptionedImages) -> bool:
    """Whether these are the drawn toy scenes."""
    return data.name == "toy" or data.name.startswith("toy-")


def default_backbone(data: CaptionedImages) -> str:
    """The toy network for toy scenes, EfficientNet-Lite0 (works offline) for photographs."""
    return "toy" if is_toy(data) else "efficientnet-lite0"


def _fingerprint(data: CaptionedImages, features: Features) -> str:
    digest = hashlib.sha256(features.key.encode())
    for part in ("\n".join(data.captions), "\n".join(data.splits)):
        digest.update(part.encode())
    digest.update(data.image_of_caption.astype("<i8").tobytes())
    return digest.hexdigest()[:8]


def load(
    folder: str | Path,
    data: str | Path | DataSource | CaptionedImages | None = None,
    features: Features | None = None,
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
    if features is None:
        features = extract(data, content["backbone"], transform=content["transform"])
    if _fingerprint(data, features) != content["fingerprint"]:
        raise DataError(
            f"{folder} was trained on another version of {data.name}: captions, splits, pictures "
            "or backbone differ. Train it again, or pass the data it was trained on."
        )
    recipe, vocabulary = content["recipe"], Vocabulary.load(folder / "vocabulary.json")
    tuned = load_backbone(features.backbone) if recipe.finetune_epochs else None
    if tuned is not None:
        tuned.transform = features.transform
    model = models.build(recipe, len(vocabulary), features.stage_dims, tuned)
    training.load_weights(model, folder / "model.safetensors")
    try:
        history = pd.read_json(folder / "history.json")
        retrieval = Retrieval.load(folder / "ranks.npz")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(folder, error) from None
    return Run(
        folder, recipe, content["seed"], data, features, vocabulary,
        model.eval().to(PartialState().device), history, retrieval, content["seconds"],
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
            "recipe": Recipe.from_json(content["recipe"])
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
