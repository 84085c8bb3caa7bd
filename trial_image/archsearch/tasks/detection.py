"""Object detection: boxes around objects, learnt without anchors, as by FCOS (Tian et al. 2019), and COCO's metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, generalized_box_iou_loss, sigmoid_focal_loss

from archsearch.api.detection import ObjectDetection
from archsearch.api.metrics import Metric
from archsearch.api.signature import STRIDES, Input, Signature
from archsearch.tasks.base import Call, Meter, Split, TaskData
from archsearch.tasks.coco import PADDING, Boxed, read_coco
from archsearch.tasks.image import SPLIT_SEED, moments
from archsearch.tasks.segmentation import split
from archsearch.tasks.volume import located

RADIUS: Final = 1.5
"""Strides from a box's centre within which places learn the box (Tian et al. 2022, section 3.1: centre sampling)."""
NEAREST: Final = 0.5
"""The same where the box does not reach, so that each has a place."""
LARGEST: Final = 6
"""Strides that the larger side of a box has at most on a level, but the last."""
LEAST_SCORE: Final = 0.05
OVERLAP: Final = 0.6
MOST: Final = 100
"""Boxes of an image that are judged, as COCO does."""
CANDIDATES: Final = 400
"""Boxes of an image that go into non-maximum suppression."""


@dataclass(frozen=True)
class BoxData(TaskData):
    """Images (N, C, H, W) uint8 and boxes (N, most boxes, 5) float32: class, left, top, right, bottom in pixels.

    Rows of class -1 stand for no box.
    """

    augmentation: Literal["None", "Flip"] = "None"

    name: ClassVar[str] = "objectDetection"
    metric: ClassVar[Metric] = "mAP"

    @property
    def counts(self) -> int:
        """None: average precision is no sum over batches."""
        return 0

    def augmented(self, batch: Split, changes: torch.Generator) -> Split:
        """Images and boxes mirrored left to right with probability one half."""
        images, boxes = batch.inputs, batch.targets
        assert isinstance(images, Tensor)  # noqa: S101 - images are all that there is
        if self.augmentation == "None":
            return batch
        mirrored = (torch.rand(len(boxes), generator=changes) < 0.5).to(images.device)
        label, left, top, right, bottom = boxes.unbind(2)
        flipped = torch.stack([label, images.shape[-1] - right, top, images.shape[-1] - left, bottom], dim=2)
        return Split(
            torch.where(mirrored[:, None, None, None], images.flip(-1), images),
            torch.where(mirrored[:, None, None], flipped, boxes),
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Focal loss of the scores of all places, and generalised IoU of the boxes of those that have one, by their
        number (Lin et al. 2017; Rezatofighi et al. 2019)."""
        owner = assigned(self.signature, targets)  # (N, places), -1 for none
        positive = owner >= 0
        own = targets.gather(1, owner.clamp(min=0)[:, :, None].expand(-1, -1, 5))
        wanted = torch.zeros_like(outputs[..., 4:])
        wanted.scatter_(2, own[..., :1].long().clamp(min=0), positive[..., None].to(wanted.dtype))
        count = positive.sum().clamp(min=1)
        scores = sigmoid_focal_loss(outputs[..., 4:], wanted, reduction="sum")
        boxes = generalized_box_iou_loss(
            outputs[..., :4][positive], own[..., 1:][positive].to(outputs), reduction="sum"
        )
        loss: Tensor = (scores + boxes) / count
        return loss

    def imitation(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """There is none. Raises NotImplementedError."""
        raise NotImplementedError("a detector cannot learn from another one's boxes; use sampling Uniform or Fair")

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002 - nothing is counted
        """Nothing."""
        return torch.zeros(0, dtype=torch.int64, device=outputs.device)

    def values(self, tally: Tensor) -> dict[str, float]:  # noqa: ARG002 - nothing is counted
        """Nothing: see `meter`."""
        return {}

    def reward(self, outputs: Tensor, targets: Tensor) -> float:
        """Minus the loss: the average precision of one batch says little."""
        return -float(self.loss(outputs, targets))

    def meter(self) -> Meter:
        """COCO's average precision, and the loss."""
        return BoxMeter(self)


class BoxMeter(Meter):
    """Collects the boxes that are found, and judges them in the end."""

    def __init__(self, data: BoxData) -> None:
        from torchmetrics.detection import MeanAveragePrecision  # slow to import, and seldom needed

        super().__init__(data)
        self._precision = MeanAveragePrecision(backend="pycocotools")

    def add(self, call: Call, batch: Split) -> None:
        """Run the network on a prepared batch."""
        outputs: list[Tensor] = []

        def kept(inputs: Tensor | tuple[Tensor, ...]) -> Tensor:
            outputs.append(call(inputs))
            return outputs[0]

        super().add(kept, batch)
        true = [boxes[boxes[:, 0] != PADDING].cpu() for boxes in batch.targets]
        self._precision.update(
            [dict(zip(("boxes", "scores", "labels"), found(one), strict=True)) for one in outputs[0].float().cpu()],
            [{"boxes": boxes[:, 1:], "labels": boxes[:, 0].long()} for boxes in true],
        )

    def values(self) -> dict[str, float]:
        """mAP, mAP50 and loss; 0 where there is nothing to find."""
        judged = self._precision.compute()
        return {"mAP": max(0.0, float(judged["map"])), "mAP50": max(0.0, float(judged["map_50"])), **super().values()}


def found(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes, scores and classes that the outputs (places, 4 + classes) of an image stand for, the best first."""
    scores = outputs[:, 4:].sigmoid()
    place, label = (scores > LEAST_SCORE).nonzero(as_tuple=True)
    values, order = scores[place, label].topk(min(CANDIDATES, len(place)))
    boxes, label = outputs[place[order], :4], label[order]
    kept = batched_nms(boxes, values, label, OVERLAP)[:MOST]
    return boxes[kept], values[kept], label[kept]


def centres(signature: Signature) -> tuple[Tensor, Tensor]:
    """Of each place of the outputs its centre (places, 2), across and down, and the stride of its level (places,)."""
    height, width = signature.shape[1:]
    found, strides = [], []
    for stride in STRIDES:
        rows, columns = -(-height // stride), -(-width // stride)
        down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        found.append((torch.stack([across, down], dim=2).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(found), torch.cat(strides)


def assigned(signature: Signature, targets: Tensor) -> Tensor:
    """The box that each place is to find, (N, places): its row in the targets, -1 for none; of several the smallest."""
    centre, stride = (item.to(targets) for item in centres(signature))
    boxes = targets[:, None, :, 1:]  # (N, 1, boxes, 4)
    size = (targets[..., 3:] - targets[..., 1:3]).amax(2)[:, None]  # (N, 1, boxes)
    limits = torch.tensor([LARGEST * one for one in STRIDES[:-1]], device=targets.device, dtype=targets.dtype)
    level = torch.bucketize(size, limits)
    own = torch.bucketize(stride, torch.tensor(STRIDES, device=targets.device, dtype=targets.dtype))
    x, y = centre[:, 0, None], centre[:, 1, None]  # (places, 1)
    away = (
        torch.maximum((x - (boxes[..., 0] + boxes[..., 2]) / 2).abs(), (y - (boxes[..., 1] + boxes[..., 3]) / 2).abs())
        / stride[:, None]
    )
    within = (x > boxes[..., 0]) & (x < boxes[..., 2]) & (y > boxes[..., 1]) & (y < boxes[..., 3])
    fits = ((away <= RADIUS) & within) | (away <= NEAREST)
    fits = fits & (level == own[:, None]) & (targets[:, None, :, 0] != PADDING)
    area = ((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])).masked_fill(~fits, torch.inf)
    smallest, which = area.min(2)
    return which.masked_fill(smallest == torch.inf, -1)


def load_boxes(task: ObjectDetection, data: Path | None, seed: int = SPLIT_SEED) -> BoxData:
    """Read the data set, resize it and split it.

    data: where the claim of `dataset.volume` is mounted. seed: of the split; it is the same for every trial of every
    search. Raises DataError with the file, what is wrong, the value and what to do.
    """
    folder, root = located(task.dataset.member[1], data, "a folder with train.json, test.json and images/", folder=True)
    train, test, classes = read_coco(folder, root, task.width, task.height)
    parts = split(len(train.images), task.selection_percent, seed, str(folder / "train.json"))
    mean, std = moments(train.images, np.concatenate([parts["weights"], parts["architecture"]]))
    height, width, channels = train.images.shape[1:]
    images = Input(name="images", shape=(channels, height, width), mean=mean, std=std)
    most = max(1, *(len(boxes) for part in (train, test) for boxes in part.boxes))
    made = {name: _split(train, index, most) for name, index in parts.items()}
    return BoxData(
        Signature(inputs=(images,), outputs="Boxes", classes=classes),
        weights=made["weights"],
        architecture=made["architecture"],
        selection=made["selection"],
        test=_split(test, np.arange(len(test.images)), most),
        augmentation=task.training.augmentation,
    )


def _split(part: Boxed, index: np.ndarray, most: int) -> Split:
    boxes = np.zeros((len(index), most, 5), dtype=np.float32)
    boxes[..., 0] = PADDING
    for row, at in enumerate(index):
        boxes[row, : len(part.boxes[at])] = part.boxes[at]
    images = np.ascontiguousarray(part.images[index].transpose(0, 3, 1, 2))
    return Split(torch.from_numpy(images), torch.from_numpy(boxes))
