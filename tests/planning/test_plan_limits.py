"""A limit is a limit: whatever trials report, and in whatever order, nothing that is beyond one is ever put forward."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planning.world import World, quality, run_to_end, spec_of

from archsearch.api.trial import Trial
from archsearch.planning.pipeline import candidates, finalists
from archsearch.spaces import Architecture

PARAMETERS, LATENCY, FLOOR = 1000, 3.0, 0.2
"""The limits: the most parameters, the largest median latency, the smallest accuracy."""
CONSTRAINTS = [
    {"metric": "parameters", "max": str(PARAMETERS)},
    {"metric": "latencyMs", "profile": "t4", "max": str(LATENCY)},
    {"metric": "accuracy", "min": str(FLOOR)},
]
OBJECTIVES = [{"metric": "accuracy", "goal": "Maximize"}, {"metric": "parameters", "goal": "Minimize"}]
EVALUATIONS: dict[str, dict[str, Any]] = {
    "one a trial": {"train": {"epochs": 3}},
    "batches": {
        "tabular": {
            "volume": {"claimName": "t"},
            "columns": [{"metric": "accuracy", "column": "a"}, {"metric": "parameters", "column": "p"}],
            "architecturesPerTrial": 3,
        }
    },
}
MEASURED = st.tuples(
    st.floats(0, 1), st.sampled_from([1, 999, 1000, 1001, 5000]), st.sampled_from([0.5, 3.0, 3.001, 50.0])
)
"""What an architecture turns out to be: accuracy, parameters, latency; many are exactly at a limit."""
ENDS = st.sampled_from(["good"] * 6 + ["crash", "infeasible", "garbage", "lies"])


class Judge:
    """Knows what was told of each architecture, and holds the plan to it."""

    def __init__(self, world: World, measured: list[tuple[float, int, float]]) -> None:
        self.world, self.measured = world, measured
        self.told: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def of(self, values: Any) -> tuple[float, int, float]:
        """What this architecture is, whenever it is asked for."""
        return self.measured[int(10_000 * quality(values)) % len(self.measured)]

    def message(self, trial: Trial) -> str:
        """A good end of the trial, noted."""
        document = json.loads(self.world.message(trial))
        spec = trial.spec
        if spec.work == "Lookup":
            document["results"] = [self._counted(values) for values in spec.architectures]
        elif spec.work == "Train":
            document["metrics"] = self._counted(spec.architecture)
        elif spec.work == "Profile":
            latency = self.of(spec.architecture)[2]
            document["profile"]["latencyMs"] = {"p50": latency, "p95": latency, "p99": latency}
            self.told[Architecture(spec.architecture or {}).id]["latency"] = latency
        return json.dumps(document)

    def _counted(self, values: Any) -> dict[str, float]:
        accuracy, parameters, _ = self.of(values)
        told = {"accuracy": accuracy, "parameters": parameters}
        self.told[Architecture(values).id] |= told
        return told

    def end(self, name: str, how: str) -> None:
        """The trial ends in one of the ways of ENDS."""
        trial = self.world.trials[name]
        if how == "good" or trial.spec.work == "Preflight":
            self.world.finish(name, exit_code=0, termination=self.message(trial))
        elif how == "infeasible":
            message = {"version": 1, "error": "too large", "metrics": {"parameters": PARAMETERS + 1}}
            self.world.finish(name, exit_code=42, termination=json.dumps(message))
        elif how == "lies":  # it did not succeed, whatever it says
            values = trial.spec.architecture or {}
            message = {"version": 1, "metrics": {"accuracy": 1.0, "parameters": 1}, "architecture": values}
            self.world.finish(name, exit_code=1, termination=json.dumps(message))
        else:
            self.world.finish(name, exit_code=1 if how == "crash" else 0, termination="{")

    def keeps(self, identifier: str, *, hardware: bool = False) -> bool:
        """Whether all that was told of it is within the limits, and with hardware also that the latency was told."""
        told = self.told[identifier]
        counted = told["parameters"] <= PARAMETERS and told["accuracy"] >= FLOOR
        return counted and told.get("latency", LATENCY + hardware) <= LATENCY

    def check(self) -> None:
        """The best, the front, and all that is profiled, retrained or exported."""
        world, status = self.world, self.world.search.status
        assert world.history is not None
        if status.best is not None:
            assert self.keeps(status.best.genotype_id)
            assert status.best.metrics["parameters"] <= PARAMETERS
            assert status.best.metrics["accuracy"] >= FLOOR
            assert status.best.metrics.get("latencyMs@t4", 0) <= LATENCY
        for entry in status.front:
            assert self.keeps(entry.genotype_id)
        for entry in candidates(world.search, world.history):
            # A latency beyond the limit may be known by now: it is a candidate for measuring, which is done.
            assert self.told[entry.architecture.id]["parameters"] <= PARAMETERS
            assert self.told[entry.architecture.id]["accuracy"] >= FLOOR
        for entry in finalists(world.search, world.history):
            assert self.keeps(entry.architecture.id, hardware=True)
        for trial in world.trials.values():
            if trial.spec.work in {"Retrain", "Export"}:
                assert self.keeps(Architecture(trial.spec.architecture or {}).id, hardware=True)


@pytest.mark.parametrize("evaluation", EVALUATIONS.values(), ids=EVALUATIONS.keys())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    measured=st.lists(MEASURED, min_size=3, max_size=12),
    ends=st.lists(st.tuples(st.integers(0, 7), ENDS), min_size=8, max_size=40),
    deaths=st.sets(st.integers(0, 40), max_size=4),
)
def test_nothing_beyond_a_limit_is_ever_the_best_on_the_front_or_trained_further(evaluation, measured, ends, deaths):
    world = World(
        spec_of(
            evaluation=evaluation,
            constraints=CONSTRAINTS,
            objectives=OBJECTIVES,
            profiles=[{"name": "t4"}],
            budget={"maxTrials": 8, "parallelTrials": 3, "maxFailedTrials": 1000},
            retrain={"topK": 2, "seeds": 1, "epochs": 4},
            export={"format": "ONNX"},
        )
    )
    judge = Judge(world, measured)
    for number, (which, how) in enumerate(ends):
        decided = world.settle()
        judge.check()
        if decided.status.completion_time:
            break
        running = world.running()
        judge.end(running[which % len(running)], how)
        if number in deaths:
            world.forget()
    for _ in range(100):
        decided = world.settle()
        judge.check()
        if decided.status.completion_time:
            break
        judge.end(world.running()[0], "good")
    assert world.search.status.completion_time
    # There is a best exactly where something keeps every limit, among all that was measured.
    known = [identifier for identifier, told in judge.told.items() if "latency" in told]
    retrained = any(
        trial.spec.work == "Retrain" and trial.status.state == "Succeeded" for trial in world.trials.values()
    )
    if retrained:
        assert world.search.status.best is not None
        assert judge.keeps(world.search.status.best.genotype_id, hardware=True)
    if not any(judge.keeps(identifier, hardware=True) for identifier in known):
        assert not any(trial.spec.work in {"Retrain", "Export"} for trial in world.trials.values())


def test_where_every_result_is_beyond_a_limit_there_is_no_best_and_the_search_says_why():
    world = World(spec_of(constraints=[{"metric": "accuracy", "min": "1.1"}]))
    run_to_end(world)
    succeeded = {item.type: item for item in world.search.status.conditions}["Succeeded"]
    assert (succeeded.status, succeeded.reason) == ("False", "NoFeasibleArchitecture")
    assert succeeded.message == "no trial has a result that can be used: 6 infeasible"
    assert (world.search.status.best, world.search.status.front) == (None, ())
