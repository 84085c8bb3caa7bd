"""Depthwise and pointwise convolutions and their gradients, in forms for which oneDNN has fast kernels.

Its fast depthwise kernels are the forward pass and, with the channels innermost, the gradient of kernels of three
columns, not dilated, on maps of enough rows. Others take 5 to 50 times as long as their arithmetic. So gradients are
written as calls of these where the size of a map allows it. Everything here is exact in exact arithmetic.
"""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from archsearch.networks.fused.maps import channels_last, column_phases, inner, joint, mixed, outer, row_phases, rows

FAST_COLUMNS: Final = 3
"""Columns of the kernels whose gradient is fast; it is so on maps with at least as many rows as the kernel."""

ADDS: Final = hasattr(torch.ops.mkldnn, "_convolution_pointwise_")
"""Whether torch offers what adds a convolution to what is there. torch's compiler uses it; it is not documented."""

backward: Final[Any] = torch.ops.aten.convolution_backward


def depthwise(x: Tensor, kernel: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """(N, C, H, W) and (C, 1, k, k) with k odd -> (N, C, ceil(H / stride), ceil(W / stride))."""
    padding = dilation * (kernel.shape[-1] // 2)
    return channels_last(F.conv2d(x, kernel, None, stride, padding, dilation, groups=kernel.shape[0]))


def depthwise_input_gradient(
    gradient: Tensor, kernel: Tensor, x: Tensor, stride: int, dilation: int, total: Tensor | None = None
) -> Tensor:
    """The gradient of a depthwise convolution by its input `x`, of which only the shape is looked at.

    total: what it is added to, in place, where there is something already.
    """
    if total is not None:
        if stride == 1 and ADDS and gradient.dtype == torch.float32:
            return _add_turned(total, gradient, kernel, dilation)
        return total.add_(depthwise_input_gradient(gradient, kernel, x, stride, dilation))
    if stride == 1:  # the convolution with the turned kernel
        return depthwise(gradient, kernel.flip(2, 3), 1, dilation)
    padding = dilation * (kernel.shape[-1] // 2)
    found = backward(
        gradient, x, kernel, None, [stride] * 2, [padding] * 2, [dilation] * 2, False, [0, 0], kernel.shape[0],
        [True, False, False],
    )  # fmt: skip
    return channels_last(found[0])


def kernel_gradient(x: Tensor, gradient: Tensor, size: int, stride: int, dilation: int) -> Tensor:
    """The gradient of a depthwise convolution by its kernel, (C, 1, size, size)."""
    height, width = x.shape[-2:]
    phases = dilation * (2 if size > FAST_COLUMNS else 1)
    if stride == 1 and height % dilation == 0 and width % phases == 0:
        if dilation > 1:  # rows that never meet become images of their own
            x, gradient = row_phases(x, dilation), row_phases(gradient, dilation)
        return _by_columns(x, gradient, size, dilation)
    if stride == 2 and dilation == 1 and size == 5 and width % 2 == 0:
        return _by_columns_of_stride_2(x, gradient)
    padding = dilation * (size // 2)
    return _kernel_gradient(x, gradient, (size, size), stride, (padding, padding), dilation)


def pointwise(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """1 x 1 convolutions of `groups` maps that lie beside each other."""
    if groups == 1:  # for which oneDNN's convolution takes twice as long
        return mixed(x, weight[:, :, 0, 0])
    return channels_last(F.conv2d(x, weight, groups=groups))


def pointwise_input_gradient(gradient: Tensor, weight: Tensor, groups: int) -> Tensor:
    """The gradient of pointwise convolutions by their input: those with the transposed weights."""
    blocks = weight.view(groups, -1, weight.shape[1])
    return pointwise(gradient, blocks.transpose(1, 2).reshape(-1, blocks.shape[1], 1, 1), groups)


def pointwise_weight_gradient(gradient: Tensor, x: Tensor, groups: int) -> Tensor:
    """The gradient of pointwise convolutions by their weight, with that weight's shape."""
    if groups == 1:
        return joint(gradient, x)[:, :, None, None]
    by, of = (rows(each).view(-1, groups, each.shape[1] // groups).transpose(0, 1) for each in (gradient, x))
    return torch.bmm(by.transpose(1, 2), of).flatten(0, 1)[:, :, None, None]


def _add_turned(total: Tensor, gradient: Tensor, kernel: Tensor, dilation: int) -> Tensor:
    """Add the convolution with the turned kernel where oneDNN writes its result: one pass over the map less."""
    padding = dilation * (kernel.shape[-1] // 2)
    found: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
        total, gradient, kernel.flip(2, 3), None, [padding] * 2, [1, 1], [dilation] * 2, kernel.shape[0],
        "add", 1.0, None, [], None,
    )  # fmt: skip
    return found


def _by_columns(x: Tensor, gradient: Tensor, size: int, dilation: int) -> Tensor:
    """The gradient of a kernel of 3 or 5 whose rows are neighbours and whose columns are `dilation` apart.

    Columns that are so far apart are neighbours in the map's column phases. Of five columns the middle three are found
    in one go, and the outer two with the middle one, which are twice as far apart, in another.
    """

    def three(apart: int) -> Tensor:
        phases = column_phases(x, apart), column_phases(gradient, apart)
        found = _kernel_gradient(*phases, (size, FAST_COLUMNS), 1, (size // 2, 1), 1)
        return found.view(apart, x.shape[1], 1, size, FAST_COLUMNS).sum(0)

    middle = three(dilation)
    if size == FAST_COLUMNS:
        return middle
    outer_two = three(2 * dilation)
    return torch.cat([outer_two[..., :1], middle, outer_two[..., 2:]], dim=-1)


def _by_columns_of_stride_2(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of a 5 x 5 kernel with stride 2: its even columns see the even columns of the map."""
    twice = outer(torch.cat([inner(gradient)] * 2, dim=-1))
    found = _kernel_gradient(column_phases(x, 2), twice, (5, FAST_COLUMNS), (2, 1), (2, 1), 1)
    even, odd = found.view(2, x.shape[1], 1, 5, FAST_COLUMNS)
    result = x.new_empty(x.shape[1], 1, 5, 5)
    result[..., ::2], result[..., 1::2] = even, odd[..., :2]
    return result


def _kernel_gradient(
    x: Tensor,
    gradient: Tensor,
    size: tuple[int, int],
    stride: int | tuple[int, int],
    padding: tuple[int, int],
    dilation: int,
) -> Tensor:
    """torch's own, with the padding of the rows in the map where the map would be too low for the fast kernel."""
    if x.shape[2] < size[0]:
        x, padding = outer(F.pad(inner(x), (0, 0, 0, 0, padding[0], padding[0]))), (0, padding[1])
    channels = x.shape[1]
    found: Tensor = backward(
        gradient, x, x.new_empty(channels, 1, *size), None, stride if isinstance(stride, tuple) else [stride] * 2,
        padding, [dilation] * 2, False, [0, 0], channels, [False, True, False],
    )[1]  # fmt: skip
    return found
