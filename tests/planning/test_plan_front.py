"""Where there is a front, what lies on it is measured, and not only the most accurate."""

from __future__ import annotations

import json
from typing import Any

from planning.world import World, spec_of

from archsearch.api.trial import Trial
from archsearch.planning.pipeline import candidates, finalists
from archsearch.spaces import Architecture

PI = {"metric": "latencyMs", "profile": "pi"}


def accuracy_of(latency: float) -> float:
    """Slower is better, with less and less to gain."""
    return 1 - 1 / latency


def finished(objectives: list[dict[str, Any]], latencies: list[float], retrain: int) -> World:
    """A search of which all trials of the search stage are done, one for each latency."""
    world = World(
        spec_of(
            objectives=objectives,
            profiles=[{"name": "pi", "searchLatency": {"trial": {}}}],
            budget={"maxTrials": len(latencies), "parallelTrials": 1},
            retrain={"topK": retrain, "seeds": 1, "epochs": 1},
        )
    )

    def message(trial: Trial) -> str:
        document = json.loads(world.message(trial))
        latency = latencies[trial.spec.index]
        document["metrics"] |= {"accuracy": accuracy_of(latency), "latencyMs@pi": latency}
        return json.dumps(document)

    while world.history is None or world.history.search_trials < len(latencies):
        world.apply(world.plan())
        for name in world.running():
            trial = world.trials[name]
            said = message(trial) if trial.spec.work == "Train" else world.message(trial)
            world.finish(name, exit_code=0, termination=said)
    return world


def latencies_of(world: World, count: int | None = None) -> list[float]:
    assert world.history is not None
    return [entry.metrics["latencyMs@pi"] for entry in candidates(world.search, world.history)[:count]]


def test_the_members_of_a_front_are_profiled_from_one_end_to_the_other() -> None:
    world = finished([{"metric": "accuracy"}, PI], [2.0, *(100.0 + at for at in range(12)), 5.0, 20.0], retrain=1)
    chosen = latencies_of(world)
    assert len(chosen) == 8
    assert chosen[0] == 111.0, "the most accurate comes first"
    assert {2.0, 5.0, 20.0} <= set(chosen), "the fast ones are on the front, and far from the others"


def test_what_is_retrained_is_profiled_whatever_lies_on_the_front() -> None:
    world = finished([{"metric": "accuracy"}, PI], [2.0, *(100.0 + at for at in range(12))], retrain=3)
    assert latencies_of(world, 3) == [111.0, 110.0, 109.0]
    assert len({Architecture(entry.architecture.values).id for entry in candidates(world.search, world.history)}) == 8
    assert finalists(world.search, world.history) == [], "none is measured yet"


def test_with_one_objective_the_best_are_profiled() -> None:
    world = finished([{"metric": "accuracy"}], [2.0, *(100.0 + at for at in range(12))], retrain=1)
    assert latencies_of(world) == [111.0]
