"""The demo on somebody else's cluster touches no operator that it did not install, and always comes to an end."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster import ControlPlane, demo
from cluster.errors import ClusterError

Json = dict[str, Any]
Install = Callable[..., None]
TEAM = "/api/v1/namespaces/team"
DEPLOYMENT = "/apis/apps/v1/namespaces/team/deployments/nas"


@pytest.mark.parametrize("image", ["", "archsearch", "r:5000/archsearch", "r/a@sha256:00", "r/a:1 ", "r/a:"])
def test_an_image_without_a_tag_is_refused_in_words(image: str) -> None:
    with pytest.raises(ClusterError) as refusal:
        demo.split_image("ARCHSEARCH_TRIAL_IMAGE", image)
    assert str(refusal.value).startswith("ARCHSEARCH_TRIAL_IMAGE must be an image REPOSITORY:TAG")
    assert str(refusal.value).endswith(f"but got {image or 'nothing'}")


@pytest.mark.parametrize("repository", ["archsearch", "r:5000/a/archsearch"])
def test_the_tag_is_what_follows_the_last_colon(repository: str) -> None:
    assert demo.split_image("X", f"{repository}:0.1.0-rc_1") == (repository, "0.1.0-rc_1")


@pytest.fixture
def target(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> demo.Target:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    return demo.Target(None, "r/operator:1", "r/trial:1", "")


@pytest.fixture
def operator(control_plane: ControlPlane) -> Iterator[Install]:
    """Puts an operator into the namespace `team`; on a control plane it never runs."""

    def install(watched: str, **labels: str) -> None:
        labels = {"app.kubernetes.io/name": "archsearch", **labels}
        container = {
            "name": "operator",
            "image": "x",
            "env": [{"name": "ARCHSEARCH_NAMESPACE", "value": watched}],
        }
        spec = {
            "replicas": 0,
            "selector": {"matchLabels": {"app.kubernetes.io/name": "archsearch"}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        }
        metadata = {"name": "nas", "labels": {"app.kubernetes.io/name": "archsearch"}}
        control_plane.client.apply(TEAM, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
        control_plane.client.apply(
            DEPLOYMENT, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
        )

    yield install
    control_plane.client.request("DELETE", DEPLOYMENT)


@pytest.mark.apiserver
def test_without_an_operator_there_is_nobody_to_leave_alone(target: demo.Target) -> None:
    assert demo.operator_of_somebody_else(target, demo.NAMESPACE) == ""


@pytest.mark.apiserver
@pytest.mark.parametrize("watched", ["", f"a,{demo.NAMESPACE}"])
def test_an_operator_that_is_there_is_used_and_never_replaced(
    target: demo.Target, operator: Install, watched: str
) -> None:
    operator(watched)
    assert demo.operator_of_somebody_else(target, demo.NAMESPACE) == "team/nas"
    with pytest.raises(ClusterError, match="the operator team/nas is there already"):
        demo.install(target)


@pytest.mark.apiserver
def test_an_operator_that_looks_elsewhere_is_named_with_what_to_do(target: demo.Target, operator: Install) -> None:
    operator("a,b")
    with pytest.raises(ClusterError, match=f"team/nas looks for searches in a,b only: add {demo.NAMESPACE} to its"):
        demo.operator_of_somebody_else(target, demo.NAMESPACE)


@pytest.mark.apiserver
def test_the_demos_own_operator_may_be_replaced(target: demo.Target, operator: Install) -> None:
    operator("", **{demo.INSTALLED_BY: "demo"})
    assert demo.operator_of_somebody_else(target, demo.NAMESPACE) == ""


@pytest.mark.apiserver
@pytest.mark.timeout(60)
def test_a_search_that_the_operator_does_not_understand_ends_the_demo(
    control_plane: ControlPlane, target: demo.Target
) -> None:
    client, kind = control_plane.client, {"apiVersion": "archsearch.dev/v1alpha1", "kind": "ArchitectureSearch"}
    place = f"/api/v1/namespaces/{demo.NAMESPACE}"
    path = f"/apis/archsearch.dev/v1alpha1/namespaces/{demo.NAMESPACE}/architecturesearches/strange"
    client.apply(place, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": demo.NAMESPACE}})
    spec = {"task": {"imageClassification": {"dataset": {"builtin": "digits"}}}, "budget": {"maxTrials": 1}}
    client.apply(path, {**kind, "metadata": {"name": "strange"}, "spec": spec})
    conditions = [
        {"type": name, "status": "False", "reason": "InvalidSpec", "message": "spec.x", "observedGeneration": 1,
         "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for name in ("Accepted", "Progressing", "Succeeded")
    ]  # fmt: skip
    client.merge(f"{path}/status", {"status": {"conditions": conditions}})
    status = demo.follow(target, "strange")
    assert "completionTime" not in status
    assert "Succeeded        False    InvalidSpec  spec.x" in demo.summary(target, "strange", status, 0)
    client.request("DELETE", path)
