"""The operator is killed again and again; the search neither loses nor repeats anything, and proposes the same."""

from __future__ import annotations

import random
import threading
import time
import uuid
from typing import Any

import pytest
from harness import Namespace, Operator, wait_for
from simulated_node import Ending, SimulatedNode, good_message

from cluster import ControlPlane

pytestmark = pytest.mark.apiserver

TRIALS = 60
KILLS = 30
SPEC: dict[str, Any] = {
    "space": {"nasBench201": {}},
    "algorithm": {"regularizedEvolution": {"population": 8, "sample": 3}},
    "evaluation": {"train": {"epochs": 1}},
    "budget": {"maxTrials": TRIALS, "parallelTrials": 4, "maxFailedTrials": TRIALS},
    "retrain": {"topK": 0},
    "seed": 7,
}


def ending(work: dict[str, Any], seconds: float) -> Ending:
    """Some trials fail: the searcher must be told of these too."""
    index = work["spec"]["index"]
    if work["spec"]["work"] == "Train" and index % 11 == 5:
        return Ending(seconds, 1, "boom")
    if work["spec"]["work"] == "Train" and index % 13 == 7:
        return Ending(seconds, 42, '{"version": 1, "error": "too large"}')
    return Ending(seconds, 0, good_message(work))


def pace(work: dict[str, Any]) -> float:
    """Seconds that a trial takes: different ones, so that they do not end in the order in which they started."""
    return 1.0 + (work["spec"]["index"] * 7 % 5) / 2


def completion_order(namespace: Namespace) -> list[int]:
    trained = sorted(namespace.trials("Train"), key=lambda trial: trial["status"]["sequence"])
    return [trial["spec"]["index"] for trial in trained]


def proposals(namespace: Namespace) -> dict[int, Any]:
    return {trial["spec"]["index"]: trial["spec"]["architecture"] for trial in namespace.trials("Train")}


def recorded(namespace: Namespace) -> int:
    """Results that are written."""
    return sum("sequence" in trial.get("status", {}) for trial in namespace.trials("Train"))


def check_records(namespace: Namespace, node: SimulatedNode) -> None:
    trained = namespace.trials("Train")
    assert [trial["spec"]["index"] for trial in trained] == list(range(TRIALS))
    finished = {"Succeeded", "Failed", "Infeasible"}
    assert all(trial["status"]["state"] in finished for trial in trained)
    everything = namespace.trials()
    assert sorted(trial["status"]["sequence"] for trial in everything) == list(range(len(everything)))
    assert node.doubled == [], "two pods ran for one trial"
    assert len(node.started) == len(set(node.started)) == len(everything), "a trial was run twice"
    assert not namespace.jobs()
    status = namespace.search("s")["status"]
    values = [trial["status"]["result"]["metrics"]["accuracy"] for trial in trained if trial["status"].get("result")]
    assert status["best"]["metrics"]["accuracy"] == max(values)
    assert status["trials"]["done"] == f"{TRIALS}/{TRIALS}"


@pytest.mark.timeout(900)
def test_thirty_kills_change_neither_the_records_nor_the_proposals(control_plane: ControlPlane, tmp_path):
    rng = random.Random(20)
    moments: list[tuple[int, int]] = []  # how many trials and results there were at each kill

    def script(work: dict[str, Any]) -> Ending | None:
        # Two more trials may end with each kill, so that the kills meet the whole search however fast the machine is.
        due = TRIALS * len(moments) // KILLS
        return None if work["spec"]["work"] == "Train" and work["spec"]["index"] >= due else ending(work, pace(work))

    rough = Namespace(control_plane.client, f"rough-{uuid.uuid4().hex[:6]}").create()
    rough.submit("s", **SPEC)
    with (
        Operator(control_plane.kubeconfig, rough.name, tmp_path / "rough.log") as operator,
        SimulatedNode(rough.client, rough.name, script) as node,
    ):
        started = time.monotonic()
        for number in range(KILLS):
            if number % 4:
                # In the middle of its work, and every time a little further, however slow the machine is.
                known = recorded(rough)
                wait_for(lambda known=known: recorded(rough) > known, 60, "the next result")
                time.sleep(rng.uniform(0, 0.5))
            else:
                # From before it has connected on: an operator needs about 1.5 s to start.
                time.sleep(rng.uniform(0.3, 3.0))
            operator.kill()
            moments.append((len(rough.trials("Train")), recorded(rough)))
            operator.start()
        wait_for(lambda: rough.condition("s", "Succeeded")[0] in {"True", "False"}, 120, "the end")
        wait_for(lambda: not rough.jobs(), 30, "the last Job to go")
    print(f"{KILLS} kills; trials at each: {moments}, {time.monotonic() - started:.0f} s")
    check_records(rough, node)
    assert len(set(moments)) > 10, "the kills came at different moments of the search"

    calm = undisturbed(control_plane, completion_order(rough), tmp_path)
    assert completion_order(calm) == completion_order(rough)
    assert proposals(calm) == proposals(rough)


def undisturbed(control_plane: ControlPlane, order: list[int], tmp_path) -> Namespace:
    """The same search without a kill, whose trials end in this order, each after the one before is recorded."""
    calm = Namespace(control_plane.client, f"calm-{uuid.uuid4().hex[:6]}").create()
    allowed: set[int] = set()
    lock = threading.Lock()

    def script(work: dict[str, Any]) -> Ending | None:
        with lock:
            if work["spec"]["work"] == "Train" and work["spec"]["index"] not in allowed:
                return None
        return ending(work, 0.0)

    with (
        Operator(control_plane.kubeconfig, calm.name, tmp_path / "calm.log"),
        SimulatedNode(calm.client, calm.name, script) as node,
    ):
        calm.submit("s", **SPEC)
        for position, index in enumerate(order):
            with lock:
                allowed.add(index)
            wait_for(lambda: _recorded(calm, index), 60, f"trial {index} ({position} of {len(order)})")  # noqa: B023
        wait_for(lambda: calm.condition("s", "Succeeded")[0] == "True", 60, "the end")
        wait_for(lambda: not calm.jobs(), 30, "the last Job to go")
    check_records(calm, node)
    return calm


def _recorded(namespace: Namespace, index: int) -> bool:
    return any(t["spec"]["index"] == index and "sequence" in t.get("status", {}) for t in namespace.trials("Train"))
