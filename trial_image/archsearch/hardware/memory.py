"""The largest memory that running a network takes, weights included, above the process at rest."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

MEBIBYTE = 1024 * 1024
_REFERENCES = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def weight_bytes(network: nn.Module) -> int:
    """Bytes of all parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*network.parameters(), *network.buffers()))


def peak_memory(network: nn.Module, run: Callable[[], object]) -> float:
    """MiB in use at most while `run` runs the network, weights included, above the process without it.

    On CUDA: what PyTorch's allocator has handed out. On the CPU: resident memory, because oneDNN's working memory and
    the allocator's waste count against a pod's limit too and appear in no profiler. Memory that the process had used
    and freed before is first given back to the system, so that it counts when it is used again. Meant for a process
    that does nothing else meanwhile; the smallest networks drown in the noise of about 1 MiB.
    """
    weights = weight_bytes(network)
    device = next(network.parameters()).device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        rest = torch.cuda.memory_allocated(device) - weights
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - rest) / MEBIBYTE
    _give_back()
    process = psutil.Process()
    before = process.memory_info()
    with _high_water() as peak:
        run()
    # What was read of libraries on the way is shared, and dropped where memory is short: no use of the network's.
    code = _of_files(process.memory_info()) - _of_files(before)
    return (max(peak() - code, before.rss) - before.rss + weights) / MEBIBYTE


def _of_files(memory: Any) -> int:
    """Bytes of files in a process's memory; systems other than Linux do not say."""
    return int(getattr(memory, "shared", 0))


def _give_back() -> None:
    # Another C library keeps what it keeps: what it uses again is not seen, and the figure is a little small.
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextmanager
def _high_water() -> Iterator[Callable[[], int]]:
    """The largest resident size inside the block, in bytes, asked for after it."""
    try:
        _REFERENCES.write_text("5")  # the kernel forgets the largest size so far (proc(5))
    except OSError:
        with _sampled() as peak:
            yield peak
        return
    yield _kernels_high_water


def _kernels_high_water() -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@contextmanager
def _sampled() -> Iterator[Callable[[], int]]:
    """The same by looking every millisecond, for a sandbox whose kernel does not keep count."""
    process, done = psutil.Process(), threading.Event()
    largest = [process.memory_info().rss]

    def sample() -> None:
        while not done.wait(0.001):
            largest.append(max(largest.pop(), process.memory_info().rss))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield lambda: largest[0]
    finally:
        done.set()
        thread.join()
