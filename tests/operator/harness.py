"""A namespace on a real API server, and the operator as a process of its own that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.client import ApiError, Client

GROUP = "/apis/archsearch.dev/v1alpha1"
REPOSITORY = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Namespace:
    """A namespace, and what a user does in it."""

    client: Client
    name: str

    def create(self) -> Namespace:
        self.client.apply(f"/api/v1/namespaces/{self.name}", {"apiVersion": "v1", "kind": "Namespace",
                                                              "metadata": {"name": self.name}})  # fmt: skip
        path = f"/api/v1/namespaces/{self.name}/serviceaccounts/default"
        wait_for(lambda: self.client.exists(path), 20, "the namespace's service account")
        return self

    def submit(self, name: str, **spec: Any) -> dict[str, Any]:
        document = {
            "apiVersion": "archsearch.dev/v1alpha1",
            "kind": "ArchitectureSearch",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"task": {"imageClassification": {"dataset": {"builtin": "digits"}}}} | spec,
        }
        self.client.apply(f"{GROUP}/namespaces/{self.name}/architecturesearches/{name}", document)
        return self.search(name)

    def edit(self, name: str, **spec: Any) -> None:
        self.client.merge(f"{GROUP}/namespaces/{self.name}/architecturesearches/{name}", {"spec": spec})

    def search(self, name: str) -> dict[str, Any]:
        return self.client.get(f"{GROUP}/namespaces/{self.name}/architecturesearches/{name}")

    def delete(self, name: str) -> None:
        self.client.request("DELETE", f"{GROUP}/namespaces/{self.name}/architecturesearches/{name}")

    def trials(self, work: str | None = None) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.client.get(f"{GROUP}/namespaces/{self.name}/architecturetrials")["items"]
        return sorted(
            (item for item in items if work in (None, item["spec"]["work"])), key=lambda t: t["spec"]["index"]
        )

    def jobs(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.client.get(f"/apis/batch/v1/namespaces/{self.name}/jobs")["items"]
        return items

    def condition(self, name: str, kind: str) -> tuple[str, str, str]:
        found = {c["type"]: c for c in self.search(name).get("status", {}).get("conditions", [])}
        item = found.get(kind, {})
        return item.get("status", ""), item.get("reason", ""), item.get("message", "")

    def events(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.client.get(f"/api/v1/namespaces/{self.name}/events")["items"]
        return items


@dataclass
class Operator:
    """The operator as a process. kill() is SIGKILL; start() makes a new one."""

    kubeconfig: Path
    namespace: str
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    metrics_port: int = field(default_factory=free_port)

    def metric(self, name: str) -> float:
        """A value that it shows of itself."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def start(self) -> Operator:
        environment = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "ARCHSEARCH_NAMESPACE": self.namespace,
            "ARCHSEARCH_TRIAL_IMAGE": "example.org/trial:1",
            "ARCHSEARCH_METRICS_PORT": str(self.metrics_port),
            "ARCHSEARCH_HEALTH_PORT": str(free_port()),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "operator"), str(REPOSITORY / "trial_image")]),
        }  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "archsearch_operator"],
                env=environment | self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def kill(self) -> None:
        """SIGKILL to the operator and to its searcher processes: nothing is cleaned up."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Operator:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def wait_for(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait until `check` is true, and return what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := check():
                return found
        except (OSError, ApiError, KeyError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}")
