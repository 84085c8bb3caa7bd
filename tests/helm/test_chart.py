"""The chart as helm renders it: who may do what, how pods are confined, what is refused, and what alerts watch."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_chart import CHART, KUBERNETES, NAMESPACE, OPERATOR, Permission, find, helm, permissions, render, settings
from prometheus_client import CollectorRegistry

from archsearch_operator.metrics import Metrics
from archsearch_operator.settings import Settings
from cluster import binaries
from cluster.commands import CommandError, run
from cluster.paths import REPOSITORY

Json = dict[str, Any]

EVERYTHING = {
    "podMonitor__enabled": "true",
    "prometheusRule__enabled": "true",
    "networkPolicy__enabled": "true",
    "priorityClassName": "high",
    "imagePullSecrets[0]__name": "pull",
    "nodeSelector__disk": "ssd",
    "tolerations[0]__key": "gpu",
    "affinity__nodeAffinity__x": "y",
}
SEARCHES, TRIALS = "architecturesearches", "architecturetrials"
READ = frozenset(
    ("archsearch.dev", resource, verb) for resource in (SEARCHES, TRIALS) for verb in ("get", "list", "watch")
)
WRITE = frozenset(
    ("archsearch.dev", SEARCHES, verb) for verb in ("create", "update", "patch", "delete", "deletecollection")
)


@pytest.mark.parametrize(
    "values", [{}, EVERYTHING, {"rbac__scope": "Namespaced"}], ids=["default", "all", "namespaced"]
)
def test_helm_finds_nothing_to_complain_of(values: dict[str, str]) -> None:
    chosen = settings(**{"trialImage": "trial:1", **values})
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, "--kube-version", KUBERNETES, *chosen)


# ---- What the operator may do


def test_the_operator_may_do_exactly_this_in_the_cluster() -> None:
    documents = render(rbac__aggregate="false")
    assert permissions(find(documents, "ClusterRole")) == dict.fromkeys(OPERATOR, 1)
    binding = find(documents, "ClusterRoleBinding")
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "nas"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "nas", "namespace": NAMESPACE}]
    kinds = [document["kind"] for document in documents if "test" not in document["metadata"]["name"]]
    assert not {"Role", "RoleBinding"} & set(kinds)


@pytest.mark.parametrize(
    ("watched", "where"), [({}, {NAMESPACE}), ({"watchNamespaces": "{a,b}"}, {"a", "b"})], ids=["own", "listed"]
)
def test_a_namespaced_operator_may_do_it_in_these_namespaces_only(watched: dict[str, str], where: set[str]) -> None:
    documents = render(rbac__scope="Namespaced", rbac__aggregate="false", **watched)
    assert not [document for document in documents if document["kind"].startswith("ClusterRole")]
    for kind in ("Role", "RoleBinding"):
        own = [document for document in documents if document["kind"] == kind and document["metadata"]["name"] == "nas"]
        assert {document["metadata"]["namespace"] for document in own} == where
        for document in own:
            if kind == "Role":
                assert permissions(document) == dict.fromkeys(OPERATOR, 1)
            else:
                assert document["roleRef"]["kind"] == "Role"
                assert document["subjects"] == [{"kind": "ServiceAccount", "name": "nas", "namespace": NAMESPACE}]
    assert set(environment(documents)["ARCHSEARCH_NAMESPACE"].split(",")) == where


@pytest.mark.parametrize(
    ("role", "expected", "into"),
    [("nas-view", READ, {"view", "edit", "admin"}), ("nas-edit", WRITE, {"edit", "admin"})],
)
def test_users_get_searches_with_the_roles_that_they_have(
    role: str, expected: frozenset[Permission], into: set[str]
) -> None:
    found = find(render(), "ClusterRole", role)
    assert permissions(found) == dict.fromkeys(expected, 1)
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {name.removeprefix(prefix) for name in found["metadata"]["labels"] if name.startswith(prefix)} == into


def test_helms_test_may_only_create_searches() -> None:
    assert permissions(find(render(), "Role", "nas-test")) == {("archsearch.dev", SEARCHES, "create"): 1}


def test_the_readme_lists_the_permissions() -> None:
    rows = re.findall(r"^\| `([a-z/]+)`[^|]* \| ([a-z, ]+) \|", (CHART / "README.md").read_text(), re.MULTILINE)
    listed = {(resource, verb) for resource, verbs in rows for verb in verbs.split(", ")}
    assert listed == {(resource, verb) for _, resource, verb in OPERATOR}


# ---- Pods


def pods(documents: list[Json]) -> list[tuple[str, Json]]:
    bare = [(each["metadata"]["name"], each["spec"]) for each in documents if each["kind"] == "Pod"]
    templates = [each for each in documents if each["kind"] == "Deployment"]
    return bare + [(each["metadata"]["name"], each["spec"]["template"]["spec"]) for each in templates]


def environment(documents: list[Json]) -> dict[str, str]:
    (container,) = find(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_pods_are_confined() -> None:
    found = pods(render())
    assert {name for name, _ in found} == {"nas", "nas-test"}
    for _, pod in found:
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == 65532
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all("emptyDir" in volume for volume in pod.get("volumes", []))


def test_one_operator_replaces_the_other_and_is_probed_and_scraped() -> None:
    spec = find(render(), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    (container,) = spec["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"metrics": 9090, "health": 8080}
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert spec["template"]["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9090",
        "prometheus.io/path": "/metrics",
    }
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_the_operator_understands_the_environment_that_it_is_given() -> None:
    documents = render(prometheus__url="http://prometheus:9090", workers="7", logLevel="DEBUG", watchNamespaces="{a,b}")
    assert Settings.read(environment(documents)) == Settings(
        trial_image="trial:1",
        namespaces=("a", "b"),
        prometheus_url="http://prometheus:9090",
        workers=7,
        log_level="DEBUG",
    )


def test_placement_is_passed_on() -> None:
    pod = dict(pods(render(**EVERYTHING)))["nas"]
    assert pod["priorityClassName"] == "high"
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [{"key": "gpu"}]
    assert pod["affinity"] == {"nodeAffinity": {"x": "y"}}


def test_a_user_can_change_annotations_but_not_break_the_selector() -> None:
    arguments = ("--set-string", r"podAnnotations.prometheus\.io/scrape=false")
    documents = render(*arguments, **{r"podLabels__app\.kubernetes\.io/name": "other", "podLabels__team": "a"})
    spec = find(documents, "Deployment")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert labels["team"] == "a"
    assert spec["template"]["metadata"]["annotations"]["prometheus.io/scrape"] == "false"
    assert find(documents, "Service")["spec"]["selector"] == spec["selector"]["matchLabels"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "archsearch-operator:0.1.0"),
        ({"image__repository": "r/o", "image__tag": "t"}, "r/o:t"),
        ({"image__tag": "t", "image__digest": f"sha256:{'0' * 64}"}, f"archsearch-operator@sha256:{'0' * 64}"),
    ],
    ids=["appVersion", "tag", "digest"],
)
def test_a_digest_wins_over_the_tag(values: dict[str, str], expected: str) -> None:
    assert {pod["containers"][0]["image"] for _, pod in pods(render(**values))} == {expected}


# ---- CRDs


def test_the_copies_of_the_crds_are_equal() -> None:
    copies = {file.name: file.read_bytes() for file in (CHART / "files" / "crds").iterdir()}
    assert copies == {file.name: file.read_bytes() for file in (REPOSITORY / "crds").iterdir()}, "run `make crds`"


@pytest.mark.parametrize("keep", [True, False])
def test_crds_are_rendered_as_they_are(keep: bool) -> None:
    documents = [each for each in render(crds__keep=str(keep).lower()) if each["kind"] == "CustomResourceDefinition"]
    committed = [yaml.safe_load(file.read_text()) for file in sorted((REPOSITORY / "crds").iterdir())]
    assert [each["spec"] for each in documents] == [each["spec"] for each in committed]
    for document in documents:
        assert document["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == ("keep" if keep else None)


def test_crds_can_be_left_out() -> None:
    assert not [each for each in render(crds__enabled="false") if each["kind"] == "CustomResourceDefinition"]


# ---- Values


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("trialImage=", "/trialImage"),
        ("trialImage=a b", "/trialImage"),
        ("image.tagg=x", "'tagg'"),
        ("image.digest=sha256:1", "/image/digest"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("imagePullSecrets[0].nam=x", "/imagePullSecrets/0"),
        ("rbac.scope=Both", "/rbac/scope"),
        ("watchNamespaces[0]=Team_A", "/watchNamespaces/0"),
        ("prometheus.url=prometheus:9090", "/prometheus/url"),
        ("workers=0", "/workers"),
        ("logLevel=LOUD", "/logLevel"),
        ("replicas=2", "'replicas'"),
        ("resources.request.cpu=1", "'request'"),
        ("tolerations[0].efect=NoSchedule", "'efect'"),
        ("affinity.podAfinity.x=y", "'podAfinity'"),
        ("podMonitor.interval=fast", "/podMonitor/interval"),
        ("networkPolicy.apiServerPorts[0]=0", "/networkPolicy/apiServerPorts/0"),
        ("crds.enabled=maybe", "/crds/enabled"),
    ],
)
def test_wrong_values_are_refused_by_name(setting: str, field: str) -> None:
    with pytest.raises(CommandError, match=r"don't meet the specifications of the schema") as caught:
        render("--set", setting)
    assert field in caught.value.output


def test_the_trial_image_must_be_given() -> None:
    with pytest.raises(CommandError, match="/trialImage"):
        helm("template", "nas", CHART, "--kube-version", KUBERNETES)


def objects(node: Json, where: str = "") -> list[tuple[str, Json]]:
    below = [*node.get("properties", {}).items(), *([("[]", node["items"])] if "items" in node else [])]
    own = [(where, node)] if node.get("type") == "object" else []
    return own + [found for name, child in below for found in objects(child, f"{where}/{name}")]


def test_the_schema_closes_every_object_and_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    # A parent chart's own values, and parts of a pod that the API server judges.
    free = {"/global", *(f"/affinity/{name}" for name in ("nodeAffinity", "podAffinity", "podAntiAffinity"))}
    assert {where for where, node in objects(schema) if "additionalProperties" not in node} == free
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for where, node in objects(schema):
        if node.get("additionalProperties") is not False or "[]" in where:
            continue
        values = defaults
        for part in where.split("/")[1:]:
            values = values[part]
        known = set(node["properties"]) - {"global"}
        assert known - {"nodeAffinity", "podAffinity", "podAntiAffinity"} == set(values), where


def test_the_readme_names_every_value() -> None:
    text = (CHART / "README.md").read_text()
    for name, value in yaml.safe_load((CHART / "values.yaml").read_text()).items():
        assert f"`{name}" in text, name
        nested = value if isinstance(value, dict) and name != "resources" else {}
        assert all(f".{inner}`" in text for inner in nested), name


# ---- Networks, metrics and alerts


@pytest.mark.parametrize(
    ("changes", "port"),
    [
        ({}, 9464),
        # The Service's port is not what most networks look at.
        ({"prometheus__url": "http://prometheus-server"}, 9090),
        ({"prometheus__url": "http://vm:80", "networkPolicy__prometheusPorts[0]": "8429"}, 8429),
    ],
)
def test_the_operator_reaches_what_it_reads_metrics_from_and_nothing_else(changes: dict[str, str], port: int) -> None:
    spec = find(render(**{"networkPolicy__enabled": "true", "prometheus__url": ""} | changes), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    ports = {entry["port"] for rule in spec["egress"] for entry in rule["ports"]}
    assert ports == {53, 443, 6443, port}
    assert {entry["port"] for rule in spec["ingress"] for entry in rule["ports"]} == {"metrics", "health"}


def rules() -> list[Json]:
    found = find(render(prometheusRule__enabled="true"), "PrometheusRule")["spec"]["groups"][0]["rules"]
    assert isinstance(found, list)
    return found


def test_alerts_say_what_is_wrong_and_use_metrics_that_exist() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    known = {sample.name for family in registry.collect() for sample in family.samples}
    assert len(rules()) == 4
    for rule in rules():
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].endswith(".")
        used = set(re.findall(r"archsearch_\w+", rule["expr"]))
        assert used
        assert used <= known
    mentioned = {name for rule in rules() for name in re.findall(r"archsearch_\w+", rule["annotations"]["runbook"])}
    assert {f"{name}_count" for name in mentioned} <= known


def test_alerts_fire_when_they_should_and_not_when_the_operator_restarts(tmp_path: Path) -> None:
    if reason := binaries.missing("prometheus"):
        pytest.skip(reason)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "archsearch", "rules": rules()}]}))
    tests = [
        # No operator.
        case({"up": "1x60"}, {"ArchsearchOperatorDown": ["5m"]}),
        case(
            # Well; then another pod of the operator, that knows of the same failed trials at once.
            {
                'archsearch_workqueue_depth{pod="a"}': "0x40",
                'archsearch_trials{state="Failed",pod="a"}': "20x30 stale",
                'archsearch_trials{state="Failed",pod="b"}': "_x31 0 20x40",
                'archsearch_reconcile_total{result="error"}': "1x60",
            },
            {},
        ),
        case(
            {
                "archsearch_workqueue_depth": "90x60",
                'archsearch_trials{state="Failed"}': "0x30 6x30",
                'archsearch_reconcile_total{result="error"}': "0+6x60",
            },
            {
                "ArchsearchReconcileErrors": ["30m"],
                "ArchsearchQueueBacklog": ["30m"],
                "ArchsearchTrialsFailing": ["40m"],
            },
        ),
    ]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    assert "SUCCESS" in run(binaries.binary("promtool"), "test", "rules", "tests.yaml", cwd=tmp_path)


def case(series: dict[str, str], firing: dict[str, list[str]]) -> Json:
    """A test of promtool: these alerts fire at these times, and the others never do."""
    alerts = {rule["alert"]: rule for rule in rules()}
    checks = []
    for name, rule in alerts.items():
        for moment in firing.get(name, ["38m"]):
            expected = {"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}
            checks.append({"eval_time": moment, "alertname": name, "exp_alerts": [expected] if name in firing else []})
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": inputs, "alert_rule_test": checks}


def test_both_pod_monitors_name_ports_that_exist() -> None:
    documents = render(podMonitor__enabled="true", watchNamespaces="{a,b}")
    own, trials = find(documents, "PodMonitor"), find(documents, "PodMonitor", "nas-trials")
    for monitor in (own, trials):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert (endpoint["port"], endpoint["interval"]) == ("metrics", "10s")
    assert own["spec"]["selector"] == {"matchLabels": find(documents, "Deployment")["spec"]["selector"]["matchLabels"]}
    assert trials["spec"]["namespaceSelector"] == {"matchNames": ["a", "b"]}
    anywhere = find(render(podMonitor__enabled="true"), "PodMonitor", "nas-trials")
    assert anywhere["spec"]["namespaceSelector"] == {"any": True}
