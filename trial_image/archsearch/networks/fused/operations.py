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
from archsearch.networks.fused.mixing import Found, Gradient, Mixing, Task, Wanted, mix
from archsearch.networks.fused.norms import Normalised, Statistics
from archsearch.networks.fused.state import Collected, Pixels, Rectified, Total

Norms = Sequence[Sequence[nn.BatchNorm2d]]
"""Of each normalisation of an operation those of all edges."""


class Call(NamedTuple):
    """What an operation is run with. scale: the mixing weight of each channel, (edges x C,)."""

    edges: int
    stride: int
    weights: Sequence[Tensor]
    norms: Norms
    scale: Tensor
    statistics: Statistics
    total: Total
    """What the output is added to."""
    keeps: bool
    """Whether the gradient of the weights is going to be asked for."""


class Branch(Protocol):
    """An operation after its forward pass: what it remembers of it."""

    def backward(
        self, gradient: Gradient, state: Rectified, collected: Collected, wanted: Wanted
    ) -> tuple[list[Tensor], Tensor | None]:
        """The gradients by its weights, in their order, and by the scale; that by the state goes to `collected`."""
        ...


@dataclass(frozen=True)
class Layer:
    """A depthwise convolution, a pointwise one and a normalisation."""

    kernel: Tensor
    stride: int
    dilation: int
    mixing: Mixing

    @classmethod
    def run(cls, x: Tensor, call: Call, at: int, total: Total, *, stride: int, dilation: int = 1) -> Layer:
        """Add the output of layer `at` of an operation to the total; that of the last one times its mixing weight."""
        kernel, weight = call.weights[2 * at : 2 * at + 2]
        scale = call.scale if at == len(call.norms) - 1 else None
        task = Task(weight, call.edges, call.norms[at], scale, call.keeps)
        mixing = mix(convolutions.depthwise(x, kernel, stride, dilation), task, call.statistics, total)
        return cls(kernel, stride, dilation, mixing)

    def weights(self, found: Found, x: Tensor) -> list[Tensor]:
        """The gradients by the weights, where they are there to be found. x: what the layer saw."""
        if found.by_input is None or found.by_weight is None:
            return []
        size = self.kernel.shape[-1]
        by_kernel = convolutions.kernel_gradient(x, found.by_input, size, self.stride, self.dilation)
        return [by_kernel, found.by_weight]

    def by_input(self, found: Found, x: Tensor, total: Tensor | None = None) -> Tensor:
        """The gradient by the layer's input, added to the total where there is one."""
        assert found.by_input is not None  # noqa: S101 - it was asked for
        return convolutions.depthwise_input_gradient(found.by_input, self.kernel, x, self.stride, self.dilation, total)


@dataclass(frozen=True)
class Separable:
    """ReLU and layer, twice; the stride is in the first. hidden: what the second layer sees."""

    first: Layer
    second: Layer
    edges: int
    hidden: Tensor

    @classmethod
    def run(cls, state: Rectified, call: Call) -> Separable:
        """Add the output, times its mixing weight, to the total."""
        between = Total()
        first = Layer.run(state.read("all", call.edges), call, 0, between, stride=call.stride)
        hidden = torch.relu_(between.close())
        return cls(first, Layer.run(hidden, call, 1, call.total, stride=1), call.edges, hidden)

    def backward(
        self, gradient: Gradient, state: Rectified, collected: Collected, wanted: Wanted
    ) -> tuple[list[Tensor], Tensor | None]:
        """As Branch has it."""
        found = self.second.mixing.backward(gradient, wanted)
        by_scale = found.by_scale
        if not wanted.beyond:
            return [], by_scale
        by_second = self.second.weights(found, self.hidden)
        by_hidden = Gradient(before_relu(self.second.by_input(found, self.hidden), self.hidden))
        found = self.first.mixing.backward(by_hidden, wanted._replace(mix=False))
        x = state.read("all", self.edges)
        by_first = self.first.weights(found, x)
        if wanted.state:
            collected.grow("all", lambda total: self.first.by_input(found, x, total))
        return by_first + by_second, by_scale


@dataclass(frozen=True)
class Dilated:
    """ReLU and a layer with dilation 2. With stride 2 it sees the even pixels alone, as neighbours."""

    layer: Layer
    edges: int
    pixels: Pixels

    @classmethod
    def run(cls, state: Rectified, call: Call) -> Dilated:
        """Add the output, times its mixing weight, to the total."""
        pixels: Pixels = "all" if call.stride == 1 else "even"
        x = state.read(pixels, call.edges)
        layer = Layer.run(x, call, 0, call.total, stride=1, dilation=2 // call.stride)
        return cls(layer, call.edges, pixels)

    def backward(
        self, gradient: Gradient, state: Rectified, collected: Collected, wanted: Wanted
    ) -> tuple[list[Tensor], Tensor | None]:
        """As Branch has it."""
        found = self.layer.mixing.backward(gradient, wanted)
        if not wanted.beyond:
            return [], found.by_scale
        x = state.read(self.pixels, self.edges)
        by_weights = self.layer.weights(found, x)
        if wanted.state:
            collected.grow(self.pixels, lambda total: self.layer.by_input(found, x, total))
        return by_weights, found.by_scale


HALVES: Final[tuple[Pixels, Pixels]] = ("even", "odd")


@dataclass(frozen=True)
class Reduced:
    """The skip connection with stride 2: one half of the channels sees the even pixels, the other the odd ones."""

    edges: int
    weights: Sequence[Tensor]
    normalised: Normalised

    @classmethod
    def run(cls, state: Rectified, call: Call) -> Reduced:
        """Add the output, times its mixing weight, to the total."""
        # All edges see the same pixels: one convolution with the outputs of all.
        halves = [
            edgewise(convolutions.pointwise(state.read(pixels, 1), weight, 1), call.edges)
            for pixels, weight in zip(HALVES, call.weights, strict=True)
        ]
        joined = outer(torch.cat(halves, dim=-1).flatten(-2))
        output, normalised = call.statistics.normalise(joined, call.norms[0], call.scale)
        call.total.give(output)
        return cls(call.edges, call.weights, normalised)

    def backward(
        self, gradient: Gradient, state: Rectified, collected: Collected, wanted: Wanted
    ) -> tuple[list[Tensor], Tensor | None]:
        """As Branch has it."""
        before, by_scale = self.normalised.backward(gradient.map, by_input=wanted.beyond, by_scale=wanted.mix)
        if not wanted.beyond:
            return [], by_scale
        outputs = [len(weight) // self.edges for weight in self.weights]
        halves = torch.split(edgewise(before, self.edges), outputs, dim=-1)
        by_weights = []
        for pixels, weight, half in zip(HALVES, self.weights, halves, strict=True):
            half_gradient = channels_last(outer(half.flatten(-2)))
            if wanted.weights:
                by_weights.append(convolutions.pointwise_weight_gradient(half_gradient, state.read(pixels, 1), 1))
            if wanted.state:
                collected.add(pixels, convolutions.pointwise_input_gradient(half_gradient, weight, 1), 1)
        return by_weights, by_scale


BRANCHES: Final[dict[str, Callable[[Rectified, Call], Branch]]] = {
    "sep_conv_3x3": Separable.run,
    "sep_conv_5x5": Separable.run,
    "dil_conv_3x3": Dilated.run,
    "dil_conv_5x5": Dilated.run,
    "skip_connect": Reduced.run,
}
"""By the name of the operation; the skip connection with stride 2."""
