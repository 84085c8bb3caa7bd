"""A backbone and a pyramid that merges its maps: NAS-FPN (Ghiasi et al. 2019, section 3) with a searched backbone.

`2/1` is the block of layer 1 in stage 2 of the backbone, as in chains. Node 0 of the pyramid merges two of the
backbone's three maps, every later one two of these and of the nodes before it: `pyramid/3/inputs` says which,
`pyramid/3/merge` how, and `pyramid/3/level` at which resolution (0 is the highest). The last three nodes are the
outputs and have the levels 0, 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations
from typing import Final, cast

from archsearch.api.space import FeaturePyramid
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.mbconv import SKIP, Place, layer_name, words
from archsearch.spaces.space import Space

LEVELS: Final = 3
MERGED: Final = 2
"""Maps that a node takes."""
MERGES: Final = ("sum", "attention")


def node_name(node: int, what: str) -> str:
    """The choice of a node's `inputs`, `merge` or `level`."""
    return f"pyramid/{node}/{what}"


def output_level(settings: FeaturePyramid, node: int) -> int | None:
    """The level of a node that is an output; None of the others, which choose theirs."""
    first = settings.nodes - LEVELS
    return node - first if node >= first else None


def feature_pyramid(settings: FeaturePyramid) -> Space:
    """The space. Its supernet runs one architecture at a time: where a node's maps come from is not mixed."""
    return Space("featurePyramid", tuple(_choices(settings)), settings, partial(graph, settings), mixable=False)


def places(settings: FeaturePyramid) -> Iterator[list[Place]]:
    """The layers of each stage of the backbone, with the channels that the settings give."""
    inputs = settings.stem_channels
    for index, stage in enumerate(settings.stages):
        yield [
            Place(layer_name(index, layer), inputs if layer == 0 else stage.channels, stage.channels, 2 - min(layer, 1))
            for layer in range(stage.layers)
        ]
        inputs = stage.channels


def unused(sources: list[tuple[int, ...]]) -> set[int]:
    """The maps that no node takes, by number, the outputs' own aside. sources: of each node, the maps that it takes."""
    taken = {source for pair in sources for source in pair}
    return set(range(len(sources))) - taken  # three maps of the backbone before the nodes, three nodes that are outputs


def graph(settings: FeaturePyramid, architecture: Architecture) -> Graph:
    """Each stage of the backbone, and the pyramid. A map that no node takes is added to the output of its level."""
    stages: dict[str, list[Edge]] = {}
    for index, stage in enumerate(settings.stages):
        edges = []
        for layer in range(stage.layers):
            word = architecture[layer_name(index, layer)]
            edges.append(Edge(str(layer - 1) if layer else "input", str(layer), "" if word == SKIP else str(word)))
        stages[str(index)] = [*edges, Edge(edges[-1].target, OUTPUT, "")]
    names = [f"map {level}" for level in range(LEVELS)]
    levels, sources, edges = list(range(LEVELS)), [], []
    for node in range(settings.nodes):
        own = output_level(settings, node)
        level = cast("int", architecture[node_name(node, "level")]) if own is None else own
        name = f"node {node}"
        sources.append(cast("tuple[int, ...]", architecture[node_name(node, "inputs")]))
        merge = architecture[node_name(node, "merge")]
        edges += [Edge(names[source], name, f"{merge} at {level}") for source in sources[-1]]
        names.append(name)
        levels.append(level)
    edges += [Edge(names[at], names[settings.nodes + levels[at]], "") for at in sorted(unused(sources))]
    edges += [Edge(name, OUTPUT, "") for name in names[-LEVELS:]]
    return {**stages, "pyramid": edges}


def _choices(settings: FeaturePyramid) -> Iterator[Choice]:
    for stage in places(settings):
        for place in stage:
            yield Choice(place.name, tuple(words(place, settings.blocks)))
    for node in range(settings.nodes):
        yield Choice(node_name(node, "inputs"), tuple(combinations(range(LEVELS + node), MERGED)))
        yield Choice(node_name(node, "merge"), MERGES)
        if output_level(settings, node) is None:
            yield Choice(node_name(node, "level"), tuple(range(LEVELS)))
