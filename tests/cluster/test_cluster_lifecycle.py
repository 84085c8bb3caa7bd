"""The full cluster comes up, runs pods, survives what happens to machines, and goes without a trace.

These tests take the machine's one full cluster down and up again. If it was up before, one is up afterwards.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import ControlPlane, FullCluster, images, network, processes, registry, system
from cluster.errors import ClusterError
from cluster.paths import DEFAULT_NAME, REPOSITORY, State

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.environ.get("CLUSTER") == "current", reason="about this machine's own cluster, not another"),
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("apt-get") is None, reason="needs root on Debian"),
]

NAMESPACE = "lifecycle"
STATE = State(DEFAULT_NAME)
# Two lines on standard output and the result in the termination message: what a trial does.
RESULT = {"version": 1, "metrics": {"accuracy": 0.9375}}
PROGRAM = f"""
import json, os, socket, sys
assert os.getuid() == 65532
for host in ("kubernetes.default.svc.cluster.local", "kubernetes.default.svc"):
    print(host, socket.gethostbyname(host))
socket.create_connection(("kubernetes.default.svc", 443), timeout=5).close()
open("/dev/termination-log", "w").write(json.dumps({RESULT!r}))
"""


@pytest.fixture(scope="module", autouse=True)
def _as_it_was() -> Iterator[None]:
    """Leave a cluster up if one was up."""
    was_up = FullCluster.current() is not None
    yield
    if was_up:
        FullCluster.start()
    else:
        FullCluster(DEFAULT_NAME).down()


@pytest.fixture
def cluster() -> FullCluster:
    return FullCluster.start()


def test_a_cluster_leaves_nothing_behind() -> None:
    FullCluster(DEFAULT_NAME).down()
    before = traces()
    assert not before["ours"]
    cluster = FullCluster.start()
    run_restricted_job(cluster)
    during = traces()
    assert during["ours"]
    assert during["iptables"] != before["iptables"]
    cluster.down()
    assert traces() == before


def test_a_boot_with_everything_cached_is_quick() -> None:
    FullCluster(DEFAULT_NAME).down()
    seconds = timed(FullCluster.start)
    print(f"\nboot with everything cached: {seconds:.1f} s")
    assert seconds < 15
    seconds = timed(FullCluster.start)
    print(f"up when it is up: {seconds:.2f} s")
    assert seconds < 10


def test_up_refuses_the_network_of_another_kubernetes_and_down_leaves_it_alone() -> None:
    FullCluster(DEFAULT_NAME).down()
    run("ip", "link", "add", network.BRIDGE, "type", "bridge")
    try:
        with pytest.raises(ClusterError, match=f"another Kubernetes.*the bridge {network.BRIDGE}"):
            FullCluster.start()
        FullCluster(DEFAULT_NAME).down()
        assert network.exists()
    finally:
        run("ip", "link", "delete", network.BRIDGE)


def test_a_restricted_job_runs_and_its_termination_message_is_read(cluster: FullCluster) -> None:
    container, log = run_restricted_job(cluster)
    assert json.loads(container["terminated"]["message"]) == RESULT
    assert container["terminated"]["exitCode"] == 0
    assert "kubernetes.default.svc.cluster.local 10.96.0.1" in log
    assert "kubernetes.default.svc 10.96.0.1" in log


def test_up_repairs_a_cluster_whose_components_were_killed(cluster: FullCluster) -> None:
    run_restricted_job(cluster)
    running = processes.running(STATE)
    for component in ("kubelet", "containerd", "etcd"):
        os.kill(running[component], signal.SIGKILL)
    assert FullCluster.start().booted
    run_restricted_job(cluster)


@pytest.mark.parametrize("seconds", [0.7, 3.0, 4.2])
def test_up_repairs_what_a_killed_up_left(seconds: float) -> None:
    FullCluster(DEFAULT_NAME).down()
    up = subprocess.Popen([sys.executable, "-m", "cluster", "up"], cwd=REPOSITORY, stderr=subprocess.PIPE)
    time.sleep(seconds)
    up.kill()
    up.communicate()
    cluster = FullCluster.start()
    run_restricted_job(cluster)


def test_a_pod_that_asks_for_a_claimed_gpu_is_scheduled(cluster: FullCluster) -> None:
    cluster.fake_gpus(2)
    run_restricted_job(cluster, limits={"nvidia.com/gpu": "2"})
    cluster.fake_gpus(0)
    node = cluster.client.get("/api/v1/nodes/node1")
    assert "nvidia.com/gpu" not in node["status"]["capacity"]


def test_a_pushed_image_has_the_reference_that_pods_use(cluster: FullCluster) -> None:
    images.ensure_base()
    assert cluster.push(images.BASE, "lifecycle:pushed") == "127.0.0.1:5000/lifecycle:pushed"
    assert registry.digest("lifecycle:pushed").startswith("sha256:")


def test_a_control_plane_runs_beside_the_full_cluster(cluster: FullCluster) -> None:
    with ControlPlane.start() as plane:
        assert plane.server != json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        assert plane.kubeconfig.stat().st_mode & 0o777 == 0o600
        assert plane.client.get("/api/v1/nodes")["items"] == []
        assert len(cluster.client.get("/api/v1/nodes")["items"]) == 1
        folder = plane.state.folder
    assert not folder.exists()
    assert list(processes.find(folder)) == []
    assert FullCluster.current() is not None


def test_a_control_plane_dies_with_the_process_that_started_it() -> None:
    code = "import time; from cluster import ControlPlane; print(ControlPlane.start().name, flush=True); time.sleep(60)"
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    state = State(owner.stdout.readline().strip())
    assert set(processes.running(state)) == {"etcd", "kube-apiserver", "kube-controller-manager"}
    owner.kill()
    owner.communicate()
    wait_until(lambda: not processes.running(state), 5)
    with ControlPlane.start():
        assert not state.folder.exists()


def run_restricted_job(cluster: FullCluster, limits: dict[str, str] | None = None) -> tuple[dict[str, Any], str]:
    """Run PROGRAM as a Job under the strictest pod security; returns the state of its container and its log."""
    images.ensure_base()
    image = cluster.push(images.BASE, "lifecycle:base")
    client, name = cluster.client, f"job-{time.time_ns()}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    client.apply(
        f"/api/v1/namespaces/{NAMESPACE}",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
    )
    wait_until(lambda: client.exists(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"), 10)
    container = {
        "name": "trial",
        "image": image,
        "command": ["python3", "-c", PROGRAM],
        "resources": {"limits": limits or {}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    jobs = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    client.apply(f"{jobs}/{name}", {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    selector = f"{pods}?labelSelector=job-name%3D{name}"

    def log() -> str:
        return client.request("GET", f"{pods}/{client.get(selector)['items'][0]['metadata']['name']}/log")

    def finished() -> bool:
        status = client.get(f"{jobs}/{name}").get("status", {})
        conditions = {each["type"] for each in status.get("conditions", [])}
        assert "Failed" not in conditions, log()
        return "Complete" in conditions

    wait_until(finished, 60)
    state: dict[str, Any] = client.get(selector)["items"][0]["status"]["containerStatuses"][0]["state"]
    return state, log()


def traces() -> dict[str, Any]:
    """What a cluster changes on its machine, to be compared; `ours` is what must be empty when there is none."""
    links = run("ip", "-o", "link").splitlines()
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    groups = list(Path("/sys/fs/cgroup").glob("*archsearch*"))
    groups += list(Path("/sys/fs/cgroup").glob("*/*archsearch*"))
    # A dead process that its parent, the machine's init, has yet to collect is no trace.
    living = (line for line in run("ps", "-eo", "stat,args").splitlines() if not line.startswith("Z"))
    shims = [line for line in living if "containerd-shim" in line]
    own_mounts = [mount for mount in mounts if mount.startswith(f"{STATE.folder}/")]
    own_processes = list(processes.find(STATE.folder))
    # The builtin chains of a table appear once somebody looks at the table; rules and other chains do not.
    rules = [
        re.sub(r"\[\d+:\d+\]", "", line)
        for command in ("iptables-save", "ip6tables-save")
        for line in run(command).splitlines()
        if re.match(r"-A|:(?!(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) )", line)
    ]
    folders = ("/var/lib/kubelet", "/var/log/pods", "/var/log/containers", "/usr/libexec/kubernetes")
    bridges = [network.BRIDGE] * network.exists()
    volumes = list((STATE.folder / "volumes").glob("*"))
    return {
        "folders": [folder for folder in folders if Path(folder).exists()],
        "ours": [*own_processes, *own_mounts, *groups, *shims, *network.rules(), *bridges, *volumes],
        "links": sorted(re.sub(r"^\d+: ([^:@]+).*", r"\1", line) for line in links),
        "mounts": sorted(mounts),
        "namespaces": sorted(run("lsns", "--type", "net", "--noheadings", "--output", "NS").split()),
        "iptables": rules,
        "settings": {name: Path("/proc/sys", name).read_text() for name in system.SETTINGS if exists_setting(name)},
        "results": sorted(path.name for path in Path("/var/lib/cni/results").glob("archsearch-*")),
    }


def exists_setting(name: str) -> bool:
    # The settings of connection tracking appear when the first rule loads it, and stay.
    return "nf_conntrack" not in name and Path("/proc/sys", name).exists()


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def timed(do: Callable[[], object]) -> float:
    started = time.monotonic()
    do()
    return time.monotonic() - started


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"still not true after {seconds} s"
        time.sleep(0.1)
