"""The Transformer of HAT (Wang et al. 2020): layers of which the first heads and channels can be used alone.

As in the paper a layer of the decoder sees the outputs of several of the encoder's last layers as one longer sequence,
and embeddings and the last projection share their weights. Unlike there a head has always as many channels, so that
fewer heads are cheaper; normalisations stand before attentions and inner layers, which needs no warm-up of the learning
rate; and what the decoder sees of the encoder is normalised, whichever layer it is from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import ElasticTransformer, ElasticTransformerSize
from archsearch.networks.base import SpaceNetwork
from archsearch.networks.chains import scaled
from archsearch.networks.chooser import Chooser, Mix, Number
from archsearch.networks.elastic import crop
from archsearch.networks.inputs import Inputs
from archsearch.spaces.elastic_transformer import (
    ATTENDS,
    CROSS_HEADS,
    DECODER,
    DEPTH,
    ENCODER,
    FEED_FORWARD,
    HEADS,
    WIDTH,
    layer_name,
    side_name,
)

PADDING: Final = 0
"""The token that stands where a text has ended."""
HIDDEN: Final = -1e9
"""The score of what an attention must not see. It is finite: a text of padding alone must give numbers."""


class ElasticLinear(nn.Linear):
    """A linear layer that computes so many output channels from what comes in."""

    def reset_parameters(self) -> None:
        """Weights as of Transformers (Glorot and Bengio 2010), no biases."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, outputs: int) -> Tensor:  # type: ignore[override]
        """(N, T, inputs) -> (N, T, outputs)."""
        return F.linear(x, crop(self.weight, (outputs, x.shape[-1])), self.bias[:outputs])


class ElasticLayerNorm(nn.LayerNorm):
    """A layer normalisation of the first channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C) -> (N, T, C), C being at most what it was built for."""
        channels = x.shape[-1]
        return F.layer_norm(x, (channels,), self.weight[:channels], self.bias[:channels], self.eps)


class ElasticAttention(nn.Module):
    """Attention with the first heads (Vaswani et al. 2017, section 3.2.2), of one sequence to another.

    channels: of what asks. seen: of what is asked. head_channels: of a head.
    """

    def __init__(self, channels: int, seen: int, heads: Number, head_channels: int, dropout: float) -> None:
        super().__init__()
        inner = max(heads.values) * head_channels
        self.query, self.key, self.value = (ElasticLinear(n, inner) for n in (channels, seen, seen))
        self.project = ElasticLinear(inner, channels)
        self._heads, self._channels, self._dropout = heads, head_channels, dropout

    def forward(self, x: Tensor, seen: Tensor, hidden: Tensor, mix: Mix | None) -> Tensor:
        """(N, T, channels), (N, S, seen), HIDDEN or 0 of each place (N, 1, T or 1, S) -> (N, T, channels)."""
        heads = self._heads.now(mix)

        def split(y: Tensor) -> Tensor:  # (N, heads, length, channels of a head)
            return y.view(y.shape[0], y.shape[1], heads, self._channels).transpose(1, 2)

        inner = heads * self._channels
        query, key, value = split(self.query(x, inner)), split(self.key(seen, inner)), split(self.value(seen, inner))
        weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(self._channels) + hidden, dim=-1)
        weights = F.dropout(weights, self._dropout, self.training)
        mixed = (weights @ value).transpose(1, 2).reshape(x.shape[0], x.shape[1], inner)
        projected: Tensor = self.project(mixed, x.shape[2])
        return projected


class ElasticFeedForward(nn.Module):
    """Two linear layers with so many channels between them."""

    def __init__(self, channels: int, inner: Number, percent: int, dropout: float) -> None:
        super().__init__()
        largest = scaled(max(inner.values), percent)
        self.widen, self.project = ElasticLinear(channels, largest), ElasticLinear(largest, channels)
        self._inner, self._percent, self._dropout = inner, percent, dropout

    def forward(self, x: Tensor, mix: Mix | None) -> Tensor:
        """(N, T, channels) -> (N, T, channels)."""
        y = F.relu(self.widen(x, scaled(self._inner.now(mix), self._percent)))
        projected: Tensor = self.project(F.dropout(y, self._dropout, self.training), x.shape[2])
        return projected


class ElasticTransformerLayer(nn.Module):
    """Attention to the own sequence, in a decoder attention to the encoder, and an inner layer; each adds to x.

    seen: channels of the encoder's layers; none in the encoder itself.
    """

    def __init__(self, builder: _Builder, side: str, layer: int, channels: int, seen: int | None = None) -> None:
        super().__init__()
        settings, percent, dropout = builder.settings, builder.percent, float(builder.settings.dropout)

        def number(what: str, values: Sequence[int]) -> Number:
            return builder.chooser.number(layer_name(side, layer, what), sorted(values))

        head = scaled(settings.head_channels, percent)
        heads = number(HEADS, settings.heads)
        self.attention = ElasticAttention(channels, channels, heads, head, dropout)
        self.attention_norm = ElasticLayerNorm(channels)
        self._attends: Number | None = None
        if seen is not None:
            cross = number(CROSS_HEADS, settings.heads)
            self._attends = number(ATTENDS, settings.attends)
            self.cross = ElasticAttention(channels, seen, cross, head, dropout)
            self.cross_norm = ElasticLayerNorm(channels)
        inner = number(FEED_FORWARD, settings.feed_forward)
        self.feed_forward = ElasticFeedForward(channels, inner, percent, dropout)
        self.feed_forward_norm = ElasticLayerNorm(channels)
        self._dropout = dropout

    def forward(
        self, x: Tensor, hidden: Tensor, mix: Mix | None, encoded: Sequence[Tensor] = (), padding: Tensor | None = None
    ) -> Tensor:
        """(N, T, channels) -> (N, T, channels).

        hidden: of the own sequence. encoded: what each layer of the encoder gave, (N, S, seen). padding: HIDDEN or 0 of
        its places, (N, 1, 1, S).
        """
        y = self.attention_norm(x)
        x = x + self._dropped(self.attention(y, y, hidden, mix))
        if self._attends is not None and padding is not None:
            last = self._attends.now(mix)
            seen = torch.cat(list(encoded[-last:]), dim=1)
            x = x + self._dropped(self.cross(self.cross_norm(x), seen, padding.repeat(1, 1, 1, last), mix))
        return x + self._dropped(self.feed_forward(self.feed_forward_norm(x), mix))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self._dropout, self.training)


class _Builder:
    """What every layer is built from."""

    def __init__(self, chooser: Chooser, settings: ElasticTransformer, percent: int) -> None:
        self.chooser, self.settings, self.percent = chooser, settings, percent


class ElasticTransformerNetwork(SpaceNetwork):
    """From a text and the beginning of its translation to the token that comes next, at each place of the beginning."""

    def __init__(
        self,
        chooser: Chooser,
        settings: ElasticTransformer,
        size: ElasticTransformerSize,
        *,
        signature: Signature,
        affine: bool,  # noqa: ARG002 - nothing is mixed, so that normalisations have parameters in the supernet as well
    ) -> None:
        super().__init__()
        builder = _Builder(chooser, settings, size.width_percent)
        self._percent, self._dropout = size.width_percent, float(settings.dropout)
        depths = {ENCODER: settings.encoder_depths, DECODER: settings.decoder_depths}
        self._width = {side: chooser.number(side_name(side, WIDTH), sorted(settings.widths)) for side in depths}
        self._depth = {side: chooser.number(side_name(side, DEPTH), sorted(depths[side])) for side in depths}
        encoder, decoder = (scaled(max(self._width[side].values), self._percent) for side in (ENCODER, DECODER))
        self.embedding = nn.Parameter(torch.empty(signature.classes, max(encoder, decoder)))
        nn.init.normal_(self.embedding, std=max(encoder, decoder) ** -0.5)
        self.encoder = nn.ModuleList(
            ElasticTransformerLayer(builder, ENCODER, layer, encoder)
            for layer in range(max(self._depth[ENCODER].values))
        )
        self.encoder_norm = ElasticLayerNorm(encoder)
        self.decoder = nn.ModuleList(
            ElasticTransformerLayer(builder, DECODER, layer, decoder, encoder)
            for layer in range(max(self._depth[DECODER].values))
        )
        self.decoder_norm = ElasticLayerNorm(decoder)
        # Of the widest network that there is, so that those of a smaller one are a part of it.
        longest = max(item.shape[0] for item in signature.inputs)
        widest = scaled(max(settings.widths), self._percent)
        self.register_buffer("positions", positions(longest, widest), persistent=False)

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """(N, S) and (N, T) tokens -> (N, vocabulary, T); zeros where the second has padding."""
        source, target = inputs
        padding = _hidden(source == PADDING)[:, None, None, :]
        x = self._embed(source, ENCODER, mix)
        encoded = []
        for layer in list(self.encoder)[: self._depth[ENCODER].now(mix)]:
            x = layer(x, padding, mix)
            encoded.append(x)
        encoded = [self.encoder_norm(each) for each in encoded]
        length = target.shape[1]
        later = torch.ones(length, length, dtype=torch.bool, device=target.device).triu(1)
        hidden = _hidden(later[None, None] | (target == PADDING)[:, None, None, :])
        x = self._embed(target, DECODER, mix)
        for layer in list(self.decoder)[: self._depth[DECODER].now(mix)]:
            x = layer(x, hidden, mix, encoded, padding)
        x = self.decoder_norm(x) * (target != PADDING).unsqueeze(2)
        return F.linear(x, self.embedding[:, : x.shape[2]]).transpose(1, 2)

    def _embed(self, tokens: Tensor, side: str, mix: Mix | None) -> Tensor:
        """(N, T) -> (N, T, width)."""
        width = scaled(self._width[side].now(mix), self._percent)
        found = F.embedding(tokens, self.embedding[:, :width]) * math.sqrt(width)
        assert isinstance(self.positions, Tensor)  # noqa: S101 - it was registered so
        return F.dropout(found + self.positions[: tokens.shape[1], :width], self._dropout, self.training)


def positions(length: int, channels: int) -> Tensor:
    """Sines and cosines by turns, from short to long waves (Vaswani et al. 2017, section 3.5): (length, channels)."""
    rates = torch.exp(torch.arange(0, channels, 2) * (-math.log(10_000.0) / channels))
    angles = torch.arange(length)[:, None] * rates  # (length, channels / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def _hidden(places: Tensor) -> Tensor:
    """HIDDEN at these places, 0 elsewhere."""
    return torch.zeros(places.shape, device=places.device).masked_fill(places, HIDDEN)
