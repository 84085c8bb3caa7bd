"""What a user can get wrong, and what a container can do wrong: each ends in words that say what it was."""

from __future__ import annotations

import time

import pytest
from user import User

from cluster import demo
from cluster.commands import CommandError

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ONE = {
    "space": {"nasBench201": {"search": {"channels": 2, "cells": 1}, "final": {"channels": 2, "cells": 1}}},
    "algorithm": {"random": {}},
    "evaluation": {"train": {"epochs": 1}},
    "retrain": {"topK": 0},
}
LITTLE = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}


def test_an_image_that_does_not_exist(user: User):
    image = "127.0.0.1:5000/no-such-image:1"
    user.submit("noimage", budget={"maxTrials": 1}, trial={"image": image}, **ONE)
    user.wait(lambda: "mage" in user.condition("noimage", "Progressing")[1], 60, "the condition")
    status, reason, message = user.condition("noimage", "Progressing")
    assert status == "False"
    assert reason in {"ErrImagePull", "ImagePullBackOff"}
    assert image in message
    assert user.trials()[0]["status"]["state"] == "Pending"
    print(f"Progressing={status} {reason}: {message}")


def test_a_data_path_that_does_not_exist(user: User):
    volume = {"claimName": "artifacts", "path": "no/such/data.npz"}
    task = {"imageClassification": {"dataset": {"volume": volume}}}
    user.submit("nodata", task=task, budget={"maxTrials": 1}, **ONE)
    user.wait_end("nodata", 120)
    status, reason, message = user.condition("nodata", "Accepted")
    assert (status, reason) == ("False", "PreflightFailed")
    assert "no/such/data.npz" in message
    assert not user.trials("Train"), "no GPU time is used for data that is not there"
    print(f"Accepted={status} {reason}: {message}")


@pytest.mark.parametrize(
    ("behaviour", "reason", "words"),
    [
        ("garbage", "InvalidResult", "must be JSON"),
        ("foreign", "InvalidResult", "evil"),
        ("hungry", "OutOfMemory", "memory"),
        ("crash", "Crashed", "boom: the disk is on fire"),
    ],
)
def test_a_container_that_breaks_the_contract(user: User, hostile_image: str, behaviour: str, reason: str, words: str):
    budget = {"maxTrials": 2, "maxFailedTrials": 0}
    user.submit(behaviour, budget=budget, trial={"image": hostile_image, "resources": LITTLE}, **ONE)
    user.wait_end(behaviour, 120)
    trial = user.trials("Train")[0]["status"]
    assert (trial["state"], trial["reason"]) == ("Failed", reason)
    assert words in trial["message"]
    status, why, message = user.condition(behaviour, "Succeeded")
    assert (status, why) == ("False", "TooManyFailedTrials")
    assert words in message
    user.wait(lambda: not user.get("jobs")["items"], 60, "the last Job to go")
    print(f"trial {trial['state']} {trial['reason']}: {trial['message']}\nSucceeded={status} {why}: {message}")


def test_a_job_that_somebody_deletes_is_made_again_only_when_its_pod_is_gone(user: User, hostile_image: str):
    """Two pods of one trial would use two GPUs and write one checkpoint."""
    budget = {"maxTrials": 1, "maxFailedTrials": 0}
    user.submit("stubborn", budget=budget, trial={"image": hostile_image, "resources": LITTLE}, **ONE)
    training = ("pods", "-l", "archsearch.dev/work=Train")

    def alive() -> list[str]:
        pods = [pod for pod in user.get(*training)["items"] if pod["status"]["phase"] in {"Pending", "Running"}]
        return [pod["metadata"]["name"] for pod in pods]

    first = user.wait(lambda: [p for p in user.get(*training)["items"] if p["status"]["phase"] == "Running"], 60,
                      "the trial to run")[0]["metadata"]["name"]  # fmt: skip
    user.kubectl("delete", "job", user.trials("Train")[0]["metadata"]["name"], "--wait=false")
    reasons, end = set(), time.monotonic() + 90
    while not (now := alive()) or now == [first]:
        assert time.monotonic() < end, user.report()
        reasons.add(user.trials("Train")[0]["status"].get("reason"))
        time.sleep(0.2)
    assert len(now) == 1, f"two pods ran for one trial: {now}"
    assert "Stopping" in reasons


def test_an_edit_of_an_immutable_field_is_refused(user: User):
    user.submit("fixed", budget={"maxTrials": 1}, suspend=True, **ONE)
    with pytest.raises(CommandError, match="evaluation is immutable") as refusal:
        user.submit("fixed", budget={"maxTrials": 1}, suspend=True, **ONE | {"evaluation": {"train": {"epochs": 2}}})
    print(str(refusal.value).splitlines()[-1])
    user.submit("fixed", budget={"maxTrials": 5}, suspend=True, **ONE)
    assert user.get("nas", "fixed")["spec"]["budget"]["maxTrials"] == 5


def test_without_its_prometheus_no_result_is_lost_and_the_condition_says_why(user: User, target: demo.Target):
    broken = demo.Target(target.kubeconfig, target.operator_image, target.trial_image, "http://nowhere.invalid:9090")
    demo.install(broken)
    try:
        user.submit("blind", budget={"maxTrials": 2, "parallelTrials": 2}, **ONE)
        user.wait_end("blind", 180)
    finally:
        demo.install(target)
    status, reason, message = user.condition("blind", "MetricsAvailable")
    assert (status, reason) == ("False", "PrometheusUnreachable")
    assert "nowhere.invalid" in message
    assert user.status("blind")["trials"]["done"] == "2/2"
    assert user.status("blind")["best"]["metrics"]["accuracy"] > 0
    print(f"MetricsAvailable={status} {reason}: {message}")


def test_with_no_prometheus_configured_the_pods_are_scraped(user: User, target: demo.Target):
    demo.install(demo.Target(target.kubeconfig, target.operator_image, target.trial_image, ""))
    try:
        user.submit("direct", budget={"maxTrials": 1}, **ONE)
        user.wait_end("direct", 180)
    finally:
        demo.install(target)
    assert user.condition("direct", "MetricsAvailable")[:2] == ("True", "Agrees")
