"""Random numbers that depend on names, not on the order in which they are asked for."""

from __future__ import annotations

import numpy as np
import torch


def derive(seed: int, *place: int) -> int:
    """A seed for one place, such as (epoch, step), below 2^63. Places differ in everything that is drawn there."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, *place: int) -> torch.Generator:
    """A CPU generator for one place: nothing of it must be saved to go on from there."""
    return torch.Generator().manual_seed(derive(seed, *place))
