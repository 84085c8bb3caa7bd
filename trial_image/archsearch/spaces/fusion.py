"""Where and how two encoders are joined (Perez-Rua et al. 2019, MFAS, section 3.1), with operators on pairs as in
BM-NAS (Yin et al. 2022, section 3.3).

Of fusion node 1, `1/image` and `1/question` are the layers of the encoders that it sees, the first being 0, and
`1/operator` is how it joins them. What the node before has made is added, as in MFAS.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from archsearch.api.space import FusionNetwork
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.space import Space


def image_name(node: int) -> str:
    """The choice of a node's image layer."""
    return f"{node}/image"


def question_name(node: int) -> str:
    """The choice of a node's question layer."""
    return f"{node}/question"


def operator_name(node: int) -> str:
    """The choice of how a node joins the two."""
    return f"{node}/operator"


def fusion_network(settings: FusionNetwork) -> Space:
    """The space; with the default settings it has (4 x 3 x 5)^2 = 3,600 networks."""
    return Space("fusionNetwork", tuple(_choices(settings)), settings, partial(graph, settings.nodes))


def graph(nodes: int, architecture: Architecture) -> Graph:
    """The nodes after each other. An edge from an encoder has the node's operator and the encoder's layer."""
    edges = []
    for node in range(nodes):
        operator = architecture[operator_name(node)]
        edges.append(Edge("image", str(node), f"{operator} image {architecture[image_name(node)]}"))
        edges.append(Edge("question", str(node), f"{operator} question {architecture[question_name(node)]}"))
        if node:
            edges.append(Edge(str(node - 1), str(node), ""))
    return {"fusion": [*edges, Edge(str(nodes - 1), OUTPUT, "")]}


def _choices(settings: FusionNetwork) -> Iterator[Choice]:
    for node in range(settings.nodes):
        yield Choice(image_name(node), tuple(range(settings.image_layers)))
        yield Choice(question_name(node), tuple(range(settings.question_layers)))
        yield Choice(operator_name(node), settings.operators)
