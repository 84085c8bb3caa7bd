"""How well does a latency table predict what is measured afterwards?

    python -m benchmarks.latency_prediction --space mbconvChain [--shape 3,32,32] [--networks 150] [--json]

Fits a table to random networks of the space, as a Table trial does, then measures other random networks that the table
has not seen, and prints the mean absolute error as a share of what was measured, Kendall's tau, and the same for the
best possible line through operations counted (FLOPs), which needs no table but must know the measurements. Every
network takes turns with a reference network, as in a Table trial, because the machine's speed changes meanwhile. One
image at once, on this machine's CPU with `--threads` threads. --write FILE keeps the table: the trial image carries
those of `archsearch/hardware/tables`, which a profile names as `searchLatency.shippedTable`.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from archsearch.api import Space as SpaceSpec
from archsearch.api.search import Profile
from archsearch.api.signature import image_signature
from archsearch.hardware import count, device_name, found_device
from archsearch.hardware.costs import CostTable, fit
from archsearch.hardware.paced import Paced
from archsearch.networks import network
from archsearch.networks.inputs import random_inputs
from archsearch.spaces import Architecture, space_of
from benchmarks.zero_cost import kendall


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mbconvChain")
    parser.add_argument("--settings", type=json.loads, default={}, help="the space's settings, as JSON")
    parser.add_argument("--shape", type=lambda text: tuple(int(part) for part in text.split(",")), default=(3, 32, 32))
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--networks", type=int, default=150)
    parser.add_argument("--checked", type=int, default=30)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    space = space_of(SpaceSpec.model_validate({chosen.space: chosen.settings}))
    profile = Profile(name="here", warmup=5, iterations=chosen.iterations)
    signature, flops = image_signature(chosen.shape, chosen.classes), dict[str, float]()
    images = random_inputs(signature, 1)

    def built(architecture: Architecture) -> nn.Module:
        return network(space, architecture, stack="final", signature=signature)

    rng = np.random.default_rng(1)
    paced = Paced(built(space.sample(rng)), images, profile)

    def latency(architecture: Architecture) -> float:
        final = built(architecture)
        _, flops[architecture.id] = count(copy.deepcopy(final).to("meta"), images)
        return paced(final)

    device = device_name(found_device())
    table = fit(space, latency, chosen.networks, metric="latencyMs", shape=chosen.shape, device=device, runtime="Torch")
    others = [space.sample(rng) for _ in range(chosen.checked)]
    measured = np.array([latency(architecture) for architecture in others]) * paced.reference
    table = table.scaled(paced.reference)
    said = report(table, others, measured, np.array([flops[architecture.id] for architecture in others]))
    if chosen.write:
        chosen.write.write_text(table.model_dump_json(by_alias=True, indent=1) + "\n")
    for name, value in said.items():
        if not chosen.json:
            print(f"{name:32} {value:.4g}" if isinstance(value, float) else f"{name:32} {value}")
    if chosen.json:
        print(json.dumps(said, indent=1))
    return 0


def report(
    table: CostTable, others: list[Architecture], measured: np.ndarray, flops: np.ndarray
) -> dict[str, float | int | str]:
    """How far off the table is, and how far a line through FLOPs that knows the measurements."""
    predicted = np.array([table.of(architecture) for architecture in others])
    line = np.polyval(np.polyfit(flops, measured, 1), flops)
    return {
        "space": table.space,
        "device": table.device,
        "networks": table.networks,
        "checked": len(others),
        "lowest_ms": float(measured.min()),
        "highest_ms": float(measured.max()),
        "error": float(np.mean(np.abs(predicted - measured) / measured)),
        "error_of_flops": float(np.mean(np.abs(line - measured) / measured)),
        "tau": kendall(predicted, measured),
        "tau_of_flops": kendall(flops, measured),
    }


if __name__ == "__main__":
    raise SystemExit(main())
