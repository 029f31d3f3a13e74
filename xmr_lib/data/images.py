"""From an image file to what a backbone sees: decode, crop, normalise.

Every image becomes RGB, upright, on white. A transform has a *kind*, whose crop differs between
training and testing:

========= ===================================== ======================== =======================
kind      comes from                            training                 testing
========= ===================================== ======================== =======================
``rfe``   RFE §IV-B                             resize to 256×256,       resize to 256×256,
                                                random crop 224          centre crop 224
``vsepp`` VSE++'s code                          random resized crop 224, shorter side to 256,
                                                mirrored half the time   centre crop 224
``whole`` toy scenes (drawn at their size)      the whole image, squeezed to the size
========= ===================================== ======================== =======================

The sizes above are those of ImageNet networks; for another size they scale (256/224).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from xmr_lib.errors import DataError, UnknownNameError

KINDS = ("rfe", "vsepp", "whole")

# Pixel formats: Pillow hands others, such as EPS, to programs that execute what is in the file.
FORMATS = (
    *("AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "GBR", "GIF", "HEIF"),
    *("ICNS", "ICO", "IM", "JPEG", "JPEG2000", "MPO", "MSP", "PCD", "PCX", "PIXAR", "PNG", "PPM"),
    *("PSD", "QOI", "SGI", "SPIDER", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM", "XVTHUMB"),
)

# What other files begin with (after so many bytes), and what to say of them.
_SIGNATURES = (
    (4, b"ftyphei", "HEIC, as iPhones write it: convert it to JPEG"),
    (4, b"ftypmif1", "HEIF, as iPhones write it: convert it to JPEG"),
    (4, b"ftyp", "a video, or AVIF that this Pillow cannot read: convert it to JPEG"),
    (0, b"%!PS", "PostScript, a program that draws: convert it to PNG"),
    (0, b"%PDF", "a PDF document: convert its page to PNG"),
    (0, b"<svg", "SVG, a drawing without pixels: convert it to PNG"),
    (0, b"<?xml", "XML, such as an SVG drawing without pixels: convert it to PNG"),
    (0, b"<", "not an image but a web page: was the download refused? Fetch it again"),
    (0, b"version https://git-lfs", "a pointer to Git LFS: fetch it with `git lfs pull`"),
)

# What Pillow raises for broken files: its decoders pass on the errors of the formats they read.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)

# JPEG files at least twice this large are decoded at 1/2, 1/4 or 1/8 of their size (the decoder
# does that while decoding): an 8,000×6,000 photo then needs 9 MB instead of 190 MB. Photos of
# Flickr30K and MS-COCO are smaller and therefore untouched.
_ENOUGH_PIXELS = (1024, 1024)


def open_image(path: str | Path) -> Image.Image:
    """Decodes an image file completely, whatever is in it, to upright RGB.

    EXIF rotation is applied; grey, CMYK, palette and 16-bit images are converted; transparent
    parts are laid over white.

    Any pixel format that Pillow reads will do, whatever the file's name; of animations the first
    frame is taken. Very large JPEGs come at 1/2, 1/4 or 1/8 of their size.

    Raises:
        DataError: The file is missing, no image, or truncated; names the file and the reason.
    """
    Image.init()
    try:
        with Image.open(path, formats=[each for each in FORMATS if each in Image.OPEN]) as image:
            image.draft(None, _ENOUGH_PIXELS)
            image.load()
            image = ImageOps.exif_transpose(image)
            return _to_rgb(image)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such image file.") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a folder, not an image file.") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: the image is too large to decode ({error}). Shrink it.") from None
    except _DECODE_ERRORS as error:
        raise DataError(f"{path}: cannot be decoded ({_reason(path, error)}).") from None


def _reason(path: str | Path, error: Exception) -> str:
    """Why a file cannot be decoded, in words that help to repair it."""
    path = Path(path)
    if path.is_dir():  # what Windows calls a PermissionError
        return "this is a folder, not an image file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if path.stat().st_size == 0:
        return "the file is empty: 0 bytes"
    if isinstance(error, Image.UnidentifiedImageError):
        with path.open("rb") as stream:
            first = stream.read(64)
        for skipped, signature, reason in _SIGNATURES:
            if first.lstrip(b"\xef\xbb\xbf \r\n\t")[skipped:].startswith(signature):
                return reason
        return f"not an image: its first bytes are {first[:12]!r}"
    return f"broken or truncated: {error}"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits a pixel, grey
        values = np.asarray(image).astype(np.float64)
        # 16-bit files use the range 0 … 65,535; others are stretched from 0 to their maximum.
        top = 65535.0 if image.mode.startswith("I;16") else max(values.max(initial=0.0), 1.0)
        if image.mode == "I" and values.max(initial=0.0) <= 65535:
            top = 65535.0
        image = Image.fromarray((values.clip(0, top) * (255.0 / top)).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def crop(kind: str, size: int, *, train: bool) -> Callable[[Image.Image], Image.Image]:
    """The geometric half of a transform (see the module's table): any image → size × size pixels.

    In training, crops are random, drawn from torch's generator.

    Raises:
        UnknownNameError: no such kind.
    """
    if kind not in KINDS:
        raise UnknownNameError("image transform", kind, KINDS)
    return partial(_cropped, kind, size, train)


def _cropped(kind: str, size: int, train: bool, image: Image.Image) -> Image.Image:
    return _transform(kind, size, train)(image)


@cache
def _transform(kind: str, size: int, train: bool) -> Callable[[Image.Image], Image.Image]:
    from torchvision import transforms  # slow to import: only when pictures are cropped

    larger = round(size * 256 / 224)
    if kind == "rfe":
        cut = transforms.RandomCrop(size) if train else transforms.CenterCrop(size)
        return transforms.Compose([transforms.Resize((larger, larger)), cut])
    if kind == "whole":
        return transforms.Resize((size, size))
    if train:
        steps = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    else:
        steps = [transforms.Resize(larger), transforms.CenterCrop(size)]
    return transforms.Compose(steps)


def to_bytes(image: Image.Image) -> np.ndarray:
    """An RGB image as (height, width, 3) uint8: a quarter of the size of floats to pass around."""
    return np.array(image, dtype=np.uint8)


def normalise(
    images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]
) -> torch.Tensor:
    """Bytes (..., h, w, 3) → (x / 255 - mean) / std, (..., 3, h, w) float32.

    `mean` and `std` are those of each colour channel, in units of full brightness. The memory
    stays channels-last, which convolutions like.

    >>> normalise(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8), (0.5,) * 3, (0.5,) * 3).max()
    tensor(1.)
    """
    mean = torch.tensor(mean, device=images.device)
    std = torch.tensor(std, device=images.device)
    # The same in units of bytes and in place: two passes over the pixels instead of four.
    scaled = images.float().sub_(255 * mean).div_(255 * std)  # (..., h, w, 3)
    return scaled.movedim(-1, -3)


def eval_transform(kind: str, size: int, mean, std) -> Callable[[Image.Image], torch.Tensor]:
    """Image → normalised pixels (3, size, size), always the same crop."""
    return partial(_look, crop(kind, size, train=False), tuple(mean), tuple(std))


def train_transform(kind: str, size: int, mean, std) -> Callable[[Image.Image], torch.Tensor]:
    """Image → normalised pixels (3, size, size), a random crop from torch's generator."""
    return partial(_look, crop(kind, size, train=True), tuple(mean), tuple(std))


def _look(cut: Callable, mean: tuple, std: tuple, image: Image.Image) -> torch.Tensor:
    return normalise(torch.from_numpy(to_bytes(cut(image))), mean, std)


class PixelDataset(torch.utils.data.Dataset):
    """Normalised pixels by image, for fine-tuning a backbone (VSE++'s and RFE's second stage).

    Args:
        data: `CaptionedImages`; item i is its image i.
        train: Random crops instead of the centre.
        backbone: Gives the kind of transform, image size, mean and standard deviation.
    """

    def __init__(self, data, train: bool = False, *, backbone):
        self.files = tuple(str(file) for file in data.image_files)
        make = train_transform if train else eval_transform
        self.transform = make(backbone.transform, backbone.image_size, backbone.mean, backbone.std)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, image: int) -> torch.Tensor:
        return self.transform(open_image(self.files[image]))  # (3, size, size)
