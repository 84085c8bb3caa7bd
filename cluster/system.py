"""What the host must have: Debian packages, and kernel settings that are put back when the cluster goes."""

import json
import os
import shutil
from pathlib import Path

from cluster.commands import CommandError, run
from cluster.errors import ClusterError
from cluster.paths import State
from cluster.progress import say, step

# The program that shows that the package is there, by package.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "openssl": "openssl",
    "util-linux": "setpriv",
    "mount": "mount",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}
CONTROL_PLANE_PACKAGES = ("openssl", "util-linux")

# What the kubelet and kube-proxy change when they start, and ip_forward, which pods need to reach anything.
SETTINGS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
)


def require_root() -> None:
    """Raise ClusterError unless this is root on Linux."""
    if os.geteuid() != 0:
        raise ClusterError("a full cluster needs root (namespaces, mounts, iptables); a control plane alone does not")


def install_packages(packages: tuple[str, ...] = tuple(PACKAGES)) -> None:
    """Install the Debian packages that are missing, saying which; do nothing if none is."""
    missing = [package for package in packages if not _is_present(PACKAGES[package])]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"missing and there is no apt-get to install them: {', '.join(missing)}")
    require_root()
    brings_service = "containerd" in missing
    with step(f"install Debian packages: {' '.join(missing)}"):
        try:
            _apt_install(missing)
        except CommandError:
            # Package lists that are absent or older than the archive: the one case in which an update is needed.
            run("apt-get", "update")
            _apt_install(missing)
    if brings_service and Path("/run/systemd/system").is_dir():
        # This cluster runs a containerd of its own; the service would only be a second one.
        run("systemctl", "disable", "--now", "containerd.service", check=False)
        say("    disabled the containerd service that the package brought: the cluster runs its own")


def change_settings(state: State) -> None:
    """Remember the kernel settings that a node changes, and switch forwarding on."""
    saved = _saved_settings(state)
    if not saved.exists():
        found = {name: path.read_text().strip() for name in SETTINGS if (path := _setting(name)).exists()}
        saved.write_text(json.dumps(found, indent=2))
    _setting("net/ipv4/ip_forward").write_text("1")


def restore_settings(state: State) -> None:
    """Put back the kernel settings as they were before the node's first start."""
    saved = _saved_settings(state)
    if not saved.exists():
        return
    for name, value in json.loads(saved.read_text()).items():
        path = _setting(name)
        if path.exists() and path.read_text().strip() != value:
            try:
                path.write_text(value)
            except OSError as error:
                say(f"    could not put {path} back to {value}: {error}")
    saved.unlink()


def forget_settings(state: State) -> None:
    """Put nothing back: the machine was restarted, and has settings of its own again."""
    _saved_settings(state).unlink(missing_ok=True)


def _apt_install(packages: list[str]) -> None:
    run("apt-get", "install", "-y", "--no-install-recommends", *packages, env={"DEBIAN_FRONTEND": "noninteractive"})


def _is_present(evidence: str) -> bool:
    return Path(evidence).exists() if evidence.startswith("/") else shutil.which(evidence) is not None


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name


def _saved_settings(state: State) -> Path:
    return state.folder / "kernel-settings.json"
