"""Batches of what networks take: one tensor, or a tuple of several, each with the examples in its first dimension."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from archsearch.api.signature import Input, Signature

Inputs = Tensor | tuple[Tensor, ...]


def each(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """The function of every tensor."""
    return function(inputs) if isinstance(inputs, Tensor) else tuple(function(item) for item in inputs)


def tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """The tensors, in order."""
    return (inputs,) if isinstance(inputs, Tensor) else inputs


def repeated(inputs: Inputs, count: int) -> Inputs:
    """So many examples: the first ones, from the beginning again where there are fewer."""
    return each(lambda item: item[torch.arange(count, device=item.device) % len(item)], inputs)


def laid_out(inputs: Inputs) -> Inputs:
    """Images channels-last, which is what the networks compute fastest with."""
    return each(lambda x: x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x, inputs)


def random_inputs(signature: Signature, count: int) -> Inputs:
    """So many random examples that a network of this signature takes, the same ones every time; not normalised."""
    generator = torch.Generator().manual_seed(0)
    made = tuple(_random(item, count, generator) for item in signature.inputs)
    return made[0] if len(made) == 1 else made


def _random(item: Input, count: int, generator: torch.Generator) -> Tensor:
    if item.vocabulary is not None:
        return torch.randint(item.vocabulary, (count, *item.shape), generator=generator)
    drawn = torch.rand(count, *item.shape, generator=generator)
    if not item.mean:
        return drawn
    along = (-1, *(1,) * (len(item.shape) - 1))
    return torch.tensor(item.mean).view(along) + 2 * (drawn - 0.5) * torch.tensor(item.std).view(along)


def normalised(signature: Signature, inputs: Inputs) -> Inputs:
    """Numbers with mean 0 and deviation 1 in each channel, in float32; tokens, and what has no mean, as they are."""
    made = tuple(
        normalise(x, item.mean, item.std) if item.mean else x
        for x, item in zip(tensors(inputs), signature.inputs, strict=True)
    )
    return made[0] if isinstance(inputs, Tensor) else made


def normalise(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std for each channel, in float32; (N, C, ...)."""
    along = (1, -1, *(1,) * (x.dim() - 2))
    centre = torch.tensor(mean, dtype=torch.float32, device=x.device).view(along)
    scale = torch.tensor(std, dtype=torch.float32, device=x.device).view(along)
    return (x.float() - centre) / scale
