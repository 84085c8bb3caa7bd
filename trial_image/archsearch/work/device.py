"""The device as a trial must find it, and how PyTorch is set up on it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from archsearch.work.errors import UserError

NVIDIA_VARIABLE = "NVIDIA_VISIBLE_DEVICES"
NVIDIA_DEVICE = Path("/dev/nvidia0")


def check_device(found: torch.device) -> None:
    """UserError where the pod was given a GPU that PyTorch cannot use: on the CPU it would cost a hundred times more.

    A pod that asked for a GPU and was given none (a simulated node) is not told apart from one that asked for none.
    """
    given = os.environ.get(NVIDIA_VARIABLE, "void") not in ("", "void", "none") and NVIDIA_DEVICE.exists()
    if given and found.type != "cuda":
        raise UserError(
            f"the pod was given a GPU ({NVIDIA_DEVICE}), but PyTorch {torch.__version__} finds none: the node's driver "
            f"must support CUDA {torch.version.cuda}; upgrade the driver, or set trial.image to one with an older CUDA"
        )


def make_deterministic() -> None:
    """The same seed gives the same weights on the same device: no choice of an algorithm by a race between them."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
