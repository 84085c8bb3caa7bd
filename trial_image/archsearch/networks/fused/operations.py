"""The operations with weights, for several edges that leave the same state at once, forward and backward by hand.

What the edges compute lies beside each other in the channels: `edges` maps of C channels each. An operation's mixing
weight is the scale of its last normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from archsearch.networks.fused import convolutions
from archsearch.networks.fused.maps import before_relu, channels_last, edgewise, outer
from archsearch.networks.fused.norms import Normalised, Statistics
from archsearch.networks.fused.state import Collected, Pixels, Rectified

Norms = Sequence[Sequence[nn.BatchNorm2d]]
"""Of each normalisation of an operation those of all edges."""


class Wanted(NamedTuple):
    """Which gradients are asked for: by the state, by the weights, by the mixing weights."""

    state: bool
    weights: bool
    mix: bool

    @property
    def beyond(self) -> bool:
        """Whether the gradient goes on through the last normalisation."""
        return self.state or self.weights


class Call(NamedTuple):
    """What an operation is run with. scale: the mixing weight of each channel, (edges x C,)."""

    edges: int
    stride: int
    weights: Sequence[Tensor]
    norms: Norms
    scale: Tensor
    statistics: Statistics
    keeps: bool
    """Whether the gradient of the weights is going to be asked for."""


class Branch(Protocol):
    """An operation after its forward pass: what it remembers of it."""

    def backward(
        self, gradient: Tensor, state: Rectified, collected: Collected, wanted: Wanted
    ) -> tuple[list[Tensor], Tensor]:
        """The gradients by its weights, in their order, and by the scale; that by the state goes to `collected`."""
        ...


@dataclass(frozen=True)
class Layer:
    """A depthwise and a pointwise convolution and a normalisation. between: the two convolutions, where it is kept."""

    kernel: Tensor
    weight: Tensor
    edges: int
    stride: int
    dilation: int
    between: Tensor | None
    normalised: Normalised

    @classmethod
    def run(
        cls, x: Tensor, call: Call, at: int, *, stride: int, dilation: int = 1, scale: Tensor | None = None
    ) -> tuple[Tensor, Layer]:
        """The output of layer `at` of an operation."""
        kernel, weight = call.weights[2 * at : 2 * at + 2]
        between = convolutions.depthwise(x, kernel, stride, dilation)
        mixed = convolutions.pointwise(between, weight, call.edges)
        output, normalised = call.statistics.normalise(mixed, call.norms[at], scale)
        return output, cls(kernel, weight, call.edges, stride, dilation, between if call.keeps else None, normalised)

    def before_depthwise(self, gradient: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """From the gradient of what is normalised: that between the convolutions, and those by the weights."""
        between = convolutions.pointwise_input_gradient(gradient, self.weight, self.edges)
        if self.between is None:
            return between, []
        by_weight = convolutions.pointwise_weight_gradient(gradient, self.between, self.edges)
        size = self.kernel.shape[-1]
        return between, [convolutions.kernel_gradient(x, between, size, self.stride, self.dilation), by_weight]

    def by_input(self, between: Tensor, x: Tensor, total: Tensor | None = None) -> Tensor:
        """The gradient by the layer's input, added to the total where there is one."""
        return convolutions.depthwise_input_gradient(between, self.kernel, x, self.stride, self.dilation, total)


@dataclass(frozen=True)
class Separable:
    """ReLU and layer, twice; the stride is in the first. hidden: what the second layer sees."""

    first: Layer
    second: Layer
    hidden: Tensor

    @classmethod
    def run(cls, state: Rectified, call: Call) -> tuple[Tensor, Separable]:
        """The output, times its mixing weight."""
        hidden, first = Layer.run(state.read("all", call.edges), call, 0, stride=call.stride)
        output, second = Layer.run(torch.relu_(hidden), call, 1, stride=1, scale=call.scale)
        return output, cls(first, second, hidden)

    def backward(
        self, gradient: Tensor, state: Rectified, collected: Collected, wanted: Wanted
    ) -> tuple[list[Tensor], Tensor]:
        """As Branch has it."""
        gradient, by_scale = self.second.normalised.backward(gradient, by_input=wanted.beyond, by_scale=wanted.mix)
        if not wanted.beyond:
            return [], by_scale
        between, by_second = self.second.before_depthwise(gradient, self.hidden)
        gradient = before_relu(self.second.by_input(between, self.hidden), self.hidden)
        gradient, _ = self.first.normalised.backward(gradient, by_input=True, by_scale=False)
        x = state.read("all", self.first.edges)
        between, by_first = self.first.before_depthwise(gradient, x)
        if wanted.state:
            collected.grow("all", lambda total: self.first.by_input(between, x, total))
        return by_first + by_second, by_scale


@dataclass(frozen=True)
class Dilated:
    """ReLU and a layer with dilation 2. With stride 2 it sees the even pixels alone, as neighbours."""

    layer: Layer
    pixels: Pixels

    @classmethod
    def run(cls, state: Rectified, call: Call) -> tuple[Tensor, Dilated]:
        """The output, times its mixing weight."""
        pixels: Pixels = "all" if call.stride == 1 else "even"
        x = state.read(pixels, call.edges)
        output, layer = Layer.run(x, call, 0, stride=1, dilation=2 // call.stride, scale=call.scale)
        return output, cls(layer, pixels)

    def backward(
        self, gradient: Tensor, state: Rectified, collected: Collected, wanted: Wanted
    ) -> tuple[list[Tensor], Tensor]:
        """As Branch has it."""
        gradient, by_scale = self.layer.normalised.backward(gradient, by_input=wanted.beyond, by_scale=wanted.mix)
        if not wanted.beyond:
            return [], by_scale
        x = state.read(self.pixels, self.layer.edges)
        between, by_weights = self.layer.before_depthwise(gradient, x)
        if wanted.state:
            collected.grow(self.pixels, lambda total: self.layer.by_input(between, x, total))
        return by_weights, by_scale


HALVES: Final[tuple[Pixels, Pixels]] = ("even", "odd")


@dataclass(frozen=True)
class Reduced:
    """The skip connection with stride 2: one half of the channels sees the even pixels, the other the odd ones."""

    edges: int
    weights: Sequence[Tensor]
    normalised: Normalised

    @classmethod
    def run(cls, state: Rectified, call: Call) -> tuple[Tensor, Reduced]:
        """The output, times its mixing weight."""
        # All edges see the same pixels: one convolution with the outputs of all.
        halves = [
            edgewise(convolutions.pointwise(state.read(pixels, 1), weight, 1), call.edges)
            for pixels, weight in zip(HALVES, call.weights, strict=True)
        ]
        joined = outer(torch.cat(halves, dim=-1).flatten(-2))
        output, normalised = call.statistics.normalise(joined, call.norms[0], call.scale)
        return output, cls(call.edges, call.weights, normalised)

    def backward(
        self, gradient: Tensor, state: Rectified, collected: Collected, wanted: Wanted
    ) -> tuple[list[Tensor], Tensor]:
        """As Branch has it."""
        gradient, by_scale = self.normalised.backward(gradient, by_input=wanted.beyond, by_scale=wanted.mix)
        if not wanted.beyond:
            return [], by_scale
        outputs = [len(weight) // self.edges for weight in self.weights]
        halves = torch.split(edgewise(gradient, self.edges), outputs, dim=-1)
        by_weights = []
        for pixels, weight, half in zip(HALVES, self.weights, halves, strict=True):
            half_gradient = channels_last(outer(half.flatten(-2)))
            if wanted.weights:
                by_weights.append(convolutions.pointwise_weight_gradient(half_gradient, state.read(pixels, 1), 1))
            if wanted.state:
                collected.add(pixels, convolutions.pointwise_input_gradient(half_gradient, weight, 1), 1)
        return by_weights, by_scale


BRANCHES: Final[dict[str, Callable[[Rectified, Call], tuple[Tensor, Branch]]]] = {
    "sep_conv_3x3": Separable.run,
    "sep_conv_5x5": Separable.run,
    "dil_conv_3x3": Dilated.run,
    "dil_conv_5x5": Dilated.run,
    "skip_connect": Reduced.run,
}
"""By the name of the operation; the skip connection with stride 2."""
