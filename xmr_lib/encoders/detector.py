"""Boxes of things in any photograph: torchvision's Faster R-CNN, trained on MS-COCO's things."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from xmr_lib.encoders.backbone import device_of
from xmr_lib.encoders.weights import fingerprint, hub_weights

NAME, WEIGHTS = "fasterrcnn_mobilenet_v3_large_320_fpn", "COCO_V1"
N_BOXES = 36  # as bottom-up attention has
SCORE = 0.01  # low: regions may be uncertain things, since only the best n are kept
OVERLAP = 0.7  # a box that overlaps a better one more than this is left out


class Detector(nn.Module):
    """Finds the best boxes of an image, whatever class they were found for.

    Attributes:
        name: Of the network.
        n_boxes: At most so many boxes per image.
        weights_id: Fingerprint of the weights.
    """

    def __init__(self, name: str, net: nn.Module, n_boxes: int) -> None:
        super().__init__()
        self.name, self.net, self.n_boxes = name, net, n_boxes
        self.weights_id = fingerprint(net)
        self.requires_grad_(False).eval()

    def forward(self, images: list[np.ndarray]) -> list[Tensor]:
        """Bytes (h_i, w_i, 3) → boxes (k_i, 4) as shares of width and height, the best first.

        Where nothing is found, the whole picture is the only box: no image is without regions.
        """
        # One at a time: in a batch, images are padded to the size of the largest, and what is found
        # in one would depend on the others.
        return [self._best(torch.from_numpy(image).to(device_of(self))) for image in images]

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


def load_detector() -> Detector:
    """The pre-trained detector.

    Raises:
        DataError: Its weights are neither here nor downloadable, or damaged.
    """
    from torchvision import models

    net = models.get_model(
        NAME,
        weights=None,
        weights_backbone=None,
        box_score_thresh=SCORE,
        box_detections_per_img=4 * N_BOXES,  # before those of several classes are joined
    )
    instead = "or use kind='grid', which needs no detector"
    net.load_state_dict(hub_weights(NAME, WEIGHTS, instead))
    return Detector(NAME, net, N_BOXES).to(memory_format=torch.channels_last)
