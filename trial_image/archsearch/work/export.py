"""Export: the retrained network as an ONNX file that takes images as they are, checked against PyTorch."""

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
from archsearch.work.artifacts import ONNX, read_weights, write_artifact
from archsearch.work.context import Context
from archsearch.work.errors import Failed, UserError

LIMIT: Final = 1e-4
"""Largest difference between ONNX Runtime's logits and PyTorch's that is taken for rounding, for logits up to 1; in
proportion for larger ones. PyTorch in float32 is as far from itself in float64 in the 20 cells of DARTS."""
COMPARED: Final = 64
"""Images that tell how large the logits are."""


def run(context: Context) -> Message:
    """Export the weights that spec.weights names.

    The file takes float32 images (N, C, H, W) on the scale 0 to 255, any number of them, and gives logits: the
    normalisation is part of it. Metric: exportDifference, the largest absolute difference found on selection images.
    """
    architecture = context.architecture
    weights, description = read_weights(context.work)
    if description.space != context.space.hash() or description.architecture != dict(architecture.values):
        raise UserError(
            "spec.weights must be of the architecture that is exported, but is of another "
            f"(space {description.space}, here {context.space.hash()})"
        )
    data, shape = context.data, description.shape
    if data.shape != shape or data.classes != description.classes:
        raise UserError(
            f"spec.weights must be for images of {data.shape} and {data.classes} classes as the data set has them, but "
            f"are for {shape} and {description.classes}: the data set was changed since the retraining"
        )
    built = network(context.space, architecture, stack="final", shape=shape, classes=description.classes)
    try:
        load_network(built, weights)
    except ValueError as error:
        raise UserError(f"spec.weights: {error}") from None
    with tempfile.TemporaryDirectory(dir=context.work.paths.scratch) as scratch:
        path = Path(scratch) / ONNX
        model = Deployed(built, description.mean, description.std)
        difference = export_onnx(model, shape, path, data.selection.images)
        with torch.inference_mode():
            largest = float(model(data.selection.images[:COMPARED].float()).abs().max())
        context.log(f"ONNX Runtime differs from PyTorch by at most {difference:.2e}, in logits of up to {largest:.3g}")
        limit = LIMIT * max(1.0, largest)
        if not (difference < limit and math.isfinite(largest)):  # also where the difference is not a number
            raise Failed(
                f"the exported model differs from PyTorch by {difference:.2e}, and must by less than {limit:.2e} for "
                f"logits of up to {largest:.3g}; it is not kept"
            )
        artifact = write_artifact(context, ONNX, path.read_bytes())
    return Message(
        metrics={"exportDifference": difference},
        architecture=dict(architecture.values),
        artifacts=(artifact,),
    )
