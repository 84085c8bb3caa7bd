"""Does a network of the trellis segment better than an untuned U-Net of as many parameters, trained equally?

Compared are the path that a search found (`--result`), a fixed one that any user would write down (the highest
resolution all along, separable convolutions on every edge), random ones, and a U-Net (Ronneberger et al. 2015), as wide
as gives it about the parameters of the first network. All have the recipe, epochs, data and seeds of the spec. The test
images decide, and are read once for each trained network.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.api.load import InvalidSpec, read_search
from archsearch.api.signature import Signature
from archsearch.evaluation import Trainer, derive, evaluate
from archsearch.hardware import count
from archsearch.networks import network
from archsearch.networks.inputs import random_inputs
from archsearch.spaces import Architecture, Space, space_of
from archsearch.tasks import DataError, load

LEVELS = 3


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, each with a normalisation and ReLU."""
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [nn.Conv2d(before, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Two convolutions a level, twice the channels below each, and what is above beside what comes up again."""

    def __init__(self, channels: int, signature: Signature, levels: int = LEVELS) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(levels)]
        self.down = nn.ModuleList(map(block, [signature.shape[0], *widths], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in widths[:-1])
        self.merge = nn.ModuleList(block(2 * width, width) for width in widths[:-1])
        self.classifier = nn.Conv2d(channels, signature.classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes, H, W); H and W must be divisible by 2^(levels - 1)."""
        x, above = self.down[0](images), []
        for level in list(self.down)[1:]:
            above.append(x)
            x = level(F.max_pool2d(x, 2))
        for up, merge, beside in reversed(list(zip(self.up, self.merge, above, strict=True))):
            x = merge(torch.cat([beside, up(x)], dim=1))
        scores: Tensor = self.classifier(x)
        return scores


def unet_like(parameters: int, signature: Signature) -> int:
    """The channels with which a U-Net has closest to so many parameters."""

    def distance(channels: int) -> int:
        with torch.device("meta"):
            return abs(sum(weight.numel() for weight in UNet(channels, signature).parameters()) - parameters)

    return min(range(1, 65), key=distance)


def fixed(space: Space) -> Architecture:
    """The highest resolution all along; each node sees the two states before it, through separable convolutions."""

    def value(options: tuple[object, ...]) -> object:
        for wished in ("sep_conv_3x3", 0):
            if wished in options:
                return wished
        return options[-1]

    return space.architecture({choice.name: value(choice.options) for choice in space.choices})


def main() -> int:
    """0 where the first network is better than the U-Net on average, 1 where not, 2 for input that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segmentation", description=__doc__)
    parser.add_argument("--spec", type=Path, default=Path("examples/segmentation.yaml"))
    parser.add_argument("--data", type=Path, required=True, help="the folder that is mounted as the volume")
    parser.add_argument("--result", type=Path, help="result.json of a run of the spec")
    parser.add_argument("--random", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="instead of the spec's retrain.epochs")
    options = parser.parse_args()
    try:
        _, spec = read_search(options.spec)
        data = load(spec.task, options.data)
    except (InvalidSpec, DataError) as error:
        print(error, file=sys.stderr)
        return 2
    assert spec.space is not None
    space, signature = space_of(spec.space), data.signature
    architectures = {"fixed": fixed(space)}
    if options.result is not None:
        found = json.loads(options.result.read_text())["best"]["genotype"]
        architectures = {"found": space.architecture(found), **architectures}
    rng = np.random.default_rng(0)
    architectures |= {f"random {number}": space.sample(rng) for number in range(options.random)}
    builders: dict[str, Callable[[], nn.Module]] = {
        name: partial(network, space, one, stack="final", signature=signature) for name, one in architectures.items()
    }
    first = next(iter(builders))
    width = unet_like(count(builders[first](), random_inputs(signature, 1))[0], signature)
    builders = {first: builders.pop(first), f"U-Net {width}": lambda: UNet(width, signature), **builders}
    scores: dict[str, list[float]] = {name: [] for name in builders}
    for name, build in builders.items():
        parameters, flops = count(build(), random_inputs(signature, 1))
        start = time.perf_counter()
        for seed in range(options.seeds):
            torch.manual_seed(derive(seed))
            training = Trainer(
                build(), data, spec.task.training, epochs=options.epochs or spec.retrain.epochs, seed=seed
            )
            while training.epoch < training.epochs:
                training.run_epoch(lambda: False)
            scores[name].append(evaluate(training.network, data, data.test)[data.metric])
        deviation = stdev(scores[name]) if options.seeds > 1 else 0.0
        print(
            f"{name}: test {data.metric} {fmean(scores[name]):.4f} +- {deviation:.4f} over {options.seeds} seeds, "
            f"{parameters:,} parameters, {flops / 1e6:,.0f} MFLOPs, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return int(fmean(scores[first]) <= fmean(scores[f"U-Net {width}"]))


if __name__ == "__main__":
    raise SystemExit(main())
