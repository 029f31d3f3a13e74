"""Boxes that come with a data set: a file `boxes.json` beside the pictures or one folder above.

It holds the boxes of each picture by its file name, in pixels of the upright picture::

    {"dog.jpg": [[left, top, right, bottom], …], "street.jpg": []}
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.file_names import match
from xmr_lib.data.images import open_image
from xmr_lib.data.records import read_json
from xmr_lib.errors import DataError

WHOLE = (0.0, 0.0, 1.0, 1.0)  # the whole picture as a box
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def boxes_file(data: CaptionedImages) -> Path | None:
    """The `boxes.json` of a data set; None if it has none."""
    folder = data.image_files[0].parent
    places = [folder / "boxes.json", folder.parent / "boxes.json"]
    return next((file for file in places if file.is_file()), None)


def known_boxes(data: CaptionedImages) -> list[np.ndarray]:
    """The boxes of every image, the whole picture last.

    Returns:
        (k_i, 4) float32 for each image: left, top, right, bottom as shares of width and height.

    Raises:
        DataError: There is no `boxes.json`, an image is missing in it, or a box is impossible.
    """
    file = boxes_file(data)
    if file is None:
        raise DataError(
            f"{data.name}: there is no file boxes.json beside the pictures "
            f"(looked in {data.image_files[0].parent} and the folder above). Write one, "
            '{"photo.jpg": [[left, top, right, bottom], …], …} in pixels, or use other regions: '
            "kind='grid' or kind='detector' (--regions grid, --regions detector)."
        )
    boxes = read_json(file)
    names = match([each.name for each in data.image_files], boxes)
    missing = [each.name for each, name in zip(data.image_files, names, strict=True) if not name]
    if missing:
        raise DataError(
            f"{file}: holds no boxes of {len(missing):,} of the {data.n_images:,} pictures, such "
            f"as {missing[0]}. A picture without boxes gets an empty list, []."
        )
    pairs = zip(names, data.image_files, strict=True)
    return [_shares(boxes[name], image, file) for name, image in pairs]


def _shares(boxes: list, image: Path, file: Path) -> np.ndarray:
    wanted = f"{file}, {image.name}: expected a list of [left, top, right, bottom] in pixels"
    try:
        pixels = np.array(boxes, np.float32).reshape(len(boxes), 4)
    except (TypeError, ValueError):
        raise DataError(f"{wanted}, found {str(boxes)[:60]}.") from None
    width, height = _upright_size(image)
    shares = np.clip(pixels / np.array([width, height] * 2, np.float32), 0, 1)
    for box, share in zip(pixels, shares, strict=True):
        if not (share[:2] < share[2:]).all():
            raise DataError(
                f"{wanted}, but {box.tolist()} is empty or outside of the {width}×{height} pixels."
            )
    return np.concatenate([shares, np.array([WHOLE], np.float32)])


def _upright_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture in pixels, read from its header."""
    try:
        with Image.open(path) as image:
            if image.format == "PNG" and b"eXIf" not in path.read_bytes():
                return image.size  # looking for EXIF in it would decode it
            sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
            return image.size[::-1] if sideways else image.size
    except (OSError, ValueError, SyntaxError):
        return open_image(path).size  # raises the error that names the file
