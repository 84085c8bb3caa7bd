"""The network of a chain over sequences: a stem, stages of chosen blocks, a pointwise convolution, pooling, a head."""

from __future__ import annotations

from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import ChainSize, SequenceChain
from archsearch.networks.base import SpaceNetwork
from archsearch.networks.chains import chain_stages, convolution, inverted_bottleneck, scaled
from archsearch.networks.chooser import Chooser, Mix
from archsearch.networks.inputs import Inputs
from archsearch.networks.sequences import Attention, SequenceHead, SequenceStem, masked, shortened
from archsearch.spaces.mbconv import Place
from archsearch.spaces.sequences import ATTENTION, places


class AttentionBlock(nn.Module):
    """Attention; where it keeps the shape of the sequence, its output is added to its input."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, residual: bool, affine: bool) -> None:
        super().__init__()
        self.attention = Attention(inputs, outputs, stride)
        self.norm = nn.BatchNorm1d(outputs, affine=affine)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, T) -> (N, outputs, ceil(T / stride))."""
        y: Tensor = self.norm(self.attention(x))
        return x + y if self.residual else y


class SequenceChainNetwork(SpaceNetwork):
    """Layers that are blocks, or skipped."""

    def __init__(
        self, chooser: Chooser, settings: SequenceChain, size: ChainSize, *, signature: Signature, affine: bool
    ) -> None:
        super().__init__()
        percent, dropout = size.width_percent, float(settings.dropout)
        channels = scaled(settings.stem.channels, percent)
        self.stem = SequenceStem(
            signature.inputs[0],
            settings.embedding,
            dropout,
            lambda inputs: convolution(inputs, channels, 3, stride=settings.stem.stride, sequences=True),
        )

        def build(word: str, place: Place, inputs: int, outputs: int) -> nn.Module:
            if word == ATTENTION:
                residual = place.keeps_shape
                return AttentionBlock(inputs, outputs, stride=place.stride, residual=residual, affine=affine)
            return inverted_bottleneck(word, place, inputs, outputs, affine=affine, sequences=True)

        self.stages = nn.ModuleList(chain_stages(chooser, places(settings), settings.blocks, percent, build))
        features = scaled(settings.head_channels, percent)
        self.last = convolution(scaled(settings.stages[-1].channels, percent), features, 1, sequences=True)
        self.head = SequenceHead(features, signature.classes, dropout)

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """Tokens (N, T) or frames (N, channels, T) -> (N, classes)."""
        x, there = self.stem(inputs)
        for stage in self.stages:
            x = stage(x, mix)
            there = None if there is None else shortened(there, x)
            x = masked(x, there)
        logits: Tensor = self.head(self.last(x), there)
        return logits
