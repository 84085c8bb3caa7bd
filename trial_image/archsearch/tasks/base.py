"""What every task hands to training: images in memory, split by purpose, and the error for data that is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


class DataError(ValueError):
    """Data that cannot be used. str() names the file, what is wrong, the value, and what to do."""


@dataclass(frozen=True)
class Arrays:
    """A data set as it was read: `train` and `test` images (N, H, W, C) uint8 and labels (N,) int64 from 0."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) uint8 with their labels (N,) int64, in memory."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Split:
        """The first so many images."""
        return Split(self.images[:count], self.labels[:count])

    def to(self, device: torch.device) -> Split:
        """The same images on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class ImageData:
    """Images for image classification, in four parts that share no image.

    weights and architecture: the two halves that train a supernet's weights and its architecture weights; together
    they train a network from scratch. selection: chooses between architectures. test: only for the final report.
    mean and std: of each channel over weights and architecture, on the scale of the images, 0 to 255.
    """

    shape: tuple[int, int, int]  # (C, H, W)
    classes: int
    weights: Split
    architecture: Split
    selection: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def training(self) -> Split:
        """All images that a network may be trained on: weights, then architecture."""
        return Split(
            torch.cat([self.weights.images, self.architecture.images]),
            torch.cat([self.weights.labels, self.architecture.labels]),
        )

    def normalise(self, images: Tensor) -> Tensor:
        """Float images with mean 0 and deviation 1 from images on the scale 0 to 255; (N, C, H, W) on any device."""
        return normalise(images, self.mean, self.std)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(images - mean) / std for each channel, in float32; (N, C, H, W)."""
    centre = torch.tensor(mean, dtype=torch.float32, device=images.device).view(1, -1, 1, 1)
    scale = torch.tensor(std, dtype=torch.float32, device=images.device).view(1, -1, 1, 1)
    return (images.float() - centre) / scale
