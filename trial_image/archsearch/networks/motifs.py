"""The network of hierarchical representations (Liu et al. 2018, section 4.1): three stages of one cell of motifs.

Unlike in the paper nodes add up what comes in, where it concatenates and projects; every cell ends in a normalisation,
because sums over many ways grow. Each place has weights of its own, also where motifs are the same.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import HierarchicalMotifs, StageStack
from archsearch.networks.base import StagedNetwork, add, alternatives
from archsearch.networks.chooser import Chooser, Mix
from archsearch.networks.operations import MOTIF_OPERATIONS
from archsearch.spaces.motifs import OPERATIONS, edges, motif_name, operation_name

STAGES: Final = 3


class Motif(nn.Module):
    """A graph of operations on maps of one shape. A node that nothing leads to is zero."""

    def __init__(self, chooser: Chooser, motif: int, nodes: int, channels: int) -> None:
        super().__init__()
        self._nodes = nodes
        self.edges = nn.ModuleDict()
        for target, source in edges(nodes):
            choices = alternatives(MOTIF_OPERATIONS, OPERATIONS, channels, 1, affine=True)
            self.edges[f"{target}/{source}"] = chooser.operation(operation_name(motif, target, source), choices)

    def forward(self, x: Tensor, mix: Mix | None) -> Tensor:
        """(N, channels, H, W) -> the same."""
        states = [x]
        for node in range(1, self._nodes):
            states.append(add(self.edges[f"{node}/{source}"](states[source], mix) for source in range(node)))
        return states[-1]


class Cell(nn.Module):
    """A graph of motifs. In a supernet each edge holds all motifs, of which one counts in a pass."""

    def __init__(self, chooser: Chooser, settings: HierarchicalMotifs, channels: int) -> None:
        super().__init__()
        self._nodes = settings.cell_nodes
        self._numbers = {
            edge: chooser.number(motif_name(*edge), range(settings.motifs + 1)) for edge in edges(self._nodes)
        }
        self.edges = nn.ModuleDict(
            {
                f"{target}/{source}": nn.ModuleDict(
                    {
                        str(motif): Motif(chooser, motif, settings.motif_nodes, channels)
                        for motif in number.values
                        if motif
                    }
                )
                for (target, source), number in self._numbers.items()
            }
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, mix: Mix | None) -> Tensor:
        """(N, channels, H, W) -> the same."""
        states = [x]
        for node in range(1, self._nodes):
            motifs = [self._numbers[node, source].now(mix) for source in range(node)]
            terms = [
                self.edges[f"{node}/{source}"][str(motif)](states[source], mix)  # type: ignore[index]
                for source, motif in enumerate(motifs)
                if motif
            ]
            states.append(add(terms) if terms else torch.zeros_like(x))
        normalised: Tensor = self.norm(states[-1])
        return normalised


class MotifNetwork(StagedNetwork):
    """A stem, three stages with twice the channels and half the height and width each, pooling, a linear head."""

    def __init__(
        self,
        chooser: Chooser,
        settings: HierarchicalMotifs,
        stack: StageStack,
        *,
        signature: Signature,
        affine: bool,  # noqa: ARG002 - nothing is mixed, so that normalisations have parameters in the supernet as well
    ) -> None:
        super().__init__()
        channels = stack.channels
        self.stem = nn.Sequential(
            nn.Conv2d(signature.shape[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.reductions, self.stages = nn.ModuleList(), nn.ModuleList()
        for stage in range(STAGES):
            if stage:
                self.reductions.append(_reduction(channels))
                channels *= 2
            self.stages.append(nn.ModuleList(Cell(chooser, settings, channels) for _ in range(stack.cells)))
        self.last = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, signature.classes)


def _reduction(channels: int) -> nn.Sequential:
    """A depthwise separable convolution that halves the map and doubles the channels."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, 2, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, 2 * channels, 1, bias=False),
        nn.BatchNorm2d(2 * channels),
    )
