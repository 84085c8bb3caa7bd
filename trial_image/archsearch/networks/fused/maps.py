"""Feature maps (N, C, H, W) whose channels are innermost in memory, and views and copies of parts of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    """The map itself where its channels are innermost already, otherwise a copy."""
    return x.contiguous(memory_format=torch.channels_last)


def inner(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), a view that is contiguous."""
    return x.permute(0, 2, 3, 1)


def outer(x: Tensor) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W), the way back."""
    return x.permute(0, 3, 1, 2)


def rows(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (pixels, C), a view."""
    return inner(x).reshape(-1, x.shape[1])


def mixed(x: Tensor, weight: Tensor) -> Tensor:
    """(N, C, H, W) and (D, C) -> (N, D, H, W), a pointwise convolution as a product of matrices."""
    n, height, width, _ = inner(x).shape
    return outer((rows(x) @ weight.t()).view(n, height, width, -1))


def total(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (C,), the sum over all pixels. First by image: torch spreads images over its threads."""
    return inner(x).flatten(1, 2).sum(1).sum(0)


def joint(x: Tensor, y: Tensor) -> Tensor:
    """(N, C, H, W) and (N, D, H, W) -> (C, D), the sum over all pixels of the outer product. By image, as `total`."""
    return torch.bmm(inner(x).flatten(1, 2).transpose(1, 2), inner(y).flatten(1, 2)).sum(0)


def beside(maps: Sequence[Tensor]) -> Tensor:
    """Maps one after the other along their channels."""
    return maps[0] if len(maps) == 1 else outer(torch.cat([inner(x) for x in maps], dim=-1))


def edgewise(x: Tensor, edges: int) -> Tensor:
    """(N, edges x C, H, W) -> (N, H, W, edges, C), a view."""
    n, height, width, channels = inner(x).shape
    return inner(x).view(n, height, width, edges, channels // edges)


def before_relu(gradient: Tensor, output: Tensor) -> Tensor:
    """The gradient by the input of a ReLU, from that by its output, in the place of the latter."""
    found: Tensor = torch.ops.aten.threshold_backward.grad_input(gradient, output, 0, grad_input=gradient)
    return found


def column_phases(x: Tensor, count: int) -> Tensor:
    """(N, C, H, W) -> (N, count x C, H, W / count), a view: each of the phases has every `count`-th column."""
    n, height, width, channels = inner(x).shape
    return outer(inner(x).reshape(n, height, width // count, count * channels))


def row_phases(x: Tensor, count: int) -> Tensor:
    """(N, C, H, W) -> (count x N, C, H / count, W), a copy: each of the phases has every `count`-th row."""
    n, height, width, channels = inner(x).shape
    phases = inner(x).reshape(n, height // count, count, width, channels).transpose(1, 2)
    return outer(phases.reshape(count * n, height // count, width, channels))


def product(x: Tensor, y: Tensor) -> Tensor:
    """The inner product of two maps."""
    return torch.dot(inner(x).reshape(-1), inner(y).reshape(-1))
