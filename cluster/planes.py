"""Control planes without a node: cheap, any number side by side, each with its own name, ports and state folder."""

import errno
import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cluster import binaries, controlplane, processes, progress, system
from cluster.client import Client
from cluster.controlplane import Ports, Settings
from cluster.errors import ClusterError
from cluster.paths import DEFAULT_NAME, State, all_states, state_root

_PORT_ATTEMPTS = 4
# The system says it with a capital letter, programs written in Go without.
_ADDRESS_IN_USE = os.strerror(errno.EADDRINUSE).lower()
_numbers = itertools.count(1)


@dataclass(frozen=True)
class ControlPlane:
    """A running API server with etcd and the controllers: everything but nodes.

    with ControlPlane.start() as plane:
        subprocess.run(["kubectl", "--kubeconfig", plane.kubeconfig, "get", "namespaces"])
    """

    name: str

    @classmethod
    def start(cls, name: str | None = None, *, ports_from: int | None = None) -> "ControlPlane":
        """Start a control plane that lives as long as this process at most; about 4 s.

        name: a name of its own; by default one that no other process takes.
        ports_from: the first of three ports; by default free ones are picked.
        Raises ClusterError if a cluster of this name runs, a port is taken or a component fails.
        """
        chosen = name or f"plane-{os.getpid()}-{next(_numbers)}"
        with progress.quiet():
            start(chosen, ports_from=ports_from, owner=processes.identity(os.getpid()))
        return cls(chosen)

    @property
    def state(self) -> State:
        """The folder with logs and secrets."""
        return State(self.name)

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig file of the administrator."""
        return self.state.kubeconfig

    @property
    def server(self) -> str:
        """The URL of the API server."""
        config = json.loads(self.kubeconfig.read_text())
        return str(config["clusters"][0]["cluster"]["server"])

    @property
    def client(self) -> Client:
        """A minimal client, for tests that need no more."""
        return Client(self.kubeconfig)

    def stop(self) -> None:
        """Stop it and remove its state. Stopping twice is stopping once."""
        stop(self.state)

    def __enter__(self) -> "ControlPlane":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def start(name: str, *, ports_from: int | None = None, owner: str = "") -> None:
    """Start the control plane `name`; what is left of an earlier one is removed first."""
    if name == DEFAULT_NAME:
        raise ClusterError(
            f"{DEFAULT_NAME!r} is the name of the full cluster; give the control plane another with --name"
        )
    state = State(name)
    reap_orphans()
    with progress.step("binaries"):
        if os.geteuid() == 0:
            system.install_packages(system.CONTROL_PLANE_PACKAGES)
        binaries.build("kubernetes")
    with locked(state):
        if set(processes.running(state)) == set(controlplane.components(with_node=False)):
            if not owner and Client(state.kubeconfig).exists("/readyz"):
                return
            raise ClusterError(f"a control plane {name!r} is running already; stop it with `down --name {name}`")
        _clear(state)
        with progress.step(f"control plane {name}"):
            _start(state, ports_from, owner)


def _start(state: State, ports_from: int | None, owner: str) -> None:
    for attempt in itertools.count(1):
        ports = Ports.free() if ports_from is None else Ports.starting_from(ports_from)
        settings = Settings(ports, owner=owner)
        state.create()
        controlplane.describe(state, settings)
        try:
            controlplane.start(state, settings)
        except BaseException as error:
            processes.stop((process.pid for process in processes.find(state.folder)), grace_seconds=0)
            # A port that was free when it was picked may be taken when it is used.
            taken = _ADDRESS_IN_USE in str(error).lower() and ports_from is None
            if not taken or attempt == _PORT_ATTEMPTS:
                raise
        else:
            return


def stop(state: State) -> None:
    """Stop the control plane whose state this is and remove the state."""
    with locked(state):
        _clear(state)


def reap_orphans() -> None:
    """Remove control planes whose owner is gone: a test process that was killed cannot do it itself."""
    dead = [each for each in processes.find() if each.owner and not processes.is_alive(each.owner)]
    processes.stop((each.pid for each in dead), grace_seconds=0)
    for state in all_states():
        owner = controlplane.described(state).get("owner")
        if owner and not processes.is_alive(owner):
            shutil.rmtree(state.folder, ignore_errors=True)
    for lock in state_root().glob("plane-*.lock"):
        if not lock.with_suffix("").is_dir():
            lock.unlink(missing_ok=True)


@contextmanager
def locked(state: State) -> Iterator[None]:
    """One process at a time starts or stops a cluster; the kernel gives the lock back if that process is killed."""
    state_root().mkdir(parents=True, exist_ok=True)
    with (state_root() / f"{state.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clear(state: State) -> None:
    processes.stop((process.pid for process in processes.find(state.folder)), grace_seconds=0)
    shutil.rmtree(state.folder, ignore_errors=True)
