"""What networks over sequences share: a stem for tokens or frames, a head, attention.

What pads a short text is zero after the stem and after each stage, and does not count in the head.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.api.signature import Input
from archsearch.networks.inputs import Inputs

PAD: Final = 0
"""The token that is none."""
HEADS: Final = 4


class SequenceStem(nn.Module):
    """Tokens (N, T) int64, embedded, or frames (N, channels, T), and a module on them.

    module: made for so many channels. Raises ValueError for an input that is no sequence.
    """

    def __init__(self, given: Input, embedding: int, dropout: float, module: Callable[[int], nn.Module]) -> None:
        super().__init__()
        if len(given.shape) != (1 if given.vocabulary else 2):
            raise ValueError(f"{given.name} must be a sequence of tokens or frames, but got the shape {given.shape}")
        self.embedding = nn.Embedding(given.vocabulary, embedding, padding_idx=PAD) if given.vocabulary else None
        self.dropout = nn.Dropout(dropout)
        self.module = module(embedding if given.vocabulary else given.shape[0])

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        """The sequence (N, C, T), and of tokens which steps are none of the padding, (N, 1, T) of 0 and 1."""
        x = inputs
        assert isinstance(x, Tensor)  # noqa: S101 - one input
        if self.embedding is None:
            return self.module(x), None
        embedded = self.dropout(self.embedding(x)).transpose(1, 2)
        made = self.module(embedded)
        there = shortened((x != PAD).to(made.dtype)[:, None], made)
        return masked(made, there), there


def masked(x: Tensor, there: Tensor | None) -> Tensor:
    """The sequence with zeros where it is padded."""
    return x if there is None else x * there


def shortened(there: Tensor, like: Tensor) -> Tensor:
    """The steps that remain where a stride of 2 has led from one length to the other: every second of them."""
    while there.shape[-1] > like.shape[-1]:
        there = there[..., ::2]
    return there


class SequenceHead(nn.Module):
    """The mean and the maximum of all steps, and a linear layer."""

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * channels, classes)

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:
        """(N, C, T) -> (N, classes)."""
        x = masked(F.relu(x), there)  # none is below zero, so that padding is no maximum
        mean = x.mean(2) if there is None else x.sum(2) / there.sum(2).clamp(min=1)
        logits: Tensor = self.linear(self.dropout(torch.cat([mean, x.amax(2)], dim=1)))
        return logits


class Attention(nn.Module):
    """Self-attention of all steps (Vaswani et al. 2017, section 3.2.2) with a few heads; a stride asks for fewer."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.heads, self.stride = gcd(inputs, HEADS), stride
        self.query = nn.Conv1d(inputs, inputs, 1, stride)
        self.key_value = nn.Conv1d(inputs, 2 * inputs, 1)
        self.output = nn.Conv1d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, T) -> (N, outputs, ceil(T / stride))."""
        count, channels, steps = x.shape
        query = self.query(x).view(count, self.heads, channels // self.heads, -1)
        key, value = self.key_value(x).view(count, 2, self.heads, channels // self.heads, steps).unbind(1)
        # Not torch's fused one: its CPU kernel has no second derivative, and is not counted.
        scores = torch.softmax(query.transpose(2, 3) @ key * (channels // self.heads) ** -0.5, dim=-1)
        seen = value @ scores.transpose(2, 3)  # (N, heads, channels of a head, T')
        output: Tensor = self.output(seen.reshape(count, channels, -1))
        return output
