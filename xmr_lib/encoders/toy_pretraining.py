"""Pre-trains the toy scenes' backbone: it learns to name what is in drawn pictures.

The scenes come from a seed of their own (1000), so the network has seen no scene of the data sets,
neither train nor val nor test.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from xmr_lib.encoders.toy_backbone import WEIGHTS, ToyBackbone
from xmr_lib.files import save_tensors
from xmr_lib.toy.scene import BACKGROUNDS, CANVAS, KINDS, RELATIONS, Scene

HELD_OUT = 1000  # scenes that pre-training is tested on
LABELS: tuple[str, ...] = (
    *KINDS,
    *(f"{colour} {kind}" for kind, look in KINDS.items() for colour in look.colours),
    *RELATIONS,
    *BACKGROUNDS,
)


def scene_labels(scene: Scene) -> np.ndarray:
    """Ones for the labels that hold in a scene: (n_labels,) float32, in the order of `LABELS`."""
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
    """Pixels (n, 3, 128, 128) uint8 and labels (n, n_labels) of scenes drawn for it."""
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
    state = model.backbone.state_dict()
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_tensors(WEIGHTS if out is None else out, halves)
    return _held_out(model, accelerator.device, seed) | {"seconds": time.perf_counter() - start}


@torch.no_grad()
def _held_out(model: nn.Module, device: torch.device, seed: int) -> dict[str, float]:
    pixels, labels = _pictures(HELD_OUT, "val", seed)
    scores = torch.cat([model(part.to(device)).cpu() for part in pixels.split(100)])
    sizes = {"things": len(KINDS), "coloured things": sum(len(k.colours) for k in KINDS.values())}
    sizes |= {"relations": len(RELATIONS), "backgrounds": len(BACKGROUNDS)}
    parts = (each.split(list(sizes.values()), dim=1) for each in (scores, labels))
    return dict(zip(sizes, map(mean_average_precision, *parts), strict=True))
