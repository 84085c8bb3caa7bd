"""The control plane: etcd, the API server and the controllers, and the scheduler where there is a node.

It knows nothing of nodes, containers or images.
"""

import json
import shutil
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster import access, network, processes
from cluster.access import Access
from cluster.binaries import binary
from cluster.client import Client
from cluster.errors import ClusterError
from cluster.paths import State
from cluster.waiting import until


@dataclass(frozen=True)
class Ports:
    """The TCP ports of a control plane."""

    etcd: int
    etcd_peer: int
    api: int

    @classmethod
    def starting_from(cls, first: int) -> "Ports":
        """Three ports in a row."""
        return cls(first, first + 1, first + 2)

    @classmethod
    def free(cls) -> "Ports":
        """Three ports that nobody uses now. Another process may take one before it is used."""
        sockets = [socket.socket() for _ in range(3)]
        try:
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            return cls(*(each.getsockname()[1] for each in sockets))
        finally:
            for each in sockets:
                each.close()

    def require_free(self) -> None:
        """Raise ClusterError if one of them is taken."""
        for name, port in asdict(self).items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise ClusterError(f"port {port} ({name}) cannot be used: {error.strerror}") from None


@dataclass(frozen=True)
class Settings:
    """What distinguishes one control plane from another.

    address: where clients reach the API server. With a node it is an address that pods reach too.
    with_node: whether a scheduler runs and the API server is told how to reach kubelets.
    owner: see `processes.identity`.
    """

    ports: Ports
    address: str = "127.0.0.1"
    with_node: bool = False
    owner: str = ""


def start(state: State, settings: Settings) -> Client:
    """Start an empty control plane and wait until pods can be created in it."""
    settings.ports.require_free()
    entry = Access(state, f"https://{settings.address}:{settings.ports.api}")
    entry.create()
    shutil.rmtree(state.folder / "etcd", ignore_errors=True)
    owner = settings.owner

    pids = {"etcd": processes.start(state, "etcd", _etcd(state, settings.ports), owner=owner)}
    # Not waited for: the API server tries again until etcd answers.
    pids["kube-apiserver"] = processes.start(state, "kube-apiserver", _api_server(entry, settings), owner=owner)
    client = Client(state.kubeconfig)
    ready = {"kube-apiserver": pids["kube-apiserver"], **pids}
    until(lambda: client.exists("/readyz"), "a ready API server", state=state, components=ready)

    for component, argv in _controllers(state, entry, settings).items():
        pids[component] = processes.start(state, component, argv, owner=owner)
    ready = {"kube-controller-manager": pids["kube-controller-manager"], **pids}
    # Pods are refused until the controllers have made this.
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    until(lambda: client.exists(account), "the default service account", state=state, components=ready)
    return client


def components(with_node: bool) -> tuple[str, ...]:
    """The names of the processes that a control plane consists of."""
    names = ("etcd", "kube-apiserver", "kube-controller-manager")
    return (*names, "kube-scheduler") if with_node else names


def _etcd(state: State, ports: Ports) -> list[str | Path]:
    peer = f"http://127.0.0.1:{ports.etcd_peer}"
    client = f"http://127.0.0.1:{ports.etcd}"
    return [
        binary("etcd"),
        f"--data-dir={state.folder / 'etcd'}",
        # The data die with the cluster: a crash loses nothing that was promised.
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
    ]


def _api_server(entry: Access, settings: Settings) -> list[str | Path]:
    words: list[str | Path] = [
        binary("kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{settings.ports.etcd}",
        f"--cert-dir={entry.certificates}",
        f"--secure-port={settings.ports.api}",
        f"--advertise-address={settings.address}",
        f"--service-cluster-ip-range={network.SERVICE_CIDR}",
        f"--token-auth-file={entry.tokens}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={entry.service_account_key}",
        f"--service-account-signing-key-file={entry.service_account_key}",
        "--profiling=false",
    ]
    if not settings.with_node:
        # The reconciler that publishes the API server's address refuses loopback addresses.
        return [*words, "--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"]
    return [
        *words,
        "--bind-address=0.0.0.0",
        "--allow-privileged=true",
        # Without it `kubectl logs` tries to resolve the node's name, and fails.
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={entry.kubelet_client_certificate}",
        f"--kubelet-client-key={entry.kubelet_client_key}",
    ]


def _controllers(state: State, entry: Access, settings: Settings) -> dict[str, list[str | Path]]:
    started: dict[str, list[str | Path]] = {
        "kube-controller-manager": [
            binary("kube-controller-manager"),
            f"--kubeconfig={entry.kubeconfig(access.CONTROLLER_MANAGER)}",
            f"--root-ca-file={entry.authority}",
            f"--service-account-private-key-file={entry.service_account_key}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
            # It is made where it is missing, by default below /usr.
            f"--flex-volume-plugin-dir={state.folder / 'volume-plugins'}",
            # At the defaults 150 Jobs take over 10 s to be marked Complete.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--concurrent-job-syncs=50",
            "--concurrent-gc-syncs=50",
        ],
    }
    if settings.with_node:
        started["kube-scheduler"] = [
            binary("kube-scheduler"),
            f"--kubeconfig={entry.kubeconfig(access.SCHEDULER)}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]
    return started


def describe(state: State, settings: Settings) -> None:
    """Write down what kind of cluster lies in this folder, before its first process starts."""
    # Whole or not at all: whoever is killed here leaves nothing that the next one stumbles over.
    partial = state.description.with_suffix(".partial")
    partial.write_text(json.dumps({**asdict(settings), "boot": this_boot()}, indent=2))
    partial.replace(state.description)


def described(state: State) -> dict[str, Any]:
    """What `describe` wrote; empty where there is nothing, or nothing that can be understood."""
    try:
        found = json.loads(state.description.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def this_boot() -> str:
    """Names the time since the machine was started: nothing that was in the kernel before it is there now."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
