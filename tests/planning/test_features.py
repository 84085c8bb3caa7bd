"""Scores at initialisation that a searcher is told: a pool is scored before the first trial of the search."""

from __future__ import annotations

import json
from typing import Any

import pytest
from planning.world import World, claims, quality, run_to_end, spec_of

from archsearch.api.trial import Trial
from archsearch.planning.history import History


def process(pool: int = 40, **changes: Any) -> World:
    """A search by a Gaussian process that is told of `pool` architectures."""
    algorithm = {"gaussianProcess": {"initial": 4, "zeroCost": {"scores": ["naswot", "synflow"], "pool": pool}}}
    return World(spec_of(**{"algorithm": algorithm, "budget": {"maxTrials": 10, "parallelTrials": 2}} | changes))


def of(world: World, work: str) -> list[Trial]:
    return sorted((t for t in world.trials.values() if t.spec.work == work), key=lambda trial: trial.spec.index)


def past_preflight(world: World) -> World:
    world.settle()
    world.finish(world.running()[0])
    world.settle()
    return world


def test_a_pool_is_scored_before_the_first_training_and_costs_no_trial_of_the_budget() -> None:
    world = process()
    run_to_end(world)
    assert claims(world.plan())["Succeeded"] == ("True", "Completed")
    parts = of(world, "Features")
    assert [len(part.spec.architectures) for part in parts] == [32, 8]
    pool = [json.dumps(values) for part in parts for values in part.spec.architectures]
    assert len(set(pool)) == 40
    first = world.created_jobs.index(of(world, "Train")[0].name)
    assert all(world.created_jobs.index(part.name) < first for part in parts)
    assert world.search.status.trials.done == "10/10"
    # Random ones first, and by turns good ones of the pool; then the scores say what is tried.
    plain = World(spec_of(algorithm={"gaussianProcess": {"initial": 4}}, budget={"maxTrials": 10, "parallelTrials": 2}))
    run_to_end(plain)
    tried, without = ([trial.spec.architecture for trial in of(each, "Train")] for each in (world, plain))
    assert (tried[0], tried[2]) == (without[0], without[2])
    assert {json.dumps(tried[1]), json.dumps(tried[3])} <= set(pool)
    assert tried[5:] != without[5:]


def test_parts_of_the_pool_are_scored_side_by_side_in_the_search_stage() -> None:
    world = past_preflight(process(pool=256))
    assert [world.trials[name].spec.work for name in world.running()] == ["Features", "Features"]
    assert world.search.status.stage == "Search"
    assert world.search.status.trials.running == 0
    assert len({trial.spec.seed for trial in of(world, "Features")}) == 2


def test_of_a_space_that_has_no_more_all_architectures_are_scored() -> None:
    options = ["x", "y", "z"]
    choices = [{"name": name, "options": options} for name in ("a", "b")]
    world = past_preflight(process(space={"custom": {"module": "mine.nets:Net", "choices": choices}}))
    (part,) = of(world, "Features")
    assert len({json.dumps(values) for values in part.spec.architectures}) == 9


def test_another_seed_draws_another_pool() -> None:
    first, again, other = (of(past_preflight(process(seed=seed)), "Features")[0].spec for seed in (1, 1, 2))
    assert first == again
    assert not {json.dumps(values) for values in first.architectures} & {
        json.dumps(values) for values in other.architectures[:8]
    }


def test_a_part_that_fails_is_tried_again_and_then_ends_the_search_and_says_why() -> None:
    world = past_preflight(process())
    broken = world.trials[world.running()[0]].spec.architectures
    for _ in range(3):
        for name in world.running():
            failing = world.trials[name].spec.architectures == broken
            world.finish(name, **({"exit_code": 1, "log": "no such device"} if failing else {}))
        decided = world.settle()
    assert claims(decided)["Succeeded"] == ("False", "FeaturesFailed")
    message = next(item.message for item in decided.status.conditions if item.type == "Succeeded")
    assert "no such device" in message
    states = [trial.status.state for trial in of(world, "Features")]
    assert sorted(states) == ["Failed", "Failed", "Succeeded"]
    assert not of(world, "Train")


def test_a_part_that_failed_once_is_no_trouble() -> None:
    world = past_preflight(process())
    world.finish(world.running()[0], failure="NodeLost")
    run_to_end(world)
    assert claims(world.plan())["Succeeded"] == ("True", "Completed")
    assert world.history is not None
    assert len(world.history.untrained) == 40


def proposals(world: World, first: int, *, forgetful: bool) -> list[Any]:
    """What is trained where this part of the pool is scored first, and the operator dies after each step or never."""
    past_preflight(world)
    world.finish(world.running()[first])
    for _ in range(40):
        if forgetful:
            world.forget()
        if world.settle().status.completion_time:
            break
        world.finish(world.running()[0])
    return [trial.spec.architecture for trial in of(world, "Train")]


def test_proposals_depend_neither_on_restarts_nor_on_which_part_was_scored_first() -> None:
    calm = proposals(process(), 0, forgetful=False)
    assert len(calm) == 10
    assert proposals(process(), 0, forgetful=True) == calm
    assert proposals(process(), 1, forgetful=False) == calm


def test_a_history_read_again_has_the_same_scores() -> None:
    world = process()
    run_to_end(world)
    assert world.history is not None
    again = History(world.search.spec, list(world.trials.values()))
    assert again.untrained == world.history.untrained
    assert {one.architecture.id: one.scores for one in again.untrained}.keys() == {
        one.architecture.id for one in again.untrained
    }
    for one in again.untrained:
        values = json.loads(one.architecture.json())
        assert one.scores == {"naswot": quality(values), "synflow": quality(values)}


def test_architectures_without_a_score_are_no_trouble() -> None:
    world = past_preflight(process(pool=16))
    (name,) = world.running()
    rows: list[dict[str, float]] = [{}, {"naswot": 1.0}, {"synflow": 2.0}, {"naswot": 2.0, "synflow": 2.0}]
    world.finish(name, exit_code=0, termination=json.dumps({"version": 1, "results": rows * 4}))
    run_to_end(world)
    assert claims(world.plan())["Succeeded"] == ("True", "Completed")
    assert len(of(world, "Train")) == 10


def test_where_nothing_could_be_scored_the_search_goes_on_without() -> None:
    world = past_preflight(process(pool=16))
    world.finish(world.running()[0], exit_code=0, termination=json.dumps({"version": 1, "results": [{}] * 16}))
    run_to_end(world)
    plain = World(spec_of(algorithm={"gaussianProcess": {"initial": 4}}, budget={"maxTrials": 10, "parallelTrials": 2}))
    run_to_end(plain)
    assert [t.spec.architecture for t in of(world, "Train")] == [t.spec.architecture for t in of(plain, "Train")]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"results": [{"naswot": 1.0}] * 15}, "must have 16 results, one for each architecture, but got 15"),
        ({"metrics": {"naswot": 1.0}}, "must have 16 results, one for each architecture, but got 0"),
        (
            {"results": [{"naswot": 1.0, "accuracy": 1.0}] * 16},
            "must have the scores naswot, synflow, but got accuracy",
        ),
        ({"results": [{"naswot": 1e300}] * 16}, "metrics must be finite"),
        ({"results": [{"naswot": float("nan")}] * 16}, "metrics must be finite"),
        ({"results": [{"naswot": "high"}] * 16}, "results"),
        ({"results": [{"\n": 1.0}] * 16}, "metrics must have names"),
    ],
)
def test_a_message_that_does_not_fit_is_no_result(message: dict[str, Any], said: str) -> None:
    world = past_preflight(process(pool=16))
    (name,) = world.running()
    world.finish(name, exit_code=0, termination=json.dumps({"version": 1} | message))
    world.settle()
    status = world.trials[name].status
    assert (status.state, status.reason) == ("Failed", "InvalidResult")
    assert said in status.message
