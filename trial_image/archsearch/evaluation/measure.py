"""How well a network does on a split, without training it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archsearch.evaluation.resumable import ShouldStop
from archsearch.networks import Mix
from archsearch.networks.inputs import Inputs, tensors
from archsearch.tasks import Split, TaskData

BATCH = 256
PIXELS = 2**20
"""Numbers that the inputs of a batch hold at most: large images are taken in smaller batches than BATCH."""


class Stopped(Exception):
    """An evaluation was asked to stop. Nothing of it is kept: it is short, and is done again."""


def evaluate(
    network: nn.Module,
    data: TaskData,
    split: Split,
    should_stop: ShouldStop = lambda: False,
    *,
    mix: Mix | None = None,
) -> dict[str, float]:
    """The task's metrics, such as `accuracy`, and `loss` of the network on all examples of the split.

    mix: what a supernet is called with. The network is in evaluation mode meanwhile and its mode is restored.
    should_stop is asked before every batch of at most BATCH examples; Stopped is raised where it says yes.
    """
    mode = network.training
    network.eval()
    try:
        return as_it_is(network, data, split, should_stop, mix=mix)
    finally:
        network.train(mode)


@torch.no_grad()
def as_it_is(
    network: nn.Module,
    data: TaskData,
    split: Split,
    should_stop: ShouldStop = lambda: False,
    *,
    mix: Mix | None = None,
) -> dict[str, float]:
    """The same in the network's own mode: while training with the statistics of each batch."""
    device = next(network.parameters()).device
    meter, size = data.meter(), _size(split)
    for start in range(0, len(split), size):
        if should_stop():
            raise Stopped
        batch = data.prepare(split.at(slice(start, start + size)).to(device))
        meter.add(lambda inputs: _call(network, inputs, mix), batch)
    return meter.values()


@torch.no_grad()
def recalibrate(network: nn.Module, data: TaskData, split: Split, batches: int = 16, *, mix: Mix | None = None) -> None:
    """Set BatchNorm's running statistics to the means over the first examples of the split.

    For weights that were trained in other company: a network that inherits a supernet's weights sees sums of two
    operations where the statistics are of a mixture of all (Guo et al. 2020). No weight changes.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [module.momentum for module in norms]
    device = next(network.parameters()).device
    mode = network.training
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # a cumulative mean instead of a moving one
    network.train()
    size = _size(split)
    for start in range(0, min(len(split), batches * size), size):
        examples = split.at(slice(start, start + size))
        if start and len(examples) < size // 2:
            break  # a small rest would count as much as a whole batch
        _call(network, data.prepare(examples.to(device)).inputs, mix)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
    network.train(mode)


def _size(split: Split) -> int:
    """Examples of a batch."""
    numbers = sum(item[:1].numel() for item in tensors(split.inputs))
    return max(1, min(BATCH, PIXELS // max(1, numbers)))


def _call(network: nn.Module, inputs: Inputs, mix: Mix | None) -> Tensor:
    outputs: Tensor = network(inputs) if mix is None else network(inputs, mix)
    return outputs
