"""What a network costs without running it: parameters and floating-point operations."""

from __future__ import annotations

import logging

import torch
from torch import nn

# It says when imported that it cannot count Triton's kernels where there is no Triton; there are none of these here.
logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402


def count(network: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Trainable parameters, and operations for one image (C, H, W), a multiplication and an addition being two.

    Convolutions and matrix products are counted, which is what papers count; normalisation, activations, pooling and
    sums are not. A network on the meta device is counted without memory or arithmetic.
    """
    device = next(network.parameters()).device
    mode = network.training
    network.eval()  # BatchNorm takes no single image while training
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, *shape, device=device))
    finally:
        network.train(mode)
    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return parameters, int(counter.get_total_flops())
