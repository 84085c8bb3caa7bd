"""Log-mel frames: the logarithm of the energy of a signal in bands that are as wide as hearing has them."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

LEAST: Final = 1e-6
"""What is added to an energy before its logarithm is taken: silence has none."""


def mel(hertz: float) -> float:
    """The pitch of a frequency (O'Shaughnessy 1987, the formula of HTK)."""
    return 2595 * math.log10(1 + hertz / 700)


def hertz(pitch: float) -> float:
    """The frequency of a pitch."""
    return float(700 * (10 ** (pitch / 2595) - 1))


def filters(rate: int, size: int, mels: int) -> Tensor:
    """Triangles over the frequencies of a transform of so many samples, (mels, size // 2 + 1).

    Their corners are evenly apart in pitch, from 0 Hz to half the sample rate; each begins and ends in the middle of
    its neighbours, and is 1 in its own.
    """
    top = mel(rate / 2)
    corners = torch.tensor([hertz(top * at / (mels + 1)) for at in range(mels + 2)], dtype=torch.float64)
    frequencies = torch.arange(size // 2 + 1, dtype=torch.float64) * rate / size
    low, middle, high = (corners[at : at + mels, None] for at in range(3))
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return torch.minimum(rising, falling).clamp_min(0)


def transform_size(window: int) -> int:
    """The power of two that a window fits into, twice: the bands of low frequencies are narrow."""
    return int(2 ** math.ceil(math.log2(window) + 1))


def frame_count(samples: int, window: int, hop: int) -> int:
    """How many windows fit into a signal."""
    return 1 + (samples - window) // hop


def log_mel(waves: Tensor, rate: int, *, window: int, hop: int, mels: int) -> Tensor:
    """(N, samples), numbers from -1 to 1, to (N, mels, frames) float32. window, hop: in samples."""
    size = transform_size(window)
    windows = waves.unfold(1, window, hop) * torch.hann_window(window, periodic=True)  # (N, frames, window)
    power = torch.fft.rfft(windows, n=size).abs().square() / window
    energy = power @ filters(rate, size, mels).to(power.dtype).T
    return torch.log(energy + LEAST).transpose(1, 2).contiguous()
