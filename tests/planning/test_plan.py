"""What the plan decides, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from planning.world import World, claims, spec_of

from archsearch.api.trial import CurvePoint
from archsearch.planning import Execution


def run_to_end(world: World) -> None:
    for _ in range(200):
        decided = world.settle()
        if decided.status.completion_time:
            return
        world.finish(world.running()[0])
    raise AssertionError("the search does not end")


def test_a_search_goes_through_all_its_stages_and_reports_each():
    world = World(spec_of())
    stages = []
    for _ in range(100):
        decided = world.settle()
        if not stages or stages[-1] != decided.status.stage:
            stages.append(decided.status.stage)
        if decided.status.completion_time:
            break
        world.finish(world.running()[0])
    assert stages == ["Preflight", "Search", "Profile", "Retrain", "Export", "Done"]
    works = [trial.spec.work for trial in world.trials.values()]
    assert {work: works.count(work) for work in set(works)} == {
        "Preflight": 1, "Train": 6, "Profile": 2, "Retrain": 4, "Export": 1,
    }  # fmt: skip
    status = decided.status
    assert status.best is not None
    assert status.best.retrained is not None
    assert status.best.retrained.seeds == 2
    assert status.best.retrained.metric == "testAccuracy"
    assert status.best.export_difference == pytest.approx(1e-6)
    assert status.best.metrics["latencyMs@default"] == 2.0
    assert [profile.profile for profile in status.hardware] == ["default"]
    assert status.trials.done == "6/6"
    assert claims(decided)["Succeeded"] == ("True", "Completed")
    assert claims(decided)["Progressing"] == ("False", "Completed")


def test_the_best_is_the_best_of_the_records():
    world = World(spec_of(budget={"maxTrials": 20, "parallelTrials": 4}, retrain={"topK": 0}))
    run_to_end(world)
    values = {t.name: t.status.result.metrics["accuracy"] for t in world.trials.values() if t.spec.work == "Train"}
    best = world.search.status.best
    assert best is not None
    assert best.retrained is None
    assert not any(trial.spec.work == "Retrain" for trial in world.trials.values()), "topK 0 retrains nothing"
    assert best.metrics["accuracy"] == max(values.values())
    assert best.trial == max(values, key=lambda name: values[name])


def test_never_more_trials_at_once_than_the_budget_allows():
    world = World(spec_of(budget={"maxTrials": 12, "parallelTrials": 3}))
    for _ in range(60):
        decided = world.settle()
        assert len(world.jobs) <= 3
        if decided.status.completion_time:
            break
        world.finish(world.running()[-1])


def test_a_suspended_search_stops_its_jobs_and_goes_on_afterwards():
    world = World(spec_of())
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    assert len(world.running()) == 2
    before = set(world.trials)
    world.change(world.spec.model_copy(update={"suspend": True}))
    decided = world.settle()
    assert world.jobs == {}
    assert claims(decided)["Suspended"] == ("True", "Suspended")
    assert {t.status.reason for t in world.trials.values() if not t.finished} == {"Suspended"}
    world.change(world.spec.model_copy(update={"suspend": False}))
    world.settle()
    assert len(world.running()) == 2
    assert set(world.trials) == before


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


def test_a_larger_budget_goes_on_with_a_finished_search():
    world = World(spec_of(budget={"maxTrials": 4, "parallelTrials": 2}))
    run_to_end(world)
    first = {name for name, trial in world.trials.items() if trial.spec.work == "Train"}
    world.change(world.spec.model_copy(update={"budget": world.spec.budget.model_copy(update={"max_trials": 7})}))
    run_to_end(world)
    names = {name for name, trial in world.trials.items() if trial.spec.work == "Train"}
    assert len(names) == 7
    assert first < names
    assert world.search.status.stage == "Done"


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


def test_the_wall_clock_ends_a_search_and_not_a_finished_one():
    budget = {"maxTrials": 4, "parallelTrials": 2, "activeDeadlineSeconds": 100}
    world = World(spec_of(budget=budget))
    decided = world.settle()
    assert decided.look_again == pytest.approx(100)
    world.now += timedelta(seconds=101)
    assert claims(world.settle())["Succeeded"] == ("False", "DeadlineExceeded")
    other = World(spec_of(budget=budget))
    run_to_end(other)
    other.now += timedelta(seconds=1000)
    assert claims(other.settle())["Succeeded"] == ("True", "Completed")


def test_gpu_hours_are_counted_and_end_the_search():
    world = World(spec_of(budget={"maxTrials": 9, "parallelTrials": 1, "gpuHours": "0.5", "pricePerGpuHour": "2"}))
    world.accelerators = 2.0
    world.settle()
    world.tick(1799)
    world.finish(world.running()[0])
    decided = world.settle()
    assert decided.status.usage.gpu_hours == 1.0
    assert decided.status.usage.estimated_cost == 2.0
    assert claims(decided)["Succeeded"] == ("False", "BudgetUsed")


def test_a_constraint_is_never_broken_by_the_reported_best():
    world = World(spec_of(constraints=[{"metric": "parameters", "max": "100k"}]))
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    for size in (50_000, 200_000, 90_000, 300_000, 99_999, 100_001):
        name = world.running()[0]
        world.finish(name, exit_code=0, termination=world.message(world.trials[name], parameters=size))
        world.settle()
    states = [trial.status.state for trial in world.trials.values() if trial.spec.work == "Train"]
    assert sorted(states) == ["Infeasible"] * 3 + ["Succeeded"] * 3
    assert world.search.status.best is not None
    assert world.search.status.best.metrics["parameters"] <= 100_000


def test_a_limit_on_latency_is_held_against_what_was_measured():
    profiles = [{"name": "t4"}]
    limit = [{"metric": "latencyMs", "profile": "t4", "max": "1.5"}]
    world = World(spec_of(profiles=profiles, constraints=limit))
    for _ in range(60):
        decided = world.settle()
        if decided.status.completion_time:
            break
        world.finish(world.running()[0])
    assert claims(decided)["Succeeded"] == ("False", "NoFeasibleArchitecture")
    assert not any(trial.spec.work == "Retrain" for trial in world.trials.values())
    assert decided.status.best is None
    assert decided.status.front == ()


def test_a_median_stop_ends_a_trial_and_tells_the_searcher():
    world = World(spec_of(earlyStopping={"medianStop": {"graceEpochs": 2, "minTrials": 3}},
                          budget={"maxTrials": 8, "parallelTrials": 1}))  # fmt: skip
    world.settle()
    world.finish(world.running()[0])
    curve = [{"epoch": epoch, "value": 0.2 * epoch} for epoch in (1, 2, 3)]
    for _ in range(3):
        world.settle()
        name = world.running()[0]
        message = world.message(world.trials[name]).rstrip("}") + '}, "curve": ' + str(curve).replace("'", '"') + "}"
        world.finish(name, exit_code=0, termination=message)
    world.settle()
    name = world.running()[0]
    bad = tuple(CurvePoint(epoch=epoch, value=0.01) for epoch in (1, 2))
    world.jobs[name] = replace(world.jobs[name], curve=bad)
    world.settle()
    status = world.trials[name].status
    assert (status.state, status.reason) == ("Stopped", "MedianStop")
    assert world.history is not None
    assert world.history.observed[-1].value == 0.01
    assert name not in world.jobs


def test_supernet_trials_are_not_asked_of_a_searcher_and_have_different_seeds():
    world = World(spec_of(algorithm={"darts": {"epochs": 2}}, budget={"maxTrials": 3, "parallelTrials": 3}))
    world.settle()
    world.finish(world.running()[0])
    decided = world.settle()
    trials = [trial for trial in world.trials.values() if trial.spec.work == "Supernet"]
    assert decided.asks == ()
    assert len({trial.spec.seed for trial in trials}) == 3


def test_a_search_ends_when_the_space_is_used_up():
    tiny = {"dartsCells": {"nodes": 1, "operations": ["skip_connect", "max_pool_3x3"]}}
    world = World(spec_of(space=tiny, budget={"maxTrials": 1000, "parallelTrials": 5}, retrain={"topK": 0}))
    run_to_end(world)
    trained = [trial for trial in world.trials.values() if trial.spec.work == "Train"]
    assert len({str(trial.spec.architecture) for trial in trained}) == len(trained) == 16
    assert world.search.status.trials.done == "16/16"


@pytest.mark.parametrize("finished", [False, True], ids=["open", "finished"])
@pytest.mark.parametrize("algorithm", [{"random": {"epochs": 3}}, {"darts": {"epochs": 2}}], ids=["train", "supernet"])
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
    world = World(spec_of(algorithm={"darts": {"epochs": 2}}, budget={"maxTrials": 1}))
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


def test_a_trial_is_stopped_early_however_long_its_curve_is():
    world = World(spec_of(earlyStopping={"medianStop": {"graceEpochs": 1, "minTrials": 1}},
                          budget={"maxTrials": 3, "parallelTrials": 1}))  # fmt: skip
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    name = world.running()[0]
    message = world.message(world.trials[name]).rstrip("}") + '}, "curve": [{"epoch": 1, "value": 0.9}]}'
    world.finish(name, exit_code=0, termination=message)
    world.settle()
    name = world.running()[0]
    curve = tuple(CurvePoint(epoch=epoch, value=0.01) for epoch in range(1, 301))
    world.jobs[name] = replace(world.jobs[name], curve=curve)
    world.settle()
    status = world.trials[name].status
    assert status.state == "Stopped"
    assert status.result is not None
    assert len(status.result.curve) == 60
    assert status.result.curve[-1].epoch == 300


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
    world = World(spec_of(algorithm={"darts": {"epochs": 2}}, budget={"maxTrials": 1}))
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
