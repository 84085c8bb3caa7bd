"""Spaces of encoders and decoders: what reads one sequence and writes another."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from archsearch.api.base import Fraction, Model, Rule, distinct

Depth = Annotated[int, Field(ge=1, le=8)]
Width = Annotated[int, Field(ge=8, le=4096, multiple_of=2)]


class ElasticTransformerSize(Model):
    """How wide the network is."""

    width_percent: Annotated[int, Field(ge=5, le=400)]
    """All widths, in percent of `widths`, `feedForward` and `headChannels`, to the nearest even number."""


class ElasticTransformer(Model):
    """A Transformer that translates, of which smaller ones are a part, as in HAT (Wang et al. 2020): fewer layers, and
    layers with fewer heads and inner channels; each layer of the decoder sees one or several of the encoder's last
    layers. Architectures share all their weights."""

    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=6)] = (512, 640)
    """Channels of what layers give to the next one, of the encoder and of the decoder. Even numbers."""
    encoder_depths: Annotated[tuple[Depth, ...], Field(min_length=1, max_length=8)] = (6,)
    """How many layers the encoder can have."""
    decoder_depths: Annotated[tuple[Depth, ...], Field(min_length=1, max_length=8)] = (1, 2, 3, 4, 5, 6)
    """How many layers the decoder can have."""
    feed_forward: Annotated[tuple[Width, ...], Field(min_length=1, max_length=6)] = (1024, 2048, 3072)
    """Inner channels of a layer. Even numbers."""
    heads: Annotated[tuple[Annotated[int, Field(ge=1, le=32)], ...], Field(min_length=1, max_length=6)] = (4, 8)
    """Heads of an attention."""
    head_channels: Annotated[int, Field(ge=2, le=256, multiple_of=2)] = 64
    """Channels of a head. An even number."""
    attends: Annotated[tuple[Depth, ...], Field(min_length=1, max_length=4)] = (1, 2, 3)
    """How many of the encoder's last layers a layer of the decoder sees; at most the smallest depth of the encoder."""
    dropout: Fraction = "0.1"
    """The share of channels that training leaves out at random after embeddings, attentions and inner layers."""
    search: ElasticTransformerSize = ElasticTransformerSize(width_percent=50)
    """The network that trials train while searching, and the size of the supernet."""
    final: ElasticTransformerSize = ElasticTransformerSize(width_percent=100)
    """The network that is profiled, retrained and exported."""

    rules, checks = distinct("widths", "encoderDepths", "decoderDepths", "feedForward", "heads", "attends")
    rules += (
        Rule(
            expression="self.attends.all(a, self.encoderDepths.all(d, a <= d))",
            message="attends must be at most the smallest of encoderDepths",
            field_path=".attends",
        ),
    )
    checks += (lambda self: _seen(self.attends, self.encoder_depths),)


def _seen(attends: tuple[int, ...], depths: tuple[int, ...]) -> str | None:
    if max(attends) <= min(depths):
        return None
    return f"attends must be at most the smallest of encoderDepths ({min(depths)}), but got {max(attends)}"
