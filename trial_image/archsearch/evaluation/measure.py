"""How well a network does on a split, without training it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from archsearch.evaluation.resumable import ShouldStop
from archsearch.networks import Mix
from archsearch.tasks import ImageData, Split

BATCH = 256


class Stopped(Exception):
    """An evaluation was asked to stop. Nothing of it is kept: it is short, and is done again."""


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: ImageData,
    split: Split,
    should_stop: ShouldStop = lambda: False,
    *,
    mix: Mix | None = None,
) -> dict[str, float]:
    """`accuracy` (a fraction of 1) and `loss` (mean cross-entropy) of the network on all images of the split.

    mix: what a supernet is called with. The network is in evaluation mode meanwhile and its mode is restored.
    should_stop is asked before every batch of BATCH images; Stopped is raised where it says yes.
    """
    device = next(network.parameters()).device
    mode = network.training
    network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=device)
    right = torch.zeros((), dtype=torch.int64, device=device)
    try:
        for start in range(0, len(split), BATCH):
            if should_stop():
                raise Stopped
            images = data.normalise(split.images[start : start + BATCH].to(device))  # (B, C, H, W)
            labels = split.labels[start : start + BATCH].to(device)
            logits = _call(network, images, mix)  # (B, classes)
            loss += functional.cross_entropy(logits.float(), labels, reduction="sum")
            right += (logits.argmax(1) == labels).sum()
    finally:
        network.train(mode)
    return {"accuracy": int(right) / len(split), "loss": float(loss) / len(split)}


@torch.no_grad()
def recalibrate(
    network: nn.Module, data: ImageData, split: Split, batches: int = 16, *, mix: Mix | None = None
) -> None:
    """Set BatchNorm's running statistics to the means over the first images of the split.

    For weights that were trained in other company: a network that inherits a supernet's weights sees sums of two
    operations where the statistics are of a mixture of all (Guo et al. 2020). No weight changes.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [module.momentum for module in norms]
    device = next(network.parameters()).device
    mode = network.training
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # a cumulative mean instead of a moving one
    network.train()
    for start in range(0, min(len(split), batches * BATCH), BATCH):
        images = split.images[start : start + BATCH]
        if start and len(images) < BATCH // 2:
            break  # a small rest would count as much as a whole batch
        _call(network, data.normalise(images.to(device)), mix)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
    network.train(mode)


def _call(network: nn.Module, images: Tensor, mix: Mix | None) -> Tensor:
    images = images.contiguous(memory_format=torch.channels_last)
    logits: Tensor = network(images) if mix is None else network(images, mix)
    return logits
