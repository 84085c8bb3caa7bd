"""Export: the retrained network as an ONNX file that takes examples as they are, checked against PyTorch."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Final

import torch

from archsearch.api.work import Message
from archsearch.evaluation import load_network
from archsearch.hardware import Deployed, export_onnx
from archsearch.networks import network
from archsearch.networks.inputs import tensors
from archsearch.work.artifacts import ONNX, read_weights, write_artifact
from archsearch.work.context import Context
from archsearch.work.errors import Failed, UserError

LIMIT: Final = 1e-4
"""Largest difference between ONNX Runtime's outputs and PyTorch's that is taken for rounding, for outputs up to 1; in
proportion for larger ones. PyTorch in float32 is as far from itself in float64 in the 20 cells of DARTS."""
COMPARED: Final = 64
"""Examples that are compared, and tell how large the outputs are."""


def run(context: Context) -> Message:
    """Export the weights that spec.weights names.

    The file takes any number of examples as the data set has them, numbers as float32 and tokens as int64, and gives
    the network's outputs: normalisation is part of it. What else is needed, such as a tokenizer, is written beside it.
    Metric: exportDifference, the largest absolute difference found on selection examples.
    """
    architecture = context.architecture
    weights, description = read_weights(context.work)
    if description.space != context.space.hash() or description.architecture != dict(architecture.values):
        raise UserError(
            "spec.weights must be of the architecture that is exported, but is of another "
            f"(space {description.space}, here {context.space.hash()})"
        )
    data, signature = context.data, description.signature
    if data.signature != signature:
        raise UserError(
            f"spec.weights must be for {data.signature} and {data.classes} classes as the data set has them, with the "
            f"same means and deviations, but are for {signature} and {signature.classes}: the data set was changed "
            "since the retraining"
        )
    built = network(context.space, architecture, stack="final", signature=signature)
    try:
        load_network(built, weights)
    except ValueError as error:
        raise UserError(f"spec.weights: {error}") from None
    with tempfile.TemporaryDirectory(dir=context.work.paths.scratch) as scratch:
        path = Path(scratch) / ONNX
        model = Deployed(built, signature)
        examples = data.raw(data.selection.first(COMPARED))
        difference = export_onnx(model, path, examples.inputs)
        with torch.inference_mode():
            largest = float(model(*tensors(examples.inputs)).abs().max())
        context.log(f"ONNX Runtime differs from PyTorch by at most {difference:.2e}, in outputs of up to {largest:.3g}")
        limit = LIMIT * max(1.0, largest)
        if not (difference < limit and math.isfinite(largest)):  # also where the difference is not a number
            raise Failed(
                f"the exported model differs from PyTorch by {difference:.2e}, and must by less than {limit:.2e} for "
                f"outputs of up to {largest:.3g}; it is not kept"
            )
        artifacts = [write_artifact(context, ONNX, path.read_bytes())]
    artifacts += [write_artifact(context, name, content) for name, content in data.files.items()]
    return Message(
        metrics={"exportDifference": difference},
        architecture=dict(architecture.values),
        artifacts=tuple(artifacts),
    )
