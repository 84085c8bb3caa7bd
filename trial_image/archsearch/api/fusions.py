"""Spaces whose networks join what two encoders make of two kinds of input: where they are joined is searched."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from archsearch.api.base import Model, distinct

FusionOperator = Literal["sum", "film", "attention", "glu", "concat_fc"]
FUSION_OPERATORS: Final[tuple[FusionOperator, ...]] = get_args(FusionOperator)


class FusionSize(Model):
    """How wide the network is."""

    channels: Annotated[int, Field(ge=2, le=512)]
    """Channels of the image encoder's first layer; each later layer has twice as many."""
    width: Annotated[int, Field(ge=4, le=2048)]
    """Numbers of a word's embedding, of the question encoder's layers and of a fusion node."""


class FusionNetwork(Model):
    """An image and a question encoder, and nodes that fuse them: each picks a layer of either encoder and an operator
    (Perez-Rua et al. 2019, MFAS; the operators are those of Yin et al. 2022, BM-NAS). The last node gives the answer.
    """

    image_layers: Annotated[int, Field(ge=1, le=6)] = 4
    """Layers of the image encoder; each halves the map."""
    question_layers: Annotated[int, Field(ge=1, le=6)] = 3
    """Layers of the question encoder: the words' embeddings, then convolutions over neighbouring words."""
    nodes: Annotated[int, Field(ge=1, le=6)] = 2
    """Fusion nodes. Every one also sees the node before."""
    operators: Annotated[tuple[FusionOperator, ...], Field(min_length=1, max_length=5)] = FUSION_OPERATORS
    """Candidate operators. `sum`, `glu` (gated linear unit) and `concat_fc` see the mean of the image layer's map,
    `film` (feature-wise linear modulation, Perez et al. 2018) and `attention` see the places of the map."""
    search: FusionSize = FusionSize(channels=8, width=32)
    """The network that trials train while searching, and the size of the supernet."""
    final: FusionSize = FusionSize(channels=16, width=64)
    """The network that is profiled, retrained and exported."""

    rules, checks = distinct("operators")
