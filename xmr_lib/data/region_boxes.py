"""Where regions lie: cells of a map, and what is cropped out of a picture.

Boxes are left, top, right, bottom as shares of the upright image's width and height: they hold for
whatever size the picture is decoded or drawn at.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from xmr_lib.data.boxes import WHOLE
from xmr_lib.data.images import to_bytes


def window(kind: str, size: int, width: int, height: int) -> tuple[float, float, float, float]:
    """The part of an image that the test-time crop of a transform leaves, as a box.

    The network's input has size × size pixels, the image width × height; the kinds of transform
    are those of `xmr_lib.data.images`.

    >>> window("rfe", 224, 500, 375)  # 16 of 256 pixels are cut off at each side
    (0.0625, 0.0625, 0.9375, 0.9375)
    >>> window("vsepp", 224, 512, 256)  # a square out of the middle
    (0.28125, 0.0625, 0.71875, 0.9375)
    """
    if kind == "whole":
        return WHOLE
    larger = round(size * 256 / 224)
    wide = high = larger
    if kind == "vsepp":  # the shorter side becomes `larger`; torchvision rounds the other one down
        short = min(width, height)
        wide, high = int(larger * width / short), int(larger * height / short)
    left, top = round((wide - size) / 2), round((high - size) / 2)
    return left / wide, top / high, (left + size) / wide, (top + size) / high


def cell_boxes(
    window: tuple[float, float, float, float], shape: tuple[int, int], cells: int | None = None
) -> np.ndarray:
    """Boxes of the cells of a map, row by row from the top left.

    Args:
        window: The part of the image that the map is of.
        shape: Rows and columns of the map.
        cells: Average the map to cells × cells first. Where that does not divide evenly, cells
            overlap, as those of adaptive average pooling do.

    Returns:
        (n_regions, 4) float32.

    >>> cell_boxes((0.0, 0.0, 1.0, 1.0), (1, 2)).tolist()
    [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]
    """
    left, top, right, bottom = window
    ys = top + (bottom - top) * _bounds(shape[0], cells)  # (rows, 2): top and bottom
    xs = left + (right - left) * _bounds(shape[1], cells)  # (columns, 2): left and right
    boxes = np.empty((len(ys), len(xs), 4), np.float32)
    boxes[..., 0::2] = xs
    boxes[..., 1::2] = ys[:, None]
    return boxes.reshape(-1, 4)


def _bounds(length: int, cells: int | None) -> np.ndarray:
    """First and last end of each cell as shares of a side, (cells, 2)."""
    cells = cells or length
    each = np.arange(cells)
    first, last = each * length // cells, -(-(each + 1) * length // cells)
    return np.stack([first, last], axis=1) / length


def crop_boxes(image: Image.Image, boxes: np.ndarray, size: int) -> np.ndarray:
    """What lies in each box, squeezed to a square: (k, size, size, 3) uint8.

    Boxes are rounded to whole pixels, and have at least one.
    """
    scale = np.array([image.width, image.height] * 2, np.float64)
    crops = []
    for box in boxes:
        corners = np.rint(np.clip(box, 0, 1) * scale).astype(int)  # pixels
        start = np.minimum(corners[:2], np.array(image.size) - 1)
        stop = np.maximum(corners[2:], start + 1)
        # Cut out first: resizing a box of the image would mix in pixels from around it.
        inside = image.crop((*start.tolist(), *stop.tolist()))
        crops.append(to_bytes(inside.resize((size, size), Image.Resampling.BILINEAR)))
    return np.stack(crops)
