"""What a user does with kubectl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from cluster.commands import CommandError
from cluster.demo import Target

Json = dict[str, Any]


@dataclass
class User:
    """A user in a namespace."""

    target: Target
    namespace: str

    def kubectl(self, *arguments: str, text_input: str | None = None) -> str:
        return self.target.kubectl("-n", self.namespace, *arguments, text_input=text_input)

    def get(self, *arguments: str) -> Json:
        found: Json = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def submit(self, name: str, **spec: Any) -> None:
        document = {
            "apiVersion": "archsearch.dev/v1alpha1",
            "kind": "ArchitectureSearch",
            "metadata": {"name": name},
            "spec": {"task": {"imageClassification": {"dataset": {"builtin": "digits"}}}} | spec,
        }
        self.kubectl("apply", "-f", "-", text_input=yaml.safe_dump(document))

    def status(self, name: str) -> Json:
        found: Json = self.get("nas", name).get("status", {})
        return found

    def condition(self, name: str, kind: str) -> tuple[str, str, str]:
        for item in self.status(name).get("conditions", []):
            if item["type"] == kind:
                return item["status"], item["reason"], item.get("message", "")
        return "", "", ""

    def trials(self, work: str | None = None) -> list[Json]:
        items = self.get("nastrial")["items"]
        return sorted((i for i in items if work in (None, i["spec"]["work"])), key=lambda item: item["spec"]["index"])

    def wait(self, check: Callable[[], Any], seconds: float, what: str) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if found := check():
                    return found
            except (CommandError, KeyError, IndexError):
                pass
            time.sleep(0.5)
        raise AssertionError(f"waited {seconds} s for {what}:\n{self.report()}")

    def wait_end(self, name: str, seconds: float) -> Json:
        self.wait(lambda: self.condition(name, "Succeeded")[0] in {"True", "False"}, seconds, f"the end of {name}")
        return self.status(name)

    def report(self) -> str:
        """What a person would look at when something is wrong."""
        everything = self.kubectl("get", "nas,nastrial,jobs,pods", "-o", "wide")
        return everything + self.kubectl("get", "events", "--sort-by=.lastTimestamp")[-3000:]
