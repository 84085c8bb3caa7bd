"""Checkpoints: what a training needs to go on after an interruption, in one file that is checked before it is used.

A file is a line `archsearch-checkpoint 1 SHA256` and then safetensors, whose metadata hold the rest as JSON. Nothing is
ever unpickled: the volume may be shared with others.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from archsearch.api.work import Work
from archsearch.evaluation import JSON, State
from archsearch.work.files import sha256, sync_folder, write_whole

MAGIC: Final = b"archsearch-checkpoint 1 "
KEY: Final = "archsearch"
DECIDES: Final = {"version", "spec", "task", "space", "algorithm", "evaluation", "objectives"}
"""The parts of a work that its result depends on."""


class BadCheckpoint(ValueError):
    """A file that is torn, corrupted, foreign, or no checkpoint; str() says which."""


@dataclass(frozen=True)
class Identity:
    """Whose checkpoint it is: one of another search, trial or specification is not gone on from."""

    search: str
    trial: str
    work: str  # hash of all that the result depends on


def identity_of(work: Work) -> Identity:
    """The identity of a piece of work: of what is to be done, not of where."""
    said = work.model_dump_json(by_alias=True, include=DECIDES)
    return Identity(work.search, work.trial, sha256(said.encode()))


class Checkpoints:
    """The checkpoints of one trial, in a folder of its own: the current one and the one before.

    report: is told, in words, what was found and done.
    """

    def __init__(self, folder: Path, identity: Identity, report: Callable[[str], None]) -> None:
        self.folder, self._identity, self._report = folder, identity, report
        self._current, self._previous = folder / "current", folder / "previous"

    def save(self, state: State) -> bool:
        """Keep the state, and the last one before it. False where it cannot be written: training goes on without."""
        try:
            content = encode(state, self._identity)
            fresh = self.folder / "fresh"
            write_whole(fresh, content)
            if self._current.exists():
                self._current.replace(self._previous)
            fresh.replace(self._current)
            sync_folder(self.folder)
        except OSError as error:
            self._report(
                f"no checkpoint: {self.folder} cannot be written ({error}); an interruption loses this training"
            )
            return False
        return True

    def load(self) -> State | None:
        """The newest state that is whole and of this work; None where there is none. Others are set aside."""
        for path in (self.folder / "fresh", self._current, self._previous):
            try:
                state = decode(path.read_bytes(), self._identity)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._report(f"checkpoint {path} cannot be read ({error})")
            except BadCheckpoint as error:
                self._report(f"checkpoint {path} is not used: {error}; it is kept as {self._aside(path).name}")
            else:
                return state
        return None

    def refuse(self, reason: str) -> None:
        """Set everything aside: what it holds cannot be gone on from."""
        self._report(f"the checkpoint in {self.folder} is not used: {reason}")
        for path in (self._current, self._previous):
            if path.exists():
                self._aside(path)

    def remove(self) -> None:
        """Delete the folder, once the result is out. What cannot be deleted stays."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # the trial's folder, where nothing else is in it

    def _aside(self, path: Path) -> Path:
        bad = path.with_name(f"{path.name}.bad")
        with suppress(OSError):
            path.replace(bad)
        return bad


def encode(state: State, identity: Identity) -> bytes:
    """The file of a state."""
    tensors, values = state
    # A copy of each: safetensors takes neither views that share memory nor other layouts than the plain one.
    plain = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    text = json.dumps({"identity": asdict(identity), "values": values}, allow_nan=False)
    body = save(plain, metadata={KEY: text})
    return MAGIC + sha256(body).encode() + b"\n" + body


def decode(content: bytes, identity: Identity) -> State:
    """The state of a file. Raises BadCheckpoint."""
    head, newline, body = content.partition(b"\n")
    if not head.startswith(MAGIC) or not newline:
        raise BadCheckpoint(f"it must start with {MAGIC.decode()!r}, but starts with {content[:24]!r}")
    if head[len(MAGIC) :].decode(errors="replace") != sha256(body):
        raise BadCheckpoint(f"its checksum is not that of its {len(body)} bytes: it is torn or corrupted")
    try:
        tensors = load(body)
        document = json.loads(metadata(body)[KEY])
        theirs = Identity(**document["identity"])
        values: dict[str, JSON] = document["values"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"its contents are not those of a checkpoint ({error})") from None
    for name, mine in asdict(identity).items():
        if (other := getattr(theirs, name)) != mine:
            raise BadCheckpoint(f"it is of another {name}: {other}, and this is {mine}")
    return tensors, values


def metadata(body: bytes) -> dict[str, str]:
    """The metadata of safetensors: a length of 8 bytes, then a JSON header that holds them."""
    header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
    found: dict[str, str] = header.get("__metadata__", {})
    return found
