"""Decoding whatever comes as an image, and the transforms of both papers."""

import pickle
import struct

import numpy as np
import pytest
import samples
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional

from xmr_lib.data import images
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.images import open_image
from xmr_lib.errors import DataError, UnknownNameError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # on broken EXIF and TIFF

RED, GREEN = (250, 10, 10), (10, 250, 10)


def half_and_half(size=(40, 20)) -> Image.Image:
    """Left half red, right half green."""
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (size[0] // 2, 0, *size))
    return image


def colours(image: Image.Image, *points) -> list[tuple[int, int, int]]:
    return [tuple(image.getpixel(point)) for point in points]


def near(found, expected, tolerance=12) -> bool:
    return bool((np.abs(np.subtract(found, expected)) <= tolerance).all())


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tif", ".jpg", ".ppm"])
def test_formats(tmp_path, suffix):
    half_and_half().save(tmp_path / f"x{suffix}")
    image = open_image(tmp_path / f"x{suffix}")
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert near(colours(image, (5, 10), (35, 10)), [RED, GREEN])


def test_grey_cmyk_palette_and_black_and_white_become_rgb(tmp_path):
    for mode, suffix in (("L", "png"), ("CMYK", "jpg"), ("P", "gif"), ("1", "png"), ("LAB", "tif")):
        source = Image.new("RGB", (16, 16), (200, 200, 200))
        if mode == "LAB":
            source = Image.new("LAB", (16, 16), (200, 128, 128))
        source = source.quantize(8) if mode == "P" else source.convert(mode)
        source.save(tmp_path / f"{mode}.{suffix}")
        image = open_image(tmp_path / f"{mode}.{suffix}")
        assert image.mode == "RGB"
        if mode not in ("1", "LAB"):
            assert near(image.getpixel((8, 8)), (200, 200, 200))


def test_transparent_parts_lie_over_white(tmp_path):
    image = half_and_half().convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat([[0, 255]], 20, 0).repeat(20, 1).astype(np.uint8)))
    image.save(tmp_path / "rgba.png")
    assert colours(open_image(tmp_path / "rgba.png"), (5, 10), (35, 10)) == [(255,) * 3, GREEN]

    palette = half_and_half().quantize(2)
    red = palette.getpixel((5, 10))
    palette.save(tmp_path / "palette.png", transparency=red)
    found = colours(open_image(tmp_path / "palette.png"), (5, 10), (35, 10))
    assert found[0] == (255, 255, 255) and near(found[1], GREEN)

    Image.new("LA", (4, 4), (0, 128)).save(tmp_path / "la.png")
    assert near(open_image(tmp_path / "la.png").getpixel((1, 1)), (127,) * 3, 1)


def test_sixteen_bit_images_keep_their_brightness(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for suffix in ("png", "tif"):
        Image.fromarray(ramp).save(tmp_path / f"x.{suffix}")
        found = np.asarray(open_image(tmp_path / f"x.{suffix}"))[..., 0]
        assert np.abs(found.astype(int) - np.arange(256).reshape(16, 16)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_honoured(tmp_path, orientation):
    upright = half_and_half()
    # How a camera held that way stores the same scene.
    stored = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[orientation]
    for step in stored:
        upright = upright.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright.save(tmp_path / "x.jpg", exif=exif, quality=95)
    image = open_image(tmp_path / "x.jpg")
    assert image.size == (40, 20)
    assert near(colours(image, (5, 10), (35, 10)), [RED, GREEN], 20)


def test_nonsense_exif_does_no_harm(tmp_path):
    half_and_half().save(tmp_path / "x.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff")
    assert open_image(tmp_path / "x.jpg").size == (40, 20)


def test_a_huge_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path):
    Image.new("RGB", (8_000, 6_000), RED).save(tmp_path / "huge.jpg")  # 192 MB decoded
    image = open_image(tmp_path / "huge.jpg")
    assert image.size == (2_000, 1_500)
    assert near(image.getpixel((100, 100)), RED)


def test_photos_of_the_papers_sizes_are_decoded_exactly(tmp_path):
    samples.picture(tmp_path / "coco.jpg", size=(640, 480))
    exact = Image.open(tmp_path / "coco.jpg").convert("RGB")
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "coco.jpg")), np.asarray(exact))


def test_bombs_are_refused(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match=r"bomb\.png: the image is too large to decode"):
        open_image(tmp_path / "bomb.png")


def test_no_bytes_whatever_crash_the_decoder(tmp_path):
    """Flips and cuts of good files: an image or a DataError, nothing else."""
    dice = np.random.default_rng(0)
    for suffix in ("jpg", "png", "gif", "webp", "tif", "bmp"):
        half_and_half().save(tmp_path / f"good.{suffix}")
        good = (tmp_path / f"good.{suffix}").read_bytes()
        for _ in range(30):
            bad = bytearray(good[: dice.integers(1, len(good) + 1)])
            for at in dice.integers(0, len(bad), 3):
                bad[at] = dice.integers(0, 256)
            file = tmp_path / f"bad.{suffix}"
            file.write_bytes(bad)
            try:
                assert open_image(file).mode == "RGB"
            except DataError as error:
                assert str(file) in str(error)
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31) + b"IHDR")
    with pytest.raises(DataError, match=r"x\.png"):
        open_image(tmp_path / "x.png")


# Transforms --------------------------------------------------------------------------------------

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_test_transforms_are_those_of_the_papers(tmp_path):
    image = open_image(samples.picture(tmp_path / "x.png", size=(500, 333)))
    for kind, resize in (("rfe", (256, 256)), ("vsepp", 256)):
        slow = functional.center_crop(functional.resize(image, resize), 224)
        slow = functional.normalize(functional.to_tensor(slow), MEAN, STD)
        fast = images.eval_transform(kind, 224, MEAN, STD)(image)
        assert fast.shape == (3, 224, 224)
        torch.testing.assert_close(fast, slow)


def test_whole_keeps_an_image_of_the_right_size_as_it_is(tmp_path):
    image = open_image(samples.picture(tmp_path / "x.png", size=(128, 128)))
    pixels = images.eval_transform("whole", 128, (0.0,) * 3, (1.0,) * 3)(image)
    np.testing.assert_array_equal((pixels * 255).round().numpy(), functional.pil_to_tensor(image))
    assert images.eval_transform("whole", 64, MEAN, STD)(image).shape == (3, 64, 64)


def test_training_transforms_draw_from_torch_s_generator(tmp_path):
    image = open_image(samples.picture(tmp_path / "x.png", size=(500, 333)))
    resized = functional.resize(image, (256, 256))
    torch.manual_seed(3)
    fast = images.train_transform("rfe", 224, MEAN, STD)(image)
    torch.manual_seed(3)
    top, left, *_ = transforms.RandomCrop.get_params(resized, (224, 224))
    slow = functional.to_tensor(functional.crop(resized, top, left, 224, 224))
    torch.testing.assert_close(fast, functional.normalize(slow, MEAN, STD))
    for kind in ("rfe", "vsepp"):
        look = images.train_transform(kind, 224, MEAN, STD)
        torch.manual_seed(0)
        first, second = look(image), look(image)
        assert first.shape == (3, 224, 224) and not torch.equal(first, second)
        torch.manual_seed(0)
        assert torch.equal(look(image), first)


def test_sizes_scale_and_extreme_shapes_work():
    for size in ((1, 1), (1, 900), (2000, 3), (31, 33)):
        for kind in images.KINDS:
            for make in (images.eval_transform, images.train_transform):
                pixels = make(kind, 64, MEAN, STD)(Image.new("RGB", size, RED))
                assert pixels.shape == (3, 64, 64)
                assert torch.isfinite(pixels).all()


def test_unknown_transform():
    with pytest.raises(UnknownNameError, match="Did you mean 'vsepp'"):
        images.eval_transform("vse++", 224, MEAN, STD)


def test_transforms_can_be_sent_to_workers():
    look = pickle.loads(pickle.dumps(images.train_transform("vsepp", 64, MEAN, STD)))
    assert look(half_and_half()).shape == (3, 64, 64)


def test_pixel_dataset_gives_normalised_pixels_by_image(tmp_path):
    class Net:
        image_size, mean, std, transform = 48, MEAN, STD, "vsepp"

    files = tuple(samples.picture(tmp_path / f"{i}.png", seed=i) for i in range(3))
    data = CaptionedImages(
        "x", files, ("a", "b", "c"), np.arange(3), np.array(["train"] * 3), np.arange(3)
    )
    test = images.PixelDataset(data, backbone=Net())
    assert len(test) == 3
    expected = images.eval_transform("vsepp", 48, MEAN, STD)(open_image(files[2]))
    assert torch.equal(test[2], expected)
    train = images.PixelDataset(data, train=True, backbone=Net())
    assert not torch.equal(train[2], train[2])
