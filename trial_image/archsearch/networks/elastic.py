"""Layers of which a part can be used alone (Cai et al. 2020, section 3.3), and the chain that is made of them.

A part of a layer is its first channels and the middle of its kernels; parts share these weights, and the statistics and
parameters of the batch normalisations. Unlike in Once-for-all, a smaller kernel is the middle of a larger one as it is,
without a learnt transformation. A fixed network's layers are as large as its architecture says, and no larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import ChainSize, ElasticChain
from archsearch.networks.chains import ChainNetwork, scaled
from archsearch.networks.chooser import Chooser, Mix, Number
from archsearch.spaces.elastic import depth_name, expansion_name, kernel_name


def crop(whole: Tensor, shape: Sequence[int]) -> Tensor:
    """A part of a layer's tensor, as a view: the first channels, and the middle of a kernel's height and width.

    Raises ValueError where the whole is smaller, or a kernel has no middle of this size.
    """
    if whole.dim() != len(shape):
        raise ValueError(f"a part must have {whole.dim()} dimensions, but got {tuple(shape)}")
    left_over = [have - want for have, want in zip(whole.shape, shape, strict=True)]
    if any(left < 0 for left in left_over) or any(left % 2 for left in left_over[2:]):
        raise ValueError(f"a part of {tuple(whole.shape)} must fit in its middle, but got {tuple(shape)}")
    part = whole
    for dimension, (left, want) in enumerate(zip(left_over, shape, strict=True)):
        part = part.narrow(dimension, left // 2 if dimension > 1 else 0, want)
    return part


class ElasticConv(nn.Conv2d):
    """A convolution that computes so many output channels with a kernel of so many pixels, from what comes in."""

    def forward(self, x: Tensor, outputs: int, kernel: int) -> Tensor:  # type: ignore[override]
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        groups = outputs if self.groups > 1 else 1  # depthwise or not at all
        weight = crop(self.weight, (outputs, x.shape[1] // groups, kernel, kernel))
        return F.conv2d(x, weight, stride=self.stride, padding=kernel // 2, groups=groups)


class ElasticNorm(nn.BatchNorm2d):
    """A batch normalisation of the first channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), C being at most what it was built for."""
        channels = x.shape[1]
        if channels == self.num_features:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None  # noqa: S101, PT018 - it was built so
        tracks = self.track_running_stats or not self.training
        momentum = self.momentum or 0.0
        if self.training and tracks:
            assert self.num_batches_tracked is not None  # noqa: S101
            self.num_batches_tracked.add_(1)
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        return F.batch_norm(
            x,
            self.running_mean[:channels] if tracks else None,
            self.running_var[:channels] if tracks else None,
            self.weight[:channels],
            self.bias[:channels],
            self.training,
            momentum,
            self.eps,
        )


class ElasticLayer(nn.Module):
    """An inverted bottleneck with a kernel and inner channels that are chosen, within the largest ones."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Number, expansion: Number, *, stride: int, residual: bool
    ) -> None:
        super().__init__()
        inner, largest = inputs * max(expansion.values), max(kernel.values)
        self.expand, self.expand_norm = ElasticConv(inputs, inner, 1, bias=False), ElasticNorm(inner)
        self.depthwise = ElasticConv(inner, inner, largest, stride, groups=inner, bias=False)
        self.depthwise_norm = ElasticNorm(inner)
        self.project, self.project_norm = ElasticConv(inner, outputs, 1, bias=False), ElasticNorm(outputs)
        self.outputs, self.residual = outputs, residual
        self._kernel, self._expansion = kernel, expansion

    def forward(self, x: Tensor, mix: Mix | None) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        inner = x.shape[1] * self._expansion.now(mix)
        y: Tensor = F.relu6(self.expand_norm(self.expand(x, inner, 1)))
        y = F.relu6(self.depthwise_norm(self.depthwise(y, inner, self._kernel.now(mix))))
        y = self.project_norm(self.project(y, self.outputs, 1))
        return x + y if self.residual else y


class ElasticStage(nn.ModuleList):
    """Layers of which the first ones can be used alone."""

    def __init__(self, depth: Number, layers: Sequence[nn.Module]) -> None:
        super().__init__(layers)
        self._depth = depth

    def forward(self, x: Tensor, mix: Mix | None) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W), or smaller by the stage's stride."""
        for layer in list(self)[: self._depth.now(mix)]:
            x = layer(x, mix)
        return x


def elastic_network(
    chooser: Chooser,
    settings: ElasticChain,
    size: ChainSize,
    *,
    signature: Signature,
    affine: bool,  # noqa: ARG001 - nothing is mixed, so that normalisations have parameters in the supernet as well
) -> ChainNetwork:
    """The network of an elastic chain; the largest one is the supernet."""
    kernels, expansions = sorted(settings.kernels), sorted(settings.expansions)
    given = [settings.stem.separable or settings.stem.channels, *(stage.channels for stage in settings.stages)]
    stages = []
    for index, (stage, (inputs, outputs)) in enumerate(zip(settings.stages, pairwise(given), strict=True)):
        depth = chooser.number(depth_name(index), sorted(stage.depths))
        layers = [
            ElasticLayer(
                scaled(outputs if layer else inputs, size.width_percent),
                scaled(outputs, size.width_percent),
                chooser.number(kernel_name(index, layer), kernels),
                chooser.number(expansion_name(index, layer), expansions),
                stride=1 if layer else stage.stride,
                residual=layer > 0 or (stage.stride == 1 and inputs == outputs),
            )
            for layer in range(max(depth.values))
        ]
        stages.append(ElasticStage(depth, layers))
    outputs = scaled(given[-1], size.width_percent)
    return ChainNetwork(settings, size, stages, outputs, signature=signature)
