"""A trained network as an ONNX file that is usable by itself, checked against PyTorch."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.networks.inputs import Inputs, each, normalised, random_inputs, tensors

OUTPUT = "outputs"
BATCHES = (1, 2, 7, 16)
"""Batch sizes of the comparison; none is the one that was traced."""


class Deployed(nn.Module):
    """A network with the normalisation of its inputs: numbers are float32 on the scale of the data, tokens int64.

    Each input of the signature is an argument of its own.
    """

    def __init__(self, network: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.network, self.signature = network, signature

    def forward(self, *inputs: Tensor) -> Tensor:
        """The network's outputs."""
        outputs: Tensor = self.network(normalised(self.signature, inputs if len(inputs) > 1 else inputs[0]))
        return outputs


def export_onnx(model: Deployed, path: Path, examples: Inputs | None = None) -> float:
    """Write the model with its weights to one ONNX file, for any number of examples, and run it.

    The inputs have the names of the signature, the output is called `outputs`. examples: to compare with, on the scale
    of the data; random ones where they are left out. For a deep network they should be real: far from what its
    normalisations have seen, its outputs are in the thousands, and so is rounding.
    Returns the largest absolute difference between ONNX Runtime's outputs and PyTorch's on the CPU, over batches of
    several sizes, NaN where one is not a number; the caller decides what is too much. The network is left in evaluation
    mode.
    """
    model.eval()
    signature = model.signature
    example = _numbers(random_inputs(signature, 3))
    batch = torch.export.Dim("batch", min=1, max=2**20)
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")  # the exporter's, about its own insides
        program = torch.onnx.export(
            model, example, dynamo=True, input_names=[item.name for item in signature.inputs],
            output_names=[OUTPUT], dynamic_shapes=(tuple({0: batch} for _ in example),), verbose=False,
        )  # fmt: skip
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where in which source file it comes from: larger than the graph
    program.save(path, external_data=False)
    return difference(model, path, examples)


@torch.inference_mode()
def difference(model: Deployed, path: Path, examples: Inputs | None = None) -> float:
    """The largest absolute difference between the file's outputs and the model's; NaN where one is not a number."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # its own guess binds to cores that a pod may not use
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in model.signature.inputs]
    differences, start = [], 0
    for size in BATCHES:
        batch = _numbers(_examples(model.signature, examples, start, size))
        start += size
        expected = model(*batch)
        (found,) = session.run([OUTPUT], {name: x.numpy() for name, x in zip(names, batch, strict=True)})
        if found.shape != tuple(expected.shape):
            return float("inf")
        with np.errstate(invalid="ignore"):  # one infinity less another is not a number
            differences.append(np.abs(found - expected.numpy()).max())
    return float(np.max(differences))  # unlike Python's own max, it keeps what is not a number


def _examples(signature: Signature, examples: Inputs | None, start: int, size: int) -> Inputs:
    if examples is None:
        return random_inputs(signature, size)
    return each(lambda x: x[(start + torch.arange(size)) % len(x)], examples)


def _numbers(inputs: Inputs) -> tuple[Tensor, ...]:
    """As an exported model takes them."""
    return tuple(x if x.dtype == torch.int64 else x.float() for x in tensors(inputs))


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
