"""The chart on a real cluster: installed, tested, used, upgraded and removed, in a namespace that confines its pods.

Another operator may run on the same cluster, and the CRDs are everybody's: they end as the repository has them, and
owned by the release that owned them before.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_chart import CHART, GROUP, OPERATOR, Permission, settings

from cluster import demo
from cluster.commands import CommandError
from cluster.paths import REPOSITORY

Json = dict[str, Any]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

CRDS = tuple(f"{plural}.{GROUP}" for plural in ("architecturesearches", "architecturetrials"))
NOBODY = "nobody"
OWNERSHIP = ("labels", "annotations")


@dataclass(frozen=True)
class Release:
    """A release in a namespace of its own, which both have the same name."""

    name: str
    target: demo.Target

    @property
    def image(self) -> tuple[str, str]:
        """Repository and tag of the operator's image."""
        return demo.split_image("ARCHSEARCH_OPERATOR_IMAGE", self.target.operator_image)

    def kubectl(self, *arguments: str, text_input: str | None = None) -> str:
        return self.target.kubectl(*arguments, text_input=text_input)

    def get(self, *arguments: str) -> Json:
        found: Json = json.loads(self.kubectl("get", "-n", self.name, *arguments, "-o", "json"))
        return found

    def helm(self, command: str, *arguments: str) -> str:
        return self.target.helm(*command.split(), self.name, *arguments, "--namespace", self.name)

    def change(self, command: str, chart: Path = CHART, **values: str) -> str:
        """Install or upgrade, and wait until the operator is ready."""
        repository, tag = self.image
        chosen = {
            "image.repository": repository,
            "image.tag": tag,
            "trialImage": self.target.trial_image,
            "rbac.scope": "Namespaced",
        } | {name.replace("__", "."): value for name, value in values.items()}
        return self.helm(command, str(chart), "--wait", "--timeout", "3m", "--take-ownership", *settings(**chosen))

    def submit(self, name: str, **spec: Any) -> None:
        task = {"imageClassification": {"dataset": {"builtin": "digits"}}}
        search = {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "ArchitectureSearch",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"task": task, "budget": {"maxTrials": 1}} | spec,
        }
        self.kubectl("apply", "-f", "-", text_input=yaml.safe_dump(search))

    def condition(self, search: str, kind: str) -> tuple[str, str, str]:
        conditions = self.get("nas", search).get("status", {}).get("conditions", [])
        return next(
            ((each["status"], each["reason"], each.get("message", "")) for each in conditions if each["type"] == kind),
            ("", "", ""),
        )

    def pods(self) -> list[Json]:
        """The operator's pods, and those that are on their way out."""
        found: list[Json] = self.get("pods", "-l", "app.kubernetes.io/name=archsearch")["items"]
        return found

    def operator(self) -> Json:
        """The operator's one pod."""
        (pod,) = [each for each in self.pods() if "deletionTimestamp" not in each["metadata"]]
        return pod

    def metric(self, series: str) -> float:
        """A value that the operator itself shows."""
        pod = self.operator()["metadata"]["name"]
        text = self.kubectl("get", "--raw", f"/api/v1/namespaces/{self.name}/pods/{pod}:9090/proxy/metrics")
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{series} "))

    def permissions(self, account: str, namespace: str) -> set[Permission]:
        """What `kubectl auth can-i --list` says that an account may do with resources."""
        who = f"system:serviceaccount:{self.name}:{account}"
        table = self.kubectl("auth", "can-i", "--list", f"--as={who}", "-n", namespace)
        found = set()
        for line in table.splitlines()[1:]:
            row = re.fullmatch(r"(\S*)\s+\[(.*?)\]\s+\[(.*?)\]\s+\[(.*?)\]\s*", line)
            assert row, line
            resource, paths, names, verbs = row.groups()
            main, slash, below = resource.partition("/")
            plural, _, group = main.partition(".")
            # A permission on a path or on certain names appears as a resource that the table of permissions lacks.
            what = plural + slash + below + (f" at {paths}" if paths else "") + (f" called {names}" if names else "")
            found |= {(group, what, verb) for verb in verbs.split()}
        return found

    def granted(self, namespace: str) -> set[Permission]:
        """What the operator's account may do there that an account without any binding may not."""
        return self.permissions(self.name, namespace) - self.permissions(NOBODY, namespace)


def wait(check: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"waited {seconds:.0f} s until {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def release(bare_target: demo.Target) -> Iterator[Release]:
    """The chart, installed; removed at the end, whatever the tests left of it."""
    found = Release(f"chart-{uuid.uuid4().hex[:6]}", bare_target)
    before = crds(found)
    found.kubectl("create", "namespace", found.name)
    found.kubectl("label", "namespace", found.name, "pod-security.kubernetes.io/enforce=restricted")
    found.kubectl("create", "serviceaccount", NOBODY, "-n", found.name)
    try:
        began = time.monotonic()
        found.change("install")
        print(f"\ninstalled and ready: {time.monotonic() - began:.1f} s")
        yield found
    finally:
        found.helm("uninstall", "--ignore-not-found", "--wait")
        found.kubectl("delete", "namespace", found.name)
        restore(found, before)


def crds(release: Release) -> dict[str, Json]:
    found = json.loads(release.kubectl("get", "crd", "-o", "json"))
    return {each["metadata"]["name"]: each for each in found["items"] if each["metadata"]["name"] in CRDS}


def restore(release: Release, before: dict[str, Json]) -> None:
    """The committed CRDs, owned as before; without any, if there were none and nobody has come to use them."""
    if not before and not release.kubectl("get", "nas,nastrial", "-A", "-o", "name").strip():
        release.kubectl("delete", "crd", *CRDS)
        return
    for name, document in crds(release).items():
        owner = document["metadata"].get("annotations", {}).get("meta.helm.sh/release-name")
        committed: Json = yaml.safe_load((REPOSITORY / "crds" / f"{name.removesuffix(f'.{GROUP}')}.yaml").read_text())
        # Somebody who installed the chart in the meantime keeps what they installed.
        if owner == release.name:
            known = before.get(name, committed)["metadata"]
            committed["metadata"] |= {part: known[part] for part in OWNERSHIP if part in known}
            release.kubectl("replace", "-f", "-", text_input=yaml.safe_dump(committed))


def test_the_operator_is_ready_where_pods_are_restricted(release: Release) -> None:
    pod = release.operator()
    assert {each["type"]: each["status"] for each in pod["status"]["conditions"]}["Ready"] == "True"
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


MEASURE = """
import importlib.util, json, os
files = [os.path.join(folder, name) for top in ("/app", "/usr", "/lib", "/lib64", "/etc") if not os.path.islink(top)
         for folder, _, names in os.walk(top) for name in names]
print(json.dumps({"bytes": sum(os.lstat(file).st_size for file in files), "user": os.getuid(),
                  "torch": importlib.util.find_spec("torch") is not None, "shell": os.path.exists("/bin/sh")}))
"""


def test_the_operators_image_is_small_and_holds_neither_torch_nor_a_shell(release: Release) -> None:
    pod = release.operator()["metadata"]["name"]
    found = json.loads(release.kubectl("exec", "-n", release.name, pod, "--", "python", "-c", MEASURE))
    print(f"\nthe operator's image holds {found['bytes'] / 1e6:.0f} MB")
    assert 50e6 < found["bytes"] < 250e6
    assert (found["user"], found["torch"], found["shell"]) == (65532, False, False)


def test_helms_own_test_passes_and_leaves_nothing(release: Release) -> None:
    began = time.monotonic()
    assert re.search(r"Phase:\s+Succeeded", release.helm("test"))
    print(f"\nhelm test: {time.monotonic() - began:.1f} s")
    assert of_helms_test(release) == []


def test_helms_own_test_fails_without_an_operator(release: Release) -> None:
    release.kubectl("scale", "-n", release.name, f"deployment/{release.name}", "--replicas=0")
    try:
        # A pod that is being stopped still gets what is sent to a Service without a better one.
        wait(lambda: not release.pods(), "the operator has stopped")
        with pytest.raises(CommandError, match=f"pod {release.name}-test failed"):
            release.helm("test", "--timeout", "1m")
        left = [each["kind"] for each in of_helms_test(release)]
        assert left == ["Pod"], "the pod stays, for its log; it has no permissions any more"
    finally:
        release.kubectl("scale", "-n", release.name, f"deployment/{release.name}", "--replicas=1")
        release.kubectl("rollout", "status", "-n", release.name, f"deployment/{release.name}", "--timeout=1m")
    release.helm("test")
    assert of_helms_test(release) == []


def of_helms_test(release: Release) -> list[Json]:
    kinds = "pods,serviceaccounts,roles,rolebindings"
    found: list[Json] = release.get(kinds, "-l", "app.kubernetes.io/component=test")["items"]
    return found


def test_the_notes_show_a_search_that_is_accepted(release: Release) -> None:
    notes = release.helm("get notes")
    (command,) = re.findall(r"^kubectl apply (.*) <<SPEC\n(.*?)^SPEC$", notes, re.MULTILINE | re.DOTALL)
    arguments, spec = command
    answer = release.kubectl("apply", "--dry-run=server", *arguments.split(), text_input=spec)
    assert "first created" in answer
    assert f"--namespace {release.name}" in arguments


def test_the_operators_account_may_do_exactly_this(release: Release) -> None:
    assert release.granted(release.name) == OPERATOR
    assert release.granted("default") == set()
    assert release.granted("kube-system") == set()


def test_a_search_whose_image_does_not_exist_says_so(release: Release) -> None:
    image = f"{release.image[0]}-nothing-here:1"
    release.submit("absent", trial={"image": image})
    began = time.monotonic()
    wait(lambda: release.condition("absent", "Progressing")[0] == "False", "the search does not progress")
    print(f"\nan image that does not exist is reported after {time.monotonic() - began:.1f} s")
    status, reason, message = release.condition("absent", "Progressing")
    assert (status, reason) in {("False", "ErrImagePull"), ("False", "ImagePullBackOff")}
    assert image in message
    # This operator did it, or could have done it: another one may watch the whole cluster.
    wait(lambda: release.metric('archsearch_searches{stage="Preflight"}') == 1, "the operator shows the search")
    release.kubectl("delete", "nas", "absent", "-n", release.name)
    wait(lambda: release.get("jobs,nastrial")["items"] == [], "trial and Job are gone")


def test_its_permissions_are_enough_to_record_a_result(release: Release) -> None:
    # The operator's image ends with an error in the place of a trial's: the record is made, closed and kept.
    release.submit("failing", trial={"image": release.target.operator_image})
    wait(lambda: release.condition("failing", "Succeeded")[0] == "False", "the search has failed")
    trials = release.get("nastrial")["items"]
    assert [each["status"]["state"] for each in trials] == ["Failed"] * len(trials) != []
    assert not [each for each in trials if f"{GROUP}/open" in each["metadata"]["labels"]]
    wait(lambda: release.get("jobs")["items"] == [], "the Job is gone")
    assert release.get("events", "--field-selector", "involvedObject.name=failing,type=Warning")["items"]
    assert release.metric('archsearch_reconcile_total{result="success"}') > 0
    assert release.metric('archsearch_reconcile_total{result="error"}') == 0
    log = release.kubectl("logs", "-n", release.name, release.operator()["metadata"]["name"])
    assert "archsearch.operator watching" in log
    assert not re.search(r"forbidden|\b403\b| (?:WARNING|ERROR) ", log, re.IGNORECASE), log
    release.kubectl("delete", "nas", "failing", "-n", release.name)


def test_an_upgrade_changes_values_and_crds(release: Release, tmp_path: Path) -> None:
    changed = tmp_path / "archsearch"
    shutil.copytree(CHART, changed)
    file = changed / "files" / "crds" / "architecturetrials.yaml"
    definition = yaml.safe_load(file.read_text())
    column = {"name": "Search", "type": "string", "jsonPath": ".metadata.labels.archsearch\\.dev/search"}
    definition["spec"]["versions"][0]["additionalPrinterColumns"].append(column)
    file.write_text(yaml.safe_dump(definition))
    pod = release.operator()["metadata"]["name"]
    try:
        # The wider scope too, in which the operator nevertheless looks at its own namespace only.
        release.change(
            "upgrade", changed, logLevel="DEBUG", rbac__scope="Cluster", watchNamespaces=f"{{{release.name}}}"
        )
        (container,) = release.operator()["spec"]["containers"]
        environment = {each["name"]: each.get("value", "") for each in container["env"]}
        assert environment["ARCHSEARCH_LOG_LEVEL"] == "DEBUG"
        assert environment["ARCHSEARCH_NAMESPACE"] == release.name
        assert release.operator()["metadata"]["name"] != pod
        assert column in crds(release)[CRDS[1]]["spec"]["versions"][0]["additionalPrinterColumns"]
        assert release.granted("default") == OPERATOR
        assert release.granted(release.name) == OPERATOR
    finally:
        release.change("upgrade")
    assert column not in crds(release)[CRDS[1]]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert release.granted("default") == set()


def test_uninstalling_keeps_the_crds_and_searches_and_nothing_else(release: Release) -> None:
    release.submit("kept", suspend=True)
    assert of_the_release(release) >= {"deployments.apps", "services", "serviceaccounts", "secrets"}
    assert "kept due to the resource policy" in release.helm("uninstall", "--wait")
    # The user's search is not the release's.
    wait(lambda: of_the_release(release) == set(), "all is gone")
    assert set(crds(release)) == set(CRDS)
    assert release.get("nas", "kept")["spec"]["suspend"] is True


def of_the_release(release: Release) -> set[str]:
    """The kinds of which there are objects that belong to the release, but for CRDs."""
    listed = release.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    kinds = [
        kind for kind in listed if not kind.startswith(("customresourcedefinitions.", "events", "componentstatuses"))
    ]
    found = set()
    for kind in kinds:
        scope = ["-A", "-o", "json"]
        for item in json.loads(release.kubectl("get", kind, *scope))["items"]:
            labels = item["metadata"].get("labels") or {}
            if release.name in (labels.get("app.kubernetes.io/instance"), labels.get("name")) and (
                item["metadata"]["name"] != release.name or kind != "namespaces"
            ):
                found.add(kind)
    return found
