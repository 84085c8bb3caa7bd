"""Real searches on a real cluster, from the chart's operator and the trial image."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from user import User

from archsearch.api.space import Space
from archsearch.spaces import space_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = {"resources": {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}}
CELLS = {"dartsCells": {"nodes": 2, "search": {"channels": 2, "cells": 3}, "final": {"channels": 4, "cells": 3}}}


def test_second_order_darts_goes_from_apply_to_an_exported_model(user: User):
    user.submit(
        "darts",
        space=CELLS,
        algorithm={"differentiable": {"order": "Second", "epochs": 2}},
        budget={"maxTrials": 1},
        retrain={"topK": 1, "seeds": 2, "epochs": 2},
        artifacts={"claimName": "artifacts"},
        trial=SMALL,
    )
    status = user.wait_end("darts", 400)
    assert user.condition("darts", "Succeeded")[:2] == ("True", "Completed")
    assert user.condition("darts", "Accepted")[:2] == ("True", "PreflightPassed")
    assert user.condition("darts", "MetricsAvailable")[:2] == ("True", "Agrees")
    best = status["best"]
    found = space_of(Space.model_validate(CELLS)).architecture(best["genotype"])
    assert found.id == best["genotypeId"]
    assert best["retrained"]["seeds"] == 2
    assert 0 < best["retrained"]["mean"] <= 1
    assert best["exportDifference"] < 1e-4
    assert [re.fullmatch(r"[0-9a-f]{64}", item["sha256"]) is not None for item in best["artifacts"]]
    assert "onnx" in {item["format"] for item in best["artifacts"]}
    profile = status["hardware"][0]
    assert 0 < profile["latencyMs"]["p50"] <= profile["latencyMs"]["p95"] <= profile["latencyMs"]["p99"]
    assert profile["throughput"] > 0
    assert profile["parameters"] > 0
    assert profile["flops"] > 0
    assert profile["device"]
    user.wait(lambda: not user.get("jobs")["items"], 60, "the last Job to go")
    assert "darts" in user.kubectl("get", "nas")
    assert "Done" in user.kubectl("get", "nas")


def test_an_evicted_supernet_resumes_from_its_checkpoint_and_has_not_failed(user: User):
    user.submit(
        "evicted",
        space=CELLS,
        algorithm={"differentiable": {"order": "Second", "epochs": 12}},
        budget={"maxTrials": 1, "maxFailedTrials": 0},
        retrain={"topK": 0},
        artifacts={"claimName": "artifacts"},
        trial=SMALL,
    )

    def epochs(but: str = "") -> list[int]:
        pods = [pod for pod in user.get("pods")["items"] if pod["status"]["phase"] == "Running"]
        labelled = [pod["metadata"] for pod in pods if pod["metadata"]["labels"]["archsearch.dev/work"] == "Supernet"]
        logs = [user.kubectl("logs", found["name"]) for found in labelled if found["name"] != but]
        return [int(number) for log in logs for number in re.findall(r"epoch (\d+)/12", log)]

    reached = max(user.wait(lambda: [e for e in epochs() if e >= 2], 240, "the second epoch"))
    first = next(p["metadata"]["name"] for p in user.get("pods", "-l", "archsearch.dev/work=Supernet")["items"])
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first, "namespace": user.namespace}}
    path = f"/api/v1/namespaces/{user.namespace}/pods/{first}/eviction"
    user.target.kubectl("create", "--raw", path, "-f", "-", text_input=json.dumps(eviction))
    again = min(user.wait(lambda: epochs(first), 120, "the next pod's first epoch"))
    assert again > reached, "the next pod did not start from the checkpoint"
    user.wait_end("evicted", 300)
    status = user.status("evicted")
    assert user.condition("evicted", "Succeeded")[:2] == ("True", "Completed")
    assert status["trials"]["failed"] == 0
    assert status["trials"]["preemptions"] == 1
    trial = user.trials("Supernet")[0]
    assert trial["status"]["preemptions"] == 1
    assert trial["status"]["state"] == "Succeeded"


def test_the_evolution_example_runs_sixteen_trials_four_at_a_time(user: User):
    user.kubectl("apply", "-f", str(EXAMPLES / "evolution-digits.yaml"))
    most, end = 0, time.monotonic() + 600
    while user.condition("evolution-digits", "Succeeded")[0] not in {"True", "False"}:
        assert time.monotonic() < end, user.report()
        counts = user.status("evolution-digits").get("trials", {})
        open_now = counts.get("pending", 0) + counts.get("running", 0)
        assert open_now <= 4
        most = max(most, open_now)
        time.sleep(1)
    status = user.status("evolution-digits")
    assert user.condition("evolution-digits", "Succeeded")[:2] == ("True", "Completed")
    assert most == 4
    assert status["trials"]["done"] == "16/16"
    trained = user.trials("Train")
    assert len({str(trial["spec"]["architecture"]) for trial in trained}) == 16
    succeeded = [t for t in trained if t["status"]["state"] == "Succeeded"]
    values = [trial["status"]["result"]["metrics"]["accuracy"] for trial in succeeded]
    assert status["best"]["metrics"]["accuracy"] == max(values)
    assert status["front"]
