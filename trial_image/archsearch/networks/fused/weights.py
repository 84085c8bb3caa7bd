"""Weights of several convolutions as one tensor, without a copy of them in every pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def lay_together(parameters: Sequence[Tensor]) -> None:
    """Move the parameters, of one shape each, to memory where they lie after each other. They stay what they are."""
    together = torch.cat([parameter.detach() for parameter in parameters]).contiguous()
    for parameter, part in zip(parameters, together.chunk(len(parameters)), strict=True):
        parameter.data = part


def joined(weights: Sequence[Tensor]) -> Tensor:
    """Weights of one shape along their first dimension: a view where they lie after each other, otherwise a copy."""
    first, count = weights[0], len(weights)
    if count == 1:
        return first
    length, start, bytes_each = first.numel(), first.data_ptr(), first.numel() * first.element_size()
    holds = first.untyped_storage().nbytes() // first.element_size() - first.storage_offset() >= count * length
    if holds and all(weight.data_ptr() == start + at * bytes_each for at, weight in enumerate(weights)):
        _, *shape = first.shape
        strides = [int(torch.Size(shape[at:]).numel()) for at in range(len(shape) + 1)]
        return first.detach().as_strided((count * len(first), *shape), strides)
    return torch.cat(list(weights))
