"""The DARTS network (Liu et al. 2019): a stem, a stack of normal and reduction cells, pooling, a linear head.

Drop-path and the auxiliary head of the published training are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import CellStack, DartsCells
from archsearch.networks.base import SpaceNetwork, alternatives, weighted_sum
from archsearch.networks.chooser import Alternatives, Chooser, Mix, connected
from archsearch.networks.inputs import Inputs
from archsearch.networks.operations import DARTS_OPERATIONS, FactorizedReduce, ReluConvNorm
from archsearch.spaces.darts import INPUTS, NONE, edge_name, inputs_name

STEM_MULTIPLIER: Final = 3
"""Channels of the stem for each channel of the first cells (published code)."""


class Nodes(nn.Module):
    """Nodes that each add up operations on earlier states; the output is the nodes' concatenation.

    Subclasses `connect` them, and make the cell's two inputs.
    """

    def connect(
        self,
        chooser: Chooser,
        kind: str,
        count: int,
        words: Sequence[str],
        place: Callable[[int, list[str]], Alternatives],
    ) -> None:
        """Ask for the edges of so many nodes. place: what could stand behind a predecessor, from these words."""
        self.edges = nn.ModuleDict()
        self.sources: list[tuple[str, tuple[int, ...]]] = []  # of each node: the choice, and what it can be
        # As the choice has it: what can be chosen, then what only takes part in a mixture.
        names = sorted(words, key=lambda name: name == NONE)
        for node in range(count):
            name = inputs_name(kind, node)
            sources = chooser.inputs(name, node + 2, INPUTS)
            for source in sources:
                self.edges[f"{node}/{source}"] = chooser.operation(edge_name(kind, node, source), place(source, names))
            self.sources.append((name, sources))

    def nodes(self, states: list[Tensor], mix: Mix | None) -> Tensor:
        """The nodes after each other, from the cell's two inputs with its own number of channels."""
        states = list(states)
        for node, (name, sources) in enumerate(self.sources):
            inputs = {source: self.edges[f"{node}/{source}"] for source in connected(mix, name, sources)}
            states.append(weighted_sum(mix, name, {s: edge(states[s], mix) for s, edge in inputs.items()}))
        return torch.cat(states[2:], dim=1)


class Cell(Nodes):
    """A normal or a reduction cell.

    inputs: channels of the outputs of the cell before the previous one, and of the previous one.
    previous_reduces: whether the previous cell halved the map, so that the one before it must follow.
    """

    def __init__(
        self,
        chooser: Chooser,
        settings: DartsCells,
        *,
        reduces: bool,
        previous_reduces: bool,
        inputs: tuple[int, int],
        channels: int,
        affine: bool,
    ) -> None:
        super().__init__()
        self.before_previous = (
            FactorizedReduce(inputs[0], channels, affine)
            if previous_reduces
            else ReluConvNorm(inputs[0], channels, 1, 1, affine)
        )
        self.previous = ReluConvNorm(inputs[1], channels, 1, 1, affine)

        def place(source: int, names: list[str]) -> Alternatives:
            return alternatives(DARTS_OPERATIONS, names, channels, 2 if reduces and source < 2 else 1, affine)

        self.connect(chooser, "reduction" if reduces else "normal", settings.nodes, settings.operations, place)

    def forward(self, before_previous: Tensor, previous: Tensor, mix: Mix | None) -> Tensor:
        """(N, inputs, H, W) twice -> (N, nodes x channels, H, W), or half as high and wide from a reduction cell."""
        return self.nodes([self.before_previous(before_previous), self.previous(previous)], mix)


class DartsNetwork(SpaceNetwork):
    """Cells at one third and two thirds of the depth reduce: half the height and width, twice the channels.

    cell: how the cells are computed.
    """

    def __init__(
        self,
        chooser: Chooser,
        settings: DartsCells,
        stack: CellStack,
        *,
        signature: Signature,
        affine: bool,
        cell: type[Cell] = Cell,
    ) -> None:
        super().__init__()
        outputs = STEM_MULTIPLIER * stack.channels
        self.stem = nn.Sequential(
            nn.Conv2d(signature.shape[0], outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.cells = nn.ModuleList()
        inputs, channels, previous_reduces = (outputs, outputs), stack.channels, False
        for index in range(stack.cells):
            reduces = index in (stack.cells // 3, 2 * stack.cells // 3)
            channels *= 2 if reduces else 1
            self.cells.append(
                cell(
                    chooser,
                    settings,
                    reduces=reduces,
                    previous_reduces=previous_reduces,
                    inputs=inputs,
                    channels=channels,
                    affine=affine,
                )
            )
            inputs, previous_reduces = (inputs[1], settings.nodes * channels), reduces
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs[1], signature.classes)

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """(N, image_channels, H, W) -> (N, classes)."""
        before_previous = previous = self.stem(inputs)
        for cell in self.cells:
            before_previous, previous = previous, cell(before_previous, previous, mix)
        logits: Tensor = self.classifier(self.pool(previous).flatten(1))
        return logits
