"""A trained network as an ONNX file that is usable by itself, checked against PyTorch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from archsearch.tasks import normalise

INPUT, OUTPUT = "images", "logits"
BATCHES = (1, 2, 7, 16)
"""Batch sizes of the comparison; none is the one that was traced."""


class Deployed(nn.Module):
    """A network with the normalisation of its input: float32 images (N, C, H, W) on the scale 0 to 255 in, logits out.

    mean and std: of each channel of the training images, on the same scale.
    """

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, mean, std

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        logits: Tensor = self.network(normalise(images, self.mean, self.std))
        return logits


def export_onnx(network: nn.Module, shape: tuple[int, int, int], path: Path, images: Tensor | None = None) -> float:
    """Write the network with its weights to one ONNX file, for any number of images, and run it.

    images: (N, C, H, W) of 0 to 255 to compare with; random ones where they are left out. For a deep network they
    should be real: far from what its normalisations have seen, its outputs are in the thousands, and so is rounding.
    Returns the largest absolute difference between ONNX Runtime's outputs and PyTorch's on the CPU, over batches of
    several sizes, NaN where one is not a number; the caller decides what is too much. The network is left in evaluation
    mode.
    """
    network.eval()
    example = torch.rand(3, *shape) * 255
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")  # the exporter's, about its own insides
        program = torch.onnx.export(
            network, (example,), dynamo=True, input_names=[INPUT], output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=2**20)},), verbose=False,
        )  # fmt: skip
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where in which source file it comes from: larger than the graph
    program.save(path, external_data=False)
    return difference(network, shape, path, images)


@torch.inference_mode()
def difference(network: nn.Module, shape: tuple[int, int, int], path: Path, images: Tensor | None = None) -> float:
    """The largest absolute difference between the file's outputs and the network's; NaN where one is not a number."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # its own guess binds to cores that a pod may not use
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    differences = []
    for batch in _batches(shape, images):
        expected = network(batch)
        (found,) = session.run([OUTPUT], {INPUT: batch.numpy()})
        if found.shape != tuple(expected.shape):
            return float("inf")
        with np.errstate(invalid="ignore"):  # one infinity less another is not a number
            differences.append(np.abs(found - expected.numpy()).max())
    return float(np.max(differences))  # unlike Python's own max, it keeps what is not a number


def _batches(shape: tuple[int, int, int], images: Tensor | None) -> Iterator[Tensor]:
    """Batches of the sizes in BATCHES, from the images, or random where there are none."""
    generator, start = torch.Generator().manual_seed(0), 0
    for size in BATCHES:
        if images is None:
            yield torch.randint(0, 256, (size, *shape), generator=generator).float()
        else:
            yield images[(start + torch.arange(size)) % len(images)].float()
        start += size


class _quiet:  # noqa: N801 - used like a function
    """Loggers that say nothing below an error inside the block."""

    def __init__(self, *names: str) -> None:
        self.loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *exception: object) -> None:
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
