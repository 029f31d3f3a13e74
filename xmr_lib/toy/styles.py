"""Other looks and other ways of writing for the toy scenes, to transfer a trained model to.

Scenes, boxes and relations stay as they are; a style redraws the picture and rewrites the captions.
"plain" is the default and changes nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from xmr_lib.toy.words import table

STYLES = ("plain", "sketch")

# Strengths of a sketch. VSE++ trained on plain scenes keeps about a third of its rsum on these; the
# pictures cost it three times what the words cost. White paper that shines through would leave it
# hardly anything.
_FADE, _INK, _GRAIN = 0.3, 0.6, 4

_OPENING = re.compile(r"^(?:this is|there is|there are|a picture of) ")
_FRONTED = re.compile(
    r"^((?:next to|beside|behind|in|in front of|on|under|beneath|over|above) [^,]*?) (?:there )?is "
)
_DROPPED = re.compile(r"\b(?:a|an|the|one|some|is|are|being|there) ")
# The sketch's words, first with the words of plain captions that they stand for.
_WORDS = table("""
    by: beside, next to; close to: near; before: in front of; gray: grey; person: someone;
    woman: lady; child: kid; on: on top of; under: underneath; wee: small, little, tiny; huge:
    big, large; auto: automobile; cycle: bicycle, bike; yacht: sailboat; jet: airplane; cabin:
    cottage; pup: puppy; kitty: kitten; fellow: guy, gentleman; jumper: sweater; in: wearing;
    holds: holding; carries: carrying; rides: riding; walks: out walking, walking; leads:
    leading; kicks: kicking; plays: playing; sails: sailing; sits: sitting; rests: resting;
    stands: standing; shades: shading; chases: chasing; runs: running; follows: following;
    looks: looking; watches: watching; stares: staring; faces: facing; flies: flying; jumps:
    jumping; leaps: leaping
""")
_REWORDED = {plain: word for word, plains in _WORDS.items() for plain in plains}
_REWORD = re.compile(r"\b(" + "|".join(_REWORDED) + r")\b")


def redraw(picture: Image.Image, style: str, seed: str) -> Image.Image:
    """A toy scene's picture in another style.

    "sketch" fades the colours, inks the outlines over and draws on coarse paper.

    Args:
        picture: As drawn, RGB.
        style: One of `STYLES`.
        seed: Of the paper's grain.
    """
    if style == "plain":
        return picture
    colours = np.asarray(picture, dtype=np.float32)  # (h, w, 3)
    faded = (1 - _FADE) * colours + _FADE * colours.mean(axis=2, keepdims=True)
    edges = np.asarray(picture.convert("L").filter(ImageFilter.FIND_EDGES), dtype=np.float32)
    edges[[0, -1]] = edges[:, [0, -1]] = 0  # the filter sees the picture's border as an edge
    ink = _INK * np.clip((edges - 24) / 90, 0, 1)[..., None]
    inked = (1 - ink) * faded + ink * 40
    # Bytes of a hash: the same on every machine and with every version of every library.
    noise = hashlib.shake_256(seed.encode()).digest(edges.size)
    grain = np.frombuffer(noise, np.uint8).astype(np.float32) % (2 * _GRAIN + 1) - _GRAIN
    return Image.fromarray(
        np.clip(np.rint(inked + grain.reshape(*edges.shape, 1)), 0, 255).astype(np.uint8)
    )


def rewrite(captions: Sequence[str], style: str) -> list[str]:
    """A scene's captions in another style.

    "sketch" is short like a telegram, in the present tense, with other words. Captions that would
    read alike stay different: the second one begins with "sketch of", a third one stays as it was.

    >>> rewrite(["There is a small dog by the house.", "In the lake is a boat"], "sketch")
    ['sketch of wee dog by house', 'in lake: boat']
    """
    if style == "plain":
        return list(captions)
    found: list[str] = []
    for caption in captions:
        text, openings = _OPENING.subn("", caption.rstrip(" .").lower())
        text = _FRONTED.sub(r"\1: ", text)
        text = _REWORD.sub(lambda match: _REWORDED[match[1]], _DROPPED.sub("", text))
        options = [f"sketch of {text}", caption] if openings else [text, f"sketch of {text}"]
        found.append(next((each for each in options if each not in found), caption))
    return found
