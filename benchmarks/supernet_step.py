"""How long a step of a DARTS search takes, beside the published loop.

    python -m benchmarks.supernet_step --rows reference,rival,ours [--threads 1] [--steps 7] [--order first] [--json]

A step moves the architecture weights (Adam) and then the network weights (SGD with momentum and a clipped gradient)
on random images, with the constants of Liu et al. (2019, appendix A.1). All rows run in one process, one step of each
after the other, so that what else the machine does meets all alike; with `--threads 1` it is pinned to one core.
Memory that a row frees stays with the process: a search, alone in its own, does not pay for pages of others either.

reference: the published loop, written from the paper: all eight operations with `none` among them, the gradient of
everything in both halves of a step. rival: the same with only the gradients that are needed, and the channels
innermost in memory. ours: what a search runs. In second order the first two share the project's arithmetic of the
paper's equation 8, on their own networks.

--other NAME=FILE:FUNCTION adds a row: `FUNCTION(channels, cells, batch, device, dtype) -> Callable[[], None]` in a
Python file, whose result makes one step whenever it is called. channels, cells and batch are numbers, the others
torch's; images are 32 x 32 x 3 in 10 classes, float32.

Seconds are of the wall; beside them stands the process' time on the CPU, which waits for nobody. Peak memory is what
two steps need above what the process has when the row is built, each row in a process of its own (Linux, or CUDA's
own count). With --json: the median seconds of each row under its name, and `quartiles`, `cpu_seconds`,
`ratio_to_reference`, `peak_memory_mib`, `steps`, `threads`, `device`, `torch`.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from archsearch.api import DartsCells
from archsearch.api import Space as SpaceSpec
from archsearch.api.differentiable import Differentiable
from archsearch.api.signature import image_signature
from archsearch.networks import supernet
from archsearch.networks.operations import DARTS_OPERATIONS, FactorizedReduce, ReluConvNorm
from archsearch.spaces import space_of
from archsearch.supernets import Bilevel, Recipe
from archsearch.supernets.gradients import frozen, second_order
from archsearch.tasks import ImageData, Split

Step = Callable[[], None]
MakeStep = Callable[[int, int, int, torch.device, torch.dtype], Step]

NODES, CLASSES, SIZE = 4, 10, 32
LEARNING_RATE, MOMENTUM, DECAY, CLIP = 0.025, 0.9, 3e-4, 5.0
ALPHA_LEARNING_RATE, ALPHA_BETAS, ALPHA_DECAY = 3e-4, (0.5, 0.999), 1e-3
OPERATIONS: Final = tuple(DARTS_OPERATIONS)


class Mixed(nn.Module):
    """Equation 2 of the paper: every operation times its weight."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.operations = nn.ModuleList(build(channels, stride, False) for build in DARTS_OPERATIONS.values())

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(N, C, H, W) and (operations,) -> the weighted sum."""
        return sum((weight * each(x) for weight, each in zip(weights, self.operations, strict=True)), torch.zeros(()))


class PublishedCell(nn.Module):
    """Section 2.1 of the paper: each node is the sum of mixtures of all earlier states."""

    def __init__(self, inputs: tuple[int, int], channels: int, *, reduces: bool, previous_reduces: bool) -> None:
        super().__init__()
        self.reduces = reduces
        self.before_previous: nn.Module = (
            FactorizedReduce(inputs[0], channels, False)
            if previous_reduces
            else ReluConvNorm(inputs[0], channels, 1, 1, False)
        )
        self.previous = ReluConvNorm(inputs[1], channels, 1, 1, False)
        self.edges = nn.ModuleList(
            Mixed(channels, 2 if reduces and source < 2 else 1) for node in range(NODES) for source in range(node + 2)
        )

    def forward(self, before_previous: Tensor, previous: Tensor, weights: Tensor) -> Tensor:
        """weights: (edges, operations)."""
        states, first = [self.before_previous(before_previous), self.previous(previous)], 0
        for _ in range(NODES):
            terms = [self.edges[first + at](state, weights[first + at]) for at, state in enumerate(states)]
            first += len(states)
            states.append(sum(terms[1:], terms[0]))
        return torch.cat(states[2:], dim=1)


class Published(nn.Module):
    """The search network of section 3.1, and its architecture weights, which are no parameters."""

    def __init__(self, channels: int, cells: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        outputs, reduced = 3 * channels, False
        self.stem = nn.Sequential(nn.Conv2d(3, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))
        self.cells = nn.ModuleList()
        inputs = (outputs, outputs)
        for index in range(cells):
            reduces = index in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduces else 1
            self.cells.append(PublishedCell(inputs, channels, reduces=reduces, previous_reduces=reduced))
            inputs, reduced = (inputs[1], NODES * channels), reduces
        self.classifier = nn.Linear(inputs[1], CLASSES)
        self.to(device, dtype)
        edges = sum(range(2, NODES + 2))
        self.alphas = [
            (1e-3 * torch.randn(edges, len(OPERATIONS), device=device, dtype=dtype)).requires_grad_() for _ in range(2)
        ]

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        normal, reduction = (torch.softmax(alpha, dim=-1) for alpha in self.alphas)
        before_previous = previous = self.stem(images)
        for cell in self.cells:
            weights = reduction if cell.reduces else normal
            before_previous, previous = previous, cell(before_previous, previous, weights)
        logits: Tensor = self.classifier(previous.mean((2, 3)))
        return logits


def published_step(
    channels: int, cells: int, batch: int, device: torch.device, dtype: torch.dtype, *, lean: bool, second: bool
) -> Step:
    """Both halves of a step. lean: only the needed gradients, and the channels innermost."""
    network = Published(channels, cells, device, dtype)
    if lean:
        network = network.to(memory_format=torch.channels_last)
    weights, alphas = list(network.parameters()), network.alphas
    alpha_optimiser = torch.optim.Adam(alphas, ALPHA_LEARNING_RATE, ALPHA_BETAS, weight_decay=ALPHA_DECAY)
    weight_optimiser = torch.optim.SGD(weights, LEARNING_RATE, MOMENTUM, weight_decay=DECAY)
    draw = drawing(batch, device, dtype, channels_last=lean)

    def loss_on(data: Split) -> Tensor:
        return functional.cross_entropy(network(data.inputs), data.targets)

    def step() -> None:
        training, validation = draw(), draw()
        if second:
            found = second_order(lambda: loss_on(training), lambda: loss_on(validation), alphas, weight_optimiser)
            for alpha, gradient in zip(alphas, found, strict=True):
                alpha.grad = gradient
        elif lean:
            with frozen(weights):
                loss_on(validation).backward()  # type: ignore[no-untyped-call]
        else:
            loss_on(validation).backward()  # type: ignore[no-untyped-call]
        alpha_optimiser.step()
        alpha_optimiser.zero_grad()
        weight_optimiser.zero_grad()
        with frozen(alphas if lean else []):
            loss_on(training).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, CLIP)
        weight_optimiser.step()

    return step


def our_step(channels: int, cells: int, batch: int, device: torch.device, dtype: torch.dtype, *, second: bool) -> Step:
    """A step of the search as a trial runs it, with the same updates."""
    stack = {"nodes": NODES, "operations": OPERATIONS, "search": {"channels": channels, "cells": cells}}
    space = space_of(SpaceSpec(darts_cells=DartsCells.model_validate(stack)))
    signature = image_signature((3, SIZE, SIZE), CLASSES)
    network = supernet(space, signature=signature).to(device, dtype)
    order = "Second" if second else "First"
    recipe = Recipe.of(
        Differentiable.model_validate({"order": order, "batchSize": batch, "epochs": 50, "betaDecay": "0"})
    )
    draw = drawing(batch, device, dtype, channels_last=True)
    none = Split(torch.zeros(batch, 3, SIZE, SIZE, dtype=torch.uint8), torch.zeros(batch, dtype=torch.long))
    search = Bilevel(space, network, ImageData(signature, none, none, none, none), recipe, seed=0)

    def step() -> None:
        training, validation = draw(), draw()
        search.step_architecture(training, validation)
        search.step_weights(training)

    return step


def drawing(batch: int, device: torch.device, dtype: torch.dtype, *, channels_last: bool) -> Callable[[], Split]:
    """Batches of random images."""
    noise = torch.Generator(device).manual_seed(1)
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def draw() -> Split:
        images = torch.randn(batch, 3, SIZE, SIZE, generator=noise, device=device, dtype=dtype)
        labels = torch.randint(CLASSES, (batch,), generator=noise, device=device)
        return Split(images.contiguous(memory_format=layout), labels)

    return draw


def rows_of(arguments: argparse.Namespace) -> dict[str, MakeStep]:
    """The rows that are asked for, by name."""
    second = arguments.order == "second"
    known: dict[str, MakeStep] = {
        "reference": lambda *size: published_step(*size, lean=False, second=second),
        "rival": lambda *size: published_step(*size, lean=True, second=second),
        "ours": lambda *size: our_step(*size, second=second),
    }
    for other in arguments.other:
        parts = re.fullmatch(r"(\w+)=(.+):(\w+)", other)
        if parts is None:
            raise SystemExit(f"--other must be NAME=FILE:FUNCTION, but got {other}")
        name, file, function = parts.groups()
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        known[name] = getattr(module, function)
    asked = [*arguments.rows.split(","), *(other.partition("=")[0] for other in arguments.other)]
    if unknown := set(asked) - known.keys():
        raise SystemExit(f"rows must be among {', '.join(known)}, but got {', '.join(sorted(unknown))}")
    return {name: known[name] for name in dict.fromkeys(asked)}


def keep_memory() -> None:
    """Have glibc keep what is freed; without it each row waits for pages that the end of the row before gave back."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # their numbers in malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


def measure(steps: dict[str, Step], count: int, wait: Callable[[], None]) -> dict[str, list[tuple[float, float]]]:
    """Seconds of wall and CPU of every step of each row, in turn; the first one, which warms up, is left out."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for index in range(count + 1):
        for name, step in steps.items():
            wait()
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            wait()
            if index:
                found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        print(f"{index} of {count} steps", file=sys.stderr)
    return found


def peak_of(step: Step, device: torch.device) -> float:
    """MiB that two steps need above what is in use before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
        before = _memory("VmRSS")
    for _ in range(2):
        step()
    return ((torch.cuda.max_memory_allocated() if device.type == "cuda" else _memory("VmHWM")) - before) / 2**20


def _memory(name: str) -> int:
    """Bytes of this process, on Linux."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return 2**10 * int(found[1])


def _peaks(names: list[str]) -> dict[str, float]:
    """Each row in a process of its own, started as this one was."""
    found = {}
    for name in names:
        command = [sys.executable, "-m", "benchmarks.supernet_step", *sys.argv[1:], "--peak", name]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = float(ran.stdout.split()[-1])
    return found


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    device = torch.device(arguments.device)
    size = arguments.channels, arguments.cells, arguments.batch, device, torch.float32
    rows = rows_of(arguments)
    torch.manual_seed(0)
    if arguments.peak:
        print(peak_of(rows[arguments.peak](*size), device))
        return
    keep_memory()
    steps = {name: make(*size) for name, make in rows.items()}
    seconds = measure(steps, arguments.steps, torch.cuda.synchronize if device.type == "cuda" else lambda: None)
    report = _report(seconds) | {
        "peak_memory_mib": _peaks(list(rows)),
        "steps": arguments.steps,
        "threads": arguments.threads,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
    }
    print(json.dumps(report, indent=2) if arguments.json else _table(report, list(rows)))


def _report(seconds: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    walls = {name: [wall for wall, _ in each] for name, each in seconds.items()}
    medians = {name: statistics.median(each) for name, each in walls.items()}
    return medians | {
        "quartiles": {
            name: statistics.quantiles(each, n=4)[::2] if len(each) > 1 else [each[0]] * 2
            for name, each in walls.items()
        },
        "cpu_seconds": {name: statistics.median(cpu for _, cpu in each) for name, each in seconds.items()},
        "ratio_to_reference": {
            name: medians["reference"] / median for name, median in medians.items() if "reference" in medians
        },
    }


def _table(report: dict[str, Any], rows: list[str]) -> str:
    lines = ["| row | s / step | quartiles | CPU s | reference / row | peak MiB |", "|---|---|---|---|---|---|"]
    for name in rows:
        low, high = report["quartiles"][name]
        ratio = report["ratio_to_reference"].get(name, float("nan"))
        lines.append(
            f"| {name} | {report[name]:.2f} | {low:.2f} to {high:.2f} | {report['cpu_seconds'][name]:.2f} "
            f"| {ratio:.2f} | {report['peak_memory_mib'][name]:.0f} |"
        )
    return "\n".join([*lines, *(f"{key}: {report[key]}" for key in ("steps", "threads", "device", "torch"))])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default="reference,rival,ours", help="separated by commas")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=FILE:FUNCTION")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--order", choices=("first", "second"), default="first")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
