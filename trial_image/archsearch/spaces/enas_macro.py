"""The macro space of ENAS (Pham et al. 2018, section 2.3): a network of layers that may see all layers before them.

`layer/5` is the operation of layer 5, on the output of layer 4. `skip/5/2` is 1 where the output of layer 2 is joined
to its result. As in the published code, the layers are a chain to which the skip connections come on top.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from archsearch.api.space import EnasMacro
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.space import Space

OPERATIONS: Final = ("conv_3x3", "conv_5x5", "sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")
BITS: Final = (0, 1)


def operation_name(layer: int) -> str:
    """The choice of a layer's operation."""
    return f"layer/{layer}"


def skip_name(layer: int, source: int) -> str:
    """The choice whether an earlier layer's output is joined to a layer's result."""
    return f"skip/{layer}/{source}"


def enas_macro(settings: EnasMacro) -> Space:
    """The space; with 12 layers it has 6^12 x 2^66 networks."""
    return Space("enasMacro", tuple(_choices(settings)), settings, partial(graph, settings.layers))


def graph(layers: int, architecture: Architecture) -> Graph:
    """The whole network as one cell."""
    edges: list[Edge] = []
    for layer in range(layers):
        before = str(layer - 1) if layer else "input"
        edges.append(Edge(before, str(layer), str(architecture[operation_name(layer)])))
        edges += [Edge(str(j), str(layer), "skip") for j in range(layer) if architecture[skip_name(layer, j)]]
    return {"network": [*edges, Edge(str(layers - 1), OUTPUT, "")]}


def _choices(settings: EnasMacro) -> Iterator[Choice]:
    for layer in range(settings.layers):
        yield Choice(operation_name(layer), OPERATIONS)
        for source in range(layer):
            yield Choice(skip_name(layer, source), BITS)
