"""What a network costs without running it: parameters and floating-point operations."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


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
