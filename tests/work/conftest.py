"""A place to work: documents, a volume, and the entry point inside this process or in one of its own."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from archsearch.api.work import Message, decode
from archsearch.work import protocol
from archsearch.work.interruption import Interruption

REPOSITORY = Path(__file__).parents[2]

CELL = {
    "cell/1/0": "nor_conv_3x3", "cell/2/0": "skip_connect", "cell/2/1": "nor_conv_1x1",
    "cell/3/0": "skip_connect", "cell/3/1": "none", "cell/3/2": "nor_conv_3x3",
}  # fmt: skip

DOCUMENT: dict[str, Any] = {
    "search": "team/digits",
    "trial": "digits-abcde-3",
    "spec": {"index": 3, "seed": 11},
    "task": {
        "imageClassification": {"dataset": {"builtin": "digits"}, "training": {"batchSize": 64, "learningRate": "0.1"}}
    },
    "space": {"nasBench201": {"search": {"channels": 2, "cells": 1}, "final": {"channels": 4, "cells": 1}}},
    "algorithm": {"random": {}},
    "evaluation": {"train": {"epochs": 2}},
    "objectives": [{"metric": "accuracy", "goal": "Maximize"}],
    "metricsPort": 0,
    "scrapeTimeoutSeconds": 0,
}


class Stopping(Interruption):
    """Is told to stop when it is asked for the `after`-th time."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def requested(self) -> bool:
        """Count down."""
        self.after -= 1
        return self.after < 0


@dataclass
class Ending:
    """How a piece of work ended."""

    code: int
    text: str
    log: list[str]

    @property
    def message(self) -> Message:
        """The termination message, read as the operator reads it."""
        return decode(self.text)


@dataclass
class Workplace:
    """A volume for artifacts, and the termination message's file."""

    root: Path
    read_log: Callable[[], str]

    @property
    def artifacts(self) -> Path:
        """The search's folder on the volume."""
        return self.root / "volume" / "digits-abcde"

    @property
    def termination(self) -> Path:
        """Where the message goes."""
        return self.root / "termination-log"

    def document(self, kind: str, *, artifacts: bool = True, **changed: Any) -> dict[str, Any]:
        """The work of a kind; `spec` is merged, other fields are replaced."""
        document = copy.deepcopy(DOCUMENT)
        document["spec"] |= {"work": kind} | changed.pop("spec", {})
        document["paths"] = {"scratch": str(self.root)} | changed.pop("paths", {})
        if artifacts:
            document["paths"] |= {"artifacts": str(self.artifacts), "artifactsUri": "pvc://claim/digits-abcde"}
        return document | changed

    def environment(self, document: dict[str, Any] | str) -> dict[str, str]:
        """What the container's environment holds."""
        text = document if isinstance(document, str) else json.dumps(document)
        return {"ARCHSEARCH_WORK": text, "ARCHSEARCH_TERMINATION_PATH": str(self.termination)}

    def run(self, document: dict[str, Any] | str, interruption: Interruption | None = None) -> Ending:
        """Do the work inside this process."""
        self.termination.unlink(missing_ok=True)
        code = protocol.main(interruption or Interruption(), self.environment(document))
        text = self.termination.read_text() if self.termination.exists() else ""
        return Ending(code, text, self.read_log().splitlines())

    def start(self, document: dict[str, Any] | str) -> subprocess.Popen[str]:
        """Do the work in a process of its own."""
        environment = {**os.environ, **self.environment(document), "PYTHONPATH": "trial_image", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, "-m", "archsearch.work"], env=environment, text=True, cwd=REPOSITORY,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


@pytest.fixture
def workplace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Workplace:
    """A new place for each test."""
    return Workplace(tmp_path, lambda: capsys.readouterr().out)


@pytest.fixture
def cell() -> dict[str, Any]:
    """An architecture of the NAS-Bench-201 space."""
    return dict(CELL)


@pytest.fixture
def stopping() -> type[Stopping]:
    """An interruption that comes after a number of questions."""
    return Stopping
