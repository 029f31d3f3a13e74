"""Other looks and other ways of writing for the toy scenes, to transfer a trained model to.

The scenes, their boxes and relations stay the same kind; a style redraws the picture and rewrites
the caption. `plain` is the default and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

STYLES = ("plain", "sketch")

_DROPPED = re.compile(r"\b(?:a|an|the|one|some|is|are|there)\s+", re.IGNORECASE)
_REWORDED = {
    "a person": "somebody", "beside": "by", "next to": "by", "near": "close to",
    "close to": "near", "in front of": "before", "looking at": "facing", "small": "tiny",
    "big": "huge", "large": "huge", "little": "tiny", "kid": "child", "grey": "gray",
}  # fmt: skip
_REWORD = re.compile(r"\b(" + "|".join(map(re.escape, _REWORDED)) + r")\b")


def redraw(picture: Image.Image, style: str, seed: str) -> Image.Image:
    """A toy scene's picture in another style.

    "sketch" washes some of the colour out, draws outlines and puts it on paper.

    Args:
        picture: As drawn, RGB.
        style: One of `STYLES`.
        seed: Of the paper's grain.
    """
    if style == "plain":
        return picture
    colours = np.asarray(picture, dtype=np.float32)  # (h, w, 3)
    grey = colours.mean(axis=2, keepdims=True)
    paper = np.array([250.0, 244.0, 228.0])
    washed = 0.75 * (0.8 * colours + 0.2 * grey) + 0.25 * paper
    edges = np.asarray(picture.convert("L").filter(ImageFilter.FIND_EDGES), dtype=np.float32)
    edges[[0, -1]] = edges[:, [0, -1]] = 0  # the filter sees the picture's border as an edge
    ink = np.clip((edges - 24) / 90, 0, 1)[..., None]
    number = int.from_bytes(seed.encode()[-6:], "little")
    grain = np.random.default_rng(number).normal(0, 2, (*edges.shape, 1))
    drawn = washed * (1 - 0.4 * ink) + 40 * 0.4 * ink + grain
    return Image.fromarray(np.clip(np.rint(drawn), 0, 255).astype(np.uint8))


def rewrite(captions: Sequence[str], style: str) -> list[str]:
    """A scene's captions in another style; "sketch" is short like a telegram, with other words.

    What two captions would say alike stays as it was in the second one.

    >>> rewrite(["There is a small dog next to the house.", "A small dog by the house"], "sketch")
    ['tiny dog by house', 'A small dog by the house']
    """
    if style == "plain":
        return list(captions)
    found: list[str] = []
    for caption in captions:
        short = _DROPPED.sub("", caption.strip().rstrip(" .!")).lower()
        short = _REWORD.sub(lambda match: _REWORDED[match[1]], short)
        found.append(short if short and short not in found else caption)
    return found
