"""The operator on a real API server: from a spec to the status, and what it does about what goes wrong."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from harness import Namespace, Operator, wait_for
from simulated_node import Ending, SimulatedNode, good_message

from cluster import ControlPlane

pytestmark = pytest.mark.apiserver
SMALL = {
    "space": {"nasBench201": {}},
    "algorithm": {"random": {}},
    "evaluation": {"train": {"epochs": 1}},
    "retrain": {"topK": 1, "seeds": 2},
}


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Namespace:
    return Namespace(control_plane.client, f"t-{uuid.uuid4().hex[:8]}").create()


@pytest.fixture
def operator(control_plane: ControlPlane, namespace: Namespace, tmp_path) -> Iterator[Operator]:
    with Operator(control_plane.kubeconfig, namespace.name, tmp_path / "operator.log") as running:
        yield running
    print((tmp_path / "operator.log").read_text()[-5000:])


def finished(namespace: Namespace, name: str) -> bool:
    return namespace.condition(name, "Succeeded")[0] in {"True", "False"}


def test_a_search_runs_to_its_end_and_leaves_records_but_no_jobs(namespace, operator):
    namespace.submit("s", budget={"maxTrials": 4, "parallelTrials": 2}, **SMALL)
    with SimulatedNode(namespace.client, namespace.name, lambda work: Ending(0.1, 0, good_message(work))) as node:
        wait_for(lambda: finished(namespace, "s"), 60, "the search")
        wait_for(lambda: not namespace.jobs(), 20, "the last Job to go")
    status = namespace.search("s")["status"]
    assert namespace.condition("s", "Succeeded")[:2] == ("True", "Completed")
    assert status["stage"] == "Done"
    assert status["trials"]["done"] == "4/4"
    assert status["best"]["retrained"]["seeds"] == 2
    assert status["hardware"][0]["device"] == "simulated"
    assert status["observedGeneration"] == namespace.search("s")["metadata"]["generation"]
    assert status["reproducibility"]["settingsAfterDefaults"]["trial"]["image"] == "example.org/trial:1"
    works = [trial["spec"]["work"] for trial in namespace.trials()]
    assert sorted(works) == ["Preflight", "Profile", "Retrain", "Retrain"] + ["Train"] * 4
    assert all("archsearch.dev/open" not in trial["metadata"]["labels"] for trial in namespace.trials())
    assert node.doubled == []
    reasons = [
        event["reason"] for event in namespace.events() if event["involvedObject"]["kind"] == "ArchitectureSearch"
    ]
    assert reasons.count("StageSearch") == 1
    assert "Completed" in reasons


def test_the_smallest_spec_gets_defaults_that_the_status_shows(namespace, operator):
    namespace.submit("s", budget={"maxTrials": 1})
    settings = wait_for(
        lambda: namespace.search("s")["status"]["reproducibility"]["settingsAfterDefaults"], 20, "the defaults"
    )
    assert list(settings["space"]) == ["dartsCells"]
    assert list(settings["algorithm"]) == ["differentiable"]  # one trial is too few to learn from
    chosen = {each["field"]: each["reason"] for each in namespace.search("s")["status"]["defaults"]}
    assert "budget.maxTrials is 1" in chosen["algorithm"]
    assert settings["objectives"] == [{"metric": "accuracy", "goal": "Maximize"}]
    assert settings["profiles"][0]["name"] == "default"


def test_suspending_removes_the_jobs_and_resuming_makes_them_again(namespace, operator):
    namespace.submit("s", budget={"maxTrials": 4, "parallelTrials": 2}, **SMALL)

    def script(work):
        return Ending(0, 0, good_message(work)) if work["spec"]["work"] == "Preflight" else None

    with SimulatedNode(namespace.client, namespace.name, script) as node:
        wait_for(lambda: len(namespace.jobs()) == 2 and namespace.trials("Train"), 30, "two trials")
        before = {trial["metadata"]["uid"] for trial in namespace.trials()}
        namespace.edit("s", suspend=True)
        wait_for(lambda: not namespace.jobs(), 30, "the Jobs to stop")
        wait_for(lambda: namespace.condition("s", "Suspended")[0] == "True", 10, "the condition")
        wait_for(lambda: {t["status"]["reason"] for t in namespace.trials("Train")} == {"Suspended"}, 20, "the reason")
        namespace.edit("s", suspend=False)
        wait_for(lambda: len(namespace.jobs()) == 2, 30, "the Jobs to be made again")
        assert {trial["metadata"]["uid"] for trial in namespace.trials()} == before
    assert node.doubled == []


def test_a_job_that_somebody_deletes_is_made_again(namespace, operator):
    namespace.submit("s", budget={"maxTrials": 1}, **SMALL)
    job = wait_for(namespace.jobs, 30, "the first Job")[0]
    path = f"/apis/batch/v1/namespaces/{namespace.name}/jobs/{job['metadata']['name']}"
    namespace.client.request("DELETE", path, {"propagationPolicy": "Background"})
    again = wait_for(
        lambda: [j for j in namespace.jobs() if j["metadata"]["uid"] != job["metadata"]["uid"]], 30, "another Job"
    )
    assert again[0]["metadata"]["name"] == job["metadata"]["name"]
    assert len(namespace.trials()) == 1


def test_deleting_a_search_removes_all_that_it_made(namespace, operator):
    namespace.submit("s", budget={"maxTrials": 1}, **SMALL)
    wait_for(namespace.jobs, 30, "the first Job")
    namespace.delete("s")
    wait_for(lambda: not namespace.jobs() and not namespace.trials(), 60, "everything to go")


def test_a_search_made_anew_under_an_old_name_starts_from_nothing(namespace, operator):
    spec = {"budget": {"maxTrials": 2, "parallelTrials": 2}, **SMALL, "retrain": {"topK": 0}}
    with SimulatedNode(namespace.client, namespace.name, lambda work: Ending(0, 0, good_message(work))):
        first = namespace.submit("s", **spec)["metadata"]["uid"]
        wait_for(lambda: finished(namespace, "s"), 60, "the first")
        namespace.delete("s")
        wait_for(lambda: not _exists(namespace, "s"), 20, "the deletion")
        second = namespace.submit("s", **spec)["metadata"]["uid"]
        wait_for(lambda: finished(namespace, "s"), 60, "the second")
        wait_for(lambda: all(t["metadata"]["ownerReferences"][0]["uid"] == second for t in namespace.trials()), 30,
                 "the first one's trials to go")  # fmt: skip
    assert first != second
    assert len(namespace.trials("Train")) == 2


def test_an_edit_of_an_immutable_field_is_refused(namespace, operator):
    namespace.submit("s", budget={"maxTrials": 2}, **SMALL)
    with pytest.raises(Exception, match="space"):
        namespace.edit("s", space={"nasBench201": {"search": {"channels": 8, "cells": 1}}})


def test_the_jobs_keep_to_restricted_pod_security(namespace, operator):
    namespace.client.merge(
        f"/api/v1/namespaces/{namespace.name}",
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
    )
    namespace.submit("s", budget={"maxTrials": 1}, **SMALL)
    wait_for(lambda: namespace.client.get(f"/api/v1/namespaces/{namespace.name}/pods")["items"], 30, "a pod")


def _exists(namespace: Namespace, name: str) -> bool:
    path = f"/apis/archsearch.dev/v1alpha1/namespaces/{namespace.name}/architecturesearches/{name}"
    return namespace.client.exists(path)


def test_a_namespace_that_is_deleted_under_a_search_is_no_error(namespace, operator):
    namespace.submit("s", budget={"maxTrials": 50, "parallelTrials": 4}, **SMALL)
    with SimulatedNode(namespace.client, namespace.name, lambda work: Ending(0.1, 0, good_message(work))):
        wait_for(lambda: namespace.trials("Train"), 30, "a trial")
        namespace.client.request("DELETE", f"/api/v1/namespaces/{namespace.name}")
        wait_for(lambda: not _exists(namespace, "s"), 60, "the search to go")
    assert "Traceback" not in operator.log.read_text()


def test_a_job_that_the_api_server_refuses_is_told_and_made_once_it_may_be(namespace, operator):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
             "spec": {"hard": {"count/jobs.batch": "0"}}}  # fmt: skip
    path = f"/api/v1/namespaces/{namespace.name}/resourcequotas/none"
    namespace.client.apply(path, quota)
    wait_for(lambda: "hard" in namespace.client.get(path).get("status", {}), 30, "the quota")
    namespace.submit("s", budget={"maxTrials": 1}, **SMALL | {"retrain": {"topK": 0}})
    wait_for(lambda: namespace.condition("s", "Progressing")[1] == "ApiRefused", 30, "the condition")
    status, _, message = namespace.condition("s", "Progressing")
    assert status == "False"
    assert "exceeded quota: none" in message
    assert namespace.search("s")["status"]["stage"] == "Preflight"
    namespace.client.request("DELETE", path)
    with SimulatedNode(namespace.client, namespace.name, lambda work: Ending(0, 0, good_message(work))):
        wait_for(lambda: finished(namespace, "s"), 60, "the search")
    assert namespace.condition("s", "Progressing")[1] == "Completed"
    assert "Traceback" not in operator.log.read_text()


def test_a_search_whose_records_somebody_broke_says_so_and_holds_up_no_other(control_plane, namespace, tmp_path):
    spec = SMALL | {"retrain": {"topK": 0}}
    with (
        SimulatedNode(namespace.client, namespace.name, lambda work: Ending(0, 0, good_message(work))),
        Operator(control_plane.kubeconfig, namespace.name, tmp_path / "operator.log"),
    ):
        namespace.submit("bad", budget={"maxTrials": 1}, **spec)
        wait_for(lambda: finished(namespace, "bad"), 60, "the search")
    trial = namespace.trials("Train")[0]["metadata"]["name"]
    path = f"/apis/archsearch.dev/v1alpha1/namespaces/{namespace.name}/architecturetrials/{trial}/status"
    namespace.client.merge(path, {"status": {"result": {"architecture": {"evil": "conv"}}}})
    namespace.edit("bad", budget={"maxTrials": 2})
    with (
        SimulatedNode(namespace.client, namespace.name, lambda work: Ending(0, 0, good_message(work))),
        Operator(control_plane.kubeconfig, namespace.name, tmp_path / "operator.log"),
    ):
        namespace.submit("good", budget={"maxTrials": 2}, **spec)
        wait_for(lambda: namespace.condition("bad", "Progressing")[1] == "OperatorError", 30, "the condition")
        wait_for(lambda: finished(namespace, "good"), 60, "the other search")
    assert "evil" in namespace.condition("bad", "Progressing")[2]
    assert namespace.condition("good", "Succeeded")[:2] == ("True", "Completed")


def test_a_finished_search_is_looked_at_without_being_written(namespace, operator):
    cells = {"dartsCells": {"nodes": 1}}
    namespace.submit("s", budget={"maxTrials": 1}, **SMALL | {"space": cells, "retrain": {"topK": 0}})
    with SimulatedNode(namespace.client, namespace.name, lambda work: Ending(0, 0, good_message(work))):
        wait_for(lambda: finished(namespace, "s") and not namespace.jobs(), 60, "the search")
    path = f"/apis/archsearch.dev/v1alpha1/namespaces/{namespace.name}/architecturesearches/s"
    looks = operator.metric("archsearch_reconcile_duration_seconds_count")
    namespace.client.merge(path, {"metadata": {"annotations": {"somebody": "was here"}}})
    changed = namespace.search("s")
    wait_for(lambda: operator.metric("archsearch_reconcile_duration_seconds_count") > looks, 20, "another look")
    assert namespace.search("s")["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]
