"""What networks that answer for places of an image have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

RATES: Final = (2, 4)
"""Those of DeepLab are 6 to 24, for maps of 513 pixels; cells have smaller ones here."""


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) -> (N, C, *size), with straight lines between the pixels."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


class AtrousHead(nn.Module):
    """The scores of each place of a map: a sum over convolutions that look farther and farther around.

    DeepLab's atrous pyramid (Chen et al. 2018, section 3.2) in its small form, without layers of its own. It is linear
    and has no bias, so that in a mixture a map's weight is the weight of its scores.
    """

    def __init__(self, channels: int, classes: int, rates: Sequence[int] = RATES) -> None:
        super().__init__()
        self.point = nn.Conv2d(channels, classes, 1, bias=False)
        self.around = nn.ModuleList(
            nn.Conv2d(channels, classes, 3, padding=rate, dilation=rate, bias=False) for rate in rates
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, classes, H, W)."""
        scores: Tensor = self.point(x)
        for convolution in self.around:
            scores = scores + convolution(x)
        return scores
