"""The full cluster: control plane, registry, node and DNS. One at a time on a machine, because it owns the bridge."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cluster import binaries, cgroups, controlplane, dns, images, network, node, processes, registry, system
from cluster.access import Access
from cluster.client import Client
from cluster.controlplane import Ports, Settings
from cluster.errors import ClusterError
from cluster.paths import DEFAULT_NAME, State, all_states
from cluster.planes import locked, reap_orphans
from cluster.progress import say, step

PORTS = Ports(etcd=16379, etcd_peer=16380, api=16443)
COMPONENTS = (*controlplane.components(with_node=True), "registry", *node.COMPONENTS, "coredns")


@dataclass(frozen=True)
class FullCluster:
    """The cluster with a node that runs pods.

    with FullCluster.start() as cluster:
        cluster.push("localhost/mine", "mine:dev")

    booted: whether `start` booted it, as opposed to finding it up. The `with` block takes down only what it booted.
    """

    name: str = DEFAULT_NAME
    booted: bool = False

    @classmethod
    def start(cls, name: str = DEFAULT_NAME) -> "FullCluster":
        """Return the running cluster, or boot it; `down` is up to the caller or to the `with` block."""
        return cls(name, booted=up(name))

    @classmethod
    def current(cls, name: str = DEFAULT_NAME) -> "FullCluster | None":
        """The cluster if it is up and in order, else None. Starts nothing."""
        return cls(name) if is_up(State(name)) else None

    @property
    def state(self) -> State:
        """The folder with logs and secrets."""
        return State(self.name)

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig file of the administrator."""
        return self.state.kubeconfig

    @property
    def client(self) -> Client:
        """A minimal client, for tests that need no more."""
        return Client(self.kubeconfig)

    @property
    def registry(self) -> str:
        """`host:port` of the registry, as pods name it."""
        return registry.ADDRESS

    def push(self, image: str, name: str) -> str:
        """Push a local buildah image as `NAME:TAG`; returns the reference that pods use."""
        return images.publish(self.state, image, name)

    def fake_gpus(self, count: int) -> None:
        """Let the node claim so many GPUs; 0 takes the claim back."""
        node.fake_gpus(self.client, count)

    def down(self) -> None:
        """Stop the cluster and leave nothing behind but caches."""
        down(self.name)

    def __enter__(self) -> "FullCluster":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.booted:
            self.down()


def up(name: str = DEFAULT_NAME) -> bool:
    """Make the cluster run, whatever is left of an earlier one. Returns False if it was up and in order."""
    state = State(name)
    system.require_root()
    reap_orphans()
    _refuse_second(state)
    system.install_packages()
    binaries.build("kubernetes", "registry", "coredns", "pause")
    with locked(state):
        if is_up(state):
            return False
        if processes.running(state) or mounted(state):
            say("    something of an earlier cluster is left: cleaning up first")
        _clean(state)
        # What is there now is not ours. After this the description says that what is there is.
        network.require_free()
        try:
            _boot(state)
        except BaseException:
            # What still runs would only hide the reason; the logs stay.
            with step("clean up what was started"):
                _clean(state)
            raise
    return True


def down(name: str = DEFAULT_NAME, *, wipe: bool = False) -> None:
    """Stop the cluster. What stays are caches (registry, pulled images) and logs; with `wipe` nothing does."""
    state = State(name)
    with locked(state), step(f"stop cluster {name}"):
        _clean(state)
        if wipe:
            shutil.rmtree(state.folder, ignore_errors=True)


def is_up(state: State) -> bool:
    """Whether every component runs and does what it is for."""
    if not set(COMPONENTS) <= set(processes.running(state)):
        return False
    client = Client(state.kubeconfig)
    return client.exists("/readyz") and node.is_ready(client) and registry.serves() and dns.serves()


def mounted(state: State) -> bool:
    """Whether something is still mounted below the cluster's folder."""
    return bool(node.mounts(state))


def _boot(state: State) -> None:
    settings = Settings(PORTS, network.NODE_ADDRESS, with_node=True)
    entry = Access(state, f"https://{settings.address}:{settings.ports.api}")
    state.create()
    controlplane.describe(state, settings)
    with step("network and kernel settings"):
        system.change_settings(state)
        network.create_bridge()
        network.write_configuration(state)
    with step("registry and the pause image"):
        registry.collect_garbage(state)
        registry.start(state)
        pause = images.ensure_pause(state)
    with step("control plane"):
        client = controlplane.start(state, settings)
    with step("node: containerd, kubelet, kube-proxy"):
        node.start(state, entry, client, pause_image=pause, registry=registry.ADDRESS)
    with step("service DNS"):
        dns.start(state, entry, client)


def _clean(state: State) -> None:
    """Take away everything of this cluster that is alive or in the kernel, then its files. Safe to repeat."""
    # containerd is needed to take its containers away.
    others = [each.pid for each in processes.find(state.folder) if each.component != "containerd"]
    processes.stop(others, grace_seconds=1)
    images_in_order = node.remove_containers(state)
    processes.stop((each.pid for each in processes.find(state.folder)), grace_seconds=2)
    left = [*node.unmount(state), *map(str, cgroups.remove(state))]
    if left:
        # Never remove files below a mount: they may be somebody's data.
        raise ClusterError(f"these are still in use, end what uses them and repeat: {', '.join(left)}")
    description = controlplane.described(state)
    if description.get("with_node") and description.get("boot") == controlplane.this_boot():
        network.remove(state)
        node.remove_traces(state)
        system.restore_settings(state)
    else:
        # What there is of networks is somebody else's, and the settings are those of another boot.
        system.forget_settings(state)
    node.wipe(state, keep_images=images_in_order)
    for name in ("etcd", "secrets", "volumes", "volume-plugins"):
        shutil.rmtree(state.folder / name, ignore_errors=True)
    for file in (state.kubeconfig, state.description):
        file.unlink(missing_ok=True)


def _refuse_second(state: State) -> None:
    for other in all_states():
        if other != state and controlplane.described(other).get("with_node") and processes.running(other):
            raise ClusterError(
                f"only one full cluster fits on a machine, and {other.name!r} is up; "
                f"stop it with `python -m cluster down --name {other.name}`"
            )
