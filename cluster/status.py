"""Says what runs of a cluster, in which version, and whether it is in order."""

from cluster import controlplane, dns, full, node, processes, registry
from cluster.client import Client
from cluster.paths import State


def is_plane(state: State) -> bool:
    """Whether this is a control plane without a node."""
    return controlplane.described(state).get("with_node") is False


def report(state: State) -> int:
    """Print the state of a cluster; returns 0 if all of it runs, else 1."""
    plane = is_plane(state)
    expected = controlplane.components(with_node=False) if plane else full.COMPONENTS
    running = processes.running(state)
    print(f"{'control plane' if plane else 'cluster'} {state.name}")
    for component in expected:
        pid = running.get(component)
        print(f"  {component:<24} {f'pid {pid}' if pid else 'does not run'}")
    client = Client(state.kubeconfig)
    if not state.kubeconfig.exists() or not client.exists("/readyz"):
        print("  the API server does not answer")
        return 1
    print(f"  {'Kubernetes':<24} {client.get('/version')['gitVersion']}")
    print(f"  {'kubeconfig':<24} {state.kubeconfig}")
    in_order = set(expected) <= set(running)
    if not plane:
        in_order &= _report_node(client)
    return 0 if in_order else 1


def _report_node(client: Client) -> bool:
    ready = node.is_ready(client)
    print(f"  {'node':<24} {'Ready' if ready else 'not Ready'}")
    if ready:
        status = client.get(node.NODE_PATH)["status"]
        info = status["nodeInfo"]
        print(f"  {'kubelet, containerd':<24} {info['kubeletVersion']}, {info['containerRuntimeVersion']}")
        print(f"  {'GPUs (claimed)':<24} {status['capacity'].get('nvidia.com/gpu', '0')}")
    serves = registry.serves()
    images = ", ".join(sorted(registry.tags())) if serves else "does not answer"
    print(f"  {f'registry {registry.ADDRESS}':<24} {images or 'no images'}")
    resolves = dns.serves()
    print(f"  {'service DNS':<24} {'answers' if resolves else 'does not answer'}")
    return ready and serves and resolves
