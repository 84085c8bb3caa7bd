"""The API server, for the tests of the API."""

import itertools
import subprocess
from collections.abc import Callable, Iterator

import pytest
from apiserver import Json, Server
from records import trial
from specs import changed

from cluster import ControlPlane
from cluster.binaries import binary

NUMBERS = itertools.count()


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


@pytest.fixture
def search(searches: Server) -> Iterator[Json]:
    """A search with every field set, of its own."""
    created = searches.create(changed({"metadata.name": f"search-{next(NUMBERS)}"}))
    yield created
    searches.delete(created["metadata"]["name"])


@pytest.fixture
def record(trials: Server) -> Iterator[Json]:
    """A trial of its own."""
    created = trials.create(trial(name=f"trial-{next(NUMBERS)}"))
    yield created
    trials.delete(created["metadata"]["name"])
