"""The toy scenes' "ImageNet network": a small four-stage residual CNN with shipped weights.

It is made by `python -m xmr_lib pretrain-toy`: told from the ground truth of 8,000 toy scenes, the
network learns to say which of 183 labels hold in a picture: things ("dog"), coloured things
("brown dog"), relations ("chasing") and backgrounds ("beach"). Those scenes come from a seed of
their own (1000), so it has seen no scene of the data sets, neither train nor val nor test.

The shipped weights (6 epochs; 2.5 minutes of computing on one core) reach on 1,000 held-out scenes
a mean average precision of 0.83 for things, 0.54 for coloured things, 0.62 for relations and 1.00
for backgrounds: good features, far from perfect ones, as ImageNet's are for photographs.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from xmr_lib.toy.scene import BACKGROUNDS, CANVAS, KINDS, RELATIONS, Scene

WEIGHTS = Path(__file__).with_name("toy_backbone.safetensors")
HELD_OUT = 1000  # scenes that pre-training is judged by
LABELS: tuple[str, ...] = (
    *KINDS,
    *(f"{colour} {kind}" for kind, look in KINDS.items() for colour in look.colours),
    *RELATIONS,
    *BACKGROUNDS,
)


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016, Fig. 2)."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        )
        same = stride == 1 and inner == outer
        self.shortcut = nn.Identity() if same else nn.Conv2d(inner, outer, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, inner, h, w) -> (b, outer, h / stride, w / stride)."""
        return functional.relu(self.body(x) + self.shortcut(x))


class ToyBackbone(nn.Module):
    """Stem and four stages with strides of 4, 8, 16 and 16 pixels.

    The last stage keeps its resolution, so that small things still have a cell of their own.

    Attributes:
        stage_dims: channels of C1…C4.
        image_size: edge of the square pictures it was trained on, pixels.
        mean, std: per channel, what pixels in [0, 1] are normalised by.
    """

    stage_dims = (24, 48, 96, 160)
    image_size = CANVAS
    mean = (0.5, 0.5, 0.5)
    std = (0.25, 0.25, 0.25)

    def __init__(self) -> None:
        super().__init__()
        c1, c2, c3, c4 = self.stage_dims
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.stages = nn.ModuleList(
            (Residual(16, c1, 1), Residual(c1, c2, 2), Residual(c2, c3, 2), Residual(c3, c4, 1))
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pixels (b, 3, 128, 128) -> C1 (b, 24, 32, 32), …, C4 (b, 160, 8, 8)."""
        maps = []
        x = self.stem(pixels)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


def load_toy_backbone(weights: Path | str = WEIGHTS) -> ToyBackbone:
    """The network with the shipped weights (or others), frozen and in eval mode."""
    from safetensors.torch import load_file

    net = ToyBackbone()
    stored = load_file(weights)  # float16 to be small; counters of batch norm stay integers
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in stored.items()})
    return net.eval().requires_grad_(False)


def scene_labels(scene: Scene) -> np.ndarray:
    """What is to be seen in a scene as ones in a vector over `LABELS`, (n_labels,) float32."""
    seen = {scene.background, *(relation.name for relation in scene.relations)}
    for thing in scene.things:
        seen |= {thing.kind, f"{thing.colour} {thing.kind}"}
    return np.array([label in seen for label in LABELS], dtype=np.float32)


class _Labeller(nn.Module):
    """The backbone and one linear layer on its average- and max-pooled C4."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ToyBackbone()
        self.head = nn.Linear(2 * ToyBackbone.stage_dims[3], len(LABELS))

    def forward(self, pixels: Tensor) -> Tensor:
        """(b, 3, 128, 128) uint8 -> (b, n_labels) logits."""
        mean = pixels.new_tensor(ToyBackbone.mean, dtype=torch.float32).view(3, 1, 1)
        std = pixels.new_tensor(ToyBackbone.std, dtype=torch.float32).view(3, 1, 1)
        c4 = self.backbone((pixels.float() / 255 - mean) / std)[3]
        return self.head(torch.cat([c4.mean((2, 3)), c4.amax((2, 3))], dim=1))


def _pictures(n: int, split: str, seed: int) -> tuple[Tensor, Tensor]:
    """Pixels (n, 3, 128, 128) uint8 and labels (n, n_labels) of scenes drawn for this only."""
    from tqdm.auto import trange

    from xmr_lib.toy.drawing import draw_scene
    from xmr_lib.toy.layout import compose

    pixels = torch.empty(n, 3, CANVAS, CANVAS, dtype=torch.uint8)
    labels = torch.empty(n, len(LABELS))
    for i in trange(n, desc=f"drawing {split} scenes", unit="scene"):
        name = f"{1000 + seed}/{split}/{i}"
        scene = compose(name)
        pixels[i] = torch.from_numpy(np.array(draw_scene(scene, name))).permute(2, 0, 1)
        labels[i] = torch.from_numpy(scene_labels(scene))
    return pixels, labels


def mean_average_precision(scores: Tensor, labels: Tensor) -> float:
    """Mean over labels (columns, of those that occur) of the average precision.

    >>> mean_average_precision(torch.tensor([[3.0], [2.0], [1.0]]), torch.tensor([[1], [0], [1]]))
    0.8333333...
    """
    order = scores.argsort(dim=0, descending=True, stable=True)
    right = labels.gather(0, order.to(labels.device)).double()  # (n, n_labels), best first
    ranks = torch.arange(1, len(right) + 1, dtype=torch.float64).unsqueeze(1)
    precision = right.cumsum(0) / ranks
    occurs = right.sum(0) > 0
    return ((precision * right).sum(0)[occurs] / right.sum(0)[occurs]).mean().item()


def pretrain(
    out: Path | str | None = None, n_scenes: int = 8000, epochs: int = 6, seed: int = 0
) -> dict[str, float]:
    """Train the network to name what is in toy scenes and write its weights to `out`.

    The scenes come from seed 1000 + `seed`, so none of them is in a data set that `toy.draw`
    makes from a small seed: the network has seen none of its training, val or test scenes.

    Args:
        out: file for the weights, safetensors in float16; by default the shipped one.
        n_scenes: training scenes, 49 kB of memory each.
        epochs: passes over them.
        seed: of the scenes, the initial weights and the order of the batches.

    Returns:
        Mean average precision on `HELD_OUT` other scenes ("things", "coloured things", "relations",
        "backgrounds") and "seconds".
    """
    from accelerate import Accelerator
    from accelerate.utils import set_seed
    from safetensors.torch import save_file
    from torch.utils.data import DataLoader, TensorDataset
    from tqdm.auto import tqdm

    start = time.perf_counter()
    set_seed(seed)
    accelerator = Accelerator()
    train = TensorDataset(*_pictures(n_scenes, "train", seed))
    loader = DataLoader(train, batch_size=64, shuffle=True, drop_last=True)
    model = _Labeller().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=4e-3, total_steps=epochs * len(loader), pct_start=0.2
    )
    model, optimiser, loader, schedule = accelerator.prepare(model, optimiser, loader, schedule)
    # Rare labels weigh more, or the many colours of things would be learned last.
    share = train.tensors[1].mean(0).clamp(min=1e-3)
    weight = ((1 - share) / share).sqrt().to(accelerator.device)
    with tqdm(total=epochs * len(loader), desc="pre-training", unit="batch") as bar:
        for _ in range(epochs):
            for pixels, labels in loader:
                flipped = pixels.flip(-1) if torch.rand(()) < 0.5 else pixels
                logits = model(flipped.contiguous(memory_format=torch.channels_last))
                loss = functional.binary_cross_entropy_with_logits(
                    logits, labels, pos_weight=weight
                )
                optimiser.zero_grad()
                accelerator.backward(loss)
                optimiser.step()
                schedule.step()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.3f}")
    model = accelerator.unwrap_model(model).eval()
    state = {k: v.half() if v.is_floating_point() else v
             for k, v in model.backbone.state_dict().items()}  # fmt: skip
    out = WEIGHTS if out is None else Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")  # a killed run leaves the old weights alone
    save_file({k: v.cpu().contiguous() for k, v in state.items()}, part)
    part.replace(out)
    return _held_out(model, accelerator.device, seed) | {"seconds": time.perf_counter() - start}


@torch.no_grad()
def _held_out(model: nn.Module, device: torch.device, seed: int) -> dict[str, float]:
    pixels, labels = _pictures(HELD_OUT, "val", seed)
    scores = torch.cat([model(part.to(device)).cpu() for part in pixels.split(100)])
    ends = np.cumsum([len(KINDS), len(LABELS) - len(KINDS) - len(RELATIONS) - len(BACKGROUNDS),
                      len(RELATIONS), len(BACKGROUNDS)])  # fmt: skip
    names = ("things", "coloured things", "relations", "backgrounds")
    starts = (0, *ends[:-1])
    return {
        name: mean_average_precision(scores[:, a:b], labels[:, a:b])
        for name, a, b in zip(names, starts, ends, strict=True)
    }
