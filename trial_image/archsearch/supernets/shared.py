"""What is worth what with a supernet's shared weights: one architecture, or any mix."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from archsearch.networks import Mix, SpaceNetwork
from archsearch.spaces import Architecture
from archsearch.tasks import ImageData, Split

BATCH = 256


class OneArchitecture(nn.Module):
    """A supernet that runs one of its architectures: images to logits."""

    def __init__(self, supernet: SpaceNetwork, architecture: Architecture) -> None:
        super().__init__()
        self.supernet = supernet
        self.mix = dict(architecture.values)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.supernet(images, self.mix)
        return logits


def one_architecture(supernet: SpaceNetwork, architecture: Architecture) -> OneArchitecture:
    """A copy of the supernet that runs this architecture. Its BatchNorm statistics are still those of the mixture."""
    return OneArchitecture(copy.deepcopy(supernet), architecture)


@torch.no_grad()
def worth(supernet: SpaceNetwork, mix: Mix, data: ImageData, split: Split) -> tuple[float, float]:
    """Accuracy and minus the loss of a mix on all images of a split, in the network's own mode; larger is better."""
    device = next(supernet.parameters()).device
    right, loss = 0, 0.0
    for start in range(0, len(split), BATCH):
        images = data.normalise(split.images[start : start + BATCH].to(device))
        labels = split.labels[start : start + BATCH].to(device)
        logits = supernet(images.contiguous(memory_format=torch.channels_last), mix)
        right += int((logits.argmax(1) == labels).sum())
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
    return right / len(split), -loss / len(split)
