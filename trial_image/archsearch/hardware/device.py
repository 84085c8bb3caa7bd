"""The device that is there, whatever was asked for."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

CPU_INFORMATION = Path("/proc/cpuinfo")
MAX_NAME = 128


def found_device() -> torch.device:
    """The first CUDA device where there is one, otherwise the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def device_name(device: torch.device) -> str:
    """What the device calls itself: `NVIDIA H100 80GB HBM3`, or `Intel(R) Xeon(R) Processor, 2 threads`.

    Threads are those that PyTorch uses: they decide the speed, not the cores of the node.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)[:MAX_NAME]
    threads = torch.get_num_threads()
    suffix = f", {threads} thread{'s' if threads > 1 else ''}"
    return _processor()[: MAX_NAME - len(suffix)] + suffix


def _processor() -> str:
    try:
        lines = CPU_INFORMATION.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine() or "CPU"  # ARM's cpuinfo has no model name
