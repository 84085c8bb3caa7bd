"""The same work on a GPU: training, checkpoints, latency and memory, for wherever there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from archsearch.api.search import Profile
from archsearch.hardware import measure, peak_memory

if TYPE_CHECKING:
    from tests.work.conftest import Stopping, Workplace

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")

FASTEST = 1e15
"""Operations a second that no GPU reaches in float32."""


@pytest.mark.parametrize("kind", ["Train", "Supernet"])
def test_a_training_on_the_gpu_is_resumed_and_learns(
    workplace: Workplace, cell: dict[str, Any], stopping: type[Stopping], kind: str
) -> None:
    spec = {} if kind == "Supernet" else {"architecture": cell, "epochs": 4}
    algorithm = {"differentiable": {"order": "Second", "epochs": 2, "batchSize": 128}}
    document = workplace.document(kind, spec=spec, algorithm=algorithm)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    interrupted = workplace.run(document, stopping(after=7))
    assert interrupted.code == 143
    assert f"device: {torch.cuda.get_device_name(0)}" in interrupted.log
    assert torch.cuda.max_memory_allocated() > before
    ending = workplace.run(document)
    assert ending.code == 0
    assert any("going on from a checkpoint" in line for line in ending.log)
    if kind == "Train":
        assert ending.message.metrics["accuracy"] > 0.2


def test_a_profile_is_measured_on_the_gpu(workplace: Workplace, cell: dict[str, Any]) -> None:
    profile = {"name": "gpu", "batchSize": 4, "warmup": 3, "iterations": 20}
    document = workplace.document("Profile", spec={"architecture": cell, "profile": "gpu"}, profile=profile)
    found = workplace.run(document).message.profile
    assert found is not None
    assert found.device == torch.cuda.get_device_name(0)
    assert 0 < found.latency_ms.p50 <= found.latency_ms.p95
    assert 0 < found.peak_memory_mib < 64


class Products(nn.Module):
    """Ten products of 4,096 x 4,096 matrices: launched in a moment, computed in more than a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4096, 4096), 1 / 4096))

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(1)
        for _ in range(10):
            rows = rows @ self.weight
        return rows


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason="there is no second CUDA device"))])  # fmt: skip
def test_latency_is_that_of_the_computation_on_any_device(number: int) -> None:
    profile = Profile(name="gpu", batch_size=4096, warmup=2, iterations=10)
    found = measure(Products(), torch.zeros(1, 1, 64, 64), profile, torch.device("cuda", number))
    assert found.flops == 10 * 2 * 4096**2
    assert found.latency_ms.p50 > found.flops * 4096 / FASTEST * 1000
    assert found.throughput == pytest.approx(4096 / (found.latency_ms.p50 / 1000), rel=0.5)


def test_peak_memory_is_the_weights_and_what_lives_at_once() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8 * 2**20))  # 32 MiB

        def forward(self, images: Tensor) -> Tensor:
            return (images.repeat(2**20, 1) * self.weight[:16]).sum()  # 64 MiB, twice

    network, images = Wide().cuda(), torch.ones(1, 16, device="cuda")
    with torch.no_grad():
        assert peak_memory(network, lambda: network(images)) == pytest.approx(32 + 128, abs=1)
