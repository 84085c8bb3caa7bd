"""The pod network: a bridge, the CNI configuration, and taking all of it away again, iptables rules included."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from cluster.commands import run
from cluster.errors import ClusterError
from cluster.paths import State

BRIDGE = "cni0"
NODE_ADDRESS = "10.244.0.1"
POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/16"
DNS_SERVICE_ADDRESS = "10.96.0.10"
NETWORK = "archsearch"
PLUGINS = Path("/usr/lib/cni")

# Where CNI itself, and not its plugins, keeps the result of each attachment.
_RESULTS = Path("/var/lib/cni/results")
_OURS = re.compile(r"(KUBE|CNI)-")
_CHAIN = re.compile(r"^:(\S+)")


def require_free() -> None:
    """Raise ClusterError if this machine has the pod network of another Kubernetes, which `remove` would take away."""
    found = [f"the bridge {BRIDGE}"] * exists() + sorted({chain for line in rules() for chain in _CHAIN.findall(line)})
    if found:
        what = ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
        raise ClusterError(
            f"this machine has the pod network of another Kubernetes, such as k3s: {what}. Two do not fit: "
            f"use that one with CLUSTER=current, or stop it and remove its network (`ip link delete {BRIDGE}`; "
            "a restart of the machine clears iptables)"
        )


def create_bridge() -> None:
    """Make the bridge before the first pod does: its address is the node's and the API server's."""
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "replace", f"{NODE_ADDRESS}/{POD_CIDR.partition('/')[2]}", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    # Service addresses are rewritten before they reach any wire; a machine without a default route needs one for them.
    run("ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE)


def exists() -> bool:
    """Whether the bridge is there."""
    return Path("/sys/class/net", BRIDGE).exists()


def configuration_folder(state: State) -> Path:
    """The folder that containerd reads the CNI configuration from."""
    return state.folder / "cni" / "net.d"


def write_configuration(state: State) -> None:
    """Write the CNI configuration: addresses come from a folder in the cluster's state."""
    plugins: list[dict[str, object]] = [
        {
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(state.folder / "cni" / "addresses"),
                "ranges": [[{"subnet": POD_CIDR, "gateway": NODE_ADDRESS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    folder = configuration_folder(state)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"cniVersion": "0.4.0", "name": NETWORK, "plugins": plugins}
    (folder / "10-archsearch.conflist").write_text(json.dumps(config, indent=2))


def remove(state: State) -> None:
    """Remove the bridge, the ends of pod links at it, the rules in iptables and what CNI remembers."""
    for port in sorted(Path("/sys/class/net", BRIDGE, "brif").glob("*")):
        run("ip", "link", "delete", port.name, check=False)
    if exists():
        run("ip", "link", "delete", BRIDGE)
    for command in ("iptables", "ip6tables"):
        if shutil.which(f"{command}-save"):
            _remove_rules(command)
    for result in _RESULTS.glob(f"{NETWORK}-*"):
        result.unlink(missing_ok=True)
    shutil.rmtree(state.folder / "cni", ignore_errors=True)


def rules() -> list[str]:
    """The rules and chains of Kubernetes and CNI that iptables holds now."""
    saved = [line for command in ("iptables", "ip6tables") for line in run(f"{command}-save", check=False).splitlines()]
    return [line for line in saved if re.match(r":(KUBE|CNI)-|-A ", line) and _OURS.search(line)]


def _remove_rules(command: str) -> None:
    """Remove chains of Kubernetes and CNI and the jumps to them, and leave every other rule alone."""
    saved = run(f"{command}-save", check=False)
    edits = "".join(_table_edits(saved))
    if edits:
        run(f"{command}-restore", "--noflush", text_input=edits)


def _table_edits(saved: str) -> Iterator[str]:
    """The input for iptables-restore that takes our chains out of each table of an iptables-save."""
    for table in re.split(r"^(?=\*)", saved, flags=re.MULTILINE):
        if not table.startswith("*"):
            continue
        lines = table.splitlines()
        chains = [line[1:].split()[0] for line in lines if line.startswith(":") and _OURS.match(line[1:])]
        jumps = [line for line in lines if re.match(r"-A (?!KUBE-|CNI-)", line) and re.search(r" -j (KUBE|CNI)-", line)]
        if not chains:
            continue
        yield f"{lines[0]}\n"
        # Naming a chain empties it, so that no rule refers to a chain that goes.
        yield from (f":{chain} - [0:0]\n" for chain in chains)
        yield from (f"-D{jump[2:]}\n" for jump in jumps)
        yield from (f"-X {chain}\n" for chain in chains)
        yield "COMMIT\n"
