"""Export: the retrained network as an ONNX file that takes images as they are, checked against PyTorch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from archsearch.api.work import Message
from archsearch.evaluation import load_network
from archsearch.hardware import Deployed, export_onnx
from archsearch.networks import network
from archsearch.work.artifacts import ONNX, read_weights, write_artifact
from archsearch.work.context import Context
from archsearch.work.errors import Failed, UserError

LIMIT: Final = 1e-4
"""Largest difference between ONNX Runtime's logits and PyTorch's that is taken for rounding."""


def run(context: Context) -> Message:
    """Export the weights that spec.weights names.

    The file takes float32 images (N, C, H, W) on the scale 0 to 255, any number of them, and gives logits: the
    normalisation is part of it. Metric: exportDifference, the largest absolute difference found.
    """
    architecture = context.architecture
    weights, description = read_weights(context.work)
    if description.space != context.space.hash() or description.architecture != dict(architecture.values):
        raise UserError(
            "spec.weights must be of the architecture that is exported, but is of another "
            f"(space {description.space}, here {context.space.hash()})"
        )
    shape = description.shape
    built = network(context.space, architecture, stack="final", shape=shape, classes=description.classes)
    try:
        load_network(built, weights)
    except ValueError as error:
        raise UserError(f"spec.weights: {error}") from None
    with tempfile.TemporaryDirectory(dir=context.work.paths.scratch) as scratch:
        path = Path(scratch) / ONNX
        difference = export_onnx(Deployed(built, description.mean, description.std), shape, path)
        context.log(f"ONNX Runtime differs from PyTorch by at most {difference:.2e}")
        if not difference < LIMIT:  # also where it is not a number
            raise Failed(
                f"the exported model differs from PyTorch by {difference:.2e}, and must by less than {LIMIT:g}; it is "
                "not kept"
            )
        artifact = write_artifact(context, ONNX, path.read_bytes())
    return Message(
        metrics={"exportDifference": difference},
        architecture=dict(architecture.values),
        artifacts=(artifact,),
    )
