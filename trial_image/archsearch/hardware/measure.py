"""What a network costs on the hardware at hand: latency, throughput and memory."""

from __future__ import annotations

import copy
import time

import numpy as np
import torch
from torch import nn

from archsearch.api.search import HardwareProfile, Latency, Profile
from archsearch.hardware.count import count
from archsearch.hardware.device import device_name, found_device
from archsearch.hardware.memory import peak_memory


def measure(
    network: nn.Module, shape: tuple[int, int, int], profile: Profile, device: torch.device | None = None
) -> HardwareProfile:
    """Run the network in evaluation mode on random batches of `profile.batch_size` images (C, H, W).

    Latency is that of one batch, each run timed on its own after `profile.warmup` runs: by the wall clock on the CPU,
    by events on CUDA, where a run starts when the one before has ended. Throughput is the batch size over the mean.
    Memory: see `peak_memory`; it is measured first, on the very first runs. The network given is left as it was.
    """
    device = device or found_device()
    parameters, flops = count(copy.deepcopy(network).to("meta"), shape)
    network = copy.deepcopy(network).to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    images = torch.rand(profile.batch_size, *shape, device=device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        memory = peak_memory(network, lambda: [network(images) for _ in range(2)])
        for _ in range(profile.warmup):
            network(images)
        seconds = _time(network, images, profile.iterations)
    p50, p95, p99 = (float(value) for value in np.percentile(seconds * 1000, (50, 95, 99)))
    return HardwareProfile(
        profile=profile.name,
        device=device_name(device),
        runtime=profile.runtime,
        batch_size=profile.batch_size,
        latency_ms=Latency(p50=p50, p95=p95, p99=p99),
        throughput=profile.batch_size / float(seconds.mean()),
        peak_memory_mib=memory,
        parameters=parameters,
        flops=flops,
    )


def _time(network: nn.Module, images: torch.Tensor, iterations: int) -> np.ndarray:
    """Seconds of each run."""
    if images.device.type == "cuda":
        return _time_cuda(network, images, iterations)
    seconds = np.empty(iterations)
    for index in range(iterations):
        start = time.perf_counter()
        network(images)
        seconds[index] = time.perf_counter() - start
    return seconds


def _time_cuda(network: nn.Module, images: torch.Tensor, iterations: int) -> np.ndarray:
    seconds = np.empty(iterations)
    with torch.cuda.device(images.device):  # events are recorded on the current device
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        for index in range(iterations):
            start.record()
            network(images)
            end.record()
            end.synchronize()
            seconds[index] = start.elapsed_time(end) / 1000
    return seconds
