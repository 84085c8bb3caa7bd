"""`make demo`: a real search on a real cluster, from nothing to the result, with every command shown.

With CLUSTER=current it uses the current kubectl context instead of a cluster of its own, and the operator that is there
already. Where there is none it installs one from images that the nodes can pull: ARCHSEARCH_OPERATOR_IMAGE and
ARCHSEARCH_TRIAL_IMAGE name them, and ARCHSEARCH_PROMETHEUS_URL a Prometheus that scrapes the trials, if there is one.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import addons, full, images, volumes
from cluster.binaries import binary
from cluster.client import Client
from cluster.commands import CommandError, run
from cluster.errors import ClusterError
from cluster.paths import DEFAULT_NAME, State
from cluster.progress import say, step

REPOSITORY = Path(__file__).resolve().parent.parent
NAMESPACE = "archsearch-demo"
SYSTEM = "archsearch-system"
RELEASE = "archsearch"
# A label of the pods of an operator that was installed here: it may be replaced, and no other.
INSTALLED_BY = "archsearch.dev/installed-by"
OPERATOR = "app.kubernetes.io/name=archsearch"
PROMETHEUS = "http://prometheus.monitoring.svc:9090"
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: artifacts}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""

Json = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """Where the demo runs. kubeconfig: None for the current context. Images and prometheus may be empty there."""

    kubeconfig: Path | None
    operator_image: str
    trial_image: str
    prometheus: str

    def kubectl(self, *arguments: str, check: bool = True, text_input: str | None = None) -> str:
        """Run kubectl and return what it prints."""
        return run(_tool("kubectl"), *arguments, env=self._environment(), check=check, text_input=text_input)

    def helm(self, *arguments: str) -> str:
        """Run helm and return what it prints."""
        return run(_tool("helm"), *arguments, env=self._environment())

    def _environment(self) -> dict[str, str]:
        return {} if self.kubeconfig is None else {"KUBECONFIG": str(self.kubeconfig)}


def demo(spec: Path) -> int:
    """Install the operator if need be, run the search of a file, and print its result. Returns the exit code."""
    began = time.monotonic()
    target = find_target()
    theirs = operator_of_somebody_else(target, NAMESPACE)
    provide(target, NAMESPACE)
    if theirs:
        say(f"  the operator {theirs} is there already: it runs the search, and stays as it is")
    else:
        install(target)
    name = _apply(target, spec)
    status = follow(target, name)
    print(summary(target, name, status, time.monotonic() - began))
    done = any(item["type"] == "Succeeded" and item["status"] == "True" for item in status["conditions"])
    return 0 if done else 1


def find_target() -> Target:
    """The cluster to run on: this machine's own, booted with its images where need be, or the current context."""
    if os.environ.get("CLUSTER") == "current":
        names = ("OPERATOR_IMAGE", "TRIAL_IMAGE", "PROMETHEUS_URL")
        return Target(None, *(os.environ.get(f"ARCHSEARCH_{name}", "") for name in names))
    state = State(DEFAULT_NAME)
    if not full.up(state.name):
        say(f"  cluster {state.name} is up already")
    operator, trial, _ = images.ensure(state, *images.PROJECT, images.PROMETHEUS)
    addons.prometheus(state)
    return Target(state.kubeconfig, operator, trial, PROMETHEUS)


def provide(target: Target, namespace: str) -> None:
    """A namespace that enforces restricted pods, with a claim called `artifacts`."""
    if target.kubeconfig is not None:
        volumes.create(Client(target.kubeconfig), "artifacts", volume_folder(namespace), namespace=namespace)
    else:
        if not target.kubectl("get", "namespace", namespace, "--ignore-not-found"):
            target.kubectl("create", "namespace", namespace)
        target.kubectl("apply", "-n", namespace, "-f", "-", text_input=CLAIM)
    target.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")


def volume_folder(namespace: str) -> Path:
    """The folder behind the claim of a namespace on this machine's own cluster; it goes with the cluster."""
    return State(DEFAULT_NAME).folder / "volumes" / namespace


def operator_of_somebody_else(target: Target, namespace: str = "") -> str:
    """The operator on the user's own cluster that was not installed from here, if there is one: NAMESPACE/NAME.

    Raises ClusterError if a namespace is given and the operator does not look for searches in it.
    """
    if target.kubeconfig is not None:
        return ""
    found: Json = json.loads(target.kubectl("get", "deployments", "-A", "-l", OPERATOR, "-o", "json"))
    theirs: dict[str, str] = {}
    for item in found["items"]:
        pod = item["spec"]["template"]
        if INSTALLED_BY not in pod["metadata"]["labels"]:
            settings = {each["name"]: each.get("value", "") for each in pod["spec"]["containers"][0].get("env", [])}
            name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
            theirs[name] = settings.get("ARCHSEARCH_NAMESPACE", "")
    for name, watched in theirs.items():
        if not namespace or not watched or namespace in watched.split(","):
            return name
    for name, watched in theirs.items():
        raise ClusterError(
            f"the operator {name} looks for searches in {watched} only: add {namespace} to its watchNamespaces"
        )
    return ""


def install(target: Target) -> None:
    """Install the chart, or upgrade it, and wait until the operator is ready.

    Raises ClusterError rather than touch an operator that somebody else installed.
    """
    if theirs := operator_of_somebody_else(target):
        raise ClusterError(f"the operator {theirs} is there already, and a second one would work on the same searches")
    repository, tag = split_image("ARCHSEARCH_OPERATOR_IMAGE", target.operator_image)
    split_image("ARCHSEARCH_TRIAL_IMAGE", target.trial_image)
    values = {"image.repository": repository, "image.tag": tag, "trialImage": target.trial_image,
              "prometheus.url": target.prometheus,
              f"podLabels.{INSTALLED_BY.replace('.', chr(92) + '.')}": "demo"}  # fmt: skip
    arguments = ["upgrade", "--install", RELEASE, "helm/archsearch", "--namespace", SYSTEM, "--create-namespace"]
    if target.kubeconfig is not None:
        # All that is on this cluster is ours.
        arguments += ["--take-ownership"]
    elif _crds_of_somebody_else(target):
        say("  the CRDs are there already, and stay as they are")
        values["crds.enabled"] = "false"
    arguments += [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    say(f"$ helm {' '.join(arguments)} --wait")
    with step("the operator is installed and ready"):
        target.helm(*arguments[:3], str(REPOSITORY / "helm" / "archsearch"), *arguments[4:], "--wait")
        # The image's tag stays the same while its content changes: the pod must be a new one.
        target.kubectl("rollout", "restart", "deployment", "-n", SYSTEM, "-l", OPERATOR)
        target.kubectl("rollout", "status", "deployment", "-n", SYSTEM, "-l", OPERATOR)


def split_image(setting: str, image: str) -> tuple[str, str]:
    """Repository and tag of `REPOSITORY:TAG`. Raises ClusterError for anything else, naming the setting."""
    if not (parts := re.fullmatch(r"([^\s@]+):([\w.-]+)", image)):
        raise ClusterError(
            f"{setting} must be an image REPOSITORY:TAG that the nodes can pull, but got {image or 'nothing'}"
        )
    return parts[1], parts[2]


def _crds_of_somebody_else(target: Target) -> bool:
    """Whether there are CRDs of searches that do not belong to the release that is installed here."""
    found = target.kubectl("get", "crd", "architecturesearches.archsearch.dev", "--ignore-not-found", "-o", "json")
    annotations = json.loads(found)["metadata"].get("annotations", {}) if found else {}
    owner = (annotations.get("meta.helm.sh/release-namespace"), annotations.get("meta.helm.sh/release-name"))
    return bool(found) and owner != (SYSTEM, RELEASE)


def _apply(target: Target, spec: Path) -> str:
    say(f"$ kubectl apply -n {NAMESPACE} -f {spec}")
    target.kubectl("delete", "-n", NAMESPACE, "-f", str(spec), "--ignore-not-found", "--wait")
    say("  " + target.kubectl("apply", "-n", NAMESPACE, "-f", str(spec)).strip())
    document: Json = json.loads(target.kubectl("get", "-n", NAMESPACE, "-f", str(spec), "-o", "json"))
    return str(document["metadata"]["name"])


def follow(target: Target, name: str) -> Json:
    """Print what changes until the search has ended; returns its status."""
    say(f"$ kubectl get nas -n {NAMESPACE} {name} --watch")
    began, last = time.monotonic(), ""
    while True:
        document: Json = json.loads(target.kubectl("get", "nas", "-n", NAMESPACE, name, "-o", "json"))
        status: Json = document.get("status", {})
        line = " | ".join(_facts(status)) or "waiting for the operator"
        work = _latest_log(target, name)
        if work and not _ended(status):
            line += f" | {work}"
        if line != last:
            say(f"  {time.monotonic() - began:5.0f} s  {line}")
            last = line
        if _ended(status):
            return status
        time.sleep(2)


def _ended(status: Json) -> bool:
    """Whether nothing more will happen. A spec that the operator does not understand gets no completionTime."""
    return any(item["type"] == "Succeeded" and item["status"] != "Unknown" for item in status.get("conditions", []))


def _facts(status: Json) -> Iterator[str]:
    if stage := status.get("stage"):
        yield f"{stage:9}"
        yield f"trials {status['trials']['done']}"
    if best := status.get("best"):
        yield f"best {best.get('objective', '')}"
    for condition in status.get("conditions", []):
        if condition["type"] == "Progressing" and condition["status"] == "False":
            yield f"{condition['reason']} {condition.get('message', '')}".strip()


def _latest_log(target: Target, name: str) -> str:
    """The last line that the newest running trial printed."""
    selector = ["-l", f"archsearch.dev/search={name}", "--field-selector=status.phase=Running"]
    try:
        pods = target.kubectl("get", "pods", "-n", NAMESPACE, *selector, "-o", "name").split()
        lines = target.kubectl("logs", "-n", NAMESPACE, pods[-1], "--tail=1").strip() if pods else ""
    except CommandError:
        # The pod ended between the two commands.
        return ""
    return lines[-100:]


def summary(target: Target, name: str, status: Json, seconds: float) -> str:
    """The result in words."""
    lines = ["", target.kubectl("get", "nas", "-n", NAMESPACE, name).rstrip(), ""]
    best: Json = status.get("best") or {}
    if best:
        lines += [f"Best genotype ({best['genotypeId']}, found by {best['trial']}):"]
        lines += [f"  {choice:20} {value}" for choice, value in best["genotype"].items()]
    lines += [line for profile in status.get("hardware", []) for line in _profile(profile)]
    if retrained := best.get("retrained"):
        seeds = retrained["seeds"]
        over = "from one seed" if seeds == 1 else f"± {retrained['std']:.4f} over {seeds} seeds"
        lines += [f"Retrained from scratch: {retrained['metric']} {retrained['mean']:.4f} {over}"]
    for artifact in best.get("artifacts", []):
        lines += [f"Model {artifact['uri']} ({artifact['format']}), sha256 {artifact['sha256']}"]
    if (difference := best.get("exportDifference")) is not None:
        lines += [f"Largest difference between the exported model and PyTorch: {difference:.1e}"]
    lines += ["", *(f"{item['type']:17}{item['status']:8} {item['reason']}  {item.get('message', '')}".rstrip()
                    for item in status.get("conditions", []))]  # fmt: skip
    own = f"KUBECONFIG={target.kubeconfig} " if target.kubeconfig else ""
    lines += ["", f"{seconds:.0f} s in all. The whole status:  {own}kubectl get nas -n {NAMESPACE} {name} -o yaml"]
    return "\n".join(lines)


def _profile(profile: Json) -> Iterator[str]:
    latency = profile["latencyMs"]
    where = f"{profile['runtime']}, batch {profile['batchSize']}"
    yield f"Profile {profile['profile']} on {profile['device']} ({where}):"
    yield f"  latency p50 {latency['p50']:.2f} ms, p95 {latency['p95']:.2f} ms, p99 {latency['p99']:.2f} ms"
    yield f"  {profile['throughput']:.0f} images/s, peak memory {profile['peakMemoryMiB']:.1f} MiB"
    yield f"  {profile['parameters']:,} parameters, {profile['flops']:,} FLOPs"


def _tool(name: str) -> str:
    """The user's own program on the user's own cluster; otherwise the one of the cluster's version."""
    if os.environ.get("CLUSTER") == "current" and (own := shutil.which(name)):
        return own
    return str(binary(name))
