"""The node: containerd, the kubelet and kube-proxy, each with configuration, state and sockets of this cluster only."""

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cluster import access, cgroups, network, processes
from cluster.access import NODE_NAME, Access
from cluster.binaries import binary
from cluster.client import Client
from cluster.commands import run
from cluster.paths import State
from cluster.waiting import until

COMPONENTS = ("containerd", "kubelet", "kube-proxy")
# Where the kubelet listens for device plugins, and where it names the log of each container once more.
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
_LOG_LINKS = Path("/var/log/containers")

NODE_PATH = f"/api/v1/nodes/{NODE_NAME}"


def start(state: State, entry: Access, client: Client, *, pause_image: str, registry: str) -> None:
    """Start the node and wait until it is Ready.

    pause_image: the image that holds each pod's namespaces. registry: `host:port` that containerd may pull from
    over plain HTTP.
    """
    cgroups.create(state)
    pids = {"containerd": _start_containerd(state, pause_image, registry)}
    until(lambda: _socket(state).exists(), "containerd's socket", state=state, components=pids)
    client.apply(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kube-proxy",
        _binding("kube-proxy", "system:node-proxier", access.PROXY.user),
    )
    pids["kubelet"] = processes.start(state, "kubelet", _kubelet(state, entry))
    pids["kube-proxy"] = processes.start(state, "kube-proxy", _kube_proxy(state, entry))
    until(lambda: is_ready(client), "a Ready node", state=state, components={"kubelet": pids["kubelet"], **pids})


def is_ready(client: Client) -> bool:
    """Whether the node says of itself that it is Ready."""
    if not client.exists(NODE_PATH):
        return False
    conditions = client.get(NODE_PATH)["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def fake_gpus(client: Client, count: int) -> None:
    """Let the node claim `count` GPUs: pods that ask for them are scheduled, without there being a device."""
    amounts = {"nvidia.com/gpu": str(count) if count else None}
    client.merge(f"{NODE_PATH}/status", {"status": {"capacity": amounts, "allocatable": amounts}})


def remove_containers(state: State) -> bool:
    """Stop all containers and forget them. Returns whether the images are in order and can be kept.

    They are not if containerd was killed before it could be asked: then its records name containers that are gone.
    """
    processes.stop(cgroups.pids(state), grace_seconds=0)
    if "containerd" not in processes.running(state):
        return _in_order(state).exists()
    # containerd itself removes the tasks whose processes have just ended: either of the two may be first.
    for _ in range(20):
        tasks, containers = (ctr(state, kind, "list", "--quiet").split() for kind in ("tasks", "containers"))
        if tasks:
            ctr(state, "tasks", "remove", "--force", *tasks, check=False)
        elif containers:
            ctr(state, "containers", "remove", *containers, check=False)
        else:
            break
    else:
        return False
    _in_order(state).touch()
    return True


def forget_replaced_images(state: State, registry: str, current: Iterable[str]) -> None:
    """Drop the images from the registry whose digests are no longer `current`: the next pod pulls what is there now.

    Without it they take space for ever, and a pod with imagePullPolicy IfNotPresent runs an old image under a new
    image's name. Containers that run keep what they run on.
    """
    if "containerd" not in processes.running(state):
        return
    rows = [line.split()[:3] for line in ctr(state, "images", "list").splitlines()[1:]]
    pulled = {digest for name, _, digest in rows if name.startswith(f"{registry}/")}
    replaced = [name for name, _, digest in rows if digest in pulled - set(current)]
    if replaced:
        ctr(state, "images", "remove", *replaced, check=False)


def pull(state: State, reference: str) -> None:
    """Let the node have an image before a pod asks for it: unpacking a large one takes a minute or two."""
    if "containerd" in processes.running(state):
        ctr(state, "images", "pull", "--plain-http", reference)


def ctr(state: State, *words: str, check: bool = True) -> str:
    """Run containerd's own client in the namespace of Kubernetes."""
    return run("ctr", "--address", _socket(state), "--namespace", "k8s.io", *words, check=check)


def unmount(state: State) -> list[str]:
    """Unmount everything below the cluster's folder, the innermost first; returns what is still mounted."""
    for options in ((), ("--lazy",)):
        for target in reversed(mounts(state)):
            run("umount", *options, target, check=False)
    return mounts(state)


def mounts(state: State) -> list[str]:
    """The mount points below the cluster's folder, in the order in which they were mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = (line.split()[4].encode().decode("unicode_escape") for line in lines)
    return [target for target in targets if target.startswith(f"{state.folder}/")]


def wipe(state: State, *, keep_images: bool) -> None:
    """Remove the node's files. Images are kept only if containerd was left in order, see `remove_containers`."""
    for name in ("kubelet", "run"):
        shutil.rmtree(state.folder / name, ignore_errors=True)
    shutil.rmtree(state.containerd / "state", ignore_errors=True)
    # What the CRI plugin remembers of each container; the images are not in it.
    shutil.rmtree(state.containerd / "root" / "io.containerd.grpc.v1.cri", ignore_errors=True)
    if not keep_images:
        shutil.rmtree(state.containerd, ignore_errors=True)


def remove_traces(state: State) -> None:
    """Remove what the kubelet leaves where no setting moves it, and the folders if nothing else is in them."""
    for name in ("kubelet.sock", "kubelet_internal_checkpoint"):
        (_DEVICE_PLUGINS / name).unlink(missing_ok=True)
    for link in _LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(state.folder):
            link.unlink()
    for folder in (_DEVICE_PLUGINS, _DEVICE_PLUGINS.parent, _LOG_LINKS):
        with suppress(OSError):
            folder.rmdir()


def _in_order(state: State) -> Path:
    """A file that exists while containerd is down and left nothing behind but images."""
    return state.containerd / "in-order"


def _socket(state: State) -> Path:
    return state.folder / "run" / "containerd.sock"


def _start_containerd(state: State, pause_image: str, registry: str) -> int:
    hosts = state.containerd / "registries" / registry
    hosts.mkdir(parents=True, exist_ok=True)
    (state.folder / "run").mkdir(exist_ok=True)
    (hosts / "hosts.toml").write_text(
        f'server = "http://{registry}"\n[host."http://{registry}"]\ncapabilities = ["pull", "resolve"]\n'
    )
    _in_order(state).unlink(missing_ok=True)
    config = state.containerd / "config.toml"
    config.write_text(_containerd_configuration(state, pause_image))
    # TOML does not know where the programs of the host are.
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"
    return processes.start(state, "containerd", ["containerd", "--config", config], env={"PATH": path})


def _containerd_configuration(state: State, pause_image: str) -> str:
    """The configuration in TOML. JSON's strings are TOML's strings."""
    home = state.containerd
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    sections: dict[str, dict[str, object]] = {
        "grpc": {"address": str(_socket(state))},
        f"{cri}": {
            "sandbox_image": pause_image,
            # Without it no pod starts where root lacks CAP_SYS_RESOURCE, as in many virtual machines' sandboxes.
            "restrict_oom_score_adj": True,
            # Everything that is mounted is below the state folder, where it is found again.
            "netns_mounts_under_state_dir": True,
            "max_concurrent_downloads": 6,
        },
        f"{cri}.containerd": {"snapshotter": "overlayfs", "discard_unpacked_layers": True},
        f"{cri}.containerd.runtimes.runc": {"runtime_type": "io.containerd.runc.v2"},
        f"{cri}.containerd.runtimes.runc.options": {"Root": str(state.folder / "run" / "runc")},
        f"{cri}.cni": {"bin_dir": str(network.PLUGINS), "conf_dir": str(network.configuration_folder(state))},
        f"{cri}.registry": {"config_path": str(home / "registries")},
        'plugins."io.containerd.internal.v1.opt"': {"path": str(home / "opt")},
    }
    skipped = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")]
    top = {"version": 2, "root": str(home / "root"), "state": str(home / "state"), "disabled_plugins": skipped}
    return "\n".join(
        [*_assignments(top), *(f"\n[{name}]\n" + "\n".join(_assignments(s)) for name, s in sections.items())]
    )


def _assignments(values: dict[str, object]) -> Iterable[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in values.items()]


def _kubelet(state: State, entry: Access) -> list[str | Path]:
    home = state.folder / "kubelet"
    home.mkdir(exist_ok=True)
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{_socket(state)}",
        "address": network.NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(entry.kubelet_client_certificate)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.root(state),
        "failSwapOn": False,
        "clusterDNS": [network.DNS_SERVICE_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "/dev/null",
        "podLogsDir": str(home / "logs"),
        "volumePluginDir": str(state.folder / "volume-plugins"),
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "maxPods": 250,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        # A development machine's disk is often nearly full; images go when they are no longer tagged, see images.py.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }
    file = home / "config.json"
    file.write_text(json.dumps(config, indent=2))
    return [
        binary("kubelet"),
        f"--config={file}",
        f"--root-dir={home}",
        f"--cert-dir={home / 'pki'}",
        f"--kubeconfig={entry.kubeconfig(access.KUBELET)}",
        f"--node-ip={network.NODE_ADDRESS}",
        f"--hostname-override={NODE_NAME}",
    ]


def _kube_proxy(state: State, entry: Access) -> list[str | Path]:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(entry.kubeconfig(access.PROXY))},
        "hostnameOverride": NODE_NAME,
        # The host's limit stays as it is.
        "conntrack": {"maxPerCore": 0},
        "iptables": {"minSyncPeriod": "100ms"},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }
    file = state.folder / "run" / "kube-proxy.json"
    file.write_text(json.dumps(config, indent=2))
    return [binary("kube-proxy"), f"--config={file}"]


def _binding(name: str, role: str, user: str) -> dict[str, object]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }
