"""Projections of concatenations of which parts may be missing, so that networks of other parts share the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.networks.operations import from_odd_pixels


class Joined(nn.Module):
    """A 1 x 1 convolution of a concatenation, with a named slice of weights for each part.

    It is the bank of weights with which ENAS projects whatever a sampled path leaves over (Pham et al. 2018, published
    code): any of the parts may be missing in a pass, and a network that lacks one has the other slices alone.

    parts: channels of each part.
    """

    def __init__(self, parts: Mapping[str, int], outputs: int, stride: int = 1) -> None:
        super().__init__()
        whole = nn.Conv2d(sum(parts.values()), outputs, 1, bias=False).weight.detach()
        slices = torch.split(whole, list(parts.values()), dim=1)
        self.weights = nn.ParameterDict(
            {name: nn.Parameter(part.clone()) for name, part in zip(parts, slices, strict=True)}
        )
        self.stride = stride

    def forward(self, x: Tensor, parts: Sequence[str]) -> Tensor:
        """(N, channels of the parts together, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        return F.conv2d(x, torch.cat([self.weights[part] for part in parts], dim=1), stride=self.stride)


class Projection(nn.Module):
    """ReLU, a 1 x 1 convolution of the parts together, batch normalisation.

    reduces: half as high and wide, one half of the channels from the even pixels and one from the odd ones.
    """

    def __init__(self, parts: Mapping[str, int], outputs: int, *, affine: bool, reduces: bool = False) -> None:
        super().__init__()
        halves = (outputs // 2, outputs - outputs // 2) if reduces else (outputs,)
        self.joined = nn.ModuleList(Joined(parts, half, stride=len(halves)) for half in halves)
        self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, parts: Mapping[str, Tensor]) -> Tensor:
        """(N, channels, H, W) of each part that there is -> (N, outputs, H, W)."""
        x = F.relu(torch.cat(list(parts.values()), dim=1))
        pixels = [x, from_odd_pixels(x)] if len(self.joined) > 1 else [x]
        halves = [joined(seen, tuple(parts)) for joined, seen in zip(self.joined, pixels, strict=True)]
        normalised: Tensor = self.norm(torch.cat(halves, dim=1))
        return normalised
