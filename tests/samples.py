"""Tiny data sets for the tests: a few coloured pictures and their captions, in every format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from xmr_lib.encoders.backbone import Backbone


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (48, 36)) -> Path:
    """Writes a small picture of random blocks; seeds give different ones."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(path, quality=90)
    return path


def pictures(folder: Path, count: int, suffix: str = ".jpg") -> list[str]:
    """Writes `count` pictures and returns their names."""
    return [picture(folder / f"photo{i}{suffix}", seed=i).name for i in range(count)]


def captions(image: int, count: int = 2) -> list[str]:
    """Captions that say which image and which of its captions they are."""
    return [f"caption {number} of picture {image}" for number in range(count)]


def table(
    folder: Path, count: int = 4, splits: list[str] | None = None, per_image: int = 2
) -> Path:
    """A folder with `captions.csv` and its pictures in `images/`; returns the table's path."""
    names = pictures(folder / "images", count)
    lines = ["image,caption" + (",split" if splits else "")]
    for image, name in enumerate(names):
        ending = f",{splits[image]}" if splits else ""
        lines += [f"{name},{text}{ending}" for text in captions(image, per_image)]
    path = folder / "captions.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def karpathy(folder: Path, splits: list[str], counts: list[int], **more) -> Path:
    """A folder in Karpathy's format, `counts[i]` captions for image i; returns the JSON's path."""
    names = pictures(folder / "images", len(splits))
    images = [
        {
            "filename": name,
            "split": split,
            "sentences": [{"raw": text} for text in captions(i, count)],
            **more,
        }
        for i, (name, split, count) in enumerate(zip(names, splits, counts, strict=True))
    ]
    path = folder / "dataset_small.json"
    path.write_text(json.dumps({"dataset": "small", "images": images}), encoding="utf-8")
    return path


def coco(folder: Path, split: str, ids: list[int]) -> Path:
    """Adds `annotations/captions_<split>2014.json` and its pictures; one caption more each time."""
    images, annotations = [], []
    for count, key in enumerate(ids, start=1):
        name = f"COCO_{split}2014_{key:012d}.jpg"
        picture(folder / f"{split}2014" / name, seed=key)
        images.append({"id": key, "file_name": name})
        annotations += [{"image_id": key, "caption": text} for text in captions(key, count)]
    annotations.reverse()  # the order of annotations is not that of images
    path = folder / "annotations" / f"captions_{split}2014.json"
    path.parent.mkdir(exist_ok=True)
    content = {"info": {}, "images": images, "annotations": annotations}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


class TinyStages(torch.nn.Module):
    """Four convolutions, each half the size of the one before."""

    dims = (2, 3, 4, 5)

    def __init__(self) -> None:
        super().__init__()
        sizes = zip((3, *self.dims), self.dims, strict=False)
        self.steps = torch.nn.ModuleList(torch.nn.Conv2d(i, o, 3, stride=2) for i, o in sizes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(b, 3, h, w) → four maps."""
        maps = []
        for step in self.steps:
            x = step(x)
            maps.append(x)
        return tuple(maps)


def tiny(seed: int = 0) -> Backbone:
    """A random backbone that takes no time."""
    torch.manual_seed(seed)
    return Backbone("tiny", TinyStages(), TinyStages.dims, image_size=40)
