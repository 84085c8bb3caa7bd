"""A chain of which smaller networks are a part, as in Once-for-all (Cai et al. 2020, section 3).

`2/depth` is how many layers stage 2 has, `2/1/kernel` the size of the depthwise kernel of its layer 1, `2/1/expand` the
inner channels of that layer for each one that comes in. A layer's choices are made only where the stage is so deep.
"""

from __future__ import annotations

from collections.abc import Iterator

from archsearch.api.space import ElasticChain
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.space import Space


def depth_name(stage: int) -> str:
    """The choice of a stage's number of layers."""
    return f"{stage}/depth"


def kernel_name(stage: int, layer: int) -> str:
    """The choice of a layer's kernel."""
    return f"{stage}/{layer}/kernel"


def expansion_name(stage: int, layer: int) -> str:
    """The choice of a layer's inner channels."""
    return f"{stage}/{layer}/expand"


def elastic_chain(settings: ElasticChain) -> Space:
    """The space; with the default settings it has (9^2 + 9^3 + 9^4)^5, about 2 x 10^19 networks. Nothing is mixed."""
    return Space("elasticChain", tuple(_choices(settings)), settings, graph, mixable=False)


def graph(architecture: Architecture) -> Graph:
    """Each stage as a cell."""
    stages: dict[str, list[Edge]] = {}
    for name, value in architecture.values.items():
        stage, _, rest = name.partition("/")
        layer, _, what = rest.partition("/")
        if what == "kernel":
            before = str(int(layer) - 1) if int(layer) else "input"
            word = f"k{value}e{architecture[expansion_name(int(stage), int(layer))]}"
            stages.setdefault(stage, []).append(Edge(before, layer, word))
    return {stage: [*edges, Edge(edges[-1].target, OUTPUT, "")] for stage, edges in stages.items()}


def _choices(settings: ElasticChain) -> Iterator[Choice]:
    kernels, expansions = tuple(sorted(settings.kernels)), tuple(sorted(settings.expansions))
    for index, stage in enumerate(settings.stages):
        depths = tuple(sorted(stage.depths))
        yield Choice(depth_name(index), depths)
        for layer in range(depths[-1]):
            deep_enough = tuple((depth_name(index), depth) for depth in depths if depth > layer)
            when = () if len(deep_enough) == len(depths) else deep_enough
            yield Choice(kernel_name(index, layer), kernels, when)
            yield Choice(expansion_name(index, layer), expansions, when)
