"""A trained network as an ONNX file that is usable by itself, checked against PyTorch."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from archsearch.tasks import normalise

INPUT, OUTPUT = "images", "logits"
BATCHES = (1, 2, 7, 32)
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


def export_onnx(network: nn.Module, shape: tuple[int, int, int], path: Path) -> float:
    """Write the network with its weights to one ONNX file, for any number of images, and run it.

    Returns the largest absolute difference between ONNX Runtime's outputs and PyTorch's on the CPU, over random images
    of several kinds and batches of several sizes; the caller decides what is too much. The network is left in
    evaluation mode.
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
    return difference(network, shape, path)


@torch.inference_mode()
def difference(network: nn.Module, shape: tuple[int, int, int], path: Path) -> float:
    """The largest absolute difference between the file's outputs and the network's."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # its own guess binds to cores that a pod may not use
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch in BATCHES:
        for images in _images((batch, *shape), generator):
            expected = network(images)
            (found,) = session.run([OUTPUT], {INPUT: images.numpy()})
            if found.shape != tuple(expected.shape):
                return float("inf")
            largest = max(largest, float(np.abs(found - expected.numpy()).max()))
    return largest


def _images(size: tuple[int, ...], generator: torch.Generator) -> list[Tensor]:
    """What real images look like to arithmetic: noise, smooth shades, and strokes on black, all of 0 to 255."""
    noise = torch.randint(0, 256, size, generator=generator).float()
    coarse = torch.rand((*size[:2], 2, 2), generator=generator) * 255
    smooth = nn.functional.interpolate(coarse, size=size[2:], mode="bilinear").round()
    strokes = torch.where(torch.rand(size, generator=generator) < 0.2, 255.0, 0.0)
    return [noise, smooth, strokes]


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
