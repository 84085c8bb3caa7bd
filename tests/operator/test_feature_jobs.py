"""A pool is scored before the search, by Jobs like any others, and what the searcher is told survives the operator."""

from __future__ import annotations

import json
import uuid
from typing import Any
from zlib import crc32

import pytest
from harness import Namespace, Operator, wait_for
from simulated_node import Ending, SimulatedNode, good_message

from cluster import ControlPlane

pytestmark = pytest.mark.apiserver

SPEC: dict[str, Any] = {
    "space": {"nasBench201": {}},
    "algorithm": {"gaussianProcess": {"initial": 2, "zeroCost": {"scores": ["naswot"], "pool": 48}}},
    "evaluation": {"train": {"epochs": 1}},
    "budget": {"maxTrials": 6, "parallelTrials": 1},
    "retrain": {"topK": 0},
    "seed": 7,
}


def ending(work: dict[str, Any]) -> Ending:
    if work["spec"]["work"] != "Features":
        return Ending(0, 0, good_message(work))
    scores = [crc32(json.dumps(given, sort_keys=True).encode()) % 1000 for given in work["spec"]["architectures"]]
    return Ending(0, 0, json.dumps({"version": 1, "results": [{"naswot": score} for score in scores]}))


def proposals(control_plane: ControlPlane, tmp_path: Any, name: str, *, kill: bool) -> list[Any]:
    """The architectures that a search trains, in order."""
    namespace = Namespace(control_plane.client, f"{name}-{uuid.uuid4().hex[:6]}").create()
    held = {"at": 3 if kill else 10**6}  # the training that waits for the operator's death

    def script(work: dict[str, Any]) -> Ending | None:
        waits = work["spec"]["work"] == "Train" and work["spec"]["index"] >= held["at"]
        return None if waits else ending(work)

    with (
        Operator(control_plane.kubeconfig, namespace.name, tmp_path / f"{name}.log") as operator,
        SimulatedNode(namespace.client, namespace.name, script),
    ):
        namespace.submit("s", **SPEC)
        if kill:
            wait_for(lambda: len(namespace.trials("Train")) == held["at"] + 1, 60, "the training that waits")
            operator.kill()
            held["at"] = 10**6
            operator.start()
        wait_for(lambda: namespace.condition("s", "Succeeded")[0] == "True", 60, "the end")
    scored = namespace.trials("Features")
    assert [len(trial["spec"]["architectures"]) for trial in scored] == [32, 16]
    trained = sorted(namespace.trials("Train"), key=lambda trial: trial["spec"]["index"])
    first = min(trial["status"]["sequence"] for trial in trained)
    assert all(trial["status"]["sequence"] < first for trial in scored), "all are scored before the first is trained"
    assert namespace.search("s")["status"]["trials"]["done"] == "6/6", "what is only scored is no trial of the budget"
    return [trial["spec"]["architecture"] for trial in trained]


@pytest.mark.timeout(300)
def test_a_pool_is_scored_first_and_the_death_of_the_operator_changes_no_proposal(control_plane, tmp_path):
    disturbed = proposals(control_plane, tmp_path, "killed", kill=True)
    assert disturbed == proposals(control_plane, tmp_path, "calm", kill=False)
