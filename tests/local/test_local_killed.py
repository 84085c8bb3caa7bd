"""The runner is killed again and again; the search neither loses nor repeats anything, and proposes the same."""

from __future__ import annotations

import json
import os
import random
import signal
import time

import pytest
from local_runs import EVOLUTION, Run, wait_for

TRIALS = 24
KILLS = 12
ENDINGS = {"Train 5": "crash", "Train 9": "infeasible", "Train 13": "garbage", "Train 17": "interrupted"}
BUDGET = {"maxTrials": TRIALS, "parallelTrials": 4, "maxFailedTrials": TRIALS}


def test_twelve_kills_change_neither_the_records_nor_the_proposals(make_run):
    rng = random.Random(9)
    rough: Run = make_run("rough", algorithm=EVOLUTION, budget=BUDGET, config={"seconds": 0.25, "endings": ENDINGS})
    moments = []
    for number in range(KILLS):
        ended = len(rough.noted("ended"))
        process = rough.start()
        if number % 4:
            # In the middle of its work, and every time a little further, however slow the machine is.
            wait_for(lambda ended=ended: len(rough.noted("ended")) > ended, "the end of a trial")
            time.sleep(rng.uniform(0, 0.15))
        else:
            # Somewhere between its first import and its first look.
            time.sleep(rng.uniform(0.05, 0.6))
        process.kill()
        printed, _ = process.communicate()
        assert "Traceback" not in printed
        assert process.returncode == -signal.SIGKILL, f"the search ended before a kill: make trials slower\n{printed}"
        moments.append(len(rough.documents()) if (rough.out / "trials").exists() else 0)
    rough.finish()
    rough.check_records(TRIALS)
    assert len(set(moments)) > 5, f"the kills must come at different moments of the search, but came at {moments}"
    assert sum(d["status"]["preemptions"] for d in rough.documents()) > 5

    calm: Run = make_run(
        "calm", algorithm=EVOLUTION, budget=BUDGET, config={"order": rough.order(), "endings": ENDINGS}
    )
    calm.finish()
    calm.check_records(TRIALS)
    assert calm.order() == rough.order()
    assert calm.proposals() == rough.proposals()
    assert calm.states() == rough.states()
    assert calm.result().best.genotype_id == rough.result().best.genotype_id


def test_processes_of_a_killed_runner_die_with_it(make_run):
    run = make_run(config={"endings": {f"Train {index}": "stubborn" for index in range(4)}})
    process = run.start()
    wait_for(lambda: len(run.noted("Train")) == 4, "four trials")
    process.kill()
    process.communicate()
    run.config["endings"] = {}
    run.write()
    run.finish()  # each trial is tried for the lock that its first process held
    run.check_records(12)
    assert len(run.noted("Train 0 started")) == 2


def test_ctrl_c_stops_the_trials_and_the_same_command_goes_on(make_run):
    run = make_run(config={"endings": {f"Train {index}": "forever" for index in range(2, 4)}})
    process = run.start()
    wait_for(lambda: run.noted("Train 3 started") and run.noted("Train 5 started"), "the trials")
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "saving the place of" in printed
    assert "the same command goes on from there" in printed
    assert run.noted("Train 2 terminated")
    assert run.noted("Train 3 terminated")
    before = run.documents("Train")
    assert run.states()[2] == ("Pending", "Created")
    assert run.result().trials.running == 0
    run.config["endings"] = {}
    run.write()
    run.finish()
    run.check_records(12)
    kept = {d["spec"]["index"]: d for d in before if d["status"].get("sequence") is not None}
    assert len(kept) >= 2
    after = {d["spec"]["index"]: d for d in run.documents("Train")}
    assert all(after[index] == document for index, document in kept.items())
    assert after[2]["status"]["preemptions"] == 1


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_trials_save_their_place_when_nobody_listens_any_more(make_run, terminal):
    # While one trial does not end there is always another that does: something has to be told.
    run = make_run(
        budget={"maxTrials": 8, "parallelTrials": 2}, config={"seconds": 0.3, "endings": {"Train 0": "forever"}}
    )
    run.environment = {"TERM": "xterm"}
    listener, output = os.openpty() if terminal else os.pipe()
    process = run.start(output=output)
    os.close(output)
    wait_for(lambda: run.noted("Train 0 started"), "the trial that will not end")
    os.close(listener)
    process.wait(timeout=30)
    assert process.returncode == 1
    assert run.noted("Train 0 terminated")
    assert run.documents("Train")[0]["attempts"]["startedAt"] is None
    assert run.result().trials.running == 0
    run.config = {}
    run.write()
    run.finish()
    run.check_records(8)


def test_trials_save_their_place_when_a_file_cannot_be_written(make_run):
    run = make_run(
        budget={"maxTrials": 8, "parallelTrials": 2}, config={"seconds": 0.3, "endings": {"Train 0": "forever"}}
    )
    process = run.start()
    wait_for(lambda: run.noted("Train 0 started"), "the trial that will not end")
    run.out.joinpath("result.json").unlink()
    run.out.joinpath("result.json").mkdir()  # what a full disk does to root, too
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"archsearch: the run ended: Is a directory: {run.out / 'result.json'}" in printed
    assert "Traceback" not in printed
    assert run.noted("Train 0 terminated")
    run.config = {}
    run.write()
    assert "kept as result.json.bad-1" in run.finish()
    run.check_records(8)


def test_a_second_ctrl_c_kills_what_does_not_listen(make_run):
    run = make_run(budget={"maxTrials": 1}, config={"endings": {"Train 0": "stubborn"}})
    process = run.start()
    wait_for(lambda: run.noted("Train 0 started"), "the trial")
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: run.noted("Train 0 terminated"), "the request to end")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_result_that_was_written_and_not_seen_is_kept(make_run):
    run = make_run(budget={"maxTrials": 3}, config={"endings": {"Train 1": "forever"}})
    process = run.start()
    wait_for(lambda: run.noted("Train 1 started"), "the second trial")
    process.kill()
    process.communicate()
    # As if the process had come to its end in the moment in which its runner died.
    [name] = [d["metadata"]["name"] for d in run.documents("Train") if d["spec"]["index"] == 1]
    architecture = run.proposals()[1]
    text = '{"version": 1, "metrics": {"accuracy": 0.125}, "architecture": ARCHITECTURE}'
    (run.out / "work" / f"{name}.message").write_text(text.replace("ARCHITECTURE", json.dumps(architecture)))
    run.finish()
    run.check_records(3)
    assert len(run.noted("Train 1 started")) == 1
    assert run.documents("Train")[1]["status"]["result"]["metrics"] == {"accuracy": 0.125}
