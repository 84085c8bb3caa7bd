"""What the operator creates."""

from __future__ import annotations

import json

import pytest

from archsearch.api import ArchitectureSearchSpec, ArchitectureTrialSpec, Trial, Work
from archsearch.planning import History, Search, resolve
from archsearch_operator.jobs import job_document


def search(**changes) -> Search:
    document = {
        "task": {"imageClassification": {"dataset": {"volume": {"claimName": "data", "path": "d.npz"}}}},
        "budget": {"maxTrials": 2},
        "artifacts": {"claimName": "artifacts", "path": "mine"},
    }
    spec = ArchitectureSearchSpec.model_validate(document | changes)
    return Search("ns", "s" * 40, "abcde-uid", 1, resolve(spec, "trial:1"))


def rendered(found: Search, **spec):
    work = {"work": "Preflight", "index": 0, "seed": 0} | spec
    trial = Trial(name=found.trial_name(work["work"], 99_999), spec=ArchitectureTrialSpec.model_validate(work))
    return job_document(found, trial, "trial-uid", History(found.spec))


def test_the_pod_keeps_to_the_restricted_standard_and_has_no_token():
    pod = rendered(search())["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert container["image"] == "trial:1"


def test_the_longest_name_still_fits():
    job = rendered(search())
    assert len(job["metadata"]["name"]) <= 63
    assert len(job["spec"]["template"]["metadata"]["labels"]["archsearch.dev/trial"]) <= 63


def test_data_are_read_only_and_artifacts_have_a_folder_of_the_search():
    pod = rendered(search())["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["data"]["readOnly"] is True
    work = Work.model_validate(json.loads(pod["containers"][0]["env"][0]["value"]))
    assert work.paths.data == "/data"
    assert work.paths.artifacts == f"/artifacts/mine/{'s' * 40}-abcde"
    assert work.paths.artifacts_uri == f"pvc://artifacts/mine/{'s' * 40}-abcde"


def test_a_queue_makes_the_job_wait_for_admission():
    job = rendered(search(queue={"name": "team-a", "priorityClass": "nas"}))
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "nas"
    assert rendered(search())["spec"]["suspend"] is False


def test_a_profile_is_measured_on_its_own_hardware():
    profile = {
        "name": "t4",
        "nodeSelector": {"gpu": "t4"},
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "runtimeClassName": "nvidia",
    }
    found = search(profiles=[profile], trial={"nodeSelector": {"gpu": "a100"}})
    measured = rendered(found, work="Profile", profile="t4")["spec"]["template"]["spec"]
    assert measured["nodeSelector"] == {"gpu": "t4"}
    assert measured["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert measured["tolerations"][0]["key"] == "gpu"
    assert measured["runtimeClassName"] == "nvidia"
    trained = rendered(found, work="Retrain")["spec"]["template"]["spec"]
    assert trained["nodeSelector"] == {"gpu": "a100"}
    assert "runtimeClassName" not in trained


def test_who_is_replaced_and_who_is_not():
    spec = rendered(search())["spec"]
    rules = spec["podFailurePolicy"]["rules"]
    assert spec["backoffLimit"] == 0
    assert rules[0]["action"] == "Ignore"
    assert rules[0]["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert {rule["action"]: rule["onExitCodes"]["values"] for rule in rules[1:]} == {
        "FailJob": [3, 42],
        "Ignore": [143],
    }


@pytest.mark.parametrize(("work", "waits"), [("Preflight", 0), ("Export", 0), ("Train", 10), ("Profile", 10)])
def test_a_trial_waits_for_a_scrape_only_where_it_shows_a_number(work, waits):
    pod = rendered(search(), work=work)["spec"]["template"]["spec"]
    assert json.loads(pod["containers"][0]["env"][0]["value"])["scrapeTimeoutSeconds"] == waits
