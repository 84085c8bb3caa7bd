"""The NAS-Bench-201 network (Dong and Yang 2020, figure 1): three stages of cells, reductions between them."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import NasBench201, StageStack
from archsearch.networks.base import StagedNetwork, add, alternatives
from archsearch.networks.chooser import Chooser, Mix
from archsearch.networks.operations import NASBENCH201_OPERATIONS, ResidualReduction
from archsearch.spaces.nasbench201 import EDGES, NODES, OPERATIONS, edge_name

STAGES: Final = 3


class Cell(nn.Module):
    """Node 0 is the input, each other node the sum of an operation on every node before it, the last one the output."""

    def __init__(self, chooser: Chooser, channels: int, affine: bool) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(
            {
                f"{node}/{source}": chooser.operation(
                    edge_name(node, source), alternatives(NASBENCH201_OPERATIONS, OPERATIONS, channels, 1, affine)
                )
                for node, source in EDGES
            }
        )

    def forward(self, x: Tensor, mix: Mix | None) -> Tensor:
        """(N, channels, H, W) -> (N, channels, H, W)."""
        states = [x]
        for node in range(1, NODES):
            states.append(add(self.edges[f"{node}/{source}"](states[source], mix) for source in range(node)))
        return states[-1]


class NasBench201Network(StagedNetwork):
    """A stem, three stages with twice the channels and half the height and width each, pooling, a linear head."""

    def __init__(
        self,
        chooser: Chooser,
        settings: NasBench201,  # noqa: ARG002 - the cell has nothing to set; every network is built alike
        stack: StageStack,
        *,
        signature: Signature,
        affine: bool,
    ) -> None:
        super().__init__()
        channels = stack.channels
        self.stem = nn.Sequential(
            nn.Conv2d(signature.shape[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.reductions = nn.ModuleList()
        self.stages = nn.ModuleList()
        for stage in range(STAGES):
            if stage:
                self.reductions.append(ResidualReduction(channels, 2 * channels))
                channels *= 2
            self.stages.append(nn.ModuleList(Cell(chooser, channels, affine) for _ in range(stack.cells)))
        self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, signature.classes)
