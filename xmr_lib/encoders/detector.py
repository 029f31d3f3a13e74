"""Boxes of things in any photograph: torchvision's Faster R-CNN, trained on MS-COCO's things."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xmr_lib.encoders.weights import fingerprint, hub_weights
from xmr_lib.errors import DataError, UnknownNameError

NAMES = ("fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn")
SCORE = 0.01  # low: regions may be uncertain things, since only the best n are kept
OVERLAP = 0.7  # a box that overlaps a better one more than this is left out


class Detector(nn.Module):
    """Finds the best boxes of an image, whatever class they were found for.

    Attributes:
        name: As given to `load_detector`.
        n_boxes: At most so many boxes per image.
        weights_id: Fingerprint of the weights.
    """

    def __init__(self, name: str, net: nn.Module, n_boxes: int) -> None:
        super().__init__()
        self.name, self.net, self.n_boxes = name, net, n_boxes
        self.weights_id = fingerprint(net)
        self.requires_grad_(False).eval()

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        """Bytes (h_i, w_i, 3) → boxes (k_i, 4) as shares of width and height, the best first.

        Where nothing is found, the whole picture is the only box: no image is without regions.
        """
        # One at a time: in a batch, images are padded to the size of the largest, and what is found
        # in one would depend on the others.
        return [self._best(image) for image in images]

    def _best(self, image: Tensor) -> Tensor:
        from torchvision.ops import nms  # slow to import

        height, width = image.shape[:2]
        with torch.inference_mode():
            found = self.net([image.movedim(-1, 0).float() / 255])[0]
        boxes, scores = found["boxes"], found["scores"]
        # One thing is often found as several classes ("car", "truck"): one box of it is enough.
        boxes = boxes[nms(boxes, scores, OVERLAP)[: self.n_boxes]]
        if not len(boxes):
            boxes = boxes.new_tensor([[0, 0, width, height]])
        return boxes / boxes.new_tensor([width, height, width, height])


def load_detector(name: str = NAMES[0], n_boxes: int = 36) -> Detector:
    """Loads a pre-trained detector.

    Args:
        name: "fasterrcnn_mobilenet_v3_large_320_fpn" (fast) or "fasterrcnn_resnet50_fpn".
        n_boxes: At most so many boxes per image; bottom-up attention has 36.

    Raises:
        UnknownNameError: There is no such detector.
        DataError: Its weights are neither here nor downloadable, or damaged; or `n_boxes` is 0.
    """
    from torchvision import models

    if n_boxes < 1:
        raise DataError(f"n_boxes={n_boxes}: an image needs one region or more.")
    if name not in NAMES:
        raise UnknownNameError("detector", name, NAMES)
    net = models.get_model(
        name,
        weights=None,
        weights_backbone=None,
        box_score_thresh=SCORE,
        box_detections_per_img=4 * n_boxes,  # before those of several classes are joined
    )
    instead = "or use kind='grid', which needs no detector"
    net.load_state_dict(hub_weights(name, _weights_url(name), instead))
    return Detector(name, net, n_boxes).to(memory_format=torch.channels_last)


def _weights_url(name: str) -> str:
    from torchvision import models

    return models.get_model_weights(name)["COCO_V1"].url
