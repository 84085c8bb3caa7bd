"""Plays the kubelet on a control plane that has none: pods of the Job controller run, and end as a script says.

Everything else is real: the API server, the Job controller, the garbage collector and the operator.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from cluster.client import ApiError, Client


@dataclass
class Ending:
    """How a pod ends: after some seconds, with a code and a message."""

    seconds: float = 0.0
    code: int = 0
    message: str = ""
    reason: str = ""


Script = Callable[[dict[str, Any]], Ending | None]
"""From the work that a pod was given to how it ends; None: not yet."""


@dataclass
class SimulatedNode:
    """Runs the pods of one namespace in a thread, from enter to exit."""

    client: Client
    namespace: str
    script: Script
    started: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    _since: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> SimulatedNode:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.03):
            try:
                self._look()
            except (OSError, ApiError):
                continue

    def _look(self) -> None:
        pods = self.client.get(f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        alive: dict[str, str] = {}
        for pod in pods:
            if pod["status"]["phase"] in {"Succeeded", "Failed"} or "deletionTimestamp" in pod["metadata"]:
                continue
            uid, trial = pod["metadata"]["uid"], pod["metadata"]["labels"]["archsearch.dev/trial"]
            if trial in alive:
                self.doubled.append(trial)
            alive[trial] = uid
            if uid not in self._since:
                self._since[uid] = time.monotonic()
                self.started.append(trial)
                self._patch(pod, "Running", {"running": {"startedAt": _now()}})
                continue
            ending = self.script(work_of(pod))
            if ending is not None and time.monotonic() - self._since[uid] >= ending.seconds:
                terminated = {
                    "exitCode": ending.code,
                    "message": ending.message,
                    "reason": ending.reason or "Completed",
                    "startedAt": _now(),
                    "finishedAt": _now(),
                }
                self._patch(pod, "Failed" if ending.code else "Succeeded", {"terminated": terminated})

    def _patch(self, pod: dict[str, Any], phase: str, state: dict[str, Any]) -> None:
        container = {"name": "trial", "state": state, "ready": False, "restartCount": 0, "image": "simulated",
                     "imageID": "simulated@sha256:0"}  # fmt: skip
        body = {"status": {"phase": phase, "containerStatuses": [container]}}
        self.client.merge(f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}/status", body)


def work_of(pod: dict[str, Any]) -> dict[str, Any]:
    """The document that a pod was given."""
    variables = pod["spec"]["containers"][0]["env"]
    document: dict[str, Any] = json.loads(next(v["value"] for v in variables if v["name"] == "ARCHSEARCH_WORK"))
    return document


def good_message(work: dict[str, Any]) -> str:
    """A termination message that fits the work; the accuracy follows from the architecture alone."""
    spec = work["spec"]
    accuracy = (crc32(json.dumps(spec.get("architecture"), sort_keys=True).encode()) % 10_000) / 10_000
    document: dict[str, Any] = {"version": 1, "metrics": {"accuracy": accuracy}}
    if spec["work"] == "Train":
        document["architecture"] = spec["architecture"]
    if spec["work"] == "Retrain":
        document["metrics"]["testAccuracy"] = accuracy
    if spec["work"] == "Profile":
        document["profile"] = {"profile": spec["profile"], "device": "simulated", "runtime": "Torch", "batchSize": 1,
                               "latencyMs": {"p50": 1.0, "p95": 2.0, "p99": 3.0}, "throughput": 10.0,
                               "peakMemoryMiB": 5.0, "parameters": 1000, "flops": 2000}  # fmt: skip
    return json.dumps(document)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
