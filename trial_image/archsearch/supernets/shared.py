"""What a mix is worth with a supernet's shared weights. One architecture is judged by `evaluation.evaluate_shared`."""

from __future__ import annotations

import torch
from torch.nn import functional

from archsearch.networks import Mix, SpaceNetwork
from archsearch.tasks import ImageData, Split

BATCH = 256


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
