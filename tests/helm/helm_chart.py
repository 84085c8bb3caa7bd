"""Runs helm on the chart."""

from __future__ import annotations

import functools
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import binaries
from cluster.commands import run
from cluster.paths import REPOSITORY

Json = dict[str, Any]
# (API group, resource, verb)
Permission = tuple[str, str, str]

CHART = REPOSITORY / "helm" / "archsearch"
NAMESPACE = "system"
# helm takes the oldest version that it knows for a chart that is rendered without a cluster.
KUBERNETES = "1.34.0"
GROUP = "archsearch.dev"

# All that the operator may do, as the chart's README lists it.
OPERATOR: frozenset[Permission] = frozenset(
    (group, resource, verb)
    for group, resource, verbs in (
        (GROUP, "architecturesearches", "get list watch"),
        (GROUP, "architecturesearches/status", "patch"),
        (GROUP, "architecturetrials", "get list create patch"),
        (GROUP, "architecturetrials/status", "patch"),
        ("batch", "jobs", "get list watch create delete"),
        ("", "pods", "list watch"),
        ("", "events", "create"),
    )
    for verb in verbs.split()
)


class Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: 1e+100, as helm writes it, is a number."""


_EXPONENT = re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$")
Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


@functools.cache
def helm_program() -> Path:
    """The helm of the project's version; the user's own where there is no Go to build it with. Skips without both."""
    reason = binaries.missing("helm")
    if reason is None:
        return binaries.binary("helm")
    if own := shutil.which("helm"):
        return Path(own)
    pytest.skip(reason)


def helm(*arguments: str | Path) -> str:
    """Run helm without a cluster and return what it prints. Raises CommandError."""
    return run(helm_program(), *arguments, env={"KUBECONFIG": "/nonexistent"})


def settings(**values: str) -> list[str]:
    """Arguments that set values; `__` stands for a dot."""
    return [word for name, value in values.items() for word in ("--set", f"{name.replace('__', '.')}={value}")]


def render(*arguments: str, chart: Path = CHART, release: str = "nas", **values: str) -> list[Json]:
    """The objects of a release called `nas` in the namespace `system`."""
    chosen = settings(**{"trialImage": "trial:1", **values})
    where = ["--namespace", NAMESPACE, "--kube-version", KUBERNETES]
    text = helm("template", release, chart, *where, *chosen, *arguments)
    return [document for document in yaml.load_all(text, Loader) if document]


def find(documents: list[Json], kind: str, name: str = "nas") -> Json:
    """The one object of this kind and name."""
    (found,) = [each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def permissions(role: Json) -> Counter[Permission]:
    """What a Role or ClusterRole permits, each as often as it says so."""
    assert all(set(rule) == {"apiGroups", "resources", "verbs"} for rule in role["rules"])
    return Counter(
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )
