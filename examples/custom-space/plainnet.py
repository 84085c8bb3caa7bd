"""A small residual network of a user's own: how deep it is, and which convolution each of its blocks has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from archsearch.networks import Alternatives, Chooser, Mix


def _convolution(kernel: int, groups: int, affine: bool) -> Callable[[int], nn.Module]:
    """Builds the block's operation for a number of channels."""
    return lambda channels: nn.Sequential(
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=min(groups, channels), bias=False),
        nn.BatchNorm2d(channels, affine=affine),
        nn.ReLU(),
    )


class PlainNet(nn.Module):
    """A stem, up to four residual blocks, the mean of the map, a linear head."""

    def __init__(
        self, chooser: Chooser, settings: Mapping[str, str], *, image_channels: int, classes: int, affine: bool
    ) -> None:
        super().__init__()
        channels = int(settings["channels"])
        convolutions = {
            "conv_3x3": _convolution(3, 1, affine),
            "conv_5x5": _convolution(5, 1, affine),
            "group_3x3": _convolution(3, 4, affine),
        }
        self.stem = nn.Conv2d(image_channels, channels, 3, stride=2, padding=1)
        self.depth = chooser.number("depth", (2, 3, 4))
        self.blocks = nn.ModuleList(
            chooser.operation(f"block/{block}", Alternatives(convolutions, channels))
            for block in range(max(self.depth.values))
        )
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor, mix: Mix | None = None) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        x = self.stem(images)
        for block in list(self.blocks)[: self.depth.now(mix)]:
            x = x + block(x, mix)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits
