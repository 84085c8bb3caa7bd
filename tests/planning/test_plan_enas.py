"""ENAS in a plan: every trial is one whole search, and what it finds is judged like any other architecture."""

from __future__ import annotations

import json
from typing import Any

import pytest
from world import World, claims, quality, run_to_end, spec_of

from archsearch.planning.pipeline import locate, search_work
from archsearch.spaces import space_of

ENAS = {"algorithm": {"enas": {"epochs": 2, "controllerSteps": 2}}, "evaluation": None}


def enas(**changes: Any) -> World:
    return World(spec_of(**ENAS | {"budget": {"maxTrials": 3, "parallelTrials": 2}} | changes))


def of(world: World, work: str) -> list:
    return sorted((t for t in world.trials.values() if t.spec.work == work), key=lambda trial: trial.spec.index)


def stage(world: World) -> str:
    assert world.history is not None
    return locate(world.search, world.history, space_of(world.search.spec.space)).stage


def test_every_trial_is_a_whole_search_from_a_seed_of_its_own_and_no_searcher_is_asked() -> None:
    world = enas()
    assert search_work(world.search.spec) == "Supernet"
    world.settle()
    assert [trial.spec.work for trial in world.trials.values()] == ["Preflight"]
    world.finish(world.running()[0])
    decided = world.settle()
    assert decided.asks == ()
    assert len(world.running()) == 2  # parallelTrials
    world.finish(world.running()[0])
    world.settle()
    trials = of(world, "Supernet")
    assert [trial.spec.index for trial in trials] == [0, 1, 2]
    assert len({trial.spec.seed for trial in trials}) == 3
    for trial in trials:
        assert (trial.spec.architecture, trial.spec.architectures, trial.spec.weights) == (None, (), None)
    assert world.search.status.trials.total == 3


def test_the_stages_come_one_after_the_other_and_only_these_kinds_of_work_are_done() -> None:
    world = enas(export={"format": "ONNX"})
    stages: list[str] = []
    for _ in range(60):
        decided = world.settle()
        if not stages or stages[-1] != stage(world):
            stages.append(stage(world))
        if decided.status.completion_time:
            break
        world.finish(world.running()[0])
    assert stages == ["Preflight", "Search", "Profile", "Retrain", "Export", "Done"]
    assert claims(world.plan())["Succeeded"] == ("True", "Completed")
    counts = {trial.spec.work: len(of(world, trial.spec.work)) for trial in world.trials.values()}
    # Two candidates on the default profile, then topK 2, of 2 seeds each.
    assert counts == {"Preflight": 1, "Supernet": 3, "Profile": 2, "Retrain": 4, "Export": 1}
    assert world.search.status.trials.done == "3/3"


def test_the_best_of_the_architectures_that_the_trials_found_is_retrained_and_reported() -> None:
    world = enas(budget={"maxTrials": 3, "parallelTrials": 3}, retrain={"topK": 1, "seeds": 2, "epochs": 4})
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    for name, accuracy in zip(world.running(), (0.4, 0.7, 0.6), strict=True):
        values = json.loads(world.message(world.trials[name]))["architecture"]
        message = {"version": 1, "metrics": {"accuracy": accuracy}, "architecture": values}
        world.finish(name, exit_code=0, termination=json.dumps(message))
    run_to_end(world)
    found = of(world, "Supernet")[1].status.result.architecture
    assert [trial.spec.architecture for trial in of(world, "Retrain")] == [found] * 2
    assert world.search.status.best is not None
    assert world.search.status.best.genotype == found
    assert world.search.status.best.retrained.mean == pytest.approx(quality(found) - 0.01)


def test_a_trial_that_names_no_architecture_or_one_of_another_space_has_failed() -> None:
    world = enas()
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    none, other = world.running()
    world.finish(none, exit_code=0, termination=json.dumps({"version": 1, "metrics": {"accuracy": 0.9}}))
    message = {"version": 1, "metrics": {"accuracy": 0.9}, "architecture": {"layer/0": "conv"}}
    world.finish(other, exit_code=0, termination=json.dumps(message))
    world.settle()
    assert world.trials[none].status.reason == world.trials[other].status.reason == "InvalidResult"
    assert "must have an architecture, but got none" in world.trials[none].status.message
    assert world.search.status.best is None


def test_a_search_whose_first_trial_failed_goes_on_with_the_others() -> None:
    world = enas()
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    failed = world.running()[0]
    world.finish(failed, exit_code=1, termination="boom")
    run_to_end(world)
    assert claims(world.plan())["Succeeded"] == ("True", "Completed")
    assert world.trials[failed].status.state == "Failed"
    assert world.search.status.trials.succeeded == 2


def test_another_seed_may_find_the_same_architecture_which_is_retrained_once() -> None:
    world = enas(retrain={"topK": 2, "seeds": 1, "epochs": 4})
    same = dict(space_of(world.search.spec.space).at(7).values)
    message = json.dumps({"version": 1, "metrics": {"accuracy": 0.5}, "architecture": same})
    for _ in range(20):
        if world.settle().status.completion_time:
            break
        name = world.running()[0]
        found = {"exit_code": 0, "termination": message} if world.trials[name].spec.work == "Supernet" else {}
        world.finish(name, **found)
    assert claims(world.plan())["Succeeded"] == ("True", "Completed")
    assert len(of(world, "Supernet")) == 3
    assert [trial.spec.architecture for trial in of(world, "Retrain")] == [same]
