"""Counts against hand counts, measurements against what arithmetic allows."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from archsearch.api.search import Profile
from archsearch.hardware import activation_mib, count, device_name, measure, memory, peak_memory
from archsearch.hardware import device as device_module

MEBIBYTE = 1024 * 1024


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False),  # depthwise
        nn.Conv2d(16, 32, 1, bias=False), nn.Conv2d(32, 32, 3, padding=2, dilation=2, bias=False),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def test_counts_equal_a_count_by_hand() -> None:
    parameters = 16 * 3 * 9 + 2 * 16 + 16 * 9 + 32 * 16 + 32 * 32 * 9 + 32 * 10 + 10
    multiply_adds = 8 * 8 * (16 * 3 * 9) + 4 * 4 * (16 * 9) + 4 * 4 * (32 * 16) + 4 * 4 * (32 * 32 * 9) + 32 * 10
    assert count(network(), torch.zeros(1, 3, 8, 8)) == (parameters, 2 * multiply_adds)


def test_counts_are_the_same_without_memory_or_arithmetic() -> None:
    with torch.device("meta"):
        light = network()
    assert count(light, torch.zeros(1, 3, 32, 32)) == count(network(), torch.zeros(1, 3, 32, 32))
    assert light.training


def test_frozen_weights_are_not_parameters() -> None:
    linear = nn.Linear(4, 3)
    linear.weight.requires_grad_(False)
    assert count(nn.Sequential(nn.Flatten(), linear), torch.zeros(1, 1, 2, 2)) == (3, 24)


class Sleeping(nn.Module):
    """Takes 3 ms, and every tenth time 12 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        if images.device.type == "cpu":  # not while counting
            self.calls += 1
            time.sleep(0.012 if self.calls % 10 == 0 else 0.003)
        return images.flatten(1) * self.weight


def test_latency_and_throughput_are_those_of_a_batch() -> None:
    profile = measure(Sleeping(), torch.zeros(1, 1, 4, 4), Profile(name="here", batch_size=5, warmup=1, iterations=60))
    assert (profile.profile, profile.runtime, profile.batch_size) == ("here", "Torch", 5)
    assert 3 <= profile.latency_ms.p50 < 8
    assert profile.latency_ms.p50 < profile.latency_ms.p95
    assert 12 <= profile.latency_ms.p95 <= profile.latency_ms.p99
    # 54 runs of 3 ms and 6 of 12 ms: 3.9 ms on average at least
    assert profile.throughput <= 5 / 0.0039
    assert profile.throughput > 5 / 0.012


def test_a_measured_network_is_left_as_it_was() -> None:
    given = network()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    profile = measure(given, torch.zeros(1, 3, 8, 8), Profile(name="here", warmup=1, iterations=10))
    assert given.training
    assert all(torch.equal(before[name], value) for name, value in given.state_dict().items())
    assert (profile.parameters, profile.flops) == count(given, torch.zeros(1, 3, 8, 8))
    assert profile.device == device_name(torch.device("cpu"))


def test_activations_are_what_autograd_keeps_of_one_image() -> None:
    """By hand: a convolution keeps its input, BatchNorm its own (and two numbers a channel), ReLU its output."""
    given = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    found = activation_mib(given, torch.zeros(1, 3, 8, 8)) * 2**20
    images, maps, statistics = 3 * 64 * 4, 4 * 64 * 4, 2 * 4 * 4 / 2
    assert found == images + 2 * maps + statistics
    assert given[1].num_batches_tracked == 0


MEMORY = """
import torch
from torch import nn
from archsearch.hardware import peak_memory

class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8 * 2**20))  # 32 MiB

    def forward(self, images):
        return (images.repeat(2**20, 1) * self.weight[:16]).sum()  # 64 MiB, twice

network = Wide()
torch.ones(50 * 2**20).sum()  # used before and freed: must not hide what follows
with torch.no_grad():
    print(peak_memory(network, lambda: network(torch.ones(1, 16))))
"""


def test_peak_memory_is_the_weights_and_what_lives_at_once() -> None:
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True,
                         env={"PYTHONPATH": "trial_image", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
                         cwd=Path(__file__).parents[2])  # fmt: skip
    assert float(run.stdout) == pytest.approx(32 + 128, abs=2)


def test_peak_memory_without_the_kernels_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_REFERENCES", tmp_path / "missing" / "clear_refs")
    network = nn.Linear(4, 4)

    def run() -> None:
        held = torch.ones(24 * MEBIBYTE)  # 96 MiB
        time.sleep(0.1)
        del held

    assert peak_memory(network, run) == pytest.approx(96, abs=8)


def test_memory_grows_with_the_batch() -> None:
    wide = nn.Sequential(nn.Conv2d(1, 32, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    image = torch.zeros(1, 1, 64, 64)
    one, many = (measure(wide, image, Profile(name="here", batch_size=size, warmup=1, iterations=10))
                 for size in (1, 128))  # fmt: skip
    activation = 128 * 32 * 64 * 64 * 4 / MEBIBYTE  # 64 MiB
    assert one.peak_memory_mib < 16
    assert activation <= many.peak_memory_mib < 4 * activation


def test_the_cpu_is_named_with_its_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    information = tmp_path / "cpuinfo"
    information.write_text("processor\t: 0\nmodel name\t: Some   CPU @ 2 GHz\n")
    monkeypatch.setattr(device_module, "CPU_INFORMATION", information)
    threads = torch.get_num_threads()
    assert device_name(torch.device("cpu")) == f"Some CPU @ 2 GHz, {threads} thread{'s' if threads > 1 else ''}"
    information.write_text("model name\t: " + "x" * 500)
    assert len(device_name(torch.device("cpu"))) == 128
    monkeypatch.setattr(device_module, "CPU_INFORMATION", tmp_path / "absent")
    assert device_name(torch.device("cpu")).startswith("x86_64")
