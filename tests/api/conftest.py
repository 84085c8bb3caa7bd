"""The API server, for the tests of the API."""

import subprocess
from collections.abc import Callable

import pytest
from apiserver import Server

from cluster import ControlPlane
from cluster.binaries import binary


@pytest.fixture(scope="session")
def searches(control_plane: ControlPlane) -> Server:
    return Server(control_plane, "architecturesearches")


@pytest.fixture(scope="session")
def trials(control_plane: ControlPlane) -> Server:
    return Server(control_plane, "architecturetrials")


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        command = [str(binary("kubectl")), "--kubeconfig", str(control_plane.kubeconfig), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
