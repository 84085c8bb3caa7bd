"""The operations of cells and of macro layers. All work on maps of any size, down to a single pixel.

`affine`: whether batch normalisations have parameters of their own. In a supernet they have none: they would rescale
an operation and so undo its mixing weight (Liu et al. 2019, section 3.1.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

Operation = Callable[[int, int, bool], nn.Module]
"""Builds an operation from channels, stride and affine."""


class Zero(nn.Module):
    """No connection: zeros of the shape that an operation with this stride would give."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Zeros, (N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride)); of sequences (N, C, T) likewise."""
        steps = (slice(None, None, self.stride),) * (x.dim() - 2)
        return torch.zeros_like(x[:, :, *steps])


class FactorizedReduce(nn.Module):
    """Halves the map without dropping pixels: one half of the channels sees the even pixels, the other the odd ones."""

    def __init__(self, inputs: int, outputs: int, affine: bool) -> None:
        super().__init__()
        # Without a stride of their own: of few channels and large maps oneDNN's gradient of such a convolution writes
        # beyond its memory (PyTorch 2.15 on the CPU, 8 channels of 128x128, channels-last).
        self.even = nn.Conv2d(inputs, outputs // 2, 1, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / 2), ceil(W / 2))."""
        x = F.relu(x)
        halves = torch.cat([self.even(x[..., ::2, ::2]), self.odd(from_odd_pixels(x)[..., ::2, ::2])], dim=1)
        normalised: Tensor = self.norm(halves)
        return normalised


def from_odd_pixels(x: Tensor) -> Tensor:
    """The map without its first row and column, so that a stride of 2 sees the pixels that it would leave out.

    A map of odd size has one odd pixel less than even ones; zeros make up for it.
    """
    height, width = x.shape[-2:]
    padded = F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x
    return padded[:, :, 1:, 1:]


class ReluConvNorm(nn.Sequential):
    """ReLU, convolution, batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, affine: bool) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, affine=affine),
        )


class ResidualReduction(nn.Module):
    """The residual block that halves the map between the stages of NAS-Bench-201 (Dong and Yang 2020, section 2.1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = ReluConvNorm(inputs, outputs, 3, 2, affine=True)
        self.second = ReluConvNorm(outputs, outputs, 3, 1, affine=True)
        # The ceiling makes a map of odd size come out as large as from the strided convolution.
        self.pool = nn.AvgPool2d(2, stride=2, ceil_mode=True)
        self.project = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / 2), ceil(W / 2))."""
        output: Tensor = self.project(self.pool(x)) + self.second(self.first(x))
        return output


def _separable(channels: int, kernel: int, stride: int, affine: bool) -> nn.Sequential:
    """Depthwise and pointwise convolution, applied twice, the stride in the first."""
    return nn.Sequential(
        *_depthwise(channels, kernel, stride, 1, affine),
        *_depthwise(channels, kernel, 1, 1, affine),
    )


def _dilated(channels: int, kernel: int, stride: int, affine: bool) -> nn.Sequential:
    """Depthwise convolution with dilation 2, and pointwise convolution."""
    return nn.Sequential(*_depthwise(channels, kernel, stride, 2, affine))


def _depthwise(channels: int, kernel: int, stride: int, dilation: int, affine: bool) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    ]


def _factorised(channels: int, kernel: int, stride: int, affine: bool) -> nn.Sequential:
    """A row of weights and a column of weights instead of a square."""
    half = kernel // 2
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, kernel), (1, stride), (0, half), bias=False),
        nn.Conv2d(channels, channels, (kernel, 1), (stride, 1), (half, 0), bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


def _average_pool(stride: int) -> nn.Module:
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


def _max_pool(channels: int, kernel: int, stride: int) -> nn.Module:
    return _pool_norm(nn.MaxPool2d(kernel, stride, padding=kernel // 2), channels)


def _pool_norm(pool: nn.Module, channels: int) -> nn.Module:
    # A pool has no parameters of its own anywhere; the published final network leaves even the normalisation out.
    return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False))


def _skip(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine)


SKIP: Final = "skip_connect"
"""The operation that passes on its input."""

DARTS_OPERATIONS: Final[dict[str, Operation]] = {
    "none": lambda _channels, stride, _affine: Zero(stride),
    "max_pool_3x3": lambda channels, stride, _affine: _max_pool(channels, 3, stride),
    "avg_pool_3x3": lambda channels, stride, _affine: _pool_norm(_average_pool(stride), channels),
    SKIP: _skip,
    "sep_conv_3x3": lambda channels, stride, affine: _separable(channels, 3, stride, affine),
    "sep_conv_5x5": lambda channels, stride, affine: _separable(channels, 5, stride, affine),
    "dil_conv_3x3": lambda channels, stride, affine: _dilated(channels, 3, stride, affine),
    "dil_conv_5x5": lambda channels, stride, affine: _dilated(channels, 5, stride, affine),
}
"""Liu et al. 2019, section 3.1.1."""

NASBENCH201_OPERATIONS: Final[dict[str, Operation]] = {
    "none": lambda _channels, stride, _affine: Zero(stride),
    SKIP: _skip,
    "nor_conv_1x1": lambda channels, stride, affine: ReluConvNorm(channels, channels, 1, stride, affine),
    "nor_conv_3x3": lambda channels, stride, affine: ReluConvNorm(channels, channels, 3, stride, affine),
    "avg_pool_3x3": lambda _channels, stride, _affine: _average_pool(stride),
}
"""Dong and Yang 2020, section 2.1."""

NASNET_OPERATIONS: Final[dict[str, Operation]] = {
    name: DARTS_OPERATIONS[name]
    for name in (SKIP, "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "avg_pool_3x3", "max_pool_3x3")
} | {
    "conv_1x1": lambda channels, stride, affine: ReluConvNorm(channels, channels, 1, stride, affine),
    "conv_3x3": lambda channels, stride, affine: ReluConvNorm(channels, channels, 3, stride, affine),
    "conv_1x3_3x1": lambda channels, stride, affine: _factorised(channels, 3, stride, affine),
    "conv_1x7_7x1": lambda channels, stride, affine: _factorised(channels, 7, stride, affine),
    "sep_conv_7x7": lambda channels, stride, affine: _separable(channels, 7, stride, affine),
    "max_pool_5x5": lambda channels, stride, _affine: _max_pool(channels, 5, stride),
    "max_pool_7x7": lambda channels, stride, _affine: _max_pool(channels, 7, stride),
}
"""Zoph et al. 2018, section 3; the dilated convolution separable, as Real et al. 2019 have it."""

ENAS_OPERATIONS: Final[dict[str, Operation]] = {
    "conv_3x3": lambda channels, stride, affine: ReluConvNorm(channels, channels, 3, stride, affine),
    "conv_5x5": lambda channels, stride, affine: ReluConvNorm(channels, channels, 5, stride, affine),
    "sep_conv_3x3": lambda channels, stride, affine: nn.Sequential(*_depthwise(channels, 3, stride, 1, affine)),
    "sep_conv_5x5": lambda channels, stride, affine: nn.Sequential(*_depthwise(channels, 5, stride, 1, affine)),
    "avg_pool_3x3": DARTS_OPERATIONS["avg_pool_3x3"],
    "max_pool_3x3": DARTS_OPERATIONS["max_pool_3x3"],
}
"""Pham et al. 2018, section 2.3."""

MOTIF_OPERATIONS: Final[dict[str, Operation]] = {
    "none": DARTS_OPERATIONS["none"],
    SKIP: _skip,
    "max_pool_3x3": lambda _channels, stride, _affine: nn.MaxPool2d(3, stride, padding=1),
    "avg_pool_3x3": lambda _channels, stride, _affine: _average_pool(stride),
    "conv_1x1": lambda channels, stride, affine: ReluConvNorm(channels, channels, 1, stride, affine),
    "depth_conv_3x3": lambda channels, stride, affine: nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    ),
    "sep_conv_3x3": lambda channels, stride, affine: nn.Sequential(*_depthwise(channels, 3, stride, 1, affine)),
}
"""Liu et al. 2018 (hierarchical representations), section 4.1."""
