"""The network of NASNet's cells (Zoph et al. 2018, section 3): a stem, a stack of both cells, pooling, a linear head.

What a mixture of such cells is: a side's input is the sum over all states and operations, with the product of the two
weights, and a node is in the cell's output as far as nobody uses it, with the product of (1 - weight) over all sides.
Both are the expectation where every choice is drawn on its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import CellStack, NasnetCells
from archsearch.networks.base import SpaceNetwork, add, alternatives, weighed
from archsearch.networks.chooser import Chooser, Mix, Number
from archsearch.networks.darts import STEM_MULTIPLIER
from archsearch.networks.inputs import Inputs
from archsearch.networks.joined import Joined, Projection
from archsearch.networks.operations import NASNET_OPERATIONS
from archsearch.spaces.nasnet import SIDES, operation_name, source_name

INPUTS: Final = 2
"""States that are the outputs of earlier cells, before the nodes' own."""


class Side(nn.Module):
    """One of the two terms of a node: an operation on one of the states before it.

    The operations on different states have weights of their own, as in ENAS.
    """

    def __init__(
        self, chooser: Chooser, settings: NasnetCells, place: tuple[str, int, str], channels: int, affine: bool
    ) -> None:
        super().__init__()
        cell, node, _ = place
        self.source = chooser.number(source_name(*place), range(node + INPUTS))
        self.edges = nn.ModuleDict()
        for source in self.source.values:
            stride = 2 if cell == "reduction" and source < INPUTS else 1
            self.edges[str(source)] = chooser.operation(
                operation_name(*place), alternatives(NASNET_OPERATIONS, settings.operations, channels, stride, affine)
            )

    def forward(self, states: Sequence[Tensor], mix: Mix | None) -> Tensor:
        """(N, C, H, W) of each state -> (N, C, H, W)."""
        shares = self.source.shares(mix).items()
        return add(weighed(share, self.edges[str(source)](states[source], mix)) for source, share in shares)


class Cell(nn.Module):
    """Nodes that add up two terms each; the output is what nobody uses.

    inputs: the parts and their channels of the outputs of the cell before the previous one, and of the previous one.
    previous_reduces: whether the previous cell halved the map, so that the one before it must follow.
    """

    def __init__(
        self,
        chooser: Chooser,
        settings: NasnetCells,
        *,
        reduces: bool,
        previous_reduces: bool,
        inputs: tuple[Mapping[str, int], Mapping[str, int]],
        channels: int,
        affine: bool,
    ) -> None:
        super().__init__()
        self.before_previous = Projection(inputs[0], channels, affine=affine, reduces=previous_reduces)
        self.previous = Projection(inputs[1], channels, affine=affine)
        kind = "reduction" if reduces else "normal"
        self.sides = nn.ModuleDict()
        self._sources: list[Number] = []
        for node, side in product(range(settings.nodes), SIDES):
            self.sides[f"{node}/{side}"] = term = Side(chooser, settings, (kind, node, side), channels, affine)
            self._sources.append(term.source)
        used = {source.values[0] for source in self._sources if len(source.values) == 1}
        self._nodes = settings.nodes
        self.outputs = {str(node): channels for node in range(settings.nodes) if node + INPUTS not in used}

    def forward(
        self, before_previous: Mapping[str, Tensor], previous: Mapping[str, Tensor], mix: Mix | None
    ) -> dict[str, Tensor]:
        """(N, inputs, H, W) of the parts -> (N, C, H, W) of each node that nobody uses, or half as high and wide."""
        states: list[Tensor] = [self.before_previous(before_previous), self.previous(previous)]
        for node in range(self._nodes):
            states.append(add(self.sides[f"{node}/{side}"](states, mix) for side in SIDES))
        shares = [source.shares(mix) for source in self._sources]
        outputs = {}
        for name in self.outputs:
            state = int(name) + INPUTS
            unused = math.prod(1 - share.get(state, 0.0) for share in shares)
            if isinstance(unused, Tensor) or unused:
                outputs[name] = weighed(unused, states[state])
        return outputs


class NasnetNetwork(SpaceNetwork):
    """Cells at one third and two thirds of the depth reduce: half the height and width, twice the channels."""

    def __init__(
        self,
        chooser: Chooser,
        settings: NasnetCells,
        stack: CellStack,
        *,
        signature: Signature,
        affine: bool,
    ) -> None:
        super().__init__()
        stem = STEM_MULTIPLIER * stack.channels
        self.stem = nn.Sequential(nn.Conv2d(signature.shape[0], stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        self.cells = nn.ModuleList()
        inputs, channels, previous_reduces = ({"stem": stem}, {"stem": stem}), stack.channels, False
        for index in range(stack.cells):
            reduces = index in (stack.cells // 3, 2 * stack.cells // 3)
            channels *= 2 if reduces else 1
            cell = Cell(
                chooser,
                settings,
                reduces=reduces,
                previous_reduces=previous_reduces,
                inputs=inputs,
                channels=channels,
                affine=affine,
            )
            self.cells.append(cell)
            inputs, previous_reduces = (inputs[1], cell.outputs), reduces
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = Joined(inputs[1], signature.classes)
        self.bias = nn.Parameter(torch.zeros(signature.classes))

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """(N, image_channels, H, W) -> (N, classes)."""
        before_previous = previous = {"stem": self.stem(inputs)}
        for cell in self.cells:
            before_previous, previous = previous, cell(before_previous, previous, mix)
        pooled = self.pool(F.relu(torch.cat(list(previous.values()), dim=1)))
        logits: Tensor = self.classifier(pooled, tuple(previous)).flatten(1) + self.bias
        return logits
