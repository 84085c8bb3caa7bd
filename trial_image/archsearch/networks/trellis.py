"""The network of Auto-DeepLab (Liu et al. 2019, section 3): cells at every resolution of every layer, or on one path.

In a mixture every cell is the sum of what it makes of its neighbours in the layer before, with the weights that their
choices of a path have for it (equation 4). Two things differ from the paper. The second input of a cell there is the
map of its own level two layers before, which a single path lacks where it has changed the level; here it is what the
cell before had as its first. And a map that grows is projected before it is resized, which is cheaper.

The stem has one level, so that the weights of `path/0/0` scale whole maps, which the normalisations after it take back:
only where paths meet do their weights compete. It is so in the paper as well. The gradient that is left to them is
rounding, which Adam makes as large as any other: the first step of a path that is found says little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import ResolutionTrellis, TrellisSize
from archsearch.networks.base import SpaceNetwork, add, alternatives, weighed, weighted_sum
from archsearch.networks.chooser import Chooser, Mix, connected
from archsearch.networks.dense import AtrousHead, Decoder, resized
from archsearch.networks.inputs import Inputs
from archsearch.networks.operations import DARTS_OPERATIONS, FactorizedReduce, ReluConvNorm
from archsearch.spaces.darts import INPUTS, NONE, edge_name, inputs_name
from archsearch.spaces.trellis import CELL, following, path_name


@dataclass(frozen=True)
class State:
    """What a cell gives to the next ones: its output, and its own first input."""

    output: Tensor
    input: Tensor


class Resize(nn.Module):
    """From one level to the same or a neighbouring one, with so many channels in and out."""

    def __init__(self, source: int, target: int, inputs: int, outputs: int, affine: bool) -> None:
        super().__init__()
        self.project = (
            FactorizedReduce(inputs, outputs, affine)
            if target > source
            else ReluConvNorm(inputs, outputs, 1, 1, affine)
        )
        self.grows = target < source

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, *size), size being that of the target's maps."""
        projected: Tensor = self.project(x)
        return resized(projected, size) if self.grows else projected


class TrellisCell(nn.Module):
    """The cell at one level of one layer. What it makes of each neighbour shares the operations, not the projections.

    sources: by level, the channels of a neighbour's output and of its first input.
    """

    def __init__(
        self,
        chooser: Chooser,
        settings: ResolutionTrellis,
        *,
        level: int,
        sources: Mapping[int, tuple[int, int]],
        channels: int,
        affine: bool,
    ) -> None:
        super().__init__()
        self.before_previous, self.previous = nn.ModuleDict(), nn.ModuleDict()
        for source, (outputs, inputs) in sources.items():
            self.previous[str(source)] = Resize(source, level, outputs, channels, affine)
            self.before_previous[str(source)] = Resize(source, level, inputs, channels, affine)
        self.edges = nn.ModuleDict()
        self._nodes: list[tuple[str, tuple[int, ...]]] = []
        names = sorted(settings.operations, key=lambda name: name == NONE)
        for node in range(settings.nodes):
            name = inputs_name(CELL, node)
            predecessors = chooser.inputs(name, node + 2, INPUTS)
            for predecessor in predecessors:
                self.edges[f"{node}/{predecessor}"] = chooser.operation(
                    edge_name(CELL, node, predecessor), alternatives(DARTS_OPERATIONS, names, channels, 1, affine)
                )
            self._nodes.append((name, predecessors))

    def forward(
        self, incoming: Sequence[tuple[int, State, Tensor | float]], size: tuple[int, int], mix: Mix | None
    ) -> State:
        """incoming: level, state and weight of each neighbour. The state has (N, nodes x channels, *size) as output."""
        inputs = [
            (share, self.previous[str(level)](state.output, size), level, state) for level, state, share in incoming
        ]
        outputs = [
            weighed(share, self._run(self.before_previous[str(level)](state.input, size), previous, mix))
            for share, previous, level, state in inputs
        ]
        return State(add(outputs), add(weighed(share, previous) for share, previous, _, _ in inputs))

    def _run(self, before_previous: Tensor, previous: Tensor, mix: Mix | None) -> Tensor:
        states = [before_previous, previous]
        for node, (name, predecessors) in enumerate(self._nodes):
            terms = {p: self.edges[f"{node}/{p}"](states[p], mix) for p in connected(mix, name, predecessors)}
            states.append(weighted_sum(mix, name, terms))
        return torch.cat(states[2:], dim=1)


class TrellisNetwork(SpaceNetwork):
    """A stem, the layers, and a linear head for each level of the last one, whose outputs are summed.

    Where images have one class, of the maps' means. Where each pixel has one, of the maps, and a decoder comes after.
    """

    def __init__(
        self,
        chooser: Chooser,
        settings: ResolutionTrellis,
        size: TrellisSize,
        *,
        signature: Signature,
        affine: bool,
    ) -> None:
        super().__init__()
        self._levels = settings.levels
        channels = [size.channels * 2**level for level in range(settings.levels)]
        self.stem = _stem(signature.shape[0], settings.nodes * channels[0], settings.stem_reductions)
        known = {0: (settings.nodes * channels[0], settings.nodes * channels[0])}  # by level: of output, of first input
        self.layers, self._paths = nn.ModuleList(), []
        for layer in range(settings.layers):
            choices = {
                level: chooser.number(path_name(layer, level), following(level, settings.levels)) for level in known
            }
            self._paths.append(choices)
            reached = sorted({target for number in choices.values() for target in number.values})
            cells = nn.ModuleDict()
            for level in reached:
                sources = {source: known[source] for source, number in choices.items() if level in number.values}
                cells[str(level)] = TrellisCell(
                    chooser, settings, level=level, sources=sources, channels=channels[level], affine=affine
                )
            self.layers.append(cells)
            known = {level: (settings.nodes * channels[level], channels[level]) for level in reached}
        # One bias: what lies on no path adds nothing at all.
        ends = {str(level): outputs for level, (outputs, _) in known.items()}
        self.decoder = None
        if signature.outputs == "Map":
            self.decoder = Decoder(signature.shape[0], size.channels, signature.classes)
            self.pyramids = nn.ModuleDict(
                {level: AtrousHead(outputs, size.channels) for level, outputs in ends.items()}
            )
            return
        self.classifiers = nn.ModuleDict(
            {level: nn.Linear(outputs, signature.classes, bias=False) for level, outputs in ends.items()}
        )
        self.bias = nn.Parameter(torch.zeros(signature.classes))

    def features(self, inputs: Inputs, mix: Mix | None = None) -> dict[int, Tensor]:
        """The last layer's maps by level: one in a fixed network, in a mixture each with the weight of its paths.

        Of level s they are (N, nodes x channels x 2^s, H / 2^s, W / 2^s), rounded up, H and W being the stem's.
        """
        stem: Tensor = self.stem(inputs)
        sizes = [(stem.shape[-2], stem.shape[-1])]
        for _ in range(self._levels - 1):
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        states = {0: State(stem, stem)}
        for cells, choices in zip(self.layers, self._paths, strict=True):
            incoming: dict[int, list[tuple[int, State, Tensor | float]]] = {}
            for level, state in states.items():
                for target, share in choices[level].shares(mix).items():
                    incoming.setdefault(target, []).append((level, state, share))
            states = {
                level: cells[str(level)](sources, sizes[level], mix)  # type: ignore[index]
                for level, sources in sorted(incoming.items())
            }
        return {level: state.output for level, state in states.items()}

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """(N, image_channels, H, W) -> (N, classes), or (N, classes, H, W) where each pixel has a class."""
        maps = self.features(inputs, mix)
        if self.decoder is not None:
            assert isinstance(inputs, Tensor)  # noqa: S101 - images are all that there is
            size = inputs.shape[-2], inputs.shape[-1]
            summed = add(resized(self.pyramids[str(level)](found), size) for level, found in maps.items())
            scores: Tensor = self.decoder(inputs, summed)
            return scores
        return add(self.classifiers[str(level)](found.mean((2, 3))) for level, found in maps.items()) + self.bias


def _stem(image_channels: int, channels: int, reductions: int) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(image_channels, channels, 3, 2 if reductions else 1, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    ]
    more = (ReluConvNorm(channels, channels, 3, 2, affine=True) for _ in range(reductions - 1))
    return nn.Sequential(*layers, *more)
