"""What networks that answer for places of an image have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

RATES: Final = (2, 4)
"""Those of DeepLab are 6 to 24, for maps of 513 pixels; cells have smaller ones here."""


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) -> (N, C, *size), with straight lines between the pixels."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


class Decoder(nn.Module):
    """From a coarse map of the image's size to classes, with the image itself beside it, which has the borders.

    In the manner of DeepLabv3+ (Chen et al. 2018, section 3.1), as after Auto-DeepLab's cells; that takes an early map
    of the network, a quarter as high and wide as the image, which would be too coarse for small ones.
    """

    def __init__(self, image_channels: int, channels: int, classes: int) -> None:
        super().__init__()
        self.early = nn.Conv2d(image_channels, channels, 3, padding=1, bias=False)
        self.merge = nn.Sequential(
            nn.BatchNorm2d(2 * channels), nn.ReLU(),
            nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        )  # fmt: skip
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, images: Tensor, x: Tensor) -> Tensor:
        """(N, image_channels, H, W) and (N, channels, H, W) -> (N, classes, H, W)."""
        scores: Tensor = self.classifier(self.merge(torch.cat([self.early(images), x], dim=1)))
        return scores


class AtrousHead(nn.Module):
    """What each place of a map is worth: a sum over convolutions that look farther and farther around.

    DeepLab's atrous pyramid (Chen et al. 2018, section 3.2) in its small form, without layers of its own. It is linear
    and has no bias, so that in a mixture a map counts with its weight.
    """

    def __init__(self, channels: int, outputs: int, rates: Sequence[int] = RATES) -> None:
        super().__init__()
        self.point = nn.Conv2d(channels, outputs, 1, bias=False)
        self.around = nn.ModuleList(
            nn.Conv2d(channels, outputs, 3, padding=rate, dilation=rate, bias=False) for rate in rates
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, outputs, H, W)."""
        scores: Tensor = self.point(x)
        for convolution in self.around:
            scores = scores + convolution(x)
        return scores
