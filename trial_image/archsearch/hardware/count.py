"""What a network costs without running it: parameters, floating-point operations and memory."""

from __future__ import annotations

import copy
import logging

import torch
from torch import Tensor, nn

# It says when imported that it cannot count Triton's kernels where there is no Triton; there are none of these here.
logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from archsearch.hardware.memory import MEBIBYTE  # noqa: E402
from archsearch.networks.inputs import Inputs, each  # noqa: E402


def activation_mib(network: nn.Module, inputs: Inputs) -> float:
    """MiB of what a training step keeps of the forward pass of one example, for the gradient.

    These are the tensors that autograd saves, each once, without weights and buffers. Optimisers and the framework come
    on top. The network given is left as it was. inputs: a batch of what it takes, of which only the shapes matter.
    """
    network = copy.deepcopy(network).to("meta").train()
    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # Two examples: BatchNorm takes no single one while training.
        network(_zeros(inputs, 2, torch.device("meta")))
    found = sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)
    return found / 2 / MEBIBYTE


def count(network: nn.Module, inputs: Inputs) -> tuple[int, int]:
    """Trainable parameters, and operations for one example, a multiplication and an addition being two.

    Convolutions and matrix products are counted, which is what papers count; normalisation, activations, pooling and
    sums are not. A network on the meta device is counted without memory or arithmetic.
    inputs: a batch of what it takes, of which only the shapes matter.
    """
    device = next(network.parameters()).device
    mode = network.training
    network.eval()  # BatchNorm takes no single example while training
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(_zeros(inputs, 1, device))
    finally:
        network.train(mode)
    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return parameters, int(counter.get_total_flops())


def _zeros(inputs: Inputs, examples: int, device: torch.device) -> Inputs:
    return each(lambda x: torch.zeros(examples, *x.shape[1:], dtype=x.dtype, device=device), inputs)
