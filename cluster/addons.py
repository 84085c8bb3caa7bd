"""Optional parts of the cluster that run in it as pods."""

import time

from cluster import images
from cluster.binaries import binary
from cluster.client import Client
from cluster.commands import run
from cluster.errors import ClusterError
from cluster.paths import ADDONS, State
from cluster.progress import step

_DEPLOYMENT = "/apis/apps/v1/namespaces/monitoring/deployments/prometheus"


def prometheus(state: State) -> None:
    """Run Prometheus at http://prometheus.monitoring.svc:9090; it scrapes every pod that asks for it by annotation."""
    client = Client(state.kubeconfig)
    images.ensure(state, images.PROMETHEUS)
    with step("Prometheus"):
        manifest = ADDONS / "prometheus" / "prometheus.yaml"
        run(binary("kubectl"), f"--kubeconfig={client.kubeconfig}", "apply", "--server-side", "-f", manifest)
        deadline = time.monotonic() + 120
        while client.get(_DEPLOYMENT)["status"].get("readyReplicas") != 1:
            if time.monotonic() > deadline:
                pods = run(binary("kubectl"), f"--kubeconfig={client.kubeconfig}", "-n", "monitoring", "get", "events")
                raise ClusterError(f"Prometheus is not ready after 120 s:\n{pods}")
            time.sleep(0.2)
