"""What tests of several rooms share."""

import functools
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cluster import ControlPlane, FullCluster
from cluster.binaries import MODULES
from cluster.waiting import until

REPOSITORY = Path(__file__).resolve().parent.parent


def _why_no_control_plane() -> str | None:
    if sys.platform != "linux":
        return f"a control plane runs on Linux, and this is {sys.platform}"
    if not MODULES["kubernetes"].folder.is_dir() and shutil.which("go") is None:
        return "a control plane is built with Go, which is not installed"
    return None


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real API server with the project's CRDs, for the whole session: tests use names or namespaces of their own."""
    if reason := _why_no_control_plane():
        pytest.skip(reason)
    with ControlPlane.start() as plane:
        for file in sorted((REPOSITORY / "crds").glob("*.yaml")):
            definition = yaml.safe_load(file.read_text())
            name, names = definition["metadata"]["name"], definition["spec"]["names"]
            plane.client.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}", definition)
            served = f"/apis/{definition['spec']['group']}/v1alpha1/{names['plural']}"
            until(functools.partial(plane.client.exists, served), f"CRD {name}", state=plane.state, components={})
        yield plane


@dataclass(frozen=True)
class CurrentCluster:
    """The cluster of the user's current context. registry: where its nodes pull the project's images from."""

    kubeconfig: Path
    registry: str


@pytest.fixture(scope="session")
def full_cluster() -> Iterator[FullCluster | CurrentCluster]:
    """A cluster that runs pods: this machine's own, booted if need be, or with CLUSTER=current the current context."""
    if os.environ.get("CLUSTER") == "current":
        kubeconfig = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        registry = os.environ.get("ARCHSEARCH_REGISTRY", "")
        if not registry:
            pytest.skip("CLUSTER=current needs ARCHSEARCH_REGISTRY: the registry that holds archsearch-operator:dev")
        yield CurrentCluster(kubeconfig, registry)
        return
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("a cluster boots on Debian, as root; CLUSTER=current uses another one")
    if reason := _why_no_control_plane():
        pytest.skip(reason)
    with FullCluster.start() as cluster:
        yield cluster
