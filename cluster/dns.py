"""Service DNS: CoreDNS as a process of the host, behind the Service address that the kubelet tells each pod."""

import secrets
import socket
from pathlib import Path

from cluster import access, network, processes
from cluster.access import Access
from cluster.binaries import binary
from cluster.client import Client, Json
from cluster.paths import State
from cluster.waiting import until

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_KUBE_SYSTEM = "/api/v1/namespaces/kube-system"


def start(state: State, entry: Access, client: Client) -> None:
    """Start CoreDNS and wait until pods reach it at its Service's address."""
    for path, body in _objects().items():
        client.apply(path, body)
    file = state.folder / "run" / "Corefile"
    file.write_text(_corefile(entry))
    pid = processes.start(state, "coredns", [binary("coredns"), "-conf", file])
    until(serves, "an answer from CoreDNS", state=state, components={"coredns": pid})


def serves() -> bool:
    """Whether the name of the API server's Service is resolved."""
    return resolves("kubernetes.default.svc.cluster.local")


def resolves(name: str) -> bool:
    """Whether there is an address for this name.

    It is asked for the way pods do, at the Service's address: kube-proxy is later than CoreDNS.
    """
    number = secrets.token_bytes(2)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    # RFC 1035, section 4.1: one question, recursion desired, type A, class IN.
    question = number + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        client.connect((network.DNS_SERVICE_ADDRESS, 53))
        try:
            client.send(question)
            answer = client.recv(512)
        except OSError:
            return False
    without_error = answer[3] & 0x0F == 0
    return answer[:2] == number and without_error and int.from_bytes(answer[6:8], "big") > 0


def _corefile(entry: Access) -> str:
    resolver = Path("/etc/resolv.conf")
    forward = f"    forward . {resolver}\n" if "nameserver" in _text(resolver) else ""
    return f""".:53 {{
    bind {network.NODE_ADDRESS}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {entry.kubeconfig(access.DNS)}
        pods insecure
        ttl 5
    }}
{forward}    cache 5
    loadbalance
}}
"""


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _objects() -> dict[str, Json]:
    """The objects in the API that CoreDNS needs, by path: what it may read, and a Service without a selector."""
    group = "rbac.authorization.k8s.io"
    watched = [("", ["endpoints", "services", "pods", "namespaces"]), ("discovery.k8s.io", ["endpointslices"])]
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    return {
        f"{_RBAC}/clusterroles/coredns": {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "coredns"},
            "rules": [
                {"apiGroups": [api], "resources": resources, "verbs": ["list", "watch"]} for api, resources in watched
            ],
        },
        f"{_RBAC}/clusterrolebindings/coredns": {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "coredns"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "coredns"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": access.DNS.user}],
        },
        f"{_KUBE_SYSTEM}/services/kube-dns": {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns"},
            "spec": {"clusterIP": network.DNS_SERVICE_ADDRESS, "ports": ports},
        },
        "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns": {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "kube-dns", "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [network.NODE_ADDRESS], "conditions": {"ready": True}}],
        },
    }
