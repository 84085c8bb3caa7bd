"""Encoders and decoders of which smaller ones are a part, as in HAT (Wang et al. 2020, section 2).

`encoder/width` and `encoder/depth` are of the whole encoder, `encoder/1/heads` and `encoder/1/feedForward` of its layer
1. A layer of the decoder has `crossHeads` too, the heads that look at the encoder, and `attends`, how many of the
encoder's last layers they see. A layer's choices are made only where the side is so deep.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from archsearch.api.space import ElasticTransformer
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.space import Space

ENCODER: Final = "encoder"
DECODER: Final = "decoder"
WIDTH: Final = "width"
DEPTH: Final = "depth"
HEADS: Final = "heads"
FEED_FORWARD: Final = "feedForward"
CROSS_HEADS: Final = "crossHeads"
ATTENDS: Final = "attends"
LETTERS: Final = {HEADS: "h", CROSS_HEADS: "c", ATTENDS: "a", FEED_FORWARD: "f"}
"""Of each choice of a layer in the label of a graph, in their order."""


def side_name(side: str, what: str) -> str:
    """A choice of the whole encoder or decoder."""
    return f"{side}/{what}"


def layer_name(side: str, layer: int, what: str) -> str:
    """A choice of one layer."""
    return f"{side}/{layer}/{what}"


def elastic_transformer(settings: ElasticTransformer) -> Space:
    """The space; with the default settings it has about 4 x 10^14 networks. Nothing is mixed."""
    return Space("elasticTransformer", tuple(_choices(settings)), settings, graph, mixable=False)


def graph(architecture: Architecture) -> Graph:
    """Encoder and decoder as a cell each, a chain of the width and the layers."""
    return {side: _chain(side, architecture) for side in (ENCODER, DECODER)}


def _chain(side: str, architecture: Architecture) -> list[Edge]:
    labels = [f"w{architecture[side_name(side, WIDTH)]}"]
    for layer in range(int(str(architecture[side_name(side, DEPTH)]))):
        chosen = {what: architecture.values.get(layer_name(side, layer, what)) for what in LETTERS}
        labels.append("".join(f"{LETTERS[what]}{value}" for what, value in chosen.items() if value is not None))
    nodes = ["input", *map(str, range(len(labels)))]
    edges = [Edge(nodes[at], nodes[at + 1], label) for at, label in enumerate(labels)]
    return [*edges, Edge(nodes[-1], OUTPUT, "")]


def _choices(settings: ElasticTransformer) -> Iterator[Choice]:
    heads, inner = tuple(sorted(settings.heads)), tuple(sorted(settings.feed_forward))
    of_encoder = {HEADS: heads, FEED_FORWARD: inner}
    of_decoder = {HEADS: heads, CROSS_HEADS: heads, ATTENDS: tuple(sorted(settings.attends)), FEED_FORWARD: inner}
    sides = ((ENCODER, settings.encoder_depths, of_encoder), (DECODER, settings.decoder_depths, of_decoder))
    for side, depths, of_layer in sides:
        ascending = tuple(sorted(depths))
        yield Choice(side_name(side, WIDTH), tuple(sorted(settings.widths)))
        yield Choice(side_name(side, DEPTH), ascending)
        for layer in range(ascending[-1]):
            deep_enough = tuple((side_name(side, DEPTH), depth) for depth in ascending if depth > layer)
            when = () if len(deep_enough) == len(ascending) else deep_enough
            for what, options in of_layer.items():
                yield Choice(layer_name(side, layer, what), options, when)
