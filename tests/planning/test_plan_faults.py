"""What the plan makes of containers, nodes and people that do not do what they should."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from planning.world import World, claims, run_to_end, spec_of

from archsearch.planning import Execution


def profile_message(p50: str = "1", throughput: str = "1", parameters: str = "1") -> str:
    """A message with a profile, whose numbers are written as they are given: JSON's readers take more than JSON has."""
    latency = f'{{"p50": {p50}, "p95": 1, "p99": 1}}'
    return (
        '{"version": 1, "profile": {"profile": "p", "device": "d", "runtime": "Torch", "batchSize": 1, '
        f'"latencyMs": {latency}, "throughput": {throughput}, "peakMemoryMiB": 1, "parameters": {parameters}, '
        '"flops": 1}}'
    )


@pytest.mark.parametrize(
    ("execution", "state", "reason", "words"),
    [
        ({"exit_code": 42, "termination": '{"error": "parameters must be at most 5M, but got 7M"}'}, "Infeasible",
         "BeyondConstraint", "7M"),
        ({"exit_code": 3, "termination": '{"error": "no such file: x.npz"}'}, "Failed", "UserError", "x.npz"),
        ({"exit_code": 1, "termination": "Traceback\n  File\nValueError: boom"}, "Failed", "Crashed", "boom"),
        ({"exit_code": 137, "failure": "OutOfMemory"}, "Failed", "OutOfMemory", "memory"),
        ({"failure": "DeadlineExceeded"}, "Failed", "DeadlineExceeded", "86400"),
        ({"failure": "NodeLost"}, "Failed", "NodeLost", "gone"),
        ({"exit_code": 0, "termination": "hello"}, "Failed", "InvalidResult", "'hello'"),
        ({"exit_code": 0, "termination": ""}, "Failed", "InvalidResult", "empty"),
        ({"exit_code": 0, "termination": '{"version": 1, "metrics": {"accuracy": 0.5}}'}, "Failed", "InvalidResult",
         "architecture"),
        ({"exit_code": 0, "termination": '{"version": 1, "metrics": {"accuracy": 1e999}}'}, "Failed", "InvalidResult",
         "finite"),
        ({"exit_code": 0, "termination": '{"version": 1, "curve": [{"epoch": 1, "value": NaN}]}'}, "Failed",
         "InvalidResult", "finite"),
        ({"exit_code": 0, "termination": profile_message(p50="-Infinity")}, "Failed", "InvalidResult", "finite"),
        ({"exit_code": 0, "termination": profile_message(throughput="1e999")}, "Failed", "InvalidResult", "finite"),
        ({"exit_code": 0, "termination": profile_message(parameters="9" * 30)}, "Failed", "InvalidResult", "2^63"),
        ({"exit_code": 0, "termination": '{"version": 7}'}, "Failed", "InvalidResult", "version"),
        ({"exit_code": 0, "termination": '{"version": 1, "architecture": {"evil": 1}}'}, "Failed", "InvalidResult",
         "evil"),
        ({"exit_code": 0, "termination": "x" * 5000}, "Failed", "InvalidResult", "4096"),
    ],
)  # fmt: skip
def test_every_end_of_a_container_becomes_an_honest_state(execution, state, reason, words):
    world = World(spec_of())
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    name = world.running()[0]
    world.finish(name, **execution)
    world.settle()
    status = world.trials[name].status
    assert (status.state, status.reason) == (state, reason)
    assert words in status.message


def test_too_many_failures_end_the_search_and_stop_the_rest():
    world = World(spec_of(budget={"maxTrials": 20, "parallelTrials": 4, "maxFailedTrials": 2}))
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    for _ in range(3):
        world.finish(world.running()[0], exit_code=1, termination="boom")
        decided = world.settle()
    assert claims(decided)["Succeeded"] == ("False", "TooManyFailedTrials")
    message = next(item.message for item in decided.status.conditions if item.type == "Succeeded")
    assert "budget.maxFailedTrials is 2" in message
    assert "boom" in message
    assert world.jobs == {}


def test_preflight_refuses_at_once_what_the_user_got_wrong():
    world = World(spec_of())
    world.settle()
    world.finish(world.running()[0], exit_code=3, termination='{"error": "data: no such file"}')
    decided = world.settle()
    assert claims(decided)["Accepted"] == ("False", "PreflightFailed")
    assert claims(decided)["Succeeded"] == ("False", "PreflightFailed")
    assert "no such file" in decided.status.conditions[0].message
    assert len(world.trials) == 1


def test_a_preflight_that_crashed_is_tried_once_more():
    world = World(spec_of())
    world.settle()
    world.finish(world.running()[0], failure="NodeLost")
    world.settle()
    world.finish(world.running()[0])
    assert world.settle().status.stage == "Search"


def test_an_image_that_cannot_be_pulled_is_said_at_once_and_given_up_after_five_minutes():
    world = World(spec_of())
    world.settle()
    name = world.running()[0]
    world.jobs[name] = Execution("Pending", "ImagePullBackOff", "Back-off pulling image", created_at=world.now)
    decided = world.settle()
    assert claims(decided)["Progressing"] == ("False", "ImagePullBackOff")
    assert decided.look_again is not None
    assert decided.look_again <= 300
    world.now += timedelta(seconds=301)
    world.settle()
    assert world.trials[name].status.state == "Failed"
    assert world.trials[name].status.reason == "ImagePullBackOff"


@pytest.mark.parametrize("finished", [False, True], ids=["open", "finished"])
@pytest.mark.parametrize("algorithm", [{"random": {}}, {"differentiable": {"epochs": 2}}], ids=["train", "supernet"])
def test_a_search_trial_that_somebody_deletes_is_made_again(algorithm, finished):
    world = World(spec_of(algorithm=algorithm))
    world.settle()
    world.finish("s-01234-preflight-0")
    world.settle()
    if finished:
        world.finish("s-01234-0")
        world.settle()
    del world.trials["s-01234-0"]
    world.jobs.pop("s-01234-0", None)
    world.forget()
    run_to_end(world)
    names = [trial.name for trial in world.trials.values() if trial.spec.work in {"Train", "Supernet"}]
    assert sorted(names) == [f"s-01234-{index}" for index in range(6)]
    assert world.search.status.trials.done == "6/6"
    assert world.search.status.stage == "Done"


def test_work_after_the_search_that_somebody_deletes_is_made_again():
    world = World(spec_of())
    run_to_end(world)
    before = world.trials.pop("s-01234-retrain-1")
    world.forget()
    assert world.settle().status.stage == "Retrain"
    assert world.trials["s-01234-retrain-1"].spec == before.spec
    run_to_end(world)
    assert world.search.status.best.retrained.seeds == 2


def test_another_pod_in_the_place_of_the_first_is_a_preemption_and_a_suspension_is_none():
    world = World(spec_of(algorithm={"differentiable": {"epochs": 2}}, budget={"maxTrials": 1}))
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    name = world.running()[0]
    for pod in ("first", "second", "third"):
        world.jobs[name] = replace(world.jobs[name], pod=pod)
        world.settle()
    assert world.trials[name].status.preemptions == 2
    world.change(world.spec.model_copy(update={"suspend": True}))
    world.settle()
    world.change(world.spec.model_copy(update={"suspend": False}))
    world.settle()
    world.jobs[name] = replace(world.jobs[name], pod="fourth")
    world.settle()
    world.finish(name)
    world.settle()
    assert world.trials[name].status.preemptions == 2
    assert world.search.status.trials.preemptions == 2


@pytest.mark.parametrize("code", [1, 3, 42, 143])
def test_a_preflight_that_never_succeeds_ends_the_search(code):
    world = World(spec_of())
    for _ in range(3):
        decided = world.settle()
        if decided.status.completion_time:
            break
        world.finish(world.running()[0], exit_code=code, termination='{"error": "no"}')
    assert claims(decided)["Succeeded"] == ("False", "PreflightFailed")
    assert {trial.status.state for trial in world.trials.values()} == {"Failed"}


def test_a_preflight_that_a_node_took_along_is_tried_again_even_where_no_failure_is_tolerated():
    world = World(spec_of(budget={"maxTrials": 2, "maxFailedTrials": 0}))
    world.settle()
    world.finish(world.running()[0], failure="NodeLost")
    world.settle()
    run_to_end(world)
    assert world.search.status.stage == "Done"


def test_as_many_metrics_as_a_message_may_have_fit_in_the_status():
    world = World(spec_of(profiles=[{"name": name} for name in "abcdefgh"], budget={"maxTrials": 1}))
    for _ in range(40):
        decided = world.settle()
        if decided.status.completion_time:
            break
        name = world.running()[0]
        if world.trials[name].spec.work == "Train":
            extra = {f"extra{number}": 1e100 for number in range(63)}
            world.finish(name, exit_code=0, termination=world.message(world.trials[name], **extra))
        else:
            world.finish(name)
    assert claims(decided)["Succeeded"] == ("True", "Completed")
    assert len(decided.status.best.metrics) == 64 + 3 * 8


def test_numbers_that_cannot_be_added_up_are_refused():
    world = World(spec_of())
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    name = world.running()[0]
    world.finish(name, exit_code=0, termination=world.message(world.trials[name], accuracy=1.7e308))
    world.settle()
    status = world.trials[name].status
    assert (status.state, status.reason) == ("Failed", "InvalidResult")
    assert "accuracy=1.7e+308" in status.message


def test_a_sequence_is_never_given_twice_although_a_finished_trial_was_deleted():
    world = World(spec_of())
    world.settle()
    for _ in range(4):
        world.finish(world.running()[0])
        world.settle()
    del world.trials["s-01234-0"]
    world.forget()
    run_to_end(world)
    sequences = [trial.status.sequence for trial in world.trials.values()]
    assert len(set(sequences)) == len(sequences)


def test_patience_with_an_image_begins_anew_with_every_pod():
    """A trial that was evicted after hours has a pod that waits for its image since a moment."""
    world = World(spec_of())
    world.settle()
    name = world.running()[0]
    world.tick(3600)
    waiting = replace(world.jobs[name], phase="Pending", reason="ErrImagePull", created_at=world.now)
    world.jobs[name] = waiting
    world.settle()
    assert world.trials[name].status.state == "Pending"
    world.tick(301)
    world.settle()
    assert world.trials[name].status.state == "Failed"


def test_what_a_stopped_trial_lost_to_preemptions_is_still_counted():
    world = World(spec_of(algorithm={"differentiable": {"epochs": 2}}, budget={"maxTrials": 1}))
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    name = world.running()[0]
    for pod in ("first", "second"):
        world.jobs[name] = replace(world.jobs[name], pod=pod)
        world.settle()
    world.change(world.spec.model_copy(update={"suspend": True}))
    assert world.settle().status.trials.preemptions == 1
    world.change(world.spec.model_copy(update={"suspend": False}))
    world.settle()
    world.jobs[name] = replace(world.jobs[name], phase="Pending", reason="InvalidImageName")
    world.settle()
    assert world.trials[name].status.state == "Failed"
    assert world.trials[name].status.preemptions == 1
