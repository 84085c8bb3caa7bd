"""Puts the best model where a person looks for it: `model.onnx`, `weights.safetensors` and what a task gives a model,
such as `tokenizer.json`, in the search's folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from archsearch.local.folder import Folder
from archsearch.local.records import Tell
from archsearch.planning import History, Search
from archsearch.planning.pipeline import best_weights, winner
from archsearch.work.files import sha256, write_whole

WEIGHTS = "weights.safetensors"
KEPT = re.compile(r"(?!search\.json|result\.json)[a-z][a-z0-9_-]*\.(onnx|json)")
"""Names of exported files that are no file of the search itself."""


def keep_model(search: Search, history: History, folder: Folder, volumes: Mapping[str, Path], tell: Tell) -> None:
    """Copy the best model's files out of the artifacts, once their checksums are right."""
    best = winner(search, history)
    if best is None:
        return
    exported = search.status.best.artifacts if search.status.best else ()
    named = [(file.uri, file.sha256, file.uri.rpartition("/")[2]) for file in exported]
    files = [file for file in named if KEPT.fullmatch(file[2])]
    if (weights := best_weights(search, history, best)) is not None:
        files.append((weights.uri, weights.sha256, WEIGHTS))
    for uri, checksum, name in files:
        target = folder.root / name
        try:
            content = locate(uri, volumes).read_bytes()
            if sha256(content) != checksum:
                raise ValueError("it was changed since it was written")
            write_whole(target, content)
        except (OSError, ValueError) as error:
            tell(f"{name} is not kept: {uri}: {error}")


def locate(uri: str, volumes: Mapping[str, Path]) -> Path:
    """The file of a `pvc://CLAIM/PATH`. Raises ValueError where it is none, or leads out of the claim's folder."""
    claim, slash, path = uri.removeprefix("pvc://").partition("/")
    if not uri.startswith("pvc://") or not slash or claim not in volumes:
        raise ValueError("it must be a file on a claim of the spec")
    root = volumes[claim].resolve()
    found = (root / path).resolve()
    if not found.is_relative_to(root):
        raise ValueError("it leads out of the volume")
    return found
