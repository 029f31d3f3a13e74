import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from xmr_lib.encoders import toy_pretraining
from xmr_lib.encoders.toy_backbone import WEIGHTS, Residual, ToyBackbone, load_toy_backbone
from xmr_lib.encoders.toy_pretraining import (
    LABELS,
    mean_average_precision,
    pretrain,
    scene_labels,
)
from xmr_lib.errors import DamagedFileError
from xmr_lib.toy.drawing import draw_scene
from xmr_lib.toy.layout import compose
from xmr_lib.toy.scene import KINDS, Dice, Scene, Thing


@pytest.fixture(scope="module")
def net():
    torch.set_num_threads(1)
    return load_toy_backbone()


def _pixels(scenes, names):
    drawn = np.stack([np.array(draw_scene(s, n)) for s, n in zip(scenes, names, strict=True)])
    mean, std = np.float32(ToyBackbone.mean), np.float32(ToyBackbone.std)
    return torch.from_numpy((drawn / np.float32(255) - mean) / std).permute(0, 3, 1, 2)


def test_four_stages(net):
    maps = net(torch.zeros(2, 3, net.image_size, net.image_size))
    edges = [net.image_size // stride for stride in (4, 8, 16, 16)]
    assert [tuple(m.shape) for m in maps] == [
        (2, dim, edge, edge) for dim, edge in zip(net.stage_dims, edges, strict=True)
    ]
    assert all((m >= 0).all() for m in maps)  # they end in a ReLU, as a ResNet's do


def test_residual_block_is_body_plus_shortcut():
    block = Residual(4, 6, stride=2).eval()
    x = torch.randn(1, 4, 8, 8)
    kernel = block.shortcut.weight[..., 0, 0]  # (6, 4)
    shortcut = torch.einsum("oi,bihw->bohw", kernel, x[:, :, ::2, ::2])
    slow = torch.relu(block.body(x) + shortcut)
    torch.testing.assert_close(block(x), slow)


def test_weights_are_small_and_frozen(net):
    assert WEIGHTS.stat().st_size <= 2 * 1024**2
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in net.parameters())


def test_damaged_weights_say_so(tmp_path):
    raw = bytearray(WEIGHTS.read_bytes())
    raw[-100] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(raw)
    with pytest.raises(DamagedFileError, match=r"weights\.safetensors is damaged.*install"):
        load_toy_backbone(tmp_path / "weights.safetensors")


def test_batch_does_not_matter(net):
    scenes = [compose(f"b{i}") for i in range(3)]
    pixels = _pixels(scenes, "abc")
    together, alone = net(pixels)[3][1], net(pixels[1:2])[3][0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_labels_are_what_the_scene_holds():
    assert len(set(LABELS)) == len(LABELS)
    scene = compose("labels")
    on = {label for label, one in zip(LABELS, scene_labels(scene), strict=True) if one}
    said = {scene.background} | {relation.name for relation in scene.relations}
    for thing in scene.things:
        said |= {thing.kind, f"{thing.colour} {thing.kind}"}
    assert on == said


def test_mean_average_precision_equals_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(50, 7, generator=generator)
    labels = (torch.rand(50, 7, generator=generator) < 0.2).float()
    labels[:, 3] = 0  # a label that never occurs does not count
    right = [average_precision_score(labels[:, j], scores[:, j]) for j in range(7) if j != 3]
    assert mean_average_precision(scores, labels) == pytest.approx(np.mean(right), abs=1e-6)


def _alone(kind: str, dice: Dice) -> Scene:
    look = KINDS[kind]
    left, top = dice.between(10, 118 - look.width), 112 - look.height
    box = (left, top, left + look.width, 112)
    pose = "fly" if kind in ("bird", "plane") else "stand"
    thing = Thing(kind, dice.choice(look.colours), "large", box, "right", pose, 3, 0)
    return Scene("field", 58, (thing,), ())


def test_it_has_learned_to_tell_things_apart(net):
    """Nearest class mean of pooled C4: training must beat random weights clearly."""
    dice, kinds = Dice("alone"), sorted(KINDS)
    scenes = [_alone(kind, dice) for _ in range(12) for kind in kinds]
    pixels = _pixels(scenes, [str(i) for i in range(len(scenes))])

    def accuracy(backbone):
        with torch.no_grad():
            x = torch.cat([backbone(part)[3] for part in pixels.split(48)])
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1).view(12, len(kinds), -1)
        x = (x - x.mean((0, 1))) / (x.std((0, 1)) + 1e-6)
        means = x[:6].mean(0)  # (n_kinds, d)
        near = torch.cdist(x[6:].flatten(0, 1), means).argmin(1).view(6, -1)
        return (near == torch.arange(len(kinds))).double().mean().item()

    torch.manual_seed(0)
    assert accuracy(net) > 0.7
    assert accuracy(net) > accuracy(ToyBackbone().eval()) + 0.15


def test_pretrain_writes_weights_that_load(tmp_path, monkeypatch):
    monkeypatch.setattr(toy_pretraining, "HELD_OUT", 20)
    out = tmp_path / "new" / "weights.safetensors"
    metrics = pretrain(out, n_scenes=64, epochs=1)
    assert set(metrics) == {"things", "coloured things", "relations", "backgrounds", "seconds"}
    assert all(0 <= value <= 1 for name, value in metrics.items() if name != "seconds")
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    first = load_toy_backbone(out).state_dict()
    assert metrics | {"seconds": 0} == pretrain(out, n_scenes=64, epochs=1) | {"seconds": 0}
    for name, value in load_toy_backbone(out).state_dict().items():
        torch.testing.assert_close(value, first[name], rtol=0, atol=0)
