"""Runs of the `archsearch` command on a small search, with a worker that learns nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from archsearch.api import ArchitectureSearchStatus
from archsearch.local.summary import succeeded

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
COMMAND_LINE = """
import json, signal, sys
from archsearch.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what runs in the background ignore Ctrl-C
sys.exit(main(sys.argv[2:], command=json.loads(sys.argv[1])))
"""
EVOLUTION = {"regularizedEvolution": {"population": 4, "sample": 2}}
RANDOM: dict[str, Any] = {"random": {}}


@dataclass
class Run:
    """A search in a folder of its own, whose command can be started, killed and started again."""

    root: Path
    spec: dict[str, Any]
    config: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.root, self.notes.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self.write()

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def notes(self) -> Path:
        return self.root / "room" / "notes"

    def write(self) -> None:
        """Write the spec and the worker's instructions as they are now."""
        document = {"apiVersion": "archsearch.dev/v1alpha1", "kind": "ArchitectureSearch", "metadata": {"name": "s"}}
        (self.root / "spec.yaml").write_text(yaml.safe_dump(document | {"spec": self.spec}))
        instructions = {"room": str(self.notes.parent), "out": str(self.out)} | self.config
        (self.root / "config.json").write_text(json.dumps(instructions))

    def start(self, *options: str, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start the command. output: where its two streams go."""
        worker = [sys.executable, str(HERE / "fake_worker.py"), str(self.root / "config.json")]
        arguments = ["run", str(self.root / "spec.yaml"), "--out", str(self.out), *options]
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND_LINE, json.dumps(worker), *arguments],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "trial_image"), **self.environment}, cwd=self.root,
            text=True, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what a test that failed has left."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def finish(self, *options: str, code: int = 0, timeout: float = 60) -> str:
        """Run the command to its end; returns what it printed."""
        process = self.start(*options)
        printed, _ = process.communicate(timeout=timeout)
        assert process.returncode == code, printed
        assert "Traceback" not in printed, printed
        return printed

    def documents(self, work: str | None = None) -> list[dict[str, Any]]:
        """The records of trials, in order of kind and index."""
        found = [json.loads(path.read_text()) for path in (self.out / "trials").glob("*.json")]
        kept = [document for document in found if work in (None, document["spec"]["work"])]
        return sorted(kept, key=lambda document: (document["spec"]["work"], document["spec"]["index"]))

    def states(self) -> dict[int, tuple[str, str]]:
        """State and reason of each trial of the search stage."""
        return {d["spec"]["index"]: (d["status"]["state"], d["status"]["reason"]) for d in self.documents("Train")}

    def order(self) -> list[int]:
        """The indices of the search's trials in the order of their completion."""
        trained = sorted(self.documents("Train"), key=lambda document: document["status"]["sequence"])
        return [document["spec"]["index"] for document in trained]

    def proposals(self) -> dict[int, Any]:
        """The architectures that were proposed."""
        return {document["spec"]["index"]: document["spec"]["architecture"] for document in self.documents("Train")}

    def noted(self, text: str) -> list[str]:
        """The workers' notes that have the text."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line for line in lines if text in line]

    def result(self) -> ArchitectureSearchStatus:
        """The status, as strictly as the API has it."""
        text = (self.out / "result.json").read_text()
        status = ArchitectureSearchStatus.model_validate_json(text, strict=True, extra="forbid")
        assert status.wire() == json.loads(text)
        return status

    def check_records(self, trials: int) -> None:
        """Exactly so many trials, one result each, nothing done twice at a time, and a status that says so."""
        trained = self.documents("Train")
        assert [document["spec"]["index"] for document in trained] == list(range(trials))
        everything = self.documents()
        sequences = sorted(document["status"]["sequence"] for document in everything)
        assert sequences == list(range(len(everything)))
        assert self.noted("DOUBLED") == []
        status = self.result()
        assert succeeded(status)
        assert status.stage == "Done"
        assert status.trials.done == f"{trials}/{trials}"
        assert status.trials.running == status.trials.pending == 0
        values = [d["status"]["result"]["metrics"]["accuracy"] for d in trained if d["status"]["state"] == "Succeeded"]
        assert status.best is not None
        assert status.best.metrics["accuracy"] == max(values)


def spec_of(**changes: Any) -> dict[str, Any]:
    """A search of 12 trials, 4 at a time, with everything after it."""
    return {
        "task": {"imageClassification": {"dataset": {"builtin": "digits"}}},
        "space": {"nasBench201": {}},
        "algorithm": RANDOM,
        "evaluation": {"train": {"epochs": 1}},
        "budget": {"maxTrials": 12, "parallelTrials": 4, "maxFailedTrials": 12},
        "retrain": {"topK": 1, "seeds": 2, "epochs": 1},
        "artifacts": {"claimName": "artifacts"},
        "seed": 7,
    } | changes


def wait_for(true: Callable[[], Any], what: str, seconds: float = 30) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.02)


def run_example(name: str, out: Path, settings: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    """`archsearch run` of an example with the real work, in a process of its own; it must end well."""
    # Without its bytecode kept, each process spends five seconds on compiling what it imports.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    words = [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "archsearch.cli", "run", f"examples/{name}.yaml", "--out", str(out), *words, *options],
        env={**kept, "PYTHONPATH": "trial_image"}, cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done
