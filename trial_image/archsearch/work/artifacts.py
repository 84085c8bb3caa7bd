"""Files on the artifact volume: written with their checksum, and read only where they are what was said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from archsearch.api.base import Model
from archsearch.api.signature import Signature
from archsearch.api.status import Artifact
from archsearch.api.trial import ArchitectureMap, WorkInput
from archsearch.api.work import Work, explain
from archsearch.tasks.folder import inside
from archsearch.work.checkpoint import KEY, metadata
from archsearch.work.context import Context
from archsearch.work.errors import UserError
from archsearch.work.files import sha256, write_whole

WEIGHTS: Final = "weights.safetensors"
ONNX: Final = "model.onnx"
TABLE: Final = "latency.json"
FORMATS: Final = {WEIGHTS: "safetensors", ONNX: "onnx", TABLE: "json"}


class Description(Model):
    """What weights are of: enough to build their network and to prepare its input, without the data."""

    architecture: ArchitectureMap
    """The choices."""
    space: str
    """Hash of the space."""
    signature: Signature
    """What the network takes and gives, and how its inputs are normalised."""


def write_artifact(context: Context, name: str, content: bytes) -> Artifact:
    """Write a file into the trial's folder; UserError where the volume does not take it."""
    path = context.folder / name
    try:
        write_whole(path, content)
    except OSError as error:
        raise UserError(
            f"artifacts: {path} cannot be written ({error}); check the volume's space and permissions"
        ) from None
    checksum = sha256(content)
    context.log(f"wrote {path} ({len(content):,} bytes, sha256 {checksum})")
    uri = f"{context.work.paths.artifacts_uri or path.parent.parent.as_uri()}/{context.work.trial}/{name}"
    return Artifact(uri=uri, sha256=checksum, format=FORMATS.get(name, path.suffix[1:]))


def write_weights(context: Context, network: nn.Module, architecture: ArchitectureMap) -> Artifact:
    """Write a network's weights and buffers with what they are of. architecture: empty for those of a supernet."""
    description = Description(architecture=architecture, space=context.space.hash(), signature=context.data.signature)
    plain = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
    return write_artifact(context, WEIGHTS, save(plain, metadata={KEY: json.dumps(description.wire(), sort_keys=True)}))


def read_weights(work: Work) -> tuple[dict[str, Tensor], Description]:
    """The weights that the work names, once their checksum is right. Raises UserError, or DataError for a link out."""
    source = work.spec.weights
    if source is None:
        raise UserError(f"spec.weights must be set for {work.spec.work}")
    content = read_artifact(work, source)
    try:
        return load(content), Description.model_validate(json.loads(metadata(content)[KEY]))
    except ValidationError as error:
        raise UserError(f"{source.uri}: {explain(error)}") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{source.uri}: must be weights that a retraining wrote, but is not ({error})") from None


def read_artifact(work: Work, source: WorkInput) -> bytes:
    """A file that an earlier trial wrote, once its checksum is right. Raises UserError, or DataError for a link out."""
    root, prefix = work.paths.artifacts, f"{work.paths.artifacts_uri}/"
    if root is None or work.paths.artifacts_uri is None:
        raise UserError("artifacts must be set: what an earlier trial wrote is there")
    if not source.uri.startswith(prefix):
        raise UserError(f"the uri must start with {prefix}, the search's own folder, but got {source.uri}")
    path = inside(Path(root), Path(root) / source.uri.removeprefix(prefix), "the uri")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{source.uri}: cannot be read ({error}); was the volume emptied since it was written?"
        ) from None
    if (found := sha256(content)) != source.sha256:
        raise UserError(
            f"{source.uri}: must have the sha256 {source.sha256}, but got {found}: the file was changed since it was "
            "written"
        )
    return content
