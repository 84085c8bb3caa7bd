"""A whole search in subprocesses: what it leaves, and what becomes of trials that end badly."""

from __future__ import annotations

import json

import pytest
from local_runs import EVOLUTION, RANDOM

ENDINGS = {
    "Train 1": "crash", "Train 3": "infeasible", "Train 4": "garbage", "Train 6": "silent", "Train 7": "killed",
    "Train 8": "interrupted", "Train 9": "user",
}  # fmt: skip


@pytest.mark.parametrize("algorithm", [RANDOM, EVOLUTION], ids=["random", "evolution"])
def test_a_search_keeps_what_it_finds_whatever_its_trials_do(make_run, algorithm):
    run = make_run(algorithm=algorithm, config={"seconds": 0.05, "endings": ENDINGS})
    printed = run.finish()
    run.check_records(12)
    states = run.states()
    assert states[1] == ("Failed", "Crashed")
    assert states[3] == ("Infeasible", "BeyondConstraint")
    assert states[4] == states[6] == ("Failed", "InvalidResult")
    assert states[7] == ("Failed", "Crashed")
    assert states[9] == ("Failed", "UserError")
    assert [index for index, state in states.items() if state == ("Succeeded", "Completed")] == [0, 2, 5, 8, 10, 11]
    messages = {d["spec"]["index"]: d["status"].get("message", "") for d in run.documents("Train")}
    assert messages[1] == "exit code 1: boom"
    assert messages[3] == "too large"
    assert "exit code 137: the process was killed by SIGKILL" in messages[7]
    assert messages[9] == "the data are of another planet"
    interrupted = run.documents("Train")[8]
    assert interrupted["status"]["preemptions"] == 1
    assert len(run.noted("Train 8 started")) == 2
    status = run.result()
    assert status.trials.model_dump(include={"succeeded", "failed", "infeasible", "preemptions"}) == {
        "succeeded": 6, "failed": 5, "infeasible": 1, "preemptions": 1}  # fmt: skip
    assert status.best.retrained.seeds == 2
    assert status.hardware[0].device == "fake"
    assert "12/12 trials" in printed


def test_the_best_model_lies_under_obvious_names(make_run):
    run = make_run(budget={"maxTrials": 2})
    run.finish()
    status = run.result()
    assert (run.out / "model.onnx").read_bytes().startswith(b"onnx of s-")
    chosen = run.documents("Export")[0]["spec"]["weights"]["uri"]
    source = chosen.split("/")[-2]
    assert (run.out / "weights.safetensors").read_bytes() == f"safetensors of {source}".encode()
    assert status.best.artifacts[0].uri.startswith("pvc://artifacts/s-")
    assert status.best.export_difference == 1e-6
    assert not (run.out / "scratch").exists()
    document = json.loads((run.out / "work" / f"{source}.json").read_text())
    assert (document["metricsPort"], document["scrapeTimeoutSeconds"]) == (0, 0)


def test_too_many_failures_end_the_search_with_exit_code_1(make_run):
    run = make_run(budget={"maxTrials": 6, "maxFailedTrials": 1},
                   config={"endings": {f"Train {index}": "crash" for index in range(6)}})  # fmt: skip
    printed = run.finish(code=1)
    assert "TooManyFailedTrials" in printed
    assert "exit code 1: boom" in printed
    assert len(run.documents("Train")) == 2


def test_a_failed_preflight_says_what_is_wrong_and_what_to_do(make_run):
    run = make_run(config={"endings": {"Preflight 0": "user"}})
    printed = run.finish(code=1)
    assert "PreflightFailed: the data are of another planet" in printed
    assert "remove out" in printed
    assert run.documents("Train") == []


def test_a_trial_that_runs_too_long_is_ended(make_run):
    run = make_run(
        budget={"maxTrials": 3, "parallelTrials": 3, "maxFailedTrials": 3},
        trial={"activeDeadlineSeconds": 10},
        config={"endings": {"Train 1": "stubborn"}},
    )
    run.finish(timeout=60)
    failed = run.documents("Train")[1]["status"]
    assert (failed["state"], failed["reason"]) == ("Failed", "DeadlineExceeded")
    assert "10 s" in failed["message"]


def test_the_budgets_deadline_ends_the_search_and_its_processes(make_run):
    run = make_run(budget={"maxTrials": 2, "activeDeadlineSeconds": 2}, config={"endings": {"Train 0": "forever"}})
    printed = run.finish(code=1)
    assert "DeadlineExceeded" in printed
    assert run.noted("Train 0 terminated")
    assert run.result().trials.running == 0


def test_a_trial_that_is_worse_than_the_others_is_stopped_early(make_run):
    run = make_run(
        budget={"maxTrials": 3, "parallelTrials": 1},
        earlyStopping={"medianStop": {"graceEpochs": 2, "minTrials": 2}},
        retrain={"topK": 0},
        config={"curves": True, "epochs": {"Train 2": [0.0, 0.0]}, "endings": {"Train 2": "forever"}},
    )
    run.finish()
    assert run.states()[2] == ("Stopped", "MedianStop")
    stopped = run.documents("Train")[2]["status"]["result"]
    assert stopped["metrics"] == {"accuracy": 0.0}
    assert [point["epoch"] for point in stopped["curve"]] == [1, 2]
    run.check_records(3)


def test_a_suspended_search_starts_nothing_and_says_so(make_run):
    run = make_run(suspend=True)
    assert "--set suspend=false" in run.finish(code=1)
    assert run.documents() == []
    run.finish("--set", "suspend=false", "--set", "budget.maxTrials=4")
    run.check_records(4)


def test_threads_and_accelerators_are_shared_out(make_run, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-a)'; echo 'GPU 1: A (UUID: GPU-b)'\n")
    (tools / "nvidia-smi").chmod(0o755)
    run = make_run(budget={"maxTrials": 6, "parallelTrials": 4}, config={"seconds": 0.1})
    run.environment = {"PATH": f"{tools}:/usr/bin:/bin"}
    printed = run.finish()
    assert "2 accelerators for parallelTrials 4: the others wait" in printed
    assert {line.split("device=")[1].split()[0] for line in run.noted("Train") if "device=" in line} == {
        "GPU-a",
        "GPU-b",
    }
    assert run.result().usage.gpu_hours > 0
    run.check_records(6)
