"""What the plan decides, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from planning.world import World, claims, run_to_end, spec_of

from archsearch.api.trial import CurvePoint


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
    assert world.history.observed[-1].results[0].value == 0.01
    assert name not in world.jobs


def test_supernet_trials_are_not_asked_of_a_searcher_and_have_different_seeds():
    world = World(spec_of(algorithm={"differentiable": {"epochs": 2}}, budget={"maxTrials": 3, "parallelTrials": 3}))
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
