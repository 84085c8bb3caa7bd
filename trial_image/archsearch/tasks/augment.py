"""Random changes of training images that keep their label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Augmentation = Literal["None", "Shift", "ShiftFlip"]


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """The images (N, C, H, W), each changed on its own; the same generator state gives the same images.

    Shift: padded with zeros by an eighth of each side (at least a pixel) and cropped at random, the recipe of CIFAR's 4
    pixels of 32 (He et al. 2016, section 4.2). ShiftFlip: mirrored with probability one half as well.
    generator: on the CPU, whatever device the images are on, so that every device sees the same changes.
    """
    if augmentation == "None":
        return images
    count, _, height, width = images.shape
    down, right = max(1, height // 8), max(1, width // 8)
    padded = functional.pad(images, (right, right, down, down))
    top = torch.randint(0, 2 * down + 1, (count, 1), generator=generator).to(images.device)
    left = torch.randint(0, 2 * right + 1, (count, 1), generator=generator).to(images.device)
    rows = top + torch.arange(height, device=images.device)  # (N, H)
    columns = left + torch.arange(width, device=images.device)  # (N, W)
    if augmentation == "ShiftFlip":
        mirrored = (torch.rand((count, 1), generator=generator) < 0.5).to(images.device)
        columns = torch.where(mirrored, columns.flip(1), columns)
    each = torch.arange(count, device=images.device)[:, None, None, None]
    channels = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[each, channels, rows[:, None, :, None], columns[:, None, None, :]]


def turned(
    images: Tensor, masks: Tensor, augmentation: Literal["None", "Flip", "FlipRotate"], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and masks (N, H, W), each pair changed on its own, and alike.

    Flip: mirrored left to right with probability one half. FlipRotate: one of the eight symmetries of a square, or of
    the four of a rectangle. generator: on the CPU, as for `augment`.
    """
    if augmentation == "None":
        return images, masks
    mirrored, upside, crossed = (torch.rand((3, len(images)), generator=generator) < 0.5).to(images.device)
    images, masks = _where(mirrored, images, masks, lambda x: x.flip(-1))
    if augmentation == "Flip":
        return images, masks
    images, masks = _where(upside, images, masks, lambda x: x.flip(-2))
    if images.shape[-2] != images.shape[-1]:
        return images, masks
    return _where(crossed, images, masks, lambda x: x.transpose(-1, -2))


def _where(changed: Tensor, images: Tensor, masks: Tensor, change: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    return (
        torch.where(changed[:, None, None, None], change(images), images),
        torch.where(changed[:, None, None], change(masks), masks),
    )
