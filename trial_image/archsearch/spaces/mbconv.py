"""Chains of inverted bottlenecks: the form of the spaces of ProxylessNAS (Cai et al. 2019) and FBNet (Wu et al. 2019).

`2/1` is the block of layer 1 in stage 2: `k5e6` has a depthwise kernel of 5 x 5 and six times the channels inside,
`k3e1g2` two groups in its 1 x 1 convolutions. A layer that keeps the shape of the map can be skipped as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from archsearch.api.space import ChainStage, MbconvChain
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.space import Space

SKIP: Final = "skip_connect"


@dataclass(frozen=True)
class Place:
    """Where a layer stands: channels that come in and go out, and its stride."""

    name: str
    inputs: int
    outputs: int
    stride: int

    @property
    def keeps_shape(self) -> bool:
        """Whether what goes out can be added to what comes in."""
        return self.stride == 1 and self.inputs == self.outputs


def layer_name(stage: int, layer: int) -> str:
    """The choice of a layer's block."""
    return f"{stage}/{layer}"


def mbconv_chain(settings: MbconvChain) -> Space:
    """The space; with the default settings it has 6^6 x 7^10 networks, skipped layers being the seventh option."""
    return Space("mbconvChain", tuple(layer_choices(places(settings), settings.blocks)), settings, graph)


def layer_choices(stages: Iterable[Sequence[Place]], blocks: Sequence[str]) -> Iterator[Choice]:
    """The choice of each layer: a block or, where the shape is kept, none."""
    for place in chain.from_iterable(stages):
        yield Choice(place.name, tuple(words(place, blocks)))


def words(place: Place, blocks: Sequence[str]) -> Sequence[str]:
    """What can stand there."""
    return (*blocks, SKIP) if place.keeps_shape else blocks


def places(settings: MbconvChain) -> Iterator[list[Place]]:
    """The layers of each stage, with the channels that the settings give."""
    return stage_places(settings.stages, settings.stem.separable or settings.stem.channels)


def stage_places(stages: Sequence[ChainStage], inputs: int) -> Iterator[list[Place]]:
    """The layers of each stage after a stem with so many channels."""
    for index, stage in enumerate(stages):
        yield [_place(index, layer, stage, inputs) for layer in range(stage.layers)]
        inputs = stage.channels


def block(word: str) -> tuple[int, int, int]:
    """Kernel, expansion and groups of a block such as `k3e1g2`."""
    match = re.fullmatch(r"k(\d+)e(\d+)(?:g(\d+))?", word)
    if match is None:
        raise ValueError(f"a block must be a word such as k3e6 or k3e1g2, but got {word!r}")
    kernel, expansion, groups = match.groups(default="1")
    return int(kernel), int(expansion), int(groups)


def graph(architecture: Architecture) -> Graph:
    """Each stage as a cell; a layer that is skipped is an edge without an operation."""
    stages: dict[str, list[Edge]] = {}
    for name, word in architecture.values.items():
        stage, _, layer = name.partition("/")
        before = str(int(layer) - 1) if int(layer) else "input"
        stages.setdefault(stage, []).append(Edge(before, layer, "" if word == SKIP else str(word)))
    return {stage: [*edges, Edge(edges[-1].target, OUTPUT, "")] for stage, edges in stages.items()}


def _place(index: int, layer: int, stage: ChainStage, inputs: int) -> Place:
    first = layer == 0
    return Place(
        layer_name(index, layer), inputs if first else stage.channels, stage.channels, stage.stride if first else 1
    )
