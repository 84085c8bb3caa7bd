"""Examples of the families of search on a real cluster: what is shared, what runs at once, what is measured first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from user import User

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RETRAIN = {"topK": 1, "seeds": 1, "epochs": 2}
Json = dict[str, Any]


def apply(user: User, example: str, **changes: Any) -> None:
    """Apply an example with other values in its spec; mappings are merged."""
    document = yaml.safe_load((EXAMPLES / f"{example}.yaml").read_text())
    document["spec"] = merged(document["spec"], changes | {"retrain": RETRAIN})
    user.kubectl("apply", "-f", "-", text_input=yaml.safe_dump(document))


def merged(old: Json, new: Json) -> Json:
    """Both; what is new goes before."""
    both = {key: merged(old[key], new[key]) for key in old.keys() & new.keys() if isinstance(new[key], dict)}
    return old | new | both


def finished(user: User, name: str, seconds: float) -> Json:
    """The status of a search that has found, retrained and measured an architecture."""
    status = user.wait_end(name, seconds)
    assert user.condition(name, "Succeeded")[:2] == ("True", "Completed"), user.report()
    assert 0 < status["best"]["retrained"]["mean"] <= 1
    assert status["hardware"][0]["latencyMs"]["p50"] > 0
    return status


def test_four_trials_at_once_evaluate_with_the_weights_of_one_supernet(user: User):
    evaluation = {"sharedWeights": {"epochs": 3, "architecturesPerTrial": 6}}
    apply(user, "one-shot", evaluation=evaluation, algorithm={"regularizedEvolution": {"population": 6, "sample": 2}})
    most, end = 0, time.monotonic() + 600
    while user.condition("one-shot", "Succeeded")[0] not in {"True", "False"}:
        assert time.monotonic() < end, user.report()
        pods = user.get("pods", "-l", "archsearch.dev/work=Evaluate")["items"]
        most = max(most, sum(pod["status"]["phase"] == "Running" for pod in pods))
        time.sleep(0.3)
    finished(user, "one-shot", 1)
    assert most == 4, f"at most {most} pods evaluated at once"
    (supernet,) = user.trials("SharedWeights")
    (checkpoint,) = supernet["status"]["result"]["artifacts"]
    evaluated = user.trials("Evaluate")
    assert len(evaluated) == 8
    assert {trial["spec"]["weights"]["sha256"] for trial in evaluated} == {checkpoint["sha256"]}
    results = [len(trial["status"]["result"]["results"]) for trial in evaluated]
    assert results == [6] * 8
    proposed = [str(each) for trial in evaluated for each in trial["spec"]["architectures"]]
    assert len(set(proposed)) == 48


def test_a_gaussian_process_trains_shortly_first_and_further_what_promises_most(user: User):
    apply(user, "bayesian", budget={"maxTrials": 8, "parallelTrials": 2}, evaluation={"train": {"epochs": 2}})
    status = finished(user, "bayesian", 500)
    trained = user.trials("Train")
    epochs = {trial["spec"]["epochs"] for trial in trained}
    assert epochs == {1, 2}
    best = status["best"]["genotype"]
    assert 2 in {trial["spec"]["epochs"] for trial in trained if trial["spec"].get("architecture") == best}


def test_enas_trains_weights_and_controller_in_one_job(user: User):
    changes: Json = {"epochs": 3, "controllerSteps": 3}
    apply(user, "enas", algorithm={"enas": changes}, budget={"maxTrials": 1})
    status = finished(user, "enas", 400)
    (trial,) = user.trials("Supernet")
    assert trial["status"]["result"]["architecture"] == status["best"]["genotype"]


def test_a_front_under_a_latency_limit_costs_nothing_that_its_table_rules_out(user: User):
    changes: Json = {"budget": {"maxTrials": 6}, "evaluation": {"train": {"epochs": 1}}}
    apply(user, "front-under-latency", algorithm={"nsga2": {"population": 4}}, **changes)
    status = finished(user, "front-under-latency", 600)
    (table,) = user.trials("Table")
    assert [item["format"] for item in table["status"]["result"]["artifacts"]]
    assert status["front"]
    for point in status["front"]:
        assert point["metrics"]["latencyMs@cpu"] <= 5


def test_a_task_of_the_users_own_is_searched_like_any_other(user: User, own_task_image: str):
    document = yaml.safe_load((EXAMPLES / "custom-task" / "spec.yaml").read_text())
    changes = {"trial": {"image": own_task_image}, "budget": {"maxTrials": 3}, "retrain": RETRAIN}
    document["spec"] = merged(document["spec"], changes)
    user.kubectl("apply", "-f", "-", text_input=yaml.safe_dump(document))
    status = finished(user, "custom-task", 400)
    assert status["best"]["retrained"]["metric"] == "testAccuracy"
    assert [item["format"] for item in status["best"]["artifacts"]] == ["onnx"]
