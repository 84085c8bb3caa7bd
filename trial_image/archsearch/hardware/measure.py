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
from archsearch.networks.inputs import Inputs, each, laid_out, repeated, tensors


def measure(
    network: nn.Module, inputs: Inputs, profile: Profile, device: torch.device | None = None
) -> HardwareProfile:
    """Run the network in evaluation mode on batches of `profile.batch_size` examples.

    inputs: examples of what it takes, which are repeated where there are fewer.

    Latency is that of one batch, each run timed on its own after `profile.warmup` runs: by the wall clock on the CPU,
    by events on CUDA, where a run starts when the one before has ended. Throughput is the batch size over the mean.
    Memory: see `peak_memory`; it is measured first, on the very first runs. The network given is left as it was.
    """
    device = device or found_device()
    parameters, flops = count(copy.deepcopy(network).to("meta"), inputs)
    network = on_device(network, device)
    batch = batch_of(inputs, profile, device)
    with torch.inference_mode():
        memory = peak_memory(network, lambda: [network(batch) for _ in range(2)])
        for _ in range(profile.warmup):
            network(batch)
        seconds = np.array([seconds_of(network, batch) for _ in range(profile.iterations)])
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


def on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """A copy in evaluation mode, laid out as it is measured."""
    copied: nn.Module = copy.deepcopy(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return copied.eval()


def batch_of(inputs: Inputs, profile: Profile, device: torch.device) -> Inputs:
    """A batch of the profile's size, on the device, laid out as it is measured."""
    return laid_out(each(lambda x: x.to(device), repeated(inputs, profile.batch_size)))


def seconds_of(network: nn.Module, batch: Inputs) -> float:
    """Of one run: by the wall clock on the CPU, by events on CUDA."""
    device = tensors(batch)[0].device
    if device.type != "cuda":
        before = time.perf_counter()
        network(batch)
        return time.perf_counter() - before
    with torch.cuda.device(device):  # events are recorded on the current device
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()
        network(batch)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000
