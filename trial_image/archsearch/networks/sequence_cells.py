"""The network of cells over sequences: a stem, a stack of one cell, pooling, a linear head."""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import SequenceCells, SequenceStack
from archsearch.networks.base import SpaceNetwork, alternatives
from archsearch.networks.chooser import Alternatives, Chooser, Mix
from archsearch.networks.darts import Nodes
from archsearch.networks.inputs import Inputs
from archsearch.networks.operations import SKIP, Operation, Zero
from archsearch.networks.sequences import Attention, SequenceHead, SequenceStem, masked, shortened
from archsearch.spaces.sequences import ATTENTION, CELL

STEM_MULTIPLIER: Final = 2
"""Channels of the stem for each channel of the cells."""


class Recurrent(nn.Module):
    """A gated recurrent unit in both directions, each with half of the channels (Cho et al. 2014)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.unit = nn.GRU(channels, (channels + 1) // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) -> (N, C, T)."""
        states: Tensor = self.unit(x.transpose(1, 2))[0]
        return states[..., : self.channels].transpose(1, 2)


class ReluConvNorm(nn.Sequential):
    """ReLU, convolution, batch normalisation."""

    def __init__(self, inputs: int, outputs: int, affine: bool) -> None:
        super().__init__(nn.ReLU(), nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs, affine=affine))


def _depthwise(channels: int, kernel: int, dilation: int, affine: bool) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv1d(channels, channels, kernel, 1, padding, dilation, groups=channels, bias=False),
        nn.Conv1d(channels, channels, 1, bias=False),
        nn.BatchNorm1d(channels, affine=affine),
    ]


def _separable(channels: int, kernel: int, affine: bool) -> nn.Module:
    return nn.Sequential(*_depthwise(channels, kernel, 1, affine), *_depthwise(channels, kernel, 1, affine))


def _normalised(module: nn.Module, channels: int, affine: bool) -> nn.Module:
    return nn.Sequential(module, nn.BatchNorm1d(channels, affine=affine))


OPERATIONS: Final[dict[str, Operation]] = {
    "none": lambda _channels, stride, _affine: Zero(stride),
    "max_pool_3": lambda channels, _stride, _affine: _normalised(nn.MaxPool1d(3, 1, padding=1), channels, affine=False),
    "avg_pool_3": lambda channels, _stride, _affine: _normalised(
        nn.AvgPool1d(3, 1, padding=1, count_include_pad=False), channels, affine=False
    ),
    SKIP: lambda _channels, _stride, _affine: nn.Identity(),
    "sep_conv_3": lambda channels, _stride, affine: _separable(channels, 3, affine),
    "sep_conv_5": lambda channels, _stride, affine: _separable(channels, 5, affine),
    "dil_conv_3": lambda channels, _stride, affine: nn.Sequential(*_depthwise(channels, 3, 2, affine)),
    ATTENTION: lambda channels, _stride, affine: nn.Sequential(
        nn.ReLU(), Attention(channels, channels), nn.BatchNorm1d(channels, affine=affine)
    ),
    "recurrent": lambda channels, _stride, affine: _normalised(Recurrent(channels), channels, affine),
}
"""Those of DARTS (Liu et al. 2019, section 3.1.1) over sequences, and two that see all steps. None of them strides."""


class SequenceCell(Nodes):
    """The cell. inputs: channels of the outputs of the cell before the previous one, and of the previous one."""

    def __init__(
        self, chooser: Chooser, settings: SequenceCells, *, inputs: tuple[int, int], channels: int, affine: bool
    ) -> None:
        super().__init__()
        self.before_previous = ReluConvNorm(inputs[0], channels, affine)
        self.previous = ReluConvNorm(inputs[1], channels, affine)

        def place(_source: int, names: list[str]) -> Alternatives:
            return alternatives(OPERATIONS, names, channels, 1, affine)

        self.connect(chooser, CELL, settings.nodes, settings.operations, place)

    def forward(self, before_previous: Tensor, previous: Tensor, there: Tensor | None, mix: Mix | None) -> Tensor:
        """(N, inputs, T) twice -> (N, nodes x channels, T)."""
        states = [self.before_previous(before_previous), self.previous(previous)]
        return masked(self.nodes([masked(state, there) for state in states], mix), there)


class SequenceCellNetwork(SpaceNetwork):
    """One cell again and again. Before some of them both of their inputs are halved by a maximum of two steps."""

    def __init__(
        self, chooser: Chooser, settings: SequenceCells, stack: SequenceStack, *, signature: Signature, affine: bool
    ) -> None:
        super().__init__()
        outputs, dropout = STEM_MULTIPLIER * stack.channels, float(settings.dropout)
        self.stem = SequenceStem(
            signature.inputs[0],
            settings.embedding,
            dropout,
            lambda inputs: nn.Sequential(nn.Conv1d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm1d(outputs)),
        )
        parts = settings.reductions + 1
        self.halved = frozenset(part * stack.cells // parts for part in range(1, parts))
        self.cells = nn.ModuleList()
        inputs = (outputs, outputs)
        for _ in range(stack.cells):
            self.cells.append(SequenceCell(chooser, settings, inputs=inputs, channels=stack.channels, affine=affine))
            inputs = (inputs[1], settings.nodes * stack.channels)
        self.head = SequenceHead(inputs[1], signature.classes, dropout)

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """Tokens (N, T) or frames (N, channels, T) -> (N, classes)."""
        x, there = self.stem(inputs)
        before_previous = previous = x
        for index, cell in enumerate(self.cells):
            if index in self.halved:
                before_previous, previous = (F.max_pool1d(x, 2, ceil_mode=True) for x in (before_previous, previous))
                there = None if there is None else shortened(there, previous)
            before_previous, previous = previous, cell(before_previous, previous, there, mix)
        logits: Tensor = self.head(previous, there)
        return logits
