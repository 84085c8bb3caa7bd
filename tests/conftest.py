"""What tests of several rooms share."""

import functools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster import ControlPlane, binaries, demo
from cluster.waiting import until

REPOSITORY = Path(__file__).resolve().parent.parent


def _why_no_control_plane() -> str | None:
    if sys.platform != "linux":
        return f"a control plane runs on Linux, and this is {sys.platform}"
    return binaries.missing("kubernetes")


def _why_no_cluster() -> str | None:
    if os.environ.get("CLUSTER") == "current":
        return None
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "a cluster boots on Debian, as root; CLUSTER=current uses another one"
    return binaries.missing("kubernetes", "registry", "coredns", "pause", "helm", "prometheus")


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


@pytest.fixture(scope="session")
def bare_target() -> demo.Target:
    """A cluster that runs pods, and the project's images, without the operator.

    This machine's own, booted if need be and left up, or with CLUSTER=current that of the current context.
    """
    if reason := _why_no_cluster():
        pytest.skip(reason)
    return demo.find_target()
